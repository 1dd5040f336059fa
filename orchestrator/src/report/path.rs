//! Critical paths: consecutive milestones, so that the segments between them tile the total exactly.

use super::statistics::{Delta, maybe_milliseconds, milliseconds};
use samp_model::Time;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::time::Duration;

/// A point that a path reaches; the time since the milestone before it is the segment's.
#[derive(Clone, Copy, Debug)]
pub struct Milestone {
    /// Name of the segment that ends here.
    pub segment: &'static str,
    /// When; none when it is not known (yet).
    pub at: Option<Time>,
    /// What the configured delays alone make of the segment; none when the path is not known.
    pub floor: Option<Duration>,
}

impl Milestone {
    /// One whose segment passes no link.
    pub fn local(segment: &'static str, at: Option<Time>) -> Self {
        Self { segment, at, floor: Some(Duration::ZERO) }
    }

    /// One whose segment passes links with this sum of configured delays.
    pub fn over(segment: &'static str, at: Option<Time>, floor: Option<Duration>) -> Self {
        Self { segment, at, floor }
    }
}

/// What a total is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalPath {
    segments: Vec<Segment>,
}

/// One piece of a total.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Segment {
    /// Its name.
    #[serde(rename = "segment")]
    pub name: &'static str,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// What the configured delays alone make of it.
    #[serde(rename = "floor_ms", serialize_with = "maybe_milliseconds")]
    pub floor: Option<Duration>,
}

impl CriticalPath {
    /// The path from `start` over the milestones to the last of them; none while that is not reached.
    ///
    /// A milestone that is missing, or out of turn (as media that came before the answer), is not on the path: its
    /// time and its floor belong to the segment after it.
    pub fn new(start: Time, milestones: &[Milestone]) -> Option<Self> {
        let (last, before) = milestones.split_last()?;
        let end = last.at.filter(|&end| start <= end)?;
        let mut here = start;
        let mut floor = Some(Duration::ZERO);
        let mut segments = Vec::with_capacity(milestones.len());
        for milestone in before.iter().chain([last]) {
            floor = floor.zip(milestone.floor).map(|(sum, more)| sum + more);
            let Some(at) = milestone.at.filter(|&at| here <= at && at <= end) else { continue };
            segments.push(Segment { name: milestone.segment, took: at - here, floor });
            here = at;
            floor = Some(Duration::ZERO);
        }
        Some(Self { segments })
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The sum of the segments.
    pub fn total(&self) -> Duration {
        self.segments.iter().map(|segment| segment.took).sum()
    }

    /// What the configured delays alone make of the total.
    pub fn floor(&self) -> Option<Duration> {
        self.segments.iter().map(|segment| segment.floor).sum()
    }

    /// The total above its floor.
    pub fn overhead(&self) -> Option<Delta> {
        self.floor().map(|floor| Delta::above(self.total(), floor))
    }
}

impl Serialize for CriticalPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CriticalPath", 4)?;
        fields.serialize_field("total_ms", &Delta::from(self.total()).as_millis())?;
        fields.serialize_field("floor_ms", &self.floor().map(|floor| Delta::from(floor).as_millis()))?;
        fields.serialize_field("overhead_ms", &self.overhead().map(Delta::as_millis))?;
        fields.serialize_field("segments", &self.segments)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Option<Time> {
        Some(Time::from_nanos(ms * 1_000_000 + 7))
    }

    fn names(path: &CriticalPath) -> Vec<(&'static str, u128)> {
        path.segments().iter().map(|segment| (segment.name, segment.took.as_millis())).collect()
    }

    #[test]
    fn segments_tile_the_total() {
        let start = Time::from_nanos(7);
        let milestones =
            [Milestone::local("a", at(0)), Milestone::local("b", at(3)), Milestone::local("c", at(10))];
        let path = CriticalPath::new(start, &milestones).unwrap();
        assert_eq!(names(&path), [("a", 0), ("b", 3), ("c", 7)]);
        assert_eq!(path.total(), at(10).unwrap() - start);
    }

    #[test]
    fn a_missing_milestone_leaves_time_and_floor_to_the_next_segment() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let milestones = [
            Milestone::local("a", at(1)),
            Milestone::over("b", None, ms(2)),
            Milestone::over("c", at(9), ms(3)),
        ];
        let path = CriticalPath::new(Time::from_nanos(7), &milestones).unwrap();
        assert_eq!(names(&path), [("a", 1), ("c", 8)]);
        assert_eq!(path.floor(), ms(5));
        assert_eq!(path.overhead(), Some(Delta(4_000_000)));
    }

    #[test]
    fn milestones_out_of_turn_are_not_on_the_path() {
        // b is earlier than a, and c comes after the end.
        let milestones = [
            Milestone::local("a", at(4)),
            Milestone::local("b", at(2)),
            Milestone::local("c", at(12)),
            Milestone::local("end", at(8)),
        ];
        let path = CriticalPath::new(Time::from_nanos(7), &milestones).unwrap();
        assert_eq!(names(&path), [("a", 4), ("end", 4)]);
    }

    #[test]
    fn without_its_end_there_is_no_path() {
        let milestones = [Milestone::local("a", at(1)), Milestone::local("end", None)];
        assert_eq!(CriticalPath::new(Time::from_nanos(7), &milestones), None);
        assert_eq!(CriticalPath::new(Time::from_nanos(0), &[]), None);
    }
}

//! The frames on their way, in order of departure.

use crate::table::Direction;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A frame with its `virtio_net_hdr` before it.
pub(crate) type Frame = Vec<u8>;

/// Frames that wait for their departure: a queue per direction, and the heads of the queues in order.
///
/// Departures of one direction never decrease, so only heads have to be compared: bulk traffic on few links costs
/// nothing to sort, and what is on one link can be dropped without a search.
#[derive(Debug)]
pub(crate) struct Flight {
    queues: Vec<VecDeque<Waiting>>,
    /// The head of each queue that is not empty, and heads that have gone since (see [`Flight::head`]).
    heads: BinaryHeap<Reverse<(u64, u64, Direction)>>,
    sequence: u64,
    frames: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    departure: u64,
    /// Frames that depart at the same time do so in the order in which they came.
    sequence: u64,
    frame: Frame,
}

/// A frame that departs.
#[derive(Debug, PartialEq)]
pub(crate) struct Departing {
    /// When it should, in nanoseconds.
    pub(crate) departure: u64,
    /// Where to.
    pub(crate) direction: Direction,
    /// The frame.
    pub(crate) frame: Frame,
}

impl Flight {
    /// Nothing on its way in so many directions.
    pub(crate) fn new(directions: usize) -> Self {
        Flight {
            queues: (0..directions).map(|_| VecDeque::new()).collect(),
            heads: BinaryHeap::with_capacity(directions),
            sequence: 0,
            frames: 0,
            bytes: 0,
        }
    }

    /// Frames on their way.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets a frame wait until `departure`, which is no earlier than that of the frame before it in this direction.
    pub(crate) fn push(&mut self, direction: Direction, departure: u64, frame: Frame) {
        self.sequence += 1;
        self.frames += 1;
        self.bytes += frame.len();
        let queue = &mut self.queues[direction];
        if queue.is_empty() {
            self.heads.push(Reverse((departure, self.sequence, direction)));
        }
        queue.push_back(Waiting { departure, sequence: self.sequence, frame });
    }

    /// Lets a frame depart before all that wait in this direction.
    pub(crate) fn push_ahead(&mut self, direction: Direction, departure: u64, frame: Frame) {
        self.sequence += 1;
        self.frames += 1;
        self.bytes += frame.len();
        self.heads.push(Reverse((departure, self.sequence, direction)));
        self.queues[direction].push_front(Waiting { departure, sequence: self.sequence, frame });
    }

    /// The earliest departure.
    pub(crate) fn next_departure(&mut self) -> Option<u64> {
        self.head().map(|(departure, _)| departure)
    }

    /// The next frame, if its departure is not after `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Departing> {
        let (_, direction) = self.head().filter(|&(departure, _)| departure <= now)?;
        self.heads.pop();
        let queue = &mut self.queues[direction];
        let Waiting { departure, frame, .. } = queue.pop_front()?;
        if let Some(next) = queue.front() {
            self.heads.push(Reverse((next.departure, next.sequence, direction)));
        }
        self.frames -= 1;
        self.bytes -= frame.len();
        Some(Departing { departure, direction, frame })
    }

    /// Drops what is on its way in a direction, and says how many frames that were.
    pub(crate) fn clear(&mut self, direction: Direction) -> u64 {
        let dropped = std::mem::take(&mut self.queues[direction]);
        self.frames -= dropped.len();
        self.bytes -= dropped.iter().map(|waiting| waiting.frame.len()).sum::<usize>();
        dropped.len() as u64
    }

    /// Departure and direction of the next frame. Forgets heads whose frames were dropped by [`Flight::clear`].
    fn head(&mut self) -> Option<(u64, Direction)> {
        while let Some(&Reverse((departure, sequence, direction))) = self.heads.peek() {
            if self.queues[direction].front().is_some_and(|waiting| waiting.sequence == sequence) {
                return Some((departure, direction));
            }
            self.heads.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(flight: &mut Flight, now: u64) -> Vec<(u64, Direction, u8)> {
        std::iter::from_fn(|| flight.pop_due(now))
            .map(|departing| (departing.departure, departing.direction, departing.frame[0]))
            .collect()
    }

    #[test]
    fn departures_are_in_order_over_all_directions() {
        let mut flight = Flight::new(3);
        flight.push(0, 30, vec![1]);
        flight.push(1, 10, vec![2]);
        flight.push(1, 20, vec![3]);
        flight.push(2, 20, vec![4]);
        flight.push(0, 30, vec![5]);
        assert_eq!(flight.next_departure(), Some(10));
        assert_eq!(order(&mut flight, 25), [(10, 1, 2), (20, 1, 3), (20, 2, 4)]);
        assert_eq!(flight.next_departure(), Some(30));
        assert_eq!(order(&mut flight, 30), [(30, 0, 1), (30, 0, 5)]);
        assert_eq!((flight.next_departure(), flight.frames(), flight.bytes()), (None, 0, 0));
    }

    #[test]
    fn equal_departures_keep_the_order_of_arrival() {
        let mut flight = Flight::new(2);
        for n in 0..10 {
            flight.push(usize::from(n % 2), 5, vec![n]);
        }
        let frames: Vec<u8> = order(&mut flight, 5).into_iter().map(|(_, _, frame)| frame).collect();
        assert_eq!(frames, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_may_go_ahead_of_its_direction() {
        let mut flight = Flight::new(2);
        flight.push(0, 20, vec![1]);
        flight.push(0, 30, vec![2]);
        flight.push_ahead(0, 10, vec![3]);
        flight.push(1, 15, vec![4]);
        flight.push_ahead(0, 11, vec![5]);
        assert_eq!(flight.frames(), 5);
        assert_eq!(order(&mut flight, 40), [(11, 0, 5), (10, 0, 3), (15, 1, 4), (20, 0, 1), (30, 0, 2)]);
        flight.push_ahead(0, 10, vec![6]);
        assert_eq!((flight.clear(0), flight.next_departure(), flight.frames()), (1, None, 0));
    }

    #[test]
    fn a_cleared_direction_sends_nothing_and_can_be_used_again() {
        let mut flight = Flight::new(2);
        flight.push(0, 10, vec![1]);
        flight.push(0, 11, vec![2]);
        flight.push(1, 12, vec![3]);
        assert_eq!(flight.clear(0), 2);
        assert_eq!(flight.clear(0), 0);
        flight.push(0, 5, vec![4]);
        assert_eq!(flight.frames(), 2);
        assert_eq!(order(&mut flight, 100), [(5, 0, 4), (12, 1, 3)]);
        assert_eq!(flight.next_departure(), None);
    }
}

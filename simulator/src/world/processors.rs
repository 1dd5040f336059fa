//! Servers with a CPU quota: what comes for one waits until it has dealt with what came before, and a server that has used
//! up its quota waits for the next period.

use super::World;
use super::flight::InFlight;
use samp_model::random::seed_for;
use samp_model::settings::UNREAD;
use samp_model::{Event, NodeId, Time, Topology};
use samp_protocol::{Admission, Input};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

/// The CPU time that a server gets in one period, as in a lab.
const QUOTA: Duration = Duration::from_millis(1);
/// What a server needs for a message where the topology does not say: docs/overload.md has the measurement.
const WORK: Duration = Duration::from_micros(150);
/// Datagrams that fit into a server's socket, about, where its user may have all the room that it asks for.
const ROOM: usize = 1600;
/// How often what each server has had is written down, as in a lab.
const ACCOUNT: Duration = Duration::from_secs(1);

/// The processors of all servers that have one of their own; none without quotas.
pub(super) struct Processors {
    work: Duration,
    by_server: BTreeMap<NodeId, Processor>,
    /// When each goes on that has something to do.
    turns: BTreeSet<(Time, NodeId)>,
    /// When they are accounted for next.
    account: Time,
}

struct Processor {
    quota: Quota,
    waiting: VecDeque<(Time, InFlight)>,
    /// What is done with at the next turn.
    in_hand: Option<InFlight>,
    /// The next turn.
    turn: Option<Time>,
    /// At a SIP server, what is worth its time.
    admission: Option<Admission>,
    /// For how long all has waited too long, as the server knows it.
    lag: Duration,
    /// What has been passed on through tunnels since that was written down.
    tunnelled: Tunnelled,
}

/// Datagrams that were passed on, and how long they were at the server.
#[derive(Clone, Copy, Debug, Default)]
struct Tunnelled {
    datagrams: u64,
    took: Duration,
    longest: Duration,
}

/// How a server's CPU time is cut into periods, as the kernel's bandwidth control does it: a processor takes all of a period's
/// time when it has none, and keeps what it does not need, to the end of a later period if need be.
struct Quota {
    period: Duration,
    /// When the first whole period begins.
    phase: Duration,
    /// Which period `left` is of.
    now_in: u64,
    /// What nobody has taken of that period.
    left: Duration,
    /// What the server's processor has.
    taken: Duration,
    usage: Usage,
}

/// What a server has had since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    used: Duration,
    throttled: Duration,
    periods: u64,
    periods_throttled: u64,
    datagrams: u64,
}

impl Processors {
    /// Those of a topology.
    pub(super) fn new(topology: &Topology) -> Self {
        let emulation = &topology.emulation;
        Self {
            work: emulation.server_work.unwrap_or(WORK),
            by_server: BTreeMap::new(),
            turns: BTreeSet::new(),
            account: Time::ZERO + ACCOUNT,
        }
    }

    /// A server starts: with a new processor, if it has one of its own.
    pub(super) fn start(&mut self, now: Time, topology: &Topology, server: NodeId, speaks_sip: bool) {
        self.end(server);
        let Some(thousandths) = topology.emulation.server_cpu else { return };
        if self.by_server.is_empty() {
            self.account = now + ACCOUNT;
        }
        let phase = seed_for(topology.seed, &format!("quota {}", topology.node(server).name));
        self.by_server.insert(
            server,
            Processor {
                quota: Quota::new(thousandths, phase),
                waiting: VecDeque::new(),
                in_hand: None,
                turn: None,
                admission: speaks_sip.then(|| Admission::new(topology.samp.source_rate)),
                lag: Duration::ZERO,
                tunnelled: Tunnelled::default(),
            },
        );
    }

    /// A server has crashed: what waited for it is lost.
    pub(super) fn end(&mut self, server: NodeId) {
        let turn = self.by_server.remove(&server).and_then(|processor| processor.turn);
        turn.map(|at| self.turns.remove(&(at, server)));
    }

    /// When one of them goes on, or is accounted for.
    pub(super) fn next_instant(&self) -> Option<Time> {
        let account = (!self.by_server.is_empty()).then_some(self.account);
        self.turns.first().map(|(at, _)| *at).into_iter().chain(account).min()
    }

    /// The instant from which on a node may do something: later than `now` when its processor is taken.
    pub(super) fn free_at(&self, node: NodeId, now: Time) -> Time {
        let processor = self.by_server.get(&node);
        processor.map_or(now, |processor| processor.turn.unwrap_or_else(|| processor.quota.ready(now)))
    }

    fn set_turn(&mut self, server: NodeId, at: Time) {
        if let Some(processor) = self.by_server.get_mut(&server) {
            processor.turn = Some(at);
            self.turns.insert((at, server));
        }
    }
}

impl Quota {
    fn new(thousandths: NonZeroU16, phase: u64) -> Self {
        let period = QUOTA * 1000 / u32::from(thousandths.get());
        let phase = Duration::from_nanos(phase % period.as_nanos() as u64);
        Self { period, phase, now_in: 0, left: QUOTA, taken: Duration::ZERO, usage: Usage::default() }
    }

    fn period_of(&self, at: Time) -> u64 {
        let since = (at - Time::ZERO) + self.period - self.phase;
        (since.as_nanos() / self.period.as_nanos()) as u64
    }

    fn begin_of(&self, period: u64) -> Time {
        let nanos = self.period.as_nanos() as u64 * period + self.phase.as_nanos() as u64;
        Time::from_nanos(nanos - self.period.as_nanos() as u64)
    }

    /// The first instant, from `at` on, at which there is CPU time left.
    fn ready(&self, at: Time) -> Time {
        let period = self.period_of(at);
        let is_used_up = period == self.now_in && self.left.is_zero() && self.taken.is_zero();
        if is_used_up { self.begin_of(period + 1) } else { at }
    }

    /// Somebody wants to run: if there is no time left, until when it is held back.
    fn hold_back(&mut self, now: Time) -> Option<Time> {
        let ready = Some(self.ready(now)).filter(|&ready| ready > now)?;
        self.usage.throttled += ready - now;
        self.usage.periods_throttled += 1;
        Some(ready)
    }

    /// Uses so much CPU time from `at` on, when there is some left. Says when that is done.
    fn run(&mut self, mut at: Time, mut work: Duration) -> Time {
        self.usage.used += work;
        loop {
            let period = self.period_of(at);
            if period != self.now_in || self.usage.periods == 0 {
                (self.now_in, self.left) = (period, QUOTA);
                self.usage.periods += 1;
            }
            if self.taken.is_zero() {
                self.taken = std::mem::take(&mut self.left);
            }
            let step = work.min(self.taken);
            (self.taken, work, at) = (self.taken - step, work - step, at + step);
            if work.is_zero() {
                return at;
            }
            at = self.hold_back(at).unwrap_or(at);
        }
    }
}

impl World {
    /// Lets something wait for a server's processor; what comes for a node without one is given back.
    pub(super) fn queue(&mut self, node: NodeId, arrived: InFlight) -> Option<InFlight> {
        let now = self.now;
        let Some(processor) = self.processors.by_server.get_mut(&node) else { return Some(arrived) };
        if processor.waiting.len() >= ROOM {
            self.lose("no room", arrived);
            return None;
        }
        processor.waiting.push_back((now, arrived));
        self.begin_next(node);
        None
    }

    /// What is due at the processors.
    pub(super) fn step_processors(&mut self, now: Time) {
        match self.processors.turns.first().copied() {
            Some((at, server)) if at <= now => {
                self.processors.turns.pop_first();
                self.take_turn(server);
            }
            _ => self.account(),
        }
    }

    /// A server has dealt with what it had in hand, or has CPU time again.
    fn take_turn(&mut self, server: NodeId) {
        let Some(processor) = self.processors.by_server.get_mut(&server) else { return };
        processor.turn = None;
        if let Some(message) = processor.in_hand.take() {
            self.receive(server, message);
        }
        if self.actors[server.0].as_ref().and_then(|actor| actor.timeout).is_some_and(|at| at <= self.now) {
            self.handle_timeouts(server);
        }
        self.begin_next(server);
    }

    /// Takes up what has waited longest, unless the server is paused, or has a turn to come.
    pub(super) fn begin_next(&mut self, server: NodeId) {
        let now = self.now;
        if self.actors[server.0].as_ref().is_none_or(|actor| actor.paused.is_some()) {
            return;
        }
        let work = self.processors.work;
        let processor = self.processors.by_server.get_mut(&server);
        let Some(processor) = processor.filter(|processor| processor.turn.is_none()) else { return };
        let Some(&(arrived, _)) = processor.waiting.front() else {
            if let Some(admission) = &mut processor.admission {
                admission.note_empty();
            }
            return;
        };
        if let Some(ready) = processor.quota.hold_back(now) {
            return self.processors.set_turn(server, ready);
        }
        let Some((_, message)) = processor.waiting.pop_front() else { return };
        let is_admitted = match (&mut processor.admission, message.datagram_from()) {
            (Some(admission), Some(from)) => admission.admits(now, from, now - arrived),
            _ => true,
        };
        // Agents of Mobile IPv6 read their own messages only.
        let is_read = is_admitted && (processor.admission.is_some() || message.is_mobility());
        let work = if is_read { work } else { work / UNREAD };
        let done = processor.quota.run(now, work);
        if processor.admission.is_some() {
            processor.quota.usage.datagrams += 1;
        } else if !is_read {
            let (tunnelled, took) = (&mut processor.tunnelled, done - arrived);
            tunnelled.datagrams += 1;
            tunnelled.took += took;
            tunnelled.longest = tunnelled.longest.max(took);
        }
        let lag = processor.admission.as_ref().map_or(Duration::ZERO, |admission| admission.lag(now));
        let is_news = std::mem::replace(&mut processor.lag, lag) != lag;
        if is_admitted {
            processor.in_hand = Some(message);
        } else {
            self.lose("not admitted", message);
        }
        self.processors.set_turn(server, done);
        if is_news {
            self.input(server, Input::Lag(lag));
        }
    }

    /// Writes down what each server has had.
    fn account(&mut self) {
        let servers = self.processors.by_server.iter_mut();
        let accounts: Vec<_> = servers
            .map(|(&server, it)| (server, it.quota.usage, std::mem::take(&mut it.tunnelled)))
            .collect();
        for (server, usage, Tunnelled { datagrams, took, longest }) in accounts {
            if datagrams > 0 {
                self.note_event(server, Event::Tunnelled { datagrams, took, longest });
            }
            let Usage { used, throttled, periods, periods_throttled, datagrams } = usage;
            let datagrams = Some(datagrams);
            let event = Event::ServerCpu { used, throttled, periods, periods_throttled, datagrams };
            self.note_event(server, event);
        }
        self.processors.account = self.now + ACCOUNT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(1000 * micros)
    }

    /// 1 ms every 10 ms, the first whole period at 4 ms.
    fn quota() -> Quota {
        Quota::new(NonZeroU16::new(100).unwrap(), 4_000_000)
    }

    #[test]
    fn work_is_done_at_once_while_there_is_time_left_and_then_in_the_next_period() {
        let mut quota = quota();
        for (from, work, done) in [
            (5_000, 600, 5_600),
            // 400 µs are left of this period; 4 ms and 14 ms are where periods begin.
            (6_000, 500, 14_100),
            (14_100, 900, 15_000),
        ] {
            assert_eq!(quota.ready(at(from)), at(from));
            assert_eq!(quota.run(at(from), Duration::from_micros(work)), at(done), "{from}");
        }
        assert_eq!(quota.ready(at(15_000)), at(24_000), "all is used");
        assert_eq!(quota.ready(at(24_000)), at(24_000));
        // What is longer than a period's time takes several.
        assert_eq!(quota.run(at(24_000), Duration::from_micros(2_500)), at(44_500));
        let Usage { used, throttled, periods, periods_throttled, .. } = quota.usage;
        assert_eq!(used, Duration::from_micros(4_500));
        assert_eq!((periods, periods_throttled), (5, 3));
        // From 6.4 ms to 14 ms, and twice 9 ms.
        assert_eq!(throttled, Duration::from_micros(7_600 + 2 * 9_000));
    }

    #[test]
    fn what_was_taken_is_kept_and_what_was_not_is_gone_with_its_period() {
        let mut quota = quota();
        // 950 µs of the first period are kept for this one, which has another 1 ms, and no more.
        assert_eq!(quota.run(at(3_900), Duration::from_micros(50)), at(3_950));
        assert_eq!(quota.run(at(50_000), Duration::from_micros(1_950)), at(51_950));
        assert_eq!(quota.ready(at(51_950)), at(54_000));
        assert_eq!(quota.run(at(54_000), Duration::from_micros(1_001)), at(64_001));
    }

    #[test]
    fn a_whole_processor_is_never_held_back() {
        let mut quota = Quota::new(NonZeroU16::new(1000).unwrap(), 300_000);
        let mut now = at(100);
        for _ in 0..100 {
            assert_eq!(quota.ready(now), now);
            let done = quota.run(now, Duration::from_micros(700));
            assert_eq!(done - now, Duration::from_micros(700));
            now = done;
        }
        assert_eq!(quota.usage.throttled, Duration::ZERO);
    }
}

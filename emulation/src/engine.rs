//! The thread: receives, sends what is due, obeys, and sleeps or spins until the next departure.

use crate::counters::Counters;
use crate::flight::{Departing, Flight, Frame};
use crate::histogram::Histogram;
use crate::kernel::{ETHERNET_HEADER, Sockets, VNET_HEADER};
use crate::link::{Link, Passage, QueueFull};
use crate::spec::LineSpec;
use crate::table::{Direction, Table, Way};
use crate::trail::Trail;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use samp_model::Time;
use samp_model::topology::LinkQuality;
use samp_sys::clock::{monotonic_nanos, realtime_nanos};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::Duration;

/// The thread wakes up so long before a departure and spins: longer than it takes to wake up.
const SPIN: u64 = 60_000;

/// Frames sent in a row before the sockets are looked after again.
const SEND_BATCH: usize = 64;

/// Frames received in a row before those that are due are sent: all that the sockets can hold.
const RECEIVE_BATCH: usize = 4096;

/// Bytes that may be on their way; beyond, frames are dropped.
const MEMORY: usize = 256 << 20;

/// Ordinary frames fit; their buffers are used again.
const BUFFER: usize = 2048;

/// Buffers kept.
const SPARE_BUFFERS: usize = 4096;

/// A frame older than this when it is read has a wrong time stamp: somebody has set the clock.
const OLDEST: u64 = 1_000_000_000;

/// Which link is meant, by its place in the [`LineSpec`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkNumber {
    Pipe(usize),
    Radio(usize),
}

/// What the handle asks. Answers of writes are when they took effect, and how many frames they dropped.
#[derive(Debug)]
pub(crate) enum Command {
    Attach { radio: usize, access: Option<usize>, reply: SyncSender<(Time, u64)> },
    Flush { pipe: usize, reply: SyncSender<(Time, u64)> },
    SetQuality { link: LinkNumber, quality: Box<[LinkQuality; 2]>, reply: SyncSender<()> },
    Counters { reply: SyncSender<Counters> },
    Stop,
}

/// All that the thread owns.
#[derive(Debug)]
pub(crate) struct Engine {
    sockets: Sockets,
    table: Table,
    air: Air,
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
    duty: Duty,
}

/// The links and what is on them.
#[derive(Debug)]
struct Air {
    links: Vec<Link>,
    flight: Flight,
    spare: Vec<Frame>,
    counters: Counters,
    lateness: Histogram,
    trail: Trail,
}

impl Engine {
    /// A line that is not running yet; `wake` becomes readable with every command.
    pub(crate) fn new(
        sockets: Sockets,
        table: Table,
        spec: &LineSpec,
        commands: Receiver<Command>,
        wake: Arc<EventFd>,
    ) -> Self {
        let pipes = spec.pipes.iter().flat_map(|pipe| pipe.quality);
        let radios = spec.radios.iter().flat_map(|radio| [radio.up, radio.down]);
        // Radios are numbered apart from pipes, so that one more pipe does not change their losses.
        let ends = (0..2 * spec.pipes.len() as u64).chain(1 << 32..);
        let links: Vec<_> =
            pipes.chain(radios).zip(ends).map(|(quality, end)| Link::new(quality, spec.seed, end)).collect();
        let air = Air {
            flight: Flight::new(links.len()),
            links,
            spare: (0..SPARE_BUFFERS / 8).map(|_| Vec::with_capacity(BUFFER)).collect(),
            counters: Counters::default(),
            lateness: Histogram::new(),
            trail: Trail::new(),
        };
        Engine { sockets, table, air, commands, wake, duty: Duty::new(monotonic_nanos()) }
    }

    /// Runs until it is told to stop, or the handle is gone.
    pub(crate) fn run(&mut self) {
        loop {
            self.receive();
            self.send_due(SEND_BATCH);
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => self.wait(),
            }
        }
    }

    /// Takes the frames that have come in.
    fn receive(&mut self) {
        let Engine { sockets, table, air, .. } = self;
        if !sockets.is_readable() {
            return;
        }
        let (now, realtime) = (monotonic_nanos(), realtime_nanos());
        for _ in 0..RECEIVE_BATCH {
            let Some(received) = sockets.next() else { return };
            // Frames may be newer than `realtime`, by as much as this loop has run.
            let age = realtime as i64 - received.stamp() as i64;
            let arrival = if age.unsigned_abs() < OLDEST { now.saturating_add_signed(-age) } else { now };
            let interface = received.interface();
            let Some(bytes) = received.bytes() else {
                air.counters.frames_in += 1;
                air.counters.dropped_malformed += 1;
                continue;
            };
            let Some(destination) = bytes[VNET_HEADER..].first_chunk() else { continue };
            let arrival = arrival.saturating_sub(air.trail.lateness(bytes, arrival));
            match table.route(interface, *destination) {
                Way::One(direction) => air.enter(direction, arrival, bytes),
                Way::Radios(radios) => {
                    radios.iter().for_each(|&radio| air.enter(table.down(radio), arrival, bytes));
                }
                Way::Unattached => {
                    air.counters.frames_in += 1;
                    air.counters.dropped_unattached += 1;
                }
                Way::Foreign => {}
            }
        }
    }

    /// Sends up to so many frames whose departure has come.
    fn send_due(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let now = monotonic_nanos();
            let Some(Departing { departure, direction, frame }) = self.air.flight.pop_due(now) else {
                return;
            };
            // A detached radio has nothing on its way, so there is always an exit.
            let sent = self.table.exit(direction).is_some_and(|exit| self.sockets.send(exit, &frame).is_ok());
            if sent {
                self.air.counters.delivered += 1;
                self.air.lateness.add(now - departure);
                self.air.trail.sent(&frame, now, now - departure);
            } else {
                self.air.counters.send_errors += 1;
            }
            self.air.recycle(frame);
        }
    }

    fn obey(&mut self, command: Command) {
        // Who asked may be gone: then nobody misses the answer.
        let _ = match command {
            Command::Attach { radio, access, reply } => reply.send(self.attach(radio, access)).is_ok(),
            Command::Flush { pipe, reply } => {
                self.settle();
                reply.send(self.air.clear([2 * pipe, 2 * pipe + 1])).is_ok()
            }
            Command::SetQuality { link, quality, reply } => {
                self.settle();
                let first = match link {
                    LinkNumber::Pipe(pipe) => 2 * pipe,
                    LinkNumber::Radio(radio) => self.table.up(radio),
                };
                for (direction, quality) in (first..).zip(*quality) {
                    self.air.links[direction].set_quality(quality);
                }
                reply.send(()).is_ok()
            }
            Command::Counters { reply } => {
                self.settle();
                self.air.counters.missed += self.sockets.missed();
                reply.send(self.air.counters()).is_ok()
            }
            // Handled by `run`.
            Command::Stop => true,
        };
    }

    fn attach(&mut self, radio: usize, access: Option<usize>) -> (Time, u64) {
        self.settle();
        if self.table.attachment(radio) == access {
            return (Time::from_nanos(monotonic_nanos()), 0);
        }
        self.table.attach(radio, access);
        self.air.clear([self.table.up(radio), self.table.down(radio)])
    }

    /// Brings everything up to date before something changes: what has come in is on its way, what is due has left.
    fn settle(&mut self) {
        self.receive();
        self.send_due(usize::MAX);
    }

    /// Sleeps until shortly before the next departure, a frame or a command; returns at once when that is near.
    fn wait(&mut self) {
        let now = monotonic_nanos();
        let timeout = match self.air.flight.next_departure() {
            Some(departure) if departure <= now => return,
            Some(departure) => {
                let remaining = departure - now;
                // Without real-time scheduling a timer may be late by a thousandth of its time.
                let sleep = remaining.saturating_sub(SPIN + remaining / 500);
                if sleep == 0 && self.duty.may_spin(now) {
                    std::hint::spin_loop();
                    return;
                }
                Some(TimeSpec::from(Duration::from_nanos(if sleep == 0 { remaining } else { sleep })))
            }
            None => None,
        };
        if self.sockets.is_readable() {
            return;
        }
        let [small, large] = self.sockets.receivers();
        let mut descriptors = [small, large, self.wake.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        // An error can only be an interruption: then there is one turn more.
        let _ = ppoll(&mut descriptors, timeout, None);
        if descriptors[2].any().unwrap_or(false) {
            let _ = self.wake.read();
        }
        self.duty.slept(monotonic_nanos() - now);
    }
}

impl Air {
    /// Lets a frame onto a link.
    fn enter(&mut self, direction: Direction, arrival: u64, bytes: &[u8]) {
        self.counters.frames_in += 1;
        if self.flight.bytes() + bytes.len() > MEMORY {
            self.counters.dropped_queue_full += 1;
            return;
        }
        let bits = 8 * bytes_on_line(bytes);
        let copies = self.links[direction].copies();
        self.counters.lost += u64::from(copies == 0);
        self.counters.duplicated += u64::from(copies.saturating_sub(1));
        for _ in 0..copies {
            match self.links[direction].pass(arrival, bits) {
                Ok(Passage::InOrder(departure)) => {
                    let frame = self.buffered(bytes);
                    self.flight.push(direction, departure, frame);
                }
                Ok(Passage::Ahead(departure)) => {
                    let frame = self.buffered(bytes);
                    self.flight.push_ahead(direction, departure, frame);
                }
                Err(QueueFull) => self.counters.dropped_queue_full += 1,
            }
        }
    }

    fn buffered(&mut self, bytes: &[u8]) -> Frame {
        let spare = if bytes.len() <= BUFFER { self.spare.pop() } else { None };
        let mut frame = spare.unwrap_or_else(|| Vec::with_capacity(bytes.len().max(BUFFER)));
        frame.extend_from_slice(bytes);
        frame
    }

    /// Drops what is on a link, in both directions.
    fn clear(&mut self, directions: [Direction; 2]) -> (Time, u64) {
        let mut dropped = 0;
        for direction in directions {
            dropped += self.flight.clear(direction);
            self.links[direction].clear();
        }
        self.counters.dropped_on_air += dropped;
        (Time::from_nanos(monotonic_nanos()), dropped)
    }

    fn recycle(&mut self, mut frame: Frame) {
        if frame.capacity() < 2 * BUFFER && self.spare.len() < SPARE_BUFFERS {
            frame.clear();
            self.spare.push(frame);
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            in_flight: self.flight.frames() as u64,
            late_p50: self.lateness.quantile(0.5),
            late_p99: self.lateness.quantile(0.99),
            late_max: self.lateness.max(),
            ..self.counters
        }
    }
}

/// Bytes that a frame takes on a line: of a segmented one, each segment repeats the headers.
///
/// `frame` begins with its `virtio_net_hdr` (virtio 1.3, §5.1.6) and has a whole Ethernet header.
fn bytes_on_line(frame: &[u8]) -> u64 {
    const TCP4: u8 = 1;
    const TCP6: u8 = 4;
    const UDP: u8 = 5;
    const EXPLICIT_CONGESTION: u8 = 0x80;
    let (header, frame) = frame.split_at(VNET_HEADER);
    let word = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let (segment, transport) = (word(4), word(6));
    let headers = match header[1] & !EXPLICIT_CONGESTION {
        TCP4 | TCP6 => transport + usize::from(frame.get(transport + 12).copied().unwrap_or(0) >> 4) * 4,
        UDP => transport + 8,
        _ => 0,
    };
    let payload = frame.len().saturating_sub(headers.max(ETHERNET_HEADER));
    let repeated = if headers == 0 || segment == 0 { 0 } else { payload.div_ceil(segment).saturating_sub(1) };
    (frame.len() + repeated * headers) as u64
}

/// Keeps the thread from spinning away a processor that the nodes need, and from being throttled by the kernel, which
/// stops real-time threads for 50 ms in a second when they never sleep.
#[derive(Debug)]
struct Duty {
    since: u64,
    slept: u64,
}

impl Duty {
    /// Time over which the share is taken.
    const WINDOW: u64 = 50_000_000;
    /// Time at the beginning of a window that is free.
    const GRACE: u64 = 5_000_000;

    fn new(now: u64) -> Self {
        Duty { since: now, slept: 0 }
    }

    /// Whether the thread has slept for half of the time lately.
    fn may_spin(&mut self, now: u64) -> bool {
        if now - self.since > Self::WINDOW {
            *self = Duty::new(now);
        }
        let elapsed = now - self.since;
        elapsed < Self::GRACE || 2 * self.slept > elapsed
    }

    fn slept(&mut self, nanos: u64) {
        self.slept += nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, segment: u16, transport: u16, len: usize) -> Vec<u8> {
        let mut frame = vec![0, kind, 0, 0];
        frame.extend(segment.to_ne_bytes());
        frame.extend(transport.to_ne_bytes());
        frame.extend([0, 0]);
        frame.resize(VNET_HEADER + len, 0);
        frame[VNET_HEADER + usize::from(transport) + 12] = 0x80;
        frame
    }

    #[test]
    fn an_ordinary_frame_takes_its_length() {
        assert_eq!(bytes_on_line(&frame(0, 0, 34, 100)), 100);
    }

    #[test]
    fn a_segmented_frame_takes_headers_for_every_segment() {
        // Ethernet 14, IPv4 20, TCP 32 (data offset 8); three segments, the last one short.
        assert_eq!(bytes_on_line(&frame(1, 1448, 34, 66 + 2 * 1448 + 10)), 3 * 66 + 2 * 1448 + 10);
        assert_eq!(bytes_on_line(&frame(0x81, 1448, 34, 66 + 1448)), 66 + 1448);
        assert_eq!(bytes_on_line(&frame(5, 1000, 34, 42 + 3000)), 3 * 42 + 3000);
    }

    #[test]
    fn a_strange_header_does_no_harm() {
        let mut strange = frame(1, 0, 34, 100);
        assert_eq!(bytes_on_line(&strange), 100);
        strange[4..8].copy_from_slice(&[255; 4]);
        assert_eq!(bytes_on_line(&strange), 100);
    }

    #[test]
    fn spinning_stops_when_the_thread_never_sleeps() {
        let mut duty = Duty::new(0);
        assert!(duty.may_spin(1_000_000));
        assert!(!duty.may_spin(6_000_000));
        duty.slept(10_000_000);
        assert!(duty.may_spin(16_000_000));
        assert!(!duty.may_spin(30_000_000));
        assert!(duty.may_spin(60_000_000), "a new window");
    }
}

//! Capturing: what passes interfaces of a running lab, into a pcapng file or a pipe.
//!
//! The lab's supervisor opens the taps; who has them needs no privilege. The kernel stamps frames with civil time,
//! which may be set meanwhile, and records have `CLOCK_MONOTONIC`. So a frame's time in the file is `CLOCK_MONOTONIC`
//! plus a constant, which the section's comment tells: what civil time was ahead when the capture began.

mod pcapng;

use crate::client::{Client, ClientError};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use samp_model::Topology;
use samp_model::capture::CapturePlace;
use samp_sys::clock;
use samp_sys::tap::{Frame, Tap};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes that wait in the kernel for all taps at most, and what each has in any case.
const BUFFERS: usize = 128 << 20;
const LEAST_BUFFER: usize = 256 << 10;
const MOST_BUFFER: usize = 8 << 20;
/// Frames, and about how many bytes, that are taken at once and put in order.
const ROUND_FRAMES: usize = 4096;
const ROUND_BYTES: usize = 4 << 20;

/// Taps on the interfaces of a lab, which hear from now on.
#[derive(Debug)]
pub struct Taps {
    lab: String,
    taps: Vec<Tapped>,
}

#[derive(Debug)]
struct Tapped {
    tap: Tap,
    node: String,
    interface: String,
    mac: [u8; 6],
    frames: u64,
}

/// When a capture is over, besides at what ends it from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// After so many frames.
    pub frames: Option<u64>,
    /// After so long.
    pub duration: Option<Duration>,
}

/// What was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Captured {
    /// How many interfaces were listened at.
    pub interfaces: usize,
    /// Frames in the file; one that passes two of the interfaces counts twice.
    pub frames: u64,
    /// Frames that found the kernel's buffer full.
    pub dropped: u64,
    /// A frame's time in the file minus its `CLOCK_MONOTONIC`, in nanoseconds.
    pub monotonic_offset: i64,
}

/// A capture that goes on in a thread of its own.
#[derive(Debug)]
pub struct Background {
    /// Ends it when closed.
    end: PipeWriter,
    thread: JoinHandle<io::Result<Captured>>,
}

/// A frame that was taken, when (`CLOCK_MONOTONIC`), and where its bytes are.
struct Taken {
    at: i64,
    interface: usize,
    start: usize,
    frame: Frame,
}

impl Taps {
    /// Asks a lab for taps at these places.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn open(
        client: &Client,
        topology: &Topology,
        places: &BTreeSet<CapturePlace>,
    ) -> Result<Self, ClientError> {
        let name = |node| topology.node(node).name.clone();
        let mut taps = Vec::new();
        for place in places {
            let node = name(place.node);
            for (interface, mac, tap) in client.capture(&node, place.towards.map(name))? {
                taps.push(Tapped { tap, node: node.clone(), interface, mac, frames: 0 });
            }
        }
        Ok(Self { lab: client.dir().name().to_owned(), taps })
    }

    /// On how many interfaces.
    pub fn count(&self) -> usize {
        self.taps.len()
    }

    /// Writes what passes until a limit is reached, one of `ends` is readable or hung up, or nobody reads `out` any more.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(
        mut self,
        out: impl Write + AsFd,
        limits: Limits,
        ends: &[BorrowedFd<'_>],
    ) -> io::Result<Captured> {
        const END: u64 = u64::MAX;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for end in ends {
            epoll.add(end, EpollEvent::new(EpollFlags::EPOLLIN, END))?;
        }
        // A pipe without a reader is told as an error; files cannot be waited for.
        match epoll.add(&out, EpollEvent::new(EpollFlags::empty(), END)) {
            Err(Errno::EPERM) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        let buffer = (BUFFERS / self.taps.len().max(1)).clamp(LEAST_BUFFER, MOST_BUFFER);
        for (number, Tapped { tap, .. }) in self.taps.iter().enumerate() {
            tap.set_buffer(buffer)?;
            epoll.add(tap, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }

        let deadline = limits.duration.map(|duration| Instant::now() + duration);
        let offset = clock::realtime_offset();
        let begin = in_file(clock::monotonic_nanos().cast_signed(), offset);
        let mut frames = 0;
        let mut dropped = 0;
        let written = self.begin(BufWriter::new(out), offset).and_then(|mut file| {
            let mut events = vec![EpollEvent::empty(); self.taps.len() + ends.len() + 1];
            let mut buffer = vec![0; pcapng::SNAP_LENGTH];
            let mut is_over = false;
            while !is_over && limits.frames.is_none_or(|most| frames < most) {
                let count = match epoll.wait(&mut events, until(deadline)) {
                    Err(Errno::EINTR) => continue,
                    result => result?,
                };
                is_over = events[..count].iter().any(|event| event.data() == END)
                    || deadline.is_some_and(|deadline| Instant::now() >= deadline);
                frames +=
                    self.round(&mut file, &mut buffer, offset, limits.frames.map(|most| most - frames))?;
                file.flush()?;
            }
            let end = in_file(clock::monotonic_nanos().cast_signed(), offset);
            for (number, tapped) in self.taps.iter().enumerate() {
                let lost = tapped.tap.dropped()?;
                dropped += lost;
                file.statistics(number as u32, [begin, end], tapped.frames, lost)?;
            }
            file.flush()
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(Captured { interfaces: self.taps.len(), frames, dropped, monotonic_offset: offset }),
        }
    }

    /// Captures into a new file at `path` until [`Background::end`].
    ///
    /// # Errors
    /// The file cannot be created, or no descriptor or thread is left.
    pub fn write_in_background(self, path: &Path) -> io::Result<Background> {
        let file = File::create_new(path)?;
        let (ended, end) = io::pipe()?;
        let capture = move || self.write(file, Limits::default(), &[ended.as_fd()]);
        let thread = thread::Builder::new().name("capture".into()).spawn(capture)?;
        Ok(Background { end, thread })
    }

    fn begin<W: Write>(&self, out: W, offset: i64) -> io::Result<pcapng::Writer<W>> {
        let comment = format!(
            "lab {}; times are CLOCK_MONOTONIC, as in samp-lab's records, plus monotonic_offset={offset} ns",
            self.lab
        );
        let mut file = pcapng::Writer::begin(out, &comment)?;
        for Tapped { node, interface, mac, .. } in &self.taps {
            file.interface(&format!("{node}:{interface}"), &format!("{interface} of {node}"), *mac)?;
        }
        file.flush()?;
        Ok(file)
    }

    /// Takes what waits and writes it in the order of its times, `most` frames at most; how many it were.
    fn round<W: Write>(
        &mut self,
        file: &mut pcapng::Writer<W>,
        buffer: &mut [u8],
        offset: i64,
        most: Option<u64>,
    ) -> io::Result<u64> {
        let mut bytes = Vec::new();
        let mut round = Vec::new();
        // As the kernel's times, so the offset is that of now.
        let ahead = clock::realtime_offset();
        for (interface, tapped) in self.taps.iter_mut().enumerate() {
            while round.len() < ROUND_FRAMES && bytes.len() < ROUND_BYTES {
                let Some(frame) = tapped.tap.next(buffer)? else { break };
                let at = i64::try_from(frame.at.as_nanos()).unwrap_or(i64::MAX).saturating_sub(ahead);
                let start = bytes.len();
                bytes.extend(&buffer[..frame.captured]);
                round.push(Taken { at, interface, start, frame });
            }
        }
        round.sort_by_key(|taken| taken.at);
        round.truncate(most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
        for taken in &round {
            let Taken { at, interface, start, frame } = *taken;
            let kept = &bytes[start..][..frame.captured];
            file.frame(interface as u32, in_file(at, offset), frame.is_outgoing, kept, frame.length)?;
            self.taps[interface].frames += 1;
        }
        Ok(round.len() as u64)
    }
}

impl Background {
    /// Ends it.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn end(self) -> io::Result<Captured> {
        drop(self.end);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The time in the file of an instant of `CLOCK_MONOTONIC`.
fn in_file(monotonic: i64, offset: i64) -> u64 {
    u64::try_from(monotonic.saturating_add(offset)).unwrap_or(0)
}

/// How long to wait.
fn until(deadline: Option<Instant>) -> EpollTimeout {
    let Some(deadline) = deadline else { return EpollTimeout::NONE };
    // Rounded up, so that nobody wakes up too early again and again.
    let rest = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    i32::try_from(rest).ok().and_then(|rest| EpollTimeout::try_from(rest).ok()).unwrap_or(EpollTimeout::MAX)
}

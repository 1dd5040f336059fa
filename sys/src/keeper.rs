//! Keepers: threads that hold network namespaces and multicast routers in descriptor tables of their own.
//!
//! The limit of open descriptors (`RLIMIT_NOFILE`) is one of each table, not of a process. So a few keepers hold what
//! one table cannot, and end with their process however that ends. Others open a kept namespace for as long as they
//! need it, by the keeper's entry in `/proc`.
#![allow(unsafe_code)]

use crate::multicast::{Miss, MulticastRouter, Version};
use crate::namespace::Namespace;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Descriptors that a keeper needs for itself at most.
const OWN: usize = 32;
/// What a keeper may hold for each of its namespaces: the namespace itself and a multicast router.
const PER_NAMESPACE: usize = 2;

/// How many namespaces one keeper can keep under this limit of open descriptors; at least one is tried.
pub fn capacity(nofile: u64) -> usize {
    let nofile = usize::try_from(nofile).unwrap_or(usize::MAX);
    (nofile.saturating_sub(OWN) / PER_NAMESPACE).max(1)
}

/// The handle of a keeper; when it is dropped, all that was kept is gone.
#[derive(Debug)]
pub struct Keeper {
    /// Where `/proc` shows its thread.
    thread: PathBuf,
    /// The number of each namespace in its table.
    namespaces: Vec<RawFd>,
    orders: Sender<Order>,
    /// A byte says that there is an order.
    bell: UnixStream,
}

/// What a keeper's multicast routers ask; readable when there may be a question, and from the keeper's end on.
#[derive(Debug)]
pub struct Misses {
    questions: Mutex<Receiver<(usize, io::Result<Miss>)>>,
    bell: UnixStream,
}

/// What is done to the multicast router of a kept namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterChange {
    /// [`MulticastRouter::open`].
    Open(Version),
    /// [`MulticastRouter::add_interface`].
    AddInterface {
        /// Its number.
        vif: u16,
        /// Its interface index.
        index: u32,
    },
    /// [`MulticastRouter::add_entry`].
    AddEntry {
        /// The sender.
        source: IpAddr,
        /// The group.
        group: IpAddr,
        /// Where its packets arrive.
        arrives: u16,
        /// Where they leave.
        leaves: Vec<u16>,
    },
    /// [`MulticastRouter::delete_entry`].
    DeleteEntry {
        /// The sender.
        source: IpAddr,
        /// The group.
        group: IpAddr,
    },
}

/// Changes, each with the number of its namespace, and where those that failed are told by their position.
struct Order {
    changes: Vec<(usize, RouterChange)>,
    reply: SyncSender<Vec<(usize, io::Error)>>,
}

impl Keeper {
    /// Starts a keeper with `count` new namespaces. `proc` is the root of a `/proc` that shows this process.
    ///
    /// # Errors
    /// As [`Namespace::create`]; also when the thread cannot be started, or is not in `proc`.
    pub fn start(proc: &File, count: usize) -> io::Result<(Self, Misses)> {
        let (bell, inside) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        inside.set_nonblocking(true)?;
        let (orders, received) = channel();
        let (asked, questions) = channel();
        let (ready, started) = sync_channel(1);
        let misses = Misses { questions: Mutex::new(questions), bell: bell.try_clone()? };
        let thread = apart(proc, inside, move |inside| {
            let kept = Kept::new(count, inside, received, asked);
            let numbers = |kept: &Kept| kept.namespaces.iter().map(|kept| kept.as_fd().as_raw_fd()).collect();
            match kept {
                Ok(kept) => {
                    // Who started this waits for the answer.
                    let _ = ready.send(Ok(numbers(&kept)));
                    kept.run();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        let ended = |_| io::Error::other("a keeper of namespaces has panicked");
        let namespaces = started.recv().map_err(ended)??;
        Ok((Self { thread, namespaces, orders, bell }, misses))
    }

    /// Namespaces that it keeps.
    pub fn count(&self) -> usize {
        self.namespaces.len()
    }

    /// Where namespace `number` is, relative to the root of the `/proc` that the keeper was started with.
    ///
    /// # Panics
    /// When there is no such namespace.
    pub fn path(&self, number: usize) -> PathBuf {
        self.thread.join("fd").join(self.namespaces[number].to_string())
    }

    /// Opens namespace `number`, by the `/proc` that the keeper was started with.
    ///
    /// # Errors
    /// No descriptor is left.
    ///
    /// # Panics
    /// When there is no such namespace.
    pub fn open(&self, proc: &File, number: usize) -> io::Result<Namespace> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Namespace::from(openat(proc, &self.path(number), flags, Mode::empty())?))
    }

    /// Does all that is asked, each change at the namespace of its number, and returns the positions of those that
    /// failed. The caller waits. When the keeper cannot be told, that counts as a failure of the first change; the changes
    /// may then be made later.
    ///
    /// # Panics
    /// When the keeper has panicked.
    pub fn change(&self, changes: Vec<(usize, RouterChange)>) -> Vec<(usize, io::Error)> {
        let (reply, failures) = sync_channel(1);
        // It fails only when the keeper has panicked; the wait for its answer finds out.
        let _ = self.orders.send(Order { changes, reply });
        // A keeper that does not hear the bell never answers.
        if let Err(error) = ring(&self.bell) {
            return vec![(0, error)];
        }
        failures.recv().expect("a keeper of namespaces is running")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // `Misses` may hold a copy of this end.
        let _ = self.bell.shutdown(std::net::Shutdown::Both);
    }
}

impl Misses {
    /// All questions that wait, each with the number of the namespace whose router asks; `None` when no more will
    /// come, as the keeper is gone. An error is the last that comes from its router.
    pub fn take(&self) -> Option<Vec<(usize, io::Result<Miss>)>> {
        // What comes after this rings again.
        let is_over = drain(&self.bell);
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Vec<_> = questions.try_iter().collect();
        (!is_over || !waiting.is_empty()).then_some(waiting)
    }
}

impl AsFd for Misses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Misses {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

/// All that a keeper's thread owns, in its own table.
struct Kept {
    namespaces: Vec<Namespace>,
    routers: BTreeMap<usize, MulticastRouter>,
    epoll: Epoll,
    bell: UnixStream,
    orders: Receiver<Order>,
    /// Bounded by the kernel, which keeps ten questions a namespace open.
    asked: Sender<(usize, io::Result<Miss>)>,
}

impl Kept {
    /// What the bell is called in the epoll set; routers are called by the number of their namespace.
    const BELL: u64 = u64::MAX;

    fn new(
        count: usize,
        bell: UnixStream,
        orders: Receiver<Order>,
        asked: Sender<(usize, io::Result<Miss>)>,
    ) -> io::Result<Self> {
        let namespaces = (0..count).map(|_| Namespace::unshare()).collect::<io::Result<_>>()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, Self::BELL))?;
        Ok(Self { namespaces, routers: BTreeMap::new(), epoll, bell, orders, asked })
    }

    /// Until the handle is gone.
    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            // An error can only be an interruption.
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            for event in &events[..count] {
                if event.data() == Self::BELL {
                    drain(&self.bell);
                    while let Ok(Order { changes, reply }) = self.orders.try_recv() {
                        // Who asked waits.
                        let _ = reply.send(self.obey(changes));
                    }
                    if event.events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP) {
                        return;
                    }
                } else {
                    self.ask(event.data() as usize);
                }
            }
        }
    }

    fn obey(&mut self, changes: Vec<(usize, RouterChange)>) -> Vec<(usize, io::Error)> {
        let results = changes.into_iter().map(|(number, change)| self.change(number, change)).enumerate();
        results.filter_map(|(position, result)| Some((position, result.err()?))).collect()
    }

    fn change(&mut self, number: usize, change: RouterChange) -> io::Result<()> {
        if let RouterChange::Open(version) = change {
            // The thread has no other business in any namespace.
            self.namespaces[number].enter()?;
            let router = MulticastRouter::open(version)?;
            self.epoll.add(&router, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            self.routers.insert(number, router);
            return Ok(());
        }
        let no_router = || io::Error::new(io::ErrorKind::NotFound, "no multicast router");
        let router = self.routers.get(&number).ok_or_else(no_router)?;
        match change {
            RouterChange::Open(_) => Ok(()),
            RouterChange::AddInterface { vif, index } => router.add_interface(vif, index),
            RouterChange::AddEntry { source, group, arrives, leaves } => {
                router.add_entry(source, group, arrives, &leaves)
            }
            RouterChange::DeleteEntry { source, group } => router.delete_entry(source, group),
        }
    }

    /// Passes on what a router asks.
    fn ask(&self, number: usize) {
        let Some(router) = self.routers.get(&number) else { return };
        while let Some(question) = router.next_miss().transpose() {
            let is_broken = question.is_err();
            // The handle may be gone, and soon the keeper with it.
            let _ = self.asked.send((number, question));
            if is_broken {
                let _ = self.epoll.delete(router);
                break;
            }
        }
        // The routers' questions are read: somebody has to hear of them, however short memory is for a moment.
        while ring(&self.bell).is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM)) {
            thread::yield_now();
        }
    }
}

/// Rings: a bell that is full rings already.
fn ring(mut bell: &UnixStream) -> io::Result<()> {
    match bell.write(&[0]) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Reads what is there; whether nothing more can come.
fn drain(mut bell: &UnixStream) -> bool {
    loop {
        match bell.read(&mut [0; 64]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Starts a thread with a descriptor table of its own, in which of the caller's descriptors only 0 to 2 and `line` are.
/// Returns once it has that table, and where `proc` shows the thread.
///
/// To be used in this module only: in `f`, the descriptors of the rest of the process are others'.
fn apart(proc: &File, line: UnixStream, f: impl FnOnce(UnixStream) + Send + 'static) -> io::Result<PathBuf> {
    let (proc, number) = (proc.as_raw_fd(), line.as_raw_fd());
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("keeper".into()).spawn(move || {
        let begin = || {
            // SAFETY: who has borrowed it from its owner waits for the answer below.
            let thread = readlinkat(unsafe { BorrowedFd::borrow_raw(proc) }, "thread-self")?;
            unshare(CloneFlags::CLONE_FILES)?;
            io::Result::Ok(PathBuf::from(thread))
        };
        let begun = begin();
        if begun.is_err() {
            drop(line);
            let _ = sender.send(begun);
            return;
        }
        close_all(3, number - 1);
        close_all(number + 1, RawFd::MAX);
        let _ = sender.send(begun);
        f(line);
    })?;
    let thread = receiver.recv().map_err(|_| io::Error::other("a keeper of namespaces has panicked"))??;
    // SAFETY: `line` now is the number in the thread's table; the same number in this one has no owner any more.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(thread)
}

/// Closes these descriptors in the calling thread's table, which must be its own.
fn close_all(first: RawFd, last: RawFd) {
    if first <= last {
        let [first, last] = [first, last].map(RawFd::cast_unsigned);
        // SAFETY: no pointers; `apart` has taken what is still needed out of the range. It cannot fail.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

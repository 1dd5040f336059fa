//! Packet sockets with receive rings, and real-time scheduling: the only unsafe code of this crate.
//!
//! One namespace is served by three sockets, however many interfaces it has: two that receive, for ordinary frames and
//! for segmented ones of up to 64 KiB, so that a ring of 8 MiB holds thousands of the former; and one that sends.
//! Veth delivers every frame to packet sockets whatever its destination, so promiscuous mode is not needed.
//! Format of the rings: the kernel's Documentation/networking/packet_mmap.rst.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Length of the `virtio_net_hdr` that stands before every frame received and sent.
pub(crate) const VNET_HEADER: usize = 10;

/// Length of an Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;

/// Priority among real-time threads: above nothing that matters, below the kernel's own (50).
const PRIORITY: c_int = 20;

/// Bytes that may wait in the kernel for a busy receiver.
const SEND_BUFFER: c_int = 16 << 20;

/// Frames up to this length go to the ring with small slots.
const SMALL_FRAME: u32 = 1900;

const SMALL: Geometry = Geometry { slot: 2048, slots_per_block: 32, block: 64 << 10, blocks: 128 };
const LARGE: Geometry = Geometry { slot: 68 << 10, slots_per_block: 15, block: 1 << 20, blocks: 8 };

/// A system call failed.
#[derive(Debug)]
pub(crate) struct OpenError {
    /// What it was to do.
    pub(crate) attempt: &'static str,
    /// Why it failed.
    pub(crate) source: io::Error,
}

/// The sockets of one namespace.
#[derive(Debug)]
pub(crate) struct Sockets {
    small: Ring,
    large: Ring,
    sender: OwnedFd,
}

impl Sockets {
    /// Opens the sockets in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, OpenError> {
        // Sending first: once the rings are bound, frames come in.
        let sender = packet_socket()?;
        set(&sender, libc::PACKET_QDISC_BYPASS, 1, "set PACKET_QDISC_BYPASS")?;
        grow_send_buffer(&sender);
        Ok(Sockets { small: Ring::open(SMALL)?, large: Ring::open(LARGE)?, sender })
    }

    /// The descriptors that become readable when a frame is there.
    pub(crate) fn receivers(&self) -> [BorrowedFd<'_>; 2] {
        [self.small.socket.as_fd(), self.large.socket.as_fd()]
    }

    /// Whether a frame is there.
    pub(crate) fn is_readable(&self) -> bool {
        self.small.stamp().is_some() || self.large.stamp().is_some()
    }

    /// The next frame; its slot is free again when it is dropped.
    pub(crate) fn next(&mut self) -> Option<Received<'_>> {
        let small = self.small.stamp();
        let large = self.large.stamp();
        // A frame of the same flow may have come to the small ring just before the one seen in the large ring.
        let small = small.or_else(|| large.and_then(|_| self.small.stamp()));
        let ring = match (small, large) {
            (None, None) => return None,
            (Some(small), Some(large)) if large < small => &mut self.large,
            (Some(_), _) => &mut self.small,
            (None, Some(_)) => &mut self.large,
        };
        Some(Received { ring })
    }

    /// Frames that found their ring full since the last call.
    pub(crate) fn missed(&self) -> u64 {
        self.small.missed() + self.large.missed()
    }

    /// Sends a frame, its `virtio_net_hdr` before it, out of an interface. Never blocks.
    pub(crate) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = interface as c_int;
        if let Some(&[high, low]) = frame.get(VNET_HEADER + 12..VNET_HEADER + ETHERNET_HEADER) {
            address.sll_protocol = u16::from_ne_bytes([high, low]);
        }
        // SAFETY: pointers and lengths describe `frame` and `address`, which outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.sender.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A frame in its ring.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Its next slot is filled.
    ring: &'a mut Ring,
}

impl Received<'_> {
    /// Index of the interface where it came in.
    pub(crate) fn interface(&self) -> u32 {
        self.ring.interface()
    }

    /// When it came in: nanoseconds of `CLOCK_REALTIME`.
    pub(crate) fn stamp(&self) -> u64 {
        stamp_of(&self.ring.header())
    }

    /// The frame, its `virtio_net_hdr` before it; none if it was cut off or is shorter than an Ethernet header.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.ring.bytes().filter(|bytes| bytes.len() >= VNET_HEADER + ETHERNET_HEADER)
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.ring.release();
    }
}

/// Shape of a ring, in bytes where not said otherwise.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    slot: usize,
    slots_per_block: usize,
    block: usize,
    blocks: usize,
}

/// A socket that receives into memory shared with the kernel (TPACKET_V2).
///
/// The kernel fills free slots in turn and marks them; who has read one marks it free.
#[derive(Debug)]
struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    geometry: Geometry,
    next: usize,
}

// SAFETY: the mapping belongs to the ring alone, and nothing in it is bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    fn open(geometry: Geometry) -> Result<Self, OpenError> {
        let socket = packet_socket()?;
        set(&socket, libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as c_int, "choose TPACKET_V2")?;
        set(&socket, libc::PACKET_IGNORE_OUTGOING, 1, "set PACKET_IGNORE_OUTGOING")?;
        set_filter(&socket, geometry.slot == SMALL.slot)?;
        let request = libc::tpacket_req {
            tp_block_size: geometry.block as c_uint,
            tp_block_nr: geometry.blocks as c_uint,
            tp_frame_size: geometry.slot as c_uint,
            tp_frame_nr: (geometry.blocks * geometry.slots_per_block) as c_uint,
        };
        set(&socket, libc::PACKET_RX_RING, request, "make a receive ring")?;
        // SAFETY: a fresh mapping of the socket's ring, whose size is that just asked for.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                geometry.block * geometry.blocks,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(last_error("map a receive ring"));
        }
        let memory = NonNull::new(memory.cast()).expect("mmap without a hint never returns null");
        let ring = Ring { socket, memory, geometry, next: 0 };
        bind_to_all(&ring.socket)?;
        Ok(ring)
    }

    /// When the frame in the next slot came in; none if the slot is free.
    fn stamp(&self) -> Option<u64> {
        let status = self.status().load(Ordering::Acquire);
        (status & libc::TP_STATUS_USER != 0).then(|| stamp_of(&self.header()))
    }

    /// The frame in the next slot, which is filled; none if it was cut off.
    fn bytes(&self) -> Option<&[u8]> {
        let header = self.header();
        let start = usize::from(header.tp_mac).checked_sub(VNET_HEADER)?;
        let len = header.tp_snaplen as usize + VNET_HEADER;
        if header.tp_snaplen < header.tp_len || start + len > self.geometry.slot {
            return None;
        }
        // SAFETY: the range lies in the slot, as just checked, and the kernel leaves a filled slot alone until
        // `release`, which needs `&mut self`.
        Some(unsafe { std::slice::from_raw_parts(self.slot().add(start).as_ptr(), len) })
    }

    /// The interface of the frame in the next slot, which is filled.
    fn interface(&self) -> u32 {
        let offset = size_of::<libc::tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
        // SAFETY: a sockaddr_ll follows the header, aligned as it needs; the kernel leaves a filled slot alone.
        let address = unsafe { self.slot().add(offset).cast::<libc::sockaddr_ll>().read() };
        address.sll_ifindex as u32
    }

    /// The header of the next slot, which is filled.
    fn header(&self) -> libc::tpacket2_hdr {
        // SAFETY: every slot begins with a header, aligned to 16 bytes; the kernel leaves a filled slot alone.
        unsafe { self.slot().cast().read() }
    }

    /// Frees the next slot and goes on.
    fn release(&mut self) {
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % (self.geometry.blocks * self.geometry.slots_per_block);
    }

    /// The word by which kernel and reader hand the next slot to each other.
    fn status(&self) -> &AtomicU32 {
        // SAFETY: tp_status is the first field of every slot, aligned; both sides access it atomically.
        unsafe { AtomicU32::from_ptr(self.slot().cast().as_ptr()) }
    }

    fn slot(&self) -> NonNull<u8> {
        let Geometry { slot, slots_per_block, block, .. } = self.geometry;
        let offset = self.next / slots_per_block * block + self.next % slots_per_block * slot;
        // SAFETY: `next` counts slots of this mapping.
        unsafe { self.memory.add(offset) }
    }

    fn missed(&self) -> u64 {
        samp_sys::packet::dropped(&self.socket).unwrap_or(0)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.geometry.block * self.geometry.blocks) };
    }
}

/// Makes the calling thread a real-time one: precise timers, and `SCHED_FIFO` if it may. Says whether it may.
pub(crate) fn become_realtime() -> bool {
    // Without it timers are 50 µs late. It cannot fail, and matters only where SCHED_FIFO is refused.
    let _ = nix::sys::prctl::set_timerslack(1);
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is valid during the call. The system call itself, because musl refuses its wrapper.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if result != 0 {
        ask_for_short_slices();
    }
    result == 0
}

/// Asks the fair scheduler for the shortest time slices: a thread that wakes up goes before those with longer ones.
/// No privilege is needed (Linux 6.12; older kernels ignore it).
fn ask_for_short_slices() {
    // SAFETY: no pointers. The result cannot be told from an error, but the call cannot fail.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: 100_000,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is valid during the call, and the structure says how long it is.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// A packet socket that keeps the offload header with the frame, and receives nothing yet.
fn packet_socket() -> Result<OwnedFd, OpenError> {
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(last_error("open a packet socket"));
    }
    // SAFETY: fresh, and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    set(&socket, libc::PACKET_VNET_HDR, 1, "set PACKET_VNET_HDR")?;
    Ok(socket)
}

/// Makes a socket receive from all interfaces of its namespace.
fn bind_to_all(socket: &OwnedFd) -> Result<(), OpenError> {
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if result < 0 { Err(last_error("bind a packet socket")) } else { Ok(()) }
}

/// Lets only frames of up to [`SMALL_FRAME`] bytes pass, or only longer ones.
fn set_filter(socket: &OwnedFd, small: bool) -> Result<(), OpenError> {
    const LOAD_LENGTH: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_LEN) as u16;
    const JUMP_IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let (longer, shorter) = if small { (0, u32::MAX) } else { (u32::MAX, 0) };
    let mut program = [
        statement(LOAD_LENGTH, 0),
        libc::sock_filter { code: JUMP_IF_GREATER, jt: 0, jf: 1, k: SMALL_FRAME },
        statement(RETURN, longer),
        statement(RETURN, shorter),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set_at(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
        .map_err(|source| OpenError { attempt: "set a socket filter", source })
}

/// Asks for a large send buffer; what is refused costs only dropped frames, which are counted.
fn grow_send_buffer(socket: &OwnedFd) {
    if set_at(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER).is_err() {
        let _ = set_at(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER);
    }
}

/// Sets an option of packet sockets.
fn set<T>(socket: &OwnedFd, option: c_int, value: T, attempt: &'static str) -> Result<(), OpenError> {
    set_at(socket, libc::SOL_PACKET, option, value).map_err(|source| OpenError { attempt, source })
}

fn set_at<T>(socket: &OwnedFd, level: c_int, option: c_int, value: T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    let value: *const c_void = (&raw const value).cast();
    // SAFETY: pointer and length describe `value`; what a sock_fprog points to outlives the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn stamp_of(header: &libc::tpacket2_hdr) -> u64 {
    u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec)
}

fn last_error(attempt: &'static str) -> OpenError {
    OpenError { attempt, source: io::Error::last_os_error() }
}

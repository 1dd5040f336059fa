//! bpf(2), as far as the switch needs it.
#![allow(unsafe_code)]

use super::programs::Instruction;
use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

// linux/bpf.h
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;

/// A map.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

/// The beginning of `union bpf_attr` for `MAP_CREATE`.
#[repr(C)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// For `MAP_UPDATE_ELEM` and `MAP_DELETE_ELEM`, which has no value and no flags.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// For `PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// For `LINK_CREATE`.
#[repr(C)]
struct Link {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

impl Map {
    /// Keys and values have so many bytes.
    pub(super) fn hash(key_size: usize, value_size: usize, entries: usize) -> io::Result<Self> {
        Self::create(HASH, key_size, value_size, entries)
    }

    /// By number, from 0; values are zero at first.
    pub(super) fn array(value_size: usize, entries: usize) -> io::Result<Self> {
        Self::create(ARRAY, 4, value_size, entries)
    }

    fn create(kind: u32, key_size: usize, value_size: usize, entries: usize) -> io::Result<Self> {
        let attributes = Create {
            kind,
            key_size: key_size as u32,
            value_size: value_size as u32,
            max_entries: entries as u32,
        };
        // SAFETY: `Create` holds no addresses.
        let fd = unsafe { bpf(MAP_CREATE, &attributes) }?;
        Ok(Self { fd: descriptor(fd), key_size, value_size })
    }

    /// Sets a value.
    pub(super) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!((key.len(), value.len()), (self.key_size, self.value_size));
        let attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: the kernel reads as many bytes of key and value as the map was created for, which are there, as checked.
        unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }

    /// Takes a value away, if there is one.
    pub(super) fn delete(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.key_size);
        let attributes = self.element(key, 0);
        // SAFETY: as above, of the key.
        match unsafe { bpf(MAP_DELETE_ELEM, &attributes) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Its number, for programs.
    pub(super) fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, key: &[u8], value: u64) -> Element {
        let map = self.fd.as_raw_fd().unsigned_abs();
        Element { map, padding: 0, key: key.as_ptr() as u64, value, flags: 0 }
    }
}

/// Has the kernel verify a program for traffic control.
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: SCHED_CLS,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
    };
    // SAFETY: `program` has so many instructions, laid out as the kernel's; the licence ends with a zero.
    unsafe { bpf(PROG_LOAD, &attributes) }.map(descriptor)
}

/// Lets a program decide on what comes in at an interface of the calling thread's namespace, until the descriptor is closed.
pub(super) fn attach_at_ingress(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd().unsigned_abs();
    let attributes = Link { program, interface, attach_type: TCX_INGRESS, flags: 0 };
    // SAFETY: `Link` holds no addresses.
    unsafe { bpf(LINK_CREATE, &attributes) }.map(descriptor)
}

/// # Safety
/// `attributes` must be the beginning of `union bpf_attr` as `command` reads it, and its addresses those of what the kernel
/// reads there. What is behind the beginning counts as zero.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads so many bytes of `attributes`; the rest is up to the caller.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *const T, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

/// What these commands return.
fn descriptor(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just opened it for this call, so nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

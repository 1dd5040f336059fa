//! The air's switch in the kernel: BPF programs that redirect frames by the attachment table, which is a map.
//!
//! A program at the ingress (tcx, Linux 6.6) of every radio's network end sends frames on to the access router where the
//! radio is attached; one at every access router's end sends them down, unicast by address, multicast and broadcast to each
//! radio that is attached there. Frames take no time, so none is ever on the air. An attachment is one update of the map.

mod programs;
mod syscall;

use crate::handle::Attachment;
use samp_model::Time;
use samp_sys::clock::monotonic_nanos;
use samp_sys::namespace::Namespace;
use std::io;
use std::os::fd::OwnedFd;
use syscall::Map;

/// Radios at most: the programs' loop over them is bounded.
pub const MAX_RADIOS: usize = 256;
/// An index that no interface has: a kernel that could attach a program there says that there is none.
const NO_INTERFACE: u32 = i32::MAX as u32;

/// The switch, which works until it is dropped.
#[derive(Debug)]
pub struct KernelSwitch {
    /// Interface index of a radio's end → that of the access router's end where it is attached.
    attached: Map,
    radios: Vec<u32>,
    access: Vec<u32>,
    /// What keeps the programs at their interfaces.
    _links: Vec<OwnedFd>,
}

impl KernelSwitch {
    /// Whether this kernel lets this process have one: it takes Linux 6.6 and `CAP_BPF` in the initial user namespace.
    pub fn is_available() -> bool {
        let attempt = || {
            let [up, _] = Maps::new(&[])?.load()?;
            syscall::attach_at_ingress(&up, NO_INTERFACE)
        };
        attempt().is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENODEV))
    }

    /// Starts with all radios detached. Ends are interface indexes in `wire`; a radio's address is that of the mobile node.
    ///
    /// # Errors
    /// The kernel refuses a map, a program, or to have it run at an interface.
    pub fn start(wire: &Namespace, radios: &[(u32, [u8; 6])], access: &[u32]) -> io::Result<Self> {
        let maps = Maps::new(radios)?;
        let [up, down] = maps.load()?;
        let at = |program: &OwnedFd, index| syscall::attach_at_ingress(program, index);
        let links = wire.run(|| {
            let ups = radios.iter().map(|&(index, _)| at(&up, index));
            let downs = access.iter().map(|&index| at(&down, index));
            ups.chain(downs).collect::<io::Result<Vec<_>>>()
        })??;
        let radios = radios.iter().map(|&(index, _)| index).collect();
        Ok(Self { attached: maps.attached, radios, access: access.to_vec(), _links: links })
    }

    /// Attaches a radio to an access router's end, or to none; both by their place in what it was started with.
    ///
    /// # Errors
    /// The kernel refuses.
    ///
    /// # Panics
    /// When there is no such radio or end.
    pub fn attach(&self, radio: usize, access: Option<usize>) -> io::Result<Attachment> {
        let called = Time::from_nanos(monotonic_nanos());
        let key = self.radios[radio].to_ne_bytes();
        match access {
            Some(access) => self.attached.update(&key, &self.access[access].to_ne_bytes())?,
            None => self.attached.delete(&key)?,
        }
        let at = Time::from_nanos(monotonic_nanos());
        Ok(Attachment { at, cost: at - called, frames_dropped: 0 })
    }
}

/// What the programs look up.
struct Maps {
    attached: Map,
    /// Link-layer address, two bytes of zero → interface index of the radio's end.
    addresses: Map,
    /// The radios' ends, one after the other; zero ends them.
    radios: Map,
}

impl Maps {
    fn new(radios: &[(u32, [u8; 6])]) -> io::Result<Self> {
        if radios.len() > MAX_RADIOS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many radios"));
        }
        let maps = Self {
            attached: Map::hash(4, 4, MAX_RADIOS)?,
            addresses: Map::hash(8, 4, MAX_RADIOS)?,
            radios: Map::array(4, MAX_RADIOS)?,
        };
        for (number, (index, [a, b, c, d, e, f])) in (0u32..).zip(radios) {
            maps.addresses.update(&[*a, *b, *c, *d, *e, *f, 0, 0], &index.to_ne_bytes())?;
            maps.radios.update(&number.to_ne_bytes(), &index.to_ne_bytes())?;
        }
        Ok(maps)
    }

    /// The programs of the radios' and of the access routers' ends.
    fn load(&self) -> io::Result<[OwnedFd; 2]> {
        let up = programs::up(&self.attached);
        let down = programs::down(&self.attached, &self.addresses, &self.radios);
        Ok([syscall::load(&up)?, syscall::load(&down)?])
    }
}

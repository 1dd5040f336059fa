//! The client: many requests a datagram, one acknowledgement a datagram.

use super::batch::{Batch, Request, append};
use super::carrier;
use crate::namespace::Namespace;
use crate::netem::{self, Netem, TCA_OPTIONS};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NetlinkBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::tc::TcMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use std::collections::BTreeMap;
use std::io;

/// One route netlink socket. It stays in the namespace where it was opened, whatever its users do.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused one request. Those before it are applied; of those after it, only some that were
    /// in the same datagram.
    #[error("cannot {what}{}", .kernel.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was attempted.
        what: String,
        /// The kernel's own words, where it has any.
        kernel: Option<String>,
        /// The error number.
        source: io::Error,
    },
    /// There is no socket.
    #[error("cannot open a socket for the kernel's network configuration")]
    Open(#[source] io::Error),
    /// The requests did not reach the kernel.
    #[error("cannot send requests to the kernel's network configuration")]
    Send(#[source] io::Error),
    /// The acknowledgements did not arrive, so it is not known what was applied.
    #[error("cannot read the acknowledgements of the kernel's network configuration")]
    Receive(#[source] io::Error),
}

impl Netlink {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors echo only the header of the request, and carry text.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// A socket in `namespace`.
    ///
    /// # Errors
    /// As [`Namespace::run`] and [`Netlink::open`].
    pub fn open_in(namespace: &Namespace) -> io::Result<Self> {
        namespace.run(Self::open)?
    }

    /// Applies the requests in order, and stops at the datagram with the first failure.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&mut self, batch: Batch) -> Result<(), ApplyError> {
        let Batch { mut bytes, requests, namespaces: _open } = batch;
        let ends = requests.iter().map(|request| request.start).skip(MAX_REQUESTS).step_by(MAX_REQUESTS);
        let ends: Vec<usize> = ends.chain([bytes.len()]).collect();
        for (requests, end) in requests.chunks(MAX_REQUESTS).zip(ends) {
            self.apply_datagram(&mut bytes[..end], requests)?;
        }
        Ok(())
    }

    /// The index of the interface with this name, if there is one.
    ///
    /// # Errors
    /// The kernel cannot be asked, or answers something else than "no such device".
    pub fn link_index(&mut self, name: &str) -> io::Result<Option<u32>> {
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .append_extra_attribute(LinkAttribute::IfName(name.into()))
            .build();
        let mut index = None;
        // struct ifinfomsg: family, type, index, …
        let answer = self.query(RouteNetlinkMessage::GetLink(message), NLM_F_ACK, |payload| {
            index = word(payload, 4);
        });
        match answer {
            Ok(()) => Ok(index),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How often the carrier of the interface with this index has come since it was made.
    ///
    /// # Errors
    /// The kernel cannot be asked, or there is no such interface.
    pub fn carrier_ups(&mut self, index: u32) -> io::Result<u32> {
        let message = LinkUnspec::new_with_index(index).build();
        let mut ups = None;
        self.query(RouteNetlinkMessage::GetLink(message), NLM_F_ACK, |payload| {
            ups = carrier::change(payload).map(|change| change.ups);
        })?;
        ups.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel counts no carriers"))
    }

    /// The interface index and kind of every queueing discipline.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn qdiscs(&mut self) -> io::Result<Vec<(u32, String)>> {
        let mut found = Vec::new();
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.query(message, NLM_F_DUMP, |payload| {
            // struct tcmsg: family, index, handle, parent, info; then attributes
            let (Some(index), Some(attributes)) = (word(payload, 4), payload.get(20..)) else { return };
            found.extend(text_attribute(attributes, TCA_KIND).map(|kind| (index, kind)));
        })?;
        Ok(found)
    }

    /// What of these interfaces' netem the kernel reports otherwise than it was asked for; none when all is as wanted.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn netem_difference(&mut self, wanted: &[(u32, Netem)]) -> io::Result<Option<String>> {
        let mut reported = BTreeMap::new();
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.query(message, NLM_F_DUMP, |payload| {
            let (Some(index), Some(attributes)) = (word(payload, 4), payload.get(20..)) else { return };
            if text_attribute(attributes, TCA_KIND).is_some_and(|kind| kind == "netem") {
                let options = attribute(attributes, TCA_OPTIONS).unwrap_or_default();
                reported.insert(index, options);
            }
        })?;
        Ok(wanted.iter().find_map(|(index, netem)| {
            let difference = match reported.get(index) {
                Some(options) => netem::difference(netem, options)?,
                None => "there is none".to_owned(),
            };
            Some(format!("netem on interface {index}: {difference}"))
        }))
    }

    /// Applies requests whose messages end `bytes`. The kernel tells of each one that fails, and of the last in any case.
    fn apply_datagram(&mut self, bytes: &mut [u8], requests: &[Request]) -> Result<(), ApplyError> {
        let (Some(first), Some(last)) = (requests.first(), requests.last()) else { return Ok(()) };
        let before = self.sequence;
        for request in requests {
            self.number(&mut bytes[request.start..]);
        }
        let mut last = NetlinkBuffer::new(&mut bytes[last.start..]);
        last.set_flags(last.flags() | NLM_F_ACK);
        self.socket.send(&bytes[first.start..], 0).map_err(ApplyError::Send)?;
        let end = self.sequence;
        let mut failure = None;
        let mut is_done = false;
        while !is_done {
            self.receive(|kind, flags, sequence, payload| {
                let position = sequence.wrapping_sub(before).wrapping_sub(1) as usize;
                let Some(request) = requests.get(position).filter(|_| kind == NLMSG_ERROR) else { return };
                is_done = sequence == end;
                let errno = error_number(payload);
                if errno != 0 && failure.is_none() {
                    failure = Some((request, errno, error_text(flags, payload)));
                }
            })
            .map_err(ApplyError::Receive)?;
        }
        let Some((request, errno, kernel)) = failure else { return Ok(()) };
        let source = io::Error::from_raw_os_error(errno);
        Err(ApplyError::Refused { what: (request.what)(), kernel, source })
    }

    /// Sends one question and hands every answer's payload to `each`.
    fn query(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut datagram = Vec::new();
        append(&mut datagram, message, flags);
        self.number(&mut datagram);
        self.socket.send(&datagram, 0)?;
        let own = self.sequence;
        let mut end = None;
        while end.is_none() {
            self.receive(|kind, _, sequence, payload| match kind {
                _ if sequence != own => {}
                // Both begin with an error number.
                NLMSG_ERROR | NLMSG_DONE => end = Some(error_number(payload)),
                _ => each(payload),
            })?;
        }
        match end {
            None | Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Gives the message the next sequence number.
    fn number(&mut self, message: &mut [u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        NetlinkBuffer::new(message).set_sequence_number(self.sequence);
    }

    /// Receives one datagram and hands every message's type, flags, sequence number and payload to `each`.
    fn receive(&mut self, mut each: impl FnMut(u16, u16, u32, &[u8])) -> io::Result<()> {
        let length = loop {
            match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        let mut rest = &self.buffer[..length];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(invalid)?;
            each(message.message_type(), message.flags(), message.sequence_number(), message.payload());
            let next = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[next..];
        }
        Ok(())
    }
}

/// More refusals than a few hundred overflow the default receive buffer.
const MAX_REQUESTS: usize = 64;
/// The kernel's dumps use at most 32 KiB a datagram.
const RECEIVE_BUFFER: usize = 64 << 10;

// linux/netlink.h and linux/rtnetlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const TCA_KIND: u16 = 1;

pub(super) fn word(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?))
}

/// The positive error number at the start of an error or end message; 0 is success.
fn error_number(payload: &[u8]) -> i32 {
    word(payload, 0).map_or(0, |number| number.cast_signed().wrapping_neg())
}

/// `struct nlmsgerr` (error and the request's 16-byte header, as capped acknowledgements are on), then attributes.
fn error_text(flags: u16, payload: &[u8]) -> Option<String> {
    let attributes = payload.get(20..).filter(|_| flags & NLM_F_ACK_TLVS != 0)?;
    text_attribute(attributes, NLMSGERR_ATTR_MSG)
}

fn text_attribute(attributes: &[u8], kind: u16) -> Option<String> {
    let value = attribute(attributes, kind)?;
    Some(String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned())
}

pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let attribute = NlasIterator::new(attributes).flatten().find(|attribute| attribute.kind() == kind)?;
    Some(attribute.value().to_vec())
}

pub(super) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

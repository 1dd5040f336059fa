//! What records say of messages, in a lab as in virtual time.

use crate::mobile_ip::Packet;
use crate::{Input, Transmit};
use samp_model::Event;

impl Transmit {
    /// That it was sent; none for what servers say about their ring all the time.
    pub fn sent(&self) -> Option<Event> {
        let (summary, call) = self.message.described()?;
        Some(Event::MessageSent {
            peer: self.destination.ip(),
            summary,
            call,
            bytes: self.transport.datagram_length(self.destination.ip(), self.to_bytes().len()),
        })
    }
}

impl Packet {
    /// That it was sent.
    pub fn sent(&self) -> Event {
        let (summary, call) = self.described();
        Event::MessageSent { peer: self.destination.into(), summary, call, bytes: self.length() }
    }

    /// Length of the datagram, in bytes.
    pub fn length(&self) -> u32 {
        // A message is a few hundred bytes at most.
        self.encode().len() as u32
    }
}

impl Input {
    /// That it was received, if it is a message; as with [`Transmit::sent`].
    pub fn received(&self) -> Option<Event> {
        let (peer, (summary, call), bytes) = match self {
            Input::Message { from, message, bytes, .. } => (from.ip(), message.described()?, *bytes),
            Input::Packet(packet) => (packet.source.into(), packet.described(), packet.length()),
            _ => return None,
        };
        Some(Event::MessageReceived { peer, summary, call, bytes })
    }
}

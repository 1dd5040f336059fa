//! Mobile IPv6 (RFC 6275) and its hierarchical extension (RFC 5380): the messages of the Mobility Header.

mod checksum;
mod message;
mod options;
mod packet;
#[cfg(test)]
mod tests;

pub use message::{Acknowledgement, Message, Test, Update, status};
pub use packet::Packet;

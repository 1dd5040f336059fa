//! Mobile IPv6 (RFC 6275) and its hierarchical extension HMIPv6 (RFC 5380), sans-IO: the messages of the Mobility Header, and
//! agents, correspondent and mobile nodes as state machines. They say what goes into which tunnel, and never see it.
//!
//! There is no IPsec: agents believe what comes (RFC 6275 §5.1 wants it protected), home agents unless updates have to
//! be authenticated (RFC 4285). docs/baselines.md lists what else departs from the RFCs.

mod agent;
mod association;
mod authorization;
mod binding_cache;
mod checksum;
mod correspondent;
mod datagram;
mod forwarding;
mod host;
mod lifetime;
mod message;
mod options;
mod packet;
mod routes;
#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use association::Association;
pub use datagram::Datagram;
pub use forwarding::{Forwarding, ForwardingTable, Outer};
pub use host::{Host, HostSettings};
pub use message::{Acknowledgement, Authentication, Message, Test, Update, status};
pub use packet::Packet;

//! DHCP for IPv4 (RFC 2131): the messages, the client of a mobile node and the server of an access router, sans-IO.

mod client;
mod message;
mod server;

pub use client::{Client, ClientOutput, Destination, Lease};
pub use message::Message;
pub use server::Server;

/// The UDP port of a server (RFC 2131 §4.1).
pub const SERVER_PORT: u16 = 67;
/// The UDP port of a client.
pub const CLIENT_PORT: u16 = 68;

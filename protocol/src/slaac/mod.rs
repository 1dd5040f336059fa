//! Stateless address autoconfiguration for IPv6 (RFC 4862): the messages of router discovery (RFC 4861), the host that is a
//! mobile node and the router that is an access router, sans-IO. Duplicate address detection is the kernel's.

mod host;
mod message;
mod router;

pub use host::{Host, HostOutput};
pub use message::{Advertisement, Map, Message, Prefix};
pub use router::Router;

use std::net::Ipv6Addr;
use std::time::Duration;

/// Every node on the link (RFC 4861 §2.3).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Every router on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The hop limit of all these messages; with any other one they have come from beyond the link (RFC 4861 §6.1).
pub const HOP_LIMIT: u8 = 255;

/// Draws are made in steps of this.
const STEP: Duration = Duration::from_micros(100);

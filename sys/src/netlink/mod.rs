//! Route netlink: a list of typed requests, a blocking client that sends it in few datagrams, and what becomes of
//! addresses.

mod addresses;
mod batch;
mod client;

pub use addresses::{AddressChange, AddressState, AddressWatch};
pub use batch::{Batch, Route, VethEnd};
pub use client::{ApplyError, Netlink};

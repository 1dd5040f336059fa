//! Route netlink: a list of typed requests, a blocking client that sends it in few datagrams, and what becomes of
//! addresses and carriers.

mod addresses;
mod batch;
mod carrier;
mod client;
mod rules;
mod tunnel;

pub use addresses::{AddressChange, AddressState, AddressWatch};
pub use batch::{Batch, Route, VethEnd};
pub use carrier::{CarrierChange, CarrierWatch};
pub use client::{ApplyError, Netlink};

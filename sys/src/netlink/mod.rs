//! Route netlink: a list of typed requests, and a blocking client that sends it in few datagrams.

mod batch;
mod client;

pub use batch::{Batch, Route, VethEnd};
pub use client::{ApplyError, Netlink};

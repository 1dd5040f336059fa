//! The kernel as thin verbs, without policy: namespaces, netlink, netem, multicast routing, sysctls,
//! processes, control groups, timers, taps and descriptor passing.
//!
//! Everything is synchronous. Verbs act on the calling thread's network namespace unless a
//! [`Namespace`](namespace::Namespace) is given. The rest of the project is free of `unsafe` because of
//! this crate; here it is confined to [`multicast`], [`process`], [`keeper`], [`tap`], [`frames`], [`offload`] and [`ancillary`].

#![deny(unsafe_code)]

pub mod ancillary;
pub mod cgroup;
pub mod clock;
pub mod frames;
pub mod keeper;
pub mod multicast;
pub mod namespace;
pub mod netem;
pub mod netlink;
pub mod offload;
pub mod packet;
pub mod process;
pub mod snmp;
pub mod sysctl;
pub mod tap;
pub mod timer;

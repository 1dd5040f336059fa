//! The running lab: one supervisor process that builds it, starts its agents, moves its mobile nodes and answers for it.
//!
//! ```text
//! samp-lab up ── launch ──▶ supervisor: process 1 of its own PID, mount, network, IPC and UTS namespaces
//!     ▲  progress (pipe)      │ apply: namespaces, links, delay line
//!     └───────────────────────┤ agents: one process a server or mobile node, in its namespace
//! samp-lab handoff, … ◀─────▶ │ control socket (JSON lines)
//! ```
//!
//! Nothing has to be cleaned up: when the supervisor ends, however it ends, the kernel ends all agents and frees all
//! namespaces. Only CPU quotas are groups that stay (`quotas`).

pub mod agents;
pub mod apply;
pub mod supervisor;

mod attachment;
mod calls;
mod capture;
mod control;
mod enter;
mod faults;
mod floods;
mod handoffs;
mod links;
mod mounts;
mod multicast;
mod namespaces;
mod netem;
mod nodes;
mod probes;
mod process;
pub(crate) mod programs;
mod quotas;
mod records;
mod refusal;
mod requests;
mod startup;
mod state;
mod survey;
mod tunnel_probes;

#[cfg(test)]
mod tests;

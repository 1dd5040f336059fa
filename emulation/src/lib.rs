//! The userspace delay line and the air: links with delay, loss and rate, and radios that move between access routers,
//! made by one real-time thread on packet sockets.
//!
//! ```text
//! node A ── veth ──▶ end │ wire namespace                       │ end ── veth ──▶ node B
//!                        │  socket ▶ loss ▶ rate ▶ delay ▶ send │
//! ```
//!
//! A [`DelayLine`] serves every link of a lab whose interface ends lie in one namespace, called `wire`. What a link
//! does to frames is a [`LinkQuality`](samp_model::topology::LinkQuality) per direction. A *pipe* joins two ends; a
//! *radio* is joined to whichever access router the attachment table says, and a handoff is one write to that table.
//!
//! - Departure times are logical: the kernel's time of arrival plus rate and delay. How late the thread woke up to
//!   read a frame does not add to its delay; how late it was sent is taken off its arrival at the next link.
//! - Frames of one direction never overtake each other.
//! - Checksum and segmentation offload cross: a frame keeps its `virtio_net_hdr`, so TCP runs at the speed of veth.
//!   A segmented frame (up to 64 KiB) is lost, queued and delayed as one; its rate counts the headers of every segment.
//! - Which frames are lost depends on the seed, the direction and the frame's number in that direction only.
//! - The interface ends have to be up. VLAN tags that the kernel keeps beside the frame do not cross.
//!
//! Nothing here creates interfaces, and nothing is read again: an interface that goes away makes send errors, which
//! are counted, and works again when it is back under the same index.

#![deny(unsafe_code)]

mod bpf;
mod counters;
mod engine;
mod flight;
mod handle;
mod histogram;
mod kernel;
mod link;
mod spec;
mod table;
mod trail;

pub use bpf::{KernelSwitch, MAX_RADIOS};
pub use counters::Counters;
pub use handle::{Attachment, DelayLine, StartError, THREAD};
pub use histogram::Histogram;
pub use link::{Link, Passage, QueueFull};
pub use spec::{AccessSpec, LineSpec, PipeSpec, RadioSpec};

//! The delay line between real network namespaces. Needs root, or a user namespace of its own.

mod air;
mod pipe;
mod world;

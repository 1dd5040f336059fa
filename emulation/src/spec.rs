//! What a delay line is made of.

use samp_model::topology::LinkQuality;

/// Everything that one delay line serves. Interfaces are named by their index in the `wire` namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineSpec {
    /// Links with two fixed ends.
    pub pipes: Vec<PipeSpec>,
    /// Radios of mobile nodes; all begin detached.
    pub radios: Vec<RadioSpec>,
    /// The access routers' ends of the air.
    pub access: Vec<AccessSpec>,
    /// Seed of the losses.
    pub seed: u64,
}

/// A link with two fixed ends: a wired link, or the radio link of a mobile node whose interface is moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PipeSpec {
    /// Interface index of each end.
    pub ends: [u32; 2],
    /// From the first end to the second, and back.
    pub quality: [LinkQuality; 2],
}

/// The network end of a mobile node's radio link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadioSpec {
    /// Interface index of the end.
    pub index: u32,
    /// Link-layer address of the mobile node's own interface, at the far side of the veth pair.
    pub mac: [u8; 6],
    /// From the mobile node to the access router.
    pub up: LinkQuality,
    /// From the access router to the mobile node.
    pub down: LinkQuality,
}

/// An access router's end of the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSpec {
    /// Interface index of the end.
    pub index: u32,
}

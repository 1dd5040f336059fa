//! Stretches of the ring.

use samp_model::OverlayId;

/// The keys after `from` up to and with `to`, clockwise; the whole ring when the two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arc {
    pub(crate) from: OverlayId,
    pub(crate) to: OverlayId,
}

impl Arc {
    /// Whether the key lies on it.
    pub(crate) fn contains(self, key: OverlayId) -> bool {
        key.in_arc(self.from, self.to)
    }
}

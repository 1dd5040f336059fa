//! What a delay line has done so far.

use std::time::Duration;

/// What became of the frames, in frames since the start.
///
/// `frames_in` and `duplicated` together are the sum of `delivered`, `lost`, the four `dropped_*` after it, `send_errors` and `in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came in at an end; a broadcast or multicast frame counts once for each radio that it goes to.
    pub frames_in: u64,
    /// Left at the other end.
    pub delivered: u64,
    /// Lost as the link's quality asks for.
    pub lost: u64,
    /// Came twice, as the link's quality asks for.
    pub duplicated: u64,
    /// Were on the air when their radio was detached, or on a pipe that was flushed.
    pub dropped_on_air: u64,
    /// Found the queue of a link with a rate full, or the line's memory.
    pub dropped_queue_full: u64,
    /// Came from a detached radio, or from an access router for a radio that is not attached there.
    pub dropped_unattached: u64,
    /// Were no complete Ethernet frames.
    pub dropped_malformed: u64,
    /// Could not be sent: the interface was down or gone, or the kernel out of buffers.
    pub send_errors: u64,
    /// Are on their way now.
    pub in_flight: u64,
    /// Never came in, because the thread was too slow to make room for them in the sockets.
    pub missed: u64,
    /// How much later than its logical departure a frame was sent: median, in all frames sent.
    pub late_p50: Duration,
    /// As above: 99th percentile.
    pub late_p99: Duration,
    /// As above: maximum.
    pub late_max: Duration,
}

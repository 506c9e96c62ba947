//! How large the store's parts are.
use std::time::Duration;

use super::segment::{FRAMES_AT, SEGMENT_BYTES_MAX};

/// Longest key of keyed state.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Longest value of keyed state.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Largest batch, as the sum of its entries, states, keys and values: a snapshot of the largest cell state (64 MiB), and
/// then some. A larger one fails, and every write after it.
pub const BATCH_BYTES_MAX: u64 = 80 << 20;

/// Settings of a [`super::Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Size of a segment; a batch that does not fit gets one of its own. Too small: segments are created often, each
    /// three syncs; too large: compaction frees space late, and opening holds one whole in memory. 16 KiB to 64 MiB,
    /// default 16 MiB.
    pub segment_bytes: u64,
    /// A sync takes along what waits, up to so much. Too small: more syncs under load; too large: the first of a group
    /// waits for the last. Default 4 MiB.
    pub group_bytes_max: u64,
    /// So much may wait for the disk. Beyond it the disk counts as failed: nothing is acknowledged any more. Default
    /// 256 MiB.
    pub queue_bytes_max: u64,
    /// Compaction moves this much at a time, and a sync carries one such piece at most. Default 256 KiB.
    pub compact_bytes: u64,
    /// Nothing is moved while there are no more segments than these. Default 4.
    pub segments_min: usize,
    /// So long after the last write a mark says what is synced. Until then rot in that last write looks like the torn
    /// tail of a crash. Each costs one sync. Default 250 ms.
    pub mark_after: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            group_bytes_max: 4 << 20,
            queue_bytes_max: 256 << 20,
            compact_bytes: 256 << 10,
            segments_min: 4,
            mark_after: Duration::from_millis(250),
        }
    }
}

impl StoreConfig {
    /// Within its bounds, whatever was asked for.
    pub(super) fn bounded(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(4 * FRAMES_AT, SEGMENT_BYTES_MAX / 2);
        self
    }
}

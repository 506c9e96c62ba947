//! The segment that is made ahead of need: created, its head written and synced, then ready.
use super::io::SegmentId;

/// At most one is in the making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spare {
    #[default]
    None,
    /// `Create` is under way.
    Creating(SegmentId, u64),
    /// Its head is being written and synced.
    Heading(SegmentId, u64),
    Ready(SegmentId, u64),
}

//! The head of a segment: which disk it belongs to, and by which version of the format it is written. It stands there
//! twice, so that one bad sector does not orphan a segment, and is durable before the first frame is written.
//!
//! ```text
//! 0     magic "bocagseg" · version u32 · 0 u32 · segment u64 · disk [32] · key [32] · check [8]
//! 2048  the same again
//! 4096  frames (see frame.rs)
//! ```
use super::{frame::Key, io::SegmentId};
use crate::{codec::Blob, id::DiskId, random::Seed};

/// The version that this code writes, and the only one it reads.
pub(super) const FORMAT: u32 = 1;
/// Where the first frame stands.
pub(super) const FRAMES_AT: u64 = 4096;
/// A longer file is none of ours. Bounds what opening reads at once.
pub(super) const SEGMENT_BYTES_MAX: u64 = 128 << 20;

const MAGIC: [u8; 8] = *b"bocagseg";
const SECOND_AT: usize = 2048;
const CHECKED: usize = 88;
const LEN: usize = CHECKED + 8;

/// What all segments of a disk have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) disk: DiskId,
    /// Keys every checksum, and never leaves the disk: what a tenant stores can not be made to look like a frame.
    pub(super) key: Key,
}

/// What the head of a segment says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    Ours(Identity),
    /// Neither copy reads: torn while it was made, or rotten.
    Unreadable,
    /// Of a version that this code does not know.
    Version(u32),
    /// A whole head, but of another segment number: somebody renamed files.
    Misnamed(SegmentId),
}

impl Identity {
    pub(super) fn draw(seed: Seed) -> Self {
        Self { disk: DiskId(seed.split("store/disk").0), key: Key(seed.split("store/key").0) }
    }

    /// Bytes 0 to 4096 of a segment.
    pub(super) fn head(&self, segment: SegmentId) -> Blob {
        let mut copy = Vec::with_capacity(LEN);
        copy.extend_from_slice(&MAGIC);
        copy.extend_from_slice(&FORMAT.to_le_bytes());
        copy.extend_from_slice(&[0; 4]);
        copy.extend_from_slice(&segment.0.to_le_bytes());
        copy.extend_from_slice(&self.disk.0);
        copy.extend_from_slice(&self.key.0);
        copy.extend_from_slice(&check(&copy));
        let mut head = vec![0; index(FRAMES_AT)];
        head[..LEN].copy_from_slice(&copy);
        head[SECOND_AT..SECOND_AT + LEN].copy_from_slice(&copy);
        head.into()
    }
}

/// Reads whichever copy is whole.
pub(super) fn read_head(segment: SegmentId, bytes: &[u8]) -> Head {
    [0, SECOND_AT].iter().find_map(|at| read_copy(segment, bytes.get(*at..at + LEN)?)).unwrap_or(Head::Unreadable)
}

fn read_copy(segment: SegmentId, copy: &[u8]) -> Option<Head> {
    let (fields, sum) = copy.split_at(CHECKED);
    if fields[..8] != MAGIC || sum != check(fields) {
        return None;
    }
    // Every version keeps magic, version and check where they are.
    let version = u32::from_le_bytes(fields[8..12].try_into().ok()?);
    if version != FORMAT {
        return Some(Head::Version(version));
    }
    let number = SegmentId(u64::from_le_bytes(fields[16..24].try_into().ok()?));
    if number != segment {
        return Some(Head::Misnamed(number));
    }
    let disk = DiskId(fields[24..56].try_into().ok()?);
    let key = Key(fields[56..88].try_into().ok()?);
    Some(Head::Ours(Identity { disk, key }))
}

fn check(fields: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(fields).as_bytes()[..8]);
    sum
}

/// An offset as an index into a segment's bytes.
pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a segment is shorter than SEGMENT_BYTES_MAX, which fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> (Identity, Vec<u8>) {
        let identity = Identity::draw(Seed([7; 32]));
        (identity, identity.head(SegmentId(3)).to_vec())
    }

    #[test]
    fn one_bad_sector_does_not_orphan_a_segment() {
        let (identity, whole) = head();
        let mut first_bad = whole.clone();
        first_bad[..512].fill(0xff);
        assert_eq!(read_head(SegmentId(3), &first_bad), Head::Ours(identity));
        let mut second_bad = whole;
        second_bad[2048..2560].fill(0);
        assert_eq!(read_head(SegmentId(3), &second_bad), Head::Ours(identity));
    }

    #[test]
    fn a_renamed_newer_or_empty_segment_is_told_apart() {
        let (_, mut bytes) = head();
        assert_eq!(read_head(SegmentId(4), &bytes), Head::Misnamed(SegmentId(3)));
        bytes[8] = 2;
        let sum = check(&bytes[..CHECKED]);
        bytes[CHECKED..LEN].copy_from_slice(&sum);
        assert_eq!(read_head(SegmentId(3), &bytes), Head::Version(2));
        assert_eq!(read_head(SegmentId(3), &[0; 4096]), Head::Unreadable);
        assert_eq!(read_head(SegmentId(3), &[]), Head::Unreadable);
    }
}

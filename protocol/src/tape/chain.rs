//! Heads and records as bytes, each bound to all before it.

/// The form of tapes that this code writes, and the only one that it reads.
pub const FORMAT: u16 = 1;

/// How long the head of a segment is.
pub const HEAD_BYTES: usize = 25;

/// What stands before the bytes of a record.
pub const PREFIX_BYTES: usize = 16;

/// No record is longer: a node that is told more at once ends its tape. The largest things that a node is told at once are
/// a cell's snapshot and log, when it opens.
pub const RECORD_BYTES_MAX: usize = 128 << 20;

const MAGIC: &[u8; 11] = b"bocage tape";

/// Of everything until here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

/// Why bytes are no part of this tape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// They begin otherwise.
    #[error("it is no segment of a tape")]
    Foreign,
    /// Another version wrote it.
    #[error(
        "it has form {0} of tapes, and this program reads form {FORMAT}: play it with the program that recorded it"
    )]
    Format(u16),
    /// Another segment of it, or one of another tape.
    #[error("it does not follow what is before it: a segment is missing, or is another tape's")]
    Order,
    /// A changed byte.
    #[error("its bytes are not what was written")]
    Changed,
    /// A length that nobody writes.
    #[error("a record of {0} bytes: none is longer than {RECORD_BYTES_MAX}")]
    Long(usize),
}

impl Chain {
    /// The head of a segment.
    pub fn head(&mut self, number: u32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let (said, check) = head.split_at_mut(HEAD_BYTES - 8);
        said[..11].copy_from_slice(MAGIC);
        said[11..13].copy_from_slice(&FORMAT.to_le_bytes());
        said[13..].copy_from_slice(&number.to_le_bytes());
        check.copy_from_slice(&self.take(&[said]));
        head
    }

    /// What goes before a record.
    ///
    /// # Errors
    /// When it is longer than any may be.
    pub fn seal(&mut self, record: &[u8]) -> Result<[u8; PREFIX_BYTES], Flaw> {
        let length = u32::try_from(record.len()).ok().filter(|_| record.len() <= RECORD_BYTES_MAX);
        let length = length.ok_or(Flaw::Long(record.len()))?.to_le_bytes();
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..4].copy_from_slice(&length);
        prefix[4..8].copy_from_slice(&self.of_length(length));
        prefix[8..].copy_from_slice(&self.take(&[&length, record]));
        Ok(prefix)
    }

    /// Reads the head of a segment.
    ///
    /// # Errors
    /// When it is not the head of this segment.
    pub fn opens(&mut self, head: &[u8; HEAD_BYTES], number: u32) -> Result<(), Flaw> {
        if !head.starts_with(MAGIC) {
            return Err(Flaw::Foreign);
        }
        let format = u16::from_le_bytes([head[11], head[12]]);
        if format != FORMAT {
            return Err(Flaw::Format(format));
        }
        if *head == self.head(number) { Ok(()) } else { Err(Flaw::Order) }
    }

    /// How long the record behind this prefix is.
    ///
    /// # Errors
    /// When it was not written so.
    pub fn length(&self, prefix: &[u8; PREFIX_BYTES]) -> Result<usize, Flaw> {
        let [a, b, c, d, check @ ..] = *prefix;
        let length = [a, b, c, d];
        if check[..4] != self.of_length(length) {
            return Err(Flaw::Changed);
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > RECORD_BYTES_MAX { Err(Flaw::Long(length)) } else { Ok(length) }
    }

    /// Takes in a record that was read.
    ///
    /// # Errors
    /// When it was not written so; it belongs to no tape then.
    pub fn check(&mut self, prefix: &[u8; PREFIX_BYTES], record: &[u8]) -> Result<(), Flaw> {
        if prefix[8..] == self.take(&[&prefix[..4], record]) { Ok(()) } else { Err(Flaw::Changed) }
    }

    fn of_length(&self, length: [u8; 4]) -> [u8; 4] {
        let [a, b, c, d, ..] = *blake3::keyed_hash(&self.0, &length).as_bytes();
        [a, b, c, d]
    }

    fn take(&mut self, parts: &[&[u8]]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // Beside the check of a length, whose key is the same.
        hasher.update(b"all");
        for part in parts {
            hasher.update(part);
        }
        self.0 = *hasher.finalize().as_bytes();
        self.0.first_chunk().copied().unwrap_or_default()
    }
}

//! The files of a tape that is being recorded.
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bocage_protocol::tape::{Chain, End, HEAD_BYTES, PREFIX_BYTES, RECORD_BYTES_MAX, Record};

use super::TapeError;

/// A file is no longer, but for a single record that is: the next one begins then.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// A tape of a node that knows nothing yet takes some kilobytes.
pub(super) const TAPE_BYTES_MIN: u64 = 64 << 10;

/// What the last word takes, for which there is always room.
const END_BYTES_MAX: u64 = 64;

/// The files.
pub(super) struct Reel {
    folder: PathBuf,
    file: BufWriter<File>,
    /// Of the file.
    number: u32,
    in_file: u64,
    in_all: u64,
    bytes_max: u64,
    chain: Chain,
}

/// Why no more goes onto a tape.
#[derive(Debug)]
pub(super) enum Full {
    /// It ends, and says so itself.
    End(End),
    /// Its disk.
    Disk(io::Error),
}

impl From<io::Error> for Full {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Reel {
    pub(super) fn create(folder: &Path, bytes_max: u64) -> Result<Self, TapeError> {
        if bytes_max < TAPE_BYTES_MIN {
            return Err(TapeError::Short { given: bytes_max });
        }
        let io = |source| TapeError::Io { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        if fs::read_dir(folder).map_err(io)?.next().is_some() {
            return Err(TapeError::NotEmpty { path: folder.to_owned() });
        }
        let mut chain = Chain::default();
        let file = segment(folder, 1, &mut chain).map_err(io)?;
        let length = HEAD_BYTES as u64;
        let folder = folder.to_owned();
        Ok(Self { folder, file, number: 1, in_file: length, in_all: length, bytes_max, chain })
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Full> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Full::End(End::Large));
        }
        let length = (PREFIX_BYTES + record.len()) as u64;
        let head = HEAD_BYTES as u64;
        if self.in_all + head + length + END_BYTES_MAX > self.bytes_max {
            return Err(Full::End(End::Limit));
        }
        if self.in_file > head && self.in_file + length > SEGMENT_BYTES_MAX {
            self.file.flush()?;
            self.number += 1;
            self.file = segment(&self.folder, self.number, &mut self.chain)?;
            self.in_file = head;
            self.in_all += head;
        }
        self.put(record)?;
        Ok(())
    }

    fn put(&mut self, record: &[u8]) -> io::Result<()> {
        let prefix = self.chain.seal(record).map_err(io::Error::other)?;
        self.file.write_all(&prefix)?;
        self.file.write_all(record)?;
        let length = (PREFIX_BYTES + record.len()) as u64;
        self.in_file += length;
        self.in_all += length;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Full> {
        Ok(self.file.flush()?)
    }

    /// Says on the tape and in the log why it ends.
    pub(super) fn end(mut self, full: Full) {
        let folder = self.folder.display().to_string();
        let why = match full {
            Full::End(why) => why,
            Full::Disk(error) => {
                tracing::error!(%error, %folder, "the tape ends here: its disk failed. The node goes on");
                return;
            }
        };
        let written = self.put(&Record::End(why).encode()).and_then(|()| self.file.flush());
        match (written, why) {
            (Err(error), _) => tracing::error!(%error, %folder, "the tape has no end: its disk failed"),
            (Ok(()), End::Stopped | End::Broke) => tracing::info!(%folder, bytes = self.in_all, "the tape is whole"),
            (Ok(()), End::Limit | End::Behind | End::Large) => {
                tracing::warn!(%folder, bytes = self.in_all, "the tape ends here: {why}. The node goes on");
            }
        }
    }
}

/// A new file, which its owner alone can read.
fn segment(folder: &Path, number: u32, chain: &mut Chain) -> io::Result<BufWriter<File>> {
    let path = folder.join(format!("{number:05}.tape"));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::with_capacity(256 << 10, file);
    file.write_all(&chain.head(number))?;
    Ok(file)
}

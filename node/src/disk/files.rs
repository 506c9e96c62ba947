//! Segments as files: preallocated, synced with their name, written and read by position.
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bocage_protocol::store::{DiskFault, Output, SegmentId};
use rustix::{
    fs::{FallocateFlags, fallocate, fdatasync},
    io::Errno,
};

/// Files kept open. The newest segments are the ones written; older ones are opened again when they are read.
const OPEN_MAX: usize = 64;

/// The segments of a folder.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    /// Synced after a name in it was made or taken away.
    dir_file: File,
    open: BTreeMap<SegmentId, File>,
}

impl Files {
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Vec<(SegmentId, u64)>)> {
        if !dir.is_dir() {
            fs::create_dir(dir)?;
            sync_parent(dir)?;
        }
        let this = Self { dir: dir.to_owned(), dir_file: File::open(dir)?, open: BTreeMap::new() };
        let segments = this.segments()?;
        Ok((this, segments))
    }

    /// Those that are there, with their sizes, in order.
    pub(super) fn segments(&self) -> io::Result<Vec<(SegmentId, u64)>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if let Some(segment) = entry.file_name().to_str().and_then(parse) {
                segments.push((segment, entry.metadata()?.len()));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    pub(super) fn create(&mut self, segment: SegmentId, size_bytes: u64) -> io::Result<()> {
        let path = self.path(segment);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let made =
            preallocate(&file, size_bytes).and_then(|()| file.sync_all()).and_then(|()| self.dir_file.sync_all());
        if let Err(error) = made {
            // Half a segment only takes up room; the store learns that there is none.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.keep(segment, file);
        Ok(())
    }

    pub(super) fn write(&mut self, segment: SegmentId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, offset)
    }

    pub(super) fn sync(&mut self, segment: SegmentId) -> io::Result<()> {
        Ok(fdatasync(self.file(segment)?)?)
    }

    /// Shorter than `len` at the end of the file.
    pub(super) fn read(&mut self, segment: SegmentId, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let file = self.file(segment)?;
        let len = len.min(file.metadata()?.len().saturating_sub(offset));
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn trim(&mut self, segment: SegmentId) -> io::Result<()> {
        self.open.remove(&segment);
        match fs::remove_file(self.path(segment)) {
            Ok(()) => self.dir_file.sync_all(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn file(&mut self, segment: SegmentId) -> io::Result<&File> {
        if !self.open.contains_key(&segment) {
            let file = OpenOptions::new().read(true).write(true).open(self.path(segment))?;
            self.keep(segment, file);
        }
        self.open.get(&segment).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn keep(&mut self, segment: SegmentId, file: File) {
        if self.open.len() >= OPEN_MAX {
            self.open.pop_first();
        }
        self.open.insert(segment, file);
    }

    fn path(&self, segment: SegmentId) -> PathBuf {
        self.dir.join(format!("{:016x}.seg", segment.0))
    }
}

/// What a failed verb means to the store.
pub(super) fn fault(verb: &Output, error: &io::Error) -> DiskFault {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskFault::Full,
        _ => DiskFault::Failed(format!("{}: {error}", describe(verb))),
    }
}

fn describe(verb: &Output) -> String {
    match verb {
        Output::Create { segment, size_bytes, .. } => format!("create segment {} of {size_bytes} bytes", segment.0),
        Output::Write { segment, offset, bytes, .. } => {
            format!("write {} bytes at {offset} of segment {}", bytes.len(), segment.0)
        }
        Output::Sync { segment, .. } => format!("sync segment {}", segment.0),
        Output::Read { segment, offset, len, .. } => format!("read {len} bytes at {offset} of segment {}", segment.0),
        Output::Trim { segment, .. } => format!("remove segment {}", segment.0),
        Output::Booted(_)
        | Output::Unopened(_)
        | Output::Persisted(_)
        | Output::PersistFailed(..)
        | Output::Loaded { .. } => "nothing".into(),
    }
}

/// Room for all of the file, now: a disk that is full says so before anything depends on it.
fn preallocate(file: &File, size_bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size_bytes) {
        Ok(()) => Ok(()),
        // A file system that cannot is made to by writing zeros.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            let mut zeros = io::repeat(0).take(size_bytes);
            io::copy(&mut zeros, &mut &*file).map(|_| ())
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the name of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The segment that a file name stands for; other files are none of ours.
fn parse(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(SegmentId)
}

//! The content store: bytes by their hash, one file each, synced before anybody is told that they are here.
//!
//! ```text
//! FOLDER/ab/abcd…     named by the hash of its bytes; there whole and durable, or not at all
//! FOLDER/new/…        being written; emptied when the store opens
//! ```
use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bocage_protocol::{id::ContentHash, store::DiskFault};

use crate::transfer::{ContentStore, PutError};

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A folder of contents.
#[derive(Debug)]
pub struct Contents {
    folder: PathBuf,
    last: AtomicU64,
}

impl Contents {
    /// Opens or makes a folder.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let new = folder.join("new");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&new)?;
        Ok(Self { folder: folder.to_owned(), last: AtomicU64::new(0) })
    }

    /// Where the bytes are, if they are.
    #[must_use]
    pub fn path(&self, content: ContentHash) -> PathBuf {
        let name = content.to_string();
        self.folder.join(name.get(..2).unwrap_or("00")).join(name)
    }

    fn keep(&self, content: ContentHash, bytes: &mut dyn Read, new: &Path) -> Result<(), PutError> {
        let mut file = File::create(new).map_err(|error| fault(&error))?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = bytes.read(&mut piece).map_err(PutError::Read)?;
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hasher.update(piece);
            file.write_all(piece).map_err(|error| fault(&error))?;
        }
        if hasher.finalize().as_bytes() != &content.0 {
            return Err(PutError::OtherBytes);
        }
        let path = self.path(content);
        let parent = path.parent().unwrap_or(&self.folder);
        let settle = || {
            file.sync_all()?;
            fs::create_dir_all(parent)?;
            fs::rename(new, &path)?;
            File::open(parent)?.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        settle().map_err(|error| fault(&error).into())
    }
}

impl ContentStore for Contents {
    fn open(&self, content: ContentHash) -> io::Result<Option<(u64, Box<dyn Read + Send>)>> {
        let file = match File::open(self.path(content)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        Ok(Some((len, Box::new(file))))
    }

    fn put(&self, content: ContentHash, bytes: &mut dyn Read) -> Result<(), PutError> {
        if self.path(content).exists() {
            return Ok(());
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let new = self.folder.join("new").join(number.to_string());
        let kept = self.keep(content, bytes, &new);
        if kept.is_err() {
            // What is left of it is swept at the next start.
            let _ = fs::remove_file(&new);
        }
        kept
    }

    fn remove(&self, content: ContentHash) -> io::Result<()> {
        match fs::remove_file(self.path(content)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn fault(error: &io::Error) -> DiskFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskFault::Full,
        _ => DiskFault::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(contents: &Contents, content: ContentHash) -> Option<String> {
        let (_, mut bytes) = contents.open(content).unwrap()?;
        let mut text = String::new();
        bytes.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn bytes_are_kept_under_their_hash_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents::open(folder.path()).unwrap();
        let content = ContentHash::of(b"hello");
        assert!(matches!(contents.put(content, &mut &b"hullo"[..]), Err(PutError::OtherBytes)));
        assert_eq!(text(&contents, content), None);
        contents.put(content, &mut &b"hello"[..]).unwrap();
        assert_eq!(text(&contents, content).as_deref(), Some("hello"));
        contents.remove(content).unwrap();
        contents.remove(content).unwrap();
        assert_eq!(text(&contents, content), None);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
    }
}

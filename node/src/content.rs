//! The content store: bytes by their hash (components, snapshots), in files. Object bytes stream through here and never
//! enter the machine.
//!
//! ```text
//! DIR/content/ab/abcd…     named by the hash of its bytes; there whole and durable, or not at all
//! DIR/content/new/…        being written; emptied when the store opens
//! ```
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bocage_protocol::id::ContentHash;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    task::spawn_blocking,
};

/// So many files are written or read whole at once; more wait. Too few: one slow disk operation delays the others; too
/// many: they take up the threads that everything else blocks on.
const WORKERS_MAX: usize = 8;
/// What is read from a stream at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Why bytes were not kept or given. Nothing is left of them.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// They are not here.
    #[error("there is no content {0}")]
    Missing(ContentHash),
    /// More than was allowed.
    #[error("the content is larger than {size_bytes_max} bytes")]
    TooLarge {
        /// What was allowed.
        size_bytes_max: u64,
    },
    /// The bytes are not those that were asked for: of a stream, the sender's fault; of a file, the disk's.
    #[error("the content should be {expected} and is {found}")]
    Mismatch {
        /// What was asked for.
        expected: ContentHash,
        /// What came.
        found: ContentHash,
    },
    /// The disk failed, or the stream.
    #[error("the content could not be read or written")]
    Io(#[from] io::Error),
}

/// Bytes by hash. Clones share the store.
#[derive(Clone, Debug)]
pub struct ContentStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Numbers files being written.
    next: AtomicU64,
    workers: Semaphore,
}

impl ContentStore {
    /// Opens `dir/content`, making it if need be. The folder must be held by an open [`crate::disk::Disk`].
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let dir = dir.join("content");
        let new = dir.join("new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        fs::create_dir_all(&new)?;
        sync_dir(&dir)?;
        let shared = Shared { dir, next: AtomicU64::new(0), workers: Semaphore::new(WORKERS_MAX) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps bytes: they are durable when this returns. Harmless when they are here already.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn put(&self, bytes: Bytes) -> Result<ContentHash, ContentError> {
        self.work(move |shared| {
            let hash = ContentHash::of(&bytes);
            if shared.path(&hash).exists() {
                return Ok(hash);
            }
            let half = Half::new(shared);
            let mut file = File::create(&half.path)?;
            file.write_all(&bytes)?;
            half.finish(&file, &hash)?;
            Ok(hash)
        })
        .await
    }

    /// Keeps the bytes of a stream if they hash to `expected`, reading no more than `size_bytes_max` and one. Gives
    /// their number.
    ///
    /// # Errors
    /// When they are too many, others, or end in an error; when the disk fails.
    pub async fn receive(
        &self,
        expected: ContentHash,
        size_bytes_max: u64,
        stream: impl AsyncRead + Unpin,
    ) -> Result<u64, ContentError> {
        let half = Half::new(&self.shared);
        let mut file = tokio::fs::File::create(&half.path).await?;
        let mut stream = stream.take(size_bytes_max.saturating_add(1));
        let (mut hasher, mut size_bytes) = (blake3::Hasher::new(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = stream.read(&mut chunk).await?;
            if read == 0 {
                break;
            }
            size_bytes += read as u64;
            if size_bytes > size_bytes_max {
                return Err(ContentError::TooLarge { size_bytes_max });
            }
            hasher.update(&chunk[..read]);
            file.write_all(&chunk[..read]).await?;
        }
        let found = ContentHash(*hasher.finalize().as_bytes());
        if found != expected {
            return Err(ContentError::Mismatch { expected, found });
        }
        file.flush().await?;
        let file = file.into_std().await;
        self.work(move |_| Ok(half.finish(&file, &expected)?)).await?;
        Ok(size_bytes)
    }

    /// All bytes, their hash checked.
    ///
    /// # Errors
    /// When they are not here, too many, rotten, or the disk fails.
    pub async fn read(&self, hash: ContentHash, size_bytes_max: u64) -> Result<Bytes, ContentError> {
        self.work(move |shared| {
            let file = File::open(shared.path(&hash)).map_err(|error| missing(hash, error))?;
            let mut bytes = Vec::new();
            file.take(size_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > size_bytes_max {
                return Err(ContentError::TooLarge { size_bytes_max });
            }
            let found = ContentHash::of(&bytes);
            if found != hash {
                return Err(ContentError::Mismatch { expected: hash, found });
            }
            Ok(bytes.into())
        })
        .await
    }

    /// The file, to stream from, and its length. Its hash is not checked: the receiver does.
    ///
    /// # Errors
    /// When it is not here, or the disk fails.
    pub async fn open_file(&self, hash: ContentHash) -> Result<(tokio::fs::File, u64), ContentError> {
        let file = tokio::fs::File::open(self.path(hash)).await.map_err(|error| missing(hash, error))?;
        let len = file.metadata().await?.len();
        Ok((file, len))
    }

    /// Where the bytes are, if they are here.
    #[must_use]
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        self.shared.path(&hash)
    }

    /// True if the bytes are here, whole and durable.
    #[must_use]
    pub fn has(&self, hash: ContentHash) -> bool {
        self.path(hash).is_file()
    }

    /// Takes the bytes away; harmless when they are not here. Who has the file open goes on reading it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove(&self, hash: ContentHash) -> Result<(), ContentError> {
        self.work(move |shared| match fs::remove_file(shared.path(&hash)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }

    /// Runs `job` where it may block, a few at a time.
    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Shared>) -> Result<T, ContentError> + Send + 'static,
    ) -> Result<T, ContentError> {
        let _permit = self.shared.workers.acquire().await.map_err(io::Error::other)?;
        let shared = Arc::clone(&self.shared);
        spawn_blocking(move || job(&shared)).await.map_err(io::Error::other)?
    }
}

impl Shared {
    fn path(&self, hash: &ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.dir.join(&name[..2]).join(name)
    }
}

/// A file being written; removed unless it is finished.
struct Half {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Half {
    fn new(shared: &Arc<Shared>) -> Self {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        Self { path: shared.dir.join("new").join(number.to_string()), shared: Arc::clone(shared) }
    }

    /// Makes it durable, then gives it its name, then makes that durable.
    fn finish(&self, file: &File, hash: &ContentHash) -> io::Result<()> {
        file.sync_all()?;
        let path = self.shared.path(hash);
        let parent = path.parent().unwrap_or(&self.shared.dir);
        if !parent.exists() {
            fs::create_dir_all(parent)?;
            sync_dir(&self.shared.dir)?;
        }
        fs::rename(&self.path, &path)?;
        sync_dir(parent)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn missing(hash: ContentHash, error: io::Error) -> ContentError {
    match error.kind() {
        io::ErrorKind::NotFound => ContentError::Missing(hash),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ContentStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ContentStore::open(dir.path()).unwrap();
        (dir, store)
    }

    fn half_files(store: &ContentStore) -> usize {
        fs::read_dir(store.shared.dir.join("new")).unwrap().count()
    }

    #[tokio::test]
    async fn bytes_come_back_by_their_hash_until_they_are_removed() {
        let (dir, store) = store();
        let hash = store.put(Bytes::from_static(b"a component")).await.unwrap();
        assert_eq!(store.put(Bytes::from_static(b"a component")).await.unwrap(), hash);
        assert_eq!(hash, ContentHash::of(b"a component"));
        let reopened = ContentStore::open(dir.path()).unwrap();
        assert!(reopened.has(hash));
        assert_eq!(reopened.read(hash, 100).await.unwrap(), "a component");
        let (mut file, len) = reopened.open_file(hash).await.unwrap();
        let mut streamed = String::new();
        file.read_to_string(&mut streamed).await.unwrap();
        assert_eq!((streamed.as_str(), len), ("a component", 11));
        reopened.remove(hash).await.unwrap();
        reopened.remove(hash).await.unwrap();
        assert!(!store.has(hash));
        assert!(matches!(store.read(hash, 100).await, Err(ContentError::Missing(_))));
    }

    #[tokio::test]
    async fn a_stream_is_kept_only_if_it_is_what_was_asked_for() {
        let (_dir, store) = store();
        let bytes = vec![7; 200_000];
        let hash = ContentHash::of(&bytes);
        assert_eq!(store.receive(hash, 200_000, bytes.as_slice()).await.unwrap(), 200_000);
        assert!(store.has(hash));
        let other = ContentHash::of(b"other");
        assert!(matches!(store.receive(other, 9, b"not it".as_slice()).await, Err(ContentError::Mismatch { .. })));
        assert!(!store.has(other) && half_files(&store) == 0);
    }

    #[tokio::test]
    async fn an_endless_stream_is_cut_at_the_bound() {
        let (_dir, store) = store();
        let endless = tokio::io::repeat(0);
        let result = store.receive(ContentHash::of(b""), 100_000, endless).await;
        assert!(matches!(result, Err(ContentError::TooLarge { size_bytes_max: 100_000 })));
        assert_eq!(half_files(&store), 0);
        let hash = store.put(Bytes::from_static(b"twelve bytes")).await.unwrap();
        assert!(matches!(store.read(hash, 11).await, Err(ContentError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn rotten_bytes_are_never_given() {
        let (_dir, store) = store();
        let hash = store.put(Bytes::from_static(b"sound")).await.unwrap();
        fs::write(store.path(hash), b"rotten").unwrap();
        assert!(matches!(store.read(hash, 100).await, Err(ContentError::Mismatch { .. })));
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_gone_after_it() {
        let (dir, store) = store();
        fs::write(store.shared.dir.join("new/17"), b"half").unwrap();
        let reopened = ContentStore::open(dir.path()).unwrap();
        assert_eq!(half_files(&reopened), 0);
    }
}

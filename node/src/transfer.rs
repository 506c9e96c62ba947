//! Bulk bytes by hash between nodes: components, snapshots. They stream from disk to disk and never enter the machine,
//! but for a snapshot, which it asked for.
//!
//! On the wire, one stream each (`/bocage/content/1`): the asker sends the 32 bytes of the hash and the most it takes
//! (eight bytes, big-endian); the other answers [`HERE`], the length (eight bytes) and the bytes, or [`NOT_HERE`], or
//! [`TOO_LONG`]. **Knowing a hash is the capability:** whoever links to this node and names a hash gets its bytes. Hashes
//! of what is private (snapshots) are told to the voters of their cell only, and 32 bytes are not guessed.
use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bocage_protocol::{
    codec::Blob,
    frame::Urgency,
    id::{ContentHash, NodeId, TransferId},
    io::{Content, ContentKind, Input, TransferFault},
    store::DiskFault,
};
use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    effects::Contents,
    inbox::Inlet,
    transport::{Incoming, Mesh, MeshStream, Purpose},
};

/// Answers of the serving side.
const HERE: u8 = 0;
const NOT_HERE: u8 = 1;
const TOO_LONG: u8 = 2;

/// Fetches at once. More share the same line and disk.
const FETCHES_MAX: usize = 8;

/// Fetches that wait for their turn; beyond it one fails at once, and the machine tries again.
const WAITING_MAX: usize = 256;

/// Serves at once; more wait.
const SERVES_MAX: usize = 16;

/// Without a byte for so long a transfer is given up.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// A transfer is given up after so long, whatever moves.
const WITHIN: Duration = Duration::from_mins(10);

/// Bytes move in pieces of this length, at most [`PIECES_MAX`] between network and disk.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 8;

/// Where a node keeps bytes by hash. Blocking: called on threads made for it.
pub trait ContentStore: Send + Sync + 'static {
    /// The length and the bytes; `None` when they are not here.
    ///
    /// # Errors
    /// When the disk fails.
    fn open(&self, content: ContentHash) -> io::Result<Option<(u64, Box<dyn Read + Send>)>>;

    /// Keeps the bytes, synced, if they are what the hash says; keeps nothing otherwise. Harmless when they are here.
    ///
    /// # Errors
    /// See [`PutError`].
    fn put(&self, content: ContentHash, bytes: &mut dyn Read) -> Result<(), PutError>;

    /// Forgets them; harmless when they are not here.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&self, content: ContentHash) -> io::Result<()>;
}

/// Why bytes were not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Their hash is another.
    #[error("the bytes are not what their hash says")]
    OtherBytes,
    /// They did not come to an end.
    #[error("the bytes ended early")]
    Read(#[source] io::Error),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

/// Fetches and serves. Cheap to clone.
#[derive(Clone)]
pub struct Transfers(Arc<Inner>);

struct Inner {
    mesh: Mesh,
    store: Arc<dyn ContentStore>,
    inlet: Inlet,
    fetches: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Provided, not on disk yet: served from here meanwhile.
    fresh: Mutex<BTreeMap<ContentHash, Blob>>,
    /// In order, so that a withdrawal never overtakes what it withdraws. Bounded by the machine: one per snapshot.
    changes: mpsc::UnboundedSender<Change>,
    tasks: tokio::runtime::Handle,
}

enum Change {
    Provide(ContentHash, Blob),
    Withdraw(ContentHash),
}

type Fetched = Result<Option<Blob>, TransferFault>;

impl Transfers {
    /// Serves what `store` has to every peer from now on. On a tokio runtime.
    #[must_use]
    pub fn start(mesh: Mesh, store: Arc<dyn ContentStore>, inlet: Inlet) -> Self {
        let (changes, change_receiver) = mpsc::unbounded_channel();
        let incoming = mesh.incoming(Purpose::Content);
        let this = Self(Arc::new(Inner {
            mesh,
            store,
            inlet,
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            fresh: Mutex::default(),
            changes,
            tasks: tokio::runtime::Handle::current(),
        }));
        tokio::spawn(keep(Arc::downgrade(&this.0), change_receiver));
        if let Some(incoming) = incoming {
            tokio::spawn(serve_all(Arc::downgrade(&this.0), incoming));
        }
        this
    }
}

impl Contents for Transfers {
    fn transfer(&self, id: TransferId, from: NodeId, what: Content) {
        let this = Arc::clone(&self.0);
        let waits = Arc::clone(&self.0.waiting).try_acquire_owned().ok();
        self.0.tasks.spawn(async move {
            let result = match waits {
                Some(waits) => this.fetch_in_turn(from, what, waits).await,
                None => Err(TransferFault::Broken("too many transfers wait".into())),
            };
            // An error says that the driver has stopped.
            let _ = this.inlet.input(Urgency::Request, Input::Transferred { id, result }).await;
        });
    }

    fn provide(&self, content: ContentHash, bytes: Blob) {
        self.0.fresh().insert(content, bytes.clone());
        let _ = self.0.changes.send(Change::Provide(content, bytes));
    }

    fn withdraw(&self, content: ContentHash) {
        self.0.fresh().remove(&content);
        let _ = self.0.changes.send(Change::Withdraw(content));
    }
}

impl Inner {
    fn fresh(&self) -> MutexGuard<'_, BTreeMap<ContentHash, Blob>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_in_turn(self: &Arc<Self>, from: NodeId, what: Content, waits: OwnedSemaphorePermit) -> Fetched {
        let _turn = Arc::clone(&self.fetches).acquire_owned().await;
        drop(waits);
        let fetch = timeout(WITHIN, self.fetch(from, what));
        fetch.await.unwrap_or_else(|_| Err(TransferFault::Broken("it took too long".into())))
    }

    async fn fetch(self: &Arc<Self>, from: NodeId, what: Content) -> Fetched {
        match self.here(what).await {
            Err(TransferFault::NotThere) if from != self.mesh.node() => {}
            here => return here,
        }
        let mut stream = self.mesh.open(from, Purpose::Content).await.map_err(broken)?;
        let len = in_time(ask(&mut stream, what)).await??;
        let (pieces, pipe) = pipe();
        let this = Arc::clone(self);
        let put = self.tasks.spawn_blocking(move || this.store.put(what.hash, &mut { pipe }));
        let received = receive(&mut stream, len, pieces).await;
        let kept = put.await.map_err(|_| DiskFault::Failed("the content store broke".into()))?;
        received?;
        match kept {
            Ok(()) => self.here(what).await,
            Err(PutError::OtherBytes) => Err(TransferFault::NotThere),
            Err(PutError::Read(error)) => Err(broken(error)),
            Err(PutError::Disk(fault)) => Err(fault.into()),
        }
    }

    /// What this node has of it, as the machine wants to be told.
    async fn here(self: &Arc<Self>, what: Content) -> Fetched {
        let this = Arc::clone(self);
        let looked = self.tasks.spawn_blocking(move || this.look(what)).await;
        looked.map_err(|_| DiskFault::Failed("the content store broke".into()))?
    }

    fn look(&self, what: Content) -> Fetched {
        let disk = |error: io::Error| DiskFault::Failed(error.to_string());
        let Some((len, mut bytes)) = self.open(what.hash).map_err(disk)? else { return Err(TransferFault::NotThere) };
        if len > what.size_bytes_max {
            return Err(TransferFault::TooLong);
        }
        match what.kind {
            ContentKind::Component => Ok(None),
            ContentKind::Snapshot => {
                let mut whole = Vec::new();
                bytes.read_to_end(&mut whole).map_err(disk)?;
                Ok(Some(whole.into()))
            }
        }
    }

    fn open(&self, content: ContentHash) -> io::Result<Option<(u64, Box<dyn Read + Send>)>> {
        // A synced copy is what "here" promises; the fresh one serves peers until then.
        match self.store.open(content)? {
            Some(found) => Ok(Some(found)),
            None => Ok(self.fresh().get(&content).map(|bytes| {
                let reader: Box<dyn Read + Send> = Box::new(bytes.0.clone().reader());
                (bytes.len() as u64, reader)
            })),
        }
    }

    async fn serve(self: Arc<Self>, mut stream: MeshStream) -> io::Result<()> {
        let mut hash = [0; 32];
        in_time(stream.read_exact(&mut hash)).await.map_err(io::Error::other)??;
        let max = in_time(stream.read_u64()).await.map_err(io::Error::other)??;
        let (hash, this) = (ContentHash(hash), Arc::clone(&self));
        let opened = self.tasks.spawn_blocking(move || this.open(hash)).await??;
        match opened {
            Some((len, bytes)) if len <= max => {
                stream.write_u8(HERE).await?;
                stream.write_u64(len).await?;
                self.send(&mut stream, bytes).await?;
            }
            Some(_) => stream.write_u8(TOO_LONG).await?,
            None => stream.write_u8(NOT_HERE).await?,
        }
        stream.shutdown().await
    }

    async fn send(&self, stream: &mut MeshStream, mut bytes: Box<dyn Read + Send>) -> io::Result<()> {
        let (pieces, mut read) = mpsc::channel(PIECES_MAX);
        let reading = self.tasks.spawn_blocking(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let len = bytes.read(&mut piece)?;
                piece.truncate(len);
                if len == 0 || pieces.blocking_send(piece).is_err() {
                    return io::Result::Ok(());
                }
            }
        });
        while let Some(piece) = read.recv().await {
            timeout(SILENT_MAX, stream.write_all(&piece)).await??;
        }
        drop(read);
        reading.await?
    }
}

/// Asks for content; its length.
async fn ask(stream: &mut MeshStream, what: Content) -> Result<u64, TransferFault> {
    stream.write_all(&what.hash.0).await.map_err(broken)?;
    stream.write_u64(what.size_bytes_max).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    match stream.read_u8().await.map_err(broken)? {
        HERE => {}
        TOO_LONG => return Err(TransferFault::TooLong),
        // An answer that we do not know is a no as well.
        _ => return Err(TransferFault::NotThere),
    }
    let len = stream.read_u64().await.map_err(broken)?;
    if len > what.size_bytes_max {
        return Err(TransferFault::TooLong);
    }
    Ok(len)
}

/// Hands exactly `len` bytes on. Dropping `pieces` early tells the other end that they are not all.
async fn receive(
    stream: &mut MeshStream,
    len: u64,
    pieces: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), TransferFault> {
    let mut left = len;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; want];
        let read = match in_time(stream.read(&mut piece)).await.and_then(|read| read.map_err(broken)) {
            Ok(0) => Err(TransferFault::Broken("the bytes ended early".into())),
            other => other,
        };
        let read = match read {
            Ok(read) => read,
            Err(fault) => {
                // An error says that the disk has given up before: its own fault is told then.
                let _ = pieces.send(Err(io::Error::other(fault.to_string()))).await;
                return Err(fault);
            }
        };
        piece.truncate(read);
        left -= read as u64;
        if pieces.send(Ok(piece.into())).await.is_err() {
            return Ok(()); // The disk gave up: it says why.
        }
    }
    Ok(())
}

/// Pieces from the network, read as a file is.
struct Pipe {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

fn pipe() -> (mpsc::Sender<io::Result<Bytes>>, Pipe) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    (sender, Pipe { pieces, rest: Bytes::new() })
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let len = into.len().min(self.rest.len());
        self.rest.split_to(len).copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

/// Puts and removes what the machine provides and withdraws, in order.
async fn keep(inner: std::sync::Weak<Inner>, mut changes: mpsc::UnboundedReceiver<Change>) {
    while let Some(change) = changes.recv().await {
        let Some(this) = inner.upgrade() else { return };
        let done = tokio::task::spawn_blocking(move || match change {
            Change::Provide(content, bytes) => {
                let kept = this.store.put(content, &mut bytes.as_ref());
                this.fresh().remove(&content);
                kept.map_err(|error| error.to_string())
            }
            Change::Withdraw(content) => this.store.remove(content).map_err(|error| error.to_string()),
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "content could not be kept or removed"),
            Err(error) => tracing::error!(%error, "the content store broke"),
        }
    }
}

async fn serve_all(inner: std::sync::Weak<Inner>, mut incoming: mpsc::Receiver<Incoming>) {
    let serves = Arc::new(Semaphore::new(SERVES_MAX));
    while let Some((peer, stream)) = incoming.recv().await {
        let Ok(turn) = Arc::clone(&serves).acquire_owned().await else { return };
        let Some(this) = inner.upgrade() else { return };
        tokio::spawn(async move {
            match timeout(WITHIN, this.serve(stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(?peer, %error, "content was not served"),
                Err(_) => tracing::debug!(?peer, "serving content took too long"),
            }
            drop(turn);
        });
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> Result<T, TransferFault> {
    timeout(SILENT_MAX, what).await.map_err(|_| TransferFault::Broken("the peer is silent".into()))
}

fn broken(error: impl std::fmt::Display) -> TransferFault {
    TransferFault::Broken(error.to_string())
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;

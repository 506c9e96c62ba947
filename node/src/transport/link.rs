//! What this node has with one peer while at least one connection stands: queues out, quotas in, and signs of life.
//!
//! Two connections (both sides dialled at once) are still one link: it sends on its *primary* and reads from all.
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bocage_protocol::{
    frame::{FRAME_BYTES_MAX, Urgency},
    id::NodeId,
    io::Over,
};
use futures::AsyncWriteExt as _;
use libp2p::{Stream, swarm::ConnectionId};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::inbox::WAITING_MAX;

use super::{
    lane::{Lane, Sent},
    metrics::Metrics,
    quota::Account,
    streams::{Kind, Opener},
};

/// Bytes of one peer's frames between its stream and the machine. At the bound its streams are not read.
pub(super) const PEER_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Streams of frames and pulses that one peer may have open to us: each kind on each of its connections, and as many
/// that are just being replaced.
const READERS_MAX: usize = 8 * 4 * 2;

/// Streams for HTTP and content that one peer may have open to us.
const STREAMS_MAX: usize = 256;

/// Less urgent frames wait at most so long for more urgent ones, so that a stuck stream cannot silence another.
const YIELD_MAX: Duration = Duration::from_millis(100);

/// After a stream could not be opened the next try waits so long.
const REOPEN: Duration = Duration::from_millis(50);

/// One peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    lanes: [Lane; 3],
    primary: watch::Sender<Opener>,
    over: Mutex<Over>,
    /// Cancelled when the link is down: everything that belongs to it ends.
    pub(super) closed: CancellationToken,
    /// Rises with everything valid that the peer sends.
    heard: AtomicU64,
    introduced: AtomicBool,
    round_trip_us: AtomicU64,
    /// Something was sent that wants an answer, and none has come.
    expecting: AtomicBool,
    /// Wakes the pulse: somebody watches, or an answer is expected.
    pub(super) wanted: Notify,
    pub(super) account: Account,
    pub(super) memory: Arc<Semaphore>,
    /// Places for its frames before the machine, each urgency its own.
    places: [Arc<Semaphore>; 3],
    pub(super) readers: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
}

impl Link {
    pub(super) fn new(peer: NodeId, primary: Opener, over: Over) -> Self {
        Self {
            peer,
            lanes: <[Lane; 3]>::default(),
            primary: watch::Sender::new(primary),
            over: Mutex::new(over),
            closed: CancellationToken::new(),
            heard: AtomicU64::new(0),
            introduced: AtomicBool::new(false),
            round_trip_us: AtomicU64::new(0),
            expecting: AtomicBool::new(false),
            wanted: Notify::new(),
            account: Account::default(),
            memory: Arc::new(Semaphore::new(PEER_BYTES_MAX)),
            places: std::array::from_fn(|_| Arc::new(Semaphore::new(WAITING_MAX))),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    pub(super) fn primary(&self) -> Opener {
        self.primary.borrow().clone()
    }

    pub(super) fn prefer(&self, opener: Opener, over: Over) {
        self.primary.send_replace(opener);
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = over;
    }

    /// What its primary goes over.
    pub(super) fn over(&self) -> Over {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, urgency: Urgency) -> &Lane {
        of_urgency(&self.lanes, urgency)
    }

    /// Places for frames of one urgency between its streams and the machine.
    pub(super) fn places(&self, urgency: Urgency) -> Arc<Semaphore> {
        Arc::clone(of_urgency(&self.places, urgency))
    }

    /// The peer is alive: it sent something valid.
    pub(super) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Compare two of these to know whether the peer was heard between them.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn introduce(&self) {
        self.introduced.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_introduced(&self) -> bool {
        self.introduced.load(Ordering::Relaxed)
    }

    pub(super) fn measured(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us.store(micros.max(1), Ordering::Relaxed);
    }

    /// `None` when not measured yet.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip_us.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn expect_answer(&self) {
        if !self.expecting.swap(true, Ordering::Relaxed) {
            self.wanted.notify_one();
        }
    }

    pub(super) fn is_expecting(&self) -> bool {
        self.expecting.load(Ordering::Relaxed)
    }

    pub(super) fn expect_nothing(&self) {
        self.expecting.store(false, Ordering::Relaxed);
    }

    /// Lets more urgent lanes go first.
    async fn yield_to_urgent(&self, urgency: Urgency) {
        let urgent = async {
            match urgency {
                Urgency::Control => {}
                Urgency::Request => self.lane(Urgency::Control).emptied().await,
                Urgency::Bulk => {
                    self.lane(Urgency::Control).emptied().await;
                    self.lane(Urgency::Request).emptied().await;
                }
            }
        };
        // Late is fine: then both go at once and share the link.
        let _ = tokio::time::timeout(YIELD_MAX, urgent).await;
    }

    /// Writes the frames of one lane on one long-lived stream, until the link is down.
    pub(super) async fn write_frames(self: Arc<Self>, urgency: Urgency, metrics: Metrics) {
        let mut stream: Option<(ConnectionId, Stream)> = None;
        loop {
            self.lane(urgency).filled().await;
            let primary = self.primary();
            let open = match stream.take() {
                Some((connection, open)) if connection == primary.connection => open,
                Some(_) | None => match primary.open(Kind::Frames(urgency)).await {
                    Ok(open) => open,
                    Err(error) => {
                        tracing::debug!(peer = ?self.peer, %error, "no stream for frames yet");
                        tokio::time::sleep(REOPEN).await;
                        continue;
                    }
                },
            };
            stream = self.empty(urgency, &metrics, open).await.map(|open| (primary.connection, open));
        }
    }

    /// Writes what the lane holds; hands the stream back unless it broke.
    async fn empty(&self, urgency: Urgency, metrics: &Metrics, mut stream: Stream) -> Option<Stream> {
        self.yield_to_urgent(urgency).await;
        let batch = self.lane(urgency).take()?;
        if urgency != Urgency::Bulk {
            self.expect_answer();
        }
        let written = async {
            stream.write_all(&batch.bytes).await?;
            stream.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(peer = ?self.peer, %error, "a stream of frames broke");
            metrics.dropped(urgency);
            return None;
        }
        metrics.sent(urgency, batch.frames, batch.bytes.len());
        Some(stream)
    }
}

fn of_urgency<T>(all: &[T; 3], urgency: Urgency) -> &T {
    let [control, request, bulk] = all;
    match urgency {
        Urgency::Control => control,
        Urgency::Request => request,
        Urgency::Bulk => bulk,
    }
}

/// The links that are up, and who is watched.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    watched: Mutex<BTreeMap<NodeId, usize>>,
}

impl Links {
    pub(super) fn of(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.up.read().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }

    pub(super) fn insert(&self, link: Arc<Link>) {
        self.up.write().unwrap_or_else(PoisonError::into_inner).insert(link.peer, link);
    }

    pub(super) fn remove(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.up.write().unwrap_or_else(PoisonError::into_inner).remove(&peer)
    }

    /// How many have not introduced themselves.
    pub(super) fn strangers(&self) -> usize {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        up.values().filter(|link| !link.is_introduced()).count()
    }

    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        self.up.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Queues a frame.
    pub(super) fn send(
        &self,
        to: NodeId,
        urgency: Urgency,
        frame: impl FnOnce() -> bocage_protocol::codec::Blob,
    ) -> Sent {
        match self.of(to) {
            Some(link) => link.lane(urgency).push(frame()),
            None => Sent::NoLink,
        }
    }

    pub(super) fn watch(&self, peer: NodeId) {
        *self.watches().entry(peer).or_default() += 1;
        if let Some(link) = self.of(peer) {
            link.wanted.notify_one();
        }
    }

    pub(super) fn unwatch(&self, peer: NodeId) {
        let mut watched = self.watches();
        if let Some(count) = watched.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&peer);
            }
        }
    }

    pub(super) fn is_watched(&self, peer: NodeId) -> bool {
        self.watches().contains_key(&peer)
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

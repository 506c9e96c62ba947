//! From a peer's bytes to `Verified<Frame>`: lengths, decoding, signatures, in a bounded pool and within the peer's
//! quota. The frames of one stream keep their order; a peer that sends faster than it may is not read meanwhile.
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bocage_protocol::{
    frame::{FRAME_BYTES_MAX, Frame},
    identity::Verified,
    io::Input,
    wire::WireRange,
};
use futures::{AsyncRead, AsyncReadExt as _, io::BufReader};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    link::Link,
    metrics::{Metrics, Refused},
};
use crate::inbox::Inlet;

/// Frames checked at once outside of the reading tasks: more would take the cores from the machine.
const CHECKS_MAX: usize = 2;

/// Shorter frames hold so few signatures that handing them to another thread costs more than checking them.
const INLINE_BYTES_MAX: usize = 1024;

/// Bytes of all frames between their streams and the machine.
const BYTES_MAX: usize = 64 << 20;

/// A frame is read in pieces of this length, each accounted for before it is read.
const PIECE_BYTES: usize = 64 << 10;

/// A frame that has begun must be whole after so long.
const FRAME_WITHIN: Duration = Duration::from_secs(30);

/// How long a peer's frame waits for memory before its connection is closed.
const MEMORY_WITHIN: Duration = Duration::from_secs(5);

/// Envelopes known to be valid: 32 bytes each, in two halves of which the older is forgotten at a time.
const KNOWN_MAX: usize = 32_768;

/// Checks what peers send. One per daemon.
#[derive(Debug)]
pub(super) struct Checker {
    inlet: Inlet,
    metrics: Metrics,
    known: Known,
    checks: Semaphore,
    memory: Arc<Semaphore>,
}

impl Checker {
    pub(super) fn new(inlet: Inlet, metrics: Metrics, wire: WireRange) -> Self {
        let (checks, memory) = (Semaphore::new(CHECKS_MAX), Arc::new(Semaphore::new(BYTES_MAX)));
        Self { inlet, metrics, known: Known { wire, halves: Mutex::default() }, checks, memory }
    }

    /// Reads the frames of one stream until it ends.
    ///
    /// # Errors
    /// When the peer sent what no honest peer sends: close its connection.
    pub(super) async fn read_frames(
        self: Arc<Self>,
        link: Arc<Link>,
        stream: impl AsyncRead + Unpin,
    ) -> Result<(), Refused> {
        let mut stream = BufReader::new(stream);
        loop {
            let Some((bytes, memory)) = self.read_frame(&link, &mut stream).await? else { return Ok(()) };
            let len = bytes.len();
            let (frame, signatures) = self.check(bytes).await?;
            let urgency = frame.urgency();
            link.hear();
            link.introduce();
            self.metrics.received(urgency, len);
            self.metrics.signatures.inc_by(u64::from(signatures));
            let input = Input::Received { from: link.peer, frame };
            if self.inlet.hold(urgency, input, memory).await.is_err() {
                return Ok(());
            }
            let owed = link.quota.charge(signatures);
            if !owed.is_zero() {
                tokio::time::sleep(owed).await;
            }
        }
    }

    /// One frame's bytes; `None` when the stream ended or broke.
    async fn read_frame(
        &self,
        link: &Link,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<(Vec<u8>, Vec<OwnedSemaphorePermit>)>, Refused> {
        let mut header = [0; 4];
        if stream.read_exact(&mut header).await.is_err() {
            return Ok(None);
        }
        let len = u32::from_be_bytes(header);
        if len as usize > FRAME_BYTES_MAX {
            return Err(Refused::Oversized);
        }
        let Ok(of_peer) = Arc::clone(&link.memory).acquire_many_owned(len).await else { return Ok(None) };
        match timeout(FRAME_WITHIN, self.read_body(stream, len as usize)).await {
            Ok(Ok(Some((bytes, of_all)))) => Ok(Some((bytes, [Some(of_peer), of_all].into_iter().flatten().collect()))),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(Refused::Slow),
        }
    }

    async fn read_body(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        len: usize,
    ) -> Result<Option<(Vec<u8>, Option<OwnedSemaphorePermit>)>, Refused> {
        let mut bytes = Vec::new();
        let mut memory: Option<OwnedSemaphorePermit> = None;
        while bytes.len() < len {
            let piece = PIECE_BYTES.min(len - bytes.len());
            let permits = u32::try_from(piece).expect("a piece is 64 KiB");
            let Ok(Ok(permit)) = timeout(MEMORY_WITHIN, Arc::clone(&self.memory).acquire_many_owned(permits)).await
            else {
                return Err(Refused::Memory);
            };
            match &mut memory {
                Some(memory) => memory.merge(permit),
                None => memory = Some(permit),
            }
            let begin = bytes.len();
            bytes.resize(begin + piece, 0);
            if stream.read_exact(&mut bytes[begin..]).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some((bytes, memory)))
    }

    /// Decodes and checks, and says how many signatures that took.
    async fn check(self: &Arc<Self>, bytes: Vec<u8>) -> Result<(Verified<Frame>, u32), Refused> {
        if bytes.len() <= INLINE_BYTES_MAX {
            return self.known.check(&bytes);
        }
        let _permit = self.checks.acquire().await.map_err(|_| Refused::Memory)?;
        let this = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || this.known.check(&bytes)).await;
        // A panic in there is a bug of ours that the peer's bytes found: its bytes are what we turn away.
        checked.unwrap_or(Err(Refused::Malformed))
    }
}

/// Which envelopes were valid when last seen, so that a record that comes from six neighbours is checked once.
#[derive(Debug)]
struct Known {
    /// The versions that frames are read in.
    wire: WireRange,
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Known {
    fn check(&self, bytes: &[u8]) -> Result<(Verified<Frame>, u32), Refused> {
        let frame = Frame::decode(bytes, self.wire).map_err(|error| {
            tracing::debug!(%error, "a frame does not decode");
            Refused::Malformed
        })?;
        let mut new = Vec::new();
        let checked = frame.check(|envelope| {
            let digest = envelope.digest();
            let known = self.contains(&digest);
            if !known {
                new.push(digest);
            }
            known
        });
        let frame = checked.map_err(|error| {
            tracing::debug!(%error, "a frame is turned away");
            Refused::Signature
        })?;
        let signatures = u32::try_from(new.len()).unwrap_or(u32::MAX);
        self.remember(new);
        Ok((frame, signatures))
    }

    fn contains(&self, digest: &[u8; 32]) -> bool {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.young.contains(digest) || halves.old.contains(digest)
    }

    fn remember(&self, digests: Vec<[u8; 32]>) {
        if digests.is_empty() {
            return;
        }
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            halves.young.insert(digest);
            if halves.young.len() >= KNOWN_MAX / 2 {
                halves.old = std::mem::take(&mut halves.young);
            }
        }
    }
}

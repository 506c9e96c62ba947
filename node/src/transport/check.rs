//! From a peer's bytes to `Verified<Frame>`: lengths, decoding, signatures, in a bounded pool and within the peer's
//! quotas. The frames of one stream keep their order; a peer that sends faster than it may is not read meanwhile.
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bocage_protocol::{
    frame::{FRAME_BYTES_MAX, Frame, Hello, Urgency},
    identity::{NodeCertificate, Verified},
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
    quota::{Cost, Shares},
};
use crate::{inbox::Inlet, settings::wall};

/// Frames checked at once outside of the reading tasks, for raft and liveness, and for all else: more would take the cores
/// from the machine, and bulk never stands before raft here either.
const CHECKS_MAX: usize = 1;

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
    urgent_checks: Semaphore,
    other_checks: Semaphore,
    memory: Arc<Semaphore>,
    shares: Shares,
}

impl Checker {
    pub(super) fn new(inlet: Inlet, metrics: Metrics, wire: WireRange) -> Self {
        let checks = || Semaphore::new(CHECKS_MAX);
        let memory = Arc::new(Semaphore::new(BYTES_MAX));
        let (urgent_checks, other_checks) = (checks(), checks());
        Self {
            inlet,
            metrics,
            known: Known { wire, halves: Mutex::default() },
            urgent_checks,
            other_checks,
            memory,
            shares: Shares::default(),
        }
    }

    /// Reads the frames of one stream of that urgency until it ends.
    ///
    /// # Errors
    /// When the peer sent what no honest peer sends: close its connection.
    pub(super) async fn read_frames(
        self: Arc<Self>,
        link: Arc<Link>,
        lane: Urgency,
        stream: impl AsyncRead + Unpin,
    ) -> Result<(), Refused> {
        let mut stream = BufReader::new(stream);
        loop {
            let Some((bytes, mut permits)) = self.read_frame(&link, &mut stream).await? else { return Ok(()) };
            let len = bytes.len();
            let (frame, signatures) = self.check(lane, bytes).await?;
            let urgency = frame.urgency();
            link.hear();
            self.metrics.received(urgency, len);
            self.metrics.signatures.inc_by(u64::from(signatures));
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let cost = Cost { frames: 1, bytes: count(len), records: count(frame.records()), signatures };
            if let Frame::Hello(hello) = &*frame {
                self.introduce(&link, hello);
            }
            // Before its Hello the machine would only drop it; that it may overtake its Hello on another stream is lawful.
            if link.is_introduced() {
                let Ok(place) = link.places(urgency).acquire_owned().await else { return Ok(()) };
                permits.push(place);
                let input = Input::Received { from: link.peer, frame };
                if self.inlet.hold(urgency, link.peer, input, permits).is_err() {
                    return Ok(());
                }
            } else {
                self.metrics.refuse(Refused::Stranger);
            }
            let owed = link.account.charge(urgency, cost);
            if !owed.is_zero() {
                self.metrics.waited.inc();
                tokio::time::sleep(owed).await;
            }
        }
    }

    /// From here on the peer's frames reach the machine, which says whether it is a member, and count for its operator and
    /// jurisdiction too, so far as its certificate is its own.
    fn introduce(&self, link: &Link, hello: &Hello) {
        link.introduce();
        let certificate = NodeCertificate::accept(&hello.certificate, hello.mesh, wall());
        if let Ok(certificate) = certificate
            && certificate.node == link.peer
        {
            self.shares.join(&link.account, certificate.operator_id(), certificate.jurisdiction);
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
    async fn check(self: &Arc<Self>, lane: Urgency, bytes: Vec<u8>) -> Result<(Verified<Frame>, u32), Refused> {
        if bytes.len() <= INLINE_BYTES_MAX {
            return self.known.check(&bytes);
        }
        let checks = match lane {
            Urgency::Control => &self.urgent_checks,
            Urgency::Request | Urgency::Bulk => &self.other_checks,
        };
        let _permit = checks.acquire().await.map_err(|_| Refused::Memory)?;
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

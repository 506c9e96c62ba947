//! The bodies that pass through an edge.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Any body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Why a body broke off.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is all here.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Any body, boxed.
pub(super) fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that keeps something alive until it ends: the watch over a link, a place in a queue.
pub(super) struct Keeping<T> {
    body: Body,
    _kept: T,
}

impl<T> Keeping<T> {
    pub(super) fn new(body: Body, kept: T) -> Self {
        Self { body, _kept: kept }
    }
}

impl<T: Unpin> http_body::Body for Keeping<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body, so far as it must be sent again when an instance fails.
pub(super) enum Replay {
    /// All of it is here, and counted.
    Whole { bytes: Bytes, _memory: OwnedSemaphorePermit },
    /// Too long to keep: it can be sent once.
    Once(Option<Body>),
}

/// Longer bodies are passed on as they come, and sent once.
const KEPT_MAX: usize = 1 << 20;

/// Bytes of all bodies that one edge keeps; while so many are kept, further ones are passed on as they come, and sent once.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 20;

impl Replay {
    /// Keeps a body that says it is short, while `memory` (of [`KEPT_BYTES_MAX`]) has room for it; passes any other on.
    ///
    /// # Errors
    /// When the client breaks off.
    pub(super) async fn of(body: hyper::body::Incoming, memory: &Arc<Semaphore>) -> Result<Self, hyper::Error> {
        let short = body.size_hint().upper().filter(|upper| *upper <= KEPT_MAX as u64);
        let room = short.and_then(|upper| Arc::clone(memory).try_acquire_many_owned(u32::try_from(upper).ok()?).ok());
        match room {
            Some(room) => Ok(Self::Whole { bytes: body.collect().await?.to_bytes(), _memory: room }),
            None => Ok(Self::Once(Some(boxed(body)))),
        }
    }

    /// A body to send; `None` when it was sent already and cannot be again.
    pub(super) fn take(&mut self) -> Option<Body> {
        match self {
            Self::Whole { bytes, .. } => Some(full(bytes.clone())),
            Self::Once(body) => body.take(),
        }
    }

    /// Whether it can be sent once more.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Once(Some(_)))
    }
}

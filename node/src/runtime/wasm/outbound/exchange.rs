//! One request over a connection of its own, and its answer. Both bodies stream, counted.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout},
};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::{budget::Budget, refused::Refused};

/// Bytes of one request's body; past it the request breaks off.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one answer's body; past it the answer breaks off.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Bytes of an answer's head; a longer one is no answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// An answer begins within this, whatever the guest would wait; past it the request fails.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
/// A body that does not move for so long breaks off.
const BETWEEN_BYTES_MAX: Duration = Duration::from_secs(30);

/// Plain or under TLS.
pub(super) type Connection = Box<dyn Wire>;

/// What HTTP is spoken over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Answer = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>);

/// Sends `request` and waits for the head of its answer. `held` is given back when the connection ends, at the latest when
/// the guest does.
pub(super) async fn run(
    connection: Connection,
    authority: &str,
    request: http::Request<WasiBody>,
    options: RequestOptions,
    budget: Arc<Budget>,
    held: [OwnedSemaphorePermit; 2],
) -> Result<Answer, Refused> {
    let (mut sender, driven) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(Refused::Broken)?;
    // Ends with its handle, so with the guest.
    let driven = wasmtime_wasi::runtime::spawn(driven);

    let between_bytes = options.between_bytes_timeout.unwrap_or(BETWEEN_BYTES_MAX).min(BETWEEN_BYTES_MAX);
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().map_err(|_| Refused::Malformed("its path is no path"))?;
    // What was judged is what is asked for.
    let host = authority.parse().map_err(|_| Refused::Malformed("its host is no host"))?;
    parts.headers.insert(http::header::HOST, host);
    let request = http::Request::from_parts(
        parts,
        Counted::new(body, REQUEST_BYTES_MAX, between_bytes, budget.clone(), Side::Request),
    );

    let first_byte = options.first_byte_timeout.unwrap_or(FIRST_BYTE_MAX).min(FIRST_BYTE_MAX);
    let answer = timeout(first_byte, sender.send_request(request)).await.map_err(|_| Refused::TooSlow("answer"))?;
    let answer = answer.map_err(Refused::Broken)?;
    let answer = answer.map(|body| {
        Counted::new(body.map_err(HttpError::Hyper), ANSWER_BYTES_MAX, between_bytes, budget, Side::Answer)
            .boxed_unsync()
    });
    let rest = async move {
        let ended = driven.await.map_err(HttpError::Hyper);
        drop(held);
        ended
    };
    Ok((answer, Box::new(rest)))
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Answer,
}

impl Side {
    fn too_long(self, bytes: u64) -> HttpError {
        match self {
            Self::Request => HttpError::HttpRequestBodySize(Some(bytes)),
            Self::Answer => HttpError::HttpResponseBodySize(Some(bytes)),
        }
    }

    const fn too_slow(self) -> HttpError {
        match self {
            Self::Request => HttpError::ConnectionWriteTimeout,
            Self::Answer => HttpError::ConnectionReadTimeout,
        }
    }
}

/// A body that may have so many bytes, and must move.
struct Counted<B> {
    body: B,
    left: u64,
    bytes: u64,
    between_bytes: Duration,
    stands_still: Pin<Box<Sleep>>,
    budget: Arc<Budget>,
    side: Side,
}

impl<B> Counted<B> {
    fn new(body: B, bytes_max: u64, between_bytes: Duration, budget: Arc<Budget>, side: Side) -> Self {
        let stands_still = Box::pin(sleep(between_bytes));
        Self { body, left: bytes_max, bytes: 0, between_bytes, stands_still, budget, side }
    }
}

impl<B: Body<Data = Bytes, Error = HttpError> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.stands_still.as_mut().poll(cx));
            return Poll::Ready(Some(Err(self.side.too_slow())));
        };
        let next = tokio::time::Instant::now() + self.between_bytes;
        self.stands_still.as_mut().reset(next);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.len() as u64;
            self.bytes = self.bytes.saturating_add(bytes);
            let Some(left) = self.left.checked_sub(bytes) else {
                return Poll::Ready(Some(Err(self.side.too_long(self.bytes))));
            };
            self.left = left;
            if !self.budget.take(Instant::now(), bytes) {
                return Poll::Ready(Some(Err(self.side.too_long(self.bytes))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

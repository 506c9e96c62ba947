//! One request: a fresh instance, its answer, and its end.
//!
//! The guest runs within the caller's own task until it has given head and, mostly, all of a short body: then nothing
//! was spawned and the instance is gone before the first byte leaves. What still runs by then moves to a task of its
//! own, because a body must go on while its client reads slowly, and stop when time is up though the client does not
//! read at all.
use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    task::AbortHandle,
    time::{Sleep, sleep_until},
};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error as HttpError, WasiHttpView,
    p2::{
        bindings::http::types::{ErrorCode, Scheme},
        body::HyperOutgoingBody,
    },
};

use super::{app::App, guest::Guest, ticker::Running};
use crate::runtime::RunError;

type Head = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// Why a body broke off: the guest failed after it had begun to answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BodyFault(String);

/// The body of a guest's answer, as it writes it.
pub struct GuestBody {
    inner: HyperOutgoingBody,
    failed: Arc<OnceLock<RunError>>,
    /// The guest, if it still runs.
    running: Option<AbortHandle>,
    /// Bytes that the guest announced and has not written yet.
    announced: Option<u64>,
}

/// What a request holds while it runs.
pub(super) struct Held(
    #[expect(dead_code, reason = "held, not looked at")] pub(super) (Running, [OwnedSemaphorePermit; 2]),
);

/// Runs one request in `store`.
pub(super) async fn run<B>(
    app: Arc<App>,
    mut store: Store<Guest>,
    request: http::Request<B>,
    deadline: Instant,
    held: Held,
) -> Result<http::Response<GuestBody>, RunError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let request = request.map(|body| body.map_err(|error| HttpError::InternalError(Some(error.to_string()))));
    let (give, mut given) = oneshot::channel();
    let mut http = store.data_mut().http();
    let malformed = |error: wasmtime::Error| RunError::Malformed(error.root_cause().to_string());
    let request = http.new_incoming_request(Scheme::Http, request).map_err(malformed)?;
    let out = http.new_response_outparam(give).map_err(malformed)?;

    let failed = Arc::new(OnceLock::new());
    let mut guest = Box::pin(Timed {
        guest: Some(Box::pin({
            let (app, failed) = (app.clone(), failed.clone());
            async move {
                let ended = answer(&app, &mut store, request, out).await.map_err(|error| store.data().reason(&error));
                app.usage.ended(store.data().limits.memory_bytes());
                if let Err(error) = &ended {
                    // Said before the store goes, which ends the body: whoever sees the end can ask why.
                    let _ = failed.set(error.clone());
                }
                ended
            }
        })),
        sleep: Box::pin(sleep_until(deadline.into())),
        failed: failed.clone(),
        app,
        _held: held,
    });

    let (given, ended) = std::future::poll_fn(|cx| {
        let ended = guest.as_mut().poll(cx);
        // The head is given only while the guest is polled, so there is nothing to wake for. It is not polled itself: a
        // task that has used up its share of the executor would be told that there is none.
        match (given.try_recv(), ended) {
            // Failed at once: better an error than a broken answer.
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Ok(given), ended) => Poll::Ready(Ok((given, ended.is_ready()))),
            (Err(_), Poll::Ready(Ok(()))) => Poll::Ready(Err(RunError::NoAnswer)),
            (Err(_), Poll::Pending) => Poll::Pending,
        }
    })
    .await?;

    let response: http::Response<_> = Head::map_err(given, |code| RunError::Refused(format!("{code:?}")))?;
    let running = (!ended).then(|| tokio::spawn(guest).abort_handle());
    let announced =
        response.headers().get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(response.map(|inner| GuestBody { inner, failed, running, announced }))
}

async fn answer(
    app: &App,
    store: &mut Store<Guest>,
    request: wasmtime::component::Resource<wasmtime_wasi_http::p2::types::HostIncomingRequest>,
    out: wasmtime::component::Resource<wasmtime_wasi_http::p2::types::HostResponseOutparam>,
) -> wasmtime::Result<()> {
    let instance = app.code.instantiate_async(&mut *store).await?;
    instance.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// A guest under its deadline, its computing time counted.
struct Timed<F> {
    /// Dropped as soon as it has ended, and with it the instance.
    guest: Option<Pin<Box<F>>>,
    sleep: Pin<Box<Sleep>>,
    failed: Arc<OnceLock<RunError>>,
    app: Arc<App>,
    _held: Held,
}

impl<F: Future<Output = Result<(), RunError>>> Future for Timed<F> {
    type Output = Result<(), RunError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(guest) = self.guest.as_mut() else { return Poll::Ready(Ok(())) };
        let began = Instant::now();
        let polled = guest.as_mut().poll(cx);
        self.app.usage.computed(began.elapsed());
        if polled.is_pending() && self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ended = match polled {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                let _ = self.failed.set(RunError::Deadline);
                self.app.usage.ended(0);
                Err(RunError::Deadline)
            }
        };
        self.guest = None;
        Poll::Ready(ended)
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let written = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.announced = self.announced.map(|announced| announced.saturating_sub(written));
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(self.fault(&error))),
            None => {
                // All is said. The guest may come to its own end, within its limits.
                self.running = None;
                self.failed.get().map(|error| Err(BodyFault(error.to_string())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl GuestBody {
    fn fault(&self, error: &HttpError) -> BodyFault {
        BodyFault(self.failed.get().map_or_else(|| error.to_string(), RunError::to_string))
    }
}

impl Drop for GuestBody {
    /// Nobody reads on: a guest that has not said all that it announced is stopped.
    fn drop(&mut self) {
        if self.announced == Some(0) {
            return;
        }
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

//! The other end of a forward: a peer's edge hands over a request for an instance on this node. It is never passed on.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bocage_protocol::{
    id::NodeId,
    lease::session_of_key,
    refusal::{Code, Refusal},
};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    body::{Body, boxed},
    entry::refused,
    headers,
    problem::problem,
};
use crate::{
    leaving::Leaving,
    runtime::{RequestContext, RunError, WasmRuntime},
    transport::{Mesh, MeshStream, Purpose},
};

/// A peer's edge cannot have us wait longer.
const LEFT_MAX: Duration = Duration::from_mins(2);
/// A peer that does not finish its headers so long is closed on.
const HEADERS_MAX: Duration = Duration::from_secs(5);

/// Where peers' edges hand requests over.
pub struct Porch {
    me: NodeId,
    runtime: Arc<WasmRuntime>,
    leaving: Leaving,
}

impl Porch {
    /// A porch on node `me`.
    #[must_use]
    pub fn new(me: NodeId, runtime: Arc<WasmRuntime>, leaving: Leaving) -> Self {
        Self { me, runtime, leaving }
    }

    /// Takes streams in until the transport stops. Their number is bounded by the transport, per peer.
    pub async fn serve(self: Arc<Self>, mesh: Mesh) {
        let Some(mut incoming) = mesh.incoming(Purpose::Http) else { return };
        while let Some((_, stream)) = incoming.recv().await {
            let porch = Arc::clone(&self);
            let under_way = self.leaving.under_way.clone();
            under_way.spawn(porch.exchange(stream));
        }
    }

    async fn exchange(self: Arc<Self>, stream: MeshStream) {
        let service = hyper::service::service_fn(move |request| {
            let porch = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(porch.answer(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADERS_MAX).keep_alive(false);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::trace!(%error, "a forwarded request broke off");
        }
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some((instance, left)) = headers::addressed(request.headers_mut()) else {
            return problem(&Refusal::definite(Code::Invalid, "a forwarded request names its instance"));
        };
        let trace = headers::trace(request.headers_mut());
        let key = request.headers().get(headers::IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
        let session = key.map(|key| session_of_key(instance.cell, key));
        let deadline = Instant::now() + left.min(LEFT_MAX);
        let context = RequestContext { session, trace, deadline };
        // A node that stops begins nothing: another instance is asked, or this one after its restart.
        let handled = if self.leaving.is_closing() {
            Err(RunError::NotRunning)
        } else {
            self.runtime.handle(instance, request, context).await
        };
        match handled {
            Ok(mut response) => {
                headers::answered_by(&mut response, self.me);
                response.map(boxed)
            }
            Err(error) => {
                let mut response = refused(&error);
                if error.is_untouched() {
                    response.headers_mut().insert(headers::REFUSED, HeaderValue::from_static("untouched"));
                }
                response
            }
        }
    }
}

//! Where requests enter: HTTP/1.1 and HTTP/2, routed by Host, to an instance here or over the mesh to the nearest one.
//!
//! ```text
//!   client ─→ listener ─→ Entry ─decide→ here: runtime
//!                           │    └─────→ there: stream to the peer ─→ its Porch ─→ its runtime
//!                           └─ resolve, hold, refuse: as `route::decide` says
//! ```
//!
//! The edge executes what `bocage_protocol::route` decides; a retry, a wait, a refusal is never its own idea.
mod body;
mod entry;
mod forward;
mod headers;
mod porch;
mod problem;

use std::{sync::Arc, time::Duration};

pub use body::{Body, full};
pub use entry::Entry;
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
pub use porch::Porch;
pub use problem::problem;
use tokio::net::TcpListener;

use crate::{leaving::Leaving, sources::Places};

/// Connections of clients at once; a further one is closed.
const CONNECTIONS_MAX: usize = 4_096;
/// Of these, from one network (see [`crate::sources`]); a further one is closed. Most of them, for a proxy that stands in
/// front of an edge is one network too.
const CONNECTIONS_PER_SOURCE_MAX: usize = 3_072;
/// A client that does not finish its headers so long is closed on.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Bytes of headers of one request.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 128;

/// Serves clients until the node leaves. A listener that is `kept` for the next process takes no client from the moment on at
/// which clients are asked to go: the next process finds them waiting.
pub async fn serve(listener: TcpListener, kept: bool, entry: Arc<Entry>, leaving: Leaving) {
    let (mut parting, mut closing) = (leaving.clone(), leaving.clone());
    let places = Places::new(CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = parting.parting(), if kept => return,
            () = closing.closing() => return,
        };
        let (socket, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that gave up: neither ends the edge.
                tracing::debug!(%error, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Some(place) = places.take(client.ip()) else { continue };
        let _ = socket.set_nodelay(true);
        let (entry, mut ends) = (Arc::clone(&entry), leaving.clone());
        let parts = leaving.clone();
        leaving.under_way.spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (entry, parts) = (Arc::clone(&entry), parts.clone());
                async move {
                    let version = request.version();
                    let mut answer = entry.answer(request, client.ip()).await;
                    if parts.is_parting() && version <= Version::HTTP_11 {
                        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
            let server = server();
            let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(socket), service));
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = ends.closing() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::trace!(%error, %client, "a client's connection ended");
            }
            drop(place);
        });
    }
}

/// How HTTP is spoken with anybody outside.
fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(30));
    server
}

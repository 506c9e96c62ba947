//! The page, its events and its buttons over HTTP, for this machine only.
use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures::{Stream, stream};

use super::hub::{Asked, Hub, Reader};

/// One file that needs nothing else.
const PAGE: &str = include_str!("page.html");

/// What the page may do: nothing but what stands in it, and asking us.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/pace", post(pace))
        .layer(middleware::from_fn(only_us))
        .with_state(hub)
}

/// Another site's name may lead here, too: whoever came by one is sent away.
async fn only_us(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !["127.0.0.1", "localhost"].contains(&name) {
        let what = "this page is for this machine only: open it as http://127.0.0.1:PORT/\n";
        return (StatusCode::MISDIRECTED_REQUEST, what).into_response();
    }
    next.run(request).await
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE).into_response()
}

async fn events(State(hub): State<Arc<Hub>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    hub.view();
    let told = stream::unfold(Reader::new(hub), |mut reader| async move {
        let (name, data) = reader.next().await?;
        Some((Ok(Event::default().event(name).data(&*data)), reader))
    });
    Sse::new(told).keep_alive(KeepAlive::default())
}

/// JSON only, which no other site's page can send here unasked.
async fn pace(State(hub): State<Arc<Hub>>, Json(asked): Json<Asked>) -> StatusCode {
    hub.ask(asked);
    StatusCode::NO_CONTENT
}

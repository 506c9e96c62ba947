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
use data_encoding::HEXLOWER;
use futures::stream;

use super::{
    hub::Hub,
    pace::Asked,
    reader::{PAGES_MAX, Reader},
};

/// One file that needs nothing else.
const PAGE: &str = include_str!("page.html");

pub(super) fn router(hub: Arc<Hub>) -> Router {
    let page = Page::new();
    Router::new()
        .route("/", get(move || async move { page.answer() }))
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

/// The page, and what a browser may do for it: run the one script that stands in it, and ask us. What a scenario says is text
/// there; and if it ever were more, it would not know the number that a script must bear.
#[derive(Clone)]
struct Page {
    text: Arc<str>,
    policy: Arc<str>,
}

impl Page {
    fn new() -> Self {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).expect("the operating system gives randomness");
        let nonce = HEXLOWER.encode(&nonce);
        let text = PAGE.replacen("<script>", &format!("<script nonce=\"{nonce}\">"), 1).into();
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        );
        Self { text, policy: policy.into() }
    }

    fn answer(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, &*self.policy),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (headers, self.text.to_string()).into_response()
    }
}

async fn events(State(hub): State<Arc<Hub>>) -> Response {
    let Some(reader) = Reader::new(Arc::clone(&hub)) else {
        let what = format!("{PAGES_MAX} pages show this run already: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    };
    hub.view();
    let told = stream::unfold(reader, |mut reader| async move {
        let (name, data) = reader.next().await?;
        Some((Ok::<_, Infallible>(Event::default().event(name).data(&*data)), reader))
    });
    Sse::new(told).keep_alive(KeepAlive::default()).into_response()
}

/// JSON only, which no other site's page can send here unasked.
async fn pace(State(hub): State<Arc<Hub>>, Json(asked): Json<Asked>) -> StatusCode {
    hub.ask(asked);
    StatusCode::NO_CONTENT
}

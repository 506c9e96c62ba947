//! A guestbook on `wasi:http` and `wasi:keyvalue`: what an app on Bocage looks like, and a check of what Bocage promises.
//!
//! An entry is kept, once, under one id, however often its request is repeated, wherever the instance that runs it dies.
//! There is no transaction over several keys, so each step is one compare-and-swap that a retry may repeat:
//!
//! | step | store, key | swap | died behind it? |
//! |---|---|---|---|
//! | claim an id | `counter`, `next` | n → n + 1 | the id stays unused: a gap, never shown |
//! | bind the client's `Idempotency-Key` to it | `keys`, the key | absent → id | the retry finds the id here |
//! | write the entry | `entries`, the id | absent → text | the retry finds it written and answers |
//!
//! The second step is what makes a retry safe, also one that runs at the same time on another host: of two attempts one
//! binds its id, the other takes that id over and drops its own. From then on all attempts write the same entry, and the
//! third swap lets one of them do it. A request without a key cannot be recognised, so it skips the second step.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
mod keyvalue {
    wit_bindgen::generate!({ path: "wit", world: "imports", generate_all });
    pub use wasi::keyvalue::*;
}
mod answer;
mod book;
mod json;

use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use answer::Answer;

/// The longest text of an entry, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// The longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 256;

struct Guestbook;

wasip2::http::proxy::export!(Guestbook);

impl wasip2::exports::http::incoming_handler::Guest for Guestbook {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let served_by = header(&request, "x-bocage-node");
        let mut answer = route(&request).unwrap_or_else(|refused| refused);
        if let Some(node) = served_by {
            answer = answer.with("x-bocage-node", node);
        }
        answer.send(out);
    }
}

fn route(request: &IncomingRequest) -> Result<Answer, Answer> {
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match (path, request.method()) {
        ("/", Method::Get | Method::Head) => Ok(Answer::page(include_str!("page.html"))),
        ("/entries", Method::Get | Method::Head) => list(query),
        ("/entries", Method::Post) => sign(request),
        ("/" | "/entries", _) => Err(Answer::text(405, "this takes GET, and /entries takes POST")),
        _ => Err(Answer::text(404, "there is the page at /, and the entries at /entries")),
    }
}

/// `POST /entries`: 201 once the entry is committed.
fn sign(request: &IncomingRequest) -> Result<Answer, Answer> {
    let key = header(request, "idempotency-key");
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        return Err(Answer::text(400, "an Idempotency-Key has 1 to 256 bytes"));
    }
    let key = key
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| Answer::text(400, "an Idempotency-Key is made of visible ASCII characters"))?;
    let text = body(request)?;
    let id = book::sign(&text, key.as_deref())?;
    Ok(Answer::json(201, format!("{{\"id\":{id}}}")).with("location", format!("/entries?after={}", id - 1)))
}

/// `GET /entries`: the newest, or those behind `?after=ID`; by id, as of now.
fn list(query: &str) -> Result<Answer, Answer> {
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
    let page = match after {
        Some(after) => book::after(after.parse().map_err(|_| Answer::text(400, "?after= takes the id of an entry"))?)?,
        None => book::newest()?,
    };
    let answer = Answer::json(200, json::entries(&page.entries)).with("cache-control", "no-store");
    Ok(match page.next {
        Some(id) => answer.with("link", format!("</entries?after={id}>; rel=\"next\"")),
        None => answer,
    })
}

fn header(request: &IncomingRequest, name: &str) -> Option<Vec<u8>> {
    request.headers().get(name).into_iter().next()
}

/// The request's body as text, no more of it than an entry may hold.
fn body(request: &IncomingRequest) -> Result<String, Answer> {
    let broken = || Answer::text(400, "the body broke off");
    let body = request.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer::read(&stream).map_err(|()| broken())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(Answer::text(413, "an entry has at most 16 KiB"));
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| Answer::text(400, "an entry is UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(Answer::text(400, "an entry says something"));
    }
    Ok(text)
}

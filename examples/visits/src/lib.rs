//! Visits and who is here, in a store that converges: see `README.md`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
mod keyvalue {
    wit_bindgen::generate!({ path: "wit", world: "imports", generate_all });
    pub use wasi::keyvalue::*;
}
mod answer;

use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use answer::Answer;
use keyvalue::{
    atomics::increment,
    store::{Bucket, Error, open},
};

/// The store that the manifest says to converge.
const STORE: &str = "visits";
/// What is counted.
const COUNTER: &str = "count";
/// What keys of names begin with.
const HERE: &str = "here/";
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

struct Visits;

wasip2::http::proxy::export!(Visits);

impl wasip2::exports::http::incoming_handler::Guest for Visits {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        route(&request).unwrap_or_else(|refused| refused).send(out);
    }
}

fn route(request: &IncomingRequest) -> Result<Answer, Answer> {
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let path = target.split('?').next().unwrap_or_default();
    let store = open(STORE)?;
    match (path, path.strip_prefix("/here/"), request.method()) {
        ("/", _, Method::Get | Method::Head) => show(&store),
        ("/visits", _, Method::Post) => {
            let visits = increment(&store, COUNTER, 1)?;
            Ok(Answer::json(200, format!("{{\"visits\":{visits}}}")))
        }
        (_, Some(name), Method::Put) => {
            store.set(&here(name)?, b"")?;
            Ok(Answer::text(200, "here"))
        }
        (_, Some(name), Method::Delete) => {
            store.delete(&here(name)?)?;
            Ok(Answer::text(200, "gone"))
        }
        _ => Err(Answer::text(404, "there are GET /, POST /visits, PUT and DELETE /here/NAME")),
    }
}

fn here(name: &str) -> Result<String, Answer> {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(lawful) {
        return Err(Answer::text(400, "a name has 1 to 64 of a-z, A-Z, 0-9, - and _"));
    }
    Ok(format!("{HERE}{name}"))
}

fn show(store: &Bucket) -> Result<Answer, Answer> {
    let visits = store.get(COUNTER)?.and_then(|value| String::from_utf8(value).ok()).unwrap_or_else(|| "0".to_owned());
    let mut names = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list_keys(cursor.as_deref())?;
        names.extend(page.keys.iter().filter_map(|key| key.strip_prefix(HERE)).map(|name| format!("\"{name}\"")));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let body = format!("{{\"visits\":{visits},\"here\":[{}]}}", names.join(","));
    Ok(Answer::json(200, body).with("cache-control", "no-store"))
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchStore => Self::text(500, "the store cannot be opened"),
            Error::AccessDenied => Self::text(503, "this instance may not write any more; try again"),
            Error::Other(why) => Self::text(503, why),
        }
    }
}

//! Errors as people and programs read them: RFC 9457, with `certainty` saying whether a repetition could do it twice.
use bocage_protocol::refusal::{Certainty, Code, Refusal};
use http::{HeaderValue, Response, StatusCode, header};

use super::body::{Body, full};

/// The answer that a refusal is.
#[must_use]
pub fn problem(refusal: &Refusal) -> Response<Body> {
    with_status(status(refusal), refusal)
}

/// The same under another status.
pub(super) fn with_status(status: StatusCode, refusal: &Refusal) -> Response<Body> {
    let body = serde_json::json!({
        "type": format!("https://bocage.example/errors/{}", name(refusal.code)),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": refusal.detail,
        "code": refusal.code,
        "certainty": refusal.certainty,
    });
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn name(code: Code) -> String {
    serde_json::to_value(code).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The status of a refusal.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal.code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict | Code::Fenced | Code::Expired => StatusCode::CONFLICT,
        Code::Unauthorised => StatusCode::FORBIDDEN,
        Code::Unplaceable => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Full => StatusCode::TOO_MANY_REQUESTS,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Unreachable if refusal.certainty == Certainty::Indefinite => StatusCode::BAD_GATEWAY,
        Code::Unreachable | Code::NotLeader | Code::DiskFailed => StatusCode::SERVICE_UNAVAILABLE,
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Code::InstanceFailed => StatusCode::BAD_GATEWAY,
    }
}

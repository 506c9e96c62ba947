//! A request to an instance on a peer: one stream of the mesh, one HTTP exchange on it.
use std::time::{Duration, Instant};

use bocage_protocol::{
    refusal::{Code, Refusal},
    route::Target,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;

use super::{
    body::{Body, Keeping, boxed},
    headers,
    problem::problem,
};
use crate::{
    runtime::RequestContext,
    transport::{Mesh, Purpose},
};

/// A stream that does not open so long counts as failed: the link is dead or the peer drowns.
const OPEN_MAX: Duration = Duration::from_millis(1_200);

/// What became of it.
pub(super) enum Forwarded {
    Answered(Response<Body>),
    Failed { perhaps_done: bool, why: Response<Body> },
}

/// Sends `request` to the target's node and waits for the head of the answer.
pub(super) async fn send(
    mesh: &Mesh,
    target: &Target,
    mut request: Request<Body>,
    context: RequestContext,
) -> Forwarded {
    // While a request is under way the link is pinged often, so that a dead peer is noticed in time.
    let watch = mesh.watch(target.node);
    let left = context.deadline.saturating_duration_since(Instant::now());
    headers::address(request.headers_mut(), target.instance, left);
    make_absolute_path(&mut request);

    let opened = tokio::time::timeout(OPEN_MAX, mesh.open(target.node, Purpose::Http)).await;
    let stream = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return untouched(&error.to_string()),
        Err(_) => return untouched("the peer did not take the request in time"),
    };
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return untouched("the peer closed the stream");
    };
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let answered = tokio::time::timeout(left, sender.send_request(request)).await;
    match answered {
        Ok(Ok(response)) if response.headers().contains_key(headers::REFUSED) => {
            let perhaps_done = response.headers().get(headers::REFUSED).is_none_or(|value| value != "untouched");
            Forwarded::Failed { perhaps_done, why: strip(response).map(boxed) }
        }
        Ok(Ok(response)) => {
            let kept = (watch, sender, AbortOnDrop(driver));
            Forwarded::Answered(response.map(|body| Keeping::new(boxed(body), kept).boxed_unsync()))
        }
        Ok(Err(error)) => {
            let detail = format!("the instance stopped answering ({error}); whether the request was done is unknown");
            Forwarded::Failed { perhaps_done: true, why: problem(&Refusal::indefinite(Code::Unreachable, detail)) }
        }
        Err(_) => {
            let refusal = Refusal::indefinite(Code::Timeout, "the instance did not answer in time");
            Forwarded::Answered(problem(&refusal))
        }
    }
}

fn untouched(why: &str) -> Forwarded {
    Forwarded::Failed { perhaps_done: false, why: problem(&Refusal::definite(Code::Unreachable, why)) }
}

fn strip<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().remove(headers::REFUSED);
    response
}

/// HTTP/1.1 on the stream wants a path in the request line and the host in a header; HTTP/2 clients give a whole URI.
fn make_absolute_path(request: &mut Request<Body>) {
    let host = request.uri().authority().map(ToString::to_string);
    if let Some(host) = host
        && !request.headers().contains_key(http::header::HOST)
        && let Ok(value) = http::HeaderValue::from_str(&host)
    {
        request.headers_mut().insert(http::header::HOST, value);
    }
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = http::Version::HTTP_11;
}

/// The exchange ends with its body.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

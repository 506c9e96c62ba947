//! A request from outside: find out whom it is for, do what the route table decides, until there is an answer.
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bocage_protocol::{
    command::Command,
    id::NodeId,
    lease::session_of_key,
    refusal::{Code, Refusal},
    route::{Attempt, Decision, RequestFacts, Target},
};
use http::{Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::{
    body::{Body, KEPT_BYTES_MAX, Replay, boxed},
    forward::{self, Forwarded},
    headers,
    problem::{problem, with_status},
};
use crate::{
    handle::{Ask, NodeHandle},
    runtime::{RequestContext, RunError, WasmRuntime},
    transport::Mesh,
};

/// A request is answered within this, or refused.
const REQUEST_MAX: Duration = Duration::from_mins(1);
/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

/// Where clients' requests come in.
pub struct Entry {
    me: NodeId,
    node: NodeHandle,
    mesh: Mesh,
    runtime: Arc<WasmRuntime>,
    /// Memory for bodies that are kept for a repetition.
    kept: Arc<Semaphore>,
}

/// What became of one attempt.
enum Tried {
    Answered(Response<Body>),
    /// The instance did not answer. `perhaps_done`: the guest may have seen the request.
    Failed {
        perhaps_done: bool,
        why: Response<Body>,
    },
}

impl Entry {
    /// An entry on node `me`.
    #[must_use]
    pub fn new(me: NodeId, node: NodeHandle, mesh: Mesh, runtime: Arc<WasmRuntime>) -> Self {
        Self { me, node, mesh, runtime, kept: Arc::new(Semaphore::new(KEPT_BYTES_MAX)) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let Some(host) = headers::host(&parts.uri, &parts.headers) else {
            return problem(&Refusal::definite(Code::Invalid, "the request names no host"));
        };
        headers::admit(&mut parts.headers, client, &host);
        let trace = headers::trace(&mut parts.headers);
        let key = parts.headers.get(headers::IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok().map(str::to_owned));
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            let detail = format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes");
            return problem(&Refusal::definite(Code::Invalid, detail));
        }
        let repeatable = key.is_some() || is_idempotent(&parts.method);
        let Ok(Ok(mut body)) = tokio::time::timeout(REQUEST_MAX, Replay::of(body, &self.kept)).await else {
            return problem(&Refusal::definite(Code::Invalid, "the request broke off, or took too long"));
        };

        let mut attempt = Attempt::default();
        let mut last: Option<Response<Body>> = None;
        let mut changed = self.node.table_changed();
        loop {
            let table = Arc::clone(&changed.borrow_and_update());
            let facts =
                RequestFacts { host: &host, repeatable: repeatable && body.can_repeat(), waited: started.elapsed() };
            match table.decide(&facts, &attempt) {
                Decision::Go(target) => {
                    let Some(sent) = body.take() else {
                        let detail = "the instance failed, and the request was too long to keep for another";
                        return last.unwrap_or_else(|| problem(&Refusal::indefinite(Code::Unreachable, detail)));
                    };
                    let session = key.as_ref().map(|key| session_of_key(target.instance.cell, key));
                    let deadline = started + REQUEST_MAX;
                    let context = RequestContext { session, trace, deadline };
                    match self.attempt(&parts, sent, &target, context).await {
                        Tried::Answered(response) => return response,
                        Tried::Failed { perhaps_done, why } => {
                            attempt.tried.push(target.instance);
                            attempt.perhaps_done |= perhaps_done;
                            last = Some(why);
                        }
                    }
                }
                Decision::Resolve => {
                    let ask = Ask { trace, ..Ask::within(Duration::from_secs(5)) };
                    if let Err(refusal) = self.node.ask(ask, Command::Resolve { host: host.clone() }).await {
                        return problem(&refusal);
                    }
                    attempt.resolved = true;
                }
                Decision::Hold { at_most, .. } => {
                    let _ = tokio::time::timeout(at_most, changed.changed()).await;
                    attempt.tried.clear();
                }
                Decision::Refuse(refusal) => return last.unwrap_or_else(|| problem(&refusal)),
            }
        }
    }

    async fn attempt(&self, parts: &Parts, body: Body, target: &Target, context: RequestContext) -> Tried {
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        if !target.local {
            return match forward::send(&self.mesh, target, request, context).await {
                Forwarded::Answered(response) => Tried::Answered(response),
                Forwarded::Failed { perhaps_done, why } => Tried::Failed { perhaps_done, why },
            };
        }
        match self.runtime.handle(target.instance, request, context).await {
            Ok(mut response) => {
                headers::answered_by(&mut response, self.me);
                Tried::Answered(response.map(boxed))
            }
            Err(error) => failed(&error),
        }
    }
}

/// What an instance's failure means for a request: one that the guest never saw goes elsewhere, and so may one that can
/// be repeated; a guest that fails by itself would fail elsewhere too, so its failure is the answer.
fn failed(error: &RunError) -> Tried {
    let response = refused(error);
    match error {
        RunError::NotRunning | RunError::Busy { .. } => Tried::Failed { perhaps_done: false, why: response },
        RunError::Malformed(_)
        | RunError::Trapped(_)
        | RunError::Memory { .. }
        | RunError::Cpu { .. }
        | RunError::Deadline
        | RunError::NoAnswer
        | RunError::Refused(_) => Tried::Answered(response),
    }
}

/// The answer that an instance's failure is.
pub(super) fn refused(error: &RunError) -> Response<Body> {
    let refusal = match error {
        RunError::NotRunning | RunError::Busy { .. } => Refusal::definite(Code::Unreachable, error.to_string()),
        RunError::Malformed(_) => Refusal::definite(Code::Invalid, error.to_string()),
        RunError::Trapped(_)
        | RunError::Memory { .. }
        | RunError::Cpu { .. }
        | RunError::Deadline
        | RunError::NoAnswer
        | RunError::Refused(_) => Refusal::indefinite(Code::InstanceFailed, error.to_string()),
    };
    with_status(error.status(), &refusal)
}

fn is_idempotent(method: &Method) -> bool {
    // RFC 9110, 9.2.2.
    method.is_idempotent()
}

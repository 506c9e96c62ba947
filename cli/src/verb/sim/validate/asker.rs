//! Asks one node again and again over one connection to its control socket, so that asking costs it as little as can be.
use std::time::Instant;

use bocage_node::control::api::Plan;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{
    failure::{Exit, Failure},
    target::Target,
};

pub(super) struct Asker {
    connection: SendRequest<Full<Bytes>>,
}

impl Asker {
    pub(super) async fn new(target: &Target) -> Result<Self, Failure> {
        let Target::Unix(path) = target else { return Err(lost("it has no socket")) };
        let (fitting, _folder) = bocage_node::control::fitting(path).map_err(lost)?;
        let stream = UnixStream::connect(fitting).await.map_err(lost)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(driver);
        Ok(Self { connection })
    }

    /// What a plan costs, and when that was so: midway between question and answer.
    pub(super) async fn price(&mut self, policy: &Bytes) -> Result<(u64, Instant), Failure> {
        let asked = Instant::now();
        let answer = self.ask(Method::POST, "/v1/plan", "application/cbor", policy.clone()).await?;
        let midway = asked + asked.elapsed() / 2;
        let plan: Plan = serde_json::from_slice(&answer).map_err(lost)?;
        Ok((plan.price_per_hour_micro, midway))
    }

    /// Changes what the node offers; when it was asked to.
    pub(super) async fn offer(&mut self, offer: &serde_json::Value) -> Result<Instant, Failure> {
        let asked = Instant::now();
        self.ask(Method::PUT, "/v1/offer", "application/json", offer.to_string().into()).await?;
        Ok(asked)
    }

    async fn ask(&mut self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Bytes, Failure> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.header(header::CONTENT_TYPE, kind).body(Full::new(body));
        self.connection.ready().await.map_err(lost)?;
        let answer = self.connection.send_request(request.expect("paths and kinds are plain")).await.map_err(lost)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
        if !status.is_success() {
            return Err(lost(format_args!("{path}: {status} {}", String::from_utf8_lossy(&body))));
        }
        Ok(body)
    }
}

fn lost(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "processes", format!("a process does not answer as it should: {why}"))
        .next("what each process said last: -v")
}

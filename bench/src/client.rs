//! A client of the guestbook over one connection, opened anew when it breaks.
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

/// A client waits so long, as `docs/figures.md` says: a request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    edge: String,
    host: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An entry, as the guestbook lists it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) text: String,
}

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

impl Client {
    pub(crate) fn new(edge: &str, host: &str) -> Self {
        Self { edge: edge.to_owned(), host: host.to_owned(), connection: None }
    }

    /// One request; an error is a connection that broke, or no answer in time.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Response<Bytes>> {
        let asked = timeout(PATIENCE, self.exchange(method, path, key, body)).await;
        let answer = asked.context("no answer in time").and_then(|answer| answer);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Response<Bytes>> {
        self.ask(Method::GET, path, None, Bytes::new()).await
    }

    /// Signs the book until that is acknowledged.
    pub(crate) async fn sign(&mut self, text: &str) -> Acknowledged {
        loop {
            let body = Bytes::from(text.to_owned());
            if let Ok(answer) = self.ask(Method::POST, "/entries", Some(text), body).await
                && answer.status() == http::StatusCode::CREATED
                && let Ok(Id { id }) = serde_json::from_slice(answer.body())
            {
                return Acknowledged { id, text: text.to_owned(), at: Instant::now() };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All entries.
    pub(crate) async fn entries(&mut self) -> anyhow::Result<Vec<Entry>> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map_or(0, |entry| entry.id);
            let answer = self.get(&format!("/entries?after={after}")).await?;
            anyhow::ensure!(answer.status().is_success(), "entries: {}", answer.status());
            let page: Vec<Entry> = serde_json::from_slice(answer.body())?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Response<Bytes>> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(&self.edge).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let sender = self.connection.as_mut().context("it was opened above")?;
        sender.ready().await?;
        let (parts, body) = sender.send_request(request.body(Full::new(body))?).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

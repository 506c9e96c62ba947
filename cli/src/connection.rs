//! One HTTP/1.1 exchange over TCP or a unix socket. A person's command makes few of them: no pool, no keep-alive.
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::target::Target;

/// A node that takes longer to take the connection is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Nothing was asked.
    #[error("{0}")]
    Connect(std::io::Error),
    /// It was asked, and the connection broke.
    #[error("the connection broke: {0}")]
    Lost(hyper::Error),
    /// It was asked, and there was no answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// What to ask.
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    /// Path and query, as signed.
    pub(crate) path: &'a str,
    /// Of the Host header; `None`: the target's.
    pub(crate) host: Option<&'a str>,
    pub(crate) headers: Vec<(header::HeaderName, header::HeaderValue)>,
    pub(crate) body: Bytes,
}

impl<'a> Asked<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, host: None, headers: Vec::new(), body: Bytes::new() }
    }
}

/// Asks, and reads the whole answer.
pub(crate) async fn exchange(target: &Target, asked: Asked<'_>, within: Duration) -> Result<Response<Bytes>, Broken> {
    let answer = async {
        let (parts, body) = open(target, asked).await?.into_parts();
        let body = body.collect().await.map_err(Broken::Lost)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    timeout(within, answer).await.unwrap_or(Err(Broken::Late(within)))
}

/// Asks; the answer's body is still to be read.
pub(crate) async fn open(target: &Target, asked: Asked<'_>) -> Result<Response<Incoming>, Broken> {
    let late = |_| Broken::Connect(std::io::Error::from(std::io::ErrorKind::TimedOut));
    match target {
        Target::Unix(path) => {
            let (fitting, _folder) = bocage_node::control::fitting(path).map_err(Broken::Connect)?;
            let stream = timeout(CONNECT_MAX, UnixStream::connect(fitting)).await.map_err(late)?;
            send(stream.map_err(Broken::Connect)?, "localhost", asked).await
        }
        Target::Tcp(address) => {
            let stream = timeout(CONNECT_MAX, TcpStream::connect(address)).await.map_err(late)?;
            let stream = stream.map_err(Broken::Connect)?;
            stream.set_nodelay(true).map_err(Broken::Connect)?;
            send(stream, address, asked).await
        }
    }
}

async fn send<S>(stream: S, host: &str, asked: Asked<'_>) -> Result<Response<Incoming>, Broken>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Broken::Lost)?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(asked.method).uri(asked.path);
    request = request.header(header::HOST, asked.host.unwrap_or(host));
    for (name, value) in asked.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(asked.body)).expect("paths and hosts are made of checked or encoded text");
    sender.send_request(request).await.map_err(Broken::Lost)
}

//! Requests that guests make to the world outside.
//!
//! ```text
//!   manifest allows scheme, host, port? ─→ resolve, once ─→ each address public, and not beside this host? ─→ connect to
//!   that very address ─→ TLS for that name ─→ one HTTP/1.1 exchange, bounded
//! ```
//!
//! A name that stands for another address a moment later gains nothing: what was judged is what is connected to. A
//! redirect is only an answer; if the guest follows it, that is a new request, judged anew. Who is refused gets
//! `HTTP-request-denied`, and the app's log says why and what to write into the manifest. What may be reached is decided
//! by `bocage_protocol::outbound`.
//!
//! Beside this file: `network` (names and connections), `exchange` (one request and its answer), `budget` (bytes),
//! `refused` (what can go wrong, in words and as `wasi:http` says it).
mod budget;
mod exchange;
mod network;
mod refused;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bocage_protocol::outbound::{self, Destination, Scheme};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use self::{budget::Budget, refused::Refused};
use super::app::App;
use crate::runtime::Stream;

pub use network::{Addresses, Connecting, Network, OwnAddress, SystemNetwork};

/// Requests that guests of all apps have under way at once; one more fails with `connection-limit-reached`.
pub const OUTBOUND_MAX: usize = 256;
/// Requests that one instance has under way at once; one more fails with `connection-limit-reached`.
pub const OUTBOUND_PER_INSTANCE_MAX: usize = 32;
/// Finding and reaching a host, TLS included, takes no longer; past it the request fails.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Trying one of a host's addresses takes no longer; the next one is tried.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
/// A host's further addresses are not looked at.
const ADDRESSES_MAX: usize = 8;
/// Writes of a request's or response's body that wait for the other side, so that a short one never waits.
const BODY_CHUNKS: usize = 4;
/// The most that one such write holds.
const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// The way out of this host, shared by all instances.
pub(super) struct Gate {
    network: Arc<dyn Network>,
    tls: TlsConnector,
    room: Arc<Semaphore>,
}

/// What one instance may do with it.
pub(super) struct Leave {
    allowed: Vec<Destination>,
    room: Arc<Semaphore>,
    budget: Arc<Budget>,
}

/// The same for one request's guest: what wasmtime asks.
pub(super) struct Outbound {
    app: Arc<App>,
    gate: Arc<Gate>,
}

/// Where a request wants to go.
struct Target {
    scheme: Scheme,
    /// As in the URL, lower case.
    host: String,
    port: u16,
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

impl Gate {
    /// `roots`: who may vouch for a host; `None`: whom Mozilla trusts.
    pub(super) fn new(network: Arc<dyn Network>, roots: Option<RootCertStore>) -> Self {
        let roots = roots.unwrap_or_else(|| webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { network, tls: Arc::new(config).into(), room: Arc::new(Semaphore::new(OUTBOUND_MAX)) }
    }

    /// A connection to the first of the target's addresses that may be reached and answers.
    async fn connect(&self, target: &Target) -> Result<TcpStream, Refused> {
        let addresses = match outbound::address_in(&target.host) {
            Some(address) => vec![address],
            None => self.network.resolve(&target.host).await.map_err(Refused::Unresolved)?,
        };
        let mut refused = Refused::Unresolved(std::io::Error::other("it stands for no address"));
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            // What is judged is what is connected to, however it was written.
            let address = address.to_canonical();
            if let Some(kind) = self.out_of_bounds(address, target.port).await {
                refused = Refused::Prohibited { address, kind };
                continue;
            }
            match timeout(ATTEMPT_MAX, self.network.connect(SocketAddr::new(address, target.port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => refused = Refused::Unreachable(why),
                Err(_) => refused = Refused::TooSlow("be reached"),
            }
        }
        Err(refused)
    }

    async fn out_of_bounds(&self, address: IpAddr, port: u16) -> Option<&'static str> {
        if let Some(kind) = outbound::forbidden(address) {
            return Some(kind);
        }
        match self.network.source(SocketAddr::new(address, port)).await {
            Ok(source) => outbound::too_near(source, address),
            Err(_) => Some("not reachable from this host"),
        }
    }

    async fn secure(&self, target: &Target, stream: TcpStream) -> Result<exchange::Connection, Refused> {
        match target.scheme {
            Scheme::Http => Ok(Box::new(stream)),
            Scheme::Https => {
                let bare = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name =
                    ServerName::try_from(bare).map_err(|_| Refused::Malformed("its host cannot have a certificate"))?;
                Ok(Box::new(self.tls.connect(name, stream).await.map_err(Refused::Tls)?))
            }
        }
    }
}

impl Leave {
    /// What cannot be read allows nothing.
    pub(super) fn new(allowed: &[String]) -> Self {
        Self {
            allowed: allowed.iter().filter_map(|text| text.parse().ok()).collect(),
            room: Arc::new(Semaphore::new(OUTBOUND_PER_INSTANCE_MAX)),
            budget: Arc::default(),
        }
    }
}

impl Outbound {
    pub(super) fn new(app: Arc<App>, gate: Arc<Gate>) -> Self {
        Self { app, gate }
    }
}

impl Target {
    fn of(request: &http::Uri) -> Result<Self, Refused> {
        let scheme = match request.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(Refused::Malformed("it is neither http nor https")),
        };
        let authority = request.authority().ok_or(Refused::Malformed("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Refused::Malformed("it has a user's name before the host"));
        }
        if authority.host().is_empty() {
            return Err(Refused::Malformed("it names no host"));
        }
        // After the host stands nothing, or a port that is one.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => scheme.port(),
            _ => authority.port_u16().ok_or(Refused::Malformed("its port is no port"))?,
        };
        Ok(Self { scheme, host: authority.host().to_ascii_lowercase(), port })
    }

    fn spelled(&self) -> String {
        Destination::spelled(self.scheme, &self.host, self.port)
    }

    /// What the `Host` header says.
    fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// One request, from the question whether it may go to the beginning of its answer.
async fn send(app: &App, gate: &Gate, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    let target = match Target::of(request.uri()) {
        Ok(target) => target,
        Err(refused) => return Err(said(app, &request.uri().to_string(), refused)),
    };
    let spelled = target.spelled();
    match judged(app, gate, &target, request, options.unwrap_or_default()).await {
        Ok(sent) => Ok(sent),
        Err(refused) => Err(said(app, &spelled, refused)),
    }
}

/// Tells the app's log, and the guest.
fn said(app: &App, target: &str, refused: Refused) -> HttpError {
    app.print(Stream::Stderr, refused.line(target).as_bytes());
    refused.into()
}

async fn judged(
    app: &App,
    gate: &Gate,
    target: &Target,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), Refused> {
    let leave = &app.outbound;
    if !leave.allowed.iter().any(|allowed| allowed.covers(target.scheme, &target.host, target.port)) {
        return Err(Refused::NotAllowed);
    }
    if request.method() == http::Method::CONNECT {
        return Err(Refused::Malformed("CONNECT makes a tunnel, and an app has none"));
    }
    let room = |room: &Arc<Semaphore>, max, whose| {
        room.clone().try_acquire_owned().map_err(|_| Refused::Crowded { max, whose })
    };
    let held = [
        room(&leave.room, OUTBOUND_PER_INSTANCE_MAX, "of one instance")?,
        room(&gate.room, OUTBOUND_MAX, "of all apps on this node")?,
    ];
    let connect_max = options.connect_timeout.unwrap_or(CONNECT_MAX).min(CONNECT_MAX);
    let reach = async { gate.secure(target, gate.connect(target).await?).await };
    let connection = timeout(connect_max, reach).await.map_err(|_| Refused::TooSlow("be reached"))??;
    exchange::run(connection, &target.authority(), request, options, leave.budget.clone(), held).await
}

impl WasiHttpHooks for Outbound {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn is_supported_scheme(&mut self, _: &http::uri::Scheme) -> bool {
        // Those that are not are refused below, with a line in the log.
        true
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (app, gate) = (self.app.clone(), self.gate.clone());
        Box::new(async move { send(&app, &gate, request, options).await })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }
}

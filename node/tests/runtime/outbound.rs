//! What guests reach of the world outside: a real guest, a real server, and an internet whose names lie.
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bocage_node::runtime::wasm::{Addresses, Connecting, Network, OUTBOUND_PER_INSTANCE_MAX, OwnAddress};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::world::{EXERCISER, INSTANCE, World, bytes, order};

/// Addresses of the open internet, as far as anybody can tell.
const PUBLIC: [u8; 4] = [93, 184, 216, 34];
const OTHER: [u8; 4] = [93, 184, 216, 35];
/// From where this host speaks.
const OWN: [u8; 4] = [93, 184, 216, 77];

/// An internet of a few names. What stands at [`PUBLIC`] is a server on this machine; what it was asked for is kept.
#[derive(Default)]
struct Internet {
    /// The answers to a name, one after the other; the last one stays.
    names: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    /// Where connections to an address truly go.
    servers: Mutex<BTreeMap<IpAddr, SocketAddr>>,
    resolved: AtomicUsize,
    connected: Mutex<Vec<SocketAddr>>,
}

impl Internet {
    fn name(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }

    fn connected(&self) -> Vec<IpAddr> {
        self.connected.lock().unwrap().iter().map(SocketAddr::ip).collect()
    }
}

impl Network for Internet {
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        self.resolved.fetch_add(1, SeqCst);
        let mut names = self.names.lock().unwrap();
        let found = match names.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.pop(),
            Some(answers) => answers.last().cloned(),
            None => None,
        };
        Box::pin(std::future::ready(found.ok_or_else(|| io::Error::other("no such name"))))
    }

    fn source(&self, _: SocketAddr) -> OwnAddress<'_> {
        Box::pin(std::future::ready(Ok(OWN.into())))
    }

    fn connect(&self, to: SocketAddr) -> Connecting<'_> {
        self.connected.lock().unwrap().push(to);
        // What is let through by mistake gets there: then the server sees it, and the test fails.
        let server = self.servers.lock().unwrap().get(&to.ip()).copied().unwrap_or(to);
        Box::pin(TcpStream::connect(server))
    }
}

/// A server on this machine, and how many requests it saw.
struct Server {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        Self::behind(None).await
    }

    async fn behind(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, tls) = (seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { at, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, asked: Arc<AtomicUsize>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        asked.fetch_add(1, SeqCst);
        async move {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let mut response = http::Response::builder();
            let path = request.uri().path().to_owned();
            let text = match path.as_str() {
                "/to-loopback" => {
                    response = response.status(302).header("location", "http://loopback.example.org/secret");
                    String::new()
                }
                "/to-a-stranger" => {
                    response = response.status(302).header("location", "http://stranger.example.com/");
                    String::new()
                }
                "/huge" => "h".repeat(80 << 20),
                "/body" => {
                    let body = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
                    format!("{body} bytes")
                }
                "/slow" => {
                    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                    "slow".to_owned()
                }
                path => format!("{host} has {path}"),
            };
            response.body(Full::<bytes::Bytes>::from(text))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A guest that may go to `allowed`, in an internet where `PUBLIC` is a server of this machine.
async fn guest(allowed: &[&str]) -> (World, Arc<Internet>, Server) {
    let server = Server::start().await;
    let (world, internet) = guest_of(&server, allowed, None).await;
    (world, internet, server)
}

async fn guest_of(server: &Server, allowed: &[&str], roots: Option<rustls::RootCertStore>) -> (World, Arc<Internet>) {
    let internet = Arc::new(Internet::default());
    internet.servers.lock().unwrap().insert(PUBLIC.into(), server.at);
    internet.name("api.example.org", &[&[PUBLIC.into()]]);
    let world = World::within(internet.clone(), roots);
    let mut order = order(INSTANCE, EXERCISER);
    order.outbound = allowed.iter().map(|&host| host.to_owned()).collect();
    world.runtime.start(order, bytes(EXERCISER)).await.unwrap();
    (world, internet)
}

async fn said(world: &World, path: &str) -> String {
    world.get(path).await.unwrap().1
}

fn logged(world: &World) -> String {
    let lines: Vec<String> = world.logs.tail(INSTANCE.cell).into_iter().map(|line| line.text.to_string()).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_guest_reaches_the_hosts_that_its_manifest_allows() {
    let (world, internet, server) = guest(&["http://api.example.org", "http://*.example.net:8080"]).await;
    internet.name("eu.example.net", &[&[PUBLIC.into()]]);
    assert_eq!(said(&world, "/fetch?http://api.example.org/v1?x=1").await, "200 api.example.org has /v1");
    assert_eq!(said(&world, "/fetch?http://eu.example.net:8080/").await, "200 eu.example.net:8080 has /");
    assert_eq!(server.asked(), 2);
    assert_eq!(said(&world, "/upload?3+http://api.example.org/body").await, format!("200 {} bytes", 3 << 20));
}

#[tokio::test]
async fn a_host_that_the_manifest_does_not_name_is_denied_and_the_log_says_what_to_write() {
    let (world, internet, server) = guest(&["https://api.example.org"]).await;
    for url in [
        "http://api.example.org/",
        "https://api.example.org:8443/",
        "https://example.org/",
        "https://x.api.example.org/",
        "https://api.example.org.evil.net/",
        "https://93.184.216.34/",
        "http://127.0.0.1/",
    ] {
        assert!(said(&world, &format!("/fetch?{url}")).await.contains("HttpRequestDenied"), "{url}");
    }
    let log = logged(&world);
    let help = "refused the request to http://api.example.org: the manifest does not allow this host. If it should, write \
                under [component] allowed_outbound_hosts = [\"http://api.example.org\"] and deploy again";
    assert!(log.contains(help), "{log}");
    assert!(log.contains("[\"https://api.example.org:8443\"]"), "{log}");
    assert_eq!((internet.resolved.load(SeqCst), internet.connected().len(), server.asked()), (0, 0, 0));
}

#[tokio::test]
async fn an_app_that_names_no_host_goes_nowhere() {
    let (world, _, server) = guest(&[]).await;
    assert!(said(&world, "/fetch?http://api.example.org/").await.contains("HttpRequestDenied"));
    // What another version wrote and this one cannot read allows nothing.
    let (strange, _) = guest_of(&server, &["gopher://*", "http://*"], None).await;
    assert!(said(&strange, "/fetch?http://api.example.org/").await.contains("HttpRequestDenied"));
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_name_that_stands_for_an_address_inside_the_house_is_denied_and_no_packet_leaves() {
    let (world, internet, server) = guest(&["http://api.example.org"]).await;
    let beside = IpAddr::from(OWN);
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "224.0.0.1",
        "0.0.0.0",
        "::1",
        "::",
        "fd00:ec2::254",
        "fe80::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
    ] {
        let address: IpAddr = address.parse().unwrap();
        internet.servers.lock().unwrap().insert(address, server.at);
        internet.name("api.example.org", &[&[address]]);
        assert!(said(&world, "/fetch?http://api.example.org/").await.contains("HttpRequestDenied"), "{address}");
    }
    internet.name("api.example.org", &[&[beside]]);
    assert!(said(&world, "/fetch?http://api.example.org/").await.contains("HttpRequestDenied"));
    let log = logged(&world);
    for why in [
        "it would go to 169.254.169.254, a link-local address, where clouds keep their metadata",
        "it would go to 93.184.216.77, this machine itself",
        "no manifest can allow this",
    ] {
        assert!(log.contains(why), "{why}: {log}");
    }
    assert_eq!((internet.connected().len(), server.asked()), (0, 0));
}

/// The name stood for a public address when it was judged and stands for the router a moment later.
#[tokio::test]
async fn a_name_that_is_rebound_is_asked_once_and_reached_where_it_was_judged() {
    let (world, internet, server) = guest(&["http://api.example.org"]).await;
    let secret = Server::start().await;
    let loopback: IpAddr = secret.at.ip();
    internet.servers.lock().unwrap().insert(loopback, secret.at);
    internet.name("api.example.org", &[&[PUBLIC.into()], &[loopback]]);

    assert_eq!(said(&world, "/fetch?http://api.example.org/").await, "200 api.example.org has /");
    assert_eq!(internet.resolved.load(SeqCst), 1, "asked once for a request");
    assert_eq!(internet.connected(), [IpAddr::from(PUBLIC)]);
    assert!(said(&world, "/fetch?http://api.example.org/").await.contains("HttpRequestDenied"));
    assert_eq!((server.asked(), secret.asked()), (1, 0));

    // Both at once: the one address that is public is tried, and when it does not answer, not the other.
    let nobody = unused().await;
    internet.servers.lock().unwrap().insert(OTHER.into(), nobody);
    internet.name("api.example.org", &[&[OTHER.into(), loopback]]);
    let failed = said(&world, "/fetch?http://api.example.org/").await;
    assert!(failed.contains("HttpRequestDenied"), "{failed}");
    assert_eq!(internet.connected(), [IpAddr::from(PUBLIC), IpAddr::from(OTHER)]);
    assert_eq!(secret.asked(), 0);
}

#[tokio::test]
async fn a_redirect_is_a_new_request_and_is_judged_as_one() {
    let (world, internet, server) = guest(&["http://*.example.org"]).await;
    let loopback: IpAddr = server.at.ip();
    internet.name("loopback.example.org", &[&[loopback]]);
    internet.servers.lock().unwrap().insert(loopback, server.at);
    let to_loopback = said(&world, "/follow?http://api.example.org/to-loopback").await;
    assert!(to_loopback.contains("HttpRequestDenied at http://loopback.example.org/secret"), "{to_loopback}");
    let to_a_stranger = said(&world, "/follow?http://api.example.org/to-a-stranger").await;
    assert!(to_a_stranger.contains("HttpRequestDenied at http://stranger.example.com/"), "{to_a_stranger}");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn what_a_guest_asks_for_at_once_is_bounded() {
    let (world, _, server) = guest(&["http://api.example.org"]).await;
    let crowd = said(&world, &format!("/crowd?{}+http://api.example.org/slow", OUTBOUND_PER_INSTANCE_MAX + 8)).await;
    assert!(crowd.starts_with(&format!("{OUTBOUND_PER_INSTANCE_MAX} answered,")), "{crowd}");
    assert!(crowd.contains("ConnectionLimitReached"), "{crowd}");
    assert_eq!(server.asked(), OUTBOUND_PER_INSTANCE_MAX);
    // And all of it is given back with the guest.
    assert_eq!(said(&world, "/fetch?http://api.example.org/").await, "200 api.example.org has /");
}

#[tokio::test]
async fn what_a_guest_sends_and_is_sent_is_bounded() {
    let (world, _, _) = guest(&["http://api.example.org"]).await;
    let up = said(&world, "/upload?20+http://api.example.org/body").await;
    assert!(up.contains("HttpRequestBodySize"), "{up}");
    let down = said(&world, "/fetch?http://api.example.org/huge").await;
    assert!(down.contains("broke off after 6") && down.contains("response body size exceeds limit"), "{down}");
}

#[tokio::test]
async fn a_host_proves_who_it_is_or_hears_nothing() {
    let key = rcgen::generate_simple_self_signed(vec!["api.example.org".to_owned()]).unwrap();
    let der = key.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(key.key_pair.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], secret.into())
        .unwrap();
    let server = Server::behind(Some(Arc::new(tls).into())).await;
    let allowed = ["https://api.example.org", "https://www.example.org"];

    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(der).unwrap();
    let (world, internet) = guest_of(&server, &allowed, Some(trusted)).await;
    internet.name("www.example.org", &[&[PUBLIC.into()]]);
    assert_eq!(said(&world, "/fetch?https://api.example.org/").await, "200 api.example.org has /");
    let another = said(&world, "/fetch?https://www.example.org/").await;
    assert!(another.contains("TlsCertificateError"), "the certificate is another host's: {another}");

    // Nobody whom Mozilla trusts vouches for it: so it is on every node.
    let (world, _) = guest_of(&server, &allowed, None).await;
    let unknown = said(&world, "/fetch?https://api.example.org/").await;
    assert!(unknown.contains("TlsCertificateError"), "{unknown}");
    assert!(logged(&world).contains("did not prove who it is"), "{}", logged(&world));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn what_is_no_request_is_malformed() {
    let (world, _, server) = guest(&["http://api.example.org"]).await;
    for url in ["http://me@api.example.org/", "ftp://api.example.org/", "http://api.example.org:99999/"] {
        let said = said(&world, &format!("/fetch?{url}")).await;
        assert!(said.contains("Invalid") || said.contains("Protocol"), "{url}: {said}");
    }
    let nobody = said(&world, "/fetch?http://api.example.org:80/").await;
    assert_eq!(nobody, "200 api.example.org has /", "the scheme's own port is no other host");
    assert_eq!(server.asked(), 1);
}

/// An address at which nobody listens.
async fn unused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

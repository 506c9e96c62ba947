//! Five whole daemons in one process: they find each other, agree, run the guestbook, and keep serving it when the
//! leader's node stops.
use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use bocage_node::{
    daemon::Daemon,
    handle::Ask,
    keyfile::{KeyFile, Kind},
    runtime::Compiler,
    settings::{Folder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, Settings, wall},
    transport::peer_of,
};
use bocage_protocol::{
    cell::{Answer, Barrier, Query, Release, TenantAction, TenantCommand, Workload},
    command::{Command, Reply},
    id::{CellId, ContentHash, OpId, SessionId},
    identity::{Founding, Signed},
    manifest::Manifest,
    refusal::Code,
    resources::Site,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PLACES: [(&str, &str, &str); 5] = [
    ("alder", "FR", "rennes"),
    ("birch", "FR", "lyon"),
    ("cornel", "DE", "jena"),
    ("dogrose", "BE", "gent"),
    ("elder", "CN", "wuhan"),
];

fn free_port() -> u16 {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    std::net::UdpSocket::bind(("127.0.0.1", port)).map_or_else(|_| free_port(), |_| port)
}

async fn start_all(folder: &Path) -> Vec<Daemon> {
    let now = wall();
    let operators: Vec<KeyFile> =
        PLACES.iter().map(|(name, _, _)| KeyFile::generate(Kind::Operator, name, now)).collect();
    let founding = Founding {
        name: "test".into(),
        operators: operators.iter().map(|operator| operator.genesis().unwrap()).collect(),
        founded: now,
    };
    let mut bootstrap: Vec<String> = Vec::new();
    let mut daemons = Vec::new();
    for ((name, jurisdiction, site), operator) in PLACES.iter().zip(&operators) {
        let port = free_port();
        let settings = Settings {
            mesh: MeshSettings {
                id: Some(founding.mesh()),
                zone: "localhost".into(),
                bootstrap: bootstrap.clone(),
                wire_newest: None,
            },
            node: NodeSettings {
                jurisdiction: jurisdiction.parse().unwrap(),
                site: Site((*site).to_owned()),
                domains: Vec::new(),
            },
            listen: ListenSettings {
                mesh: vec![format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), format!("/ip4/127.0.0.1/tcp/{port}")],
                announce: Vec::new(),
                edge: "127.0.0.1:0".parse().unwrap(),
                control: "127.0.0.1:0".parse().unwrap(),
                mdns: false,
            },
            offer: Some(OfferSettings {
                cpu_millis: 2_000,
                memory_mib: 1_024,
                disk_gib: 10,
                currency: "EUR".parse().unwrap(),
                cpu_core_month: 400,
                memory_gib_month: 100,
                disk_gib_month: 5,
            }),
            relay: None,
        };
        let path = folder.join(name);
        let node = Folder::create(&path, &settings, operator, now).unwrap();
        if bootstrap.len() < 2 {
            bootstrap.push(format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", peer_of(node).unwrap()));
        }
        daemons.push(Daemon::start(&path, Compiler::Here, None).await.unwrap());
    }
    daemons
}

/// One HTTP/1.1 exchange, by hand: status and body.
async fn http(edge: SocketAddr, host: &str, method: &str, path: &str, key: Option<&str>, body: &str) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(edge).await.unwrap();
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n{key}Connection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

async fn deploy(daemon: &Daemon, folder: &Path, tenant: &KeyFile) -> (CellId, String) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/guestbook");
    let wasm = std::fs::read(examples.join("guestbook.wasm")).unwrap();
    let manifest = Manifest::parse(&std::fs::read_to_string(examples.join("guestbook.toml")).unwrap()).unwrap();
    let hash = ContentHash::of(&wasm);
    let contents = bocage_node::content::Contents::open(&folder.join("alder/content")).unwrap();
    bocage_node::transfer::ContentStore::put(&contents, hash, &mut &wasm[..]).unwrap();
    let release = Release {
        app: manifest.app.clone(),
        workload: Workload::Component { hash, size_bytes: wasm.len() as u64 },
        env: manifest.env.clone(),
        policy: manifest.policy.clone(),
        domains: manifest.domains.clone(),
    };
    let genesis = tenant.genesis().unwrap();
    let op = OpId { session: SessionId::of(b"deploy"), seq: 1 };
    for _ in 0..100 {
        let action = TenantAction::Release(Box::new(release.clone()));
        let command = TenantCommand { tenant: genesis.tenant(), cell: None, op, issued: wall(), action };
        let release = Signed::seal(&tenant.keys, &command);
        let deploy = Command::Deploy { tenant: tenant.signed_genesis().unwrap(), successions: Vec::new(), release };
        let ask = Ask { op: Some(op), ..Ask::within(Duration::from_secs(20)) };
        match daemon.node.ask(ask, deploy).await {
            Ok(Reply::Deployed { cell, host, .. }) => return (cell, host),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) if refusal.code == Code::Unplaceable => {
                eprintln!("not yet: {refusal}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(refusal) => panic!("{refusal}"),
        }
    }
    panic!("the mesh never had room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_app_outlives_the_node_of_its_leader() {
    if std::env::var_os("BOCAGE_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_env("BOCAGE_LOG")).init();
    }
    let folder = tempfile::tempdir().unwrap();
    let started = std::time::Instant::now();
    let mut daemons = start_all(folder.path()).await;
    eprintln!("started after {:?}", started.elapsed());
    let tenant = KeyFile::generate(Kind::Tenant, "tenant", wall());
    let (cell, host) = deploy(&daemons[0], folder.path(), &tenant).await;
    eprintln!("deployed after {:?}", started.elapsed());

    let mut answer = (0, String::new());
    for _ in 0..100 {
        answer = http(daemons[0].edge, &host, "GET", "/entries", None, "").await;
        if answer.0 == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answer, (200, "[]".to_owned()));
    eprintln!("answers after {:?}", started.elapsed());

    let mut acknowledged = BTreeMap::new();
    for number in 0..5 {
        let edge = daemons[number % daemons.len()].edge;
        let text = format!("entry {number}");
        let (status, body) = http(edge, &host, "POST", "/entries", Some(&text), &text).await;
        assert_eq!(status, 201, "{body}");
        acknowledged.insert(body, text);
    }
    let repeated = http(daemons[3].edge, &host, "POST", "/entries", Some("entry 2"), "entry 2").await;
    assert!(acknowledged.contains_key(&repeated.1), "the same key, the same id: {repeated:?}");

    let read = Command::Read { cell, barrier: Barrier::Linear, queries: vec![Query::Describe] };
    let reply = daemons[4].node.ask(Ask::within(Duration::from_secs(5)), read).await.unwrap();
    let Reply::Answered(answered) = reply else { panic!("{reply:?}") };
    let Some(Answer::Description(description)) = answered.answers.into_iter().next() else { panic!() };
    let leader = description.leader.unwrap();
    let at = daemons.iter().position(|daemon| daemon.id == leader).unwrap();
    daemons.remove(at).run_until(async {}).await.unwrap();

    let stopped = std::time::Instant::now();
    let edge = daemons.last().unwrap().edge;
    let (status, body) = http(edge, &host, "POST", "/entries", Some("after"), "after").await;
    eprintln!("written again {:?} after the leader stopped: {body}", stopped.elapsed());
    assert_eq!(status, 201, "{body}");
    let (_, entries) = http(edge, &host, "GET", "/entries", None, "").await;
    for text in acknowledged.values() {
        assert_eq!(entries.matches(&format!("\"{text}\"")).count(), 1, "{text} in {entries}");
    }
    for daemon in daemons {
        daemon.run_until(async {}).await.unwrap();
    }
}

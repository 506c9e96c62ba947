//! Requests to the control API: `[local, method, path, [[header, value]…], body]` into its router, with a real node's
//! machine behind it. Every request is answered, and none by a 500.
use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use bocage_node::{
    clock::Clock,
    content::Contents,
    control::{self, Control, auth::Door},
    handle::{self, DriverEnd},
    inbox,
    runtime::Logs,
    transport::{self, Mesh, Metrics},
};
use bocage_protocol::{
    cell::{
        CellConfig, TenantAction,
        fixture::{self, FOUNDED, Founding, Party},
    },
    codec::{self, Blob},
    config::Config,
    io::{Input, Output},
    machine::Machine,
    membership,
    node::Node,
    placement::Policy,
    random::Seed,
    refusal::{Code, Refusal},
    store::Boot,
    time::Now,
};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use prometheus_client::registry::Registry;
use tower::ServiceExt as _;

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "control",
    about: "requests to the control API, through its router and a node's machine",
    run,
    seeds,
    bytes_max: 32 << 10,
    heap: None,
};

type Asked = (bool, String, String, Vec<(String, Blob)>, Blob);

struct Api {
    runtime: tokio::runtime::Runtime,
    local: Router,
    remote: Router,
    _home: tempfile::TempDir,
}

fn api() -> &'static Mutex<Api> {
    static API: OnceLock<Mutex<Api>> = OnceLock::new();
    API.get_or_init(|| Mutex::new(Api::open()))
}

impl Api {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let home = tempfile::tempdir().expect("a folder for content");
        let host = &world::hosts()[0];
        let clock = Clock::start();
        let (node, driver) = handle::channel(clock);
        let _guard = runtime.enter();
        let (inlet, _inbox) = inbox::channel();
        let mesh = Mesh::start(&transport::Config::default(), &host.keys, inlet, Metrics::default())
            .expect("a mesh that listens nowhere");
        let control = Arc::new(Control {
            me: host.node(),
            mesh_id: fixture::mesh(),
            zone: "bocage".into(),
            edge: ([127, 0, 0, 1], 1).into(),
            node,
            mesh,
            content: Arc::new(Contents::open(&home.path().join("content")).expect("a content store")),
            logs: Arc::new(Logs::new()),
            door: Door::new(host.operator.genesis.operator()),
            bodies: control::Bodies::default(),
            metrics: Arc::new(Registry::default()),
            carried: Metrics::default(),
            relays: false,
            folder: home.path().to_owned(),
            leaves: tokio::sync::watch::channel(false).0,
        });
        runtime.spawn(answer(driver, clock));
        let (local, remote) = (control::router(Arc::clone(&control), true), control::router(control, false));
        Self { runtime, local, remote, _home: home }
    }
}

/// A node alone in its mesh answers; what would take it longer than a step it refuses.
async fn answer(mut driver: DriverEnd, clock: Clock) {
    let config = Config {
        mesh: fixture::mesh(),
        identity: world::hosts()[0].identity(),
        founding: None,
        request: None,
        zone: "bocage".into(),
        bootstrap: Vec::new(),
        announce: Vec::new(),
        relays: false,
        offer: None,
        cell: CellConfig::default(),
        wire: bocage_protocol::wire::WireRange::default(),
        membership: membership::Config::default(),
        policies: bocage_protocol::policies::Policies::default(),
    };
    let now = || Now { instant: clock.instant(), wall: FOUNDED };
    let mut node = Node::open(config, Seed([1; 32]), Boot::default(), now());
    drain(&mut node, &driver, now());
    while let Some(input) = driver.inputs.recv().await {
        let asked = match &input {
            Input::Command { context, .. } => Some(context.request),
            _ => None,
        };
        node.handle_timeout(now());
        drain(&mut node, &driver, now());
        node.handle_input(now(), input);
        drain(&mut node, &driver, now());
        if let Some(request) = asked {
            driver.reply(request, Err(Refusal::indefinite(Code::Timeout, "it would take longer")));
        }
    }
}

fn drain(node: &mut Node, driver: &DriverEnd, now: Now) {
    loop {
        let mut persisted = None;
        while let Some(output) = node.poll_output() {
            match output {
                Output::Reply { request, result } => driver.reply(request, result),
                Output::Persist { write, .. } => persisted = Some(write),
                _ => {}
            }
        }
        let Some(write) = persisted else { return };
        node.handle_input(now, Input::Persisted(write));
    }
}

fn run(bytes: &[u8]) {
    let Ok((local, method, path, headers, body)) = codec::decode::<Asked>("request", bytes) else { return };
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method.as_bytes()), path.parse::<Uri>()) else { return };
    let mut request = Request::new(Body::from(body.0));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
            request.headers_mut().append(name, value);
        }
    }
    let api = api().lock().unwrap_or_else(PoisonError::into_inner);
    let router = if local { api.local.clone() } else { api.remote.clone() };
    let answered = api.runtime.block_on(async {
        let answer = tokio::time::timeout(Duration::from_secs(20), router.oneshot(request))
            .await
            .expect("it answers")
            .expect("a router never fails");
        let (parts, body) = answer.into_parts();
        axum::body::to_bytes(body, 64 << 20).await.expect("the answer comes to an end");
        parts.status
    });
    assert_ne!(answered, StatusCode::INTERNAL_SERVER_ERROR, "a 500 is a bug of ours");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let founding = Founding::of(&world::hosts()[..3]);
    let tenant = founding.tenant.tenant_id();
    let cell = founding.genesis().cell();
    let deploy = codec::encode(&(founding.tenant.signed_genesis(), founding.signed_release()));
    let write = Party::tenant("tess").sign(
        Some(cell),
        fixture::op("t", 1),
        FOUNDED,
        TenantAction::Write(vec![fixture::set("s", "k", "v")]),
    );
    let offer = r#"{"cpu_millis":1000,"memory_bytes":1073741824,"disk_bytes":1073741824,"currency":"EUR","cpu_core_hour_micro":1,"memory_gib_hour_micro":1,"disk_gib_hour_micro":1}"#;
    let json = vec![("content-type".to_owned(), Blob::from("application/json"))];
    let content = bocage_protocol::id::ContentHash::of(b"bytes");
    let get = |path: String| ("GET", path, Vec::new(), Blob::default());
    let all = [
        ("status", get("/v1/status".into())),
        ("apps", get(format!("/v1/apps?tenant={tenant}&app=guestbook"))),
        ("cell", get(format!("/v1/cells/{cell}"))),
        ("value", get(format!("/v1/cells/{cell}/stores/s/value?key=k"))),
        ("keys", get(format!("/v1/cells/{cell}/stores/s/keys?prefix=a&after=b&limit=3"))),
        ("secrets", get(format!("/v1/cells/{cell}/secrets"))),
        ("logs", get(format!("/v1/cells/{cell}/logs?follow=true"))),
        ("openapi", get("/v1/openapi.json".into())),
        ("ready", get("/readyz".into())),
        ("deploy", ("POST", "/v1/apps".into(), Vec::new(), deploy)),
        ("plan", ("POST", "/v1/plan".into(), Vec::new(), codec::encode(&Policy::default()))),
        ("command", ("POST", format!("/v1/cells/{cell}/commands"), Vec::new(), codec::encode(&write))),
        ("offer", ("PUT", "/v1/offer".into(), json.clone(), Blob::from(offer))),
        ("no-offer", ("PUT", "/v1/offer".into(), json, Blob::from("null"))),
        ("content", ("PUT", format!("/v1/content/{content}"), Vec::new(), Blob::from("other"))),
    ];
    let mut seeds = Vec::new();
    for (name, (method, path, headers, body)) in all {
        for local in [true, false] {
            let asked = (local, method.to_owned(), path.clone(), headers.clone(), body.clone());
            let door = if local { "local" } else { "remote" };
            seeds.push((format!("{name}-{door}"), codec::encode(&asked).to_vec()));
        }
    }
    seeds
}

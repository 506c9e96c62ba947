//! A runtime over a cell that lives in memory and can lose answers, and short ways to ask things of it.
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bocage_node::runtime::{
    Eventually, Logs, Read, RequestContext, RunError, Source, StartError, State, WasmConfig, WasmRuntime, wasm::Network,
};
use bocage_protocol::{
    cell::{Answer, Answered, Applied, Outcome, Query, Secrets, Versioned, Workload, Write},
    id::{CellId, ContentHash, InstanceId, OpId, SessionId, TenantId, TraceId},
    io::Start,
    refusal::{Code, Refusal},
    resources::Resources,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

pub(crate) const EXERCISER: &[u8] = include_bytes!("../../../examples/fixtures/exerciser/exerciser.wasm");
pub(crate) const GUESTBOOK: &[u8] = include_bytes!("../../../examples/guestbook/guestbook.wasm");

pub(crate) const INSTANCE: InstanceId = InstanceId { cell: CellId([7; 32]), number: 1 };

/// The cell.
pub(crate) struct Cell(Mutex<Agreed>);

#[derive(Default)]
struct Agreed {
    index: u64,
    stores: BTreeMap<(String, String), Versioned>,
    done: BTreeMap<OpId, Outcome>,
    linear_reads: u64,
    later_reads: u64,
    writes: u64,
    /// A copy away answers reads: so old.
    age: Option<Duration>,
    /// This write of the ones to come has its answer lost: before it was made, or after.
    lose: Option<(u64, Lost)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    BeforeIt,
    AfterIt,
}

impl Default for Cell {
    /// A leader begins with an entry of its own: no cell answers at index 0.
    fn default() -> Self {
        Self(Mutex::new(Agreed { index: 1, ..Agreed::default() }))
    }
}

impl Cell {
    pub(crate) fn reads(&self) -> (u64, u64) {
        let agreed = self.0.lock().unwrap();
        (agreed.linear_reads, agreed.later_reads)
    }

    pub(crate) fn answer_aged(&self, age: Duration) {
        self.0.lock().unwrap().age = Some(age);
    }

    pub(crate) fn lose_answer(&self, nth: u64, lost: Lost) {
        self.0.lock().unwrap().lose = Some((nth, lost));
    }

    pub(crate) fn keys(&self, store: &str) -> Vec<String> {
        self.0.lock().unwrap().stores.keys().filter(|(of, _)| of == store).map(|(_, key)| key.clone()).collect()
    }
}

impl State for Cell {
    fn read(&self, _: InstanceId, _: u64, seen: Option<u64>, queries: Vec<Query>) -> Eventually<'_, Read> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut agreed = self.0.lock().unwrap();
            match seen {
                None => agreed.linear_reads += 1,
                Some(index) => {
                    assert!(index <= agreed.index, "a guest has seen an index that does not exist");
                    agreed.later_reads += 1;
                }
            }
            assert!(queries.len() <= 64, "a cell takes at most 64 queries");
            let answers = queries.iter().map(|query| agreed.answer(query)).collect();
            Ok(Read { answered: Answered { index: agreed.index, answers }, age: agreed.age })
        })
    }

    fn write(&self, _: InstanceId, _: u64, op: OpId, writes: Vec<Write>) -> Eventually<'_, Applied> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut agreed = self.0.lock().unwrap();
            agreed.writes += 1;
            let lost = agreed.lose.take_if(|(nth, _)| {
                *nth -= 1;
                *nth == 0
            });
            let unknown = || Err(Refusal::indefinite(Code::Timeout, "the answer was lost"));
            if matches!(lost, Some((_, Lost::BeforeIt))) {
                return unknown();
            }
            agreed.index += 1;
            let index = agreed.index;
            let outcome = match agreed.done.get(&op) {
                Some(outcome) => outcome.clone(),
                None => agreed.apply(index, &writes),
            };
            agreed.done.insert(op, outcome.clone());
            if lost.is_some() { unknown() } else { Ok(Applied { index, outcome }) }
        })
    }
}

impl Agreed {
    fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Get { store, key } => Answer::Value(self.stores.get(&(store.clone(), key.clone())).cloned()),
            Query::List { store, prefix, after, limit } => {
                let wanted = |(of, key): &&(String, String)| {
                    of == store && key.starts_with(prefix) && after.as_ref().is_none_or(|after| key > after)
                };
                let mut keys: Vec<_> = self.stores.keys().filter(wanted).map(|(_, key)| key.clone()).collect();
                let more = keys.len() > *limit as usize;
                keys.truncate(*limit as usize);
                Answer::Keys { keys, more }
            }
            Query::Describe | Query::Capture | Query::Piece { .. } => panic!("guests do not ask this"),
        }
    }

    fn apply(&mut self, version: u64, writes: &[Write]) -> Outcome {
        for write in writes {
            match write {
                Write::Set { key, .. } if key == "denied" => {
                    return Outcome::Refused(Refusal::definite(Code::Fenced, "another writer"));
                }
                Write::Set { key, .. } if key == "lost" => {
                    return Outcome::Refused(Refusal::indefinite(Code::Timeout, "who knows"));
                }
                Write::Swap { store, key, expected, .. } => {
                    let version = self.stores.get(&(store.clone(), key.clone())).map_or(0, |value| value.version);
                    if version != *expected {
                        return Outcome::Conflict { version };
                    }
                }
                Write::Set { .. } | Write::Delete { .. } | Write::Increment { .. } => {}
            }
        }
        let mut counters = Vec::new();
        for write in writes.iter().cloned() {
            match write {
                Write::Set { store, key, value } | Write::Swap { store, key, value: Some(value), .. } => {
                    self.stores.insert((store, key), Versioned { value, version });
                }
                Write::Delete { store, key } | Write::Swap { store, key, value: None, .. } => {
                    self.stores.remove(&(store, key));
                }
                Write::Increment { store, key, delta } => {
                    let before = self.stores.get(&(store.clone(), key.clone()));
                    let before: i64 = before.map_or(0, |value| String::from_utf8_lossy(&value.value).parse().unwrap());
                    let sum = before.saturating_add(delta);
                    counters.push(sum);
                    self.stores.insert((store, key), Versioned { value: sum.to_string().as_str().into(), version });
                }
            }
        }
        Outcome::Written { version, counters }
    }
}

/// A runtime with its cell, its logs and its folder.
pub(crate) struct World {
    pub(crate) runtime: Arc<WasmRuntime>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut WasmConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cell, logs) = (Arc::new(Cell::default()), Arc::new(Logs::new()));
        let runtime = open(dir.path(), &cell, &logs, change);
        Self { runtime, cell, logs, dir }
    }

    /// In another network than this machine's.
    pub(crate) fn within(network: Arc<dyn Network>, roots: Option<rustls::RootCertStore>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cell, logs) = (Arc::new(Cell::default()), Arc::new(Logs::new()));
        let config = bounds(dir.path());
        let runtime = Arc::new(WasmRuntime::within(config, cell.clone(), logs.clone(), network, roots).unwrap());
        Self { runtime, cell, logs, dir }
    }

    /// The daemon starts again on the same disk.
    pub(crate) fn restart(&mut self) {
        self.runtime = open(self.dir.path(), &self.cell, &self.logs, |_| {});
    }

    pub(crate) async fn start(&self, component: &'static [u8]) -> Result<(), StartError> {
        self.runtime.start(order(INSTANCE, component), bytes(component)).await
    }

    pub(crate) async fn ask(&self, request: http::Request<Full<Bytes>>) -> Result<(u16, String), RunError> {
        self.ask_of(INSTANCE, request, None).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), RunError> {
        self.ask(request("GET", path, "")).await
    }

    pub(crate) async fn ask_of(
        &self,
        instance: InstanceId,
        request: http::Request<Full<Bytes>>,
        key: Option<&str>,
    ) -> Result<(u16, String), RunError> {
        let response = self.runtime.handle(instance, request, context(key)).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    pub(crate) async fn sign(&self, text: &str, key: &str) -> (u16, String) {
        let mut request = request("POST", "/entries", text);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        self.ask_of(INSTANCE, request, Some(key)).await.unwrap()
    }
}

fn bounds(dir: &Path) -> WasmConfig {
    let mut config = WasmConfig::new(dir);
    config.requests_max = 16;
    config.requests_per_instance_max = 8;
    config.cpu_max = Duration::from_millis(200);
    config
}

fn open(dir: &Path, cell: &Arc<Cell>, logs: &Arc<Logs>, change: impl FnOnce(&mut WasmConfig)) -> Arc<WasmRuntime> {
    let mut config = bounds(dir);
    change(&mut config);
    Arc::new(WasmRuntime::new(config, cell.clone(), logs.clone()).unwrap())
}

pub(crate) fn order(instance: InstanceId, component: &[u8]) -> Start {
    Start {
        instance,
        generation: 1,
        tenant: TenantId([1; 32]),
        app: "app".into(),
        release: 3,
        workload: Workload::Component { hash: ContentHash::of(component), size_bytes: component.len() as u64 },
        env: vec![("greeting".into(), "good evening".into())],
        secrets: Secrets::default(),
        outbound: Vec::new(),
        resources: Resources { cpu_millis: 100, memory_bytes: 32 << 20, disk_bytes: 0 },
    }
}

pub(crate) fn bytes(component: &'static [u8]) -> Source {
    Source::Bytes(Bytes::from_static(component))
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder().method(method).uri(path).header("host", "app.example.org");
    request.body(Full::from(body.to_owned())).unwrap()
}

pub(crate) fn context(key: Option<&str>) -> RequestContext {
    RequestContext {
        session: key.map(|key| SessionId::of(key.as_bytes())),
        trace: TraceId::default(),
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

//! Runs WASM components: one fresh, bounded instance for each request.
//!
//! Read in this order: what it may take (`config`), wasmtime's settings (`engine`), from bytes to code (`imports`,
//! `compiler`, `code`, `cache`), an instance (`app`), one request (`request`, `guest`, `limits`, `ticker`), what a guest may do with
//! the world (`keyvalue`, `output`, `outbound`).
mod config;
mod engine;
mod imports;
mod compiler;
mod code;
mod cache;
mod app;
mod request;
mod guest;
mod limits;
mod ticker;
mod keyvalue;
mod swaps;
mod output;
mod outbound;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bocage_protocol::{
    cell::Workload,
    id::{ContentHash, InstanceId},
    io::{Reading, Start},
};
use bytes::Bytes;
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use self::{app::App, code::Code, guest::Guest, keyvalue::Session, outbound::Gate, request::Held, ticker::Ticker};
use super::{LogSink, RequestContext, Rested, RunError, Source, StartError, State};

pub use compiler::{Compiler, compile};
pub use config::WasmConfig;
pub use outbound::{
    Addresses, Connecting, Network, OUTBOUND_MAX, OUTBOUND_PER_INSTANCE_MAX, OwnAddress, SystemNetwork,
};
pub use request::{BodyFault, GuestBody};
pub use swaps::swaps;

/// Instances that have stopped and whose last generation is still remembered; the one stopped longest ago is forgotten
/// first. An order that is later than that would have to overtake so many others.
const STOPPED_MAX: usize = 4_096;
/// How long a first instance may take to come up.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Runs instances whose workload is a component.
pub struct WasmRuntime {
    config: WasmConfig,
    code: Code,
    ticker: Ticker,
    state: Arc<dyn State>,
    logs: Arc<dyn LogSink>,
    gate: Arc<Gate>,
    slots: RwLock<Slots>,
    /// Orders so far: tells which of two is the later one.
    orders: AtomicU64,
    /// Requests that may run at once, over all instances.
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
    read_last: std::sync::Mutex<Instant>,
}

/// Why the runtime cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be used.
    #[error("the folder for compiled code, {}, cannot be used", path.display())]
    Cache {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Most likely the address space for the instances: fewer `requests_max` or less `memory_bytes_max` need less.
    #[error("wasmtime cannot be set up: {0}")]
    Engine(String),
    /// No thread.
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
}

#[derive(Default)]
struct Slots {
    by_instance: BTreeMap<InstanceId, Slot>,
    /// By the order that stopped them.
    stopped: BTreeMap<u64, InstanceId>,
}

/// The last that was ordered of an instance.
struct Slot {
    generation: u64,
    order: u64,
    app: Option<Arc<App>>,
}

impl WasmRuntime {
    /// Reserves what instances will use. Call it once in a process.
    ///
    /// # Errors
    /// When the cache folder cannot be used or the address space cannot be reserved.
    pub fn new(config: WasmConfig, state: Arc<dyn State>, logs: Arc<dyn LogSink>) -> Result<Self, OpenError> {
        Self::within(config, state, logs, Arc::new(SystemNetwork::default()), None)
    }

    /// The same within another network than the system's: how names are resolved and addresses connected to, and who may
    /// vouch for a host (`None`: whom Mozilla trusts). What guests may reach is judged before either is asked.
    ///
    /// # Errors
    /// As [`WasmRuntime::new`].
    pub fn within(
        config: WasmConfig,
        state: Arc<dyn State>,
        logs: Arc<dyn LogSink>,
        network: Arc<dyn Network>,
        roots: Option<rustls::RootCertStore>,
    ) -> Result<Self, OpenError> {
        let code = Code::open(&config)?;
        Ok(Self {
            ticker: Ticker::new(code.engine().weak()).map_err(OpenError::Thread)?,
            code,
            state,
            logs,
            gate: Arc::new(Gate::new(network, roots)),
            slots: RwLock::default(),
            orders: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(config.requests_max)),
            waiting: AtomicUsize::new(0),
            read_last: std::sync::Mutex::new(Instant::now()),
            config,
        })
    }

    /// Starts an instance, or replaces what a running one runs: requests under way end on the old code. The order counts
    /// from this call on, not from the first poll. Ends when a first WASM instance has come up.
    pub fn start(
        self: &Arc<Self>,
        order: Start,
        source: Source,
    ) -> impl Future<Output = Result<(), StartError>> + Send + use<> {
        let number = self.orders.fetch_add(1, Relaxed);
        let runtime = self.clone();
        async move { runtime.bring_up(order, source, number).await }
    }

    async fn bring_up(&self, order: Start, source: Source, number: u64) -> Result<(), StartError> {
        let content = match order.workload {
            Workload::Component { hash, .. } => hash,
            Workload::Container { .. } => return Err(StartError::Unsupported("a container")),
            Workload::Site { .. } => return Err(StartError::Unsupported("a static site")),
        };
        if self.read_slots(|slots| slots.is_past(order.instance, order.generation, number)) {
            return Err(StartError::Superseded);
        }
        let code = self.code.ready(content, source).await?;
        let (state, logs) = (self.state.clone(), self.logs.clone());
        let app = Arc::new(App::new(&order, content, code, state, logs, &self.config));
        self.try_first(&app).await.map_err(StartError::First)?;
        self.write_slots(|slots| slots.put(order.instance, order.generation, number, Some(app)))?;
        self.forget_code();
        Ok(())
    }

    /// Stops an instance: it gets no new request; those under way end. Lower generations change nothing.
    pub fn stop(&self, instance: InstanceId, generation: u64) {
        let number = self.orders.fetch_add(1, Relaxed);
        // Superseded: the instance runs under a later generation, so there is nothing to stop.
        let _ = self.write_slots(|slots| slots.put(instance, generation, number, None));
        self.forget_code();
    }

    /// Whether an instance takes requests.
    #[must_use]
    pub fn runs(&self, instance: InstanceId) -> bool {
        self.read_slots(|slots| slots.app(instance).is_some())
    }

    /// Hands a request to an instance. The answer's body comes as the guest writes it; dropping the future or the body
    /// ends the guest.
    ///
    /// # Errors
    /// Before the answer has begun; later ones come out of the body.
    pub async fn handle<B>(
        &self,
        instance: InstanceId,
        request: http::Request<B>,
        context: RequestContext,
    ) -> Result<http::Response<GuestBody>, RunError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let app = self.read_slots(|slots| slots.app(instance)).ok_or(RunError::NotRunning)?;
        let deadline = context.deadline.min(Instant::now() + self.config.wall_max);
        let room = self.admit(&app, deadline).await?;
        let session = Session::new(app.clone(), context.session);
        let rested = session.rested();
        let store = self.store(&app, session);
        let mut answer = request::run(app, store, request, deadline, Held((self.ticker.start(), room))).await?;
        // What is read after the head cannot be told in it.
        if let Some(age) = rested.age() {
            answer.extensions_mut().insert(Rested(age));
        }
        Ok(answer)
    }

    /// What each instance used since the last call, to be metered. Instances without a request are left out.
    #[must_use]
    pub fn take_readings(&self) -> Vec<Reading> {
        let interval = {
            let mut last = self.read_last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            now.duration_since(std::mem::replace(&mut *last, now))
        };
        let apps: Vec<_> =
            self.read_slots(|slots| slots.by_instance.values().filter_map(|slot| slot.app.clone()).collect());
        apps.iter().map(|app| app.usage.take(app.instance, interval)).filter(|reading| reading.requests > 0).collect()
    }

    /// How many components were compiled since the daemon started: those that no cache held.
    #[must_use]
    pub fn compiled(&self) -> u64 {
        self.code.compiled()
    }

    fn store(&self, app: &Arc<App>, session: Session) -> wasmtime::Store<Guest> {
        let cpu_max_ms = u64::try_from(self.config.cpu_max.as_millis()).unwrap_or(u64::MAX);
        let tick_ms = u64::try_from(ticker::TICK.as_millis()).unwrap_or(1);
        Guest::store(app, &self.gate, session, cpu_max_ms.div_ceil(tick_ms).max(1), cpu_max_ms)
    }

    /// Brings up an instance and throws it away: what fails for all requests shall fail once, here.
    async fn try_first(&self, app: &Arc<App>) -> Result<(), RunError> {
        let deadline = Instant::now() + FIRST_MAX;
        let _room = self.admit(app, deadline).await?;
        let _ticking = self.ticker.start();
        let mut store = self.store(app, Session::new(app.clone(), None));
        match timeout_at(deadline.into(), app.code.instantiate_async(&mut store)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(store.data().reason(&error)),
            Err(_) => Err(RunError::Deadline),
        }
    }

    /// Room for one request, in its instance's share first, so that a full instance does not hold up the others.
    async fn admit(&self, app: &App, deadline: Instant) -> Result<[OwnedSemaphorePermit; 2], RunError> {
        if let (Ok(own), Ok(all)) = (app.room.clone().try_acquire_owned(), self.room.clone().try_acquire_owned()) {
            return Ok([own, all]);
        }
        let Some(_waiting) = Waiting::begin(&self.waiting, self.config.waiting_max) else {
            return Err(RunError::Busy { max: self.config.waiting_max, what: "requests waiting on this node" });
        };
        let both = async {
            let own = app.room.clone().acquire_owned().await.expect("this semaphore is never closed");
            [own, self.room.clone().acquire_owned().await.expect("this semaphore is never closed")]
        };
        let max = self.config.requests_per_instance_max;
        timeout_at(deadline.into(), both)
            .await
            .map_err(|_| RunError::Busy { max, what: "requests of one instance on one node" })
    }

    fn forget_code(&self) {
        let used: BTreeSet<ContentHash> = self.read_slots(|slots| {
            slots.by_instance.values().filter_map(|slot| slot.app.as_ref()).map(|app| app.content).collect()
        });
        self.code.prune(|content| used.contains(content));
    }

    fn read_slots<T>(&self, look: impl FnOnce(&Slots) -> T) -> T {
        look(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_slots<T>(&self, change: impl FnOnce(&mut Slots) -> T) -> T {
        change(&mut self.slots.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slots {
    fn app(&self, instance: InstanceId) -> Option<Arc<App>> {
        self.by_instance.get(&instance)?.app.clone()
    }

    /// A later order for this instance was given already.
    fn is_past(&self, instance: InstanceId, generation: u64, order: u64) -> bool {
        self.by_instance.get(&instance).is_some_and(|last| (generation, order) < (last.generation, last.order))
    }

    fn put(
        &mut self,
        instance: InstanceId,
        generation: u64,
        order: u64,
        app: Option<Arc<App>>,
    ) -> Result<(), StartError> {
        if self.is_past(instance, generation, order) {
            return Err(StartError::Superseded);
        }
        let stops = app.is_none();
        if let Some(before) = self.by_instance.insert(instance, Slot { generation, order, app }) {
            self.stopped.remove(&before.order);
        }
        if stops {
            self.stopped.insert(order, instance);
        }
        if self.stopped.len() > STOPPED_MAX
            && let Some((_, forgotten)) = self.stopped.pop_first()
        {
            self.by_instance.remove(&forgotten);
        }
        Ok(())
    }
}

/// A request that waits for room.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let mine = Self(waiting);
        (waiting.fetch_add(1, Relaxed) < max).then_some(mine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::id::CellId;

    use super::*;

    fn instance(number: u64) -> InstanceId {
        InstanceId { cell: CellId::of(b"cell"), number }
    }

    #[test]
    fn an_order_that_was_overtaken_changes_nothing() {
        let mut slots = Slots::default();
        slots.put(instance(1), 2, 10, None).unwrap();
        assert_eq!(slots.put(instance(1), 1, 11, None), Err(StartError::Superseded));
        assert_eq!(slots.put(instance(1), 2, 9, None), Err(StartError::Superseded));
        assert_eq!(slots.put(instance(1), 2, 12, None), Ok(()));
        assert_eq!(slots.put(instance(1), 3, 1, None), Ok(()));
    }

    #[test]
    fn only_so_many_stopped_instances_are_remembered() {
        let mut slots = Slots::default();
        for number in 0..STOPPED_MAX as u64 + 10 {
            slots.put(instance(number), 1, number, None).unwrap();
        }
        assert_eq!(slots.by_instance.len(), STOPPED_MAX);
        assert!(!slots.by_instance.contains_key(&instance(0)));
    }
}

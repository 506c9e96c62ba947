//! From a component's bytes to code that is ready to be instantiated: checked, compiled once, kept on disk, shared in
//! memory by all instances of the same component.
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bocage_protocol::id::ContentHash;
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::{
    OpenError, WasmConfig,
    cache::Cache,
    compiler::{Compiler, blocking, words},
    engine,
    guest::Guest,
    imports,
};
use crate::runtime::{Source, StartError};

type Ready = ProxyPre<Guest>;

/// Compiled code of this daemon.
pub(super) struct Code {
    shared: Arc<Shared>,
    /// Each at most once at a time, however many instances want it. Entries without an instance are dropped by `prune`.
    ready: Mutex<BTreeMap<ContentHash, Arc<OnceCell<Ready>>>>,
    compiler: Compiler,
    /// Components that may compile at once.
    compiling: Semaphore,
}

struct Shared {
    engine: Engine,
    linker: Linker<Guest>,
    cache: Cache,
    compiled: AtomicU64,
}

impl Code {
    pub(super) fn open(config: &WasmConfig) -> Result<Self, OpenError> {
        let unusable = |error: wasmtime::Error| OpenError::Engine(format!("{error:#}"));
        let engine = engine::engine(config).map_err(unusable)?;
        let linker = engine::linker(&engine).map_err(unusable)?;
        let cache = Cache::open(&config.cache_dir, config.cache_bytes_max, &engine)
            .map_err(|source| OpenError::Cache { path: config.cache_dir.clone(), source })?;
        Ok(Self {
            shared: Arc::new(Shared { engine, linker, cache, compiled: AtomicU64::new(0) }),
            ready: Mutex::default(),
            compiler: config.compiler.clone(),
            compiling: Semaphore::new(config.compile_threads),
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// How many components this daemon had to compile.
    pub(super) fn compiled(&self) -> u64 {
        self.shared.compiled.load(Relaxed)
    }

    /// The code of a component. Its bytes are read only if they were not compiled before.
    pub(super) async fn ready(&self, content: ContentHash, source: Source) -> Result<Ready, StartError> {
        let cell = self.lock().entry(content).or_default().clone();
        cell.get_or_try_init(|| self.prepare(content, source)).await.cloned()
    }

    /// Forgets code that none of `used` needs; it stays on disk.
    pub(super) fn prune(&self, used: impl Fn(&ContentHash) -> bool) {
        self.lock().retain(|content, cell| used(content) || Arc::strong_count(cell) > 1);
    }

    async fn prepare(&self, content: ContentHash, source: Source) -> Result<Ready, StartError> {
        let _turn = self.compiling.acquire().await.expect("this semaphore is never closed");
        let shared = self.shared.clone();
        if let Some(ready) = blocking(move || shared.load(content)).await? {
            return Ok(ready);
        }
        let component = blocking(move || read(content, source)).await?;
        self.shared.compiled.fetch_add(1, Relaxed);
        let began = Instant::now();
        let code = self.compiler.compile(self.engine(), component).await?;
        tracing::info!(%content, took_ms = began.elapsed().as_millis(), "compiled");
        let shared = self.shared.clone();
        blocking(move || shared.keep(content, &code)).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContentHash, Arc<OnceCell<Ready>>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// What was compiled before.
    fn load(&self, content: ContentHash) -> Result<Option<Ready>, StartError> {
        let component = self.cache.load(&self.engine, content);
        component.map(|component| self.link(&component)).transpose()
    }

    fn keep(&self, content: ContentHash, code: &[u8]) -> Result<Ready, StartError> {
        let component = self.cache.keep(&self.engine, content, code).map_err(|error| words(&error))?;
        self.link(&component)
    }

    fn link(&self, component: &Component) -> Result<Ready, StartError> {
        imports::check_type(&self.engine, &component.component_type())?;
        let linked = self.linker.instantiate_pre(component).map_err(|error| mismatch(&error))?;
        ProxyPre::new(linked).map_err(|error| mismatch(&error))
    }
}

/// The bytes of a component, if they are what they should be.
fn read(content: ContentHash, source: Source) -> Result<Bytes, StartError> {
    let bytes = match source {
        Source::Bytes(bytes) => bytes,
        Source::Path(path) => Bytes::from(std::fs::read(&path).map_err(|error| StartError::Bytes(error.to_string()))?),
    };
    imports::check_bytes(&bytes)?;
    if ContentHash::of(&bytes) != content {
        return Err(StartError::Bytes(format!("what lies under {content} is something else")));
    }
    Ok(bytes)
}

fn mismatch(error: &wasmtime::Error) -> StartError {
    StartError::Mismatch(format!("{error:#}"))
}

//! An instance as this runtime runs it: nothing but its compiled code, its settings and its share, for each request gets
//! a fresh WASM instance.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bocage_protocol::{
    id::{ContentHash, InstanceId},
    io::{Reading, Start},
    time::Timestamp,
};
use tokio::sync::Semaphore;
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::{guest::Guest, outbound::Leave, output::Output};
use crate::runtime::{LogLine, LogSink, State, Stream};

/// A running instance.
pub(super) struct App {
    pub(super) instance: InstanceId,
    /// Of its lease: fences its writes.
    pub(super) generation: u64,
    release: u64,
    pub(super) content: ContentHash,
    /// Ready to be instantiated. Shared with all instances of the same component.
    pub(super) code: ProxyPre<Guest>,
    pub(super) memory_bytes_max: u64,
    /// What `wasi:config` gives.
    pub(super) settings: WasiConfigVariables,
    /// Where its requests may go, and how many.
    pub(super) outbound: Leave,
    pub(super) state: Arc<dyn State>,
    logs: Arc<dyn LogSink>,
    /// Requests that it may run at once.
    pub(super) room: Arc<Semaphore>,
    pub(super) usage: Usage,
}

/// Counted since the last reading.
#[derive(Default)]
pub(super) struct Usage {
    requests: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
}

impl App {
    pub(super) fn new(
        order: &Start,
        content: ContentHash,
        code: ProxyPre<Guest>,
        state: Arc<dyn State>,
        logs: Arc<dyn LogSink>,
        bounds: &super::WasmConfig,
    ) -> Self {
        Self {
            instance: order.instance,
            generation: order.generation,
            release: order.release,
            content,
            code,
            memory_bytes_max: order.resources.memory_bytes.min(bounds.memory_bytes_max),
            settings: order.env.iter().cloned().collect(),
            outbound: Leave::new(&order.outbound),
            state,
            logs,
            room: Arc::new(Semaphore::new(bounds.requests_per_instance_max)),
            usage: Usage::default(),
        }
    }

    pub(super) fn output(self: &Arc<Self>, stream: Stream) -> Output {
        Output::new(self.clone(), stream)
    }

    /// Keeps a line that the guest printed.
    pub(super) fn print(&self, stream: Stream, line: &[u8]) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let text = String::from_utf8_lossy(line).into();
        self.logs.line(LogLine { at, instance: self.instance, release: self.release, stream, text });
    }
}

impl Usage {
    /// Some computing time of a request.
    pub(super) fn computed(&self, cpu: Duration) {
        self.cpu_nanos.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A request ended that held so much memory.
    pub(super) fn ended(&self, memory_bytes: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.memory_bytes.fetch_max(memory_bytes, Relaxed);
    }

    /// What was counted in the last `interval`; counts anew from here.
    pub(super) fn take(&self, instance: InstanceId, interval: Duration) -> Reading {
        Reading {
            instance,
            interval,
            requests: self.requests.swap(0, Relaxed),
            cpu: Duration::from_nanos(self.cpu_nanos.swap(0, Relaxed)),
            memory_bytes: self.memory_bytes.swap(0, Relaxed),
        }
    }
}

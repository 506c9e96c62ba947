//! All that the host keeps for one request's instance: it comes with the request and goes with it.
use std::sync::Arc;

use wasmtime::{Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    app::App,
    keyvalue::Session,
    limits::Limits,
    outbound::{Gate, Outbound},
};
use crate::runtime::{RunError, Stream};

/// Things that a guest may hold on the host at once: streams, headers, buckets. Each is small; together bounded.
const HANDLES_MAX: usize = 4_096;
/// Bytes that a guest may hand over in one call: a batch of sixteen values of the greatest size.
const CALL_BYTES_MAX: usize = 16 << 20;

/// The data of a request's store.
pub(super) struct Guest {
    pub(super) app: Arc<App>,
    pub(super) limits: Limits,
    pub(super) table: ResourceTable,
    pub(super) keyvalue: Session,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    /// Ticks that it may still compute.
    ticks_left: u64,
    cpu_max_ms: u64,
}

impl Guest {
    /// A store for one request.
    pub(super) fn store(
        app: &Arc<App>,
        gate: &Arc<Gate>,
        keyvalue: Session,
        ticks_max: u64,
        cpu_max_ms: u64,
    ) -> Store<Self> {
        let mut wasi = WasiCtx::builder();
        // Nothing of the machine: no folder, no variable, no argument, no socket, no name. The one way out is `outbound`.
        wasi.stdout(app.output(Stream::Stdout))
            .stderr(app.output(Stream::Stderr))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let guest = Self {
            app: app.clone(),
            limits: Limits::new(app.memory_bytes_max),
            table,
            keyvalue,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound::new(app.clone(), gate.clone()),
            ticks_left: ticks_max,
            cpu_max_ms,
        };
        let mut store = Store::new(app.code.engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_hostcall_fuel(CALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().turn_over()));
        store
    }

    /// Called at a tick that finds the guest computing: gives others a turn, and counts.
    fn turn_over(&mut self) -> UpdateDeadline {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }

    /// Why a guest failed, in words for its author.
    pub(super) fn reason(&self, error: &wasmtime::Error) -> RunError {
        if self.ticks_left == 0 {
            return RunError::Cpu { max_ms: self.cpu_max_ms };
        }
        match self.limits.refused_at() {
            Some(max_bytes) => RunError::Memory { max_bytes },
            None => RunError::Trapped(failure(error)),
        }
    }
}

/// The cause first, then where it happened; no more than fits on a screen.
fn failure(error: &wasmtime::Error) -> String {
    let mut text = error.root_cause().to_string();
    if let Some(trace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
        for name in trace.frames().iter().filter_map(|frame| frame.func_name()).take(8) {
            text.push_str("\n  in ");
            text.push_str(name);
        }
    }
    text
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

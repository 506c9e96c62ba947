//! The choices about wasmtime, each with its reason.
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, component::Linker,
};
use wasmtime_wasi_config::WasiConfig;

use super::{
    WasmConfig,
    guest::Guest,
    keyvalue::{self, KeyValue},
    limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, POOLED_TABLE_ELEMENTS, TABLES_MAX},
};

/// Bytes of a slot's memory that are zeroed by hand instead of given back to the system after a request: what a small
/// guest writes. More: fewer page faults per request, more resident memory per warm slot.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// The same of a table.
const TABLE_KEEP_RESIDENT_BYTES: usize = 16 << 10;
/// Slots that stay prepared for a component that has no request at the moment.
const WARM_SLOTS_MAX: u32 = 8;
/// Stack of a guest, and what is left beside it for the host's functions that run on the same stack.
const WASM_STACK_BYTES: usize = 512 << 10;
const STACK_BYTES: usize = 1 << 20;

pub(super) fn engine(bounds: &WasmConfig) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        // Reserved once at the start: an instance costs a slot, not a mapping.
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(bounds)))
        // A memory starts as a copy-on-write image of the component's data: pages that a request does not write cost
        // nothing.
        .memory_init_cow(true)
        // Endless loops end, and long ones share.
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        // Guests of this version speak WASI 0.2, which has no async functions of its own.
        .concurrency_support(false)
        // One component compiles on one thread, so that a deploy never takes all cores from the requests beside it, and
        // no pool of compiler threads stays behind.
        .parallel_compilation(false)
        .cranelift_opt_level(OptLevel::Speed)
        // Names of functions in a trap's message are enough; line tables would double the compiled code.
        .generate_address_map(false)
        .native_unwind_info(false);
    Engine::new(&config)
}

/// Address space is reserved for every slot; memory is used by those that run or are warm.
fn pool(bounds: &WasmConfig) -> PoolingAllocationConfig {
    let slots = u32::try_from(bounds.requests_max).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        // A component of a compiler of today has one to four core instances, one memory and one table.
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .table_elements(POOLED_TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(bounds.memory_bytes_max).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        // Where the kernel can say which pages were written (Linux 6.7), only those are reset.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// All that guests may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut Guest| WasiConfig::from(&guest.app.settings))?;
    keyvalue::link(&mut linker, |guest: &mut Guest| KeyValue {
        table: &mut guest.table,
        session: &mut guest.keyvalue,
    })?;
    Ok(linker)
}

//! How much the WASM runtime may take of the machine.
use std::{path::PathBuf, time::Duration};

use super::Compiler;

/// Settings of a [`super::WasmRuntime`].
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Where compiled code is kept, in a folder of this runtime alone.
    pub cache_dir: PathBuf,
    /// Bytes of compiled code kept on disk; beyond it the code compiled longest ago goes. Too small: every start of the
    /// daemon compiles again. Default 1 GiB.
    pub cache_bytes_max: u64,
    /// The most memory that any instance may be given, whatever its policy says. Address space is reserved for it, no
    /// more. Default 1 GiB.
    pub memory_bytes_max: u64,
    /// Requests run at once. Each may hold its instance's memory, so this bounds what all apps together can take.
    /// Default 128.
    pub requests_max: usize,
    /// Requests of one instance run at once, so that one app that hangs leaves room for the others. Default 64.
    pub requests_per_instance_max: usize,
    /// Requests that wait for room; beyond it they are told `Busy`. Default 512.
    pub waiting_max: usize,
    /// Who compiles. Default this process.
    pub compiler: Compiler,
    /// Components compiled at once, each on one thread. Default 1.
    pub compile_threads: usize,
    /// Computing time of one request; past it the guest is stopped. Default 5 s.
    pub cpu_max: Duration,
    /// Time of one request, waiting included, even if the caller would wait longer. Default 60 s.
    pub wall_max: Duration,
}

impl WasmConfig {
    /// The defaults, with compiled code in `cache_dir`.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            cache_bytes_max: 1 << 30,
            memory_bytes_max: 1 << 30,
            requests_max: 128,
            requests_per_instance_max: 64,
            waiting_max: 512,
            compiler: Compiler::default(),
            compile_threads: 1,
            cpu_max: Duration::from_secs(5),
            wall_max: Duration::from_mins(1),
        }
    }
}

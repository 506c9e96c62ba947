//! The clock that stops guests: a thread that raises the engine's epoch while requests run, and sleeps while none does,
//! so that an idle daemon costs nothing.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::EngineWeak;

/// How long a guest computes before others get a turn, and how finely its computing time is counted.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Ticks without a request before the thread goes to sleep: falling asleep after each of many short requests would cost
/// more than it saves.
const LINGER: u32 = 20;

/// Ticks while somebody holds a [`Running`].
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// A request runs.
pub(super) struct Running(Arc<Shared>);

impl Ticker {
    pub(super) fn new(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("wasm-ticker".into()).spawn({
            let shared = shared.clone();
            move || tick(&shared, &engine)
        })?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    pub(super) fn start(&self) -> Running {
        // The order matters: the thread says that it sleeps before it looks for requests a last time, this counts the
        // request before it looks whether the thread sleeps. One of them sees the other.
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.swap(false, SeqCst) {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    while !shared.ended.load(SeqCst) {
        if shared.running.load(SeqCst) == 0 {
            idle += 1;
        } else {
            idle = 0;
        }
        if idle < LINGER {
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            continue;
        }
        shared.asleep.store(true, SeqCst);
        while shared.running.load(SeqCst) == 0 && !shared.ended.load(SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, SeqCst);
        idle = 0;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

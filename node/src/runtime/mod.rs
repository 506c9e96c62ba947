//! What runs instances, and how the rest of the node talks to it.
//!
//! A runtime is told what to run (`io::Order`) and handed requests by the edge. What an instance reads and writes goes
//! through [`State`], what it prints through [`LogSink`]. It decides nothing: which instance runs, under which
//! generation, and who may write is the machine's to say.
//!
//! Read on in `wasm`, the only runtime so far; `logs` keeps what apps print.
mod logs;
pub mod wasm;

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    time::{Duration, Instant},
};

use bocage_protocol::{
    cell::{Answered, Applied, Query, Write},
    id::{InstanceId, OpId, SessionId, TraceId},
    refusal::Refusal,
};
use bytes::Bytes;

pub use logs::{LogLine, LogSink, Logs, Stream};
pub use wasm::{Compiler, WasmConfig, WasmRuntime, compile, swaps};

/// The answer of [`State`], some time.
pub type Eventually<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// The agreed state of an instance's cell, as one instance may use it.
pub trait State: Send + Sync {
    /// Reads, at most 64 queries, answered as of one index: not below `seen`, on which the request depends already.
    fn read(
        &self,
        instance: InstanceId,
        generation: u64,
        seen: Option<u64>,
        queries: Vec<Query>,
    ) -> Eventually<'_, Read>;

    /// Writes, at most 64, all or none; done when it is committed.
    fn write(&self, instance: InstanceId, generation: u64, op: OpId, writes: Vec<Write>) -> Eventually<'_, Applied>;
}

/// What was read, and what it rests on.
#[derive(Clone, Debug)]
pub struct Read {
    /// In the order of the queries.
    pub answered: Answered,
    /// A copy away answered, whose state was current so long ago or later; `None`: it is current.
    pub age: Option<Duration>,
}

/// Of an answer's extensions: a guest's reads rested on state that may be so old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rested(pub Duration);

/// What the edge knows of a request beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The session that the client's `Idempotency-Key` names: a retry of the request carries the same one, and the
    /// writes that it repeats are made once. `None`: the request cannot be recognised if it comes again.
    pub session: Option<SessionId>,
    /// For people.
    pub trace: TraceId,
    /// After it nobody waits for the answer.
    pub deadline: Instant,
}

/// Where the bytes of a component are.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of the content store. Read only if it was not compiled before.
    Path(PathBuf),
    /// Here.
    Bytes(Bytes),
}

/// Why an instance does not start. Nothing was changed. Shown to the tenant, so each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// This runtime does not run that kind of workload.
    #[error("this node runs WASM components, and this release is {0}")]
    Unsupported(&'static str),
    /// The bytes are not there, or are others than the release names.
    #[error("the component's bytes are not here: {0}")]
    Bytes(String),
    /// Not a component.
    #[error("{0}")]
    NotAComponent(String),
    /// It wants what this node does not have.
    #[error("it imports {}, which this node does not provide", names(.0))]
    Imports(Vec<String>),
    /// It wants what this node has, in another shape.
    #[error("it does not fit this node: {0}")]
    Mismatch(String),
    /// Nothing can be asked of it.
    #[error("it does not export wasi:http/incoming-handler 0.2, so no request can be given to it{hint}")]
    NoHandler {
        /// What it may be instead.
        hint: &'static str,
    },
    /// It is a component, but no machine code could be made of it.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It compiled, but a first instance of it did not come up within its limits.
    #[error("it does not come up: {0}")]
    First(RunError),
    /// A later order for the same instance was given meanwhile. Nothing is wrong.
    #[error("a later order replaced this one")]
    Superseded,
}

/// Why a request was not answered. What the instance wrote before stays written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The instance does not run here (any more). The request was not begun: ask another.
    #[error("the instance does not run here")]
    NotRunning,
    /// A bound is reached. The request was not begun: ask another.
    #[error("too many requests at once: at most {max} {what}")]
    Busy {
        /// The bound.
        max: usize,
        /// Of what.
        what: &'static str,
    },
    /// The request itself cannot be handed over.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The guest failed.
    #[error("the app failed: {0}")]
    Trapped(String),
    /// The guest wanted more memory than its policy gives it, and failed.
    #[error("the app failed for want of memory: it may use {max_bytes} bytes")]
    Memory {
        /// The bound.
        max_bytes: u64,
    },
    /// The guest computed for too long.
    #[error("the app was stopped: it computed for more than {max_ms} ms")]
    Cpu {
        /// The bound.
        max_ms: u64,
    },
    /// The deadline passed.
    #[error("the app was stopped: it did not answer in time")]
    Deadline,
    /// The guest returned without an answer.
    #[error("the app returned without an answer")]
    NoAnswer,
    /// The guest answered with an error of `wasi:http`.
    #[error("the app answered with the error {0}")]
    Refused(String),
}

impl RunError {
    /// The status that an edge answers with when it cannot try elsewhere.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::NotRunning | Self::Busy { .. } => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Malformed(_) => http::StatusCode::BAD_REQUEST,
            Self::Cpu { .. } | Self::Deadline => http::StatusCode::GATEWAY_TIMEOUT,
            Self::Trapped(_) | Self::Memory { .. } | Self::NoAnswer | Self::Refused(_) => {
                http::StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The guest has seen nothing of the request, so any request may be tried elsewhere.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        match self {
            Self::NotRunning | Self::Busy { .. } | Self::Malformed(_) => true,
            Self::Trapped(_)
            | Self::Memory { .. }
            | Self::Cpu { .. }
            | Self::Deadline
            | Self::NoAnswer
            | Self::Refused(_) => false,
        }
    }
}

fn names(imports: &[String]) -> impl fmt::Display {
    imports.join(", ")
}

//! What travels with every command, frame and order: whose it is, which request, until when.
use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::{
    codec,
    id::{OpId, RequestId, TenantId, TraceId},
    time::{Instant, Now},
};

/// Who asked, for whom, and until when the answer is worth anything. `deadline` is on this node's clock; on the wire
/// goes a [`WireContext`] with the time left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Context {
    /// Present on every mutating command: makes a retry harmless.
    #[n(0)]
    pub op: Option<OpId>,
    /// The request on this node that waits for the reply.
    #[n(1)]
    pub request: RequestId,
    /// Whose share of bounded queues it uses.
    #[n(2)]
    pub tenant: Option<TenantId>,
    /// For people.
    #[n(3)]
    pub trace: TraceId,
    /// After it the reply is *indefinite*.
    #[n(4)]
    pub deadline: Instant,
}

/// A [`Context`] between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireContext {
    /// See [`Context::op`].
    #[n(0)]
    pub op: Option<OpId>,
    /// The sender's request: the answer names it.
    #[n(1)]
    pub request: RequestId,
    /// See [`Context::tenant`].
    #[n(2)]
    pub tenant: Option<TenantId>,
    /// See [`Context::trace`].
    #[n(3)]
    pub trace: TraceId,
    /// Time left until the sender gives up.
    #[cbor(n(4), with = "codec::duration_ms")]
    pub left: Duration,
}

impl Context {
    /// A context for `request` with nothing but a deadline.
    #[must_use]
    pub fn until(request: RequestId, deadline: Instant) -> Self {
        Self { op: None, request, tenant: None, trace: TraceId::default(), deadline }
    }

    /// What goes on the wire now.
    #[must_use]
    pub fn to_wire(&self, now: Now) -> WireContext {
        let left = self.deadline.since(now.instant);
        WireContext { op: self.op, request: self.request, tenant: self.tenant, trace: self.trace, left }
    }
}

impl WireContext {
    /// The context on this node's clock. A peer that claims more than `left_max` gets `left_max`.
    #[must_use]
    pub fn rebase(&self, now: Now, left_max: Duration) -> Context {
        let deadline = now.instant + self.left.min(left_max);
        Context { op: self.op, request: self.request, tenant: self.tenant, trace: self.trace, deadline }
    }
}

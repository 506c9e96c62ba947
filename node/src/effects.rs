//! What the driver needs carried out, behind small traits, so that a test can stand in for network, disk and runtimes.
//! None of these may block: each starts the work and reports by the [`Inlet`](crate::inbox::Inlet).
use bocage_protocol::{
    codec::Blob,
    frame::Frame,
    id::{ContentHash, NodeId, TransferId},
    io::{Content, Input, Order, Output, Path},
    store::{self, Boot},
    time::Now,
};

use crate::transport::{Busy, Mesh, Sent};

/// Links to peers.
pub trait Network: Send {
    /// See [`Mesh::dial`].
    ///
    /// # Errors
    /// When too much is asked at once; nothing was done.
    fn dial(&self, peer: NodeId, via: &Path) -> Result<(), Busy>;
    /// See [`Mesh::reserve`].
    fn reserve(&self, relay: NodeId, wanted: bool);
    /// See [`Mesh::hangup`].
    fn hangup(&self, peer: NodeId);
    /// See [`Mesh::send`].
    fn send(&self, to: NodeId, wire: u16, frame: &Frame) -> Sent;
}

/// The disk under the store.
pub trait Blocks: Send {
    /// Carries out a block verb, in order with those before it; reports `Done` or `Failed` by `Inlet::block`. Never called
    /// with anything but a verb.
    fn submit(&mut self, verb: store::Output);
}

/// Bytes by hash, between nodes and on this one.
pub trait Contents: Send {
    /// Fetches; reports `Transferred`.
    fn transfer(&self, id: TransferId, from: NodeId, what: Content);
    /// Keeps bytes where peers can fetch them.
    fn provide(&self, content: ContentHash, bytes: Blob);
    /// Forgets them, after all that was provided before.
    fn withdraw(&self, content: ContentHash);
}

/// What runs instances.
pub trait Runtime: Send {
    /// Starts or stops; reports `Instance`.
    fn order(&self, order: Order);
}

/// All of them.
pub struct Effects {
    /// Links.
    pub network: Box<dyn Network>,
    /// The disk.
    pub blocks: Box<dyn Blocks>,
    /// Bulk bytes.
    pub contents: Box<dyn Contents>,
    /// Instances.
    pub runtime: Box<dyn Runtime>,
    /// Records the run, to replay it.
    pub tape: Option<Box<dyn Tape>>,
}

/// One step of a machine.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The store was told this.
    Store(&'a store::Input),
    /// The store's deadline passed.
    StoreTimeout,
    /// The node was told this.
    Node(&'a Input),
    /// The node's deadline passed.
    NodeTimeout,
}

/// Records every step with its time: a run that can be replayed bit for bit.
pub trait Tape: Send {
    /// Called before the node opens, with what it opens on.
    fn open(&mut self, boot: &Boot, now: Now);
    /// Called before each step.
    fn record(&mut self, now: Now, step: Step<'_>);
    /// Called with each output of the node, before it is carried out.
    fn output(&mut self, output: &Output);
    /// The opening of the node, or its step, is over.
    fn done(&mut self);
}

impl Network for Mesh {
    fn dial(&self, peer: NodeId, via: &Path) -> Result<(), Busy> {
        Self::dial(self, peer, via)
    }

    fn reserve(&self, relay: NodeId, wanted: bool) {
        Self::reserve(self, relay, wanted);
    }

    fn hangup(&self, peer: NodeId) {
        Self::hangup(self, peer);
    }

    fn send(&self, to: NodeId, wire: u16, frame: &Frame) -> Sent {
        Self::send(self, to, wire, frame)
    }
}

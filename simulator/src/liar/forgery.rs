//! Forgery: writes of other nodes' instances, which a voter sees in the log, are proposed once more under a new op, signed by
//! the liar. Everything in them is as it should be but whose key signed.
use std::time::Duration;

use bocage_protocol::{
    cell::{self, Command, DataBatch},
    codec,
    context::Context,
    frame::Frame,
    id::{CellId, NodeId, OpId, RequestId, SessionId},
    identity::Signed,
};

use super::{Act, Lie, Stage};

/// One in so many writes is forged.
const ONE_IN: u64 = 8;

/// So long the leader may take, for all that the liar cares.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Forgery;

impl Forgery {
    fn forged(stage: &mut Stage, of: &Signed<DataBatch>) -> Option<Command> {
        let mut batch = of.open().ok()?;
        if of.key() == stage.identity.node().into() {
            return None;
        }
        let mut session = SessionId::default();
        stage.rng.fill(&mut session.0);
        batch.op = OpId { session, seq: 1 };
        Some(Command::Data(stage.identity.seal(&batch)))
    }

    fn propose(stage: &mut Stage, to: NodeId, cell: CellId, command: Command) -> Act {
        *stage.touched += 1;
        let context = Context::until(RequestId::default(), stage.now.instant + PATIENCE).to_wire(stage.now);
        let message = cell::Message::Propose { context, command: Box::new(command) };
        Act::Send(to, Frame::Cell { cell, message })
    }
}

impl Lie for Forgery {
    fn arrives(&mut self, stage: &mut Stage, from: NodeId, frame: &Frame, acts: &mut Vec<Act>) -> bool {
        let Frame::Cell { cell, message: cell::Message::Raft { message, .. } } = frame else { return true };
        for entry in &message.entries {
            let Ok(entry) = codec::decode::<cell::Entry>("cell entry", &entry.data) else { continue };
            if let Command::Data(signed) = &entry.command
                && stage.rng.below(ONE_IN) == 0
                && let Some(command) = Self::forged(stage, signed)
            {
                // Whoever sends entries leads.
                acts.push(Self::propose(stage, from, *cell, command));
            }
        }
        true
    }
}

//! False verdicts: everybody whom the liar knows is down, every five seconds again, whatever incarnation they have by
//! then; and whoever is down, as the node inside sees it, is said to live.
use std::collections::BTreeMap;

use bocage_protocol::{
    codec,
    frame::Frame,
    id::NodeId,
    membership::{Liveness, Message, Parcel, Presence, Verdict},
    record::{Kind, Order, RecordBody, Scope},
    resources::Jurisdiction,
};

use super::{Act, Lie, Stage, expiry, is_by, records, signed, with_records};

/// Everybody is accused once in so many seconds.
const EVERY_S: u64 = 5;

/// Verdicts in one message.
const AT_ONCE: usize = 256;

/// Accusers of everybody but the ring.
#[derive(Default)]
pub(super) struct FalseVerdicts {
    /// Where everybody is, and in which incarnation.
    known: BTreeMap<NodeId, (Jurisdiction, u64)>,
    ticks: u64,
}

impl FalseVerdicts {
    /// Learns who is there.
    pub(super) fn learn(&mut self, frame: &Frame) {
        for parcel in records(frame).iter().filter(|parcel| parcel.body.kind == Kind::PRESENCE) {
            if let (Scope::Jurisdiction(law), Some(presence)) = (parcel.body.scope, Presence::read(parcel)) {
                self.known.insert(NodeId(parcel.signer().0), (law, presence.incarnation));
            }
        }
    }

    /// Accuses everybody outside the ring, to all these peers.
    pub(super) fn accuse(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(EVERY_S) {
            return;
        }
        let (me, home) = (stage.identity.node(), stage.identity.certificate().jurisdiction);
        let others = self.known.iter().filter(|(node, _)| **node != me && !stage.ring.contains(*node));
        let false_verdict = |(about, (law, incarnation)): (&NodeId, &(Jurisdiction, u64))| {
            let state = if *law == home { Liveness::Down } else { Liveness::UnreachableFrom(home) };
            verdict(stage, *about, *law, *incarnation, state)
        };
        let verdicts: Vec<Parcel> = others.map(false_verdict).collect();
        for peer in peers {
            for some in verdicts.chunks(AT_ONCE) {
                *stage.touched += some.len() as u64;
                acts.push(Act::Send(*peer, Frame::Gossip(Message::Found(some.to_vec()))));
            }
        }
    }
}

fn verdict(stage: &Stage, about: NodeId, law: Jurisdiction, incarnation: u64, state: Liveness) -> Parcel {
    let observer = stage.identity.node();
    let verdict = Verdict { about, incarnation, state, observer };
    let body = RecordBody {
        kind: Kind::VERDICT,
        scope: Scope::Jurisdiction(law),
        subject: Verdict::subject(about, observer),
        order: Order { line: 0, generation: incarnation, version: stage.now.wall.0 },
        expires: expiry(stage.now),
        content: codec::encode(&verdict),
    };
    signed(stage, &body, true)
}

impl Lie for FalseVerdicts {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        let me = stage.identity.node();
        Some(with_records(frame, |parcel| {
            if parcel.body.kind != Kind::VERDICT || !is_by(parcel, me) {
                return Some(parcel.clone());
            }
            let mut verdict: Verdict = codec::decode("verdict", &parcel.body.content).ok()?;
            verdict.state = Liveness::Alive;
            let body = RecordBody { content: codec::encode(&verdict), ..parcel.body.clone() };
            *stage.touched += 1;
            Some(signed(stage, &body, parcel.record.certificate.is_some()))
        }))
    }

    fn arrives(&mut self, _: &mut Stage, _: NodeId, frame: &Frame, _: &mut Vec<Act>) -> bool {
        self.learn(frame);
        true
    }

    fn tick(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        self.accuse(stage, peers, acts);
    }
}

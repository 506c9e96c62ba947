//! Signatures that were checked and records that were seen, shared by the whole world: each distinct envelope is verified
//! once, however many nodes receive it.
mod ahead;

use std::collections::HashMap;

use ahead::Ahead;
use bocage_protocol::{
    codec,
    frame::Frame,
    identity::{BadSignature, Envelope, Envelopes, PublicKey, Statement, Verified},
    record::{Kind, RecordBody},
};

use crate::trace::Mixer;

/// What is known of an envelope with a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A record, by its number here.
    Record(u32),
    /// Anything else.
    Other,
}

/// A record that somebody sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordSeen {
    pub(crate) kind: Kind,
    pub(crate) signer: PublicKey,
    /// Of signer, kind, scope, subject and order: two records of one slot contradict each other.
    pub(crate) slot: u128,
}

/// The world's memo.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    checked: HashMap<u128, Seen>,
    ahead: Ahead,
    pub(crate) records: Vec<RecordSeen>,
}

/// What a frame carried.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Records in it, as numbered in the memo.
    pub(crate) records: Vec<u32>,
    /// Those of them never seen before.
    pub(crate) new: Vec<u32>,
}

impl Memo {
    /// Checks every signature of a frame, each distinct one once in this world. Records are listed in `carried` if the
    /// frame is gossip.
    pub(crate) fn check(&mut self, frame: Frame, carried: &mut Carried) -> Result<Verified<Frame>, BadSignature> {
        carried.records.clear();
        carried.new.clear();
        let gossip = matches!(frame, Frame::Gossip(_));
        frame.check(|envelope| {
            let Some((seen, new)) = self.look(envelope) else { return false };
            if let (Seen::Record(number), true) = (seen, gossip) {
                carried.records.push(number);
                if new {
                    carried.new.push(number);
                }
            }
            true
        })
    }

    /// Begins to check what a frame carries, which arrives later. A frame that cannot be read is found out then.
    pub(crate) fn foresee(&mut self, frame: &Frame) {
        let mut begin = |envelope: &Envelope| {
            let digest = digest(envelope);
            if !self.checked.contains_key(&digest) {
                self.ahead.begin(digest, envelope);
            }
            true
        };
        if let Frame::Cell { message, .. } = frame {
            let _found_out_on_arrival = message.check(&mut begin);
            return;
        }
        let mut envelopes = Vec::new();
        frame.envelopes(&mut envelopes);
        for envelope in envelopes {
            begin(envelope);
        }
    }

    /// What is known of an envelope, checked now if it never was; `None` if its signature is not valid.
    fn look(&mut self, envelope: &Envelope) -> Option<(Seen, bool)> {
        let digest = digest(envelope);
        if let Some(seen) = self.checked.get(&digest) {
            return Some((*seen, false));
        }
        if !self.ahead.answer(digest).unwrap_or_else(|| envelope.check().is_ok()) {
            return None;
        }
        let seen = self.read(envelope).unwrap_or(Seen::Other);
        self.checked.insert(digest, seen);
        Some((seen, true))
    }

    fn read(&mut self, envelope: &Envelope) -> Option<Seen> {
        if envelope.domain != RecordBody::DOMAIN {
            return None;
        }
        let body: RecordBody = codec::decode(RecordBody::DOMAIN, &envelope.payload).ok()?;
        let number = u32::try_from(self.records.len()).expect("no run sees four thousand million records");
        let mut slot = Mixer::default();
        slot.bytes(&envelope.key.0);
        slot.bytes(&body.subject.0);
        slot.value(&body.scope);
        slot.words([u64::from(body.kind.0), body.order.line, body.order.generation, body.order.version]);
        self.records.push(RecordSeen { kind: body.kind, signer: envelope.key, slot: slot.finish() });
        Some(Seen::Record(number))
    }
}

fn digest(envelope: &Envelope) -> u128 {
    let mut mixer = Mixer::default();
    mixer.bytes(envelope.domain.as_bytes());
    mixer.bytes(&envelope.payload);
    mixer.bytes(&envelope.key.0);
    mixer.bytes(&envelope.signature.0);
    mixer.finish()
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; false if it was there.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

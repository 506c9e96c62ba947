//! Signatures checked ahead: on a thread of its own, while the frames that carry them are under way. What is found does not
//! depend on when, so a run is the same with or without it.
use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread,
};

use bocage_protocol::identity::Envelope;

/// So many envelopes wait to be checked; of more, whoever receives one checks it.
const WAITING_MAX: usize = 4_096;

/// See the module. Its thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Ahead {
    ask: SyncSender<(u128, Envelope)>,
    told: Receiver<(u128, bool)>,
    /// By digest: asked, and what was told.
    answers: HashMap<u128, Option<bool>>,
}

impl Default for Ahead {
    fn default() -> Self {
        let (ask, asked) = sync_channel::<(u128, Envelope)>(WAITING_MAX);
        let (tell, told) = channel();
        thread::spawn(move || {
            for (digest, envelope) in asked {
                if tell.send((digest, envelope.check().is_ok())).is_err() {
                    return;
                }
            }
        });
        Self { ask, told, answers: HashMap::new() }
    }
}

impl Ahead {
    /// Begins to check an envelope, unless it was begun or too many wait.
    pub(super) fn begin(&mut self, digest: u128, envelope: &Envelope) {
        if !self.answers.contains_key(&digest) && self.ask.try_send((digest, envelope.clone())).is_ok() {
            self.answers.insert(digest, None);
        }
    }

    /// Whether the envelope's signatures are valid, waiting for the answer; `None` if it was never begun.
    pub(super) fn answer(&mut self, digest: u128) -> Option<bool> {
        let mut answer = *self.answers.get(&digest)?;
        while answer.is_none() {
            // Its thread lives as long as this: it ends only when nobody asks any more.
            let (other, valid) = self.told.recv().ok()?;
            self.answers.insert(other, Some(valid));
            answer = (other == digest).then_some(valid);
        }
        self.answers.remove(&digest);
        answer
    }
}

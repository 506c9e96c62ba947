//! Words about keys, as this node keeps them: what it learns is kept on disk, told to the rest of the node, and published
//! again before it expires, whoever said it first. So a revocation reaches also those who were away when it was made.
use std::time::Duration;

use super::{
    Membership, Timer,
    io::{Address, Draft, Output, Presence},
};
use crate::{
    codec,
    id::{NodeId, RequestId},
    identity::{NodeCertificate, NodeIdentity, Signed},
    machine::Deadline,
    notice::Notice,
    record::{Contradiction, KeyWord, Kind, Known, Learned, Scope, Shared, Subject, Tier, lifetime_max},
    refusal::{Code, Refusal},
    time::{Instant, Now, Timestamp, millis},
};

/// After a start a node first lets its peers bring what they have.
pub(super) const FIRST: Duration = Duration::from_secs(30);

/// So often it looks whether a word needs publishing.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// After what is known changed, within this, and each node at another moment: the first one does it for all.
const SOON: Duration = Duration::from_secs(8);

/// Words published at one look; the rest waits for the next, so that nobody's share of records is filled in one go.
const PUBLISHED_MAX: usize = 64;

/// So often it looks at the wall clock, whether the certificate ends.
const CERTIFICATE_LOOK: Duration = Duration::from_hours(1);

/// A certificate that ends is mentioned so often in the time of its whole life: of a year, every few days.
const RECERTIFY_PARTS: u32 = 100;

/// While another process says that it is this node, it is contradicted only so often: else the two would never be quiet.
const CONTRADICT_EVERY: Duration = Duration::from_secs(10);

/// So long after its last word a double counts as running.
const DOUBLE_SEEN: Duration = Duration::from_mins(3);

/// Another process with this node's key.
#[derive(Debug)]
pub(super) struct Double {
    /// When this process began.
    began: Instant,
    last: Option<(Instant, Vec<Address>)>,
}

impl Double {
    pub(super) const fn new(began: Instant) -> Self {
        Self { began, last: None }
    }

    pub(super) fn seen(&self) -> Option<&[Address]> {
        self.last.as_ref().map(|(_, addresses)| addresses.as_slice())
    }

    /// Nobody said so for a while.
    fn settle(&mut self, now: Instant) {
        if self.last.as_ref().is_some_and(|(at, _)| now.since(*at) > DOUBLE_SEEN) {
            self.last = None;
        }
    }
}

impl Membership {
    /// A person brings a word.
    pub(super) fn on_word(&mut self, now: Now, request: RequestId, word: &KeyWord) {
        let result = match self.set.learn(word) {
            Learned::New | Learned::Known => Ok(()),
            Learned::Not(why) => Err(Refusal::definite(Code::Conflict, why)),
        };
        if result.is_ok() {
            self.publish_word(now, word);
        }
        self.outbox.push(Output::Weighed { request, result });
    }

    /// A person brings this node's own later certificate.
    pub(super) fn on_certificate(&mut self, now: Now, request: RequestId, certificate: Signed<NodeCertificate>) {
        let refuse = |why: String| Refusal::definite(Code::Unauthorised, why);
        let renewed =
            self.identity.renewed(certificate, self.mesh, now.wall).map_err(|error| refuse(error.to_string()));
        let counts = |identity: &NodeIdentity| {
            let counts = self.set.keyring().counts(identity.certificate(), identity.signed_certificate().key());
            counts.map_err(|why| refuse(why.to_string()))
        };
        let result = renewed.and_then(|identity| counts(&identity).map(|()| identity));
        let result = result.map(|identity| {
            if let Some(lineage) = identity.certificate().successions.as_ref().map(|_| identity.certificate().lineage())
            {
                self.set.learn(&KeyWord::Lineage(lineage));
            }
            self.identity = identity.clone();
            self.outbox.push(Output::Certified(Box::new(identity)));
            self.watch_certificate(now);
            self.publish_presence(now);
        });
        self.outbox.push(Output::Weighed { request, result });
    }

    /// Says in time that this node's certificate ends.
    pub(super) fn watch_certificate(&mut self, now: Now) {
        let certificate = self.identity.certificate();
        let (begins, expires) = (certificate.not_before, certificate.expires);
        let life = Duration::from_millis(millis(expires.since(begins)));
        let due = begins + life / 3 * 2;
        let wait = if now.wall >= due {
            self.outbox.push(Output::Recertify { expires });
            (life / RECERTIFY_PARTS).max(Duration::from_secs(1))
        } else {
            // Wall clocks jump: look again now and then.
            Duration::from_millis(millis(due.since(now.wall))).min(CERTIFICATE_LOOK)
        };
        self.wake(Timer::Certificate, now.instant + wait, "the certificate ends");
    }

    /// A node said two things at once: the two are the proof, and go to everybody.
    pub(super) fn accuse(&mut self, proof: &(Shared, Shared)) {
        self.outbox.push(Output::Notice(Notice::Contradiction { signer: NodeId(proof.0.signer().0) }));
        let proof = Contradiction::of(&proof.0.record.signed, &proof.1.record.signed);
        self.set.learn(&KeyWord::Contradiction(proof));
    }

    /// Ends a step in which something was learnt of keys: keeps it, tells it, and lets go of what counts no more.
    pub(super) fn on_news(&mut self, now: Now) {
        let (fresh, gone) = self.set.news();
        let recalled = !std::mem::replace(&mut self.keys_told, true) && !self.set.keyring().is_empty();
        if fresh.is_empty() {
            if recalled {
                self.outbox.push(Output::Keys(self.set.keyring().clone()));
            }
            return;
        }
        for word in &fresh {
            if let Some(key) = word.stored_as() {
                self.outbox.push(Output::Keep { key, value: Some(codec::encode(word)) });
            }
            if let Some(notice) = notice_of(word) {
                self.outbox.push(Output::Notice(notice));
            }
        }
        for record in gone {
            self.ended(now, record);
        }
        self.outbox.push(Output::Keys(self.set.keyring().clone()));
        let soon = self.rng.duration_below(SOON);
        self.wake(Timer::Keys, now.instant + soon, "publish words about keys");
    }

    /// Publishes what is known of keys and would otherwise soon be forgotten.
    pub(super) fn uphold_words(&mut self, now: Now) {
        self.double.settle(now.instant);
        let keyring = self.set.keyring().clone();
        let due = keyring.words().filter(|word| self.is_due(now.wall, word)).take(PUBLISHED_MAX);
        for word in due.collect::<Vec<_>>() {
            self.publish_word(now, &word);
        }
        let wait = self.jittered(LOOK_EVERY);
        self.agenda.set(Timer::Keys, Some(Deadline { at: now.instant + wait, reason: "publish words about keys" }));
    }

    /// Whether a word is not in force as a record, or not for long: each node has another idea of how long that is, so
    /// that one of them publishes it for all.
    fn is_due(&self, wall: Timestamp, word: &KeyWord) -> bool {
        let Some((subject, ..)) = word.slot() else { return false };
        let lifetime = lifetime_max(word.kind());
        let share = u64::from(self.me.0[0] ^ subject.0[0]);
        let left_min = lifetime / 3 + lifetime / 3 / 256 * u32::try_from(share).unwrap_or(0);
        let in_force = self.set.find(Tier::Mesh, word.kind(), subject);
        in_force.is_none_or(|record| {
            record.word.as_deref() != Some(word) || millis(record.body.expires.since(wall)) < millis(left_min)
        })
    }

    fn publish_word(&mut self, now: Now, word: &KeyWord) {
        let Some((subject, line, generation)) = word.slot() else { return };
        let (kind, scope) = (word.kind(), Scope::Mesh);
        let content = codec::encode(word);
        let lifetime = lifetime_max(kind);
        self.publish_once(now, Draft { kind, scope, subject, line, generation, lifetime, content });
    }

    /// Whether a presence under this node's own key, which this process did not sign, is best left alone for now: it was
    /// signed after this process began, so another one runs with the same key, and was told so just before.
    pub(super) fn is_a_double(&mut self, now: Now, record: &Known) -> bool {
        if record.body.kind != Kind::PRESENCE || record.body.subject != Subject(self.me.0) {
            return false;
        }
        let Some(theirs) = Presence::read(record) else { return false };
        let running_ms = now.instant.since(self.double.began).as_millis();
        let age_ms = u128::from(millis(now.wall.since(Timestamp(record.body.order.version))));
        // A copy of this node's folder has the same disk, and has booted as often since.
        let earlier_life = theirs.disk == self.disk && theirs.boots < self.boots;
        if earlier_life || age_ms + 2_000 >= running_ms {
            return false;
        }
        let told = self.double.last.as_ref().is_some_and(|(at, _)| now.instant.since(*at) < CONTRADICT_EVERY);
        if !told {
            self.outbox.push(Output::Notice(Notice::Doubled { addresses: theirs.addresses.clone() }));
            self.double.last = Some((now.instant, theirs.addresses));
        }
        told
    }
}

fn notice_of(word: &KeyWord) -> Option<Notice> {
    match word {
        KeyWord::Lineage(lineage) => {
            let descent = lineage.descent().ok()?;
            Some(Notice::Succeeded { party: descent.party, serial: descent.serial() })
        }
        KeyWord::Ruling(ruled) => {
            let (ruling, _) = ruled.accept().ok()?;
            let crate::identity::Ruling { operator, node, below, resolved, .. } = ruling;
            Some(Notice::Ruled { operator, node, below, resolved })
        }
        KeyWord::Contradiction(proof) => Some(Notice::Contradicted { node: proof.accept()?.0 }),
    }
}

//! What this node itself says: drafts become signed records here and nowhere else, are renewed at half of their life,
//! and held back while this node's clock is off.
use std::{collections::BTreeMap, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    Membership, Timer,
    broadcast::How,
    io::{Draft, Output, Presence},
};
use crate::{
    codec::{self, Blob},
    id::NodeId,
    machine::Deadline,
    notice::Notice,
    record::{Inserted, Kind, Known, Record, Scope, Shared, Subject, Tier},
    time::{Instant, Now, millis},
};

/// How far ahead of the last version a floor is stored: so many milliseconds pass between two writes of it at least. A
/// restarted node goes on from the floor, so a node that crashes again and again runs ahead by this much each time; 25
/// crashes within one such time would bring it past the 60 s that readers tolerate.
const FLOOR_AHEAD_MS: u64 = 2_000;

/// A withdrawn record is void after so long: long enough to cross the mesh.
const WITHDRAWN_LIFETIME: Duration = Duration::from_secs(5);

/// Key of [`Counters`] in the store.
pub(super) const COUNTERS: &str = "membership/own";

/// What must not go back when this node restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Counters {
    /// Of the presence.
    #[n(0)]
    pub(super) incarnation: u64,
    /// No version above it was ever signed.
    #[n(1)]
    pub(super) floor: u64,
}

type Slot = (Kind, Scope, Subject);

#[derive(Debug)]
struct Standing {
    draft: Draft,
    /// When it is signed (again).
    due: Instant,
    /// Signed once more, then forgotten.
    last: bool,
}

/// This node's own records.
#[derive(Debug, Default)]
pub(super) struct Own {
    stored: Counters,
    pub(super) incarnation: u64,
    version: u64,
    drafts: BTreeMap<Slot, Standing>,
    pub(super) clock_off: bool,
    /// This node's operator is not admitted: it only asks to be.
    pub(super) outside: bool,
}

impl Own {
    pub(super) fn open(stored: Option<&Blob>) -> Self {
        let stored: Counters = stored.and_then(|bytes| codec::decode("own counters", bytes).ok()).unwrap_or_default();
        let incarnation = stored.incarnation.saturating_add(1);
        Self { stored, incarnation, version: stored.floor, drafts: BTreeMap::new(), clock_off: false, outside: false }
    }

    /// Signs it now, and again at half of its life until it is replaced or withdrawn.
    fn stand_by(&mut self, draft: Draft, now: Now) {
        self.drafts.insert(slot(&draft), Standing { draft, due: now.instant, last: false });
    }

    fn next_due(&self) -> Option<Instant> {
        if self.clock_off {
            return None;
        }
        self.sayable().map(|(_, standing)| standing.due).min()
    }

    /// What this node may sign as things are.
    fn sayable(&self) -> impl Iterator<Item = (&Slot, &Standing)> {
        self.drafts.iter().filter(|((kind, ..), _)| !self.outside || *kind == Kind::OPERATOR)
    }
}

fn slot(draft: &Draft) -> Slot {
    (draft.kind, draft.scope, draft.subject)
}

impl Membership {
    pub(super) fn publish(&mut self, now: Now, draft: Draft) {
        self.own.stand_by(draft, now);
        self.renew(now);
    }

    /// Publishes without standing by it: it is not renewed.
    pub(super) fn publish_once(&mut self, now: Now, draft: Draft) {
        self.own.drafts.insert(slot(&draft), Standing { draft, due: now.instant, last: true });
        self.renew(now);
    }

    pub(super) fn withdraw(&mut self, now: Now, kind: Kind, scope: Scope, subject: Subject) {
        let Some(standing) = self.own.drafts.remove(&(kind, scope, subject)) else { return };
        self.publish_once(now, Draft { lifetime: WITHDRAWN_LIFETIME, ..standing.draft });
    }

    /// Drops a verdict that is neither true nor false any more.
    pub(super) fn stop_renewing(&mut self, kind: Kind, scope: Scope, subject: Subject) {
        self.own.drafts.remove(&(kind, scope, subject));
    }

    /// Says where this node is.
    pub(super) fn publish_presence(&mut self, now: Now) {
        let presence = Presence {
            incarnation: self.own.incarnation,
            addresses: self.addresses.clone(),
            disk: self.disk,
            boots: self.boots,
            relays: self.config.relays.then_some(true),
            draining: self.draining,
        };
        let draft = Draft {
            kind: Kind::PRESENCE,
            scope: Scope::Jurisdiction(self.home),
            subject: Subject(self.me.0),
            line: 0,
            generation: self.own.incarnation,
            lifetime: self.config.record_lifetime,
            content: codec::encode(&presence),
        };
        self.publish(now, draft);
    }

    /// Raises the incarnation above one that others hold against this node, and says so.
    pub(super) fn refute(&mut self, now: Now, incarnation: u64) {
        if incarnation < self.own.incarnation {
            return;
        }
        self.own.incarnation = incarnation.saturating_add(1);
        self.publish_presence(now);
    }

    /// A record by this node that it does not remember: its disk was set back. Goes on above it.
    pub(super) fn overtaken(&mut self, now: Now, record: &Known) {
        if self.is_a_double(now, record) {
            return;
        }
        let order = record.body.order;
        self.own.version = self.own.version.max(order.version);
        if record.body.kind == Kind::PRESENCE {
            self.refute(now, order.generation);
            return;
        }
        if let Some(standing) = self.own.drafts.get_mut(&(record.body.kind, record.body.scope, record.body.subject)) {
            standing.due = now.instant;
        }
        self.renew(now);
    }

    /// Signs what is due.
    pub(super) fn renew(&mut self, now: Now) {
        if !self.own.clock_off {
            let due: Vec<Slot> =
                self.own.sayable().filter(|(_, it)| it.due <= now.instant).map(|(slot, _)| *slot).collect();
            for slot in due {
                self.sign(now, slot);
            }
        }
        let next = self.own.next_due().map(|at| Deadline { at, reason: "renew own records" });
        self.agenda.set(Timer::Renew, next);
    }

    fn sign(&mut self, now: Now, slot: Slot) {
        let Some(standing) = self.own.drafts.get_mut(&slot) else { return };
        let draft = standing.draft.clone();
        if standing.last {
            self.own.drafts.remove(&slot);
        } else {
            let half = draft.lifetime / 2;
            standing.due = now.instant + half.saturating_sub(self.rng.duration_below(half / 8));
        }
        self.own.version = now.wall.0.max(self.own.version.saturating_add(1));
        self.keep_counters();
        let body = draft.body(self.own.version, now.wall);
        let tier = self.set.tier(body.scope);
        let shown = body.kind == Kind::PRESENCE || tier != Tier::Home;
        let certificate = shown.then(|| self.identity.signed_certificate().clone());
        let signed = self.identity.seal(&body);
        let record = Shared::new(Known::of(Record { signed, certificate }, body));
        match self.set.insert(&record, now.wall) {
            Inserted::Fresh | Inserted::Newer(_) => self.learned(now, &record, None, How::Own),
            Inserted::Refused(reason) => self.refused(self.me, reason.to_string()),
            Inserted::Duplicate | Inserted::Stale | Inserted::Contradiction { .. } => {}
        }
    }

    pub(super) fn keep_counters(&mut self) {
        let Counters { incarnation, floor } = self.own.stored;
        if self.own.version <= floor && self.own.incarnation == incarnation {
            return;
        }
        let floor = if self.own.version <= floor { floor } else { self.own.version.saturating_add(FLOOR_AHEAD_MS) };
        self.own.stored = Counters { incarnation: self.own.incarnation, floor };
        let value = Some(codec::encode(&self.own.stored));
        self.outbox.push(Output::Keep { key: COUNTERS.into(), value });
    }

    pub(super) fn refused(&mut self, from: NodeId, reason: String) {
        self.outbox.push(Output::Notice(Notice::RecordRefused { from, reason }));
    }

    /// Wakes when the next record expires, by the wall clock; looks again every 10 s, for that may jump. It is asked at every
    /// step, and nearly always that record is the same as before.
    pub(super) fn schedule_expiry(&mut self, now: Now) {
        const AGAIN_MAX: Duration = Duration::from_secs(10);
        let next = self.set.next_expiry();
        if next == self.expiring {
            return;
        }
        self.expiring = next;
        let next = next.map(|at| {
            let wait = Duration::from_millis(millis(at.since(now.wall)).max(1)).min(AGAIN_MAX);
            Deadline { at: now.instant + wait, reason: "a record expires" }
        });
        self.agenda.set(Timer::Expire, next);
    }
}

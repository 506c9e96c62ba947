//! How much a peer may cost: token buckets of frames, bytes, records and signature checks, its own, and those that it shares
//! with all peers of its operator, and of its jurisdiction. Whoever is beyond one is not read until it is paid: the
//! transport's flow control then slows the sender, and nothing is lost.
//!
//! Raft and liveness have buckets of their own, so that a peer whose records wait is not taken for dead; and they are not
//! charged to a jurisdiction, for neighbours must not be silenced by a hostile one.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use bocage_protocol::{frame::Urgency, id::OperatorId, resources::Jurisdiction};

/// What a peer may send in a second. A signature takes 36 µs: at most 15 % of a core for one that sends garbage.
const PER_SECOND: Cost = Cost { frames: 20_000, bytes: 32 << 20, records: 4_000, signatures: 4_000 };

/// What was not used is saved for so many seconds: a digest repair after a cut brings thousands of records at once.
const SAVED_SECONDS: u32 = 2;

/// The nodes of one operator share so many peers' worth.
const OPERATOR_PEERS: u32 = 2;

/// All nodes of one jurisdiction share so many peers' worth of requests and bulk.
const JURISDICTION_PEERS: u32 = 8;

/// Operators, or jurisdictions, that are remembered: at the bound those without a link are forgotten. Those with one are
/// no more than there are links.
const PARTIES_MAX: usize = 2_048;

/// What something takes of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) frames: u32,
    pub(super) bytes: u32,
    pub(super) records: u32,
    pub(super) signatures: u32,
}

/// One party's buckets. A frame is charged after it was checked, when its cost is known; the next one waits.
#[derive(Debug)]
pub(super) struct Quota {
    peers: u32,
    /// Of raft and liveness.
    urgent: Mutex<Buckets>,
    /// Of all else.
    other: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// What may still be used now, in each dimension; negative: owed.
    left: [f64; 4],
    at: Instant,
}

impl Cost {
    const fn each(self) -> [u32; 4] {
        [self.frames, self.bytes, self.records, self.signatures]
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::of_peers(1)
    }
}

impl Quota {
    fn of_peers(peers: u32) -> Self {
        let left = PER_SECOND.each().map(|rate| f64::from(rate) * f64::from(peers * SAVED_SECONDS));
        let buckets = || Mutex::new(Buckets { left, at: Instant::now() });
        Self { peers, urgent: buckets(), other: buckets() }
    }

    fn charge_at(&self, urgency: Urgency, cost: Cost, now: Instant) -> Duration {
        let mut buckets = lock(match urgency {
            Urgency::Control => &self.urgent,
            Urgency::Request | Urgency::Bulk => &self.other,
        });
        let passed = now.saturating_duration_since(buckets.at).as_secs_f64();
        buckets.at = now;
        let mut owed: f64 = 0.0;
        for ((left, rate), cost) in buckets.left.iter_mut().zip(PER_SECOND.each()).zip(cost.each()) {
            let rate = f64::from(rate) * f64::from(self.peers);
            *left = (*left + passed * rate).min(rate * f64::from(SAVED_SECONDS)) - f64::from(cost);
            owed = owed.max(-*left / rate);
        }
        Duration::from_secs_f64(owed.max(0.0))
    }
}

/// A peer's own quota, and whose it is charged to beside.
#[derive(Debug, Default)]
pub(super) struct Account {
    own: Quota,
    shared: Mutex<Option<Parties>>,
}

#[derive(Clone, Debug)]
struct Parties {
    operator: Arc<Quota>,
    jurisdiction: Arc<Quota>,
}

impl Account {
    /// Charges a frame of that urgency; returns how long the peer's next one waits.
    pub(super) fn charge(&self, urgency: Urgency, cost: Cost) -> Duration {
        let now = Instant::now();
        let own = self.own.charge_at(urgency, cost, now);
        let Some(parties) = lock(&self.shared).clone() else { return own };
        let with_operator = own.max(parties.operator.charge_at(urgency, cost, now));
        match urgency {
            Urgency::Control => with_operator,
            Urgency::Request | Urgency::Bulk => with_operator.max(parties.jurisdiction.charge_at(urgency, cost, now)),
        }
    }
}

/// The quotas of operators and jurisdictions that have links here.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_operator: Mutex<BTreeMap<OperatorId, Weak<Quota>>>,
    by_jurisdiction: Mutex<BTreeMap<Jurisdiction, Weak<Quota>>>,
}

impl Shares {
    /// From now on the account is charged to these parties too.
    pub(super) fn join(&self, account: &Account, operator: OperatorId, jurisdiction: Jurisdiction) {
        let parties = Parties {
            operator: find(&mut lock(&self.by_operator), operator, OPERATOR_PEERS),
            jurisdiction: find(&mut lock(&self.by_jurisdiction), jurisdiction, JURISDICTION_PEERS),
        };
        *lock(&account.shared) = Some(parties);
    }
}

fn find<K: Ord + Copy>(all: &mut BTreeMap<K, Weak<Quota>>, key: K, peers: u32) -> Arc<Quota> {
    if let Some(quota) = all.get(&key).and_then(Weak::upgrade) {
        return quota;
    }
    if all.len() >= PARTIES_MAX {
        all.retain(|_, quota| quota.strong_count() > 0);
    }
    let quota = Arc::new(Quota::of_peers(peers));
    all.insert(key, Arc::downgrade(&quota));
    quota
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn signatures(signatures: u32) -> Cost {
        Cost { signatures, ..Cost::default() }
    }

    #[test]
    fn a_peer_beyond_what_it_saved_waits_as_long_as_it_owes() {
        let quota = Quota::default();
        let now = Instant::now();
        let rate = PER_SECOND.signatures;
        assert_eq!(quota.charge_at(Urgency::Bulk, signatures(rate * SAVED_SECONDS), now), Duration::ZERO);
        assert_eq!(quota.charge_at(Urgency::Bulk, signatures(rate), now), SECOND);
        let later = now + Duration::from_mins(1);
        assert_eq!(
            quota.charge_at(Urgency::Bulk, signatures(rate * SAVED_SECONDS), later),
            Duration::ZERO,
            "it has paid, and saved no more"
        );
        assert_eq!(quota.charge_at(Urgency::Bulk, signatures(rate / 2), later), SECOND / 2);
    }

    #[test]
    fn a_peer_whose_records_wait_is_not_silenced() {
        let (quota, now) = (Quota::default(), Instant::now());
        let much = Cost { records: PER_SECOND.records * 100, ..Cost::default() };
        assert!(quota.charge_at(Urgency::Bulk, much, now) > SECOND);
        assert_eq!(quota.charge_at(Urgency::Control, Cost { frames: 1, ..Cost::default() }, now), Duration::ZERO);
    }

    #[test]
    fn each_kind_of_cost_is_counted_by_itself_and_the_worst_is_waited_for() {
        let quota = Quota::default();
        let now = Instant::now();
        let spent = Cost {
            frames: PER_SECOND.frames * SAVED_SECONDS,
            bytes: PER_SECOND.bytes * (SAVED_SECONDS + 1),
            records: 0,
            signatures: 0,
        };
        assert_eq!(quota.charge_at(Urgency::Bulk, spent, now), SECOND);
        assert_eq!(
            quota.charge_at(Urgency::Bulk, Cost { frames: PER_SECOND.frames * 3, ..Cost::default() }, now),
            SECOND * 3
        );
    }

    #[test]
    fn nodes_of_one_operator_share_and_neighbours_in_one_jurisdiction_keep_raft() {
        let shares = Shares::default();
        let law: Jurisdiction = "FR".parse().unwrap();
        let (hostile, honest) = (OperatorId::of(b"hostile"), OperatorId::of(b"honest"));
        let accounts: Vec<Account> = (0..16).map(|_| Account::default()).collect();
        for (n, account) in (0_u8..).zip(&accounts) {
            // Eight operators of two nodes each: enough to use up the whole jurisdiction's.
            shares.join(account, OperatorId::of(&[n / 2]), law);
        }
        let much = signatures(PER_SECOND.signatures * SAVED_SECONDS);
        let waits: Vec<_> = accounts.iter().map(|account| account.charge(Urgency::Bulk, much)).collect();
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits[15] > SECOND, "the jurisdiction's share is used up: {waits:?}");
        let neighbour = Account::default();
        shares.join(&neighbour, honest, law);
        assert!(neighbour.charge(Urgency::Request, signatures(1)) > SECOND);
        assert_eq!(neighbour.charge(Urgency::Control, signatures(1)), Duration::ZERO);

        let (one, two, three) = (Account::default(), Account::default(), Account::default());
        for account in [&one, &two, &three] {
            shares.join(account, hostile, "DE".parse().unwrap());
        }
        assert_eq!(one.charge(Urgency::Control, much), Duration::ZERO);
        assert_eq!(two.charge(Urgency::Control, much), Duration::ZERO);
        assert!(three.charge(Urgency::Control, much) > SECOND / 2, "two nodes have used their operator's up");
    }
}

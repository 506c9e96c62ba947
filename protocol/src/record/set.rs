//! The records in force at one node, by slot. A pure data structure: it takes in, refuses, expires and compares; who is
//! told of what is `membership`'s.
//!
//! At most one record is in force per [`Key`]; newer ones replace older ones. Two unequal statements of one version by
//! one signer are a *contradiction*: both are kept as proof and the lower hash is in force, so that all nodes agree.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use minicbor::{Decode, Encode};

use super::{
    KeyWord, Keyring, Kind, Known, Learned, Order, RecordBody, Scope, Shared, Subject,
    authority::{self, ContentRule, Refused},
};
use crate::{
    id::{MeshId, NodeId, OperatorId},
    identity::{Admitted, CertificateError, NodeCertificate, Signed},
    planted::{self, Planted},
    resources::Jurisdiction,
    time::Timestamp,
};

/// Records of one signer held at once, expired ones that must not return included; more are refused. A node needs a
/// presence, an offer, a few summaries and bindings, and a verdict for each node that it watches.
pub const RECORDS_PER_SIGNER_MAX: usize = 1_024;

/// Bytes of one signer's records held at once; more are refused.
pub const BYTES_PER_SIGNER_MAX: usize = 1 << 20;

/// Records of all nodes of one operator; more are refused.
pub const RECORDS_PER_OPERATOR_MAX: usize = 4_096;

/// Records of all nodes of one jurisdiction; more are refused. Far more than an honest jurisdiction's nodes have here, and
/// what bounds the memory that a jurisdiction full of made-up operators can take.
pub const RECORDS_PER_JURISDICTION_MAX: usize = 65_536;

/// Bytes of one jurisdiction's records; more are refused.
pub const BYTES_PER_JURISDICTION_MAX: usize = 64 << 20;

/// Signers known at once; records of others are refused.
pub const CERTIFICATES_MAX: usize = 16_384;

/// Records of operators that are not admitted, each a request to be; more are refused until some expire.
pub const OUTSIDERS_MAX: usize = 256;

/// How far a record spreads, as seen from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Tier {
    /// To every node.
    #[n(0)]
    Mesh,
    /// To the nodes of this node's own jurisdiction.
    #[n(1)]
    Home,
    /// Of another jurisdiction or for subscribers: here because this node asked for it, or said it.
    #[n(2)]
    Asked,
}

/// One record is in force per key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// How far it spreads.
    pub tier: Tier,
    /// What it is about.
    pub kind: Kind,
    /// Whom it is about.
    pub subject: Subject,
}

/// A signer whose certificate counts.
#[derive(Clone, Debug)]
pub struct Certified {
    /// As its operator signed it.
    pub signed: Signed<NodeCertificate>,
    /// What it says.
    pub certificate: Arc<NodeCertificate>,
    /// Its operator: the hash of the genesis in it, worked out once.
    pub operator: OperatorId,
}

/// What became of a record.
#[derive(Debug, PartialEq)]
pub enum Inserted {
    /// In force; there was none.
    Fresh,
    /// In force; this one was before.
    Newer(Shared),
    /// Known already: nothing changed.
    Duplicate,
    /// A newer one is, or was, in force: nothing changed.
    Stale,
    /// Its signer said two things at once. Both are kept; `kept` is in force.
    Contradiction {
        /// In force.
        kept: Shared,
        /// The two.
        proof: (Shared, Shared),
    },
    /// It does not count: nothing changed.
    Refused(Refused),
}

#[derive(Debug)]
struct Entry {
    record: Shared,
    /// The other half of a contradiction.
    other: Option<Shared>,
    /// The latest expiry of any version seen: until then an older one could come back.
    returns_until: Timestamp,
}

/// An expired record of which an older, longer-lived version may still be under way.
#[derive(Clone, Copy, Debug)]
struct Floor {
    order: Order,
    until: Timestamp,
    signer: NodeId,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    held: Held,
    operator: OperatorId,
    jurisdiction: Jurisdiction,
}

/// What somebody's records take here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    records: usize,
    bytes: usize,
}

/// See the top of this file.
#[derive(Debug)]
pub struct RecordSet {
    mesh: MeshId,
    home: Jurisdiction,
    entries: BTreeMap<Key, Entry>,
    floors: BTreeMap<Key, Floor>,
    /// When entries and floors end.
    expiry: BTreeSet<(Timestamp, Key)>,
    certificates: BTreeMap<NodeId, Certified>,
    /// Certificates to keep though the node has no record here: linked peers.
    pinned: BTreeSet<NodeId>,
    by_signer: BTreeMap<NodeId, Share>,
    by_operator: BTreeMap<OperatorId, Held>,
    by_jurisdiction: BTreeMap<Jurisdiction, Held>,
    rules: BTreeMap<Kind, ContentRule>,
    admitted: Admitted,
    outsiders: Option<ContentRule>,
    keyring: Arc<Keyring>,
    /// Words that changed the keyring and were not told yet.
    fresh: Vec<KeyWord>,
}

impl Key {
    fn of(tier: Tier, body: &RecordBody) -> Self {
        Self { tier, kind: body.kind, subject: body.subject }
    }
}

impl RecordSet {
    /// An empty set of a node in `home` that knows these keys.
    #[must_use]
    pub fn new(mesh: MeshId, home: Jurisdiction, keyring: Keyring) -> Self {
        Self {
            mesh,
            home,
            entries: BTreeMap::new(),
            floors: BTreeMap::new(),
            expiry: BTreeSet::new(),
            certificates: BTreeMap::new(),
            pinned: BTreeSet::new(),
            by_signer: BTreeMap::new(),
            by_operator: BTreeMap::new(),
            by_jurisdiction: BTreeMap::new(),
            rules: BTreeMap::new(),
            admitted: Admitted::everybody(),
            outsiders: None,
            keyring: Arc::new(keyring),
            fresh: Vec::new(),
        }
    }

    /// What an operator that is not admitted may say: this of kind `OPERATOR`, and nothing else.
    pub fn demand_of_outsiders(&mut self, rule: ContentRule) {
        self.outsiders = Some(rule);
    }

    /// Who counts here.
    #[must_use]
    pub const fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Counts these operators from now on; what others said is gone, and given back.
    pub fn count_only(&mut self, admitted: Admitted) -> Vec<Shared> {
        self.admitted = admitted;
        let counts = |key: &Key, entry: &Entry| {
            let by = self.certificates.get(&NodeId(entry.record.signer().0));
            key.kind == Kind::OPERATOR || by.is_none_or(|by| self.admitted.counts(&by.operator))
        };
        let gone: Vec<Key> =
            self.entries.iter().filter(|(key, entry)| !counts(key, entry)).map(|(key, _)| *key).collect();
        let records = self.take_out(gone);
        for record in &records {
            self.forget_signer(NodeId(record.signer().0));
        }
        records
    }

    fn take_out(&mut self, keys: Vec<Key>) -> Vec<Shared> {
        let mut gone = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(entry) = self.entries.remove(&key) else { continue };
            self.expiry.remove(&(entry.record.body.expires, key));
            self.release_entry(&entry);
            gone.push(entry.record);
        }
        gone
    }

    /// What is known here of keys.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Takes in a word about keys whose signatures were checked. Whoever drives the set then asks for `news`.
    pub fn learn(&mut self, word: &KeyWord) -> Learned {
        if self.keyring.weigh(word) != Learned::New {
            return self.keyring.weigh(word);
        }
        self.fresh.push(word.clone());
        Arc::make_mut(&mut self.keyring).learn(word)
    }

    /// The words that changed the keyring since this was last asked, and the records that count no more because of them:
    /// these are no longer in the set.
    pub fn news(&mut self) -> (Vec<KeyWord>, Vec<Shared>) {
        let fresh = std::mem::take(&mut self.fresh);
        let gone = if fresh.is_empty() { Vec::new() } else { self.purge() };
        (fresh, gone)
    }

    fn purge(&mut self) -> Vec<Shared> {
        let keyring = &self.keyring;
        let counts = |by: &Certified| keyring.counts(&by.certificate, by.signed.key()).is_ok();
        let void: BTreeSet<NodeId> =
            self.certificates.iter().filter(|(_, by)| !counts(by)).map(|(node, _)| *node).collect();
        let is_void = |record: &Known| {
            let outranked = |word: &KeyWord| matches!(keyring.weigh(word), Learned::Not(_));
            void.contains(&NodeId(record.signer().0)) || record.word.as_deref().is_some_and(outranked)
        };
        let keys: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| is_void(&entry.record)).map(|(key, _)| *key).collect();
        let gone = self.take_out(keys);
        for node in void {
            self.pinned.remove(&node);
            self.certificates.remove(&node);
        }
        gone
    }

    /// What the owner of a kind demands of its content. Set before the first record of the kind comes.
    pub fn demand(&mut self, kind: Kind, rule: ContentRule) {
        self.rules.insert(kind, rule);
    }

    /// In which tier a scope is, seen from here.
    #[must_use]
    pub fn tier(&self, scope: Scope) -> Tier {
        match scope {
            Scope::Mesh => Tier::Mesh,
            Scope::Jurisdiction(jurisdiction) if jurisdiction == self.home => Tier::Home,
            Scope::Jurisdiction(_) | Scope::Subscribers => Tier::Asked,
        }
    }

    /// Takes a record in, whose signatures were checked, or says why not.
    pub fn insert(&mut self, record: &Shared, wall: Timestamp) -> Inserted {
        let key = Key::of(self.tier(record.body.scope), &record.body);
        if let Some(entry) = self.entries.get(&key)
            && (entry.record.hash == record.hash || entry.other.as_ref().is_some_and(|it| it.hash == record.hash))
        {
            return Inserted::Duplicate;
        }
        if self.outranked(&key, record) {
            return Inserted::Stale;
        }
        match self.accept(key, record, wall) {
            Ok(()) => self.replace(key, record),
            Err(reason) => Inserted::Refused(reason),
        }
    }

    /// Whether what is here makes the record old, without looking at its signer.
    fn outranked(&self, key: &Key, record: &Known) -> bool {
        if self.floors.get(key).is_some_and(|floor| record.body.order <= floor.order) {
            return true;
        }
        let Some(entry) = self.entries.get(key) else { return false };
        let ours = &entry.record;
        if record.body.order != ours.body.order {
            return record.body.order < ours.body.order;
        }
        // Two signers at one version contradict nobody: the lower hash is in force. Nor is a third statement news.
        record.hash > ours.hash && (record.signer() != ours.signer() || entry.other.is_some())
    }

    fn accept(&mut self, key: Key, record: &Known, wall: Timestamp) -> Result<(), Refused> {
        let signer = NodeId(record.signer().0);
        let by = self.certified(record, signer, wall)?;
        authority::check(record, signer, &by.certificate, wall)?;
        if let Some(word) = &record.word {
            if Keyring::is_ahead(word, wall) {
                return Err(Refused::Ahead);
            }
            if let Learned::Not(why) = self.keyring.weigh(word) {
                return Err(Refused::Content(why));
            }
        }
        if let Some(rule) = self.rules.get(&key.kind) {
            rule(&record.body, &by.certificate).map_err(Refused::Content)?;
        }
        if !self.admitted.counts(&by.operator) {
            self.check_outsider(key, record, &by.certificate)?;
        }
        self.room(key, record, signer, &by)?;
        if !self.certificates.contains_key(&signer) && self.certificates.len() >= CERTIFICATES_MAX {
            return Err(Refused::SignersFull);
        }
        self.certify(signer, by);
        if let Some(word) = &record.word {
            self.learn(word);
        }
        Ok(())
    }

    fn check_outsider(&self, key: Key, record: &Known, by: &NodeCertificate) -> Result<(), Refused> {
        let rule = self.outsiders.filter(|_| key.kind == Kind::OPERATOR);
        let rule = rule.ok_or(Refused::Outsider("it may only ask to be, until it is"))?;
        rule(&record.body, by).map_err(Refused::Outsider)?;
        let is_another = |known: &&Shared| {
            let signer = self.certificates.get(&NodeId(known.signer().0));
            known.body.subject != key.subject && signer.is_some_and(|by| !self.admitted.counts(&by.operator))
        };
        if self.of_kind(key.tier, Kind::OPERATOR).filter(is_another).count() >= OUTSIDERS_MAX {
            return Err(Refused::OutsidersFull);
        }
        Ok(())
    }

    /// Keeps a certificate that counts, and what it shows of its operator's keys.
    fn certify(&mut self, node: NodeId, by: Certified) {
        if by.certificate.successions.is_some() {
            self.learn(&KeyWord::Lineage(by.certificate.lineage()));
        }
        self.certificates.insert(node, by);
    }

    /// The signer's certificate: the one that came along, or the one known, whichever is later.
    fn certified(&self, record: &Known, signer: NodeId, wall: Timestamp) -> Result<Certified, Refused> {
        let known = self.certificates.get(&signer);
        if let Some(signed) = &record.record.certificate
            && known.is_none_or(|known| known.signed != *signed)
        {
            let shown = self.read_certificate(signed, wall)?;
            if shown.certificate.node != signer {
                return Err(Refused::OtherCertificate);
            }
            if known.is_none_or(|known| known.certificate.serial <= shown.certificate.serial) {
                return Ok(shown);
            }
        }
        let known = known.ok_or(Refused::UnknownSigner)?;
        let expires = known.certificate.expires;
        if expires <= wall {
            return Err(CertificateError::Expired { node: signer, expires }.into());
        }
        Ok(known.clone())
    }

    fn read_certificate(
        &self,
        signed: &Signed<NodeCertificate>,
        wall: Timestamp,
    ) -> Result<Certified, CertificateError> {
        let certificate = NodeCertificate::accept(signed, self.mesh, wall)?;
        let node = certificate.node;
        self.keyring.counts(&certificate, signed.key()).map_err(|why| CertificateError::Void { node, why })?;
        let operator = certificate.operator_id();
        Ok(Certified { signed: signed.clone(), certificate: Arc::new(certificate), operator })
    }

    fn room(&self, key: Key, record: &Known, signer: NodeId, by: &Certified) -> Result<(), Refused> {
        let old = self.entries.get(&key).filter(|old| old.record.signer() == record.signer());
        let old = old.map_or(Held::default(), |old| Held { records: 1, bytes: bytes_of(&old.record) });
        let fits = |held: Option<Held>, records_max: usize, bytes_max: usize| {
            let held = held.unwrap_or_default();
            held.records.saturating_sub(old.records) < records_max
                && held.bytes.saturating_sub(old.bytes) + bytes_of(record) <= bytes_max
        };
        let own = self.by_signer.get(&signer).map(|share| share.held);
        if !fits(own, RECORDS_PER_SIGNER_MAX, BYTES_PER_SIGNER_MAX) {
            return Err(Refused::SignerFull);
        }
        if !fits(self.by_operator.get(&by.operator).copied(), RECORDS_PER_OPERATOR_MAX, usize::MAX) {
            return Err(Refused::OperatorFull);
        }
        let neighbours = self.by_jurisdiction.get(&by.certificate.jurisdiction).copied();
        if !fits(neighbours, RECORDS_PER_JURISDICTION_MAX, BYTES_PER_JURISDICTION_MAX) {
            return Err(Refused::JurisdictionFull);
        }
        Ok(())
    }

    fn replace(&mut self, key: Key, record: &Shared) -> Inserted {
        let mut returns_until = record.body.expires;
        if let Some(floor) = self.floors.remove(&key) {
            self.expiry.remove(&(floor.until, key));
            returns_until = returns_until.max(floor.until);
            self.release(floor.signer, FLOOR);
        }
        let Some(old) = self.entries.remove(&key) else {
            self.put(key, Entry { record: record.clone(), other: None, returns_until });
            return Inserted::Fresh;
        };
        self.expiry.remove(&(old.record.body.expires, key));
        self.release_entry(&old);
        returns_until = returns_until.max(old.returns_until);
        if old.record.body.order < record.body.order || old.record.signer() != record.signer() {
            self.put(key, Entry { record: record.clone(), other: None, returns_until });
            return Inserted::Newer(old.record);
        }
        if planted::has(Planted::ForgottenProof) {
            self.put(key, old);
            return Inserted::Stale;
        }
        let (kept, other) = if record.hash < old.record.hash { (record, &old.record) } else { (&old.record, record) };
        self.put(key, Entry { record: kept.clone(), other: Some(other.clone()), returns_until });
        Inserted::Contradiction { kept: kept.clone(), proof: (kept.clone(), other.clone()) }
    }

    fn put(&mut self, key: Key, entry: Entry) {
        let signer = NodeId(entry.record.signer().0);
        let by =
            self.certificates.get(&signer).expect("a record is put in only by a signer whose certificate is known");
        let (operator, jurisdiction) = (by.operator, by.certificate.jurisdiction);
        let share = self.by_signer.entry(signer).or_insert(Share { held: Held::default(), operator, jurisdiction });
        let (operator, jurisdiction) = (share.operator, share.jurisdiction);
        for held in [
            &mut share.held,
            self.by_operator.entry(operator).or_default(),
            self.by_jurisdiction.entry(jurisdiction).or_default(),
        ] {
            held.records += 1;
            held.bytes += bytes_of(&entry.record);
        }
        self.expiry.insert((entry.record.body.expires, key));
        self.entries.insert(key, entry);
    }

    fn release_entry(&mut self, entry: &Entry) {
        self.release(NodeId(entry.record.signer().0), Held { records: 1, bytes: bytes_of(&entry.record) });
    }

    fn release(&mut self, signer: NodeId, gone: Held) {
        let Some(share) = self.by_signer.get_mut(&signer) else { return };
        share.held = share.held.less(gone);
        let Share { held, operator, jurisdiction } = *share;
        if held.records == 0 {
            self.by_signer.remove(&signer);
        }
        release(&mut self.by_operator, &operator, gone);
        release(&mut self.by_jurisdiction, &jurisdiction, gone);
    }

    /// Takes out what is void at `wall`, oldest expiry first.
    pub fn expire(&mut self, wall: Timestamp) -> Vec<Shared> {
        let mut gone = Vec::new();
        while let Some((at, key)) = self.expiry.first().copied()
            && at <= wall
        {
            self.expiry.remove(&(at, key));
            if let Some(floor) = self.floors.remove(&key) {
                self.release(floor.signer, FLOOR);
                self.forget_signer(floor.signer);
            } else if let Some(entry) = self.entries.remove(&key) {
                let signer = NodeId(entry.record.signer().0);
                if entry.returns_until > wall {
                    // Its place in its signer's share stays taken, so that floors are bounded too.
                    self.release(signer, Held { records: 0, bytes: bytes_of(&entry.record) });
                    let floor = Floor { order: entry.record.body.order, until: entry.returns_until, signer };
                    self.floors.insert(key, floor);
                    self.expiry.insert((floor.until, key));
                } else {
                    self.release_entry(&entry);
                    self.forget_signer(signer);
                }
                gone.push(entry.record);
            }
        }
        gone
    }

    fn forget_signer(&mut self, signer: NodeId) {
        if !self.by_signer.contains_key(&signer) && !self.pinned.contains(&signer) {
            self.certificates.remove(&signer);
        }
    }

    /// When `expire` next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(at, _)| *at)
    }

    /// Keeps a linked peer's certificate for as long as the link is up.
    ///
    /// # Errors
    /// When it does not count.
    pub fn pin(&mut self, signed: &Signed<NodeCertificate>, wall: Timestamp) -> Result<Certified, CertificateError> {
        let shown = self.read_certificate(signed, wall)?;
        let node = shown.certificate.node;
        self.pinned.insert(node);
        let newer = self.certificates.get(&node).filter(|known| known.certificate.serial > shown.certificate.serial);
        let counts = newer.cloned().unwrap_or(shown);
        self.certify(node, counts.clone());
        Ok(counts)
    }

    /// The link is gone: the certificate stays only as long as records of its node do.
    pub fn unpin(&mut self, node: NodeId) {
        self.pinned.remove(&node);
        self.forget_signer(node);
    }

    /// What is known of a node's certificate.
    #[must_use]
    pub fn certificate(&self, node: &NodeId) -> Option<&Certified> {
        self.certificates.get(node)
    }

    /// The record in force.
    #[must_use]
    pub fn find(&self, tier: Tier, kind: Kind, subject: Subject) -> Option<&Shared> {
        self.entries.get(&Key { tier, kind, subject }).map(|entry| &entry.record)
    }

    /// The record in force in whichever tier has one: this node's own first.
    #[must_use]
    pub fn find_any(&self, kind: Kind, subject: Subject) -> Option<&Shared> {
        [Tier::Home, Tier::Mesh, Tier::Asked].into_iter().find_map(|tier| self.find(tier, kind, subject))
    }

    /// The two halves of a contradiction about a subject: the subject is flagged.
    #[must_use]
    pub fn contradiction(&self, tier: Tier, kind: Kind, subject: Subject) -> Option<(&Shared, &Shared)> {
        let entry = self.entries.get(&Key { tier, kind, subject })?;
        entry.other.as_ref().map(|other| (&entry.record, other))
    }

    /// All in force of a tier, by kind and subject.
    pub fn of_tier(&self, tier: Tier) -> impl Iterator<Item = &Shared> {
        self.of_kinds(tier, Kind(0), Kind(u16::MAX))
    }

    /// All in force of a kind in a tier, by subject.
    pub fn of_kind(&self, tier: Tier, kind: Kind) -> impl Iterator<Item = &Shared> {
        self.of_kinds(tier, kind, kind)
    }

    fn of_kinds(&self, tier: Tier, first: Kind, last: Kind) -> impl Iterator<Item = &Shared> {
        let from = Key { tier, kind: first, subject: Subject([0; 32]) };
        let to = Key { tier, kind: last, subject: Subject([u8::MAX; 32]) };
        self.range(from..=to).map(|(_, record)| record)
    }

    pub(super) fn range(&self, keys: RangeInclusive<Key>) -> impl Iterator<Item = (&Key, &Shared)> {
        self.entries.range(keys).map(|(key, entry)| (key, &entry.record))
    }

    pub(super) fn floor_of(&self, keys: RangeInclusive<Key>) -> Option<Order> {
        self.floors.range(keys).next().map(|(_, floor)| floor.order)
    }

    /// How many are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What an expired record that must not return takes of its signer's share.
const FLOOR: Held = Held { records: 1, bytes: 0 };

impl Held {
    fn less(self, gone: Self) -> Self {
        Self { records: self.records - gone.records, bytes: self.bytes - gone.bytes }
    }
}

fn release<K: Ord>(all: &mut BTreeMap<K, Held>, key: &K, gone: Held) {
    let Some(held) = all.get_mut(key) else { return };
    *held = held.less(gone);
    if held.records == 0 {
        all.remove(key);
    }
}

/// What a record costs its signer's share.
fn bytes_of(known: &Known) -> usize {
    let certificate = known.record.certificate.as_ref().map_or(0, |it| it.envelope().payload.len());
    known.record.signed.envelope().payload.len() + certificate
}

//! What is on offer, as seen from here: presences and offers that gossip brought, less what their hosts say is leased,
//! with what is known of each node's health, and candidates that gates of other jurisdictions named. Pure data: the
//! placement stages read it, [`super::Market`] keeps it.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Ask, Named, Offer, WITHHELD_MAX, dominance::dominating, summary::ADDRESS_BYTES_MAX};
use crate::{
    cell::Candidate,
    codec,
    id::{MeshId, NodeId},
    identity::{Admitted, NodeCertificate, PublicKey, Signed},
    membership::{Address, Presence},
    placement::VoterPlace,
    record::{Keyring, Kind, RecordBody, Scope, Shared, Subject},
    time::Timestamp,
};

/// Nodes known of each tier; those beyond it are turned away until others expire. A jurisdiction of more than 1,000
/// nodes is split into districts, so this is never reached by honest peers.
pub const NODES_MAX: usize = 16_384;

/// Candidates of other jurisdictions kept at once; beyond it the one that expires first makes room.
pub const GATHERED_MAX: usize = 1_024;

/// An answer names at most so many candidates.
pub const ANSWER_MAX: usize = 32;

/// A presence names at most so many addresses.
const ADDRESSES_MAX: usize = 8;

/// A node that can be asked for votes and leases.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// Its certificate and offer as signed: what a replica checks later.
    pub candidate: Arc<Candidate>,
    /// Read from it.
    pub certificate: Arc<NodeCertificate>,
    /// Read from it.
    pub offer: Offer,
    /// Certificate and offer count until then.
    pub expires: Timestamp,
    /// Where it can be reached, best first.
    pub addresses: Vec<Address>,
    /// Whose it is, where it stands, under which law.
    pub standing: VoterPlace,
    /// *Capacity is not health*: a node that is down still offers.
    pub health: Health,
    /// From here to it and back, where a link measured it.
    pub round_trip: Option<Duration>,
}

/// Whether a node answers, as far as is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Present, and no verdict against it.
    Up,
    /// Its observers agree that it does not answer.
    Down,
    /// Only heard of from a gate: asking it will tell.
    Unknown,
}

/// Why a record was not taken in. Nothing was changed; its signer may be faulty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The content does not decode, or breaks a bound.
    #[error("{0} cannot be read or breaks a bound")]
    Malformed(&'static str),
    /// Signed by another than it is about, or spread in another jurisdiction than its node's.
    #[error("{0} is not about its signer, or spread where it does not belong")]
    Foreign(&'static str),
    /// The certificate does not count.
    #[error(transparent)]
    Certificate(#[from] crate::identity::CertificateError),
    /// Its operator is no member of the mesh.
    #[error("its operator is not admitted to this mesh")]
    Outsider,
    /// Its operator has taken it back.
    #[error("its certificate counts no more: {0}")]
    Void(#[from] crate::identity::Void),
    /// It said two things at once, and its operator has not explained it.
    #[error("it has contradicted itself, and gets no new votes and leases until its operator explains that")]
    Contradicted,
    /// [`NODES_MAX`] nodes are known.
    #[error("{NODES_MAX} nodes are known, no more are taken in")]
    Full,
}

/// Candidates known here. Every map is bounded by [`NODES_MAX`] or [`GATHERED_MAX`].
#[derive(Clone, Debug)]
pub struct Inventory {
    mesh: MeshId,
    present: BTreeMap<NodeId, Present>,
    offers: BTreeMap<NodeId, Offered>,
    /// `present` ∩ `offers`, and what was gathered of nodes that are not in it.
    capacities: BTreeMap<NodeId, Capacity>,
    gathered: BTreeSet<NodeId>,
    down: BTreeSet<NodeId>,
    round_trips: BTreeMap<NodeId, Duration>,
    admitted: Admitted,
    dominance_permille: Option<u32>,
    keyring: Arc<Keyring>,
}

#[derive(Clone, Debug)]
struct Present {
    signed: Signed<NodeCertificate>,
    certificate: Arc<NodeCertificate>,
    standing: VoterPlace,
    addresses: Vec<Address>,
    draining: bool,
    record: [u8; 32],
}

#[derive(Clone, Debug)]
struct Offered {
    signed: Signed<RecordBody>,
    offer: Offer,
    spread_in: Scope,
    expires: Timestamp,
    record: [u8; 32],
}

impl Inventory {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(mesh: MeshId, keyring: Arc<Keyring>) -> Self {
        Self {
            mesh,
            present: BTreeMap::new(),
            offers: BTreeMap::new(),
            capacities: BTreeMap::new(),
            gathered: BTreeSet::new(),
            down: BTreeSet::new(),
            round_trips: BTreeMap::new(),
            admitted: Admitted::everybody(),
            dominance_permille: None,
            keyring,
        }
    }

    /// Counts only these operators from now on, and lets none of them get more than so many thousandths of what a
    /// jurisdiction offers. What gossip brings of others has been taken back already.
    pub fn count_only(&mut self, admitted: Admitted, dominance_permille: Option<u32>) {
        (self.admitted, self.dominance_permille) = (admitted, dominance_permille);
        let (capacities, admitted) = (&mut self.capacities, &self.admitted);
        self.gathered.retain(|node| {
            let counts = capacities.get(node).is_some_and(|it| admitted.counts(&it.standing.operator));
            if !counts {
                capacities.remove(node);
            }
            counts
        });
    }

    /// What is known of keys changed: whoever counts no more is no candidate any more, and who was barred may be one again.
    pub fn heed(&mut self, keyring: Arc<Keyring>) {
        self.keyring = keyring;
        for node in self.present.keys().copied().collect::<Vec<_>>() {
            self.join(node);
        }
        let welcome = |capacity: &Capacity| {
            let signer = capacity.candidate.certificate.key();
            welcome(&self.keyring, &capacity.certificate, signer).is_ok()
        };
        self.gathered.retain(|node| {
            let keep = self.capacities.get(node).is_some_and(welcome);
            if !keep {
                self.capacities.remove(node);
            }
            keep
        });
    }

    /// Which mesh it is of.
    #[must_use]
    pub const fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// Every node that offers something, by id: what `placement::plan` chooses from.
    pub fn candidates(&self) -> impl Iterator<Item = &Capacity> {
        self.capacities.values()
    }

    /// What a node offers.
    #[must_use]
    pub fn capacity(&self, node: NodeId) -> Option<&Capacity> {
        self.capacities.get(&node)
    }

    /// Whether a node's presence is in force here.
    #[must_use]
    pub fn is_present(&self, node: NodeId) -> bool {
        self.present.contains_key(&node)
    }

    /// Whether its observers agree that a node does not answer.
    #[must_use]
    pub fn is_down(&self, node: NodeId) -> bool {
        self.down.contains(&node)
    }

    /// Nodes that are present, offering or not, and not down: who, standing where, reached how.
    pub fn present(&self) -> impl Iterator<Item = (NodeId, &VoterPlace, &[Address])> {
        let up = self.present.iter().filter(|(node, _)| !self.down.contains(node));
        up.map(|(node, present)| (*node, &present.standing, present.addresses.as_slice()))
    }

    /// Takes in a presence or offer that is new here; other kinds are none of its business.
    ///
    /// # Errors
    /// When it does not count; nothing was changed.
    pub fn learn(&mut self, known: &Shared, wall: Timestamp) -> Result<(), Unusable> {
        match known.body.kind {
            Kind::PRESENCE => self.learn_presence(known, wall),
            Kind::OFFER => self.learn_offer(known),
            _ => Ok(()),
        }
    }

    /// Forgets a record that is void, unless a newer one took its place.
    pub fn expire(&mut self, known: &Shared) {
        let node = NodeId(known.signer().0);
        match known.body.kind {
            Kind::PRESENCE if self.present.get(&node).is_some_and(|present| present.record == known.hash) => {
                self.present.remove(&node);
                self.down.remove(&node);
            }
            Kind::OFFER if self.offers.get(&node).is_some_and(|offered| offered.record == known.hash) => {
                self.offers.remove(&node);
            }
            _ => return,
        }
        self.join(node);
    }

    /// The observers of a node agree that it is down, or back.
    pub fn judge(&mut self, about: NodeId, down: bool) {
        if !down {
            self.down.remove(&about);
        } else if self.down.len() < NODES_MAX {
            self.down.insert(about);
        }
        let gathered = self.gathered.contains(&about);
        if let Some(capacity) = self.capacities.get_mut(&about) {
            capacity.health = health(down, gathered);
        }
    }

    /// A link measured a round trip.
    pub fn measure(&mut self, node: NodeId, round_trip: Duration) {
        if self.round_trips.len() >= NODES_MAX && !self.round_trips.contains_key(&node) {
            return;
        }
        self.round_trips.insert(node, round_trip);
        if let Some(capacity) = self.capacities.get_mut(&node) {
            capacity.round_trip = Some(round_trip);
        }
    }

    /// Keeps a candidate that a gate of another jurisdiction named, until its offer expires. What gossip brings of the
    /// same node counts more.
    ///
    /// # Errors
    /// When it does not count; nothing was changed.
    pub fn gather(&mut self, candidate: Candidate, addresses: &[Address], wall: Timestamp) -> Result<(), Unusable> {
        let certificate = NodeCertificate::accept(&candidate.certificate, self.mesh, wall)?;
        let node = certificate.node;
        welcome(&self.keyring, &certificate, candidate.certificate.key())?;
        let body = candidate.offer.open().map_err(|_| Unusable::Malformed("a gathered offer"))?;
        let by_node = NodeId(candidate.offer.key().0) == node;
        if body.kind != Kind::OFFER || body.scope != Scope::Jurisdiction(certificate.jurisdiction) || !by_node {
            return Err(Unusable::Foreign("a gathered offer"));
        }
        let offer = read_offer(&body, node)?;
        let standing = standing_of(&certificate);
        if !self.admitted.counts(&standing.operator) {
            return Err(Unusable::Outsider);
        }
        if body.expires <= wall || !reachable(addresses) {
            return Err(Unusable::Malformed("a gathered candidate"));
        }
        if self.present.contains_key(&node) && self.offers.contains_key(&node) {
            return Ok(());
        }
        let capacity = Capacity {
            standing,
            expires: body.expires.min(certificate.expires),
            certificate: Arc::new(certificate),
            candidate: Arc::new(candidate),
            offer,
            addresses: addresses.to_vec(),
            health: health(self.down.contains(&node), true),
            round_trip: self.round_trips.get(&node).copied(),
        };
        if self.gathered.insert(node) {
            self.make_room(node);
        }
        self.capacities.insert(node, capacity);
        Ok(())
    }

    /// Forgets gathered candidates whose time is over.
    pub fn sweep(&mut self, wall: Timestamp) {
        let capacities = &mut self.capacities;
        self.gathered.retain(|node| {
            let keep = capacities.get(node).is_some_and(|capacity| wall < capacity.expires);
            if !keep {
                capacities.remove(node);
            }
            keep
        });
    }

    /// What a gate answers: nodes of the asked jurisdiction that are up and have so much free, the cheapest for it
    /// first, but one of each operator before a second of any; and none of an operator that would hold too much.
    #[must_use]
    pub fn answer(&self, ask: &Ask) -> Named {
        let there = self.capacities.values().filter(|capacity| capacity.standing.jurisdiction == ask.jurisdiction);
        let over = self.dominance_permille.map(|cap| dominating(there, &ask.need, cap)).unwrap_or_default();
        let fits = |capacity: &&Capacity| {
            capacity.standing.jurisdiction == ask.jurisdiction
                && capacity.health == Health::Up
                && capacity.offer.free().covers(&ask.need)
        };
        let (withheld, mut fitting): (Vec<_>, Vec<_>) =
            self.capacities.values().filter(fits).partition(|it| over.contains(&it.standing.operator));
        fitting.sort_by_key(|capacity| (capacity.offer.price.per_hour(&ask.need), capacity.offer.node));
        let mut operators = BTreeSet::new();
        let (firsts, seconds): (Vec<_>, Vec<_>) =
            fitting.into_iter().partition(|capacity| operators.insert(capacity.standing.operator));
        let count = usize::try_from(ask.count).unwrap_or(usize::MAX).min(ANSWER_MAX);
        let best_first = firsts.into_iter().chain(seconds).take(count);
        Named {
            candidates: best_first.map(|it| ((*it.candidate).clone(), it.addresses.clone())).collect(),
            withheld: withheld.into_iter().take(WITHHELD_MAX).map(|it| it.offer.node).collect(),
        }
    }

    fn learn_presence(&mut self, known: &Shared, wall: Timestamp) -> Result<(), Unusable> {
        let signed = known.record.certificate.as_ref().ok_or(Unusable::Foreign("a presence without a certificate"))?;
        let certificate = NodeCertificate::accept(signed, self.mesh, wall)?;
        let node = certificate.node;
        if NodeId(known.signer().0) != node {
            return Err(Unusable::Foreign("a presence"));
        }
        let presence: Presence =
            codec::decode("presence", &known.body.content).map_err(|_| Unusable::Malformed("a presence"))?;
        if !reachable(&presence.addresses) {
            return Err(Unusable::Malformed("a presence"));
        }
        if self.present.len() >= NODES_MAX && !self.present.contains_key(&node) {
            return Err(Unusable::Full);
        }
        let present = Present {
            signed: signed.clone(),
            standing: standing_of(&certificate),
            certificate: Arc::new(certificate),
            addresses: presence.addresses,
            draining: presence.draining.is_some(),
            record: known.hash,
        };
        self.present.insert(node, present);
        self.join(node);
        Ok(())
    }

    fn learn_offer(&mut self, known: &Shared) -> Result<(), Unusable> {
        let node = NodeId(known.signer().0);
        let offer = read_offer(&known.body, node)?;
        if self.offers.len() >= NODES_MAX && !self.offers.contains_key(&node) {
            return Err(Unusable::Full);
        }
        let offered = Offered {
            signed: known.record.signed.clone(),
            offer,
            spread_in: known.body.scope,
            expires: known.body.expires,
            record: known.hash,
        };
        self.offers.insert(node, offered);
        self.join(node);
        Ok(())
    }

    /// Puts presence and offer of a node together, if both are there.
    fn join(&mut self, node: NodeId) {
        let (present, offered) = (self.present.get(&node), self.offers.get(&node));
        let (Some(present), Some(offered)) = (present, offered) else {
            if !self.gathered.contains(&node) {
                self.capacities.remove(&node);
            }
            return;
        };
        self.gathered.remove(&node);
        // Its offer may outlive its word that it drains.
        let welcome = !present.draining && welcome(&self.keyring, &present.certificate, present.signed.key()).is_ok();
        if !welcome || offered.spread_in != Scope::Jurisdiction(present.standing.jurisdiction) {
            self.capacities.remove(&node);
            return;
        }
        let candidate = Candidate { certificate: present.signed.clone(), offer: offered.signed.clone() };
        let capacity = Capacity {
            candidate: Arc::new(candidate),
            certificate: Arc::clone(&present.certificate),
            offer: offered.offer.clone(),
            expires: offered.expires.min(present.certificate.expires),
            addresses: present.addresses.clone(),
            standing: present.standing.clone(),
            health: health(self.down.contains(&node), false),
            round_trip: self.round_trips.get(&node).copied(),
        };
        self.capacities.insert(node, capacity);
    }

    /// Makes room for `newcomer` among the gathered: the one that expires first goes.
    fn make_room(&mut self, newcomer: NodeId) {
        if self.gathered.len() <= GATHERED_MAX {
            return;
        }
        let expires = |node: &&NodeId| self.capacities.get(*node).map(|capacity| capacity.expires);
        let others = self.gathered.iter().filter(|node| **node != newcomer);
        if let Some(first) = others.min_by_key(expires).copied() {
            self.gathered.remove(&first);
            self.capacities.remove(&first);
        }
    }
}

/// Whether a node may be given votes and leases, as far as is known of keys.
fn welcome(keyring: &Keyring, certificate: &NodeCertificate, signer: PublicKey) -> Result<(), Unusable> {
    keyring.counts(certificate, signer)?;
    match keyring.barred(certificate.operator_id(), certificate.node) {
        Some(_) => Err(Unusable::Contradicted),
        None => Ok(()),
    }
}

const fn health(down: bool, gathered: bool) -> Health {
    match (down, gathered) {
        (true, _) => Health::Down,
        (false, true) => Health::Unknown,
        (false, false) => Health::Up,
    }
}

fn standing_of(certificate: &NodeCertificate) -> VoterPlace {
    VoterPlace {
        operator: certificate.operator_id(),
        site: certificate.site.clone(),
        jurisdiction: certificate.jurisdiction,
    }
}

fn reachable(addresses: &[Address]) -> bool {
    addresses.len() <= ADDRESSES_MAX && addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX)
}

fn read_offer(body: &RecordBody, node: NodeId) -> Result<Offer, Unusable> {
    let offer: Offer = codec::decode("offer", &body.content).map_err(|_| Unusable::Malformed("an offer"))?;
    if offer.node != node || body.subject != Subject(node.0) {
        return Err(Unusable::Foreign("an offer"));
    }
    Ok(offer)
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;

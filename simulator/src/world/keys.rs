//! Keys that are stolen, and what their owners do: revoke a node, or take an operator's key back by recovery. From then on
//! the nodes concerned are dead to the mesh, though their machines run on as if nothing had happened; the world measures
//! when each other node knows, and looks that none of them deals with the dead.
use std::collections::BTreeMap;

use bocage_protocol::{
    command::{Command, NodeStatus},
    id::PartyId,
    identity::{FOR_EVER, Ruled, Ruling, Signed},
    notice::Notice,
    record::KeyWord,
    time::Timestamp,
};

use super::{SECOND, Waiting, World, watch::ASK_MAX};
use crate::{host::Daemon, measure::Samples, report::Property};

/// By then a stolen key has lost its power at every node that can be reached.
const POWERLESS_WITHIN: u64 = 60 * SECOND;

/// Keys that are dead, and who knows.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    told: Vec<Death>,
    /// By node: certified by a dead key, or revoked.
    pub(super) of_nodes: BTreeMap<u32, u64>,
}

/// Something that every node should know.
#[derive(Debug)]
struct Death {
    about: About,
    at: u64,
    known: BTreeMap<u32, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Node(u32),
    Party(PartyId),
}

impl Deaths {
    /// How long it took until each node knew.
    pub(super) fn samples(&self) -> Samples {
        let mut samples = Samples::default();
        for death in &self.told {
            death.known.values().for_each(|at| samples.add(at - death.at));
        }
        samples
    }
}

impl<D: Daemon> World<D> {
    /// Nodes that run and whose keys count.
    pub(super) fn members(&self) -> Vec<u32> {
        self.running().into_iter().filter(|node| !self.deaths.of_nodes.contains_key(node)).collect()
    }

    /// The operators of these nodes revoke them: the key of each was stolen.
    pub(super) fn revoke(&mut self, nodes: &[u32]) {
        for node in nodes {
            let place = *self.network.place(*node);
            let (lineage, keys) = self.population.lineage(place.operator);
            let id = self.hosts[*node as usize].id;
            let made = self.wall();
            let operator = lineage.genesis.operator();
            let ruling = Ruling { operator, node: id, below: FOR_EVER, resolved: 0, made };
            let signed = Signed::seal(&keys, &ruling);
            self.deaths.of_nodes.insert(*node, self.at);
            self.deaths.told.push(Death { about: About::Node(*node), at: self.at, known: BTreeMap::new() });
            self.tell(KeyWord::Ruling(Ruled { lineage, signed }));
        }
    }

    /// The operators of these nodes take their keys back: whoever stole one has certified these. All their other nodes get
    /// new certificates.
    pub(super) fn recover(&mut self, nodes: &[u32]) {
        let mut operators: Vec<u32> = nodes.iter().map(|node| self.network.place(*node).operator).collect();
        operators.sort_unstable();
        operators.dedup();
        let at = self.at;
        self.deaths.of_nodes.extend(nodes.iter().map(|node| (*node, at)));
        for operator in operators {
            let lineage = self.population.recover(operator, self.wall());
            let about = About::Party(lineage.genesis.party_id());
            self.deaths.told.push(Death { about, at: self.at, known: BTreeMap::new() });
            let theirs: Vec<u32> = (0..u32::try_from(self.hosts.len()).unwrap_or(u32::MAX))
                .filter(|node| self.network.place(*node).operator == operator && !nodes.contains(node))
                .collect();
            for node in theirs {
                let place = *self.network.place(node);
                let identity = self.population.identity(node, &place);
                let certificate = Box::new(identity.signed_certificate().clone());
                self.host(node).identity = identity;
                if self.runs(node) {
                    self.ask(node, Waiting::Told, None, Command::Certificate(certificate), ASK_MAX);
                }
            }
            self.tell(KeyWord::Lineage(lineage));
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp(crate::clock::EPOCH_MS + self.at / super::MILLI)
    }

    /// Tells some node, as its operator does who sits at another one.
    fn tell(&mut self, word: KeyWord) {
        let members = self.members();
        let Some(told) = self.streams.faults.index(members.len()).map(|index| members[index]) else { return };
        self.ask(told, Waiting::Told, None, Command::Word(Box::new(word)), ASK_MAX);
    }

    /// A node says what it has learnt of keys.
    pub(super) fn learnt(&mut self, node: u32, notice: &Notice) {
        // Whoever's own key is dead is told nothing: nobody has a link to it.
        if self.deaths.of_nodes.contains_key(&node) {
            return;
        }
        let about = match notice {
            Notice::Ruled { node, .. } => self.numbers.get(node).map(|number| About::Node(*number)),
            Notice::Succeeded { party, .. } => Some(About::Party(*party)),
            _ => None,
        };
        let at = self.at;
        if let Some(death) = self.deaths.told.iter_mut().rev().find(|death| Some(death.about) == about) {
            death.known.entry(node).or_insert(at);
        }
    }

    /// A node says whom it deals with: nobody whose key has been dead for long enough.
    pub(super) fn deals(&mut self, node: u32, status: &NodeStatus) {
        if self.deaths.of_nodes.contains_key(&node) {
            return;
        }
        for peer in &status.peers {
            let Some(number) = self.numbers.get(&peer.node) else { continue };
            let dead = self.deaths.of_nodes.get(number).is_some_and(|since| self.at > since + POWERLESS_WITHIN);
            if dead {
                let what = format!("it deals with node {number}, whose key has been dead for a minute");
                self.violated(Property::Keys, Some(node), what);
            }
        }
    }

    /// At the end every member knows of every death.
    pub(super) fn check_deaths(&mut self) {
        let members = self.members();
        let missing: Vec<(u32, About)> = self
            .deaths
            .told
            .iter()
            .flat_map(|death| {
                members.iter().filter(|node| !death.known.contains_key(node)).map(|node| (*node, death.about))
            })
            .collect();
        for (node, about) in missing {
            self.violated(Property::Keys, Some(node), format!("it never learnt that the key of {about:?} is dead"));
        }
    }
}

//! Who there is: operators, sites, nodes, tenants, with keys and certificates that follow from the seed alone.
use std::time::Duration;

use bocage_protocol::{
    cell::CellConfig,
    charter::{Ballot, Charter, ELECTORS_MAX, Matter, Motion},
    command::Terms,
    config::Config,
    id::{MeshId, NodeId},
    identity::{
        Envelope, Founding, Genesis, Keypair, Lineage, NodeCertificate, NodeIdentity, Party, PublicKey, Signed,
    },
    membership,
    random::Seed,
    resources::{Jurisdiction, Price, Resources, Site},
    time::Timestamp,
    wire::{WIRE_NEWEST, WireRange},
};

use crate::{
    clock::EPOCH_MS,
    geo::{self, Access},
    policy::Chosen,
    scenario::{self, Knobs, Scenario, Select},
};

/// Where a node stands. Numbers index [`Population`]'s lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) operator: u32,
    pub(crate) site: u32,
    /// Nobody can dial it.
    pub(crate) at_home: bool,
    /// By number in the table of cities.
    pub(crate) city: Option<u16>,
    pub(crate) access: Option<Access>,
}

/// All parties of a world.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) mesh: MeshId,
    founding: Option<Founding>,
    /// Keys of founders that are gone.
    founders: Vec<Keypair>,
    seed: Seed,
    operators: Vec<Operator>,
    sites: Vec<String>,
    /// Of the nodes that the mesh starts with.
    pub(crate) places: Vec<Place>,
    knobs: Knobs,
    chosen: Chosen,
}

#[derive(Debug)]
struct Operator {
    /// The current one.
    keys: Keypair,
    recovery: Keypair,
    lineage: Lineage,
    /// By the electorate.
    admitted: bool,
}

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Parties and certificates were made a day before the world begins, so that no node's wrong clock comes before them.
const MADE: Timestamp = Timestamp(EPOCH_MS - 24 * 3_600 * 1_000);

/// What every node offers.
pub(crate) fn terms() -> Terms {
    let total = Resources { cpu_millis: 16_000, memory_bytes: 32 << 30, disk_bytes: 1 << 40 };
    let currency = "EUR".parse().expect("EUR is a currency");
    let price = Price { currency, cpu_core_hour: 1_000_000, memory_gib_hour: 300_000, disk_gib_hour: 5_000 };
    Terms { total, price }
}

impl Population {
    pub(crate) fn new(scenario: &Scenario, seed: Seed) -> Self {
        let mut this = Self {
            mesh: MeshId::of(&seed.split("mesh").0),
            founding: None,
            founders: Vec::new(),
            seed,
            operators: Vec::new(),
            sites: Vec::new(),
            places: Vec::new(),
            knobs: scenario.knobs.clone(),
            chosen: Chosen::of(&scenario.knobs),
        };
        let mut counts = std::collections::BTreeMap::<Jurisdiction, u32>::new();
        for group in &scenario.population {
            for _ in 0..group.operators {
                let count = counts.entry(group.jurisdiction).or_default();
                *count += 1;
                let name = format!("{}-{count}", group.jurisdiction);
                this.settle(&name, group);
            }
        }
        this.found(scenario.absent_founders);
        this
    }

    /// Founds the mesh. One of very many operators is left without a charter: its founding would fill no record.
    fn found(&mut self, absent: u32) {
        let names: Vec<String> = (1..=absent).map(|number| format!("founder-{number}")).collect();
        let founders = names.iter().map(|name| self.keys("operator", name.as_bytes())).collect();
        self.founders = founders;
        let absent = names.iter().zip(&self.founders);
        let mut operators: Vec<Genesis> =
            absent.map(|(name, keys)| Genesis::new(Party::Operator, name, keys.public(), MADE)).collect();
        if operators.is_empty() {
            let admitted = self.operators.iter().filter(|operator| operator.admitted);
            operators = admitted.map(|operator| operator.lineage.genesis.clone()).collect();
        }
        if operators.len() <= ELECTORS_MAX {
            let founding = Founding { name: "simulated".into(), operators, founded: MADE };
            self.mesh = founding.mesh();
            self.founding = Some(founding);
        }
    }

    /// By what an operator is a member: its motion with the ballots of all absent founders.
    fn certificate(&self, operator: &Operator) -> Option<Vec<Envelope>> {
        let founding = self.founding.as_ref().filter(|_| !self.founders.is_empty() && operator.admitted)?;
        let charter = Charter::first(founding).hash();
        let matter = Matter::Admit { operator: operator.lineage.genesis.clone(), invite: None };
        let motion = Motion { mesh: self.mesh, charter, matter, made: MADE };
        let motion = Signed::seal(&operator.keys, &motion);
        let mut statements = vec![motion.envelope().clone()];
        for (founder, keys) in founding.operators.iter().zip(&self.founders) {
            let ballot = Ballot { motion: motion.hash(), elector: founder.operator(), yes: true, at: MADE };
            statements.push(Signed::seal(keys, &ballot).envelope().clone());
        }
        Some(statements)
    }

    fn settle(&mut self, name: &str, group: &scenario::Population) {
        let (jurisdiction, sites, at_home) = (group.jurisdiction, group.sites.max(1), group.at_home);
        let keys = self.keys("operator", name.as_bytes());
        let recovery = self.keys("recovery", name.as_bytes());
        let mut genesis = Genesis::new(Party::Operator, name, keys.public(), MADE);
        genesis.recovery = vec![recovery.public()];
        genesis.threshold = 1;
        let operator = u32::try_from(self.operators.len()).expect("operators are fewer than nodes");
        self.operators.push(Operator { keys, recovery, lineage: Lineage::first(genesis), admitted: group.admitted });
        let first = u32::try_from(self.sites.len()).expect("sites are fewer than nodes");
        self.sites.extend((1..=sites).map(|site| format!("{name}/{site}")));
        let cities: Vec<u16> = group.cities().filter_map(|city| geo::find(city.get_ref()).ok()).collect();
        for node in 0..group.nodes {
            let site = node % sites;
            let city = cities.get(site as usize % cities.len().max(1)).copied();
            let access = group.access;
            self.places.push(Place { jurisdiction, operator, site: first + site, at_home, city, access });
        }
    }

    /// Where the nodes stand that the mesh starts with.
    pub(crate) fn seats(&self) -> Vec<scenario::Seat> {
        let seat = |place: &Place| scenario::Seat {
            operator: self.operator_name(place).to_owned(),
            jurisdiction: place.jurisdiction,
            site: Site(self.sites[place.site as usize].clone()),
        };
        self.places.iter().map(seat).collect()
    }

    /// The key of a party or node.
    pub(crate) fn keys(&self, kind: &str, of: &[u8]) -> Keypair {
        Keypair::from_secret(&self.seed.split("keys").split_for(kind, of).0)
    }

    /// An operator's keys until now, and the current one.
    pub(crate) fn lineage(&self, operator: u32) -> (Lineage, Keypair) {
        let operator = &self.operators[operator as usize];
        (operator.lineage.clone(), operator.keys.clone())
    }

    /// An operator takes its key back by its recovery key.
    pub(crate) fn recover(&mut self, number: u32, made: Timestamp) -> Lineage {
        let operator = &self.operators[number as usize];
        let after = operator.lineage.successions.len();
        let mut of = number.to_be_bytes().to_vec();
        of.extend(after.to_be_bytes());
        let new = self.keys("recovered", &of);
        let lineage = operator.lineage.recover(after, &[&operator.recovery], &new, made);
        let operator = &mut self.operators[number as usize];
        operator.lineage = lineage.expect("one recovery key is enough in this world");
        operator.keys = new;
        operator.lineage.clone()
    }

    /// The identity of the node with this number at this place, certified by its operator.
    pub(crate) fn identity(&self, number: u32, place: &Place) -> NodeIdentity {
        let keys = self.keys("node", &number.to_be_bytes());
        let operator = &self.operators[place.operator as usize];
        let certificate = NodeCertificate {
            mesh: self.mesh,
            operator: operator.lineage.genesis.clone(),
            node: keys.node(),
            site: Site(self.sites[place.site as usize].clone()),
            jurisdiction: place.jurisdiction,
            domains: Vec::new(),
            not_before: MADE,
            expires: MADE + YEAR,
            serial: 1 + operator.lineage.successions.len() as u64,
            sealing: PublicKey(self.seed.split_for("sealing", &number.to_be_bytes()).0),
            successions: (!operator.lineage.successions.is_empty()).then(|| operator.lineage.successions.clone()),
        };
        let signed = Signed::seal(&operator.keys, &certificate);
        NodeIdentity::new(keys, signed, self.mesh, Timestamp(EPOCH_MS)).expect("the certificate is valid for a year")
    }

    /// The settings of a node that starts with these peers to dial.
    pub(crate) fn config(
        &self,
        number: u32,
        life: u32,
        place: &Place,
        identity: &NodeIdentity,
        bootstrap: &[(u32, NodeId)],
    ) -> Config {
        let operator = self.operators.iter().find(|it| it.lineage.genesis == identity.certificate().operator);
        let knobs = &self.knobs;
        let mut cell = CellConfig::default();
        knobs.tick_ms.inspect(|tick| cell.tick = Duration::from_millis(*tick));
        knobs.snapshot_entries.inspect(|entries| cell.snapshot_entries = *entries);
        knobs.lease_ms.inspect(|lease| cell.lease = Duration::from_millis(*lease));
        let mut membership = self.chosen.membership();
        knobs.active_max.inspect(|active| membership.active_max = *active);
        knobs.observers.inspect(|observers| membership.observers = *observers);
        knobs.probe_ms.inspect(|probe| membership.probe = Duration::from_millis(*probe));
        knobs.repair_ms.inspect(|repair| membership.repair = Duration::from_millis(*repair));
        Config {
            mesh: self.mesh,
            identity: identity.clone(),
            founding: self.founding.clone(),
            request: operator.and_then(|operator| self.certificate(operator)),
            zone: "bocage.test".into(),
            bootstrap: bootstrap.iter().map(|(number, node)| (*node, vec![address(*number)])).collect(),
            announce: if place.at_home { Vec::new() } else { vec![address(number)] },
            // Where nobody is at home nobody needs a relay.
            relays: !place.at_home && self.places.iter().any(|place| place.at_home),
            offer: Some(terms()),
            cell,
            wire: self.wire(number, life),
            membership,
            policies: self.chosen.policies.clone(),
        }
    }

    /// What a place's operator is called.
    pub(crate) fn operator_name(&self, place: &Place) -> &str {
        &self.operators[place.operator as usize].lineage.genesis.name
    }

    /// What a place's site is called.
    pub(crate) fn site_name(&self, place: &Place) -> &str {
        &self.sites[place.site as usize]
    }

    /// Whether the electorate admitted a place's operator.
    pub(crate) fn is_admitted(&self, place: &Place) -> bool {
        self.operators[place.operator as usize].admitted
    }

    /// Whether not all nodes speak the same wire versions.
    pub(crate) fn is_mixed(&self) -> bool {
        self.knobs.previous_wire_per_mille > 0
    }

    /// What the node with this number speaks in this life, counted from 1.
    pub(crate) fn wire(&self, number: u32, life: u32) -> WireRange {
        let share = u64::from(self.knobs.previous_wire_per_mille.min(1_000));
        let before = |number: u64| number * share / 1_000;
        let upgraded = self.knobs.upgraded_at_restart && life > 1;
        let is_previous = !upgraded && before(u64::from(number) + 1) > before(u64::from(number));
        let newest = if is_previous { WIRE_NEWEST - 1 } else { WIRE_NEWEST };
        WireRange::up_to(newest).expect("this code speaks the previous version")
    }

    /// The tenant of an app.
    pub(crate) fn tenant(&self, app: &str) -> (Keypair, Signed<Genesis>) {
        let keys = self.keys("tenant", app.as_bytes());
        let genesis = Genesis::new(Party::Tenant, &format!("tenant of {app}"), keys.public(), MADE);
        let signed = Signed::seal(&keys, &genesis);
        (keys, signed)
    }

    /// Whether the node with this number at this place is among those selected, `any` aside.
    pub(crate) fn matches(&self, select: &Select, number: u32, place: &Place) -> bool {
        let operator = &self.operators[place.operator as usize].lineage.genesis.name;
        let city = place.city.map(|city| &geo::cities()[usize::from(city)]);
        select.node.is_none_or(|node| node == number)
            && select.nodes.is_none_or(|[first, last]| (first..=last).contains(&number))
            && select.operator.as_ref().is_none_or(|name| name == operator)
            && select.site.as_ref().is_none_or(|name| *name == self.sites[place.site as usize])
            && select.jurisdiction.is_none_or(|jurisdiction| jurisdiction == place.jurisdiction)
            && select.access.is_none_or(|access| place.access == Some(access))
            && select.city.as_ref().is_none_or(|name| city.is_some_and(|city| city.name == *name))
            && select.country.as_ref().is_none_or(|code| city.is_some_and(|city| city.country == *code))
    }
}

/// Where a node is reached: in this world a node's address is its number.
pub(crate) fn address(number: u32) -> membership::Address {
    format!("/sim/{number}")
}

/// What the sockets of a node behind a NAT say: of no use to anybody else.
pub(crate) fn address_at_home(number: u32) -> membership::Address {
    format!("/ip4/192.168.0.1/sim/{number}")
}

/// The number in an address.
pub(crate) fn number_of(address: &str) -> Option<u32> {
    address.strip_prefix("/sim/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_follow_from_the_seed_alone_and_stand_where_the_scenario_says() {
        let text = "name = \"x\"\nduration_s = 1\n[[population]]\njurisdiction = \"FR\"\noperators = 2\nsites = 2\nnodes = 3\n";
        let scenario = Scenario::parse(text).unwrap();
        let [one, same] = [7, 7].map(|seed| Population::new(&scenario, Seed([seed; 32])));
        let other = Population::new(&scenario, Seed([8; 32]));
        let node = |population: &Population| population.identity(3, &population.places[3]).node();
        assert_eq!(node(&one), node(&same));
        assert_ne!(node(&one), node(&other));
        let sites: Vec<&str> = one.places.iter().map(|place| one.sites[place.site as usize].as_str()).collect();
        assert_eq!(sites, ["FR-1/1", "FR-1/2", "FR-1/1", "FR-2/1", "FR-2/2", "FR-2/1"]);
        let select = Select { site: Some("FR-2/2".into()), ..Select::default() };
        let matching = (0..6).filter(|number| one.matches(&select, *number, &one.places[*number as usize]));
        assert_eq!(matching.collect::<Vec<_>>(), [4]);
        assert_eq!(number_of(&address(41)), Some(41));
    }
}

//! Who lies in this world: lies are told between a liar's node and its links, so the node inside is the one that ships.
use std::collections::{BTreeMap, BTreeSet};

use bocage_protocol::{frame::Frame, id::NodeId, io::Path, random::Rng, wire::WIRE_NEWEST};

use super::{Beat, SECOND, WORLD, World};
use crate::{
    host::Daemon,
    liar::{self, Act, Lie, Stage},
    network::end,
    population::address,
    report::{LiarsShown, Property},
    scenario,
    world::Event,
};

/// Liars act of their own accord so often.
const TICK: u64 = SECOND;

/// One lie of one node.
struct Liar {
    lie: Box<dyn Lie>,
    /// Its line in the report.
    shown: usize,
    /// After the mesh stood, in nanoseconds.
    from: u64,
    until: u64,
}

/// All of them.
pub(super) struct Liars {
    all: Vec<Liar>,
    /// Lies of each node, in order of the scenario.
    of: BTreeMap<u32, Vec<usize>>,
    /// Every liar, whether it lies just now or not, and every node whose operator is not admitted.
    dishonest: BTreeSet<u32>,
    ring: BTreeSet<NodeId>,
    /// Whom an eclipse surrounds.
    pub(super) targets: BTreeSet<u32>,
    pub(super) shown: Vec<LiarsShown>,
    rng: Rng,
}

impl Liars {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            all: Vec::new(),
            of: BTreeMap::new(),
            dishonest: BTreeSet::new(),
            ring: BTreeSet::new(),
            targets: BTreeSet::new(),
            shown: Vec::new(),
            rng,
        }
    }

    pub(super) fn is_honest(&self, node: u32) -> bool {
        !self.dishonest.contains(&node)
    }

    pub(super) fn are_there(&self) -> bool {
        !self.dishonest.is_empty()
    }
}

impl<D: Daemon> World<D> {
    /// Draws the liars, before anybody starts.
    pub(super) fn plan_liars(&mut self) {
        let declared: Vec<scenario::Liar> = self.scenario.liar.iter().map(|liar| liar.get_ref().clone()).collect();
        for (number, liar) in (0u64..).zip(declared) {
            let stream = self.seed.split("liars").split_for("chosen", &number.to_be_bytes());
            let target = liar.target.as_ref().and_then(|target| self.selected(target, false, stream).first().copied());
            self.liars.targets.extend(target);
            let mut nodes = self.selected(&liar.who, false, stream);
            nodes.retain(|node| Some(*node) != target);
            let shown = self.liars.shown.len();
            self.liars.shown.push(LiarsShown { what: liar.what, nodes: nodes.len() as u64, touched: 0 });
            let target = target.map(|target| self.hosts[target as usize].id);
            for node in nodes {
                let until = liar.until_s.map_or(u64::MAX, |until| until * SECOND);
                let lie = liar::of(liar.what, target);
                self.liars.of.entry(node).or_default().push(self.liars.all.len());
                self.liars.all.push(Liar { lie, shown, from: liar.from_s * SECOND, until });
                self.make_dishonest(node);
            }
        }
        for node in 0..u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers") {
            if !self.population.is_admitted(self.network.place(node)) {
                self.make_dishonest(node);
            }
        }
        if !self.liars.all.is_empty() {
            self.queue.push(self.at + TICK, WORLD, Event::Beat(Beat::Lies));
        }
    }

    fn make_dishonest(&mut self, node: u32) {
        self.liars.dishonest.insert(node);
        let id = self.hosts[node as usize].id;
        self.liars.ring.insert(id);
    }

    /// Honest nodes that run, by number.
    pub(super) fn honest(&self) -> Vec<u32> {
        self.members().into_iter().filter(|node| self.liars.is_honest(*node)).collect()
    }

    /// Calls `tell` for each lie that a node tells now.
    fn lies_of(&mut self, node: u32, mut tell: impl FnMut(&mut dyn Lie, &mut Stage)) {
        // A lie without a beginning is told from the first moment on.
        let since = self.stood.map_or(0, |stood| self.at - stood);
        let Liars { all, of, ring, shown, rng, .. } = &mut self.liars;
        let host = &self.hosts[node as usize];
        let now = host.clock.now(self.at);
        for lie in of.get(&node).into_iter().flatten() {
            let liar = &mut all[*lie];
            if (liar.from..liar.until).contains(&since) {
                let touched = &mut shown[liar.shown].touched;
                let mut stage = Stage { me: node, now, identity: &host.identity, ring, rng, touched };
                tell(&mut *liar.lie, &mut stage);
            }
        }
    }

    /// A node's frame, as it leaves.
    pub(super) fn as_told(&mut self, node: u32, to: NodeId, frame: Frame) -> Option<Frame> {
        if !self.liars.of.contains_key(&node) {
            return Some(frame);
        }
        let mut told = Some(frame);
        self.lies_of(node, |lie, stage| told = told.take().and_then(|frame| lie.leaves(stage, to, frame)));
        told
    }

    /// Whether the node inside hears a frame that arrives.
    pub(super) fn hears(&mut self, node: u32, from: u32, frame: &Frame) -> bool {
        if !self.liars.of.contains_key(&node) {
            return true;
        }
        let from = self.hosts[from as usize].id;
        let (mut hears, mut acts) = (true, Vec::new());
        self.lies_of(node, |lie, stage| hears &= lie.arrives(stage, from, frame, &mut acts));
        self.act_on(node, acts);
        hears
    }

    /// Whether a liar keeps a link that the node inside would close: a ring does not let go of its target.
    pub(super) fn keeps_link(&self, node: u32, peer: NodeId) -> bool {
        let target = |target: &u32| self.hosts[*target as usize].id == peer;
        self.liars.of.contains_key(&node) && self.liars.targets.iter().any(target)
    }

    /// Liars act of their own accord.
    pub(super) fn lie_on(&mut self) {
        let liars: Vec<u32> = self.liars.of.keys().copied().filter(|node| self.runs(*node)).collect();
        for node in liars {
            let open = |peer: &u32| self.network.known(node, *peer).is_some_and(|link| link.up[end(node, *peer)]);
            let peers: Vec<NodeId> = self.hosts[node as usize]
                .peers
                .iter()
                .copied()
                .filter(open)
                .map(|peer| self.hosts[peer as usize].id)
                .collect();
            let mut acts = Vec::new();
            self.lies_of(node, |lie, stage| lie.tick(stage, &peers, &mut acts));
            self.act_on(node, acts);
        }
        self.queue.push(self.at + TICK, WORLD, Event::Beat(Beat::Lies));
    }

    fn act_on(&mut self, node: u32, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(to, frame) => {
                    let wire = self.numbers.get(&to).map_or(WIRE_NEWEST, |peer| self.spoken_between(node, *peer));
                    self.carry(node, to, wire, frame);
                }
                Act::Dial(peer) => {
                    if let Some(number) = self.numbers.get(&peer).copied() {
                        self.dial(node, peer, &Path::Direct(vec![address(number)]));
                    }
                }
            }
        }
    }

    /// The wire version of a link, as its two ends agree on it.
    fn spoken_between(&self, node: u32, peer: u32) -> u16 {
        let newest = |node: u32| self.population.wire(node, self.hosts[node as usize].life).newest();
        newest(node).min(newest(peer))
    }

    /// A declared lie that changed nothing is told.
    pub(super) fn idle_liars(&mut self) {
        if !self.scenario.check.faults {
            return;
        }
        let idle = self.liars.shown.iter().filter(|shown| shown.touched == 0);
        let what: Vec<String> = idle
            .map(|shown| format!("the declared {:?} of {} nodes touched nothing", shown.what, shown.nodes))
            .collect();
        for what in what {
            self.violated(Property::Fault, None, what);
        }
    }
}

//! Stories of the market.
use super::*;
use crate::capacity::fixture::{TestNode, WALL, law, mesh, price};

/// A market with its clock.
struct Stand {
    node: TestNode,
    market: Market,
    now: Now,
}

impl Stand {
    fn open(node: &TestNode, terms: Option<Terms>) -> Self {
        let now = Now { instant: Instant::START, wall: WALL };
        let market = Market::open(Seed([1; 32]), node.identity.clone(), mesh(), terms, now);
        Self { node: node.clone(), market, now }
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.market.poll_output()).collect()
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.market.handle_input(self.now, input);
        self.drain()
    }

    /// Lets `time` pass, firing each deadline when it is due.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now.instant + time;
        let mut outputs = Vec::new();
        while let Some(due) = self.market.poll_timeout().filter(|due| due.at <= end) {
            self.pass_until(due.at);
            self.market.handle_timeout(self.now);
            outputs.extend(self.drain());
        }
        self.pass_until(end);
        outputs
    }

    fn pass_until(&mut self, at: Instant) {
        self.now.wall = self.now.wall + at.since(self.now.instant);
        self.now.instant = self.now.instant.max(at);
    }
}

fn terms() -> Terms {
    let total = Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, disk_bytes: 10 << 30 };
    Terms { total, price: price("EUR", 1_000) }
}

fn ada() -> TestNode {
    TestNode::new("ada", "ada-1", "attic", "FR")
}

fn cpu(cpu_millis: u64) -> Resources {
    Resources { cpu_millis, ..Resources::default() }
}

fn offers(outputs: &[Output]) -> Vec<Offer> {
    published(outputs, Kind::OFFER).map(|draft| codec::decode("offer", &draft.content).unwrap()).collect()
}

fn summaries(outputs: &[Output]) -> Vec<Summary> {
    published(outputs, Kind::SUMMARY).map(|draft| codec::decode("summary", &draft.content).unwrap()).collect()
}

fn published(outputs: &[Output], kind: Kind) -> impl Iterator<Item = &Draft> {
    outputs.iter().filter_map(move |output| match output {
        Output::Publish(draft) if draft.kind == kind => Some(draft),
        Output::Publish(_) | Output::Gates(_) | Output::Notice(_) => None,
    })
}

#[test]
fn an_offer_goes_out_at_the_start_and_again_at_half_its_life() {
    let mut stand = Stand::open(&ada(), Some(terms()));
    let first = offers(&stand.wait(Duration::ZERO));
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].node, first[0].total), (ada().id(), terms().total));
    assert_eq!(offers(&stand.wait(LIFETIME / 2)).len(), 1);
    assert_eq!(offers(&stand.wait(Duration::from_mins(10))).len(), 10);
}

#[test]
fn only_a_material_change_of_use_is_announced_at_once() {
    let mut stand = Stand::open(&ada(), Some(terms()));
    stand.wait(Duration::from_secs(5));
    assert!(stand.give(Input::Used(cpu(100))).is_empty());
    assert_eq!(offers(&stand.wait(SETTLE)), []);
    stand.give(Input::Used(cpu(101)));
    let announced = offers(&stand.wait(SETTLE));
    assert_eq!(announced.iter().map(|offer| offer.used).collect::<Vec<_>>(), [cpu(101)]);
}

#[test]
fn a_burst_of_changes_goes_out_as_one_and_ends_with_the_last() {
    let mut stand = Stand::open(&ada(), Some(terms()));
    stand.wait(Duration::from_secs(5));
    stand.give(Input::Used(cpu(200)));
    let mut announced = offers(&stand.wait(Duration::ZERO));
    for used in [300, 500, 700, 900] {
        stand.give(Input::Used(cpu(used)));
        announced.extend(offers(&stand.wait(Duration::from_millis(10))));
    }
    announced.extend(offers(&stand.wait(Duration::from_secs(1))));
    assert_eq!(announced.iter().map(|offer| offer.used).collect::<Vec<_>>(), [cpu(200), cpu(900)]);
}

#[test]
fn a_withdrawn_offer_is_announced_as_nothing_and_never_renewed() {
    let mut stand = Stand::open(&ada(), Some(terms()));
    stand.wait(Duration::from_secs(5));
    stand.give(Input::Terms(None));
    let withdrawn = offers(&stand.wait(Duration::from_mins(10)));
    assert_eq!(withdrawn.iter().map(|offer| offer.total).collect::<Vec<_>>(), [Resources::default()]);
    assert_eq!(stand.market.offer(), None);
}

#[test]
fn a_node_that_never_offered_announces_nothing_until_it_does() {
    let mut stand = Stand::open(&ada(), None);
    assert_eq!(offers(&stand.wait(Duration::from_mins(5))), []);
    stand.give(Input::Terms(Some(terms())));
    assert_eq!(offers(&stand.wait(Duration::ZERO)).len(), 1);
}

/// Six nodes of three operators in France, each with a market that knows all of them.
fn france() -> Vec<Stand> {
    let nodes: Vec<_> = (0..6).map(|n| TestNode::new(&format!("op{}", n % 3), &format!("n{n}"), "s", "FR")).collect();
    let mut stands: Vec<_> = nodes.iter().map(|node| Stand::open(node, Some(terms()))).collect();
    for stand in &mut stands {
        for node in &nodes {
            stand.give(Input::Learned(node.presence()));
            stand.give(Input::Learned(node.offered(1)));
        }
    }
    stands
}

#[test]
fn two_nodes_of_two_operators_sum_up_a_jurisdiction_and_say_the_same() {
    let mut stands = france();
    let said: Vec<_> = stands.iter_mut().map(|stand| summaries(&stand.wait(Duration::from_secs(2)))).collect();
    let spoke: Vec<_> = said.iter().flatten().collect();
    assert_eq!(spoke.len(), 2);
    assert_eq!(spoke[0], spoke[1]);
    assert_eq!((spoke[0].nodes, spoke[0].total.cpu_millis), (6, 6 * 4_000));
    assert_eq!(spoke[0].gates.len(), 3, "one gate an operator");
    assert_eq!(spoke[0].cheapest, [("EUR".parse().unwrap(), 1_000)]);
}

#[test]
fn the_chore_moves_on_after_ten_minutes_and_is_renewed_meanwhile() {
    let mut stands = france();
    let mut spoke = std::collections::BTreeSet::new();
    for _ in 0..12 {
        for stand in &mut stands {
            if !summaries(&stand.wait(Duration::from_mins(10))).is_empty() {
                spoke.insert(stand.node.id());
            }
        }
    }
    assert!(spoke.len() > 2, "{} of 6 ever summed up in two hours", spoke.len());
}

#[test]
fn a_gate_that_is_down_is_replaced_in_the_next_summary() {
    let mut stands = france();
    let said: Vec<_> = stands.iter_mut().map(|stand| summaries(&stand.wait(Duration::from_secs(2)))).collect();
    let at = said.iter().position(|said| !said.is_empty()).unwrap();
    let own = stands[at].node.id();
    let (gate, _) = said[at][0].gates.iter().find(|(gate, _)| *gate != own).unwrap().clone();
    stands[at].give(Input::Verdict { about: gate, down: true });
    let next = summaries(&stands[at].wait(Duration::from_secs(1)));
    assert!(!next.is_empty() && next.iter().all(|summary| summary.gates.iter().all(|(other, _)| *other != gate)));
}

#[test]
fn gates_of_all_jurisdictions_are_told_once_when_they_change() {
    let mut stands = france();
    let said: Vec<_> =
        stands.iter_mut().map(|stand| (stand.node.clone(), stand.wait(Duration::from_secs(2)))).collect();
    let mut abroad = Stand::open(&TestNode::new("eve", "eve-1", "eaves", "DE"), None);
    let mut told = Vec::new();
    let mut records = Vec::new();
    for (node, outputs) in &said {
        for draft in published(outputs, Kind::SUMMARY) {
            let record = node.published(draft.clone(), WALL.0);
            told.extend(abroad.give(Input::Learned(record.clone())));
            records.push(record);
        }
    }
    let [Output::Gates(gates)] = &told[..] else { panic!("told {told:?}") };
    assert_eq!(gates.len(), 1);
    assert_eq!((gates[0].0, gates[0].1.len()), (law("FR"), 3));

    assert!(abroad.give(Input::Expired(records[0].clone())).is_empty(), "the other summary names them still");
    assert_eq!(abroad.give(Input::Expired(records[1].clone())), [Output::Gates(Vec::new())]);
}

#[test]
fn nobody_sums_up_anothers_jurisdiction() {
    let eve = TestNode::new("eve", "eve-1", "eaves", "DE");
    let mut stand = Stand::open(&ada(), None);
    let summary = Summary {
        jurisdiction: law("FR"),
        district: 0,
        total: Resources::default(),
        used: Resources::default(),
        nodes: 1,
        gates: vec![(eve.id(), vec![eve.address()])],
        cheapest: Vec::new(),
    };
    let lie = |summary: &Summary| eve.record(Kind::SUMMARY, Scope::Mesh, Subject([0; 32]), codec::encode(summary), 1);
    let refused = stand.give(Input::Learned(lie(&summary)));
    assert!(matches!(&refused[..], [Output::Notice(Notice::RecordRefused { from, .. })] if *from == eve.id()));
    let crowded = Summary { jurisdiction: law("DE"), gates: vec![(eve.id(), Vec::new()); 5], ..summary };
    let refused = stand.give(Input::Learned(lie(&crowded)));
    assert!(matches!(&refused[..], [Output::Notice(Notice::RecordRefused { .. })]));
    assert_eq!(stand.market.summaries().count(), 0);
}

#[test]
fn candidates_of_a_gate_enter_the_inventory_and_liars_are_named() {
    let (eve, gate) = (TestNode::new("eve", "eve-1", "eaves", "DE"), TestNode::new("dan", "dan-1", "den", "DE"));
    let mut stand = Stand::open(&ada(), None);
    let good = vec![(eve.candidate(), vec![eve.address()])];
    assert!(stand.give(Input::Gathered { from: gate.id(), candidates: good }).is_empty());
    assert!(stand.market.inventory().capacity(eve.id()).is_some());
    let mixed = Candidate { certificate: gate.candidate().certificate, offer: eve.candidate().offer };
    let told = stand.give(Input::Gathered { from: gate.id(), candidates: vec![(mixed, Vec::new())] });
    assert!(matches!(&told[..], [Output::Notice(Notice::RecordRefused { from, .. })] if *from == gate.id()));
}

#[test]
fn one_operator_that_names_forty_gates_in_the_newest_summaries_hides_none_of_the_others() {
    let node = |operator: &str, name: &str| TestNode::new(operator, name, "s", "DE");
    let mut stand = Stand::open(&ada(), None);
    let gates: Vec<_> = (0..4).map(|n| node(&format!("op{n}"), &format!("gate{n}"))).collect();
    let summary = |district: u32, gates: &[TestNode]| Summary {
        jurisdiction: law("DE"),
        district,
        total: Resources::default(),
        used: Resources::default(),
        nodes: 4,
        gates: gates.iter().map(|gate| (gate.id(), vec![gate.address()])).collect(),
        cheapest: Vec::new(),
    };
    let mut learn = |by: &TestNode, summary: &Summary, version: u64| {
        let subject = Summary::subject(summary.jurisdiction, summary.district, by.id());
        stand.give(Input::Learned(by.record(Kind::SUMMARY, Scope::Mesh, subject, codec::encode(summary), version)))
    };
    for by in &gates[..2] {
        learn(by, &summary(0, &gates), 1);
    }
    let liar = node("liar", "liar-1");
    let mut told = Vec::new();
    for district in 0..10 {
        let own: Vec<_> = (0..4).map(|n| node("liar", &format!("own-{district}-{n}"))).collect();
        told.extend(learn(&liar, &summary(district, &own), 9));
    }
    let Some(Output::Gates(known)) = told.last() else { panic!("told {told:?}") };
    let known: Vec<_> = known[0].1.iter().map(|(gate, _)| *gate).collect();
    assert!(gates.iter().all(|gate| known.contains(&gate.id())), "{known:?}");
    let refused = (10..100).find(|district| {
        let outputs = learn(&liar, &summary(*district, &gates), 9);
        outputs.iter().any(|output| matches!(output, Output::Notice(Notice::RecordRefused { .. })))
    });
    assert_eq!(refused, Some(32), "nor does it keep others' summaries out");
}

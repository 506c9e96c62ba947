//! Stories of placement, and properties: every plan keeps its policy, whatever the mesh; the same mesh in any order gives
//! the same plan; where brute force finds voters, so does the plan.
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    capacity::{
        Capacity, Health,
        fixture::{EXPIRES, TestNode, WALL, capacity as capacity_of, law, price},
    },
    cell::Role,
    id::{NodeId, ReplicaId},
    resources::{Money, Resources},
};

const INSTANCE: Resources = Resources { cpu_millis: 1_000, memory_bytes: 0, disk_bytes: 0 };

/// (operator, node, site, jurisdiction, price of a core).
type Row = (&'static str, &'static str, &'static str, &'static str, u64);

/// The five operators of the demo.
const DEMO: [Row; 5] = [
    ("ada", "ada-1", "attic", "FR", 1_000),
    ("bob", "bob-1", "barn", "FR", 900),
    ("dan", "dan-1", "den", "DE", 1_100),
    ("bea", "bea-1", "booth", "BE", 1_200),
    ("cai", "cai-1", "canal", "CN", 500),
];

fn mesh(rows: &[Row]) -> Vec<Capacity> {
    let node = |(operator, name, site, law, price): &Row| {
        capacity_of(&TestNode::new(operator, name, site, law).asking(*price))
    };
    rows.iter().map(node).collect()
}

fn policy(home: &[&str], away: &[&str]) -> Policy {
    let laws = |codes: &[&str]| codes.iter().map(|code| law(code)).collect();
    let replica = Resources { cpu_millis: 500, ..Resources::default() };
    Policy { home: laws(home), away: laws(away), replica, instance: INSTANCE, ..Policy::default() }
}

fn all(policy: Policy) -> Request {
    Request {
        policy,
        current: Vec::new(),
        want: Want::All,
        exclude: BTreeSet::new(),
        withheld: BTreeSet::new(),
        at: WALL,
        salt: 0,
    }
}

fn as_current(capacity: &Capacity, role: Role, number: u64) -> Current {
    let (node, standing) = (capacity.offer.node, capacity.standing.clone());
    Current { role, number, node, standing, price_per_hour: 500 }
}

/// Those with the highest price first, by the rules.
#[derive(Debug)]
struct Dearest;

impl Placing for Dearest {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        let rank = |capacity: &Capacity| u64::MAX - capacity.offer.price.cpu_core_hour;
        plan_ranked(request, inventory.iter().copied(), &rank)
    }
}

/// As many votes as asked for, all of the one that the rules would take first.
#[derive(Debug)]
struct Lawless;

impl Placing for Lawless {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        let mut plan = plan(request, inventory.iter().copied())?;
        let first = plan.voters[0].clone();
        plan.voters.fill(first);
        Ok(plan)
    }
}

#[test]
fn another_placement_orders_the_lawful_as_it_likes_and_is_held_to_the_rules() {
    let (request, mesh) = (all(policy(&["FR", "DE", "BE"], &[])), mesh(&DEMO));
    let dearest = plan_by(Some(&Dearest), &request, &mesh).unwrap();
    // cai asks least but stands elsewhere, and is in nobody's plan.
    assert_eq!(names(&dearest.voters), ["bea", "dan", "ada"]);
    assert_eq!(plan_by(None, &request, &mesh).unwrap(), plan(&request, &mesh).unwrap());
    assert_ne!(names(&plan(&request, &mesh).unwrap().voters), names(&dearest.voters));
    let refused = plan_by(Some(&Lawless), &request, &mesh).unwrap_err();
    assert_eq!(refused.rule, Rule::Policy);
    assert!(refused.message.contains("Lawless made a plan that breaks"), "{}", refused.message);
}

#[test]
fn another_placement_that_is_too_dear_gives_way_to_the_cheapest() {
    let mesh = mesh(&DEMO);
    let monthly = |plan: &Plan| plan.price_per_hour * HOURS_A_MONTH;
    let at_most = |minor| {
        let max_price = Some(Money { minor, currency: "EUR".parse().unwrap() });
        plan_by(Some(&Dearest), &all(Policy { max_price, ..policy(&["FR", "DE", "BE"], &[]) }), &mesh).unwrap()
    };
    let (dear, cheap) = (at_most(3), at_most(2));
    assert!(monthly(&dear) > 2 * MICRO && monthly(&cheap) <= 2 * MICRO);
    assert_eq!((names(&dear.voters), names(&cheap.voters)), (vec!["bea", "dan", "ada"], vec!["bob", "ada", "dan"]));
}

/// A plan, checked.
fn planned(request: &Request, mesh: &[Capacity]) -> Result<Plan, Unplaceable> {
    let plan = plan(request, mesh)?;
    check(request, &plan).unwrap();
    Ok(plan)
}

fn names(placed: &[Placed]) -> Vec<&str> {
    placed.iter().map(|placed| placed.operator_name.as_str()).collect()
}

/// What a person is shown.
fn shown(plan: &Plan, mesh: &[Capacity]) -> String {
    let name = |node: &NodeId| {
        let of = mesh.iter().find(|capacity| capacity.offer.node == *node);
        of.map_or("nobody", |capacity| capacity.certificate.operator.name.as_str())
    };
    let mut text = format!("grade {:?}, {} micro-units an hour\n", plan.grade, plan.price_per_hour);
    for (role, placed) in [("voter", &plan.voters), ("instance", &plan.instances)] {
        for Placed { operator_name, why, .. } in placed {
            let _ = writeln!(text, "{role} {operator_name}: {why}");
        }
    }
    for (node, reason) in &plan.rejected {
        let _ = writeln!(text, "not {}: {reason}", name(node));
    }
    text
}

#[test]
fn the_demo_gets_a_voter_in_each_home_and_an_instance_away() {
    let mesh = mesh(&DEMO);
    let plan = planned(&all(policy(&["FR", "DE", "BE"], &["CN"])), &mesh).unwrap();
    assert_eq!(plan.grade, Grade::Jurisdiction);
    insta::assert_snapshot!(shown(&plan, &mesh));
}

#[test]
fn where_home_is_one_jurisdiction_the_cheapest_operators_win() {
    let mut rows = DEMO.to_vec();
    rows.extend([("fay", "fay-1", "farm", "FR", 5_000), ("gus", "gus-1", "gate", "FR", 100)]);
    let plan = planned(&all(policy(&["FR"], &[])), &mesh(&rows)).unwrap();
    assert_eq!((names(&plan.voters), plan.grade), (vec!["gus", "bob", "ada"], Grade::Site));
}

#[test]
fn a_node_next_door_is_preferred_to_a_slightly_cheaper_one_far_away() {
    let mut mesh = mesh(&[("ada", "a", "s1", "FR", 1_000), ("bob", "b", "s2", "FR", 900)]);
    mesh[0].round_trip = Some(Duration::from_millis(2));
    mesh[1].round_trip = Some(Duration::from_millis(300));
    let plan = planned(&all(Policy { voters: 1, ..policy(&["FR"], &[]) }), &mesh).unwrap();
    assert_eq!(names(&plan.voters), ["ada"]);
    assert!(plan.voters[0].why.contains("2nd cheapest of 2 operators there, 2 ms away"), "{}", plan.voters[0].why);
}

/// The cheapest of bob's nodes stands where ada's only node stands: taking the cheapest first would find two voters.
#[test]
fn a_plan_is_found_even_where_taking_the_cheapest_first_would_fail() {
    let mesh = mesh(&[
        ("bob", "b1", "shared", "FR", 1),
        ("bob", "b2", "barn", "FR", 900),
        ("ada", "a1", "shared", "FR", 1_000),
        ("dan", "d1", "den", "FR", 1_000),
    ]);
    let plan = planned(&all(policy(&["FR"], &[])), &mesh).unwrap();
    assert_eq!(
        plan.voters.iter().map(|voter| voter.standing.site.0.as_str()).collect::<Vec<_>>(),
        ["barn", "den", "shared"]
    );
}

#[test]
fn too_few_operators_are_refused_with_what_would_help() {
    let mut mesh = mesh(&DEMO);
    mesh[2].health = Health::Down;
    let refused = planned(&all(policy(&["FR", "DE"], &[])), &mesh).unwrap_err();
    assert_eq!(refused.rule, Rule::Voters);
    insta::assert_snapshot!(refused, @r#"home FR, DE needs 3 operators, 2 offer enough (left out: 1 down): add a jurisdiction to home, ask for less in [resources], or set allow_degraded"#);
}

#[test]
fn operators_in_one_building_are_refused_with_what_would_help() {
    let mesh = mesh(&[("ada", "a", "pa3", "FR", 1), ("bob", "b", "pa3", "FR", 1), ("eve", "e", "pa3", "FR", 1)]);
    let refused = planned(&all(policy(&["FR"], &[])), &mesh).unwrap_err();
    insta::assert_snapshot!(refused, @"home FR needs 3 operators at distinct sites, 3 operators offer enough, but at most 1 stand apart (sites of one name under one law count as one): add a jurisdiction to home, ask for less in [resources], or set allow_degraded");
    let degraded = planned(&all(Policy { allow_degraded: true, ..policy(&["FR"], &[]) }), &mesh).unwrap();
    assert_eq!((degraded.voters.len(), degraded.grade), (3, Grade::Operator));
}

#[test]
fn a_mesh_of_one_or_two_operators_lives_degraded() {
    let degraded = Policy { allow_degraded: true, ..policy(&[], &[]) };
    let one = mesh(&DEMO[..1]);
    assert_eq!(planned(&all(degraded.clone()), &one).unwrap().voters.len(), 1);
    let two = mesh(&DEMO[..2]);
    assert_eq!(planned(&all(degraded.clone()), &two).unwrap().voters.len(), 1);
    let three_nodes = mesh(&[("ada", "a1", "s1", "FR", 1), ("ada", "a2", "s1", "FR", 1), ("bob", "b1", "s2", "FR", 9)]);
    let plan = planned(&all(degraded), &three_nodes).unwrap();
    assert_eq!((plan.voters.len(), plan.grade), (3, Grade::Nothing));
    assert!(plan.voters.iter().any(|voter| voter.why.contains("as allow_degraded allows")));
}

#[test]
fn five_voters_degrade_to_three_rather_than_share_an_operator() {
    let degraded = Policy { voters: 5, allow_degraded: true, ..policy(&["FR", "DE", "BE"], &[]) };
    let plan = planned(&all(degraded), &mesh(&DEMO)).unwrap();
    assert_eq!((plan.voters.len(), plan.grade), (3, Grade::Jurisdiction));
}

#[test]
fn the_side_that_keeps_the_quorum_in_a_cut_gets_a_majority() {
    let mut policy = policy(&["FR", "DE", "BE"], &[]);
    policy.cut.home_cut = Some(law("FR"));
    let plan = planned(&all(policy.clone()), &mesh(&DEMO)).unwrap();
    let there = plan.voters.iter().filter(|voter| voter.standing.jurisdiction == law("FR")).count();
    assert_eq!((there, plan.voters.len()), (2, 3));

    policy.cut.home_cut = Some(law("BE"));
    let refused = planned(&all(policy), &mesh(&DEMO)).unwrap_err();
    assert_eq!(refused.rule, Rule::HomeCut);
    assert!(refused.message.starts_with("home_cut = \"BE\" needs 2 operators at distinct sites in BE"), "{refused}");
}

#[test]
fn a_price_that_only_the_cheapest_plan_meets_gives_up_spread_not_safety() {
    let mut rows = DEMO.to_vec();
    rows.push(("fay", "fay-1", "farm", "FR", 950));
    (rows[2].4, rows[3].4) = (3_000, 3_000);
    let mesh = mesh(&rows);
    let money = |minor| Some(Money { minor, currency: "EUR".parse().unwrap() });
    let at = |minor| planned(&all(Policy { max_price: money(minor), ..policy(&["FR", "DE", "BE"], &[]) }), &mesh);
    // Half a core for each of three voters and a core for one instance, 730 hours, in millionths of a cent.
    assert_eq!(at(2).unwrap().grade, Grade::Site, "2 cents buy the three in France");
    assert_eq!(at(4).unwrap().grade, Grade::Jurisdiction);
    let refused = at(1).unwrap_err();
    assert_eq!(refused.rule, Rule::Price);
    insta::assert_snapshot!(refused, @"the cheapest plan found costs 2 minor units of EUR a month, max_price is 1: raise max_price, lower scale.min or voters, or ask for less in [resources]");
}

#[test]
fn who_asks_in_another_currency_cannot_serve() {
    let mut mesh = mesh(&DEMO);
    mesh[0] = capacity_of(&TestNode {
        offer: crate::capacity::Offer { price: price("USD", 1), ..mesh[0].offer.clone() },
        ..TestNode::new("ada", "ada-1", "attic", "FR")
    });
    let plan = planned(&all(policy(&["FR", "DE", "BE"], &[])), &mesh).unwrap();
    assert_eq!(names(&plan.voters), ["bob", "dan", "bea"]);
    let reason = plan.rejected.iter().find(|(node, _)| *node == mesh[0].offer.node).unwrap().1;
    assert_eq!(reason.to_string(), "it asks USD; this plan is made in EUR");
}

#[test]
fn instances_spread_over_operators_next_to_voters_first() {
    let mut policy = policy(&["FR", "DE", "BE"], &["CN"]);
    policy.scale = Scale { min: 4, max: 20, target_concurrency: 50 };
    let plan = planned(&all(policy.clone()), &mesh(&DEMO)).unwrap();
    let hosts = names(&plan.instances);
    let voters: BTreeSet<_> = names(&plan.voters).into_iter().collect();
    assert_eq!(hosts[..3].iter().copied().collect::<BTreeSet<_>>(), voters);
    assert_eq!(hosts[4], "cai", "and one away");

    policy.scale = Scale { min: 4, max: 4, target_concurrency: 50 };
    assert_eq!(planned(&all(policy.clone()), &mesh(&DEMO)).unwrap().instances.len(), 4, "none away beyond max");
    policy.scale = Scale { min: 0, max: 4, target_concurrency: 50 };
    assert_eq!(planned(&all(policy.clone()), &mesh(&DEMO)).unwrap().instances.len(), 0);
    policy.scale = Scale { min: 5, max: 5, target_concurrency: 50 };
    let refused = planned(&all(policy), &mesh(&DEMO)).unwrap_err();
    assert_eq!(refused.rule, Rule::Instances);
    assert!(refused.message.starts_with("home FR, DE, BE has room for 4 of 5 instances"), "{refused}");
}

#[test]
fn a_vote_and_an_instance_on_one_node_must_fit_together() {
    let mut mesh = mesh(&DEMO[..3]);
    for capacity in &mut mesh {
        *capacity = with_used(capacity, 3_000);
    }
    let request = all(policy(&["FR", "DE"], &[]));
    let refused = planned(&request, &mesh).unwrap_err();
    assert_eq!(refused.rule, Rule::Instances, "half a core is left beside each vote");
}

fn with_used(capacity: &Capacity, cpu_millis: u64) -> Capacity {
    let certificate = &capacity.certificate;
    let mut node = TestNode::new(
        &certificate.operator.name,
        &format!("{}-1", certificate.operator.name),
        &certificate.site.0,
        certificate.jurisdiction.as_str(),
    );
    node.offer = capacity.offer.clone();
    node.offer.used = Resources { cpu_millis, ..Resources::default() };
    capacity_of(&node)
}

#[test]
fn a_lost_voter_is_replaced_where_its_loss_left_a_gap() {
    let mut rows = DEMO.to_vec();
    rows.extend([("fay", "fay-1", "farm", "DE", 9_000), ("ada", "ada-2", "annex", "DE", 1)]);
    let mut mesh = mesh(&rows);
    mesh[2].health = Health::Down;
    let current = [0, 2, 3].map(|at| as_current(&mesh[at], Role::Vote, at as u64 + 1));
    let want = Want::Replica { replaces: Some(ReplicaId(3)) };
    let request = Request { current: current.to_vec(), want, ..all(policy(&["FR", "DE", "BE"], &[])) };
    let plan = planned(&request, &mesh).unwrap();
    assert_eq!((names(&plan.voters), plan.grade), (vec!["fay"], Grade::Jurisdiction));
    insta::assert_snapshot!(plan.voters[0].why, @"DE is home; the 2nd cheapest of 2 operators there; site farm differs from the others");
    let ada = plan.rejected.iter().find(|(node, _)| *node == mesh[6].offer.node).unwrap();
    assert_eq!(ada.1, Reason::SameOperator);
    assert!(plan.rejected.contains(&(mesh[0].offer.node, Reason::HasReplica)));

    let without = Request { exclude: BTreeSet::from([mesh[5].offer.node]), ..request.clone() };
    assert_eq!(names(&planned(&without, &mesh).unwrap().voters), ["bob"]);
    let nobody = Request { exclude: BTreeSet::from([mesh[5].offer.node, mesh[1].offer.node]), ..request };
    assert_eq!(planned(&nobody, &mesh).unwrap_err().rule, Rule::Voters);
}

#[test]
fn a_lost_voter_of_the_side_that_keeps_the_quorum_is_replaced_there() {
    let mut rows = DEMO.to_vec();
    rows.push(("fay", "fay-1", "farm", "FR", 9_000));
    let mesh = mesh(&rows);
    let mut policy = policy(&["FR", "DE", "BE"], &[]);
    policy.cut.home_cut = Some(law("FR"));
    let current = [0, 1, 2].map(|at| as_current(&mesh[at], Role::Vote, at as u64 + 1)).to_vec();
    let exclude = BTreeSet::from([mesh[1].offer.node]);
    let want = Want::Replica { replaces: Some(ReplicaId(2)) };
    let request = Request { current, want, exclude, ..all(policy) };
    assert_eq!(names(&planned(&request, &mesh).unwrap().voters), ["fay"]);
}

#[test]
fn one_more_instance_goes_where_there_is_none_yet() {
    let mesh = mesh(&DEMO);
    let policy = policy(&["FR", "DE", "BE"], &["CN"]);
    let mut current: Vec<_> = [0, 2, 3].map(|at| as_current(&mesh[at], Role::Vote, at as u64 + 1)).to_vec();
    let want = |current: &[Current]| {
        let request = Request { current: current.to_vec(), want: Want::Instance, ..all(policy.clone()) };
        planned(&request, &mesh).map(|plan| plan.instances[0].operator_name.clone())
    };
    let mut order = Vec::new();
    while let Ok(host) = want(&current) {
        let of = mesh.iter().find(|capacity| capacity.certificate.operator.name == host).unwrap();
        current.push(as_current(of, Role::Instance, order.len() as u64 + 1));
        order.push(host);
    }
    assert_eq!(order, ["ada", "cai", "dan", "bea", "bob"]);
}

#[test]
fn a_copy_goes_where_an_instance_runs_already_and_an_instance_where_the_copy_is() {
    let mut rows = DEMO.to_vec();
    rows.extend([("cao", "cao-1", "cave", "CN", 900), ("cen", "cen-1", "cellar", "CN", 100)]);
    let mesh = mesh(&rows);
    let policy = policy(&["FR", "DE", "BE"], &["CN"]);
    let mut current: Vec<_> = [0, 2, 3].map(|at| as_current(&mesh[at], Role::Vote, at as u64 + 1)).to_vec();
    let want = Want::Copy { law: law("CN"), replaces: None };
    let plan_of = |current: &[Current], want| {
        let request = Request { current: current.to_vec(), want, ..all(policy.clone()) };
        planned(&request, &mesh)
    };
    let plan = plan_of(&current, want).unwrap();
    assert_eq!(names(&plan.voters), ["cen"], "the cheapest");
    assert!(plan.voters[0].why.contains("a copy for reads there"), "{}", plan.voters[0].why);
    assert_eq!(plan.grade, Grade::Jurisdiction, "it is no vote");
    current.push(as_current(&mesh[5], Role::Instance, 1));
    assert_eq!(names(&plan_of(&current, want).unwrap().voters), ["cao"]);
    current.push(as_current(&mesh[5], Role::Learn, 4));
    assert_eq!(
        names(&plan_of(&current, Want::Copy { law: law("CN"), replaces: Some(ReplicaId(4)) }).unwrap().voters),
        ["cao"]
    );
    let beside = mesh[6].offer.node;
    assert_eq!(names(&plan_of(&current, Want::InstanceOn(beside)).unwrap().instances), ["cen"]);
    assert!(plan_of(&current, Want::Copy { law: law("NL"), replaces: None }).is_err());
    let vote = Want::Replica { replaces: Some(ReplicaId(1)) };
    assert_eq!(names(&plan_of(&current, vote).unwrap().voters).len(), 1, "a copy stands in no voter's way");
}

#[test]
fn an_excluded_expired_or_withdrawn_offer_does_not_serve() {
    let mesh = mesh(&DEMO);
    let excluded = Request { exclude: mesh.iter().map(|node| node.offer.node).collect(), ..all(policy(&[], &[])) };
    let refused = planned(&excluded, &mesh).unwrap_err();
    assert!(
        refused.message.contains("the mesh needs 3 operators, 0 offer enough (left out: 5 that said no)"),
        "{refused}"
    );
    let late = Request { at: EXPIRES, ..all(policy(&[], &[])) };
    assert!(planned(&late, &mesh).is_err());
    let nothing = Policy { replica: Resources::default(), instance: Resources::default(), ..policy(&[], &[]) };
    let withdrawn: Vec<_> = mesh.iter().map(|capacity| with_used(capacity, u64::MAX)).collect();
    assert!(planned(&all(nothing.clone()), &mesh).is_ok());
    assert!(planned(&all(nothing), &withdrawn).is_ok(), "a need of nothing fits beside a full core");
}

#[test]
fn whoever_holds_the_charters_share_already_is_left_out_and_people_are_told() {
    let mesh = mesh(&DEMO);
    let (dominant, others) = mesh.split_first().unwrap();
    let withheld = BTreeSet::from([dominant.offer.node]);
    let request = Request { withheld, ..all(policy(&[], &[])) };
    let plan = planned(&request, others).unwrap();
    let why = plan.rejected.iter().find(|(node, _)| *node == dominant.offer.node).unwrap().1;
    assert_eq!(why, Reason::Dominant);
    assert!(why.to_string().contains("bocage charter show"));
    let refused = planned(&request, &others[..2]).unwrap_err();
    assert!(refused.message.contains("1 of operators that hold the charter's share already"), "{refused}");
    let named = planned(&request, &mesh).unwrap();
    assert!(named.rejected.iter().all(|(_, why)| *why != Reason::Dominant), "another gate named it: it is asked");
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_whoever_sent_it() {
    let mesh = mesh(&DEMO);
    let scale = |min, max| Scale { min, max, target_concurrency: 1 };
    for wrong in [
        Policy { voters: 0, ..Policy::default() },
        Policy { voters: 4, ..Policy::default() },
        Policy { voters: u32::MAX, ..Policy::default() },
        Policy { scale: scale(2, 1), ..Policy::default() },
        Policy { scale: scale(u32::MAX, u32::MAX), ..Policy::default() },
        policy(&["FR"], &["FR"]),
    ] {
        assert_eq!(planned(&all(wrong), &mesh).unwrap_err().rule, Rule::Policy);
    }
}

#[test]
fn a_reason_stays_short_however_long_a_name_is() {
    let long: &'static str = Box::leak("é".repeat(500).into_boxed_str());
    let mesh = mesh(&[("a", "a", long, "FR", 1), ("b", "b", "s2", "FR", 1), ("c", "c", "s3", "FR", 1)]);
    let plan = planned(&all(policy(&["FR"], &[])), &mesh).unwrap();
    assert!(plan.voters.iter().any(|voter| voter.why.ends_with('…')));
}

const LAWS: [&str; 4] = ["FR", "DE", "BE", "CN"];

prop_compose! {
    fn any_node()(
        operator in 0..6_u8, site in 0..5_u8, at in 0..4_usize, asks in 1..5_000_u64, used in 0..4_500_u64,
        down in 0..8_u8, round_trip in 0..500_u64,
    ) -> (u8, u8, usize, u64, u64, u8, u64) {
        (operator, site, at, asks, used, down, round_trip)
    }
}

prop_compose! {
    fn any_mesh()(nodes in prop::collection::vec(any_node(), 0..14)) -> Vec<Capacity> {
        nodes.into_iter().enumerate().map(|(n, (operator, site, at, asks, used, down, round_trip))| {
            let mut node = TestNode::new(&format!("op{operator}"), &format!("n{n}"), &format!("s{site}"), LAWS[at]).asking(asks);
            node.offer.used = Resources { cpu_millis: used, ..Resources::default() };
            let mut capacity = capacity_of(&node);
            capacity.health = if down == 0 { Health::Down } else { Health::Up };
            capacity.round_trip = (round_trip < 300).then(|| Duration::from_millis(round_trip));
            capacity
        }).collect()
    }
}

prop_compose! {
    fn any_policy()(
        home in 0..5_usize, away: bool, voters in prop::sample::select(vec![1_u32, 3, 5]), degraded: bool,
        cut in prop::option::of(0..2_usize), min in 0..4_u32, more in 0..3_u32, cents in prop::option::of(1..12_u64),
    ) -> Policy {
        let home = LAWS[..home.min(3)].to_vec();
        let mut policy = policy(&home, if away { &["CN"] } else { &[] });
        policy.cut.home_cut = cut.filter(|at| *at < home.len()).map(|at| law(home[at]));
        policy.voters = voters;
        policy.allow_degraded = degraded;
        policy.scale = Scale { min, max: (min + more).max(1), target_concurrency: 50 };
        policy.max_price = cents.map(|minor| Money { minor, currency: "EUR".parse().unwrap() });
        policy
    }
}

/// Whether so many nodes of distinct operators at distinct sites can vote, by trying all of them.
fn exists(policy: &Policy, mesh: &[Capacity], taken: &mut Vec<usize>, from: usize) -> bool {
    if taken.len() == policy.voters as usize {
        let side = |side| taken.iter().filter(|at| mesh[**at].standing.jurisdiction == side).count();
        return policy.voters == 1 || policy.cut.home_cut.is_none_or(|law| side(law) > taken.len() / 2);
    }
    (from..mesh.len()).any(|at| {
        let capacity = &mesh[at];
        let law = capacity.standing.jurisdiction;
        let home = if policy.home.is_empty() { !policy.away.contains(&law) } else { policy.home.contains(&law) };
        let serves = home && capacity.health != Health::Down && capacity.offer.free().covers(&policy.replica);
        let apart = taken.iter().all(|other| {
            let other = &mesh[*other].standing;
            other.operator != capacity.standing.operator
                && (other.jurisdiction, &other.site) != (law, &capacity.standing.site)
        });
        if !serves || !apart {
            return false;
        }
        taken.push(at);
        let found = exists(policy, mesh, taken, at + 1);
        taken.pop();
        found
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_plan_keeps_its_policy(mesh in any_mesh(), policy in any_policy()) {
        let request = all(policy);
        if let Ok(plan) = plan(&request, &mesh) {
            prop_assert_eq!(check(&request, &plan), Ok(()));
        }
    }

    #[test]
    fn the_order_of_the_inventory_changes_nothing(
        (mesh, shuffled) in any_mesh().prop_flat_map(|mesh| (Just(mesh.clone()), Just(mesh).prop_shuffle())),
        policy in any_policy(),
    ) {
        let request = all(policy);
        prop_assert_eq!(plan(&request, &mesh), plan(&request, &shuffled));
    }

    #[test]
    fn voters_are_found_exactly_where_there_are_any(mesh in any_mesh(), policy in any_policy()) {
        let scale = Scale { min: 0, max: 1, target_concurrency: 1 };
        let policy = Policy { allow_degraded: false, max_price: None, scale, ..policy };
        let found = plan(&all(policy.clone()), &mesh).is_ok();
        prop_assert_eq!(found, exists(&policy, &mesh, &mut Vec::new(), 0));
    }

    #[test]
    fn every_repair_keeps_its_policy(mesh in any_mesh(), policy in any_policy(), lost in 0..3_usize) {
        let Ok(founded) = plan(&all(policy.clone()), &mesh) else { return Ok(()) };
        let of = |placed: &Placed| mesh.iter().find(|capacity| capacity.offer.node == placed.node).unwrap();
        let numbered = |role| move |(n, placed): (usize, &Placed)| as_current(of(placed), role, n as u64 + 1);
        let mut has: Vec<_> = founded.voters.iter().enumerate().map(numbered(Role::Vote)).collect();
        has.extend(founded.instances.iter().enumerate().map(numbered(Role::Instance)));
        let lost = lost % founded.voters.len();
        let want = Want::Replica { replaces: Some(ReplicaId(lost as u64 + 1)) };
        let exclude = BTreeSet::from([founded.voters[lost].node]);
        let request = Request { current: has, want, exclude, ..all(policy) };
        for request in [request.clone(), Request { want: Want::Instance, ..request }] {
            if let Ok(plan) = plan(&request, &mesh) {
                prop_assert_eq!(check(&request, &plan), Ok(()));
            }
        }
    }
}

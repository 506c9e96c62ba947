use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    birth::host_of,
    codec,
    context::Context,
    id::{CellId, InstanceId, NodeId, RequestId, TenantId},
    identity::{Keypair, Signed},
    machine::Machine,
    record::{Kind, Known, Order, Record, RecordBody, Scope, Shared, Subject},
    time::{Instant, Now, Timestamp},
};

fn at(ms: u64) -> Now {
    Now { instant: Instant::START + Duration::from_millis(ms), ..Now::default() }
}

fn step(router: &mut Router, now: Now, input: Input) -> Vec<Output> {
    router.handle_input(now, input);
    std::iter::from_fn(|| router.poll_output()).collect()
}

/// A binding of `cell` that its one voter signs.
fn router() -> Router {
    Router::new(NodeId::of(b"me"), "FR".parse().unwrap(), "zone".into())
}

fn binding(cell: CellId, voter: &Keypair) -> Shared {
    let tenant = TenantId::of(b"tenant");
    let binding = Binding {
        host: host_of("app", tenant, "zone"),
        cell,
        tenant,
        app: "app".into(),
        voters: vec![(voter.node(), "FR".parse().unwrap())],
        addresses: Vec::new(),
    };
    let body = RecordBody {
        kind: Kind::BINDING,
        scope: Scope::Mesh,
        subject: Subject::of(binding.host.as_bytes()),
        order: Order { line: 1, generation: 1, version: 1 },
        expires: Timestamp(u64::MAX),
        content: codec::encode(&binding),
    };
    let record = Record { signed: Signed::seal(voter, &body), certificate: None };
    Arc::new(Known::read(record).unwrap())
}

fn located(outputs: &[Output], voter: NodeId) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Located { voters, .. } if voters == &[voter]))
}

#[test]
fn a_cell_that_was_asked_for_before_its_binding_came_is_located_when_it_comes() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = router();
    assert!(step(&mut router, at(0), Input::Locate(cell)).is_empty(), "nobody has said yet");
    let outputs = step(&mut router, at(50), Input::Learned(binding(cell, &voter)));
    assert!(located(&outputs, voter.node()), "{outputs:?}");
}

#[test]
fn a_binding_that_nobody_asked_for_makes_no_traffic() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = router();
    assert!(step(&mut router, at(0), Input::Learned(binding(cell, &voter))).is_empty());
}

#[test]
fn a_cell_that_was_asked_for_long_ago_is_forgotten() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = router();
    step(&mut router, at(0), Input::Locate(cell));
    assert!(step(&mut router, at(600_000), Input::Learned(binding(cell, &voter))).is_empty());
}

fn subscriptions(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send { message: Message::Subscribe { .. }, .. })).count()
}

/// Two routers once asked each other as fast as their link allowed.
#[test]
fn a_cell_that_no_voter_knows_is_asked_for_once_a_second() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = router();
    step(&mut router, at(0), Input::Locate(cell));
    let outputs = step(&mut router, at(0), Input::Learned(binding(cell, &voter)));
    assert_eq!(subscriptions(&outputs), 1);
    let unknown = || Input::Received { from: voter.node(), message: Message::Unknown { cell } };
    assert_eq!(subscriptions(&step(&mut router, at(1), unknown())), 0, "its only voter was asked");
    router.handle_timeout(at(1_000));
    let outputs: Vec<_> = std::iter::from_fn(|| router.poll_output()).collect();
    assert_eq!(subscriptions(&outputs), 1);
}

/// Voters describe a cell when something changes and count what they applied then, so one that has no news may show an
/// older count than another: it was once asked again every second.
#[test]
fn a_voter_without_news_is_believed_though_it_applied_less() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = Router::new(NodeId::of(b"me"), "FR".parse().unwrap(), "zone".into());
    step(&mut router, at(0), Input::Locate(cell));
    step(&mut router, at(0), Input::Learned(binding(cell, &voter)));
    let update = |applied, host: &str| {
        let (instances, voters, hosts) = (Vec::new(), vec![voter.node()], vec![host.to_owned()]);
        let update = Update { cell, line: 1, applied, instances, voters, leader: None, hosts, removed: false };
        Input::Received { from: voter.node(), message: Message::Update(update) }
    };
    let asked_again = |router: &mut Router, ms| {
        router.handle_timeout(at(ms));
        subscriptions(&std::iter::from_fn(|| router.poll_output()).collect::<Vec<_>>())
    };
    step(&mut router, at(1), update(9, "app"));
    assert_eq!(asked_again(&mut router, 150_001), 1, "it is renewed");
    step(&mut router, at(150_100), update(7, "app"));
    assert_eq!(asked_again(&mut router, 152_000), 0, "no news");
    assert_eq!(asked_again(&mut router, 300_100), 1);
    step(&mut router, at(300_200), update(7, "other"));
    assert_eq!(asked_again(&mut router, 301_200), 1, "what differs is old: another voter may know better");
}

/// Which links the router asks for, and gives up.
fn wants(outputs: &[Output]) -> Vec<(NodeId, bool)> {
    outputs
        .iter()
        .filter_map(|it| if let Output::Want { peer, wanted, .. } = it { Some((*peer, *wanted)) } else { None })
        .collect()
}

#[test]
fn an_edge_wants_links_to_some_of_the_instances_that_it_routes_to_and_gives_them_up_with_the_app() {
    let (cell, voter) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]));
    let mut router = router();
    step(&mut router, at(0), Input::Locate(cell));
    step(&mut router, at(0), Input::Learned(binding(cell, &voter)));
    let host = |number: u8| NodeId([number; 32]);
    let update = |applied, hosts: &[u8]| {
        let instance = |number: &u8| (InstanceId { cell, number: u64::from(*number) }, 1, host(*number));
        let update = Update {
            cell,
            line: 1,
            applied,
            instances: hosts.iter().map(instance).collect(),
            voters: vec![voter.node()],
            leader: Some(voter.node()),
            hosts: vec!["app".into()],
            removed: false,
        };
        Input::Received { from: voter.node(), message: Message::Update(update) }
    };
    assert_eq!(wants(&step(&mut router, at(1), update(1, &[1, 2]))), [(host(1), true), (host(2), true)]);
    assert_eq!(wants(&step(&mut router, at(2), update(2, &[1, 2]))), []);
    assert_eq!(wants(&step(&mut router, at(3), update(3, &[2, 7]))), [(host(7), true), (host(1), false)]);
    let many: Vec<u8> = (1..=100).collect();
    let links = wants(&step(&mut router, at(4), update(4, &many)));
    let more = links.iter().filter(|(_, wanted)| *wanted).count();
    assert!(more <= 8 && links.len() < 12, "an edge has links to a few of many: {links:?}");
    assert_eq!(wants(&step(&mut router, at(5), Input::Closed(cell))), [], "requests go on, whoever says where to");
    let mut removed = update(101, &many);
    if let Input::Received { message: Message::Update(update), .. } = &mut removed {
        update.removed = true;
    }
    let given_up = wants(&step(&mut router, at(6), removed));
    assert_eq!(given_up.len(), 8);
    assert!(given_up.iter().all(|(_, wanted)| !wanted));
}

/// A router that follows the app of [`binding`], whose voter says that it answers for `hosts`; and what was served.
fn served(router: &mut Router, cell: CellId, voter: &Keypair, hosts: &[&str]) -> Option<AppRoute> {
    let update = Update {
        cell,
        line: 1,
        applied: 1,
        instances: Vec::new(),
        voters: vec![voter.node()],
        leader: None,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        removed: false,
    };
    let outputs = step(router, at(10), Input::Received { from: voter.node(), message: Message::Update(update) });
    routed(&outputs)
}

fn routed(outputs: &[Output]) -> Option<AppRoute> {
    outputs
        .iter()
        .rev()
        .find_map(|output| if let Output::Serve(RouteDelta::Put(route)) = output { Some(route.clone()) } else { None })
}

fn asks(host: &str) -> Input {
    let context = Context::until(RequestId(1), at(5_000).instant);
    Input::Resolve { context, host: host.into() }
}

#[test]
fn an_app_answers_by_its_tenants_short_name_once_the_node_knows_the_certificate_and_by_its_own_with_none() {
    let (cell, voter, tenant) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]), TenantId::of(b"tenant"));
    let mut router = router();
    step(&mut router, at(0), Input::Learned(binding(cell, &voter)));
    assert_eq!(subscriptions(&step(&mut router, at(1), asks("app.bakery.zone"))), 0, "nobody is called so yet");
    let names = |name: &str| Input::Named([(name.to_owned(), tenant)].into());
    step(&mut router, at(2), names("bakery"));
    assert_eq!(subscriptions(&step(&mut router, at(3), asks("app.bakery.zone"))), 1);
    let own = host_of("app", tenant, "zone");
    let route = served(&mut router, cell, &voter, &[&own]).unwrap();
    assert_eq!(route.hosts, [own.clone(), "app.bakery.zone".to_owned()]);
    let route = routed(&step(&mut router, at(20), names("brewery"))).unwrap();
    assert_eq!(route.hosts, [own.clone(), "app.brewery.zone".to_owned()]);
    let route = routed(&step(&mut router, at(30), Input::Named([].into()))).unwrap();
    assert_eq!(route.hosts, [own]);
}

#[test]
fn no_app_answers_for_the_host_of_another_tenant_by_saying_so() {
    let (cell, voter, tenant) = (CellId::of(b"cell"), Keypair::from_secret(&[3; 32]), TenantId::of(b"tenant"));
    let mut router = router();
    step(&mut router, at(0), Input::Named([("bakery".to_owned(), TenantId::of(b"another"))].into()));
    step(&mut router, at(0), Input::Locate(cell));
    step(&mut router, at(1), Input::Learned(binding(cell, &voter)));
    let (own, others) = (host_of("app", tenant, "zone"), host_of("app", TenantId::of(b"another"), "zone"));
    let route = served(&mut router, cell, &voter, &[&own, &others, "app.bakery.zone", "example.org"]).unwrap();
    assert_eq!(route.hosts, [own, "example.org".to_owned()]);
}

use std::collections::BTreeSet;

use super::*;
use crate::{
    id::CellId,
    identity::{Admitted, Genesis, Keypair, Party, PublicKey, Signed},
    resources::Site,
    time::Timestamp,
};

const WALL: Timestamp = Timestamp(1_000_000_000);

fn identity(number: u8, mesh: MeshId) -> NodeIdentity {
    let operator = Keypair::from_secret(&[number + 100; 32]);
    let keys = Keypair::from_secret(&[number; 32]);
    let certificate = NodeCertificate {
        mesh,
        operator: Genesis::new(Party::Operator, "test", operator.public(), Timestamp(0)),
        node: keys.node(),
        site: Site("one".into()),
        jurisdiction: "FR".parse().unwrap(),
        domains: Vec::new(),
        not_before: Timestamp(0),
        expires: Timestamp(u64::MAX),
        serial: 1,
        sealing: PublicKey::default(),
        successions: None,
    };
    NodeIdentity::new(keys, Signed::seal(&operator, &certificate), mesh, WALL).unwrap()
}

fn at(ms: u64) -> Now {
    Now { instant: Instant::from_nanos(ms * 1_000_000), wall: WALL }
}

fn mesh() -> MeshId {
    MeshId::of(b"mesh")
}

fn reach(bootstrap: &[(NodeId, Vec<Address>)]) -> Reach {
    reach_of(Config { bootstrap: bootstrap.to_vec(), ..Config::default() })
}

fn reach_of(config: Config) -> Reach {
    Reach::open(Seed([1; 32]), identity(1, mesh()), mesh(), (DiskId::default(), 1), config)
}

fn drain(reach: &mut Reach) -> Vec<Output> {
    std::iter::from_fn(|| reach.poll_output()).collect()
}

fn step(reach: &mut Reach, now: Now, input: Input) -> Vec<Output> {
    reach.handle_input(now, input);
    drain(reach)
}

fn hello_of(identity: &NodeIdentity, mesh: MeshId, wall: Timestamp) -> Box<Hello> {
    Box::new(Hello {
        wire: 1,
        wire_min: 1,
        mesh,
        certificate: identity.signed_certificate().clone(),
        disk: DiskId::default(),
        boots: 1,
        wall,
        relays: None,
        finds: Some(true),
        credentials: None,
        parts: Some(true),
        sleeps: Some(true),
        recovers: Some(true),
        converges: Some(true),
    })
}

fn introduce(reach: &mut Reach, other: &NodeIdentity, wall: Timestamp) -> Vec<Output> {
    step(reach, at(1), Input::Link { peer: other.node(), change: LinkChange::Up { address: None, over: Over::Quic } });
    step(reach, at(2), Input::Hello { from: other.node(), hello: hello_of(other, mesh(), wall) })
}

#[test]
fn a_bootstrap_node_is_dialled_again_and_again_but_ever_more_rarely() {
    let other = identity(2, mesh()).node();
    let mut reach = reach(&[(other, vec!["/ip4/127.0.0.1/tcp/1".into()])]);
    let mut dials = Vec::new();
    let mut now = at(0);
    while dials.len() < 8 {
        reach.handle_timeout(now);
        let dialled = drain(&mut reach).iter().any(|output| matches!(output, Output::Dial { .. }));
        assert!(dialled, "{dials:?}");
        dials.push(now.instant);
        step(&mut reach, now, Input::Link { peer: other, change: failed(PathKind::Direct) });
        now.instant = reach.poll_timeout().unwrap().at;
    }
    let first = dials[1].since(dials[0]);
    let last = dials[7].since(dials[6]);
    assert!(first < Duration::from_millis(400) && last > Duration::from_secs(5), "{first:?} {last:?}");
}

#[test]
fn a_frame_for_somebody_new_waits_until_he_has_introduced_himself() {
    let mut reach = reach(&[]);
    let other = identity(2, mesh());
    let frame = Frame::Route(crate::route::Message::Unknown { cell: CellId::default() });
    let address = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
    step(&mut reach, at(0), Input::Addresses { peer: other.node(), addresses: address, source: Source::Hint });
    let outputs = step(&mut reach, at(0), Input::Send { to: other.node(), frame: frame.clone() });
    assert!(matches!(outputs[..], [Output::Dial { .. }]), "{outputs:?}");
    let outputs = introduce(&mut reach, &other, WALL);
    assert!(outputs.contains(&Output::Send { to: other.node(), wire: WIRE_HELLO, frame }), "{outputs:?}");
    assert!(reach.admits(other.node()));
}

/// Both dial at once, two connections are made, and with the one that is closed an introduction is lost.
#[test]
fn a_lost_introduction_is_made_again_until_both_have_heard_each_other() {
    let (me, other) = (identity(1, mesh()), identity(2, mesh()));
    let mut ours = reach(&[]);
    let mut theirs = Reach::open(Seed([2; 32]), identity(2, mesh()), mesh(), (DiskId::default(), 1), Config::default());
    let up = |peer: NodeId| Input::Link { peer, change: LinkChange::Up { address: None, over: Over::Quic } };
    let hello = |outputs: &[Output]| {
        outputs.iter().find_map(|it| match it {
            Output::Send { frame: Frame::Hello(hello), .. } => Some(hello.clone()),
            _ => None,
        })
    };
    let lost = hello(&step(&mut ours, at(0), up(other.node())));
    let heard = hello(&step(&mut theirs, at(0), up(me.node())));
    assert!(lost.is_some());
    step(&mut ours, at(1), Input::Hello { from: other.node(), hello: heard.expect("it introduces itself too") });
    assert!(ours.admits(other.node()), "this side has heard the other");
    theirs.handle_timeout(at(500));
    let again = hello(&drain(&mut theirs)).expect("the other says it again");
    let answer = hello(&step(&mut ours, at(501), Input::Hello { from: other.node(), hello: again }));
    let answer = answer.expect("who introduces himself twice was not answered");
    step(&mut theirs, at(502), Input::Hello { from: me.node(), hello: answer.clone() });
    assert!(theirs.admits(me.node()));
    assert_eq!(hello(&step(&mut theirs, at(503), Input::Hello { from: me.node(), hello: answer })), None, "no echo");
}

#[test]
fn a_node_of_another_mesh_or_with_a_borrowed_certificate_is_turned_away_with_the_reason() {
    let other = identity(2, MeshId::of(b"another"));
    let mut reach = reach(&[]);
    step(
        &mut reach,
        at(0),
        Input::Link { peer: other.node(), change: LinkChange::Up { address: None, over: Over::Quic } },
    );
    let hello = hello_of(&other, MeshId::of(b"another"), WALL);
    let outputs = step(&mut reach, at(1), Input::Hello { from: other.node(), hello });
    let Output::Notice(Notice::PeerRefused { reason, .. }) = &outputs[0] else { panic!("{outputs:?}") };
    assert!(reason.contains("another mesh"), "{reason}");
    assert!(outputs.contains(&Output::Hangup { peer: other.node() }));

    let thief = identity(3, mesh()).node();
    let hello = hello_of(&identity(2, mesh()), mesh(), WALL);
    let outputs = step(&mut reach, at(2), Input::Hello { from: thief, hello });
    assert!(outputs.contains(&Output::Hangup { peer: thief }));
    assert!(!reach.admits(thief));
}

#[test]
fn a_clock_that_differs_from_all_others_is_noticed_by_its_own_node() {
    let mut reach = reach(&[]);
    let ahead = WALL + Duration::from_mins(10);
    assert!(!introduce(&mut reach, &identity(2, mesh()), ahead).contains(&Output::ClockOff(true)), "one says nothing");
    let outputs = introduce(&mut reach, &identity(3, mesh()), ahead);
    assert!(outputs.contains(&Output::ClockOff(true)), "{outputs:?}");
    assert_eq!(reach.clock_off_ms(), -600_000);
}

#[test]
fn what_waits_for_an_unreachable_peer_is_bounded() {
    let mut reach = reach(&[]);
    let other = identity(2, mesh()).node();
    let addresses = vec!["/ip4/127.0.0.1/tcp/1".into()];
    step(&mut reach, at(0), Input::Addresses { peer: other, addresses, source: Source::Hint });
    for number in 0..1_000_u64 {
        let cell = CellId::of(&number.to_be_bytes());
        let frame = Frame::Route(crate::route::Message::Unknown { cell });
        step(&mut reach, at(0), Input::Send { to: other, frame });
    }
    assert_eq!(reach.peers[&other].waiting.len(), WAITING_MAX);
}

fn revocation(of: u8) -> Arc<Keyring> {
    use crate::{
        identity::{FOR_EVER, Lineage, Ruled, Ruling},
        record::KeyWord,
    };
    let certificate = identity(of, mesh()).certificate().clone();
    let lineage = Lineage::first(certificate.operator);
    let operator = lineage.genesis.operator();
    let ruling = Ruling { operator, node: certificate.node, below: FOR_EVER, resolved: 0, made: WALL };
    let signed = Signed::seal(&Keypair::from_secret(&[of + 100; 32]), &ruling);
    let mut keyring = Keyring::default();
    keyring.learn(&KeyWord::Ruling(Ruled { lineage, signed }));
    Arc::new(keyring)
}

#[test]
fn a_revoked_peer_is_hung_up_on_at_once_and_never_let_in_again() {
    let mut reach = reach(&[]);
    let (revoked, other) = (identity(2, mesh()), identity(3, mesh()));
    introduce(&mut reach, &revoked, WALL);
    introduce(&mut reach, &other, WALL);
    let outputs = step(&mut reach, at(5), Input::Keys(revocation(2)));
    assert!(
        outputs.contains(&Output::Hangup { peer: revoked.node() }) && outputs.contains(&Output::Down(revoked.node()))
    );
    assert!(!outputs.contains(&Output::Hangup { peer: other.node() }), "{outputs:?}");
    assert!(!reach.admits(revoked.node()) && reach.admits(other.node()));
    let again = introduce(&mut reach, &revoked, WALL);
    assert!(again.contains(&Output::Hangup { peer: revoked.node() }), "{again:?}");
    assert!(!reach.admits(revoked.node()));
}

#[test]
fn whoever_comes_back_after_a_long_cut_has_others_dialled_at_once() {
    let (first, second) = (identity(2, mesh()), identity(3, mesh()));
    let at_address = |id: &NodeIdentity, n: u8| (id.node(), vec![format!("/ip4/127.0.0.{n}/tcp/1")]);
    let mut reach = reach(&[at_address(&first, 2), at_address(&second, 3)]);
    let mut now = at(0);
    // Both are dialled in vain for a minute.
    while now.instant < at(60_000).instant {
        reach.handle_timeout(now);
        let mut said = drain(&mut reach);
        while let Some(output) = said.pop() {
            if let Output::Dial { peer, .. } = output {
                said.extend(step(&mut reach, now, Input::Link { peer, change: failed(PathKind::Direct) }));
            }
        }
        let next = reach.poll_timeout().map_or(now.instant, |due| due.at);
        now = Now { instant: next.max(now.instant + BACK_OFF), ..now };
    }
    for id in [first.node(), second.node()] {
        let want = Input::Want { by: Wanter::Cell(CellId::of(b"c")), peer: id, addresses: Vec::new(), wanted: true };
        if dials(&step(&mut reach, now, want)).is_empty() {
            continue;
        }
        step(&mut reach, now, Input::Link { peer: id, change: failed(PathKind::Direct) });
    }
    let up = LinkChange::Up { address: None, over: Over::Quic };
    step(&mut reach, now, Input::Link { peer: first.node(), change: up });
    step(&mut reach, now, Input::Hello { from: first.node(), hello: hello_of(&first, mesh(), WALL) });
    let due = reach.poll_timeout().unwrap();
    assert!(due.at.since(now.instant) <= BACK_OFF, "{due:?}");
    let soon = Now { instant: now.instant + BACK_OFF, ..now };
    reach.handle_timeout(soon);
    let dialled =
        drain(&mut reach).into_iter().any(|it| matches!(it, Output::Dial { peer, .. } if peer == second.node()));
    assert!(dialled);
}

#[test]
fn a_peer_that_introduces_itself_from_two_disks_at_once_runs_twice() {
    let mut reach = reach(&[]);
    let other = identity(2, mesh());
    introduce(&mut reach, &other, WALL);
    let doubled = Output::Notice(Notice::PeerDoubled(other.node()));
    let again = step(&mut reach, at(3), Input::Hello { from: other.node(), hello: hello_of(&other, mesh(), WALL) });
    assert!(!again.contains(&doubled), "its certificate was renewed, or the like: {again:?}");
    let hello = Box::new(Hello { disk: DiskId::of(b"another disk"), ..*hello_of(&other, mesh(), WALL) });
    let twice = step(&mut reach, at(4), Input::Hello { from: other.node(), hello });
    assert!(twice.contains(&doubled), "{twice:?}");
}

fn failed(path: PathKind) -> LinkChange {
    LinkChange::Unreachable { path, why: "no answer".into() }
}

fn dials(outputs: &[Output]) -> Vec<PathKind> {
    let kind = |output: &Output| match output {
        Output::Dial { via, .. } => Some(via.kind()),
        _ => None,
    };
    outputs.iter().filter_map(kind).collect()
}

fn tick(reach: &mut Reach) -> (Now, Vec<Output>) {
    let now = Now { instant: reach.poll_timeout().unwrap().at, wall: WALL };
    reach.handle_timeout(now);
    (now, drain(reach))
}

const LAN: &str = "/ip4/192.168.1.2/udp/4001/quic-v1";
const PUBLIC: &str = "/ip4/198.51.100.9/udp/4001/quic-v1";

/// A link with somebody who relays for members.
fn link_to_a_relay(reach: &mut Reach, relay: &NodeIdentity) -> Vec<Output> {
    let peer = relay.node();
    let source = Source::Signed;
    step(reach, at(0), Input::Addresses { peer, addresses: vec![PUBLIC.into()], source });
    let up = LinkChange::Up { address: Some(PUBLIC.into()), over: Over::Quic };
    step(reach, at(1), Input::Link { peer, change: up });
    let hello = Hello { relays: Some(true), ..*hello_of(relay, mesh(), WALL) };
    step(reach, at(2), Input::Hello { from: peer, hello: Box::new(hello) })
}

#[test]
fn a_node_that_nobody_got_through_to_has_a_willing_member_relay_for_it_and_says_where() {
    let (mut reach, relay) = (reach(&[]), identity(2, mesh()));
    let me = reach.identity.node();
    step(&mut reach, at(0), Input::Link { peer: me, change: LinkChange::Listening { address: LAN.into() } });
    let outputs = link_to_a_relay(&mut reach, &relay);
    assert!(outputs.contains(&Output::Reserve { relay: relay.node(), wanted: true }), "{outputs:?}");
    let outputs = step(&mut reach, at(3), Input::Link { peer: relay.node(), change: LinkChange::Reserved });
    let through = address::through(relay.node(), PUBLIC);
    assert!(outputs.contains(&Output::Reachable(vec![LAN.into(), through])), "{outputs:?}");

    let outputs = step(&mut reach, at(4), Input::Link { peer: relay.node(), change: LinkChange::Down });
    assert!(
        outputs.contains(&Output::Reachable(vec![LAN.into()])),
        "a relay that is gone is not announced: {outputs:?}"
    );
}

#[test]
fn what_a_relay_claims_about_itself_is_never_announced_only_where_this_node_found_it() {
    // The transport tells that a relay agreed and nothing of the addresses that it gave: there is no way in for them.
    let (mut reach, relay) = (reach(&[]), identity(2, mesh()));
    let me = reach.identity.node();
    step(&mut reach, at(0), Input::Link { peer: me, change: LinkChange::Listening { address: LAN.into() } });
    link_to_a_relay(&mut reach, &relay);
    // It signs that it is at a thousand places, in its own name and through others: two of them are announced, and the
    // one where the link stands goes first.
    let victims = (0..1_000).map(|number| format!("/ip4/203.0.113.{}/tcp/{number}", number % 250));
    let source = Source::Signed;
    step(&mut reach, at(3), Input::Addresses { peer: relay.node(), addresses: victims.collect(), source });
    let outputs = step(&mut reach, at(4), Input::Link { peer: relay.node(), change: LinkChange::Reserved });
    let Some(Output::Reachable(said)) = outputs.iter().find(|output| matches!(output, Output::Reachable(_))) else {
        panic!("{outputs:?}")
    };
    assert_eq!(said.len(), 1 + RELAY_ADDRESSES_MAX, "{said:?}");
    assert_eq!(said[1], address::through(relay.node(), PUBLIC));
}

#[test]
fn a_peer_behind_a_nat_is_dialled_directly_first_and_a_moment_later_through_its_relay() {
    let (mut reach, other) = (reach(&[]), identity(3, mesh()));
    let relayed = address::through(identity(2, mesh()).node(), PUBLIC);
    let addresses = vec![LAN.to_owned(), relayed];
    step(&mut reach, at(0), Input::Addresses { peer: other.node(), addresses, source: Source::Signed });
    let want = Input::Want { by: Wanter::Membership, peer: other.node(), addresses: vec![], wanted: true };
    assert_eq!(dials(&step(&mut reach, at(0), want)), [PathKind::Direct]);
    let (_, outputs) = tick(&mut reach);
    assert_eq!(dials(&outputs), [PathKind::Relayed]);
}

#[test]
fn a_relayed_link_is_tried_directly_ever_more_rarely_and_moves_without_going_down() {
    let (mut reach, other) = (reach(&[]), identity(3, mesh()));
    let relay = identity(2, mesh()).node();
    let addresses = vec![PUBLIC.to_owned()];
    step(&mut reach, at(0), Input::Addresses { peer: other.node(), addresses, source: Source::Signed });
    let up = LinkChange::Up { address: None, over: Over::Relay(relay) };
    step(&mut reach, at(1), Input::Link { peer: other.node(), change: up });
    step(&mut reach, at(2), Input::Hello { from: other.node(), hello: hello_of(&other, mesh(), WALL) });
    want(&mut reach, 2, other.node(), true);
    let mut tried = Vec::new();
    for _ in 0..6 {
        let (now, outputs) = tick(&mut reach);
        assert_eq!(dials(&outputs), [PathKind::Direct]);
        tried.push(now.instant);
        step(&mut reach, now, Input::Link { peer: other.node(), change: failed(PathKind::Direct) });
        assert!(reach.admits(other.node()), "a dial in vain takes no link down");
    }
    assert!(tried[5].since(tried[4]) >= 2 * tried[3].since(tried[2]), "{tried:?}");
    let shown = reach.shown().links.pop().unwrap();
    assert!(shown.why.unwrap().contains("no answer") && shown.advice.unwrap().contains("listen.announce"));

    let moved = LinkChange::Moved { address: None, over: Over::Quic };
    let outputs = step(&mut reach, at(90_000), Input::Link { peer: other.node(), change: moved });
    assert!(!outputs.iter().any(|output| matches!(output, Output::Down(_) | Output::Up { .. })), "{outputs:?}");
    assert_eq!(reach.shown().links.pop().unwrap().why, None);
}

#[test]
fn who_lies_about_where_others_are_costs_a_bounded_number_of_dials() {
    let (mut reach, other) = (reach(&[]), identity(3, mesh()).node());
    for number in 0..1_000 {
        let addresses = vec![format!("/ip4/203.0.113.{}/tcp/{number}", number % 250)];
        step(&mut reach, at(0), Input::Addresses { peer: other, addresses, source: Source::Hint });
    }
    let want = Input::Want { by: Wanter::Membership, peer: other, addresses: vec![], wanted: true };
    let outputs = step(&mut reach, at(0), want);
    let [Output::Dial { via, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(via.addresses().len() <= 8, "{via:?}");
    // However often it lies while they fail, the dials keep their distance.
    let mut dialled = 0;
    let mut now = at(0);
    while now.instant < at(60_000).instant {
        step(&mut reach, now, Input::Link { peer: other, change: failed(PathKind::Direct) });
        let addresses = vec![format!("/ip4/203.0.113.1/tcp/{}", now.instant.as_nanos() % 60_000)];
        dialled +=
            dials(&step(&mut reach, now, Input::Addresses { peer: other, addresses, source: Source::Hint })).len();
        let (later, outputs) = tick(&mut reach);
        dialled += dials(&outputs).len();
        now = later;
    }
    assert!(dialled < 20, "{dialled}");
}

#[test]
fn a_node_whose_address_nobody_here_knows_is_found_by_asking_those_closest_to_it_and_whom_they_name() {
    let (mut reach, lost) = (reach(&[]), identity(4, mesh()).node());
    let mut others = [identity(2, mesh()), identity(3, mesh())];
    others.sort_by_key(|other| std::cmp::Reverse(other.node().distance(lost)));
    let [friend, far] = others;
    introduce(&mut reach, &friend, WALL);
    let want = Input::Want { by: Wanter::Cell(CellId::default()), peer: lost, addresses: vec![], wanted: true };
    let outputs = step(&mut reach, at(10), want);
    let find = Frame::Reach(Message::Find(lost));
    assert!(
        outputs.contains(&Output::Send { to: friend.node(), wire: WIRE_HELLO, frame: find.clone() }),
        "{outputs:?}"
    );

    let place = |node: NodeId, at: &str| Place { node, addresses: vec![at.to_owned()] };
    let answer = Message::Found { target: lost, places: vec![place(far.node(), PUBLIC)] };
    let outputs = step(&mut reach, at(11), Input::Received { from: friend.node(), message: answer });
    assert!(matches!(&outputs[..], [Output::Dial { peer, .. }] if *peer == far.node()), "{outputs:?}");

    let up = LinkChange::Up { address: Some(PUBLIC.into()), over: Over::Quic };
    step(&mut reach, at(12), Input::Link { peer: far.node(), change: up });
    let hello = hello_of(&far, mesh(), WALL);
    let outputs = step(&mut reach, at(13), Input::Hello { from: far.node(), hello });
    assert!(outputs.contains(&Output::Send { to: far.node(), wire: WIRE_HELLO, frame: find }), "{outputs:?}");

    let answer = Message::Found { target: lost, places: vec![place(lost, "/ip4/198.51.100.7/tcp/1")] };
    let outputs = step(&mut reach, at(14), Input::Received { from: far.node(), message: answer });
    assert!(outputs.iter().any(|output| matches!(output, Output::Dial { peer, .. } if *peer == lost)), "{outputs:?}");
}

#[test]
fn who_is_asked_names_those_closest_and_never_what_only_his_own_machine_reaches() {
    let (mut reach, asker) = (reach(&[]), identity(2, mesh()));
    introduce(&mut reach, &asker, WALL);
    for number in 10..40_u8 {
        let addresses = vec!["/ip4/127.0.0.1/tcp/1".to_owned(), format!("/ip4/198.51.100.{number}/tcp/1")];
        let peer = NodeId([number; 32]);
        step(&mut reach, at(3), Input::Addresses { peer, addresses, source: Source::Signed });
    }
    let message = Message::Find(NodeId([17; 32]));
    let outputs = step(&mut reach, at(4), Input::Received { from: asker.node(), message });
    let [Output::Send { frame: Frame::Reach(Message::Found { places, .. }), .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(places.len(), 8);
    assert_eq!(places[0], Place { node: NodeId([17; 32]), addresses: vec!["/ip4/198.51.100.17/tcp/1".into()] });
}

#[test]
fn a_peer_that_starts_anew_before_its_death_was_noticed_is_linked_afresh_at_once() {
    let (mut reach, other) = (reach(&[]), identity(2, mesh()));
    introduce(&mut reach, &other, WALL);
    let again = Hello { boots: 2, ..*hello_of(&other, mesh(), WALL) };
    let outputs = step(&mut reach, at(3), Input::Hello { from: other.node(), hello: Box::new(again) });
    assert!(outputs.contains(&Output::Hangup { peer: other.node() }), "{outputs:?}");
    let outputs = step(&mut reach, at(4), Input::Link { peer: other.node(), change: LinkChange::Down });
    assert!(outputs.contains(&Output::Down(other.node())), "{outputs:?}");
    step(
        &mut reach,
        at(5),
        Input::Link { peer: other.node(), change: LinkChange::Up { address: None, over: Over::Quic } },
    );
    let again = Hello { boots: 2, ..*hello_of(&other, mesh(), WALL) };
    let outputs = step(&mut reach, at(6), Input::Hello { from: other.node(), hello: Box::new(again) });
    assert!(outputs.iter().any(|output| matches!(output, Output::Up { .. })), "{outputs:?}");
}

/// What a link to a peer that says this is given to carry.
fn said_to(mine: WireRange, (oldest, newest): (u16, u16)) -> Vec<Output> {
    let mut reach = reach_of(Config { wire: mine, ..Config::default() });
    let other = identity(2, mesh());
    let up = Input::Link { peer: other.node(), change: LinkChange::Up { address: None, over: Over::Quic } };
    let greeting = step(&mut reach, at(1), up);
    let [Output::Send { wire, frame: Frame::Hello(hello), .. }] = &greeting[..] else { panic!("{greeting:?}") };
    assert_eq!((*wire, hello.wire_min, hello.wire), (WIRE_HELLO, mine.oldest(), mine.newest()));
    let mut hello = hello_of(&other, mesh(), WALL);
    (hello.wire_min, hello.wire) = (oldest, newest);
    let mut outputs = step(&mut reach, at(2), Input::Hello { from: other.node(), hello });
    let frame = Frame::Route(crate::route::Message::Unknown { cell: CellId::default() });
    outputs.extend(step(&mut reach, at(3), Input::Send { to: other.node(), frame }));
    outputs
}

#[test]
fn each_link_speaks_the_newest_version_of_both_its_ends() {
    let versions = |mine, theirs| -> Vec<u16> {
        let sent = said_to(mine, theirs);
        sent.iter()
            .filter_map(|output| if let Output::Send { wire, .. } = output { Some(*wire) } else { None })
            .collect()
    };
    let (all, previous) = (WireRange::default(), WireRange::up_to(1).unwrap());
    assert_eq!(versions(all, (1, 2)), [2]);
    assert_eq!(versions(all, (1, 1)), [1]);
    assert_eq!(versions(previous, (1, 2)), [1]);
    assert_eq!(versions(all, (2, 7)), [2], "a newer one that still speaks ours");
}

#[test]
fn two_nodes_without_a_common_version_both_say_who_has_to_upgrade() {
    for (mine, theirs, what) in [
        (
            WireRange::default(),
            (3, 4),
            "it speaks wire versions 3 to 4, this node 1 to 2; this node is too old: upgrade it",
        ),
        (
            WireRange::claimed(3, 4),
            (1, 2),
            "it speaks wire versions 1 to 2, this node 3 to 4; it is too old: it must be upgraded",
        ),
        (WireRange::default(), (2, 1), "it says that it speaks wire versions 2 to 1"),
    ] {
        let outputs = said_to(mine, theirs);
        let [Output::Notice(Notice::PeerRefused { reason, .. }), Output::Hangup { .. }] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!(reason, what);
    }
}

#[test]
fn whoever_turns_a_peer_away_still_knows_how_far_their_clocks_are_apart() {
    let mut reach = reach(&[]);
    let other = identity(2, mesh());
    introduce(&mut reach, &other, WALL + Duration::from_mins(10));
    assert_eq!(reach.last_clock_ms(), Some(600_000));
    let early = WALL - Duration::from_hours(24 * 365 * 60);
    introduce(&mut reach, &identity(3, mesh()), early);
    assert!(reach.last_clock_ms().is_some_and(|off| off < -600_000));
}

#[test]
fn outsiders_get_so_many_links_and_members_all_they_want() {
    let mut reach = reach(&[]);
    let member = identity(1, mesh()).certificate().operator_id();
    step(&mut reach, at(0), Input::Counted(Admitted::these(BTreeSet::from([member]), BTreeSet::new())));
    for number in 0..=OUTSIDERS_MAX {
        let outsider = identity(u8::try_from(number).unwrap() + 2, mesh());
        let outputs = introduce(&mut reach, &outsider, WALL);
        let refused = outputs.iter().any(|output| matches!(output, Output::Hangup { .. }));
        assert_eq!(refused, number == OUTSIDERS_MAX, "{number}");
        assert!(!reach.hears(outsider.node(), false));
        assert_eq!(reach.hears(outsider.node(), true), !refused);
    }
}

/// Two nodes with a link between them, both of which are linked to others that they need.
fn pair() -> (Reach, Reach, [NodeId; 2]) {
    let (me, other, third) = (identity(1, mesh()), identity(2, mesh()), identity(3, mesh()));
    let mut ours = reach(&[]);
    let mut theirs = Reach::open(Seed([2; 32]), identity(2, mesh()), mesh(), (DiskId::default(), 1), Config::default());
    for (reach, peer) in [(&mut ours, &other), (&mut theirs, &me)] {
        want(reach, 0, third.node(), true);
        introduce(reach, &third, WALL);
        introduce(reach, peer, WALL);
    }
    (ours, theirs, [me.node(), other.node()])
}

fn want(reach: &mut Reach, ms: u64, peer: NodeId, wanted: bool) -> Vec<Output> {
    step(reach, at(ms), Input::Want { by: Wanter::Membership, peer, addresses: vec![], wanted })
}

/// What a node does once it has had a link for so long.
fn done_by(reach: &mut Reach, ms: u64) -> Vec<Output> {
    reach.handle_timeout(at(ms));
    drain(reach)
}

fn needed(to: NodeId, needed: bool) -> Output {
    Output::Send { to, wire: WIRE_HELLO, frame: Frame::Reach(Message::Needed(needed)) }
}

fn told(from: NodeId, needed: bool) -> Input {
    Input::Received { from, message: Message::Needed(needed) }
}

#[test]
fn a_link_that_neither_end_needs_ends_and_one_that_either_needs_stays() {
    let (mut ours, mut theirs, [me, other]) = pair();
    want(&mut theirs, 3, me, true);
    assert_eq!(done_by(&mut ours, 50_000), [], "it may be needed again at once");
    assert_eq!(done_by(&mut ours, 61_000), [needed(other, false)]);
    assert_eq!(step(&mut theirs, at(61_001), told(me, false)), []);
    assert_eq!(done_by(&mut theirs, 600_000), [], "the other end needs it");

    want(&mut theirs, 600_001, me, false);
    assert_eq!(done_by(&mut theirs, 670_000), [Output::Hangup { peer: me }]);
    let down = Input::Link { peer: me, change: LinkChange::Down };
    assert_eq!(dials(&step(&mut theirs, at(670_001), down)), []);
    done_by(&mut theirs, 2_000_000);
    assert!(!theirs.peers.contains_key(&me), "who is neither linked nor wanted is forgotten");
}

#[test]
fn who_needs_a_link_again_says_so() {
    let (mut ours, mut theirs, [me, other]) = pair();
    assert_eq!(done_by(&mut ours, 61_000), [needed(other, false)]);
    let frame = Frame::Route(crate::route::Message::Unknown { cell: CellId::default() });
    let sent = step(&mut ours, at(61_001), Input::Send { to: other, frame: frame.clone() });
    assert_eq!(sent, [needed(other, true), Output::Send { to: other, wire: WIRE_HELLO, frame }]);
    step(&mut theirs, at(61_002), told(me, false));
    step(&mut theirs, at(61_002), told(me, true));
    assert_eq!(done_by(&mut theirs, 62_000), [needed(me, false)], "and nobody hangs up");
    assert_eq!(step(&mut ours, at(62_001), told(other, false)), []);
    assert_eq!(done_by(&mut ours, 122_000), [Output::Hangup { peer: other }]);
    assert_eq!(step(&mut theirs, at(122_001), told(me, false)), [Output::Hangup { peer: me }]);
}

#[test]
fn who_knows_nobody_but_a_bootstrap_node_keeps_it_and_lets_it_go_for_a_while_when_he_does() {
    let (first, second) = (identity(2, mesh()), identity(3, mesh()));
    let mut reach = reach(&[(first.node(), vec![PUBLIC.into()])]);
    introduce(&mut reach, &first, WALL);
    assert_eq!(done_by(&mut reach, 61_000), []);
    want(&mut reach, 61_001, second.node(), true);
    introduce(&mut reach, &second, WALL);
    assert_eq!(done_by(&mut reach, 125_000), [needed(first.node(), false)]);
    let outputs = step(&mut reach, at(125_001), told(first.node(), false));
    assert_eq!(outputs, [Output::Hangup { peer: first.node() }]);
    let down = Input::Link { peer: first.node(), change: LinkChange::Down };
    assert_eq!(dials(&step(&mut reach, at(125_002), down)), []);
    let (again, outputs) = tick(&mut reach);
    assert_eq!(dials(&outputs), [PathKind::Direct]);
    assert!(again.instant > at(240_000).instant, "{again:?}");
}

#[test]
fn who_loses_his_last_link_dials_the_bootstrap_node_that_he_let_go_at_once() {
    let (first, second) = (identity(2, mesh()), identity(3, mesh()));
    let mut reach = reach(&[(first.node(), vec![PUBLIC.into()])]);
    want(&mut reach, 1, second.node(), true);
    introduce(&mut reach, &first, WALL);
    introduce(&mut reach, &second, WALL);
    step(&mut reach, at(3), told(first.node(), false));
    assert_eq!(done_by(&mut reach, 61_000), [Output::Hangup { peer: first.node() }]);
    let down = |node| Input::Link { peer: node, change: LinkChange::Down };
    assert_eq!(dials(&step(&mut reach, at(61_001), down(first.node()))), []);
    let outputs = step(&mut reach, at(70_000), down(second.node()));
    let dialled = |output: &Output| matches!(output, Output::Dial { peer, .. } if *peer == first.node());
    assert!(outputs.iter().any(dialled), "{outputs:?}");
}

#[test]
fn who_was_let_go_is_dialled_at_once_when_he_is_needed() {
    let (mut ours, _, [_, other]) = pair();
    step(&mut ours, at(3), Input::Addresses { peer: other, addresses: vec![PUBLIC.into()], source: Source::Signed });
    step(&mut ours, at(4), told(other, false));
    assert_eq!(done_by(&mut ours, 61_000), [Output::Hangup { peer: other }]);
    step(&mut ours, at(61_001), Input::Link { peer: other, change: LinkChange::Down });
    let frame = Frame::Route(crate::route::Message::Unknown { cell: CellId::default() });
    assert_eq!(dials(&step(&mut ours, at(61_002), Input::Send { to: other, frame })), [PathKind::Direct]);
}

fn watch(reach: &mut Reach, ms: u64, peer: NodeId, wanted: bool) {
    step(reach, at(ms), Input::Watch { peer, wanted });
}

fn says(to: NodeId, message: Message) -> Output {
    Output::Send { to, wire: WIRE_HELLO, frame: Frame::Reach(message) }
}

/// What each of two watchers does until `ms`, with the other hearing it a millisecond later if `heard`. How many frames.
fn converse(ours: &mut Reach, theirs: &mut Reach, [me, other]: [NodeId; 2], from_ms: u64, to_ms: u64) -> usize {
    let (mut frames, mut now) = (0, from_ms);
    while now < to_ms {
        now += 10;
        let mut ways: Vec<(bool, Output)> = done_by(ours, now).into_iter().map(|output| (true, output)).collect();
        ways.extend(done_by(theirs, now).into_iter().map(|output| (false, output)));
        while let Some((there, output)) = ways.pop() {
            let Output::Send { frame: Frame::Reach(message), .. } = output else { panic!("{output:?}") };
            frames += 1;
            let (reach, from) = if there { (&mut *theirs, me) } else { (&mut *ours, other) };
            let answers = step(reach, at(now + 1), Input::Received { from, message });
            ways.extend(answers.into_iter().map(|output| (!there, output)));
        }
    }
    frames
}

#[test]
fn of_two_that_watch_each_other_one_asks_once_a_second_for_both() {
    let (mut ours, mut theirs, [me, other]) = pair();
    want(&mut ours, 3, other, true);
    want(&mut theirs, 3, me, true);
    watch(&mut ours, 3, other, true);
    watch(&mut theirs, 400, me, true);
    let frames = converse(&mut ours, &mut theirs, [me, other], 400, 60_400);
    assert!((110..=125).contains(&frames), "a question and an answer a second: {frames}");
    watch(&mut ours, 60_401, other, false);
    watch(&mut theirs, 60_401, me, false);
    assert_eq!(converse(&mut ours, &mut theirs, [me, other], 60_401, 70_000), 0);
}

#[test]
fn who_does_not_answer_is_silent_once_and_heard_again_when_it_does() {
    let (mut ours, _, [_, other]) = pair();
    want(&mut ours, 3, other, true);
    watch(&mut ours, 100, other, true);
    assert_eq!(done_by(&mut ours, 1_099), []);
    assert_eq!(done_by(&mut ours, 1_100), [says(other, Message::Probe)]);
    assert_eq!(done_by(&mut ours, 1_500), [says(other, Message::Probe)]);
    assert_eq!(done_by(&mut ours, 1_900), [Output::Silent(other), says(other, Message::Probe)]);
    assert_eq!(done_by(&mut ours, 2_900), [says(other, Message::Probe)], "said once");
    let alive = |from| Input::Received { from, message: Message::Alive };
    assert_eq!(step(&mut ours, at(2_950), alive(other)), [Output::Heard(other)]);
    assert_eq!(done_by(&mut ours, 3_949), []);
    assert_eq!(done_by(&mut ours, 3_950), [says(other, Message::Probe)]);
}

#[test]
fn an_older_version_is_neither_asked_nor_told_of_sleep() {
    let mut reach = reach(&[]);
    let other = identity(2, mesh());
    step(
        &mut reach,
        at(1),
        Input::Link { peer: other.node(), change: LinkChange::Up { address: None, over: Over::Quic } },
    );
    let mut hello = hello_of(&other, mesh(), WALL);
    hello.sleeps = None;
    step(&mut reach, at(2), Input::Hello { from: other.node(), hello });
    want(&mut reach, 3, other.node(), true);
    watch(&mut reach, 3, other.node(), true);
    assert_eq!(done_by(&mut reach, 10_000), []);
    let message = crate::cell::Message::Wake { line: 1 };
    let frame = Frame::Cell { cell: CellId::default(), message };
    assert_eq!(step(&mut reach, at(10_001), Input::Send { to: other.node(), frame }), []);
}

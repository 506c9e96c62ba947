use super::*;
use crate::{
    identity::{Genesis, Keypair, Party, PublicKey},
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
    Reach::open(Seed([1; 32]), identity(1, mesh()), mesh(), (DiskId::default(), 1), bootstrap, Vec::new())
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
    })
}

fn introduce(reach: &mut Reach, other: &NodeIdentity, wall: Timestamp) -> Vec<Output> {
    step(reach, at(1), Input::Link { peer: other.node(), change: LinkChange::Up { address: None } });
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
        step(&mut reach, now, Input::Link { peer: other, change: LinkChange::Unreachable { why: String::new() } });
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
    step(&mut reach, at(0), Input::Addresses { peer: other.node(), addresses: address });
    let outputs = step(&mut reach, at(0), Input::Send { to: other.node(), frame: frame.clone() });
    assert!(matches!(outputs[..], [Output::Dial { .. }]), "{outputs:?}");
    let outputs = introduce(&mut reach, &other, WALL);
    assert!(outputs.contains(&Output::Send { to: other.node(), frame }), "{outputs:?}");
    assert!(reach.admits(other.node()));
}

#[test]
fn a_node_of_another_mesh_or_with_a_borrowed_certificate_is_turned_away_with_the_reason() {
    let other = identity(2, MeshId::of(b"another"));
    let mut reach = reach(&[]);
    step(&mut reach, at(0), Input::Link { peer: other.node(), change: LinkChange::Up { address: None } });
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
    step(&mut reach, at(0), Input::Addresses { peer: other, addresses: vec!["/ip4/127.0.0.1/tcp/1".into()] });
    for number in 0..1_000_u64 {
        let cell = CellId::of(&number.to_be_bytes());
        let frame = Frame::Route(crate::route::Message::Unknown { cell });
        step(&mut reach, at(0), Input::Send { to: other, frame });
    }
    assert_eq!(reach.peers[&other].waiting.len(), WAITING_MAX);
}

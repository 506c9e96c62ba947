//! Joining and the charter among whole nodes: how a stranger becomes a member, what it can do before, and that nobody need
//! be asked once it is decided.
mod world;

use bocage_protocol::{
    charter::{Counted, Matter, Motion},
    id::NodeId,
    identity::{Genesis, Keypair, Lineage, Party, Signed},
    notice::Notice,
    refusal::Code,
};
use world::{World, id, node_keys, secs};

#[test]
fn a_newcomer_with_an_invite_is_a_member_everywhere_within_seconds() {
    let mut world = World::of(&["alder", "birch", "cornel"]);
    let invite = world.invite(&["alder", "birch"], "alder", 1);
    let request = world.invited("dogrose", &invite);
    world.start("dogrose", Some("cornel"), Some(request));
    world.run(secs(3));
    for node in ["alder", "birch", "cornel", "dogrose"] {
        assert!(world.counts(node, "dogrose"), "as {node} counts");
    }
    assert!(world.roll("dogrose").counts);
    assert!(world.status("dogrose").neighbours >= 1, "others took it in as a neighbour");
    assert_eq!(world.status("alder").known_nodes, 4, "its presence counts");
    world.run(secs(2));
    let dogrose = node_keys("dogrose").node();
    for node in ["alder", "birch", "cornel", "dogrose"] {
        assert!(world.candidates(node).contains(&dogrose), "{node} may place there: what it offers is known");
    }
    let refused = world.notices("alder").iter().find(|it| matches!(it, Notice::RecordRefused { .. }));
    assert_eq!(refused, None, "on the way there it said nothing that it must not");
}

#[test]
fn an_invite_for_one_admits_one_however_many_hold_it_and_whatever_crashes() {
    let mut world = World::of(&["alder", "birch"]);
    let invite = world.invite(&["alder", "birch"], "alder", 1);
    for newcomer in ["dogrose", "elder"] {
        let request = world.invited(newcomer, &invite);
        world.start(newcomer, Some("birch"), Some(request));
    }
    world.run(secs(3));
    let admitted = ["dogrose", "elder"].map(|newcomer| world.counts("birch", newcomer));
    assert_eq!(admitted.iter().filter(|it| **it).count(), 1, "{admitted:?}");
    let loser = if admitted[0] { "elder" } else { "dogrose" };
    assert_eq!(world.case_of(loser, loser).unwrap().stamp, Some(Counted::Used), "and the other one is told why");
    let alder = world.kill("alder");
    world.run(secs(2));
    world.restart(alder);
    let request = world.invited("furze", &invite);
    world.start("furze", Some("alder"), Some(request));
    world.run(secs(5));
    assert!(!world.counts("birch", "furze"), "a witness that restarts goes on counting");
}

#[test]
fn the_electors_need_not_be_online_together_nor_the_newcomer_with_them() {
    let mut world = World::of(&["alder", "birch", "cornel"]);
    let request = world.request("dogrose");
    let motion = bocage_protocol::charter::Case::read(&request, world.mesh()).unwrap().id;
    world.start("dogrose", Some("alder"), Some(request.clone()));
    world.run(secs(2));
    assert_eq!(world.case_of("cornel", "dogrose").unwrap().yes, [], "the request waits everywhere");
    let (birch, dogrose) = (world.kill("birch"), world.kill("dogrose"));
    let vote = vec![request[0].clone(), world.ballot("alder", motion)];
    world.bring("alder", vote).unwrap();
    world.run(secs(75 * 60));
    assert_eq!(world.case_of("cornel", "dogrose").unwrap().yes.len(), 1);
    let alder = world.kill("alder");
    world.run(secs(5));
    world.restart(birch);
    world.run(secs(10));
    let vote = vec![request[0].clone(), world.ballot("birch", motion)];
    world.bring("birch", vote).unwrap();
    world.run(secs(2));
    assert!(world.counts("cornel", "dogrose"), "alder's ballot lives on though alder is gone");
    world.restart(dogrose);
    world.restart(alder);
    world.run(secs(30));
    assert!(world.roll("dogrose").counts && world.counts("alder", "dogrose"));
}

#[test]
fn a_stranger_is_no_neighbour_is_not_known_and_gets_nothing_through() {
    let mut world = World::of(&["alder", "birch"]);
    let request = world.request("mallow");
    world.start("mallow", Some("alder"), Some(request));
    world.run(secs(30));
    assert_eq!(world.status("mallow").neighbours, 0);
    assert_eq!(world.status("alder").known_nodes, 2);
    assert!(world.case_of("birch", "mallow").is_some(), "but its request is heard");
    assert!(world.peers_of("mallow").contains(&node_keys("alder").node()), "and its link stands, to hear the answer");
}

#[test]
fn a_newcomer_whose_clock_is_off_learns_it_and_is_nowhere_half_admitted() {
    for off in [-200, -20_000, 600] {
        let mut world = World::of(&["alder", "birch"]);
        let invite = world.invite(&["alder", "birch"], "alder", 1);
        let request = world.invited("dogrose", &invite);
        world.set_ahead("dogrose", off);
        world.start("dogrose", Some("alder"), Some(request.clone()));
        world.run(secs(30));
        // Less the time that the frame was under way.
        let knows = world.status("dogrose").clock_off_ms;
        assert!(knows.abs_diff(off * 1_000) < 100, "{knows} ms of {off} s");
        for node in ["alder", "birch"] {
            assert_eq!(world.case_of(node, "dogrose"), None, "{off}: {node} heard nothing");
        }
        world.kill("dogrose");
        world.set_ahead("dogrose", 0);
        world.start("dogrose", Some("alder"), Some(request));
        world.run(secs(5));
        assert!(world.counts("birch", "dogrose"), "{off}: with its clock set, the same invite does");
    }
}

#[test]
fn more_strangers_than_there_is_room_for_fill_the_waiting_room_and_nothing_else() {
    let mut world = World::of(&["alder", "birch"]);
    for n in 0..120 {
        let name = format!("sock puppet {n}");
        let request = world.request(&name);
        world.start(&name, Some("alder"), Some(request));
        if n % 10 == 0 {
            world.run(secs(1));
        }
    }
    world.run(secs(5));
    let linked = world.peers_of("alder").len();
    assert!(linked <= 33, "{linked} links");
    assert_eq!(world.status("birch").known_nodes, 2);
    assert!(world.roll("birch").cases.len() <= 64, "{}", world.roll("birch").cases.len());
    let invite = world.invite(&["alder", "birch"], "alder", 1);
    let request = world.invited("dogrose", &invite);
    world.start("dogrose", Some("birch"), Some(request));
    world.run(secs(5));
    assert!(world.counts("alder", "dogrose"), "whoever has an invite gets through at another node");
}

#[test]
fn an_excluded_operator_is_hung_up_on_everywhere_and_counts_no_more() {
    let mut world = World::of(&["alder", "birch", "cornel", "dogrose"]);
    let motion = world.motion("alder", Matter::Exclude { operator: id("dogrose"), reason: "floods us".into() });
    let said = ["alder", "birch", "cornel"].map(|elector| world.ballot(elector, motion.hash()));
    world.bring("alder", [vec![motion.envelope().clone()], said.to_vec()].concat()).unwrap();
    world.run(secs(10));
    let dogrose = node_keys("dogrose").node();
    for node in ["alder", "birch", "cornel"] {
        assert!(!world.counts(node, "dogrose"), "as {node} counts");
        assert!(!world.peers_of(node).contains(&dogrose), "{node} hung up");
        assert_eq!(world.status(node).known_nodes, 3);
    }
}

#[test]
fn a_node_that_does_not_know_how_its_mesh_was_founded_learns_it_from_its_peers() {
    let mut world = World::of(&["alder", "birch"]);
    world.run(secs(60));
    world.start_ignorant("mallow", "alder");
    world.run(secs(3));
    let roll = world.roll("mallow");
    assert_eq!(roll.founding.as_ref(), Some(&world.founding));
    assert!(!roll.counts, "and that it is no member");
}

#[test]
fn a_member_shows_its_certificate_to_whoever_never_heard_of_it() {
    let mut world = World::of(&["alder", "birch"]);
    let birch = node_keys("birch").node();
    world.cut = Box::new(move |a: NodeId, b: NodeId| a == birch || b == birch);
    let invite = world.invite(&["alder", "birch"], "alder", 1);
    let request = world.invited("cornel", &invite);
    world.start("cornel", Some("alder"), Some(request));
    world.run(secs(5));
    assert!(world.counts("alder", "cornel") && !world.counts("birch", "cornel"));
    let alder = node_keys("alder").node();
    world.kill("alder");
    world.cut = Box::new(move |a: NodeId, b: NodeId| a == alder || b == alder);
    let cornel = world.kill("cornel");
    world.restart(cornel);
    world.run(secs(60));
    assert!(world.counts("birch", "cornel"), "nobody who could be asked was there");
    assert_eq!(world.status("birch").known_nodes, 2, "cornel and itself");
}

#[test]
fn a_tenants_name_is_known_everywhere_and_lives_on_when_the_electors_are_gone() {
    let mut world = World::of(&["alder", "birch", "cornel"]);
    let key = Keypair::from_secret(&[9; 32]);
    let tenant = Lineage::first(Genesis::new(Party::Tenant, "wren", key.public(), world.wall()));
    let matter = Matter::Alias { name: "bakery".into(), tenant: Box::new(tenant.clone()) };
    let charter = world.charter();
    let motion = Motion { mesh: world.mesh(), charter: charter.hash(), matter, made: world.wall() };
    let motion = Signed::seal(&key, &motion);
    world.bring("cornel", vec![motion.envelope().clone()]).unwrap();
    world.run(secs(2));
    let vote = |world: &mut World, elector: &str| {
        let ballot = world.ballot(elector, motion.hash());
        world.bring(elector, vec![motion.envelope().clone(), ballot]).unwrap();
    };
    vote(&mut world, "alder");
    world.run(secs(6));
    let alder = world.kill("alder");
    vote(&mut world, "birch");
    world.run(secs(6));
    assert_eq!(world.roll("cornel").aliases["bakery"].holder, tenant.genesis.tenant());
    world.kill("birch");
    let cornel = world.kill("cornel");
    world.restart(cornel);
    world.run(secs(1));
    assert_eq!(world.roll("cornel").aliases.len(), 1, "its own disk knows it, with nobody there to be asked");
    world.restart(alder);
    world.run(secs(60));
    assert_eq!(world.roll("alder").aliases.len(), 1);
    let other = Lineage::first(Genesis::new(Party::Tenant, "finch", key.public(), world.wall()));
    let matter = Matter::Alias { name: "bakery".into(), tenant: Box::new(other) };
    let late = Signed::seal(&key, &Motion { mesh: world.mesh(), charter: charter.hash(), matter, made: world.wall() });
    let refused = world.bring("cornel", vec![late.envelope().clone()]).unwrap_err();
    assert_eq!(refused.code, Code::Conflict, "{refused:?}");
}

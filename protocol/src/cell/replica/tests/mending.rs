//! A cell that mends itself.
use std::time::Duration;

use super::world::{Knobs, World};
use crate::{
    cell::{
        Answer, CellConfig, Input, Query, Seeking,
        replica::missing::MISSED_AFTER,
        state::{RULES_OF_MISSES, fixture},
    },
    id::ReplicaId,
    membership::Liveness,
};

fn world(spare: usize) -> (World, usize) {
    let mut world = World::new(11, 3, spare, Knobs { places: true, ..Knobs::default() });
    world.run(Duration::from_millis(300));
    let leader = world.leader().expect("a founded cell elects");
    (world, leader)
}

fn condemn(world: &mut World, lost: usize) {
    let node = world.sites[lost].host.node();
    for site in 0..world.sites.len() {
        if site != lost {
            let evidence = [3, 4].iter().map(|other| world.sites[*other].host.verdict(node, Liveness::Down)).collect();
            world.input(site, Input::Verdict { node, down: true, evidence });
        }
    }
}

#[test]
fn a_lost_voter_is_replaced_by_a_learner_that_caught_up_through_one_joint_swap() {
    let (mut world, leader) = world(2);
    world.add_client(leader);
    world.run(Duration::from_secs(1));
    let lost = (leader + 1) % 3;
    let gone = world.replica(lost).replica();
    world.kill(lost);
    condemn(&mut world, lost);
    let newcomer = ReplicaId(4);
    let swapped = |world: &World| {
        let leader = world.leader().unwrap_or(0);
        let conf = world.replica(leader).conf();
        let mut voters = conf.voters.clone();
        voters.sort_unstable();
        conf.voters_outgoing.is_empty()
            && voters.contains(&newcomer.0)
            && !voters.contains(&gone.0)
            && voters.len() == 3
    };
    let took = world.run_until(Duration::from_secs(10), swapped).expect("the lost voter is replaced");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(world.fetched > 0, "the newcomer started from a snapshot");
    world.run(Duration::from_secs(1));
    // The newcomer's vote counts: with the leader gone too, it and the other one go on.
    let leader = world.leader().unwrap();
    world.kill(leader);
    world.stop_clients();
    let before = world.acknowledged.len();
    assert!(world.run_until(Duration::from_secs(4), |world| world.leader().is_some()).is_some());
    let next = world.leader().unwrap();
    world.add_client(next);
    world.run(Duration::from_secs(3));
    assert!(world.acknowledged.len() > before + 5);
    world.assert_sound();
}

#[test]
fn a_voter_that_lost_its_disk_rejoins_under_a_new_id_and_its_vote_counts() {
    for wipes_leader in [false, true] {
        let (mut world, leader) = world(0);
        world.add_client((leader + 2) % 3);
        world.run(Duration::from_secs(1));
        let wiped = if wipes_leader { leader } else { (leader + 1) % 3 };
        let was = world.replica(wiped).replica();
        world.wipe(wiped);
        let took = world.run_until(Duration::from_secs(40), |world| is_replaced(world, was)).expect("it rejoins");
        assert!(wipes_leader || took < Duration::from_secs(10), "{took:?}");
        assert_eq!(world.replica(wiped).replica(), ReplicaId(4));
        world.run(Duration::from_secs(1));
        let gone = world.leader().unwrap();
        world.kill(if gone == wiped { (gone + 1) % 3 } else { gone });
        let before = world.acknowledged.len();
        world.run(Duration::from_secs(5));
        assert!(world.acknowledged.len() > before + 5, "the newcomer and one other are a majority");
        world.assert_sound();
    }
}

/// Two members lost their disks one after the other; had the first voted again as who it was, the second would not matter.
#[test]
fn a_voter_that_lost_its_disk_never_speaks_under_its_old_id_again() {
    let (mut world, leader) = world(0);
    world.knobs.places = false;
    world.add_client(leader);
    world.run(Duration::from_secs(1));
    let wiped = (leader + 1) % 3;
    world.wipe(wiped);
    world.run(Duration::from_secs(10));
    assert!(world.sites[wiped].replica.is_none(), "nobody granted it anything, and it holds nothing");
    world.kill(leader);
    world.stop_clients();
    world.run(Duration::from_secs(30));
    assert!(world.leader().is_none(), "one of three that remembers is no majority");
    world.assert_sound();
}

#[test]
fn nobody_found_is_sought_again_only_after_ten_seconds() {
    let (mut world, leader) = world(2);
    world.knobs.places = false;
    let lost = (leader + 1) % 3;
    world.kill(lost);
    condemn(&mut world, lost);
    world.run(Duration::from_secs(1));
    let sought: Vec<_> = world.sought.iter().filter(|(_, need)| need.role == Seeking::Replica).cloned().collect();
    assert_eq!(sought.len(), 1, "{sought:?}");
    let leader = world.leader().unwrap();
    world.input(leader, Input::Found { need: sought[0].1.clone(), found: None });
    world.run(Duration::from_secs(9));
    let count = |world: &World| world.sought.iter().filter(|(_, need)| need.role == Seeking::Replica).count();
    assert_eq!(count(&world), 1);
    world.run(Duration::from_secs(3));
    assert_eq!(count(&world), 2);
}

fn agree_on_rules(world: &mut World) {
    let agreed = |world: &World| world.leader().is_some_and(|at| world.state(at).rules() >= RULES_OF_MISSES);
    world.run_until(Duration::from_secs(90), agreed).expect("the members say which rules they support");
}

/// Whether the cell goes on without that replica, with nobody still joining.
fn is_replaced(world: &World, gone: ReplicaId) -> bool {
    let state = world.leader().map(|at| world.state(at));
    state.is_some_and(|it| it.joining().is_none() && it.members().all(|member| member.replica != gone))
}

/// A voter dies, nobody speaks of it any more, and there is nobody yet who could replace it. `restarted`: the others have all
/// started again since.
fn a_late_newcomer_replaces_a_voter_that_died_long_ago(restarted: bool) {
    let (mut world, leader) = world(2);
    world.knobs.places = false;
    agree_on_rules(&mut world);
    let lost = (leader + 1) % 3;
    let gone = world.replica(lost).replica();
    world.kill(lost);
    let node = world.sites[lost].host.node();
    for site in (0..3).filter(|site| *site != lost) {
        world.input(site, Input::Link { node, up: false });
    }
    if restarted {
        for site in (0..3).filter(|site| *site != lost) {
            world.crash_at(Duration::from_secs(59), site);
            world.restart_at(Duration::from_secs(70), site);
        }
        world.run(Duration::from_secs(75));
    }
    world.run(MISSED_AFTER.saturating_sub(Duration::from_secs(10)));
    let at = world.leader().unwrap();
    assert!(!world.state(at).is_missed(gone), "not for long enough");
    world.run(Duration::from_mins(1));
    let at = world.leader().unwrap();
    assert!(world.state(at).is_missed(gone));
    assert_eq!(world.state(at).joining(), None, "there is nobody who could come");
    world.knobs.places = true;
    world.run_until(Duration::from_secs(30), |world| is_replaced(world, gone)).expect("somebody came, and replaced it");
    world.assert_sound();
}

#[test]
fn a_voter_that_died_when_nobody_could_replace_it_is_replaced_once_somebody_can() {
    a_late_newcomer_replaces_a_voter_that_died_long_ago(false);
}

#[test]
fn who_starts_after_a_member_died_misses_it_too() {
    a_late_newcomer_replaces_a_voter_that_died_long_ago(true);
}

#[test]
fn who_comes_back_after_long_is_missed_no_more() {
    let (mut world, leader) = world(0);
    agree_on_rules(&mut world);
    let lost = (leader + 1) % 3;
    let (gone, node) = (world.replica(lost).replica(), world.sites[lost].host.node());
    world.crash_at(Duration::ZERO, lost);
    let others: Vec<usize> = (0..3).filter(|site| *site != lost).collect();
    // The clock of one who follows is ahead when he says it, and is set back before he takes it back.
    let follower = others[usize::from(others[0] == leader)];
    world.sites[follower].wall_ahead = Duration::from_mins(10);
    for site in &others {
        world.input(*site, Input::Link { node, up: false });
    }
    let missed = |world: &World| world.leader().is_some_and(|at| world.state(at).is_missed(gone));
    world.run_until(MISSED_AFTER + Duration::from_mins(1), missed).expect("both miss it");
    world.sites[follower].wall_ahead = Duration::ZERO;
    world.restart_at(Duration::ZERO, lost);
    for site in &others {
        world.input(*site, Input::Link { node, up: true });
    }
    let voters = [world.replica(others[0]).replica(), world.replica(others[1]).replica()];
    let taken_back = |world: &World| {
        let state = world.leader().map(|at| world.state(at));
        state.is_some_and(|it| voters.iter().all(|voter| !it.is_missed_by(gone, *voter)))
    };
    world.run_until(Duration::from_secs(40), taken_back).expect("both have it again");
    world.assert_sound();
}

#[test]
fn a_member_that_comes_back_with_entries_that_were_never_agreed_gives_them_up() {
    let (mut world, lost) = world(0);
    let others = [(lost + 1) % 3, (lost + 2) % 3];
    for other in others {
        world.cut(lost, other, true);
    }
    let write = world.write(1, vec![fixture::set("s", "k", "never agreed")]);
    world.propose(lost, write, Duration::from_millis(50));
    world.run(Duration::from_millis(100));
    world.crash_at(Duration::ZERO, lost);
    world.run_until(Duration::from_secs(5), |world| world.leader().is_some()).expect("the others elect");
    let next = world.leader().unwrap();
    world.add_client(next);
    world.run(Duration::from_secs(2));
    world.stop_clients();
    for other in others {
        world.cut(lost, other, false);
    }
    world.restart_at(Duration::ZERO, lost);
    let caught_up = |world: &World| world.applied(lost) > 0 && world.applied(lost) == world.applied(next);
    world.run_until(Duration::from_secs(10), caught_up).expect("it takes the others' entries");
    let query = Query::Get { store: "s".into(), key: "k".into() };
    assert_eq!(world.state(lost).answer(&query), world.state(next).answer(&query));
    assert_eq!(world.state(lost).answer(&query), Answer::Value(None));
    world.assert_sound();
}

/// A voter was replaced while it was away; when it comes back it knows only one of those who are left, which does not lead.
/// `tail`: it led, and its log ends with what was never agreed.
fn who_was_replaced_comes_back(config: CellConfig, tail: bool) {
    let mut world = World::new(11, 3, 2, Knobs { places: true, config, ..Knobs::default() });
    agree_on_rules(&mut world);
    let leader = world.leader().unwrap();
    let lost = if tail { leader } else { (leader + 1) % 3 };
    let others = [(lost + 1) % 3, (lost + 2) % 3];
    let gone = world.replica(lost).replica();
    if tail {
        for other in others {
            world.cut(lost, other, true);
        }
        let write = world.write(1, vec![fixture::set("s", "k", "never agreed")]);
        world.propose(lost, write, Duration::from_secs(1));
        world.run(Duration::from_millis(100));
    }
    world.crash_at(Duration::ZERO, lost);
    world.run(Duration::from_secs(2));
    for other in others {
        world.cut(lost, other, false);
    }
    condemn(&mut world, lost);
    world.run_until(Duration::from_secs(10), |world| is_replaced(world, gone)).expect("it is replaced");
    let leader = world.leader().unwrap();
    let other = if leader == others[0] { others[1] } else { others[0] };
    world.add_client(leader);
    world.run(Duration::from_secs(5));
    world.stop_clients();
    let knows_none_that_leads = |world: &World| world.leader().is_some_and(|at| at > 2);
    world.input(leader, Input::Depart);
    world.run(Duration::from_secs(2));
    world.kill(leader);
    if !knows_none_that_leads(&world) {
        world.input(other, Input::Depart);
    }
    world.run_until(Duration::from_secs(20), knows_none_that_leads).expect("the newcomer leads");
    world.knobs.places = false;
    world.restart_at(Duration::ZERO, lost);
    let ended = |world: &World| world.sites[lost].left == Some(gone);
    let took = world.run_until(Duration::from_secs(30), ended).expect("it is told that it has left");
    assert!(took < Duration::from_secs(10), "{took:?}");
    world.assert_sound();
}

#[test]
fn who_was_replaced_and_comes_back_to_strangers_is_told_by_one_who_does_not_lead() {
    who_was_replaced_comes_back(CellConfig::default(), false);
}

#[test]
fn who_was_replaced_so_long_ago_that_no_log_tells_it_is_shown_the_state() {
    who_was_replaced_comes_back(CellConfig { snapshot_entries: 10, ..CellConfig::default() }, false);
}

#[test]
fn who_was_replaced_and_comes_back_with_entries_that_were_never_agreed_is_shown_the_state() {
    who_was_replaced_comes_back(CellConfig::default(), true);
}

#[test]
fn a_silent_host_loses_its_lease_and_a_stand_in_is_there_before() {
    let (mut world, leader) = world(0);
    // The one instance runs on the first host; it never renews. Its node is called down, so a stand-in starts at once.
    let first = world.sites[0].host.node();
    for site in 0..3 {
        world.input(site, Input::Link { node: first, up: false });
    }
    world.run(Duration::from_secs(2));
    let leader = world.leader().unwrap_or(leader);
    let leases = |world: &World| world.state(leader).leases().map(|lease| lease.node).collect::<Vec<_>>();
    assert_eq!(leases(&world).len(), 2, "the stand-in is there, the silent lease still holds");
    let ended = |world: &World| !world.state(leader).leases().any(|lease| lease.node == first);
    let took = world.run_until(Duration::from_secs(30), ended).expect("it was silent for too long");
    assert!(took >= Duration::from_secs(9), "{took:?}");
    world.assert_sound();
}

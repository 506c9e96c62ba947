//! A majority is lost for good, and the cell goes on from what one survivor holds.
use std::time::Duration;

use super::world::{Knobs, STORE, World, counter};
use crate::{
    cell::{
        Barrier, Base, Carried, Input, Message, Query, Reached, Recovered, RecoveryPapers, State,
        state::{
            RULES_OF_RECOVERY,
            fixture::{self, Party},
        },
    },
    identity::Signed,
    placement::{Grade, Recovery as Recoverers},
    refusal::Code,
    time::Instant,
};

const SURVIVOR: usize = 0;

/// Three voters that have counted for a second, and as many hosts that stand by.
fn world(seed: u64, recoverers: Recoverers) -> World {
    let mut world = World::new(seed, 3, 3, Knobs { places: true, recoverers, ..Knobs::default() });
    world.run(Duration::from_millis(300));
    let leader = world.leader().expect("a founded cell elects");
    world.add_client(leader);
    world.run(Duration::from_secs(1));
    world
}

/// Both others burn.
fn burn(world: &mut World) {
    world.kill(1);
    world.kill(2);
    world.run(Duration::from_secs(10));
}

fn base(world: &World) -> Base {
    let holding = world.replica(SURVIVOR).holding(world.now).expect("the survivor holds a state");
    holding.base
}

fn papers(world: &World) -> RecoveryPapers {
    let (state, now) = (world.state(SURVIVOR), world.clock().wall);
    fixture::recovery(state, base(world), &world.founding.tenant, &[], now)
}

fn recover(world: &mut World, ticket: u64, papers: RecoveryPapers) -> Result<u64, Code> {
    world.input(SURVIVOR, Input::Recover { ticket, papers: Box::new(papers) });
    world.run_until(Duration::from_secs(1), |world| world.carried.contains_key(&ticket)).expect("it is answered");
    world.carried[&ticket].clone().map_err(|refusal| refusal.code)
}

fn count(world: &mut World) -> i64 {
    let leader = world.leader().expect("somebody leads");
    let request = world.read(leader, Barrier::Linear, Duration::from_secs(2));
    world.run_until(Duration::from_secs(2), |world| world.answers.contains_key(&request)).expect("it is answered");
    let Reached::Yes(answered) = &world.answers[&request] else { panic!("{:?}", world.answers[&request]) };
    counter(&answered.answers[0])
}

fn is_whole(world: &World) -> bool {
    let Some(leader) = world.leader() else { return false };
    let state = world.state(leader);
    let votes = state.members().filter(|member| member.votes).count();
    votes == 3 && state.joining().is_none() && world.replica(leader).conf().voters_outgoing.is_empty()
}

#[test]
fn a_lone_survivor_goes_on_with_all_that_it_held_and_is_three_again_soon() {
    for seed in 0..6 {
        let mut world = world(seed, Recoverers::default());
        world.stop_clients();
        world.run_until(Duration::from_secs(2), World::clients_are_idle).unwrap();
        let acknowledged = *world.acknowledged.last().unwrap();
        // What was acknowledged reaches the survivor with the next heartbeat at the latest.
        world.run(Duration::from_millis(400));
        burn(&mut world);
        assert!(world.leader().is_none_or(|leader| leader != SURVIVOR), "one of three does not lead");
        let (writer, papers) = (world.state(SURVIVOR).writer(), papers(&world));

        assert_eq!(recover(&mut world, 1, papers), Ok(2));
        assert!(world.run_until(Duration::from_secs(2), |world| world.leader() == Some(SURVIVOR)).is_some());
        assert_eq!((world.state(SURVIVOR).line(), world.state(SURVIVOR).writer()), (2, writer + 1));
        assert_eq!(world.state(SURVIVOR).grade(), Grade::Nothing, "one voter survives nothing, and says so");
        assert!(world.state(SURVIVOR).rules() >= RULES_OF_RECOVERY);
        assert_eq!(count(&mut world), acknowledged);
        world.add_client(SURVIVOR);
        assert!(world.run_until(Duration::from_secs(30), is_whole).is_some());
        assert!(world.state(SURVIVOR).grade() > Grade::Nothing);
        world.run(Duration::from_secs(1));
        assert!(*world.acknowledged.last().unwrap() > acknowledged, "it counts on");
        // Now it survives the loss of the survivor.
        world.kill(SURVIVOR);
        world.stop_clients();
        assert!(world.run_until(Duration::from_secs(5), |world| world.leader().is_some()).is_some());
        let counted = *world.acknowledged.last().unwrap();
        assert!(count(&mut world) >= counted);
        world.assert_sound();
    }
}

#[test]
fn what_a_survivor_has_logged_and_nobody_agreed_on_is_not_lost() {
    let mut world = world(3, Recoverers::default());
    world.stop_clients();
    world.run_until(Duration::from_secs(2), World::clients_are_idle).unwrap();
    let leader = world.leader().unwrap();
    (0..3).filter(|site| *site != leader).for_each(|site| world.kill(site));
    let before = world.applied(leader);
    let writes = vec![fixture::set(STORE, "late", "word")];
    let command = world.write(1, writes);
    world.propose(leader, command, Duration::from_secs(1));
    world.run(Duration::from_secs(10));
    assert_eq!(world.applied(leader), before, "one of three agrees on nothing");
    let (state, now) = (world.state(leader), world.clock().wall);
    let base = world.replica(leader).holding(world.now).unwrap().base;
    let papers = fixture::recovery(state, base, &world.founding.tenant, &[], now);
    world.input(leader, Input::Recover { ticket: 1, papers: Box::new(papers) });
    world.run(Duration::from_secs(2));
    assert_eq!(world.carried[&1], Ok(2));
    let query = Query::Get { store: STORE.into(), key: "late".into() };
    let crate::cell::Answer::Value(Some(value)) = world.state(leader).answer(&query) else { panic!("it is lost") };
    assert_eq!(&value.value[..], b"word");
    world.assert_sound();
}

#[test]
fn members_that_come_back_to_an_ended_line_stop_and_hold_nothing_that_the_survivor_lacks() {
    let mut world = world(5, Recoverers::default());
    world.stop_clients();
    world.run(Duration::from_secs(2));
    burn(&mut world);
    let papers = papers(&world);
    assert_eq!(recover(&mut world, 1, papers), Ok(2));
    assert!(world.run_until(Duration::from_secs(30), is_whole).is_some());
    world.restart_at(Duration::ZERO, 1);
    world.restart_at(Duration::ZERO, 2);
    world.run(Duration::from_secs(10));
    for site in [1, 2] {
        // It may have been brought in again by now, under another id.
        let lives_on = world.sites[site].replica.as_ref().and_then(crate::cell::Replica::state).map_or(2, State::line);
        assert_eq!(lives_on, 2, "site {site}");
        assert!(world.sites[site].left.is_some(), "site {site} goes on");
        assert!(world.sites[site].kept.is_none(), "site {site} keeps what is in the new line");
    }
    assert!(is_whole(&world));
    world.assert_sound();
}

/// The others are not lost, only cut off, and go on: a fork.
fn fork(world: &mut World) -> i64 {
    world.stop_clients();
    for other in 1..world.sites.len() {
        world.cut(SURVIVOR, other, other < 3);
    }
    for (old, new) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
        world.cut(old, new, true);
    }
    world.run(Duration::from_secs(10));
    let papers = papers(world);
    assert_eq!(recover(world, 1, papers), Ok(2));
    assert!(world.run_until(Duration::from_secs(30), |world| world.state(SURVIVOR).members().count() == 3).is_some());
    let other = [1, 2].into_iter().find(|site| world.replica(*site).is_leader()).expect("two of three go on");
    assert_eq!(world.state(other).line(), 1);
    world.add_client(other);
    world.run(Duration::from_secs(2));
    world.stop_clients();
    world.run(Duration::from_secs(2));
    *world.acknowledged.last().unwrap()
}

#[test]
fn after_a_fork_one_line_goes_on_and_the_later_writes_of_the_other_are_kept() {
    let mut world = world(7, Recoverers::default());
    let there = fork(&mut world);
    let here = count_on(&world, SURVIVOR);
    assert!(there > here, "{there} {here}");
    for old in [1, 2] {
        for new in [SURVIVOR, 3, 4, 5] {
            world.cut(old, new, false);
        }
    }
    world.run(Duration::from_secs(10));
    let kept: Vec<i64> = [1, 2].iter().filter_map(|site| world.sites[*site].kept.as_ref()).map(value).collect();
    assert_eq!(kept.len(), 2, "both held what was agreed there");
    assert!(kept.contains(&there), "{there} is nowhere: {kept:?}");
    assert!([1, 2].iter().all(|site| world.sites[*site].left.is_some()));
    let lines: Vec<u64> = world.sites.iter().filter_map(|it| it.replica.as_ref()?.state()).map(State::line).collect();
    assert!(lines.iter().all(|line| *line == 2), "{lines:?}");
    assert_eq!(count(&mut world), here, "nothing of the other line comes back");
    world.assert_sound();
}

fn value(state: &State) -> i64 {
    counter(&state.answer(&Query::Get { store: STORE.into(), key: super::world::COUNTER.into() }))
}

fn count_on(world: &World, site: usize) -> i64 {
    value(world.state(site))
}

#[test]
fn whatever_is_wrong_with_a_recovery_it_is_refused_and_nothing_has_changed() {
    let named = [Party::operator("orla"), Party::operator("odo"), Party::operator("olga")];
    let recoverers = Recoverers { operators: named.iter().map(Party::operator_id).collect(), threshold: 2 };
    let mut world = world(9, recoverers);
    world.stop_clients();
    world.run(Duration::from_secs(1));
    let tenant = world.founding.tenant.clone();
    let (stranger, mallory) = (Party::tenant("mallory"), Party::operator("mallory"));
    let make = |world: &World, tenant: &Party, by: &[&Party]| {
        let (state, now) = (world.state(SURVIVOR), world.clock().wall);
        fixture::recovery(state, base(world), tenant, by, now)
    };
    let both = [&named[0], &named[2]];

    let too_soon = make(&world, &tenant, &both);
    assert_eq!(recover(&mut world, 1, too_soon), Err(Code::Conflict), "its majority is there");
    burn(&mut world);
    let digest = world.state(SURVIVOR).digest();
    let good = make(&world, &tenant, &both);
    let statement = good.statement.open().unwrap();
    let sign = |recovery| fixture::sign_recovery(&recovery, &tenant, &both);
    let other_key = RecoveryPapers { statement: make(&world, &stranger, &both).statement, ..good.clone() };
    let expired = crate::cell::Recovery { until: statement.made, ..statement.clone() };
    let for_long = crate::cell::Recovery { until: statement.made + Duration::from_hours(25), ..statement.clone() };
    let early = crate::cell::Recovery { made: statement.made + Duration::from_mins(10), ..statement.clone() };
    let shorter = Base { index: statement.base.index - 1, ..statement.base };
    let bad = [
        (make(&world, &stranger, &both), Code::Unauthorised),
        (other_key, Code::Unauthorised),
        (make(&world, &tenant, &[&named[0]]), Code::Unauthorised),
        (make(&world, &tenant, &[&named[0], &named[0]]), Code::Unauthorised),
        (make(&world, &tenant, &[&named[0], &mallory]), Code::Unauthorised),
        (RecoveryPapers { operators: Vec::new(), ..good.clone() }, Code::Unauthorised),
        (sign(expired), Code::Expired),
        (sign(for_long), Code::Invalid),
        (sign(early), Code::Invalid),
        (sign(crate::cell::Recovery { line: 2, ..statement.clone() }), Code::Fenced),
        (sign(crate::cell::Recovery { base: shorter, ..statement.clone() }), Code::Conflict),
        (
            sign(crate::cell::Recovery { cell: fixture::genesis(&fixture::hosts(1)).cell(), ..statement.clone() }),
            Code::Unauthorised,
        ),
    ];
    for (ticket, (papers, code)) in (2..).zip(bad) {
        assert_eq!(recover(&mut world, ticket, papers), Err(code), "{ticket}");
        assert_eq!(world.unbelieved.len(), usize::try_from(ticket).unwrap());
    }
    assert_eq!((world.state(SURVIVOR).line(), world.state(SURVIVOR).digest()), (1, digest));

    assert_eq!(recover(&mut world, 100, good.clone()), Ok(2), "and what is right is done");
    world.run(Duration::from_secs(1));
    assert_eq!(recover(&mut world, 101, good), Err(Code::Fenced), "once");
    world.assert_sound();
}

#[test]
fn a_power_cut_before_the_new_line_is_durable_leaves_the_old_one() {
    let mut world = world(13, Recoverers::default());
    world.stop_clients();
    world.run(Duration::from_secs(1));
    burn(&mut world);
    let papers = papers(&world);
    world.input(SURVIVOR, Input::Recover { ticket: 1, papers: Box::new(papers.clone()) });
    assert_eq!(world.state(SURVIVOR).line(), 2);
    world.kill(SURVIVOR);
    assert!(world.carried.is_empty(), "nobody was told");
    world.restart_at(Duration::ZERO, SURVIVOR);
    world.run(Duration::from_secs(10));
    assert_eq!(world.state(SURVIVOR).line(), 1);
    assert_eq!(recover(&mut world, 2, papers), Ok(2), "the same papers do");
    world.kill(SURVIVOR);
    world.restart_at(Duration::ZERO, SURVIVOR);
    world.run(Duration::from_secs(5));
    assert_eq!((world.state(SURVIVOR).line(), world.leader()), (2, Some(SURVIVOR)));
    world.assert_sound();
}

#[test]
fn nobody_stops_a_replica_with_a_recovery_that_was_not_carried_out_or_not_signed() {
    let mut world = world(17, Recoverers::default());
    let (state, now) = (world.state(SURVIVOR), world.clock().wall);
    let (tenant, thief) = (world.founding.tenant.clone(), Party::tenant("thief"));
    let lost = Base { node: world.sites[4].host.node(), replica: crate::id::ReplicaId(2), ..base(&world) };
    let signed = fixture::recovery(state, lost, &tenant, &[], now);
    let stolen = fixture::recovery(state, lost, &thief, &[], now + Duration::from_millis(1));
    let carried = |papers: &RecoveryPapers, line| {
        let (recovery, cell) = (papers.statement.hash(), world.cell);
        Carried { recovery, cell, line, index: 99, replica: crate::id::ReplicaId(4), at: now }
    };
    let by = |site: usize, said: &Carried| Signed::seal(&world.sites[site].host.keys, said);
    let forged = [
        Recovered { carried: by(5, &carried(&signed, 2)), papers: signed.clone() },
        Recovered { carried: by(4, &carried(&stolen, 2)), papers: stolen.clone() },
        Recovered { carried: by(4, &carried(&stolen, 2)), papers: signed.clone() },
        Recovered { carried: by(4, &carried(&signed, 9)), papers: signed.clone() },
        Recovered {
            carried: by(4, &Carried { at: now + Duration::from_hours(2), ..carried(&signed, 2) }),
            papers: signed.clone(),
        },
    ];
    let truth = Recovered { carried: by(4, &carried(&signed, 2)), papers: signed.clone() };
    let from = world.sites[4].host.node();
    for (at, recovered) in (1..).zip(forged) {
        for site in 0..3 {
            world.input(site, Input::Received { from, message: Message::Recovered(Box::new(recovered.clone())) });
        }
        assert_eq!(world.unbelieved.len(), 3 * at);
    }
    let before = world.acknowledged.len();
    world.run(Duration::from_secs(1));
    assert!(world.acknowledged.len() > before, "it goes on");
    for site in 0..3 {
        world.input(site, Input::Received { from, message: Message::Recovered(Box::new(truth.clone())) });
        assert!(world.sites[site].replica.is_none(), "what is true stops site {site}");
        assert!(world.sites[site].kept.is_some(), "and it keeps what it held beyond");
    }
    assert!(world.now > Instant::START);
}

#[test]
fn of_two_recoveries_of_one_line_the_later_one_stands() {
    let mut world = world(19, Recoverers::default());
    world.stop_clients();
    world.run(Duration::from_secs(1));
    for one in 0..6 {
        (0..one).for_each(|other| world.cut(one, other, true));
    }
    world.run(Duration::from_secs(10));
    for (ticket, site) in [(1, 1), (2, SURVIVOR)] {
        let (state, now) = (world.state(site), world.clock().wall);
        let base = world.replica(site).holding(world.now).unwrap().base;
        let papers = Box::new(fixture::recovery(state, base, &world.founding.tenant, &[], now));
        world.input(site, Input::Recover { ticket, papers });
        world.run(Duration::from_secs(2));
        assert_eq!(world.carried[&ticket], Ok(2));
    }
    world.cut(0, 1, false);
    // Each hears by a binding of the other.
    for (site, other) in [(SURVIVOR, 1), (1, SURVIVOR)] {
        let nodes = vec![world.sites[other].host.node()];
        world.input(site, Input::Later { line: 2, nodes });
        world.run(Duration::from_secs(3));
    }
    assert!(world.replica(SURVIVOR).is_leader(), "the later one stands");
    assert!(
        world.sites[1].replica.is_none() && world.sites[1].kept.is_some(),
        "the other ends, and what it held is kept"
    );
}

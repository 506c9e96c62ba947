use super::*;
use crate::cell::Outcome;

fn at(ms: u64) -> Now {
    Now { instant: Instant::from_nanos(ms * 1_000_000), ..Now::default() }
}

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn cell() -> CellId {
    CellId([9; 32])
}

fn step(caller: &mut Caller, now: Now, input: Input) -> Vec<Output> {
    caller.handle_input(now, input);
    std::iter::from_fn(|| caller.poll_output()).collect()
}

fn timeout(caller: &mut Caller) -> (Now, Vec<Output>) {
    let now = Now { instant: caller.poll_timeout().unwrap().at, ..Now::default() };
    caller.handle_timeout(now);
    (now, std::iter::from_fn(|| caller.poll_output()).collect())
}

fn located(leader: Option<NodeId>) -> Input {
    Input::Located { cell: cell(), voters: vec![node(1), node(2), node(3)], leader }
}

fn submit(deadline_ms: u64) -> Input {
    let command = crate::cell::Command::Repair(Box::new(crate::cell::Repair::Promote {
        learner: crate::id::ReplicaId(1),
        leaves: None,
    }));
    Input::Call {
        owner: Owner::Person(RequestId(7)),
        context: Context::until(RequestId(7), at(deadline_ms).instant),
        cell: cell(),
        what: What::Submit(Box::new(command)),
    }
}

fn sent_to(outputs: &[Output]) -> Option<NodeId> {
    outputs.iter().find_map(|output| match output {
        Output::Send { to, .. } => Some(*to),
        Output::Locate(_) | Output::Done { .. } => None,
    })
}

fn outcome(from: NodeId, result: Reached<Applied>) -> Input {
    Input::Outcome { from, request: RequestId(1), result }
}

#[test]
fn a_hint_is_followed_at_once_and_the_answer_comes_once() {
    let mut caller = Caller::new(node(0));
    step(&mut caller, at(0), located(None));
    assert_eq!(sent_to(&step(&mut caller, at(0), submit(5_000))), Some(node(1)));
    let outputs = step(&mut caller, at(1), outcome(node(1), Reached::NotLeader(Some(node(3)))));
    assert_eq!(sent_to(&outputs), Some(node(3)));
    let yes = Reached::Yes(Applied { index: 4, outcome: Outcome::Done });
    let outputs = step(&mut caller, at(2), outcome(node(3), yes.clone()));
    assert!(matches!(outputs[..], [Output::Done { result: Ok(_), .. }]), "{outputs:?}");
    assert!(step(&mut caller, at(3), outcome(node(3), yes)).is_empty());
    assert_eq!(caller.poll_timeout(), None);
}

#[test]
fn a_broken_link_sends_the_call_to_another_voter_and_a_new_leader_gets_it_at_once() {
    let mut caller = Caller::new(node(0));
    step(&mut caller, at(0), located(Some(node(1))));
    assert_eq!(sent_to(&step(&mut caller, at(0), submit(5_000))), Some(node(1)));
    let next = sent_to(&step(&mut caller, at(10), Input::PeerDown(node(1)))).unwrap();
    assert_ne!(next, node(1));
    step(&mut caller, at(11), outcome(next, Reached::NotLeader(None)));
    assert_eq!(sent_to(&step(&mut caller, at(12), located(Some(node(3))))), Some(node(3)));
}

/// Followers name the dead leader until they have elected another: following them would cost two seconds each time.
#[test]
fn a_leader_whose_link_broke_is_not_asked_again_however_often_its_followers_name_it() {
    let mut caller = Caller::new(node(0));
    step(&mut caller, at(0), located(Some(node(1))));
    step(&mut caller, at(0), submit(5_000));
    let mut next = sent_to(&step(&mut caller, at(10), Input::PeerDown(node(1)))).unwrap();
    let mut asked = std::collections::BTreeSet::from([next]);
    for _ in 0..20 {
        let outputs = step(&mut caller, at(11), outcome(next, Reached::NotLeader(Some(node(1)))));
        assert_eq!(sent_to(&outputs), None, "the dead leader was asked");
        let (now, outputs) = timeout(&mut caller);
        assert!(now.instant <= at(61).instant, "waited until {:?}", now.instant);
        next = sent_to(&outputs).unwrap();
        asked.insert(next);
    }
    assert_eq!(asked, std::collections::BTreeSet::from([node(2), node(3)]));
    step(&mut caller, at(62), Input::PeerUp(node(1)));
    let outputs = step(&mut caller, at(62), outcome(next, Reached::NotLeader(Some(node(1)))));
    assert_eq!(sent_to(&outputs), Some(node(1)), "back again, it is asked");
}

#[test]
fn after_a_cut_the_voter_that_is_linked_again_is_asked_before_those_that_must_be_dialled() {
    let mut caller = Caller::new(node(9));
    step(&mut caller, at(0), located(None));
    (1..=3).for_each(|number| drop(step(&mut caller, at(0), Input::PeerDown(node(number)))));
    let healed = 60_000;
    step(&mut caller, at(healed), Input::PeerUp(node(3)));
    let mut asked = vec![sent_to(&step(&mut caller, at(healed), submit(healed + 30_000)))];
    for _ in 0..2 {
        asked.push(sent_to(&timeout(&mut caller).1));
    }
    // It comes first, and the others get their turn if it says nothing.
    assert_eq!(asked, [3, 1, 2].map(|number| Some(node(number))));
}

/// A voter may be without a link for other reasons than its death: it is dialled after a while.
#[test]
fn a_voter_that_was_lost_long_ago_is_asked_if_another_names_it() {
    let mut caller = Caller::new(node(0));
    step(&mut caller, at(0), Input::PeerDown(node(1)));
    step(&mut caller, at(4_000), located(Some(node(2))));
    step(&mut caller, at(4_000), submit(9_000));
    let outputs = step(&mut caller, at(4_001), outcome(node(2), Reached::NotLeader(Some(node(1)))));
    assert_eq!(sent_to(&outputs), Some(node(1)));
}

#[test]
fn at_the_deadline_a_command_that_was_sent_is_indefinite_and_one_that_was_not_is_definite() {
    for (known, certainty) in [(true, Certainty::Indefinite), (false, Certainty::Definite)] {
        let mut caller = Caller::new(node(0));
        if known {
            step(&mut caller, at(0), located(None));
        }
        step(&mut caller, at(0), submit(3_000));
        let refusal = loop {
            let (now, outputs) = timeout(&mut caller);
            assert!(now.instant <= at(3_000).instant, "no answer by the deadline");
            if let Some(Output::Done { result: Err(refusal), .. }) = outputs.last() {
                break refusal.clone();
            }
        };
        assert_eq!(refusal.certainty, certainty);
    }
}

#[test]
fn two_replicas_that_point_at_each_other_are_not_asked_in_a_tight_circle() {
    let mut caller = Caller::new(node(0));
    step(&mut caller, at(0), located(Some(node(1))));
    let mut to = sent_to(&step(&mut caller, at(0), submit(5_000)));
    let mut asked = 0;
    while let Some(from) = to {
        asked += 1;
        assert!(asked < 10, "asked {asked} times in the same millisecond");
        let other = if from == node(1) { node(2) } else { node(1) };
        to = sent_to(&step(&mut caller, at(0), outcome(from, Reached::NotLeader(Some(other)))));
    }
    assert!(caller.poll_timeout().unwrap().at >= at(50).instant);
}

/// Whoever was asked first may do it yet, whatever the next one says of his own try.
#[test]
fn a_no_is_not_for_certain_while_an_earlier_attempt_is_open() {
    for (answers, certainty) in [(true, Certainty::Definite), (false, Certainty::Indefinite)] {
        let mut caller = Caller::new(node(0));
        step(&mut caller, at(0), located(Some(node(1))));
        assert_eq!(sent_to(&step(&mut caller, at(0), submit(5_000))), Some(node(1)));
        let next = if answers {
            sent_to(&step(&mut caller, at(10), outcome(node(1), Reached::NotLeader(Some(node(2))))))
        } else {
            sent_to(&step(&mut caller, at(10), Input::PeerDown(node(1))))
        };
        let no = Reached::No(Refusal::definite(Code::Full, "too many proposals wait in this cell"));
        let outputs = step(&mut caller, at(11), outcome(next.unwrap(), no));
        let [Output::Done { result: Err(refusal), .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(refusal.certainty, certainty, "the first one answered: {answers}");
    }
}

//! Stories of placing, told to a sponsor alone: what it asks, and what it does with the answers.
use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    capacity::fixture::{TestNode, WALL, law, mesh},
    cell::{Member, Need, State, fixture},
    context::WireContext,
    id::ReplicaId,
    time::Instant,
};

const START: Now = Now { instant: Instant::START, wall: WALL };

fn after(wait: Duration) -> Now {
    Now { instant: START.instant + wait, wall: WALL + wait }
}

/// Home FR, away CN, as the demo's app.
fn policy() -> Policy {
    Policy { home: vec![law("FR")], away: vec![law("CN")], voters: 1, ..Policy::default() }
}

struct Story {
    sponsor: Sponsor,
    here: TestNode,
    gates: [TestNode; 2],
}

impl Story {
    /// A node in France that knows two gates of China, and is asked for a plan.
    fn begin() -> Self {
        let here = TestNode::new("ada", "ada-1", "attic", "FR");
        let gates = [TestNode::new("cai", "cai-1", "canal", "CN"), TestNode::new("chu", "chu-1", "quay", "CN")];
        let mut sponsor = Sponsor::new(here.identity.clone(), mesh(), "localhost".into(), None);
        let known = gates.iter().map(|gate| (gate.id(), vec![gate.address()])).collect();
        sponsor.handle_input(START, Input::Gates(vec![(law("CN"), known)]));
        assert_eq!(sponsor.poll_output(), None);
        let context = Context::until(RequestId(7), START.instant + Duration::from_secs(10));
        let goal = Goal::Plan { policy: Box::new(policy()) };
        sponsor.handle_input(START, Input::Start { context, goal: Box::new(goal) });
        Self { sponsor, here, gates }
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.sponsor.poll_output()).collect()
    }

    /// The gates that it asked, with what names the answer.
    fn asked(&mut self) -> Vec<(NodeId, WireContext)> {
        let asked = self.drain().into_iter().filter_map(|output| match output {
            Output::Send { to, message: Message::Candidates { context, .. }, .. } => Some((to, context)),
            _ => None,
        });
        asked.collect()
    }

    fn market_answers(&mut self, request: RequestId) {
        let candidates = vec![(self.here.candidate(), vec![self.here.address()])];
        self.sponsor.handle_input(START, Input::Candidates { request, named: Named { candidates, withheld: vec![] } });
    }

    fn gate_answers(&mut self, gate: NodeId, request: RequestId, candidates: Vec<(Candidate, Vec<Address>)>) {
        let message = Message::CandidatesFound { request, candidates, withheld: None };
        self.sponsor.handle_input(START, Input::Received { from: gate, message });
    }
}

fn is_planned(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Reply { result: Ok(Reply::Planned(_)), .. }))
}

/// Each deploy of the demo once waited out `GATHER_MAX`, because an answer without candidates was taken for none.
#[test]
fn a_gate_that_has_nobody_to_name_costs_no_wait() {
    let mut story = Story::begin();
    let asked = story.asked();
    assert_eq!(asked.len(), 2, "both gates are asked");
    let request = asked[0].1.request;
    story.market_answers(request);
    assert_eq!(story.drain(), [], "China has not answered");
    story.gate_answers(asked[0].0, request, Vec::new());
    assert_eq!(story.drain(), [], "the other gate may know somebody");
    story.gate_answers(asked[1].0, request, Vec::new());
    assert!(is_planned(&story.drain()), "all have answered, so there is nothing to wait for");
}

#[test]
fn one_gate_that_names_somebody_is_enough_for_its_jurisdiction() {
    let mut story = Story::begin();
    let asked = story.asked();
    let request = asked[0].1.request;
    story.market_answers(request);
    let named = story.gates[1].clone();
    story.gate_answers(asked[0].0, request, vec![(named.candidate(), vec![named.address()])]);
    assert!(is_planned(&story.drain()));
}

#[test]
fn a_gate_that_is_silent_is_planned_without_in_the_end() {
    let mut story = Story::begin();
    let asked = story.asked();
    story.market_answers(asked[0].1.request);
    assert_eq!(story.drain(), []);
    story.sponsor.handle_timeout(after(GATHER_MAX));
    assert!(is_planned(&story.drain()));
}

#[test]
fn candidates_of_a_node_that_was_not_asked_do_not_count() {
    let mut story = Story::begin();
    let asked = story.asked();
    let request = asked[0].1.request;
    story.market_answers(request);
    let stranger = TestNode::new("eve", "eve-1", "elsewhere", "CN");
    story.gate_answers(stranger.id(), request, vec![(stranger.candidate(), vec![stranger.address()])]);
    assert_eq!(story.drain(), [], "China has not answered");
}

/// A voter lost its disk; the newcomer that came for its vote, on the same node, lost it again.
#[test]
fn who_lost_its_disk_again_while_it_rejoined_is_asked_once_more() {
    let here = TestNode::new("ada", "ada-1", "attic", "FR");
    let home = here.identity.certificate();
    let mut sponsor = Sponsor::new(here.identity.clone(), mesh(), "localhost".into(), None);
    let founding = fixture::Founding::of(&fixture::hosts(3));
    let mut description = State::found(&founding.genesis()).unwrap().description();
    description.policy = Policy { home: vec![law("FR")], voters: 3, ..Policy::default() };
    let voter = &mut description.members[2];
    (voter.node, voter.operator) = (here.id(), home.operator_id());
    (voter.site, voter.jurisdiction) = (home.site.clone(), home.jurisdiction);
    let newcomer = Member { replica: ReplicaId(4), votes: false, ..voter.clone() };
    let need = Need::rejoin(newcomer.replica, newcomer.node);
    description.members.push(newcomer);
    let context = Context::until(RequestId(7), START.instant + Duration::from_secs(10));
    let goal = Goal::Seek { description: Arc::new(description), need };
    sponsor.handle_input(START, Input::Start { context, goal: Box::new(goal) });
    let mut outputs: Vec<Output> = std::iter::from_fn(|| sponsor.poll_output()).collect();
    let request = outputs
        .iter()
        .find_map(|output| match output {
            Output::AskHere { request, .. } => Some(*request),
            _ => None,
        })
        .expect("the market here is asked");
    let candidates = vec![(here.candidate(), vec![here.address()])];
    sponsor.handle_input(START, Input::Candidates { request, named: Named { candidates, withheld: vec![] } });
    outputs.extend(std::iter::from_fn(|| sponsor.poll_output()));
    let asked =
        |output: &Output| matches!(output, Output::Send { to, message: Message::Grant { .. }, .. } if *to == here.id());
    assert!(outputs.iter().any(asked), "{outputs:?}");
}

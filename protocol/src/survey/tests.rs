//! Who is asked what is left of a cell, and what it comes to.
use super::*;
use crate::{
    cell::{
        Base, Holding, KeptLine, State,
        state::fixture::{self, FOUNDED, Host},
    },
    id::ReplicaId,
    time::Timestamp,
};

fn law(text: &str) -> Jurisdiction {
    fixture::law(text)
}

/// Three voters under three laws, and the first state of their cell.
fn three() -> (Vec<Host>, State) {
    let hosts = ["FR", "DE", "BE"].map(|law| Host::new(&format!("operator {law}"), law, law));
    let state = State::found(&fixture::Founding::of(&hosts).genesis()).unwrap();
    (hosts.to_vec(), state)
}

fn holding(hosts: &[Host], state: &State, at: usize, (term, index): (u64, u64)) -> Holding {
    let replica = ReplicaId(at as u64 + 1);
    Holding {
        line: 1,
        base: Base { node: hosts[at].node(), replica, term, index },
        committed: index - 1,
        votes: true,
        stamp: FOUNDED,
        alone_ms: Some(30_000),
        leader: None,
        members: state.members().map(|it| (it.node, it.jurisdiction, it.votes)).collect(),
        left: Vec::new(),
        home: vec![law("FR"), law("DE")],
        recoverers: state.policy().recovery.clone(),
        stopped: None,
        tenant: state.tenant_id(),
        app: "guestbook".to_owned(),
    }
}

fn report(holding: Holding) -> Report {
    Report { law: None, holding: Some(holding), heard: None, kept: Vec::new() }
}

fn judge(state: &State, answers: &[(NodeId, Report)], reached: &[&str]) -> Findings {
    let answers = answers.iter().cloned().collect();
    let reached = reached.iter().map(|text| law(text)).collect();
    Findings::of((state.mesh(), state.cell()), &answers, &reached, FOUNDED)
}

#[test]
fn of_two_survivors_the_one_with_the_later_term_is_the_best_and_then_the_one_with_more() {
    let (hosts, state) = three();
    let of = |at: usize, base| (hosts[at].node(), report(holding(&hosts, &state, at, base)));
    let best = |answers: &[(NodeId, Report)]| judge(&state, answers, &[]).best().unwrap().base.node;
    assert_eq!(best(&[of(0, (3, 50)), of(1, (4, 20))]), hosts[1].node());
    assert_eq!(best(&[of(0, (4, 21)), of(1, (4, 20))]), hosts[0].node());
    let mut stopped = holding(&hosts, &state, 1, (9, 90));
    stopped.stopped = Some("its disk failed".to_owned());
    assert_eq!(best(&[of(0, (4, 21)), (hosts[1].node(), report(stopped.clone()))]), hosts[0].node());
    assert!(judge(&state, &[(hosts[1].node(), report(stopped))], &[]).best().is_none());
    let later = Holding { line: 2, ..holding(&hosts, &state, 2, (1, 5)) };
    assert_eq!(best(&[of(0, (4, 21)), (hosts[2].node(), report(later))]), hosts[2].node());
}

#[test]
fn what_is_lost_at_worst_is_what_others_have_heard_of_and_since_when_the_survivor_was_alone() {
    let (hosts, state) = three();
    let mut of = report(holding(&hosts, &state, 0, (3, 50)));
    let heard = Report { heard: Some((1, 57)), ..Report::default() };
    let found = judge(&state, &[(hosts[0].node(), of.clone()), (hosts[1].node(), heard)], &[]);
    assert_eq!((found.loss.entries, found.loss.window_ms), (7, Some(30_000)));
    assert_eq!((found.voters, found.has_majority()), ((3, 1), false));
    assert_eq!(found.missing.len(), 2);
    assert_eq!(found.missing[0].empty.as_deref(), Some("it holds nothing"), "it answered");
    assert_eq!(found.missing[1].empty, None);
    of.kept = vec![KeptLine { line: 1, index: 9, time: FOUNDED, cell: state.cell().of_line(1) }];
    assert_eq!(judge(&state, &[(hosts[0].node(), of)], &[]).kept[0].0, hosts[0].node());
}

#[test]
fn a_recovery_waits_for_nobody_and_passes_nobody_over() {
    let (hosts, state) = three();
    let of = |at: usize, base| (hosts[at].node(), report(holding(&hosts, &state, at, base)));
    let base = Base { node: hosts[0].node(), replica: ReplicaId(1), term: 3, index: 50 };
    let tenant = fixture::Party::tenant("tess");
    let papers = fixture::recovery(&state, base, &tenant, &[], FOUNDED);
    let recovery = papers.statement.open().unwrap();
    let refused = |answers: &[(NodeId, Report)], reached: &[&str]| {
        judge(&state, answers, reached).allows(&recovery).map_err(|refusal| (refusal.code, refusal.detail)).unwrap_err()
    };
    judge(&state, &[of(0, (3, 50))], &["FR", "DE"]).allows(&recovery).unwrap();
    let majority = refused(&[of(0, (3, 50)), of(1, (3, 50))], &["FR", "DE"]);
    assert!(majority.0 == Code::Conflict && majority.1.contains("nothing is lost"), "{majority:?}");
    let learner = Holding { votes: false, ..holding(&hosts, &state, 1, (3, 51)) };
    let more = refused(&[of(0, (3, 50)), (hosts[1].node(), report(learner))], &["FR", "DE"]);
    assert!(more.0 == Code::Conflict && more.1.contains("holds more"), "{more:?}");
    let cut = refused(&[of(0, (3, 50))], &["FR"]);
    assert!(cut.0 == Code::Conflict && cut.1.contains("DE"), "{cut:?}");
    assert!(refused(&[of(0, (3, 51))], &["FR", "DE"]).1.contains("something else"));
    assert_eq!(refused(&[], &["FR", "DE"]).0, Code::NotFound);
    let later = Holding { line: 2, ..holding(&hosts, &state, 2, (1, 5)) };
    assert_eq!(refused(&[of(0, (3, 50)), (hosts[2].node(), report(later))], &["FR", "DE"]).0, Code::Fenced);
    let fork = crate::cell::Recovery { fork: true, ..recovery.clone() };
    judge(&state, &[of(0, (3, 50))], &["FR"]).allows(&fork).unwrap();
}

/// A surveyor, and what it last put out.
struct Story {
    surveyor: Surveyor,
    now: Now,
}

impl Story {
    fn of(host: &Host) -> Self {
        let law = host.certificate.open().unwrap().jurisdiction;
        let now = Now { instant: Instant::START, wall: FOUNDED };
        Self { surveyor: Surveyor::new(host.node(), fixture::mesh(), law), now }
    }

    fn give(&mut self, view: Option<View>, input: Input) -> Vec<Output> {
        self.surveyor.look(view);
        self.surveyor.handle_input(self.now, input);
        std::iter::from_fn(|| self.surveyor.poll_output()).collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
        self.surveyor.handle_timeout(self.now);
        std::iter::from_fn(|| self.surveyor.poll_output()).collect()
    }

    fn up(&mut self, host: &Host) -> Vec<Output> {
        let certificate = Box::new(host.certificate.clone());
        self.give(None, Input::PeerUp { peer: host.node(), certificate })
    }

    fn context(&self, request: u64) -> Context {
        Context::until(RequestId(request), self.now.instant + Duration::from_secs(10))
    }
}

fn asked(outputs: &[Output]) -> Vec<(NodeId, RequestId)> {
    let of = |output: &Output| match output {
        Output::Send { to, message: Message::Survey { context }, .. } => Some((*to, context.request)),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn all_members_are_asked_as_soon_as_they_are_linked_and_silence_is_waited_for_some_seconds_only() {
    let (hosts, state) = three();
    let mut story = Story::of(&hosts[0]);
    story.up(&hosts[1]);
    let own = report(holding(&hosts, &state, 0, (3, 50)));
    let view = View { report: own, ..View::default() };
    let cell = state.cell();
    let context = story.context(7);
    let first = story.give(Some(view), Input::Survey { context, cell });
    let [(to, request)] = asked(&first)[..] else { panic!("{first:?}") };
    assert_eq!(to, hosts[1].node());
    assert!(first.iter().any(|it| matches!(it, Output::Want { peer, wanted: true, .. } if *peer == hosts[2].node())));
    assert_eq!(asked(&story.up(&hosts[2])), [(hosts[2].node(), request)], "once there is a link");
    let theirs = Box::new(report(holding(&hosts, &state, 1, (3, 48))));
    let message = Message::Surveyed { request, report: theirs };
    let quiet = story.give(None, Input::Received { from: hosts[1].node(), cell, message });
    assert!(quiet.iter().all(|output| !matches!(output, Output::Reply { .. })), "{quiet:?}");
    let last = story.pass(ANSWER_WITHIN);
    let reply = last.iter().find_map(|output| match output {
        Output::Reply { request: RequestId(7), result: Ok(Reply::Surveyed(found)) } => Some(found),
        _ => None,
    });
    let found = reply.unwrap();
    assert_eq!((found.voters, found.best().unwrap().base.node), ((3, 2), hosts[0].node()));
    assert!(last.iter().any(|it| matches!(it, Output::Want { wanted: false, .. })), "links are let go");
    assert!(story.surveyor.poll_timeout().is_none());
}

#[test]
fn a_recovery_is_brought_to_the_survivor_which_asks_all_others_by_itself_before_it_acts() {
    let (hosts, state) = three();
    let cell = state.cell();
    let base = Base { node: hosts[0].node(), replica: ReplicaId(1), term: 3, index: 50 };
    let made = Timestamp(FOUNDED.0);
    let papers = Box::new(fixture::recovery(&state, base, &fixture::Party::tenant("tess"), &[], made));

    let mut asker = Story::of(&hosts[2]);
    let context = asker.context(9);
    let sent = asker.give(Some(View::default()), Input::Recover { context, papers: papers.clone() });
    assert!(matches!(&sent[..], [Output::Want { peer, .. }] if *peer == hosts[0].node()), "{sent:?}");
    let sent = asker.up(&hosts[0]);
    let [Output::Send { message, .. }] = &sent[..] else { panic!("{sent:?}") };

    let mut survivor = Story::of(&hosts[0]);
    let view = |weighed| View {
        report: report(Holding { home: vec![law("FR")], ..holding(&hosts, &state, 0, (3, 50)) }),
        members: Vec::new(),
        weighed: Some(weighed),
    };
    let wrong = Refusal::definite(Code::Unauthorised, "by nobody");
    let brought = Input::Received { from: hosts[2].node(), cell, message: message.clone() };
    let no = survivor.give(Some(view(Err(wrong.clone()))), brought.clone());
    let refused =
        |output: &Output| matches!(output, Output::Send { message: Message::Carried { result: Err(_), .. }, .. });
    assert!(no.iter().any(refused) && no.iter().any(|it| matches!(it, Output::Notice(_))), "{no:?}");
    survivor.give(Some(view(Ok(()))), brought);
    let carried = survivor.pass(ANSWER_WITHIN);
    let ticket = carried.iter().find_map(|output| match output {
        Output::Carry { ticket, .. } => Some(*ticket),
        _ => None,
    });
    let ticket = ticket.expect("nobody else answers");
    let said = survivor.give(None, Input::Carried { ticket, result: Ok(2) });
    let [Output::Send { message, .. }] = &said[..] else { panic!("{said:?}") };
    let from = hosts[0].node();
    let told = asker.give(None, Input::Received { from, cell, message: message.clone() });
    let replied =
        |it: &Output| matches!(it, Output::Reply { request: RequestId(9), result: Ok(Reply::Recovered { line: 2 }) });
    assert!(told.iter().any(replied), "{told:?}");
}

#[test]
fn whoever_is_not_reached_was_not_asked_and_whoever_was_may_have_done_it() {
    let (hosts, state) = three();
    let base = Base { node: hosts[0].node(), replica: ReplicaId(1), term: 3, index: 50 };
    let papers = Box::new(fixture::recovery(&state, base, &fixture::Party::tenant("tess"), &[], FOUNDED));
    for (linked, code) in [(false, Code::Unreachable), (true, Code::Timeout)] {
        let mut story = Story::of(&hosts[1]);
        if linked {
            story.up(&hosts[0]);
        }
        let context = story.context(1);
        story.give(Some(View::default()), Input::Recover { context, papers: papers.clone() });
        let ended = story.pass(Duration::from_secs(10));
        let refusal = ended.iter().find_map(|output| match output {
            Output::Reply { result: Err(refusal), .. } => Some(refusal),
            _ => None,
        });
        let refusal = refusal.unwrap();
        let definite = refusal.certainty == crate::refusal::Certainty::Definite;
        assert_eq!((refusal.code, definite), (code, !linked));
    }
}

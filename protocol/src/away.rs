//! What a guest may read, and whether it may write, where its app is away: the cut contract as one instance keeps it.
//!
//! ```text
//!   home                          → the leader, linearizable
//!   away, copy here young enough  → the copy here, with its age
//!   away, else, home in reach     → the leader; if it does not answer in time: as in a cut
//!   away, in a cut                → the copy here with its age, up to stale_for_max; or no, if the policy says stop
//! ```
//!
//! A cut is seen from here: no link to any voter's node, or no answer from any. What the answer rests on travels with it.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    caller::Answer,
    cell::{Answered, Barrier, Description, Query, Standing, Write},
    context::Context,
    id::{CellId, InstanceId, NodeId, RequestId},
    machine::{Deadline, Machine, Outbox},
    placement::AwayInCut,
    refusal::{Code, Refusal},
    resources::Jurisdiction,
    time::{Now, Timestamp},
};

/// The leader is given so long before a copy that has an answer gives it.
pub const HOME_MAX: Duration = Duration::from_secs(2);
/// After a restart age is counted by wall clocks: this node's and that of whoever led, each off by at most half of this.
pub const CLOCKS_MAX: Duration = Duration::from_mins(1);
/// Reads that wait for home; one more is refused.
const READS_MAX: usize = 4_096;

/// What is known here of a cell whose instance reads or writes.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// As last told.
    pub description: Arc<Description>,
    /// How fresh the copy here is; `None`: there is none.
    pub copy: Option<Standing>,
}

/// Input of this part.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An instance here reads.
    Read {
        /// Whose.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// Its request has seen this index: it must not see less.
        seen: Option<u64>,
        /// What.
        queries: Vec<Query>,
    },
    /// An instance here writes.
    Write {
        /// Whose, with its op.
        context: Context,
        /// Which instance.
        instance: InstanceId,
        /// Under which generation.
        generation: u64,
        /// All or none.
        writes: Vec<Write>,
    },
    /// Home answered, or did not.
    Called {
        /// Our number.
        call: u64,
        /// What.
        result: Result<Answer, Refusal>,
    },
    /// A node can be sent to.
    PeerUp(NodeId),
    /// It cannot.
    PeerDown(NodeId),
}

/// Output of this part.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Bring this question to the cell; answered by `Called`.
    Call {
        /// Names the answer.
        call: u64,
        /// Until when.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// How fresh.
        barrier: Barrier,
        /// What.
        queries: Vec<Query>,
    },
    /// Answer with what the copy here holds.
    Here {
        /// Whose.
        request: RequestId,
        /// Which cell.
        cell: CellId,
        /// What.
        queries: Vec<Query>,
        /// How old it may be.
        age: Duration,
        /// Beyond `max_staleness`.
        stale: bool,
    },
    /// Home answered.
    Answered {
        /// Whose.
        request: RequestId,
        /// What.
        answered: Answered,
    },
    /// The write may go to home.
    Write {
        /// Whose, with its op.
        context: Context,
        /// Which instance.
        instance: InstanceId,
        /// Under which generation.
        generation: u64,
        /// All or none.
        writes: Vec<Write>,
    },
    /// No.
    Refuse {
        /// Whose.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
}

/// How reads and writes away went, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AwayShown {
    /// Reads answered here within the age that their app allows.
    pub fresh: u64,
    /// Reads answered here beyond it, in a cut.
    pub stale: u64,
    /// Reads that home answered.
    pub home: u64,
    /// Reads and writes refused because of a cut.
    pub refused: u64,
}

/// What becomes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To home, however long the request allows.
    Home,
    /// To home, but not for longer than [`HOME_MAX`]: there is something to say without it.
    HomeFirst,
    /// The copy here, so old at most; beyond the age that the app allows or not.
    Here {
        /// How old.
        age: Duration,
        /// Beyond `max_staleness`.
        stale: bool,
    },
    /// No.
    Refuse(Refusal),
}

/// Where a read is answered. `linked`: whether any voter's node can be reached; `unanswered`: home was asked in vain.
#[must_use]
pub fn decide(
    now: Now,
    law: Jurisdiction,
    view: Option<&View>,
    seen: Option<u64>,
    linked: bool,
    unanswered: bool,
) -> Decision {
    let Some(view) = view.filter(|view| view.description.policy.is_away(law)) else { return Decision::Home };
    let policy = &view.description.policy;
    let cut = !linked || unanswered;
    if cut && policy.cut.away == AwayInCut::Stop {
        let detail =
            "home cannot be reached from here, and the app's policy stops reads away in a cut ([cut] away = \"stop\")";
        return Decision::Refuse(Refusal::definite(Code::Unreachable, detail));
    }
    let copy = view.copy.filter(|copy| copy.applied >= seen.unwrap_or(0));
    let proven = copy.and_then(|copy| Some(now.instant.since(copy.proven?)));
    if let Some(age) = proven.filter(|age| *age <= policy.max_staleness) {
        return Decision::Here { age, stale: false };
    }
    let age = proven.or_else(|| copy.map(|copy| by_clocks(now.wall, copy.stamped)));
    match age.filter(|age| *age <= policy.cut.stale_for_max) {
        Some(age) if cut => Decision::Here { age, stale: true },
        Some(_) if policy.cut.away == AwayInCut::Stale => Decision::HomeFirst,
        _ if linked && !unanswered => Decision::Home,
        _ => {
            let detail = match (copy, age) {
                (None, _) => "home cannot be reached from here, and there is no copy here that could answer".to_owned(),
                (Some(_), age) => format!(
                    "home cannot be reached from here, and the copy here may be {} s old: the app's policy lets it answer for {} s \
                     ([cut] stale_for_max)",
                    age.unwrap_or_default().as_secs(),
                    policy.cut.stale_for_max.as_secs()
                ),
            };
            Decision::Refuse(Refusal::definite(Code::Unreachable, detail))
        }
    }
}

/// How old something is that was stamped then, by the clock of another, if no clock is further off than it may be.
fn by_clocks(wall: Timestamp, stamped: Timestamp) -> Duration {
    wall.since(stamped) + CLOCKS_MAX
}

#[derive(Debug)]
struct Read {
    context: Context,
    cell: CellId,
    seen: Option<u64>,
    queries: Vec<Query>,
}

/// See the module.
#[derive(Debug)]
pub struct Away {
    law: Jurisdiction,
    linked: BTreeSet<NodeId>,
    me: NodeId,
    /// What home was asked, by our number.
    asked: BTreeMap<u64, Read>,
    last: u64,
    shown: AwayShown,
    /// Of the cell that the next input is about.
    view: Option<View>,
    outbox: Outbox<Output>,
}

impl Away {
    /// On node `me` under this law.
    #[must_use]
    pub fn new(me: NodeId, law: Jurisdiction) -> Self {
        Self {
            law,
            linked: BTreeSet::new(),
            me,
            asked: BTreeMap::new(),
            last: 0,
            shown: AwayShown::default(),
            view: None,
            outbox: Outbox::default(),
        }
    }

    /// How it went so far.
    #[must_use]
    pub const fn shown(&self) -> AwayShown {
        self.shown
    }

    /// The cell of which an input wants to know how it is here.
    #[must_use]
    pub fn concerns(&self, input: &Input) -> Option<CellId> {
        match input {
            Input::Read { cell, .. } => Some(*cell),
            Input::Write { instance, .. } => Some(instance.cell),
            Input::Called { call, result: Err(_) } => self.asked.get(call).map(|read| read.cell),
            Input::Called { .. } | Input::PeerUp(_) | Input::PeerDown(_) => None,
        }
    }

    /// How the cell is that the next input concerns.
    pub fn look(&mut self, view: Option<View>) {
        self.view = view;
    }

    fn is_linked(&self, view: Option<&View>) -> bool {
        let can_ask = |voter: NodeId| voter == self.me || self.linked.contains(&voter);
        view.is_none_or(|view| view.description.voters().any(can_ask))
    }

    fn read(&mut self, now: Now, read: Read, unanswered: Option<Refusal>) {
        let view = self.view.take();
        let linked = self.is_linked(view.as_ref());
        let decision = decide(now, self.law, view.as_ref(), read.seen, linked, unanswered.is_some());
        let request = read.context.request;
        match (decision, unanswered) {
            (Decision::Here { age, stale }, _) => {
                let count = if stale { &mut self.shown.stale } else { &mut self.shown.fresh };
                *count += 1;
                let Read { cell, queries, .. } = read;
                self.outbox.push(Output::Here { request, cell, queries, age, stale });
            }
            (Decision::Refuse(refusal), _) => {
                self.shown.refused += 1;
                self.outbox.push(Output::Refuse { request, refusal });
            }
            (Decision::Home | Decision::HomeFirst, Some(refusal)) => {
                self.outbox.push(Output::Refuse { request, refusal });
            }
            (Decision::Home, None) => self.ask(read.context, read),
            (Decision::HomeFirst, None) => {
                let deadline = read.context.deadline.min(now.instant + HOME_MAX);
                self.ask(Context { deadline, ..read.context }, read);
            }
        }
    }

    fn ask(&mut self, context: Context, read: Read) {
        if self.asked.len() >= READS_MAX {
            let detail = format!("{READS_MAX} reads of instances wait on this node; try again in a moment");
            let (request, refusal) = (read.context.request, Refusal::definite(Code::Full, detail));
            return self.outbox.push(Output::Refuse { request, refusal });
        }
        self.last += 1;
        let barrier = read.seen.map_or(Barrier::Linear, Barrier::AtLeast);
        let (call, cell, queries) = (self.last, read.cell, read.queries.clone());
        self.asked.insert(call, read);
        self.outbox.push(Output::Call { call, context, cell, barrier, queries });
    }

    fn called(&mut self, now: Now, call: u64, result: Result<Answer, Refusal>) {
        let Some(read) = self.asked.remove(&call) else { return };
        let request = read.context.request;
        match result {
            Ok(Answer::Answered(answered)) => {
                self.shown.home += 1;
                self.outbox.push(Output::Answered { request, answered });
            }
            Ok(Answer::Applied(_)) => {
                let refusal = Refusal::definite(Code::Invalid, "the cell answered a question as if it were a command");
                self.outbox.push(Output::Refuse { request, refusal });
            }
            Err(refusal) => self.read(now, read, Some(refusal)),
        }
    }

    /// Nothing is sent to home where it cannot arrive: so the no is for certain.
    fn write(&mut self, context: Context, instance: InstanceId, generation: u64, writes: Vec<Write>) {
        let view = self.view.take();
        let away = view.as_ref().is_some_and(|view| view.description.policy.is_away(self.law));
        if away && !self.is_linked(view.as_ref()) {
            self.shown.refused += 1;
            let home = view.map(|view| view.description.policy.home.clone()).unwrap_or_default();
            let home: Vec<&str> = home.iter().map(Jurisdiction::as_str).collect();
            let detail = format!(
                "writes go to home{}, which cannot be reached from here: nothing was written; repeat it when the cut has healed, or \
                 at home",
                if home.is_empty() { String::new() } else { format!(" ({})", home.join(", ")) }
            );
            let refusal = Refusal::definite(Code::Unreachable, detail);
            return self.outbox.push(Output::Refuse { request: context.request, refusal });
        }
        self.outbox.push(Output::Write { context, instance, generation, writes });
    }
}

impl Machine for Away {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Read { context, cell, seen, queries } => {
                self.read(now, Read { context, cell, seen, queries }, None);
            }
            Input::Write { context, instance, generation, writes } => self.write(context, instance, generation, writes),
            Input::Called { call, result } => self.called(now, call, result),
            Input::PeerUp(peer) => {
                self.linked.insert(peer);
            }
            Input::PeerDown(peer) => {
                self.linked.remove(&peer);
            }
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        self.outbox.begin_step();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cell::{Answer as Said, State, fixture},
        placement::Policy,
        time::Instant,
    };

    const WALL: Timestamp = fixture::FOUNDED;

    fn at(s: u64) -> Now {
        Now { instant: Instant::START + Duration::from_secs(s), wall: WALL + Duration::from_secs(s) }
    }

    fn view(change: impl FnOnce(&mut Policy), copy: Option<(u64, u64)>) -> View {
        let mut founding = fixture::Founding::of(&fixture::hosts(3));
        let policy = &mut founding.release.policy;
        policy.away = vec![fixture::law("CN")];
        policy.cut.away = AwayInCut::Stale;
        policy.cut.stale_for_max = Duration::from_mins(10);
        change(policy);
        let description = Arc::new(State::found(&founding.genesis()).unwrap().description());
        let standing = |(applied, proven)| Standing { applied, proven: Some(at(proven).instant), stamped: WALL };
        View { description, copy: copy.map(standing) }
    }

    fn decided(view: &View, s: u64, seen: Option<u64>, linked: bool, unanswered: bool) -> Decision {
        decide(at(s), fixture::law("CN"), Some(view), seen, linked, unanswered)
    }

    fn here(age: u64, stale: bool) -> Decision {
        Decision::Here { age: Duration::from_secs(age), stale }
    }

    #[test]
    fn at_home_every_read_goes_to_the_leader_cut_or_not() {
        let view = view(|_| {}, Some((5, 100)));
        for (linked, unanswered) in [(true, false), (false, false), (true, true)] {
            let decision = decide(at(100), fixture::law("FR"), Some(&view), None, linked, unanswered);
            assert_eq!(decision, Decision::Home);
        }
    }

    #[test]
    fn away_a_copy_answers_up_to_the_bound_and_not_a_moment_longer_while_linked() {
        let view = view(|_| {}, Some((5, 100)));
        assert_eq!(decided(&view, 160, None, true, false), here(60, false));
        assert_eq!(decided(&view, 161, None, true, false), Decision::HomeFirst);
        assert_eq!(decided(&view, 161, None, true, true), here(61, true), "linked, and home says nothing");
        assert_eq!(decided(&view, 150, Some(5), true, false), here(50, false));
        assert_eq!(
            decided(&view, 150, Some(6), true, false),
            Decision::Home,
            "its request has seen more than the copy"
        );
    }

    #[test]
    fn in_a_cut_it_answers_until_stale_for_max_and_then_no_more() {
        let view = view(|_| {}, Some((5, 100)));
        assert_eq!(decided(&view, 161, None, false, false), here(61, true));
        assert_eq!(decided(&view, 700, None, false, false), here(600, true));
        let Decision::Refuse(refusal) = decided(&view, 701, None, false, false) else { panic!("it is too old") };
        assert!(refusal.detail.contains("stale_for_max"), "{refusal}");
        assert_eq!(decided(&view, 701, None, true, false), Decision::Home, "linked, home is asked as long as it takes");
    }

    #[test]
    fn stop_means_stop_at_once_and_only_in_a_cut() {
        let view = view(|policy| policy.cut.away = AwayInCut::Stop, Some((5, 100)));
        assert_eq!(decided(&view, 101, None, true, false), here(1, false));
        assert_eq!(decided(&view, 161, None, true, false), Decision::Home);
        for (s, linked, unanswered) in [(101, false, false), (161, true, true)] {
            let Decision::Refuse(refusal) = decided(&view, s, None, linked, unanswered) else { panic!("it stops") };
            assert_eq!(refusal.certainty, crate::refusal::Certainty::Definite);
            assert!(refusal.detail.contains("stop"), "{refusal}");
        }
    }

    #[test]
    fn after_a_restart_in_a_cut_age_is_counted_by_clocks_and_erring_high() {
        let mut view = view(|_| {}, Some((5, 0)));
        view.copy = view.copy.map(|copy| Standing { proven: None, ..copy });
        assert_eq!(decided(&view, 100, None, false, false), here(160, true));
        assert_eq!(decided(&view, 100, None, true, false), Decision::HomeFirst, "never while home can be asked");
        assert!(matches!(decided(&view, 541, None, false, false), Decision::Refuse(_)));
        let none = View { copy: None, ..view };
        assert!(matches!(decided(&none, 100, None, false, false), Decision::Refuse(_)));
        assert_eq!(decided(&none, 100, None, true, false), Decision::Home);
    }

    fn step(away: &mut Away, s: u64, view: Option<&View>, input: Input) -> Vec<Output> {
        if away.concerns(&input).is_some() {
            away.look(view.cloned());
        }
        away.handle_input(at(s), input);
        std::iter::from_fn(|| away.poll_output()).collect()
    }

    fn read(request: u64, s: u64, cell: CellId) -> Input {
        let context = Context::until(RequestId(request), at(s + 30).instant);
        Input::Read { context, cell, seen: None, queries: vec![Query::Describe] }
    }

    #[test]
    fn what_home_does_not_answer_in_time_the_copy_does() {
        let view = view(|_| {}, Some((5, 0)));
        let (cell, voter) = (view.description.cell, view.description.voters().next().unwrap());
        let mut away = Away::new(NodeId([9; 32]), fixture::law("CN"));
        step(&mut away, 0, None, Input::PeerUp(voter));
        let outputs = step(&mut away, 90, Some(&view), read(1, 90, cell));
        let [Output::Call { call: 1, context, barrier: Barrier::Linear, .. }] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!(context.deadline, at(92).instant);
        let late = Err(Refusal::definite(Code::Timeout, "late"));
        let outputs = step(&mut away, 92, Some(&view), Input::Called { call: 1, result: late });
        let [Output::Here { age, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(*age, Duration::from_secs(92));
        let outputs = step(&mut away, 93, Some(&view), read(2, 93, cell));
        assert!(matches!(outputs[..], [Output::Call { call: 2, .. }]));
        let answered = Answered { index: 9, answers: vec![Said::Value(None)] };
        let input = Input::Called { call: 2, result: Ok(Answer::Answered(answered.clone())) };
        assert_eq!(step(&mut away, 94, None, input), [Output::Answered { request: RequestId(2), answered }]);
        step(&mut away, 95, None, Input::PeerDown(voter));
        assert!(matches!(step(&mut away, 96, Some(&view), read(3, 96, cell))[..], [Output::Here { .. }]), "at once");
        assert_eq!(away.shown(), AwayShown { fresh: 0, stale: 2, home: 1, refused: 0 });
    }

    #[test]
    fn a_write_away_is_refused_for_certain_where_no_voter_can_be_reached() {
        let view = view(|policy| policy.home = vec![fixture::law("FR"), fixture::law("DE"), fixture::law("BE")], None);
        let voter = view.description.voters().next().unwrap();
        let instance = InstanceId { cell: view.description.cell, number: 1 };
        let context = Context::until(RequestId(1), at(30).instant);
        let write = Input::Write { context, instance, generation: 1, writes: Vec::new() };
        let mut away = Away::new(NodeId([9; 32]), fixture::law("CN"));
        let outputs = step(&mut away, 1, Some(&view), write.clone());
        let [Output::Refuse { refusal, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(refusal.certainty, crate::refusal::Certainty::Definite);
        assert!(refusal.detail.contains("home (FR, DE, BE)"), "{refusal}");
        step(&mut away, 2, None, Input::PeerUp(voter));
        assert!(matches!(step(&mut away, 3, Some(&view), write.clone())[..], [Output::Write { .. }]));
        let mut home = Away::new(NodeId([9; 32]), fixture::law("FR"));
        assert!(matches!(step(&mut home, 3, Some(&view), write)[..], [Output::Write { .. }]), "home tries as ever");
    }
}

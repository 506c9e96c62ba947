//! The machine that keeps the register: it takes in what gossip, peers and people bring, tells the parts of its node who
//! counts, sees to it that no motion is lost while anybody cares, and casts the ballots that invites put into its hands.
//!
//! Records expire, motions must not: each node that knows a case brings it again shortly before the record of it expires,
//! at a time of its own, so that usually one does. A case that grew here is brought at once.
use std::{collections::BTreeMap, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    Alias, Case, Counted, InviteId, Matter, MotionId, Papers, Register, Stamp, Taken, Void,
    shown::{CaseShown, RollShown},
};
use crate::{
    agenda::Agenda,
    codec::{self, Blob},
    command::Reply,
    context::Context,
    id::{MeshId, NodeId, OperatorId, RequestId, TenantId},
    identity::{Admitted, Envelope, Founding, NodeCertificate, NodeIdentity},
    machine::{Deadline, Machine, Outbox},
    membership::Draft,
    notice::Notice,
    random::{Rng, Seed},
    record::{Kind, RecordBody, Scope, Shared, Subject},
    refusal::{Code, Refusal},
    time::{Instant, Now, Timestamp},
};

/// How long a record of a case lives.
const LIFETIME: Duration = Duration::from_hours(1);
/// It is brought again when this much is left, less up to [`SPREAD`].
const MARGIN: Duration = Duration::from_mins(20);
/// Nodes bring a case again spread over so long, so that one is first and the others need not.
const SPREAD: Duration = Duration::from_mins(15);
/// A case is brought no more often than this, whatever others say of it.
const PACE: Duration = Duration::from_secs(5);
/// What others brought and is less than is known here is brought again within this.
const SOON: Duration = Duration::from_millis(500);
/// What this node knew when it started, or what a peer showed, is brought within this if gossip carries it nowhere: most
/// likely it does.
const LATER: Duration = Duration::from_secs(40);
/// Looks through the motions for old ones.
const SWEEP: Duration = Duration::from_mins(10);

/// Keys in the store begin so.
const PREFIX: &str = "charter/";
/// Key of the founding statement.
const FOUNDING: &str = "charter/founding";

/// Input of the roll.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A record is new here; other kinds than `OPERATOR` and `CHARTER` are ignored.
    Learned(Shared),
    /// A record is void here.
    Expired(Shared),
    /// A person wants to see it.
    Show(Context),
    /// A peer shows by what its operator was admitted. Signatures were checked.
    Shown(Vec<Envelope>),
    /// A person brings papers. Signatures were checked.
    Submit {
        /// Who asks.
        context: Context,
        /// What he brings.
        papers: Papers,
    },
}

/// Output of the roll.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For membership to sign and spread once.
    Say(Draft),
    /// Who counts from now on, and how many thousandths of a jurisdiction one of them may hold.
    Counted {
        /// Who.
        admitted: Admitted,
        /// The charter's cap; `None` while no charter is known.
        dominance_permille: Option<u32>,
    },
    /// Whose each short name is from now on.
    Named(BTreeMap<String, TenantId>),
    /// By what this node's operator was admitted: to show to peers.
    Credentials(Vec<Envelope>),
    /// Keep under this key, or forget with `None`. Never waited for.
    Keep {
        /// Begins with `charter/`.
        key: Blob,
        /// Replaces the one before.
        value: Option<Blob>,
    },
    /// The answer to a person.
    Reply {
        /// To what.
        request: RequestId,
        /// What.
        result: Result<Reply, Refusal>,
    },
    /// What happened.
    Notice(Notice),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A case is due to be brought.
    Bring(MotionId),
    /// The founding statement is.
    Founding,
    /// Something takes effect.
    Count,
    Sweep,
}

/// What gossip holds of a case.
#[derive(Debug, Default)]
struct Carried {
    content: Blob,
    expires: Timestamp,
    /// When this node last brought it.
    brought: Option<Instant>,
}

/// Who used an invite that names this node as its witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Uses {
    #[n(0)]
    operators: Vec<OperatorId>,
    /// Uses are remembered so long.
    #[n(1)]
    until: Timestamp,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Roll {
    identity: NodeIdentity,
    mesh: MeshId,
    operator: OperatorId,
    register: Register,
    carried: BTreeMap<MotionId, Carried>,
    founding: Carried,
    uses: BTreeMap<InviteId, Uses>,
    credentials: Option<MotionId>,
    agenda: Agenda<Timer>,
    rng: Rng,
    outbox: Outbox<Output>,
}

/// The content rule of kinds `OPERATOR` and `CHARTER`: papers, under their own name.
pub(crate) fn rule(body: &RecordBody, _: &NodeCertificate) -> Result<(), &'static str> {
    let papers = Papers::read(&body.content).map_err(|_| "they are not papers")?;
    let Some(founding) = &papers.founding else {
        let named = papers.statements.first().is_some_and(|it| body.subject.0 == *blake3::hash(&it.payload).as_bytes());
        return if named { Ok(()) } else { Err("the motion is under another name") };
    };
    match () {
        () if body.subject.0 != founding.mesh().0 => Err("the founding statement is under another name"),
        () if !papers.statements.is_empty() => Err("a founding statement comes alone"),
        () => Ok(()),
    }
}

/// What a node of an operator that is no member may say: that its own operator asks to be one.
pub(crate) fn rule_for_outsiders(body: &RecordBody, by: &NodeCertificate) -> Result<(), &'static str> {
    let papers = Papers::read(&body.content).map_err(|_| "they are not papers")?;
    let case = Case::read(&papers.statements, by.mesh).map_err(|_| "they hold no motion")?;
    match case.newcomer() {
        Some(newcomer) if newcomer.operator() == by.operator_id() => Ok(()),
        Some(_) | None => Err("an operator that is not admitted may only ask for itself"),
    }
}

impl Roll {
    /// Opens it on what the disk held under keys that begin with `charter/`, and on what its folder gave it: the founding
    /// statement, and the request of an operator that is not admitted yet. Who counts is said at once: drain it.
    #[must_use]
    pub fn open(
        seed: Seed,
        identity: NodeIdentity,
        mesh: MeshId,
        founding: Option<Founding>,
        request: Option<Vec<Envelope>>,
        keyed: &BTreeMap<Blob, Blob>,
        now: Now,
    ) -> Self {
        let mut this = Self {
            operator: identity.certificate().operator_id(),
            identity,
            mesh,
            register: Register::new(mesh),
            carried: BTreeMap::new(),
            founding: Carried::default(),
            uses: BTreeMap::new(),
            credentials: None,
            agenda: Agenda::default(),
            rng: seed.split("roll").rng(),
            outbox: Outbox::default(),
        };
        let kept = keyed.get(&Blob::from(FOUNDING)).and_then(|bytes| codec::decode("founding", bytes).ok());
        if let Some(founding) = founding.or(kept) {
            // Of another mesh: the folder was refused before, and a disk that changed is as good as none.
            let _ = this.register.found(founding);
        }
        // So that versions are known before cases are judged by them.
        this.register.count(now.wall);
        this.recall(keyed, now.wall);
        if let Some(statements) = request
            && let Ok(case) = Case::read(&statements, mesh)
        {
            let _ = this.register.take_case(case);
        }
        this.count(now, true);
        for id in this.register.cases().map(|case| case.id).collect::<Vec<_>>() {
            this.witness(now, id);
            let urgent = this.register.decided(&id).is_none();
            this.attend(now, id, if urgent { Duration::ZERO } else { LATER });
        }
        this.attend_founding(now, LATER);
        this.agenda.set(Timer::Sweep, Some(Deadline { at: now.instant + SWEEP, reason: "look for old motions" }));
        this
    }

    fn recall(&mut self, keyed: &BTreeMap<Blob, Blob>, wall: Timestamp) {
        let mut cases = Vec::new();
        for (key, value) in keyed {
            let Some(name) = key.strip_prefix(PREFIX.as_bytes()) else { continue };
            if let Some(id) = name.strip_prefix(b"uses/") {
                let uses = codec::decode("uses of an invite", value);
                if let (Ok(id), Ok(uses)) = (<[u8; 16]>::try_from(id), uses) {
                    self.uses.insert(InviteId(id), uses);
                }
            } else if name.starts_with(b"case/")
                && let Ok(case) = Papers::read(value).and_then(|papers| Case::read(&papers.statements, self.mesh))
            {
                cases.push(case);
            }
        }
        self.register.restore(cases, wall);
    }

    /// What a person is shown.
    #[must_use]
    pub fn shown(&self, wall: Timestamp) -> RollShown {
        let cases = self.register.cases().map(|case| CaseShown::of(case, &self.register)).collect();
        RollShown {
            founding: self.register.founding().cloned(),
            versions: self.register.versions().to_vec(),
            in_force: self.register.in_force(wall).map(|version| version.charter.version),
            members: self.register.members().map(|(_, member)| member.clone()).collect(),
            aliases: self.register.aliases().clone(),
            cases,
            counts: self.register.admitted().counts(&self.operator),
        }
    }

    /// Who counts.
    #[must_use]
    pub const fn admitted(&self) -> &Admitted {
        self.register.admitted()
    }

    fn learned(&mut self, now: Now, known: &Shared) {
        if !matches!(known.body.kind, Kind::OPERATOR | Kind::CHARTER) {
            return;
        }
        let content = &known.body.content;
        let taken = Papers::read(content).and_then(|papers| self.register.take(papers));
        let carried = Carried { content: content.clone(), expires: known.body.expires, brought: None };
        match taken {
            Ok(Taken::Founded) => {
                self.founding = carried;
                self.founded(now);
            }
            Ok(Taken::Known(None)) => {
                self.founding = Carried { brought: self.founding.brought, ..carried };
                self.attend_founding(now, SOON);
            }
            Ok(Taken::New(id)) => {
                self.note(id, carried);
                self.grown(now, id, SOON);
            }
            Ok(Taken::Known(Some(id))) => {
                self.note(id, carried);
                self.attend(now, id, SOON);
            }
            Err(void) => {
                let (from, reason) = (NodeId(known.signer().0), void.to_string());
                self.outbox.push(Output::Notice(Notice::RecordRefused { from, reason }));
            }
        }
    }

    /// Gossip carries it no more: its carrier is gone, or counts no more.
    fn expired(&mut self, now: Now, known: &Shared) {
        let id = known.body.subject.0;
        if id == self.mesh.0 {
            self.founding.content = Blob::default();
            self.attend_founding(now, SOON);
        } else if let Some(carried) = self.carried.get_mut(&id) {
            carried.content = Blob::default();
            self.attend(now, id, SOON);
        }
    }

    fn note(&mut self, id: MotionId, carried: Carried) {
        let brought = self.carried.get(&id).and_then(|before| before.brought);
        self.carried.insert(id, Carried { brought, ..carried });
    }

    fn take(&mut self, now: Now, papers: Papers, within: Duration) -> Result<(), Void> {
        match self.register.take(papers)? {
            Taken::Founded => self.founded(now),
            Taken::New(id) => self.grown(now, id, within),
            Taken::Known(_) => {}
        }
        Ok(())
    }

    /// The mesh's founding is known from now on, so strangers are.
    fn founded(&mut self, now: Now) {
        if let Some(founding) = self.register.founding() {
            let value = Some(codec::encode(founding));
            self.outbox.push(Output::Keep { key: FOUNDING.into(), value });
        }
        self.count(now, false);
        self.attend_founding(now, LATER);
        for id in self.register.cases().map(|case| case.id).collect::<Vec<_>>() {
            self.attend(now, id, LATER);
        }
    }

    /// A case says more than before.
    fn grown(&mut self, now: Now, id: MotionId, within: Duration) {
        self.witness(now, id);
        if let Some(case) = self.register.case(&id) {
            let value = Some(codec::encode(&case.papers()));
            self.outbox.push(Output::Keep { key: key_of(&id), value });
        }
        self.count(now, false);
        self.attend(now, id, within);
    }

    /// As the witness of an invite: counts its use for a motion that claims it, once.
    fn witness(&mut self, now: Now, id: MotionId) {
        let me = self.identity.node();
        let Some(case) = self.register.case(&id) else { return };
        // Only then is it known that those who signed the invite are electors.
        let Some(version) = self.register.version(&case.motion.charter) else { return };
        let over = version.until.is_some_and(|until| until <= now.wall);
        let Some(invite) = case.invites().find(|invite| invite.witness == me).cloned() else { return };
        let Some(newcomer) = case.newcomer().map(crate::identity::Genesis::operator) else { return };
        if !case.is_claimed() || case.stamp().is_some() {
            return;
        }
        let uses = self.uses.entry(invite.id).or_default();
        uses.until = uses.until.max(invite.expires);
        let number = uses.operators.iter().position(|user| *user == newcomer);
        let counted = match number {
            Some(number) => Counted::Use(u32::try_from(number).unwrap_or(u32::MAX)),
            None if over || invite.expires <= now.wall => Counted::Expired,
            None if uses.operators.len() >= usize::try_from(invite.uses).unwrap_or(usize::MAX) => Counted::Used,
            None => {
                uses.operators.push(newcomer);
                Counted::Use(u32::try_from(uses.operators.len() - 1).unwrap_or(u32::MAX))
            }
        };
        let key = [PREFIX.as_bytes(), b"uses/", &invite.id.0].concat().into();
        self.outbox.push(Output::Keep { key, value: Some(codec::encode(uses)) });
        let stamp = Stamp { motion: id, invite: invite.id, counted, at: now.wall };
        let signed = self.identity.seal(&stamp);
        self.register.add(&id, &signed);
    }

    fn count(&mut self, now: Now, first: bool) {
        let before = self.register.admitted().clone();
        let names = self.register.aliases().clone();
        let version = self.register.in_force(now.wall).map(|version| version.charter.version);
        let changed = self.register.count(now.wall);
        let next = self.register.next_change().map(|at| {
            // By the wall clock, which may jump: looks again now and then.
            let wait = at.since(now.wall).max(Duration::from_millis(1)).min(Duration::from_mins(1));
            Deadline { at: now.instant + wait, reason: "a certificate takes effect" }
        });
        self.agenda.set(Timer::Count, next);
        self.name(&names);
        let in_force = self.register.in_force(now.wall);
        let current = in_force.map(|version| version.charter.version);
        if !(changed || first || current != version) {
            return;
        }
        let dominance_permille = in_force.map(|version| version.charter.values.dominance_permille);
        let admitted = self.register.admitted().clone();
        if admitted != before {
            let moved = self.register.members().filter(|(operator, _)| {
                (admitted.counts(operator), admitted.excluded(operator))
                    != (before.counts(operator), before.excluded(operator))
            });
            let moved: Vec<_> = moved.map(|(operator, member)| (*operator, member.operator.name.clone())).collect();
            for (operator, name) in moved {
                let member = admitted.counts(&operator);
                self.outbox.push(Output::Notice(Notice::Operator { operator, name, member }));
            }
        }
        if current != version
            && let Some(version) = current
        {
            self.outbox.push(Output::Notice(Notice::Charter { version }));
        }
        self.outbox.push(Output::Counted { admitted, dominance_permille });
        self.show_credentials();
    }

    /// Tells whose the short names are, if that changed.
    fn name(&mut self, before: &BTreeMap<String, Alias>) {
        let aliases = self.register.aliases();
        if aliases != before {
            let named = aliases.iter().map(|(name, alias)| (name.clone(), alias.holder)).collect();
            self.outbox.push(Output::Named(named));
        }
    }

    /// By what this node's operator is a member, if not as a founder.
    fn show_credentials(&mut self) {
        let by = self.register.member(self.operator).and_then(|member| member.by);
        if by == self.credentials {
            return;
        }
        self.credentials = by;
        if let Some(case) = by.and_then(|id| self.register.case(&id)) {
            self.outbox.push(Output::Credentials(case.papers().statements));
        }
    }

    /// Decides when a case is to be brought again.
    fn attend(&mut self, now: Now, id: MotionId, within: Duration) {
        let Some(case) = self.register.case(&id) else { return self.agenda.set(Timer::Bring(id), None) };
        // A stranger may only speak for itself.
        let own = case.newcomer().is_some_and(|newcomer| newcomer.operator() == self.operator);
        if !own && !self.register.admitted().counts(&self.operator) {
            return self.agenda.set(Timer::Bring(id), None);
        }
        let content = codec::encode(&case.papers());
        let carried = self.carried.entry(id).or_default();
        let at = due(carried, &content, now, within, &mut self.rng);
        self.agenda.set(Timer::Bring(id), Some(Deadline { at, reason: "bring a motion" }));
    }

    fn attend_founding(&mut self, now: Now, within: Duration) {
        let Some(founding) = self.register.founding() else { return };
        if !self.register.admitted().counts(&self.operator) {
            return;
        }
        let content = codec::encode(&Papers { statements: Vec::new(), founding: Some(founding.clone()) });
        let at = due(&self.founding, &content, now, within, &mut self.rng);
        self.agenda.set(Timer::Founding, Some(Deadline { at, reason: "bring the founding statement" }));
    }

    fn bring(&mut self, now: Now, id: MotionId) {
        let Some(case) = self.register.case(&id) else { return };
        let kind = match case.motion.matter {
            Matter::Amend(_) | Matter::Alias { .. } => Kind::CHARTER,
            Matter::Admit { .. } | Matter::Exclude { .. } => Kind::OPERATOR,
        };
        let content = codec::encode(&case.papers());
        self.say(kind, Subject(id), &content);
        let carried = Carried { content, expires: now.wall + LIFETIME, brought: Some(now.instant) };
        self.carried.insert(id, carried);
        self.attend(now, id, SOON);
    }

    fn bring_founding(&mut self, now: Now) {
        let Some(founding) = self.register.founding() else { return };
        let content = codec::encode(&Papers { statements: Vec::new(), founding: Some(founding.clone()) });
        self.say(Kind::CHARTER, Subject(self.mesh.0), &content);
        self.founding = Carried { content, expires: now.wall + LIFETIME, brought: Some(now.instant) };
        self.attend_founding(now, SOON);
    }

    fn say(&mut self, kind: Kind, subject: Subject, content: &Blob) {
        self.outbox.push(Output::Say(Draft {
            kind,
            scope: Scope::Mesh,
            subject,
            line: 0,
            generation: 0,
            lifetime: LIFETIME,
            content: content.clone(),
        }));
    }

    fn sweep(&mut self, now: Now) {
        for id in self.register.sweep(now.wall) {
            self.carried.remove(&id);
            self.agenda.set(Timer::Bring(id), None);
            self.outbox.push(Output::Keep { key: key_of(&id), value: None });
        }
        let over: Vec<InviteId> = self
            .uses
            .iter()
            .filter(|(_, uses)| uses.until + super::MOTION_LIFE <= now.wall)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.uses.remove(&id);
            self.outbox.push(Output::Keep { key: [PREFIX.as_bytes(), b"uses/", &id.0].concat().into(), value: None });
        }
        self.agenda.set(Timer::Sweep, Some(Deadline { at: now.instant + SWEEP, reason: "look for old motions" }));
    }
}

fn key_of(id: &MotionId) -> Blob {
    [PREFIX.as_bytes(), b"case/", id].concat().into()
}

/// When to bring what gossip carries so: soon if it carries less than is known here, else before the record expires.
fn due(carried: &Carried, content: &Blob, now: Now, within: Duration, rng: &mut Rng) -> Instant {
    let at = if carried.content == *content {
        let left = carried.expires.since(now.wall);
        now.instant + left.saturating_sub(MARGIN) + rng.duration_below(SPREAD)
    } else {
        now.instant + within / 4 + rng.duration_below((within * 3 / 4).max(Duration::from_nanos(1)))
    };
    carried.brought.map_or(at, |brought| at.max(brought + PACE))
}

impl Machine for Roll {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Learned(known) => self.learned(now, &known),
            Input::Expired(known) => self.expired(now, &known),
            Input::Show(context) => {
                let reply = Ok(Reply::Roll(Box::new(self.shown(now.wall))));
                self.outbox.push(Output::Reply { request: context.request, result: reply });
            }
            Input::Shown(statements) => {
                // A peer shows the same to everybody: what is void, or known, is no news.
                let _ = self.take(now, Papers { statements, founding: None }, LATER);
            }
            Input::Submit { context, papers } => {
                let taken = self.take(now, papers, Duration::ZERO);
                let result = match taken {
                    Ok(()) => Ok(Reply::Done),
                    Err(void @ (Void::Full | Void::NamesFull | Void::TooManyNames)) => {
                        Err(Refusal::definite(Code::Full, void.to_string()))
                    }
                    Err(Void::Taken) => Err(Refusal::definite(Code::Conflict, Void::Taken.to_string())),
                    Err(Void::Signer) => Err(Refusal::definite(Code::Unauthorised, Void::Signer.to_string())),
                    Err(void) => Err(Refusal::definite(Code::Invalid, format!("these papers do not count: {void}"))),
                };
                self.outbox.push(Output::Reply { request: context.request, result });
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(timer) = self.agenda.pop_due(now) {
            match timer {
                Timer::Bring(id) => self.bring(now, id),
                Timer::Founding => self.bring_founding(now),
                Timer::Count => self.count(now, false),
                Timer::Sweep => self.sweep(now),
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

//! Who belongs, and by which rules: a pure function of the founding statement, of the cases known and of the time. Nodes
//! that know the same count alike; a node that knows less only counts later. Nothing here asks anybody.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Case, Charter, Counted, Electorate, Matter, MotionId, Papers, Void,
    alias::{ALIAS_REQUESTS_MAX, ALIASES_MAX, ALIASES_PER_TENANT_MAX, Alias, holders},
};
use crate::{
    id::{MeshId, OperatorId, TenantId},
    identity::{Admitted, Founding, Genesis, Signed, Statement},
    time::Timestamp,
};

/// Requests without an invite that wait; beyond it more are refused, those with an invite are not.
pub const REQUESTS_MAX: usize = 64;

/// Requests with an elector's invite that wait.
pub const INVITED_MAX: usize = 256;

/// Other motions that wait.
pub const MOTIONS_MAX: usize = 256;

/// Motions under a version of the charter that is not known here yet; beyond it more are refused until it is.
pub const UNPLACED_MAX: usize = 1_024;

/// Motions that were carried, of all time; beyond it no more are taken in. A charter that lists all whom it counts would
/// let older ones be forgotten; it is not needed before this many.
pub const CARRIED_MAX: usize = 4_096;

/// A motion that found no majority in this time is forgotten.
pub const MOTION_LIFE: Duration = Duration::from_hours(30 * 24);

/// A request whose invite does not count any more is forgotten after this: the newcomer was told so, and took back what he
/// had made.
pub const VOID_LIFE: Duration = Duration::from_hours(1);

/// A version of the charter, and when it is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The document.
    pub charter: Charter,
    /// Its hash.
    pub hash: [u8; 32],
    /// Who decides under it.
    pub electors: Electorate,
    /// From then on.
    pub from: Timestamp,
    /// Until then; open in the newest.
    pub until: Option<Timestamp>,
}

/// An operator that is a member, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Who.
    pub operator: Genesis,
    /// A member from then on.
    pub since: Timestamp,
    /// None any more from then on.
    pub excluded: Option<Timestamp>,
    /// By which motion; a founder by none.
    pub by: Option<MotionId>,
}

/// What became of papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They say something new about this motion.
    New(MotionId),
    /// The founding statement was not known before.
    Founded,
    /// All known.
    Known(Option<MotionId>),
}

/// See the top of this file.
#[derive(Debug)]
pub struct Register {
    mesh: MeshId,
    founding: Option<Founding>,
    cases: BTreeMap<MotionId, Case>,
    // All below follows from the above and the time.
    versions: Vec<Version>,
    decided: BTreeMap<MotionId, Timestamp>,
    members: BTreeMap<OperatorId, Member>,
    admitted: Admitted,
    aliases: BTreeMap<String, Alias>,
    next: Option<Timestamp>,
}

impl Register {
    /// Knows nothing yet: everybody counts.
    #[must_use]
    pub fn new(mesh: MeshId) -> Self {
        Self {
            mesh,
            founding: None,
            cases: BTreeMap::new(),
            versions: Vec::new(),
            decided: BTreeMap::new(),
            members: BTreeMap::new(),
            admitted: Admitted::everybody(),
            aliases: BTreeMap::new(),
            next: None,
        }
    }

    /// The founding statement, if it is known.
    #[must_use]
    pub const fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// Who counts, as of the last [`Register::count`].
    #[must_use]
    pub const fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Operators that are members, or were.
    pub fn members(&self) -> impl Iterator<Item = (&OperatorId, &Member)> {
        self.members.iter()
    }

    /// An operator that is a member, or was.
    #[must_use]
    pub fn member(&self, operator: OperatorId) -> Option<&Member> {
        self.members.get(&operator)
    }

    /// Whose each short name is, as of the last [`Register::count`].
    #[must_use]
    pub const fn aliases(&self) -> &BTreeMap<String, Alias> {
        &self.aliases
    }

    /// The versions of the charter, oldest first; the last may not be in force yet.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version in force.
    #[must_use]
    pub fn in_force(&self, wall: Timestamp) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.from <= wall)
    }

    /// The version of this hash.
    #[must_use]
    pub fn version(&self, hash: &[u8; 32]) -> Option<&Version> {
        self.versions.iter().find(|version| version.hash == *hash)
    }

    /// All motions known, by id.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// A motion.
    #[must_use]
    pub fn case(&self, id: &MotionId) -> Option<&Case> {
        self.cases.get(id)
    }

    /// When a motion takes effect: its majority was reached, and of an admission its turn came.
    #[must_use]
    pub fn decided(&self, id: &MotionId) -> Option<Timestamp> {
        self.decided.get(id).copied()
    }

    /// When counting again may give another answer, if nothing new comes.
    #[must_use]
    pub const fn next_change(&self) -> Option<Timestamp> {
        self.next
    }

    /// Learns how the mesh was founded.
    ///
    /// # Errors
    /// When it is another mesh's founding.
    pub fn found(&mut self, founding: Founding) -> Result<Taken, Void> {
        if founding.mesh() != self.mesh {
            return Err(Void::OtherFounding);
        }
        if self.founding.is_some() {
            return Ok(Taken::Known(None));
        }
        self.founding = Some(founding);
        Ok(Taken::Founded)
    }

    /// Takes papers in, whose signatures were checked. Then [`Register::count`].
    ///
    /// # Errors
    /// When they do not count; nothing changed.
    pub fn take(&mut self, papers: Papers) -> Result<Taken, Void> {
        if let Some(founding) = papers.founding {
            return self.found(founding);
        }
        let case = Case::read(&papers.statements, self.mesh)?;
        self.take_case(case)
    }

    /// As [`Register::take`], of a case that was read.
    ///
    /// # Errors
    /// When it does not count; nothing changed.
    pub fn take_case(&mut self, mut case: Case) -> Result<Taken, Void> {
        let id = case.id;
        if let Some(version) = self.version(&case.motion.charter) {
            case.check_signer(&version.electors)?;
            case.prune(&version.electors);
        }
        if let Some(known) = self.cases.get_mut(&id) {
            return Ok(if known.merge(&case) { Taken::New(id) } else { Taken::Known(Some(id)) });
        }
        self.make_room(&case)?;
        self.cases.insert(id, case);
        Ok(Taken::New(id))
    }

    /// Adds what this node itself signed about a motion.
    pub(super) fn add<T: Statement>(&mut self, id: &MotionId, signed: &Signed<T>) {
        if let Some(case) = self.cases.get_mut(id) {
            case.add(signed);
        }
    }

    fn make_room(&mut self, case: &Case) -> Result<(), Void> {
        if self.version(&case.motion.charter).is_some_and(|version| case.decided(&version.electors).is_some()) {
            let name = case.alias().is_some();
            let carried = self.decided.keys().filter_map(|id| self.cases.get(id));
            let carried = carried.filter(|it| it.alias().is_some() == name).count();
            return match name {
                true if carried < ALIASES_MAX => Ok(()),
                false if carried < CARRIED_MAX => Ok(()),
                true => Err(Void::NamesFull),
                false => Err(Void::Full),
            };
        }
        let waiting = |like: fn(&Case) -> bool| {
            self.cases.values().filter(|known| !self.decided.contains_key(&known.id) && like(known)).count()
        };
        let unplaced = |it: &Case| self.version(&it.motion.charter).is_none();
        if unplaced(case) {
            let here = self.cases.values().filter(|known| unplaced(known)).count();
            return if here < UNPLACED_MAX { Ok(()) } else { Err(Void::Full) };
        }
        if let Some((name, tenant)) = case.alias() {
            return self.make_room_for_name(name, tenant.tenant());
        }
        let (here, room) = match case.newcomer() {
            Some(_) if case.is_claimed() => (waiting(|it| it.newcomer().is_some() && it.is_claimed()), INVITED_MAX),
            Some(_) => (waiting(|it| it.newcomer().is_some() && !it.is_claimed()), REQUESTS_MAX),
            None => (waiting(|it| it.newcomer().is_none() && it.alias().is_none()), MOTIONS_MAX),
        };
        if here < room { Ok(()) } else { Err(Void::Full) }
    }

    /// For a request that is not carried yet: one that cannot be is refused at once, so that its tenant hears why.
    fn make_room_for_name(&self, name: &str, tenant: TenantId) -> Result<(), Void> {
        if self.aliases.get(name).is_some_and(|alias| alias.holder != tenant) {
            return Err(Void::Taken);
        }
        let waiting = self.cases.values().filter(|it| !self.decided.contains_key(&it.id));
        let waiting: Vec<TenantId> = waiting.filter_map(|it| Some(it.alias()?.1.tenant())).collect();
        let held = self.aliases.values().filter(|alias| alias.holder == tenant).count();
        let asked = waiting.iter().filter(|it| **it == tenant).count();
        match () {
            () if held + asked >= ALIASES_PER_TENANT_MAX => Err(Void::TooManyNames),
            () if waiting.len() >= ALIAS_REQUESTS_MAX || self.aliases.len() >= ALIASES_MAX => Err(Void::NamesFull),
            () => Ok(()),
        }
    }

    /// Takes back what a disk kept: versions of the charter first, so that the others are judged by them.
    pub(super) fn restore(&mut self, mut cases: Vec<Case>, wall: Timestamp) {
        let version = |case: &Case| match &case.motion.matter {
            Matter::Amend(charter) => charter.version,
            Matter::Admit { .. } | Matter::Exclude { .. } | Matter::Alias { .. } => u64::MAX,
        };
        cases.sort_by_key(|case| (version(case), case.id));
        for case in cases {
            let amends = version(&case) != u64::MAX;
            // What does not count any more is dropped.
            let _ = self.take_case(case);
            if amends {
                self.count(wall);
            }
        }
    }

    /// Forgets motions that found no majority in their time, or whose charter is no longer in force. Says which.
    pub fn sweep(&mut self, wall: Timestamp) -> Vec<MotionId> {
        let old = |case: &Case| {
            let version = self.version(&case.motion.charter);
            let ended = version.and_then(|version| version.until);
            let unheard = version.is_some_and(|version| case.votes(&version.electors).is_empty());
            let taken = case.alias().is_some_and(|(name, _)| self.aliases.contains_key(name));
            let void = unheard && (taken || matches!(case.stamp(), Some(Counted::Used | Counted::Expired)));
            // Made tomorrow: by a wrong clock, or so as to be kept for ever.
            let odd = case.motion.made > wall + DAY;
            let life = if void { VOID_LIFE } else { MOTION_LIFE };
            odd || case.motion.made + life <= wall || ended.is_some_and(|until| until <= wall)
        };
        let gone: Vec<MotionId> =
            self.cases.values().filter(|it| !self.decided.contains_key(&it.id) && old(it)).map(|it| it.id).collect();
        for id in &gone {
            self.cases.remove(id);
        }
        gone
    }

    /// Counts, as of `wall`. Whether who belongs, or a version, is another than before.
    pub fn count(&mut self, wall: Timestamp) -> bool {
        let Some(founding) = &self.founding else { return false };
        let versions = self.succession(founding);
        for case in self.cases.values_mut() {
            if let Some(version) = versions.iter().find(|version| version.hash == case.motion.charter) {
                case.prune(&version.electors);
            }
        }
        let decided = self.decisions(&versions);
        let (members, coming) = self.roll(&versions, &decided, wall);
        let belongs = |excluded: bool| {
            let such = members.iter().filter(move |(_, member)| member.excluded.is_some() == excluded);
            such.map(|(operator, _)| *operator).collect::<BTreeSet<_>>()
        };
        let admitted = Admitted::these(belongs(false), belongs(true));
        let next = versions.iter().map(|version| version.from).filter(|from| *from > wall).chain(coming).min();
        let aliases = self.names(&decided, wall);
        let changed = admitted != self.admitted || versions != self.versions || aliases != self.aliases;
        self.aliases = aliases;
        (self.versions, self.decided, self.members) = (versions, decided, members);
        (self.admitted, self.next) = (admitted, next);
        changed
    }

    /// The versions of the charter: each was carried by the electorate of the one before. Of two that were carried for one
    /// place the earlier one counts.
    fn succession(&self, founding: &Founding) -> Vec<Version> {
        let version = |charter: Charter, from| {
            let (hash, electors) = (charter.hash(), charter.electors());
            Version { charter, hash, electors, from, until: None }
        };
        let mut versions = vec![version(Charter::first(founding), founding.founded)];
        loop {
            let last = versions.last().expect("the founding made one");
            let next = self.cases.values().filter_map(|case| {
                let Matter::Amend(charter) = &case.motion.matter else { return None };
                let follows = case.motion.charter == last.hash && charter.version == last.charter.version + 1;
                let carried = follows && case.check_signer(&last.electors).is_ok();
                let at = carried.then(|| case.decided(&last.electors)).flatten()?;
                Some((at.max(last.from), case.id, charter))
            });
            let Some((at, _, charter)) = next.min_by_key(|(at, id, _)| (*at, *id)) else { return versions };
            let from = at + last.charter.values.notice;
            let next = version((**charter).clone(), from);
            versions.last_mut().expect("the founding made one").until = Some(from);
            versions.push(next);
        }
    }

    /// When each motion that was carried takes effect. Admissions wait their turn: of those that were carried under one
    /// version, no more than its rate in any 24 hours. So do names, among themselves.
    fn decisions(&self, versions: &[Version]) -> BTreeMap<MotionId, Timestamp> {
        let mut decided = BTreeMap::new();
        let (mut admissions, mut names) = (Vec::new(), Vec::new());
        for case in self.cases.values() {
            let Some(version) = versions.iter().find(|version| version.hash == case.motion.charter) else { continue };
            let Some(at) = case.decided(&version.electors) else { continue };
            if case.check_signer(&version.electors).is_err() || version.until.is_some_and(|until| at >= until) {
                continue;
            }
            let rate = usize::try_from(version.charter.values.admissions_per_day).unwrap_or(usize::MAX).max(1);
            match case.motion.matter {
                Matter::Admit { .. } => admissions.push((at, case.id, rate)),
                Matter::Alias { .. } => names.push((at, case.id, rate)),
                Matter::Exclude { .. } | Matter::Amend(_) => {
                    decided.insert(case.id, at);
                }
            }
        }
        decided.extend(in_turn(admissions));
        decided.extend(in_turn(names));
        decided
    }

    /// Whose each name is at `wall`.
    fn names(&self, decided: &BTreeMap<MotionId, Timestamp>, wall: Timestamp) -> BTreeMap<String, Alias> {
        let carried = decided.iter().filter(|(_, at)| **at <= wall).filter_map(|(id, at)| {
            let (name, tenant) = self.cases.get(id)?.alias()?;
            Some((*at, *id, name, tenant))
        });
        holders(carried)
    }

    /// Who is and was a member at `wall`, and what is about to change.
    fn roll(
        &self,
        versions: &[Version],
        decided: &BTreeMap<MotionId, Timestamp>,
        wall: Timestamp,
    ) -> (BTreeMap<OperatorId, Member>, Vec<Timestamp>) {
        let mut members = BTreeMap::new();
        let first = versions.first().map(|version| (&version.charter, version.from));
        for (founder, since) in first.iter().flat_map(|(first, from)| first.electorate.iter().map(|it| (it, *from))) {
            let member = Member { operator: founder.clone(), since, excluded: None, by: None };
            members.insert(founder.operator(), member);
        }
        let mut carried: Vec<(Timestamp, MotionId)> = decided.iter().map(|(id, at)| (*at, *id)).collect();
        carried.sort_unstable();
        let coming = carried.iter().map(|(at, _)| *at).filter(|at| *at > wall).collect();
        for (at, id) in carried.into_iter().filter(|(at, _)| *at <= wall) {
            match &self.cases[&id].motion.matter {
                Matter::Admit { operator, .. } => {
                    let entry = members.entry(operator.operator());
                    let fresh = Member { operator: operator.clone(), since: at, excluded: None, by: Some(id) };
                    let member = entry.or_insert_with(|| fresh.clone());
                    if member.excluded.is_some() {
                        *member = fresh;
                    }
                }
                Matter::Exclude { operator, .. } => {
                    if let Some(member) = members.get_mut(operator) {
                        member.excluded.get_or_insert(at);
                    }
                }
                Matter::Amend(_) | Matter::Alias { .. } => {}
            }
        }
        (members, coming)
    }
}

/// When each takes effect, of motions that were carried then and come at a rate for 24 hours.
fn in_turn(mut carried: Vec<(Timestamp, MotionId, usize)>) -> impl Iterator<Item = (MotionId, Timestamp)> {
    carried.sort_unstable();
    let mut turns: Vec<(MotionId, Timestamp)> = Vec::with_capacity(carried.len());
    for (at, id, rate) in carried {
        let turn = turns.len().checked_sub(rate).map_or(at, |before| at.max(turns[before].1 + DAY));
        turns.push((id, turn));
    }
    turns.into_iter()
}

const DAY: Duration = Duration::from_hours(24);

//! Stories of the register: who belongs, as every node works it out alike. No machine, no clock, no gossip.
use std::time::Duration;

use super::*;
use crate::{
    codec,
    id::OperatorId,
    identity::{Envelope, Founding, Genesis, Keypair, Lineage, Party, Signed},
    time::Timestamp,
};

pub(super) const FOUNDED: Timestamp = Timestamp(1_800_000_000_000);

pub(super) fn keys(name: &str) -> Keypair {
    Keypair::from_secret(blake3::hash(name.as_bytes()).as_bytes())
}

pub(super) fn operator(name: &str) -> Genesis {
    Genesis::new(Party::Operator, name, keys(name).public(), Timestamp(1))
}

pub(super) fn id(name: &str) -> OperatorId {
    operator(name).operator()
}

pub(super) fn founding(founders: &[&str]) -> Founding {
    let operators = founders.iter().map(|name| operator(name)).collect();
    Founding { name: "hedge".into(), operators, founded: FOUNDED }
}

pub(super) fn after(seconds: u64) -> Timestamp {
    FOUNDED + Duration::from_secs(seconds)
}

/// A mesh of these founders, as one node knows it.
struct Story {
    register: Register,
    now: Timestamp,
}

impl Story {
    fn of(founders: &[&str]) -> Self {
        let founding = founding(founders);
        let mut register = Register::new(founding.mesh());
        register.found(founding).unwrap();
        register.count(FOUNDED);
        Self { register, now: after(1) }
    }

    fn charter(&self) -> Charter {
        self.register.in_force(self.now).unwrap().charter.clone()
    }

    fn motion(&self, by: &str, matter: Matter) -> Signed<Motion> {
        let charter = self.charter();
        Signed::seal(&keys(by), &Motion { mesh: charter.mesh, charter: charter.hash(), matter, made: self.now })
    }

    fn request(&self, newcomer: &str) -> Signed<Motion> {
        self.motion(newcomer, Matter::Admit { operator: operator(newcomer), invite: None })
    }

    fn ballot(&self, motion: &Signed<Motion>, elector: &str, yes: bool) -> Envelope {
        let ballot = Ballot { motion: motion.hash(), elector: id(elector), yes, at: self.now };
        Signed::seal(&keys(elector), &ballot).envelope().clone()
    }

    fn take(&mut self, motion: &Signed<Motion>, said: Vec<Envelope>) -> Result<Taken, Void> {
        let statements = [vec![motion.envelope().clone()], said].concat();
        let taken = self.register.take(Papers { statements, founding: None });
        self.register.count(self.now);
        taken
    }

    /// The electors say yes.
    fn carried(&mut self, motion: &Signed<Motion>, electors: &[&str]) {
        let ballots = electors.iter().map(|elector| self.ballot(motion, elector, true)).collect();
        self.take(motion, ballots).unwrap();
    }

    fn counts(&mut self, name: &str) -> bool {
        self.register.count(self.now);
        self.register.admitted().counts(&id(name))
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }
}

#[test]
fn founders_belong_and_nobody_else() {
    let mut story = Story::of(&["alder", "birch"]);
    assert!(story.counts("alder") && story.counts("birch") && !story.counts("cornel"));
}

#[test]
fn without_the_founding_statement_nobody_can_be_told_from_a_stranger() {
    let mut register = Register::new(founding(&["alder"]).mesh());
    register.count(FOUNDED);
    assert!(register.admitted().counts(&id("anybody")));
    assert_eq!(register.found(founding(&["mallow"])), Err(Void::OtherFounding));
}

#[test]
fn a_majority_of_the_electorate_admits_one_after_the_other_and_a_minority_does_not() {
    let mut story = Story::of(&["alder", "birch", "cornel"]);
    let request = story.request("dogrose");
    story.carried(&request, &["alder"]);
    assert!(!story.counts("dogrose"), "one of three");
    story.later(3_600 * 24 * 3);
    story.carried(&request, &["cornel"]);
    assert!(story.counts("dogrose"), "the second came three days later: nobody waited for anybody");
    assert_eq!(story.register.member(id("dogrose")).unwrap().since, story.now);
}

#[test]
fn ballots_of_strangers_forgers_and_for_another_motion_count_nothing() {
    let mut story = Story::of(&["alder", "birch", "cornel"]);
    let (request, other) = (story.request("dogrose"), story.request("elder"));
    let forged = Ballot { motion: request.hash(), elector: id("birch"), yes: true, at: story.now };
    let said = vec![
        story.ballot(&request, "alder", true),
        story.ballot(&request, "alder", true),
        story.ballot(&other, "birch", true),
        story.ballot(&request, "mallow", true),
        story.ballot(&request, "cornel", false),
        Signed::seal(&keys("mallow"), &forged).envelope().clone(),
    ];
    story.take(&request, said).unwrap();
    assert!(!story.counts("dogrose"));
    let shown = shown::CaseShown::of(story.register.case(&request.hash()).unwrap(), &story.register);
    assert_eq!(shown.yes.iter().map(|(elector, _)| *elector).collect::<Vec<_>>(), [id("alder")]);
    assert_eq!((shown.no, shown.silent, shown.needed), (vec![id("cornel")], vec![id("birch")], 2));
}

#[test]
fn a_yes_stands_whatever_its_elector_says_later() {
    let mut story = Story::of(&["alder"]);
    let request = story.request("birch");
    story.carried(&request, &["alder"]);
    let no = story.ballot(&request, "alder", false);
    story.take(&request, vec![no]).unwrap();
    assert!(story.counts("birch"));
}

#[test]
fn nobody_asks_in_anothers_name_and_only_electors_move_to_exclude() {
    let mut story = Story::of(&["alder", "birch", "cornel"]);
    let forged = story.motion("mallow", Matter::Admit { operator: operator("dogrose"), invite: None });
    assert_eq!(story.take(&forged, vec![]), Err(Void::Signer));
    let exclude =
        |story: &Story, by: &str| story.motion(by, Matter::Exclude { operator: id("cornel"), reason: "floods".into() });
    let stranger = exclude(&story, "mallow");
    assert_eq!(story.take(&stranger, vec![]), Err(Void::Signer));
    let motion = exclude(&story, "alder");
    story.carried(&motion, &["alder", "birch"]);
    assert!(!story.counts("cornel") && story.register.admitted().excluded(&id("cornel")));
    let again = story.request("cornel");
    story.later(60);
    story.carried(&again, &["alder", "birch"]);
    assert!(story.counts("cornel"), "whoever was excluded may be admitted anew");
}

#[test]
fn admissions_come_at_a_bounded_rate_and_everybody_counts_their_turns_alike() {
    let mut story = Story::of(&["alder"]);
    let rate = story.charter().values.admissions_per_day as usize;
    let names: Vec<String> = (0..=rate).map(|n| format!("newcomer {n}")).collect();
    let mut papers = Vec::new();
    for name in &names {
        story.later(1);
        let request = story.request(name);
        story.carried(&request, &["alder"]);
        papers.push(story.register.case(&request.hash()).unwrap().papers());
    }
    assert!(names[..rate].iter().all(|name| story.counts(name)));
    assert!(!story.counts(&names[rate]), "one more than the charter's rate waits");
    let mut other = Story::of(&["alder"]);
    papers.reverse();
    for papers in papers {
        other.register.take(papers).unwrap();
    }
    other.now = story.now;
    assert!(!other.counts(&names[rate]), "in whatever order the certificates came");
    assert_eq!(other.register.admitted(), story.register.admitted());
    story.later(3_600 * 24);
    assert!(story.counts(&names[rate]), "his turn came");
}

#[test]
fn an_amended_charter_is_in_force_after_its_notice_and_its_electorate_decides_from_then_on() {
    let mut story = Story::of(&["alder"]);
    for newcomer in ["birch", "cornel"] {
        let request = story.request(newcomer);
        story.carried(&request, &["alder"]);
    }
    let old = story.charter();
    let electorate = ["alder", "birch", "cornel"].map(operator).to_vec();
    let next = old.next(electorate, Values { admissions_per_day: 1, ..Values::default() }, story.now);
    let motion = story.motion("alder", Matter::Amend(Box::new(next.clone())));
    story.carried(&motion, &["alder"]);
    assert_eq!(story.charter().version, 0, "notice first");
    story.later(3_600 * 24);
    story.register.count(story.now);
    assert_eq!(story.charter(), next);
    let alone = story.request("dogrose");
    story.carried(&alone, &["alder"]);
    assert!(!story.counts("dogrose"), "one of three is no majority any more");
    let stale = Motion {
        mesh: old.mesh,
        charter: old.hash(),
        matter: Matter::Admit { operator: operator("elder"), invite: None },
        made: story.now,
    };
    let stale = Signed::seal(&keys("elder"), &stale);
    story.carried(&stale, &["alder"]);
    assert!(!story.counts("elder"), "the electorate before decides nothing any more");
    story.carried(&alone, &["birch"]);
    assert!(story.counts("dogrose"));
}

#[test]
fn a_charter_that_skips_a_version_or_breaks_a_bound_is_no_motion() {
    let story = Story::of(&["alder"]);
    let charter = story.charter();
    let lawful = charter.next(vec![operator("alder")], Values::default(), story.now);
    let broken = [
        Charter { previous: [7; 32], ..lawful.clone() },
        Charter { electorate: Vec::new(), ..lawful.clone() },
        Charter { electorate: vec![operator("alder"), operator("alder")], ..lawful.clone() },
        Charter { values: Values { quorum_permille: 500, ..Values::default() }, ..lawful.clone() },
        Charter { values: Values { dominance_permille: 100, ..Values::default() }, ..lawful },
    ];
    for charter in broken {
        let motion = story.motion("alder", Matter::Amend(Box::new(charter.clone())));
        let read = Case::read(&[motion.envelope().clone()], charter.mesh);
        assert!(matches!(read, Err(Void::Unlawful(_))), "{charter:?}");
    }
}

/// An invite by `electors`, for whoever has the key "bearer"; the node with the key "witness" counts.
fn invite(story: &Story, uses: u32) -> Invite {
    let charter = story.charter();
    Invite {
        mesh: charter.mesh,
        charter: charter.hash(),
        id: InviteId([7; 16]),
        bearer: keys("bearer").public(),
        witness: keys("witness").node(),
        uses,
        expires: after(3_600),
        made: story.now,
    }
}

fn invited(story: &Story, newcomer: &str, invite: &Invite, electors: &[&str], number: Counted) -> Papers {
    let matter = Matter::Admit { operator: operator(newcomer), invite: Some(invite.id) };
    let motion = story.motion(newcomer, matter);
    let claim = Claim { motion: motion.hash(), invite: invite.id };
    let stamp = Stamp { motion: motion.hash(), invite: invite.id, counted: number, at: story.now };
    let mut statements = vec![motion.envelope().clone()];
    statements.extend(electors.iter().map(|elector| Signed::seal(&keys(elector), invite).envelope().clone()));
    statements.push(Signed::seal(&keys("bearer"), &claim).envelope().clone());
    statements.push(Signed::seal(&keys("witness"), &stamp).envelope().clone());
    Papers { statements, founding: None }
}

#[test]
fn an_invite_signed_by_a_majority_admits_whoever_holds_it_as_often_as_it_says() {
    let mut story = Story::of(&["alder", "birch", "cornel"]);
    let invite = invite(&story, 2);
    let majority = ["alder", "cornel"];
    for (newcomer, counted, admitted) in [
        ("dogrose", Counted::Use(0), true),
        ("elder", Counted::Use(1), true),
        ("furze", Counted::Use(2), false),
        ("gorse", Counted::Used, false),
        ("hazel", Counted::Expired, false),
    ] {
        let papers = invited(&story, newcomer, &invite, &majority, counted);
        story.register.take(papers).unwrap();
        assert_eq!(story.counts(newcomer), admitted, "{newcomer}");
    }
    let one = invited(&story, "ivy", &invite, &["birch"], Counted::Use(0));
    let motion = Case::read(&one.statements, story.charter().mesh).unwrap().id;
    story.register.take(one).unwrap();
    assert!(!story.counts("ivy"), "one elector's invite is one ballot");
    let shown = shown::CaseShown::of(story.register.case(&motion).unwrap(), &story.register);
    assert_eq!(
        shown.silent,
        story.register.versions()[0].electors.all().filter(|it| *it != id("birch")).collect::<Vec<_>>()
    );
}

#[test]
fn a_request_whose_invite_was_used_up_is_soon_forgotten_unless_an_elector_wants_it() {
    let mut story = Story::of(&["alder"]);
    let invite = invite(&story, 1);
    for (newcomer, counted) in [("birch", Counted::Used), ("cornel", Counted::Expired), ("dogrose", Counted::Use(0))] {
        let papers = invited(&story, newcomer, &invite, &["alder"], counted);
        story.register.take(papers).unwrap();
    }
    story.counts("dogrose");
    let of = |story: &Story, newcomer: &str| {
        let is = |case: &&Case| case.newcomer().is_some_and(|it| it.name == newcomer);
        story.register.cases().find(is).map(|case| case.id)
    };
    let wanted = of(&story, "cornel").unwrap();
    let ballot = Ballot { motion: wanted, elector: id("alder"), yes: true, at: story.now };
    let ballot = Signed::seal(&keys("alder"), &ballot).envelope().clone();
    let mut papers = story.register.case(&wanted).unwrap().papers();
    papers.statements.push(ballot);
    story.register.take(papers).unwrap();
    story.later(3_599);
    assert!(story.register.sweep(story.now).is_empty());
    story.later(1);
    let birch = of(&story, "birch").unwrap();
    story.counts("cornel");
    assert_eq!(story.register.sweep(story.now), [birch]);
}

#[test]
fn every_part_of_an_invite_must_be_its_own() {
    let mut story = Story::of(&["alder"]);
    let invite = invite(&story, 1);
    let whole = invited(&story, "birch", &invite, &["alder"], Counted::Use(0));
    for (missing, what) in [(1, "the invite"), (2, "the claim"), (3, "the stamp")] {
        let mut papers = whole.clone();
        papers.statements.remove(missing);
        let mut alone = Story::of(&["alder"]);
        alone.register.take(papers).unwrap();
        assert!(!alone.counts("birch"), "without {what}");
    }
    let thief = Claim { motion: Case::read(&whole.statements, invite.mesh).unwrap().id, invite: invite.id };
    let mut stolen = whole.clone();
    stolen.statements[2] = Signed::seal(&keys("mallow"), &thief).envelope().clone();
    let mut other = Story::of(&["alder"]);
    other.register.take(stolen).unwrap();
    assert!(!other.counts("birch"), "the bearer's secret is what admits");
    story.register.take(whole).unwrap();
    assert!(story.counts("birch"));
}

#[test]
fn requests_without_an_invite_are_bounded_and_take_no_place_of_one_with_an_invite() {
    let mut story = Story::of(&["alder"]);
    for n in 0..REQUESTS_MAX {
        let request = story.request(&format!("sock puppet {n}"));
        story.take(&request, vec![]).unwrap();
    }
    let one_more = story.request("one more");
    assert_eq!(story.take(&one_more, vec![]), Err(Void::Full));
    let invite = invite(&story, 1);
    let papers = invited(&story, "birch", &invite, &["alder"], Counted::Use(0));
    story.register.take(papers).unwrap();
    assert!(story.counts("birch"));
    let ballot = story.ballot(&one_more, "alder", true);
    story.take(&one_more, vec![ballot]).unwrap();
    assert!(story.counts("one more"), "nor of one that an elector wants");
    story.later(3_600 * 24 * 31);
    assert_eq!(story.register.sweep(story.now).len(), REQUESTS_MAX);
}

#[test]
fn a_case_with_every_ballot_of_the_largest_electorate_fits_into_a_record() {
    let names: Vec<String> = (0..ELECTORS_MAX).map(|n| format!("{n:0>63}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut story = Story::of(&names);
    let next = story.charter().next(names.iter().map(|name| operator(name)).collect(), Values::default(), story.now);
    let motion = story.motion(names[0], Matter::Amend(Box::new(next)));
    story.carried(&motion, &names);
    let papers = story.register.case(&motion.hash()).unwrap().papers();
    assert!(codec::encode(&papers).len() <= crate::record::CONTENT_BYTES_MAX);
    let mut reader = Story::of(&names);
    reader.register.take(papers).unwrap();
    reader.now = story.now + Values::default().notice;
    reader.register.count(reader.now);
    assert_eq!(reader.charter().version, 1, "a majority of the ballots is among what fits");
}

/// Papers as the first version wrote them: every later one reads them so.
#[test]
fn old_papers_are_read_for_ever() {
    let story = Story::of(&["alder", "birch"]);
    let invite = invite(&story, 1);
    let papers = invited(&story, "cornel", &invite, &["alder"], Counted::Use(0));
    let founded = Papers { statements: Vec::new(), founding: Some(founding(&["alder"])) };
    let next = story.charter().next(vec![operator("alder")], Values::default(), story.now);
    let amended = story.motion("alder", Matter::Amend(Box::new(next)));
    let ballot = story.ballot(&amended, "birch", true);
    let amended = Papers { statements: vec![amended.envelope().clone(), ballot], founding: None };
    let golden = include_str!("golden_papers.hex");
    let written: Vec<String> = [papers, founded, amended]
        .iter()
        .map(|papers| data_encoding::HEXLOWER.encode(&codec::encode(papers)))
        .collect();
    assert_eq!(written, golden.lines().collect::<Vec<_>>());
    for line in golden.lines() {
        let bytes = data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap();
        let papers = Papers::read(&bytes.into()).unwrap();
        if papers.founding.is_none() {
            Case::read(&papers.statements, story.charter().mesh).unwrap();
        }
    }
}

/// A tenant of this name.
fn tenant(name: &str) -> Lineage {
    Lineage::first(Genesis::new(Party::Tenant, name, keys(name).public(), Timestamp(1)))
}

impl Story {
    fn asks(&self, tenant: &Lineage, key: &str, name: &str) -> Signed<Motion> {
        self.motion(key, Matter::Alias { name: name.into(), tenant: Box::new(tenant.clone()) })
    }

    /// The tenant asks for a name, and these electors say yes.
    fn named(&mut self, who: &str, name: &str, electors: &[&str]) -> Result<Taken, Void> {
        let motion = self.asks(&tenant(who), who, name);
        let ballots = electors.iter().map(|elector| self.ballot(&motion, elector, true)).collect();
        self.take(&motion, ballots)
    }

    fn holder(&mut self, name: &str) -> Option<String> {
        self.register.count(self.now);
        self.register.aliases().get(name).map(|alias| alias.tenant.name.clone())
    }
}

#[test]
fn a_majority_gives_a_tenant_a_short_name_and_a_minority_does_not() {
    let mut story = Story::of(&["alder", "birch", "cornel"]);
    story.named("wren", "bakery", &["alder"]).unwrap();
    assert_eq!(story.holder("bakery"), None, "one of three");
    story.named("wren", "bakery", &["mallow"]).unwrap();
    assert_eq!(story.holder("bakery"), None, "a stranger's ballot is none");
    story.named("wren", "bakery", &["cornel"]).unwrap();
    assert_eq!(story.holder("bakery").as_deref(), Some("wren"));
    assert!(!story.register.members().any(|(_, member)| member.operator.name == "wren"), "and makes it no operator");
    assert_eq!(story.named("finch", "bakery", &[]), Err(Void::Taken));
    story.named("wren", "bakery2", &[]).unwrap();
}

#[test]
fn of_two_certificates_for_one_name_the_earlier_counts_in_whatever_order_they_come() {
    let mut story = Story::of(&["alder"]);
    let mut papers = Vec::new();
    for who in ["wren", "finch"] {
        let motion = story.asks(&tenant(who), who, "bakery");
        let ballot = story.ballot(&motion, "alder", true);
        papers.push(Papers { statements: vec![motion.envelope().clone(), ballot], founding: None });
        story.later(1);
    }
    for order in [[0, 1], [1, 0]] {
        let mut reader = Story::of(&["alder"]);
        reader.now = story.now;
        for at in order {
            reader.register.take(papers[at].clone()).unwrap();
        }
        assert_eq!(reader.holder("bakery").as_deref(), Some("wren"), "{order:?}");
    }
}

#[test]
fn names_are_few_for_one_tenant_and_come_at_the_charters_rate() {
    let mut story = Story::of(&["alder"]);
    for n in 0..ALIASES_PER_TENANT_MAX {
        story.named("wren", &format!("shop{n}"), if n % 2 == 0 { &["alder"] } else { &[] }).unwrap();
    }
    assert_eq!(story.named("wren", "more", &[]), Err(Void::TooManyNames), "two given, two asked for");
    story.named("wren", "more", &["alder"]).unwrap();
    story.named("wren", "more2", &["alder"]).unwrap();
    story.named("wren", "more3", &["alder"]).unwrap();
    let held = story.register.aliases().len();
    assert_eq!(held, ALIASES_PER_TENANT_MAX, "electors cannot give more either");
    let rate = story.charter().values.admissions_per_day as usize;
    for n in 0..rate {
        story.later(1);
        story.named(&format!("tenant {n}"), &format!("name{n}"), &["alder"]).unwrap();
    }
    assert_eq!(story.holder(&format!("name{}", rate - 1)), None, "his turn has not come");
    let request = story.request("birch");
    story.carried(&request, &["alder"]);
    assert!(story.counts("birch"), "admissions have turns of their own");
    story.later(3_600 * 24);
    assert!(story.holder(&format!("name{}", rate - 1)).is_some());
}

#[test]
fn requests_for_names_are_bounded_and_take_no_place_of_an_operators() {
    let mut story = Story::of(&["alder", "birch"]);
    for n in 0..ALIAS_REQUESTS_MAX {
        story.named(&format!("tenant {n}"), &format!("name{n}"), &[]).unwrap();
    }
    assert_eq!(story.named("one more", "more", &[]), Err(Void::NamesFull));
    let request = story.request("cornel");
    story.take(&request, vec![]).unwrap();
    story.named("one more", "more", &["alder", "birch"]).unwrap();
    assert!(story.holder("more").is_some(), "nor of one that the electors want");
    story.later(3_600 * 24 * 31);
    assert_eq!(story.register.sweep(story.now).len(), ALIAS_REQUESTS_MAX + 1);
}

#[test]
fn only_a_tenant_asks_for_a_name_only_with_its_own_key_and_only_for_a_name_that_is_one() {
    let mut story = Story::of(&["alder"]);
    let wren = tenant("wren");
    let forged = story.asks(&wren, "mallow", "bakery");
    assert_eq!(story.take(&forged, vec![]), Err(Void::Signer));
    let operator = Lineage::first(operator("alder"));
    let by_operator = story.asks(&operator, "alder", "bakery");
    assert!(matches!(story.take(&by_operator, vec![]), Err(Void::Unlawful(_))));
    let id = wren.genesis.tenant().to_string();
    for name in
        ["", "Bakery", "ba.kery", "-bakery", "bakery-", "b\u{e4}ckerei", "xn--bckerei-4wa", &"b".repeat(64), &id]
    {
        let motion = story.asks(&wren, "wren", name);
        assert!(matches!(story.take(&motion, vec![]), Err(Void::Unlawful(_))), "{name}");
    }
    let now = wren.succeed(&keys("wren"), &keys("wren 2"), story.now).unwrap();
    let with_dead_key = story.asks(&now, "wren", "bakery");
    assert_eq!(story.take(&with_dead_key, vec![]), Err(Void::Signer));
    let motion = story.asks(&now, "wren 2", "bakery");
    story.carried(&motion, &["alder"]);
    assert_eq!(story.holder("bakery").as_deref(), Some("wren"), "a tenant whose key was changed is the same tenant");
}

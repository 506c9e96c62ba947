use super::*;
use crate::{
    cell::{CellGenesis, Founder, Grant, Role, TenantCommand, Workload},
    codec,
    id::{ContentHash, MeshId, NodeId, ReplicaId},
    identity::Signed,
    placement::{Grade, Policy},
    record::Kind,
    resources::{Money, Price},
    time::Timestamp,
};

fn founding() -> Founding {
    Founding::of(&fixture::hosts(3))
}

fn with_policy(change: impl FnOnce(&mut Policy)) -> Founding {
    let mut founding = founding();
    change(&mut founding.release.policy);
    founding
}

fn code_of(genesis: &CellGenesis) -> Code {
    let refusal = State::found(genesis).expect_err("this genesis is not sound");
    assert_eq!(refusal.certainty, Certainty::Definite);
    refusal.code
}

fn code(founding: &Founding) -> Code {
    code_of(&founding.genesis())
}

/// The genesis in which the first voter shows something else.
fn first_voter(change: impl FnOnce(&Founding, &mut Founder)) -> CellGenesis {
    let founding = founding();
    let mut genesis = founding.genesis();
    change(&founding, &mut genesis.voters[0]);
    genesis
}

/// The genesis in which the first voter's grant says something else, signed by it.
fn first_grant(change: impl FnOnce(&mut Grant)) -> CellGenesis {
    first_voter(|founding, founder| {
        let mut grant = founder.grant.open().unwrap();
        change(&mut grant);
        founder.grant = Signed::seal(&founding.voters[0].keys, &grant);
    })
}

/// The genesis of another command of the same tenant.
fn commanded(change: impl FnOnce(&mut TenantCommand)) -> CellGenesis {
    let founding = founding();
    let mut genesis = founding.genesis();
    let mut command = genesis.release.open().unwrap();
    change(&mut command);
    genesis.release = Signed::seal(&founding.tenant.keys, &command);
    genesis
}

#[test]
fn three_hosts_of_three_operators_found_a_cell() {
    let founding = founding();
    let genesis = founding.genesis();
    let state = State::found(&genesis).unwrap();

    assert_eq!((state.cell(), state.applied(), state.line(), state.writer()), (genesis.cell(), 1, 1, 1));
    assert_eq!((state.time(), state.rules(), state.bytes()), (fixture::FOUNDED, 1, 0));
    assert_eq!(state.grade(), Grade::Jurisdiction);
    assert_eq!(state.target_membership().voters, [1, 2, 3].map(ReplicaId).into());
    assert!(state.target_membership().learners.is_empty());
    for (n, host) in (1..).zip(&founding.voters) {
        assert_eq!(state.replica_of(host.node()), Some(ReplicaId(n)));
        assert_eq!(state.node_of(ReplicaId(n)), Some(host.node()));
    }
    let description = state.description();
    assert_eq!((description.app.as_str(), description.current, description.leases.len()), ("guestbook", 1, 1));
    assert_eq!(description.leases[0].node, founding.voters[0].node());
    assert_eq!(description.leases[0].generation, 1);
}

#[test]
fn a_repeated_founding_command_learns_that_it_founded_release_1() {
    let state = State::found(&fixture::genesis(&fixture::hosts(3))).unwrap();
    assert_eq!(state.remembered(fixture::op("founding", 1)), Some(&Outcome::Released(1)));
}

#[test]
fn five_voters_and_one_voter_found_cells_too() {
    assert_eq!(Story::of(5).state.grade(), Grade::Jurisdiction);
    assert_eq!(Story::of(1).state.grade(), Grade::Nothing);
}

#[test]
fn rules_that_this_version_does_not_know_found_nothing() {
    let mut genesis = founding().genesis();
    genesis.rules = crate::cell::state::RULES_MAX + 1;
    assert_eq!(code_of(&genesis), Code::Unsupported);
    genesis.rules = 0;
    assert_eq!(code_of(&genesis), Code::Unsupported);
}

#[test]
fn a_round_trip_that_would_stop_elections_is_refused() {
    let mut genesis = founding().genesis();
    genesis.round_trip = Duration::from_secs(11);
    assert_eq!(code_of(&genesis), Code::Invalid);
}

#[test]
fn a_tenant_is_a_tenant_and_signs_its_own_genesis() {
    let mut genesis = founding().genesis();
    genesis.tenant = fixture::Party::operator("tess").signed_genesis();
    assert_eq!(code_of(&genesis), Code::Unauthorised);

    let mut genesis = founding().genesis();
    let tenant = fixture::Party::tenant("tess").genesis;
    genesis.tenant = Signed::seal(&fixture::Party::tenant("mallory").keys, &tenant);
    assert_eq!(code_of(&genesis), Code::Unauthorised);
}

#[test]
fn only_the_tenant_signs_its_release() {
    let founding = founding();
    let mut genesis = founding.genesis();
    let command = genesis.release.open().unwrap();
    genesis.release = Signed::seal(&fixture::Party::tenant("mallory").keys, &command);
    assert_eq!(code_of(&genesis), Code::Unauthorised);

    let mut genesis = founding.genesis();
    genesis.tenant = fixture::Party::tenant("mallory").signed_genesis();
    assert_eq!(code_of(&genesis), Code::Unauthorised);
}

#[test]
fn a_cell_is_founded_by_a_fresh_release_for_no_cell() {
    let elsewhere = State::found(&founding().genesis()).unwrap().cell();
    assert_eq!(code_of(&commanded(|command| command.cell = Some(elsewhere))), Code::Unauthorised);
    assert_eq!(code_of(&commanded(|command| command.action = TenantAction::Remove)), Code::Invalid);
    assert_eq!(code_of(&commanded(|command| command.op.seq = 0)), Code::Invalid);
    let day = Duration::from_hours(25);
    assert_eq!(code_of(&commanded(|command| command.issued = fixture::FOUNDED - day)), Code::Invalid);
    assert_eq!(code_of(&commanded(|command| command.issued = fixture::FOUNDED + day)), Code::Invalid);
}

#[test]
fn an_app_has_a_dns_label_for_a_name() {
    for name in ["", "-a", "a-", "A", "a.b", "ä", &"a".repeat(64)] {
        let mut founding = founding();
        name.clone_into(&mut founding.release.app);
        assert_eq!(code(&founding), Code::Invalid, "{name}");
    }
    let mut founding = founding();
    founding.release.app = "a".repeat(63);
    assert!(State::found(&founding.genesis()).is_ok());
}

#[test]
fn only_components_run_in_this_version() {
    let mut founding = founding();
    let genesis = |workload| {
        founding.release.workload = workload;
        founding.keepers.clear();
        code(&founding)
    };
    let mut genesis = genesis;
    let hash = ContentHash::of(b"x");
    assert_eq!(genesis(Workload::Container { image: "sha256:0".into() }), Code::Unsupported);
    assert_eq!(genesis(Workload::Site { hash, size_bytes: 1 }), Code::Unsupported);
    assert_eq!(genesis(Workload::Component { hash, size_bytes: 0 }), Code::Invalid);
    assert_eq!(genesis(Workload::Component { hash, size_bytes: u64::MAX }), Code::Invalid);
}

#[test]
fn environment_and_domains_are_bounded() {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let env = |env: Vec<(String, String)>| {
        let mut founding = founding();
        founding.release.env = env;
        State::found(&founding.genesis()).map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(env(vec![pair("A", "x".repeat((64 << 10) - 1))]), Ok(()));
    assert_eq!(env(vec![pair("A", "x".repeat(64 << 10))]), Err(Code::Invalid));
    assert_eq!(env(vec![pair("A", String::new()), pair("A", String::new())]), Err(Code::Invalid));
    assert_eq!(env(vec![pair("", String::new())]), Err(Code::Invalid));

    for domain in ["localhost", "Example.org", "a..b", "*.example.org", ".org", "exa mple.org"] {
        let mut founding = founding();
        founding.release.domains = vec![domain.to_owned()];
        assert_eq!(code(&founding), Code::Invalid, "{domain}");
    }
    let mut founding = founding();
    founding.release.domains = (0..33).map(|n| format!("h{n}.example.org")).collect();
    assert_eq!(code(&founding), Code::Invalid);
}

#[test]
fn a_policy_that_contradicts_itself_is_refused() {
    assert_eq!(code(&with_policy(|policy| policy.voters = 2)), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.voters = 7)), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.scale.min = 21)), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.scale.max = 1_001)), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.scale.target_concurrency = 0)), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.away = vec![fixture::law("CN"); 2])), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.cut.home_cut = Some(fixture::law("FR")))), Code::Invalid);
    assert_eq!(code(&with_policy(|policy| policy.recovery.threshold = 1)), Code::Invalid);
}

#[test]
fn fewer_voters_than_the_policy_wants_found_a_cell_only_if_it_allows_degraded() {
    let mut founding = founding();
    founding.voters.truncate(1);
    founding.keepers.truncate(1);
    assert_eq!(code(&founding), Code::Unplaceable);
    founding.release.policy.allow_degraded = true;
    assert_eq!(State::found(&founding.genesis()).unwrap().grade(), Grade::Nothing);
    founding.voters.clear();
    founding.instances.clear();
    founding.keepers.clear();
    assert_eq!(code(&founding), Code::Unplaceable);
}

#[test]
fn two_voters_of_one_operator_found_a_cell_only_if_it_allows_degraded() {
    let hosts = [Host::new("ada", "attic", "FR"), Host::new("ada", "barn", "FR"), Host::new("bob", "cellar", "DE")];
    let mut founding = Founding::of(&hosts);
    assert_eq!(code(&founding), Code::Unplaceable);
    founding.release.policy.allow_degraded = true;
    assert_eq!(State::found(&founding.genesis()).unwrap().grade(), Grade::Nothing);
}

#[test]
fn voters_stay_at_home_and_instances_at_home_or_away() {
    let home = ["FR", "DE", "BE"].map(fixture::law).to_vec();
    assert!(State::found(&with_policy(|policy| policy.home = home.clone()).genesis()).is_ok());
    assert_eq!(code(&with_policy(|policy| policy.home = home[..2].to_vec())), Code::Unplaceable);

    let abroad = Host::new("chen", "campus", "CN");
    let mut founding = with_policy(|policy| policy.home = home);
    founding.instances = vec![abroad];
    assert_eq!(code(&founding), Code::Unplaceable);
    founding.release.policy.away = vec![fixture::law("CN")];
    assert!(State::found(&founding.genesis()).is_ok());
}

#[test]
fn a_node_votes_once_and_hosts_once() {
    let mut founding = founding();
    founding.voters[1] = founding.voters[0].clone();
    founding.release.policy.allow_degraded = true;
    assert_eq!(code(&founding), Code::Unplaceable);

    let mut founding = self::founding();
    founding.instances = vec![founding.voters[0].clone(); 2];
    assert_eq!(code(&founding), Code::Unplaceable);
}

#[test]
fn no_more_instances_are_founded_than_the_scale_allows() {
    let mut founding = with_policy(|policy| (policy.scale.min, policy.scale.max) = (0, 1));
    founding.instances = founding.voters[..2].to_vec();
    assert_eq!(code(&founding), Code::Unplaceable);
}

#[test]
fn founders_are_numbered_from_1_up() {
    for number in [0, 2, 4, u64::MAX] {
        assert_eq!(code_of(&first_voter(|_, founder| founder.number = number)), Code::Invalid, "{number}");
    }
    assert_eq!(code_of(&first_voter(|_, founder| founder.why = "x".repeat(257))), Code::Invalid);
}

#[test]
fn a_grant_is_for_this_node_tenant_plan_role_size_price_and_time() {
    type Change = fn(&mut Grant);
    let cases: [(&str, Change); 7] = [
        ("node", |grant| grant.node = NodeId::of(b"another")),
        ("tenant", |grant| grant.tenant = fixture::Party::tenant("mallory").tenant_id()),
        ("plan", |grant| grant.purpose = ContentHash::of(b"another")),
        ("role", |grant| grant.role = Role::Learn),
        ("size", |grant| grant.resources.cpu_millis *= 2),
        ("price", |grant| grant.price_per_hour += 1),
        ("time", |grant| grant.expires = fixture::FOUNDED),
    ];
    for (what, change) in cases {
        assert_eq!(code_of(&first_grant(change)), Code::Unauthorised, "{what}");
    }
}

#[test]
fn a_sponsor_cannot_grant_for_a_host() {
    let forged = first_voter(|_, founder| {
        let grant = founder.grant.open().unwrap();
        founder.grant = Signed::seal(&fixture::Party::operator("sponsor").keys, &grant);
    });
    assert_eq!(code_of(&forged), Code::Unauthorised);
}

#[test]
fn a_certificate_is_by_its_operator_for_this_mesh_and_in_force() {
    let certified = |change: fn(&mut crate::identity::NodeCertificate)| {
        first_voter(|founding, founder| {
            let mut certificate = founder.candidate.certificate.open().unwrap();
            change(&mut certificate);
            founder.candidate.certificate = Signed::seal(&founding.voters[0].operator.keys, &certificate);
        })
    };
    assert!(State::found(&certified(|_| {})).is_ok());
    assert_eq!(code_of(&certified(|certificate| certificate.mesh = MeshId::of(b"another"))), Code::Unauthorised);
    assert_eq!(code_of(&certified(|certificate| certificate.expires = fixture::FOUNDED)), Code::Unauthorised);
    let next = fixture::FOUNDED + Duration::from_millis(1);
    let genesis = first_voter(|founding, founder| {
        let mut certificate = founder.candidate.certificate.open().unwrap();
        certificate.not_before = next;
        founder.candidate.certificate = Signed::seal(&founding.voters[0].operator.keys, &certificate);
    });
    assert_eq!(code_of(&genesis), Code::Unauthorised);
    let by_another = first_voter(|founding, founder| {
        let certificate = founder.candidate.certificate.open().unwrap();
        founder.candidate.certificate = Signed::seal(&founding.voters[1].operator.keys, &certificate);
    });
    assert_eq!(code_of(&by_another), Code::Unauthorised);
}

#[test]
fn an_offer_is_the_nodes_own_and_in_force() {
    let offered = |change: &dyn Fn(&Founding, &mut Founder)| first_voter(|founding, founder| change(founding, founder));
    let another = offered(&|founding, founder| founder.candidate.offer = founding.voters[1].candidate().offer);
    assert_eq!(code_of(&another), Code::Unauthorised);

    let kind = offered(&|founding, founder| {
        let host = &founding.voters[0];
        let content = founder.candidate.offer.open().unwrap().content;
        founder.candidate.offer = host.record(Kind::PRESENCE, host.node(), content);
    });
    assert_eq!(code_of(&kind), Code::Invalid);

    let expired = offered(&|founding, founder| {
        let mut record = founder.candidate.offer.open().unwrap();
        record.expires = fixture::FOUNDED;
        founder.candidate.offer = Signed::seal(&founding.voters[0].keys, &record);
    });
    assert_eq!(code_of(&expired), Code::Invalid);

    let unreadable = offered(&|founding, founder| {
        let host = &founding.voters[0];
        founder.candidate.offer = host.record(Kind::OFFER, host.node(), codec::Blob::from("no offer"));
    });
    assert_eq!(code_of(&unreadable), Code::Invalid);
}

#[test]
fn the_price_of_a_month_is_kept_to_the_cent_and_its_currency() {
    let euros = fixture::price().currency;
    let price = Price { currency: euros, cpu_core_hour: 1_000_000, memory_gib_hour: 0, disk_gib_hour: 0 };
    // Three replicas of 20 and an instance of 100 thousandths of a core, 1 cent a core an hour: 0.16 × 730 = 116.8 cents.
    let month = |max_price| {
        let mut founding = founding();
        founding.voters.iter_mut().chain(&mut founding.instances).for_each(|host| host.price = price);
        founding.release.policy.max_price = Some(max_price);
        State::found(&founding.genesis()).map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(month(Money { minor: 117, currency: euros }), Ok(()));
    assert_eq!(month(Money { minor: 116, currency: euros }), Err(Code::Unplaceable));
    assert_eq!(month(Money { minor: 1_000_000, currency: "CNY".parse().unwrap() }), Err(Code::Unplaceable));
}

#[test]
fn a_cell_starts_only_when_its_bytes_are_durable_on_a_majority_and_one_more_site() {
    let all = fixture::hosts(3);
    let durable_on = |keepers: &[Host]| {
        let mut founding = founding();
        founding.keepers = keepers.to_vec();
        State::found(&founding.genesis()).map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(durable_on(&all), Ok(()));
    assert_eq!(durable_on(&all[..2]), Err(Code::Conflict));
    assert_eq!(durable_on(&[]), Err(Code::Conflict));
    // A stranger's disk counts for nothing.
    assert_eq!(durable_on(&[all[0].clone(), all[1].clone(), Host::new("zoe", "shed", "FR")]), Err(Code::Conflict));

    // A host of an instance at a fourth site is the one more.
    let mut founding = founding();
    let elsewhere = Host::new("zoe", "shed", "FR");
    founding.instances.push(elsewhere.clone());
    founding.keepers = vec![all[0].clone(), all[2].clone(), elsewhere];
    assert!(State::found(&founding.genesis()).is_ok());
}

#[test]
fn another_node_at_the_same_site_is_no_further_site() {
    let all = fixture::hosts(3);
    let mut founding = founding();
    let neighbour = Host::new("operator 1", "site 1", "IT");
    founding.instances.push(neighbour.clone());
    founding.keepers = vec![all[0].clone(), all[1].clone(), neighbour];
    assert_eq!(code(&founding), Code::Conflict);
}

#[test]
fn where_there_is_one_site_only_every_founder_keeps_the_bytes() {
    let mut founding = Founding::of(&fixture::hosts(1));
    founding.instances.push(Host::new("operator 1", "site 1", "IT"));
    assert_eq!(code(&founding), Code::Conflict);
    founding.keepers = founding.instances.clone();
    assert!(State::found(&founding.genesis()).is_ok());
}

#[test]
fn a_receipt_for_other_bytes_or_by_another_counts_for_nothing() {
    let founding = founding();
    let mut genesis = founding.genesis();
    genesis.receipts[2] = founding.voters[2].receipt(&fixture::release("x", b"other", Policy::default()).workload);
    assert_eq!(code_of(&genesis), Code::Conflict);

    let mut genesis = founding.genesis();
    let mut receipt = genesis.receipts[2].open().unwrap();
    receipt.size_bytes += 1;
    genesis.receipts[2] = Signed::seal(&founding.voters[2].keys, &receipt);
    assert_eq!(code_of(&genesis), Code::Conflict);

    let mut genesis = founding.genesis();
    let receipt = genesis.receipts[2].open().unwrap();
    genesis.receipts[2] = Signed::seal(&founding.voters[1].keys, &receipt);
    assert_eq!(code_of(&genesis), Code::Conflict);
}

#[test]
fn another_founding_time_is_another_cell() {
    let mut genesis = founding().genesis();
    let cell = genesis.cell();
    genesis.founded = Timestamp(genesis.founded.0 + 1);
    assert_ne!(genesis.cell(), cell);
}

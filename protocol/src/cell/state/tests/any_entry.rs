//! Whatever is in the log, no replica panics, and all come to the same state: also one that was stored and read between
//! any two entries.
use proptest::prelude::*;

use super::{super::*, *};
use crate::{
    cell::{DataBatch, Evidence, InstanceState, Missed, Renewal, Support, Write},
    id::InstanceId,
    identity::Signed,
    membership::Liveness,
};

/// Numbers where mistakes like to hide.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..6, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn host() -> impl Strategy<Value = Host> {
    let hosts = fixture::hosts(5);
    (0..hosts.len()).prop_map(move |n| hosts[n].clone())
}

fn op() -> impl Strategy<Value = OpId> {
    (0..3_u8, number()).prop_map(|(session, seq)| fixture::op(&session.to_string(), seq))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-c0-9]{0,2}", 1 => "\\PC{0,8}", 1 => Just("k".repeat(2_000))]
}

fn write() -> impl Strategy<Value = Write> {
    (0..4_u8, text(), text(), text(), number(), any::<i64>()).prop_map(|(kind, store, key, value, expected, delta)| {
        match kind {
            0 => Write::Set { store, key, value: value.as_str().into() },
            1 => Write::Delete { store, key },
            2 => Write::Swap { store, key, expected, value: (delta > 0).then(|| value.as_str().into()) },
            _ => Write::Increment { store, key, delta },
        }
    })
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    proptest::collection::vec(write(), 0..5)
}

fn action() -> impl Strategy<Value = TenantAction> {
    let release = (text(), number(), any::<bool>()).prop_map(|(component, scale, degraded)| {
        let policy = Policy { allow_degraded: degraded, ..Policy::default() };
        let mut release = fixture::release("guestbook", component.as_bytes(), policy);
        release.policy.scale.max = u32::try_from(scale).unwrap_or(u32::MAX);
        TenantAction::Release(Box::new(release))
    });
    prop_oneof![
        2 => release,
        2 => number().prop_map(|to| TenantAction::Rollback { to }),
        2 => any::<(u8, u8)>().prop_map(|(min, max)| TenantAction::Scale { min: min.into(), max: max.into() }),
        6 => writes().prop_map(TenantAction::Write),
        1 => number().prop_map(|key_generation| {
            TenantAction::Secrets(crate::cell::Secrets { key_generation, ..Default::default() })
        }),
        1 => Just(TenantAction::Remove),
    ]
}

fn tenant() -> impl Strategy<Value = Command> {
    let issued = prop_oneof![9 => Just(fixture::FOUNDED), 1 => any::<u64>().prop_map(Timestamp)];
    (op(), issued, action(), 0..10_u8, proptest::collection::vec(host(), 0..5)).prop_map(
        |(op, issued, action, whose, keepers)| {
            let receipts = match &action {
                TenantAction::Release(release) => {
                    keepers.iter().map(|keeper| keeper.receipt(&release.workload)).collect()
                }
                _ => Vec::new(),
            };
            let cell = (whose != 1).then(|| founded().cell());
            let party = fixture::Party::tenant(if whose == 0 { "mallory" } else { "tess" });
            Command::Tenant { signed: party.sign(cell, op, issued, action), receipts }
        },
    )
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(Evidence::Silent),
        Just(Evidence::Policy),
        host().prop_map(|host| Evidence::Wiped(host.node())),
        (host(), any::<bool>()).prop_map(|(host, drains)| {
            Evidence::Drain(Box::new(host.presence(drains.then_some(fixture::FOUNDED))))
        }),
        (host(), proptest::collection::vec(host(), 0..3)).prop_map(|(about, observers)| {
            Evidence::Down(observers.iter().map(|host| host.verdict(about.node(), Liveness::Down)).collect())
        }),
    ]
}

fn repair() -> impl Strategy<Value = Command> {
    let replica = || number().prop_map(ReplicaId);
    let instance = || number().prop_map(|number| InstanceId { cell: founded().cell(), number });
    let repair = prop_oneof![
        (proptest::option::of(replica()), evidence(), host()).prop_map(|(replaces, evidence, host)| {
            let grant = host.grant_to(founded(), Role::Learn);
            Repair::AddLearner { replaces, evidence, candidate: host.candidate(), grant }
        }),
        (replica(), proptest::option::of(replica())).prop_map(|(learner, leaves)| Repair::Promote { learner, leaves }),
        host().prop_map(|host| {
            let grant = host.grant_to(founded(), Role::Instance);
            Repair::GrantLease { candidate: host.candidate(), grant, relieves: None }
        }),
        (instance(), number(), evidence()).prop_map(|(instance, generation, evidence)| Repair::EndLease {
            instance,
            generation,
            evidence
        }),
    ];
    repair.prop_map(|repair| Command::Repair(Box::new(repair)))
}

fn command() -> impl Strategy<Value = Command> {
    let cell = founded().cell();
    let data = (host(), number(), number(), op(), writes(), number()).prop_map(
        move |(host, number, generation, op, writes, line)| {
            let instance = InstanceId { cell, number };
            let line = if line > 4 { line } else { 1 };
            Command::Data(Signed::seal(
                &host.keys,
                &DataBatch { cell, line, writer: 1, instance, generation, op, writes },
            ))
        },
    );
    let renew =
        (host(), number(), number(), number(), text()).prop_map(move |(host, number, generation, serial, why)| {
            let state = if serial == 2 { InstanceState::Failed(why) } else { InstanceState::Running };
            let instance = InstanceId { cell, number };
            Command::Renew(Signed::seal(&host.keys, &Renewal { instance, generation, line: 1, state, serial }))
        });
    let support = (host(), number(), number()).prop_map(move |(host, replica, rules)| {
        let rules = u32::try_from(rules).unwrap_or(u32::MAX);
        Command::Support(Signed::seal(&host.keys, &Support { cell, replica: ReplicaId(replica), rules }))
    });
    let miss = (host(), number(), number(), number(), proptest::bool::ANY).prop_map(
        move |(host, voter, member, at, missed)| {
            let (voter, member, made) = (ReplicaId(voter), ReplicaId(member), Timestamp(at));
            Command::Miss(Signed::seal(&host.keys, &Missed { cell, voter, member, missed, made }))
        },
    );
    prop_oneof![3 => tenant(), 3 => data, 2 => renew, 4 => repair(), 1 => support, 1 => miss]
}

/// How long after the last one, on which line, by which rules, what.
type Step = (u64, u64, u32, Command);

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![5 => 0..100_u64, 5 => 10_000..20_000_u64, 1 => 300_000..700_000_u64, 1 => Just(u64::MAX)];
    let line = prop_oneof![19 => Just(1_u64), 1 => number()];
    (later, line, prop_oneof![19 => Just(1_u32), 1 => 0..3_u32], command())
}

fn founded() -> &'static State {
    static STATE: std::sync::OnceLock<State> = std::sync::OnceLock::new();
    STATE.get_or_init(|| State::found(&fixture::genesis(&fixture::hosts(3))).expect("the fixture founds a cell"))
}

fn entry(state: &State, (later, line, rules, command): &Step) -> Entry {
    let stamp = state.time() + Duration::from_millis(*later);
    Entry { stamp, line: *line, rules: *rules, command: command.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_entry_panics_and_a_stored_replica_follows_alike(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut lived, mut stored) = (founded().clone(), founded().clone());
        for (index, step) in (2..).zip(&steps) {
            let entry = entry(&lived, step);
            let carried: Entry = codec::decode("entry", &codec::encode(&entry)).expect("an entry reads back");
            stored = State::decode(&stored.encode()).expect("a state reads back");
            let effects = lived.apply(index, &entry);
            prop_assert_eq!(&effects, &stored.apply(index, &carried));
            prop_assert_eq!(lived.encode(), stored.encode());
            prop_assert!(lived.leases().count() <= INSTANCES_MAX as usize);
            prop_assert!(lived.target_membership().learners.len() <= 1);
            prop_assert!(lived.target_membership().voters.len() <= 5);
            if let Outcome::Refused(refusal) = &effects.outcome {
                prop_assert!(refusal.detail.len() <= 2_048);
            }
        }
    }
}

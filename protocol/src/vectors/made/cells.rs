//! A cell from its genesis on.
use std::time::Duration;

use serde_json::{Value, json};

use super::{encoded, hex, key};
use crate::{
    cell::{
        Base, Carried, CellGenesis, Command, Evidence, InstanceState, Missed, Recovered, Recovery, RecoveryPapers,
        Repair, Role, State, TenantAction, fixture, state::RULES_MAX,
    },
    id::{CellId, ReplicaId},
    identity::{Lineage, Signed},
    placement::Recovery as Recoverers,
};

/// A cell from its genesis through entries, lawful and not.
pub(super) fn cells() -> Value {
    let hosts = fixture::hosts(3);
    let founding = fixture::Founding::of(&hosts);
    let genesis = founding.genesis();
    let mut state = State::found(&genesis).unwrap();
    let (tenant, holder, stranger) = (&founding.tenant, &hosts[0], fixture::Party::tenant("mallory"));
    let first = state.digest();
    let mut entries = Vec::new();
    let mut apply = |what: &str, state: &mut State, command: Command| {
        let entry = fixture::entry(state, command);
        let effects = state.apply(state.applied() + 1, &entry);
        entries.push(json!({
            "what": what,
            "index": state.applied(),
            "bytes": encoded(&entry),
            "outcome": encoded(&effects.outcome),
            "digest": hex(&state.digest()),
        }));
    };
    let scale = TenantAction::Scale { min: 1, max: 3 };
    let command = tenant.command(&state, fixture::op("t", 1), scale.clone());
    apply("the tenant scales", &mut state, command.clone());
    apply("the same command again: done once", &mut state, command);
    let command = stranger.command(&state, fixture::op("t", 1), scale);
    apply("a stranger scales: refused", &mut state, command);
    let write =
        |state: &State, seq, value| holder.data(state, fixture::op("d", seq), vec![fixture::set("s", "k", value)]);
    let command = write(&state, 1, "one");
    apply("an instance writes under its lease", &mut state, command);
    let other = hosts[1].clone();
    let mut batch = holder.batch(&state, fixture::op("d", 2), vec![fixture::set("s", "k", "two")]);
    let command = Command::Data(Signed::seal(&other.keys, &batch));
    apply("the same batch by a node without that lease: refused", &mut state, command);
    batch.writer += 1;
    let command = Command::Data(Signed::seal(&holder.keys, &batch));
    apply("under another writer: refused", &mut state, command);
    let command = holder.renewal(&state, 1, InstanceState::Running);
    apply("the holder renews", &mut state, command);
    let command = tenant.command(&state, fixture::op("t", 2), TenantAction::Rollback { to: 7 });
    apply("to a release that is not there: refused", &mut state, command);
    let lineage = Lineage::first(tenant.genesis.clone()).succeed(&tenant.keys, &key(7), fixture::FOUNDED).unwrap();
    apply(
        "the tenant has a new key, before all voters support rules 2: void",
        &mut state,
        Command::Succeed(Box::new(lineage.clone())),
    );
    for host in &hosts {
        let replica = state.replica_of(host.node()).unwrap();
        let command = host.support(&state, replica, RULES_MAX);
        apply("a voter supports the newest rules", &mut state, command);
    }
    apply("the tenant has a new key", &mut state, Command::Succeed(Box::new(lineage)));
    let abroad = fixture::Host::new("operator 4", "site 4", "NL");
    let (candidate, grant) = (abroad.candidate(), abroad.grant_to(&state, Role::Learn));
    let copy = Repair::AddCopy { replaces: None, evidence: Evidence::Policy, candidate, grant };
    apply("a copy where the policy calls nothing away: refused", &mut state, Command::Repair(Box::new(copy)));
    let ends = Repair::EndCopy { replica: ReplicaId(1), evidence: Evidence::Policy };
    apply("a voter is no copy: refused", &mut state, Command::Repair(Box::new(ends)));
    for (voter, host) in (1..).map(ReplicaId).zip(&hosts[..2]) {
        let word = Missed { cell: state.cell(), voter, member: ReplicaId(3), missed: true, made: fixture::FOUNDED };
        apply("a voter misses another", &mut state, Command::Miss(Signed::seal(&host.keys, &word)));
    }
    let (candidate, grant) = (hosts[2].candidate(), hosts[2].grant_to(&state, Role::Learn));
    let swap = Repair::AddLearner { replaces: Some(ReplicaId(2)), evidence: Evidence::Missed, candidate, grant };
    apply("in the place of one that is not missed: refused", &mut state, Command::Repair(Box::new(swap)));
    let command = tenant.command(&state, fixture::op("t", 3), TenantAction::Remove);
    apply("by the key that is dead: refused", &mut state, command.clone());
    let Command::Tenant { signed, receipts } = command else { unreachable!("a tenant's command") };
    let signed = Signed::seal(&key(7), &signed.open().unwrap());
    let command = Command::Tenant { signed, receipts };
    let late = write(&state, 3, "late");
    apply("the tenant ends the app", &mut state, command);
    apply("a write after that: refused", &mut state, late);

    let stolen = CellGenesis {
        release: stranger.sign(
            None,
            fixture::op("founding", 1),
            fixture::FOUNDED,
            TenantAction::Release(Box::new(founding.release.clone())),
        ),
        ..genesis.clone()
    };
    let mut alone = genesis.clone();
    alone.receipts.clear();
    let (recoveries, survivor) = recoveries();
    json!({
        "about": "A cell's id is the BLAKE3 hash of its genesis. Found the state from it, apply the entries in order; after \
                  each, the outcome (an encoded Outcome) and the state's digest: BLAKE3 keyed by the digest before, over the \
                  index (8 bytes, big-endian), the entry's length (the same) and bytes, and the outcome. `refused`: a \
                  genesis that founds nothing, and the refusal's code. `recoveries`: papers shown to the survivor whose state is \
                  `survivor`, at that time; the refusal's code, or null. `recovered`: what ends the line for another \
                  member with that state.",
        "genesis": encoded(&genesis),
        "cell": state.cell().to_string(),
        "digest": hex(&first),
        "entries": entries,
        "state": hex(&state.encode()),
        "survivor": hex(&survivor.encode()),
        "recoveries": recoveries,
        "recovered": recovered(&survivor),
        "refused": [
            { "what": "the release is another tenant's", "genesis": encoded(&stolen), "code": code(&stolen) },
            { "what": "nobody has the bytes", "genesis": encoded(&alone), "code": code(&alone) },
        ],
    })
}

fn code(genesis: &CellGenesis) -> Value {
    State::found(genesis).map_or_else(|refusal| json!(refusal.code), |_| Value::Null)
}

/// An app that names two of three operators: the state of a survivor, and recoveries shown to it.
fn recoveries() -> (Vec<Value>, State) {
    let hosts = fixture::hosts(3);
    let mut founding = fixture::Founding::of(&hosts);
    let named = operators();
    founding.release.policy.recovery =
        Recoverers { operators: named.iter().map(fixture::Party::operator_id).collect(), threshold: 2 };
    let state = State::found(&founding.genesis()).unwrap();
    let (tenant, stranger, at) = (&founding.tenant, fixture::Party::tenant("mallory"), fixture::FOUNDED);
    let both = [&named[0], &named[1]];
    let good = fixture::recovery(&state, base(&state), tenant, &both, at);
    let statement = good.statement.open().unwrap();
    let changed = |change: fn(&mut Recovery)| {
        let mut changed = statement.clone();
        change(&mut changed);
        fixture::sign_recovery(&changed, tenant, &both)
    };
    let cases = [
        ("by the tenant and two operators of three", good.clone()),
        ("by another tenant", fixture::sign_recovery(&statement, &stranger, &both)),
        ("by the tenant and one operator", fixture::sign_recovery(&statement, tenant, &both[..1])),
        ("without the operators' lineages", RecoveryPapers { operators: Vec::new(), ..good }),
        ("of another cell", changed(|it| it.cell = CellId::of(b"another"))),
        ("of another line", changed(|it| it.line = 2)),
        ("from what the survivor does not hold", changed(|it| it.base.index += 1)),
        ("expired", changed(|it| it.until = it.made)),
        ("valid for longer than a day", changed(|it| it.until = it.made + Duration::from_hours(25))),
    ];
    let judged = cases.map(|(what, papers)| {
        let bytes = encoded(&papers);
        let outcome = fixture::recovered(&state, papers, &hosts[0], at);
        let code = outcome.map_or_else(|refusal| json!(refusal.code), |_| Value::Null);
        json!({ "what": what, "bytes": bytes, "at": at.0, "code": code })
    });
    (judged.to_vec(), state)
}

fn operators() -> [fixture::Party; 3] {
    ["orla", "odo", "olga"].map(fixture::Party::operator)
}

fn base(state: &State) -> Base {
    let replica = ReplicaId(1);
    Base { node: state.node_of(replica).unwrap(), replica, term: 1, index: state.applied() }
}

/// What the survivor shows to the others, and what is no such thing.
fn recovered(state: &State) -> Vec<Value> {
    let (hosts, named, at) = (fixture::hosts(3), operators(), fixture::FOUNDED);
    let papers = fixture::recovery(state, base(state), &fixture::Party::tenant("tess"), &[&named[1], &named[2]], at);
    let next = fixture::recovered(state, papers, &hosts[0], at).unwrap();
    let shown = next.recovered().unwrap().clone();
    let said = shown.carried.open().unwrap();
    let by_another = Recovered { carried: Signed::seal(&hosts[1].keys, &said), ..shown.clone() };
    let of_line = Recovered { carried: Signed::seal(&hosts[0].keys, &Carried { line: 9, ..said }), ..shown.clone() };
    let cases = [("as the survivor says", shown), ("said by another node", by_another), ("of another line", of_line)];
    let judge = |(what, recovered): (&str, Recovered)| {
        let code = state.is_ended_by(&recovered).map_or_else(|refusal| json!(refusal.code), |_| Value::Null);
        json!({ "what": what, "bytes": encoded(&recovered), "code": code })
    };
    cases.into_iter().map(judge).collect()
}

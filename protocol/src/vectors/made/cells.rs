//! A cell from its genesis on.
use serde_json::{Value, json};

use super::{encoded, hex, key};
use crate::{
    cell::{
        CellGenesis, Command, Evidence, InstanceState, Missed, Repair, Role, State, TenantAction, fixture,
        state::RULES_MAX,
    },
    id::ReplicaId,
    identity::{Lineage, Signed},
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
    json!({
        "about": "A cell's id is the BLAKE3 hash of its genesis. Found the state from it, apply the entries in order; after \
                  each, the outcome (an encoded Outcome) and the state's digest: BLAKE3 keyed by the digest before, over the \
                  index (8 bytes, big-endian), the entry's length (the same) and bytes, and the outcome. `refused`: a \
                  genesis that founds nothing, and the refusal's code.",
        "genesis": encoded(&genesis),
        "cell": state.cell().to_string(),
        "digest": hex(&first),
        "entries": entries,
        "state": hex(&state.encode()),
        "refused": [
            { "what": "the release is another tenant's", "genesis": encoded(&stolen), "code": code(&stolen) },
            { "what": "nobody has the bytes", "genesis": encoded(&alone), "code": code(&alone) },
        ],
    })
}

fn code(genesis: &CellGenesis) -> Value {
    State::found(genesis).map_or_else(|refusal| json!(refusal.code), |_| Value::Null)
}

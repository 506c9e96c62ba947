//! A cell's state as a snapshot brings it, and entries on top: `[state, [entry…]]`. No entry panics, whatever the state.
use bocage_protocol::{
    cell::{Entry, Query, State},
    codec::{self, Blob},
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "state",
    about: "the snapshot of a cell's state, and entries applied to it",
    run,
    seeds,
    bytes_max: 64 << 10,
    heap: Some((256, 1 << 20)),
};

fn run(bytes: &[u8]) {
    let Ok((state, entries)) = codec::decode::<(Blob, Vec<Blob>)>("state and entries", bytes) else { return };
    let Ok(mut state) = State::decode(&state) else { return };
    let again = State::decode(&state.encode()).expect("a state that was read can be stored and read");
    assert_eq!(again.encode(), state.encode());
    for entry in &entries {
        let Ok(entry) = codec::decode::<Entry>("entry", entry) else { continue };
        let Some(index) = state.applied().checked_add(1) else { return };
        state.apply(index, &entry);
    }
    let _ = (state.grade(), state.target_membership(), state.description(), state.bytes());
    let list = Query::List { store: "s".into(), prefix: String::new(), after: None, limit: 10 };
    let _ = state.answer(&list);
    assert!(State::decode(&state.encode()).is_ok(), "a state that entries were applied to can be stored and read");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let (state, entries) = world::lived();
    let mut seeds: Vec<_> = entries
        .iter()
        .map(|(name, entry)| (name.clone(), codec::encode(&(state.encode(), vec![codec::encode(entry)])).to_vec()))
        .collect();
    let all: Vec<_> = entries.iter().map(|(_, entry)| codec::encode(entry)).collect();
    seeds.push(("all".into(), codec::encode(&(state.encode(), all)).to_vec()));
    seeds
}

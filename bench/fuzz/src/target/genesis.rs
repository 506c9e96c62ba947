//! Geneses of cells, as a sponsor hands them to a host: signatures taken as valid.
use bocage_protocol::{
    cell::{CellGenesis, Query, State, fixture},
    codec,
};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "genesis",
    about: "the genesis of a cell, founded from",
    run,
    seeds,
    bytes_max: 64 << 10,
    heap: Some((64, 256 << 10)),
};

fn run(bytes: &[u8]) {
    let Ok(genesis) = codec::decode::<CellGenesis>("genesis", bytes) else { return };
    let _ = genesis.cell();
    let Ok(state) = State::found(&genesis) else { return };
    let read = State::decode(&state.encode()).expect("a founded state can be stored and read");
    assert_eq!(read.encode(), state.encode());
    let _ = (state.grade(), state.description(), state.answer(&Query::Describe));
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    [1, 3, 5]
        .map(|voters| (format!("{voters}-voters"), codec::encode(&fixture::genesis(&fixture::hosts(voters))).to_vec()))
        .into()
}

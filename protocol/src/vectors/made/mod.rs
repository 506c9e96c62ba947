//! Makes the vectors, from the parties of the fixtures. A file here for each file there.
mod keys;
pub(super) mod lineages;
mod charter;
mod statements;
mod frames;
mod records;
mod cells;
mod outbound;
mod stores;

use serde_json::Value;

use crate::{
    cell::fixture,
    codec,
    identity::{Endorsed, Genesis, Keypair, Lineage, Party, Statement},
    time::Timestamp,
};

/// The reader's clock in all vectors.
const NOW: Timestamp = fixture::FOUNDED;

/// Each file, and what it holds.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("keys.json", keys::keys()),
        ("lineages.json", lineages::lineages()),
        ("statements.json", statements::statements()),
        ("frames.json", frames::frames()),
        ("records.json", records::records()),
        ("cells.json", cells::cells()),
        ("outbound.json", outbound::outbound()),
    ]
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn encoded<T: minicbor::Encode<()>>(value: &T) -> String {
    hex(&codec::encode(value))
}

fn key(number: u8) -> Keypair {
    Keypair::from_secret(&[number; 32])
}

/// An operator with key 1 and recovery keys 11, 12, 13, of which two must agree.
fn party() -> Lineage {
    let mut genesis = Genesis::new(Party::Operator, "alder", key(1).public(), NOW);
    genesis.recovery = [11, 12, 13].map(|number| key(number).public()).to_vec();
    genesis.threshold = 2;
    Lineage::first(genesis)
}

fn rotated(lineage: &Lineage, from: u8, to: u8) -> Lineage {
    lineage.succeed(&key(from), &key(to), NOW).unwrap()
}

fn recovered(lineage: &Lineage, after: usize, to: u8) -> Lineage {
    lineage.recover(after, &[&key(11), &key(13)], &key(to), NOW).unwrap()
}

/// The same statement with a bit of its last signature changed.
fn forged<T: Statement>(endorsed: &Endorsed<T>) -> Endorsed<T> {
    let mut bytes = codec::encode(endorsed).to_vec();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    codec::decode("endorsed statement", &bytes).unwrap()
}

/// A kind of statement that no reader knows.
#[derive(Debug, minicbor::Encode, minicbor::Decode)]
struct Strange {
    #[n(0)]
    text: String,
}

impl Statement for Strange {
    const DOMAIN: &'static str = "bocage/v1/test-strange";
}

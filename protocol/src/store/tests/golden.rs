//! The format on disk, byte for byte: what this version writes, every later one must read.
use super::{
    bench::{Bench, append, cell, put, small, snapshot, vote},
    model::Model,
};
use crate::store::{Blocks, Rot, SegmentId, StoreOp};

const GOLDEN: &str = include_str!("../golden/segment-v1.hex");

fn written() -> Bench {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(1, 1..=2), vote(1, 3), put("key", "value")]);
    bench.persist(vec![
        snapshot(2, 7, 20),
        StoreOp::Delete { key: "gone".into() },
        StoreOp::DropCell { cell: cell(3) },
    ]);
    bench.rest();
    bench
}

/// 32 bytes a line; `*` for a run of lines of zeros.
fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        if line.iter().any(|byte| *byte != 0) {
            text.push_str(&data_encoding::HEXLOWER.encode(line));
            text.push('\n');
        } else if !text.ends_with("*\n") {
            text.push_str("*\n");
        }
    }
    text
}

#[test]
fn version_1_is_written_as_ever() {
    let bench = written();
    let hex = to_hex(bench.blocks.durable(SegmentId(1)));
    if std::env::var_os("BOCAGE_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/golden/segment-v1.hex");
        std::fs::write(path, &hex).unwrap();
    }
    assert_eq!(hex, GOLDEN, "the format changed: that needs a new version, not a new golden file");
}

#[test]
fn version_1_reads_as_ever() {
    let mut blocks = Blocks::default();
    blocks.restore(SegmentId(1), 16 << 10, &from_hex(GOLDEN));
    let mut bench = Bench::on(blocks, small(), 9);
    bench.run();
    let boot = bench.boot();
    assert_eq!((boot.boots, &boot.rot), (2, &Rot::default()));
    assert_eq!(Model::of(boot), Model::of(written().reopen().boot()));
}

fn from_hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        match line {
            // The only runs of zeros are those behind the two copies of the head.
            "*" => bytes.resize(if bytes.len() < 2048 { 2048 } else { 4096 }, 0),
            hex => bytes.extend(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()),
        }
    }
    bytes
}

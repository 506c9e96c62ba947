use minicbor::{Decode, Encode};

use super::{super::*, *};
use crate::{cell::CellGenesis, cell::InstanceState};

/// A cell in which a little of everything has happened.
fn busy() -> Story {
    let mut story = Story::of(3);
    story.tenant(TenantAction::Write(vec![fixture::set("s", "k", "v")]));
    story.tenant(TenantAction::Rollback { to: 7 });
    let batch = story.host(0).data(&story.state, fixture::op("d", 1), vec![fixture::set("s", "l", "w")]);
    story.apply(batch);
    let renewal = story.host(0).renewal(&story.state, 1, InstanceState::Running);
    story.apply(renewal);
    story.tenant(TenantAction::Scale { min: 1, max: 3 });
    story
}

/// Golden bytes: a change of an encoding breaks meshes and disks, so it must show in review.
fn golden(name: &str, bytes: &[u8]) {
    insta::assert_snapshot!(name, data_encoding::HEXLOWER.encode(bytes));
}

#[test]
fn a_state_is_encoded_as_ever() {
    golden("state", &busy().state.encode());
}

#[test]
fn an_entry_is_encoded_as_ever() {
    let story = Story::of(3);
    let command = story.host(0).data(&story.state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")]);
    golden("entry", &codec::encode(&fixture::entry(&story.state, command)));
}

#[test]
fn a_genesis_is_encoded_as_ever() {
    golden("genesis", &codec::encode(&fixture::genesis(&fixture::hosts(3))));
}

#[test]
fn a_state_reads_back_as_it_was_written() {
    let story = busy();
    let bytes = story.state.encode();
    let read = State::decode(&bytes).unwrap();
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.description(), story.state.description());
    assert_eq!(read.bytes(), story.state.bytes());
    assert_eq!(read.remembered(fixture::op("d", 1)), story.state.remembered(fixture::op("d", 1)));
}

#[test]
fn fields_that_a_newer_version_adds_are_passed_over() {
    // A State is an array of its fields: a newer one has more of them at the end.
    let bytes = busy().state.encode();
    let mut decoder = minicbor::Decoder::new(&bytes);
    let fields = decoder.array().unwrap().unwrap();
    let mut newer = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut newer);
    encoder.array(fields + 4).unwrap();
    let mut newer = [newer, bytes[decoder.position()..].to_vec()].concat();
    let mut encoder = minicbor::Encoder::new(&mut newer);
    // The tenant's lineage and what ended the line before, left out while there is none.
    encoder.null().unwrap().null().unwrap().str("unknown").unwrap().map(1).unwrap().u8(1).unwrap().bool(true).unwrap();
    assert_eq!(State::decode(&newer).unwrap().encode(), bytes);
}

#[test]
fn an_entry_and_a_genesis_of_a_newer_version_are_read_too() {
    #[derive(Encode, Decode)]
    struct NewerEntry {
        #[n(0)]
        stamp: Timestamp,
        #[n(1)]
        line: u64,
        #[n(2)]
        rules: u32,
        #[n(3)]
        command: Command,
        #[n(4)]
        more: String,
    }
    let story = Story::of(3);
    let command = story.host(0).data(&story.state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")]);
    let Entry { stamp, line, rules, command } = fixture::entry(&story.state, command);
    let newer = NewerEntry { stamp, line, rules, command: command.clone(), more: "unknown".into() };
    let read: Entry = codec::decode("entry", &codec::encode(&newer)).unwrap();
    assert_eq!(read, Entry { stamp, line, rules, command });

    let genesis = fixture::genesis(&fixture::hosts(3));
    let bytes = codec::encode(&genesis);
    assert_eq!(bytes[0], 0x89, "an array of nine fields");
    // The tenant's successions, left out while there are none, and then something unknown.
    let newer = [&[0x8b], &bytes[1..], &[0xf6, 0xf5]].concat();
    assert_eq!(codec::decode::<CellGenesis>("genesis", &newer).unwrap(), genesis);
}

#[test]
fn another_format_is_named_and_not_read() {
    let mut state = busy().state;
    state.format = 2;
    assert!(State::decode(&state.encode()).unwrap_err().to_string().contains("format 2, expected 1"));
}

#[test]
fn cut_or_foreign_bytes_are_an_error() {
    let bytes = busy().state.encode();
    for length in 0..bytes.len() {
        assert!(State::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(State::decode(b"not a state").is_err());
}

#[test]
fn the_same_entries_give_the_same_digest_and_others_another() {
    let (one, mut two) = (busy(), busy());
    assert_eq!(one.state.digest(), two.state.digest());
    assert_eq!(one.state.encode(), two.state.encode());
    two.state.skip(two.state.applied() + 1);
    assert_ne!(one.state.digest(), two.state.digest());
    assert_eq!(one.state.applied() + 1, two.state.applied());
}

#[test]
#[should_panic(expected = "entries are applied in order and without gaps")]
fn an_entry_that_is_not_the_next_is_a_bug_of_the_caller() {
    let mut story = Story::of(1);
    story.state.skip(3);
}

//! Tapes in files, made of what a simulated node did, played; and spoilt in every way.
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bocage_protocol::{
    codec::Blob,
    node::Node,
    tape::{Chain, End, HEAD_BYTES, Opening, PREFIX_BYTES, Record},
};

use super::{reel::Reel, *};
use crate::{Options, Scenario, run_with};

/// The records of a node's tape: recorded as a daemon does, while a fresh node does again what a simulated one did.
fn records() -> &'static [Blob] {
    static RECORDS: OnceLock<Vec<Blob>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let scenario = Scenario::parse(include_str!("../../scenarios/three.toml")).unwrap();
        let (_, tape) = run_with::<Node>(&scenario, 3, &Options { tape: Some(0), ..Options::default() });
        let Tape { mut config, seed, boot, opened, steps, .. } = tape.expect("the node started");
        let (identity, signatures) = config.identity.taped();
        config.identity = identity;
        let opening = Opening::new(program(), &config, seed, &boot, opened);
        let mut records = vec![Record::Opening(Box::new(opening)).encode()];
        records.extend(boot.keyed.iter().map(|(key, value)| Record::keyed(key, value)));
        records.extend(boot.cells.iter().map(|(cell, boot)| Record::cell(*cell, boot)));
        let done = |outputs: Vec<Output>| {
            let outputs: Vec<u8> = outputs.iter().flat_map(digest).collect();
            Record::Done { signatures: signatures.take(), outputs: outputs.into() }.encode()
        };
        let (mut player, outputs) = Player::<Node>::open(config, seed, boot, opened).ok().unwrap();
        records.push(done(outputs));
        for (now, step) in steps {
            records.push(match &step {
                Step::Input(input) => Record::step(now, Some(input)),
                Step::Timeout => Record::step(now, None),
            });
            records.push(done(player.step(now, step).ok().unwrap()));
        }
        records.push(Record::End(End::Stopped).encode());
        records
    })
}

/// Of the records of what it opened with, which come before the first step.
fn opening_records() -> usize {
    records().iter().position(|record| matches!(Record::decode(record), Ok(Record::Step { .. }))).unwrap()
}

/// Writes records as files of `by` records each; where each record ends, in its file.
fn write(folder: &Path, records: &[Blob], by: usize) -> Vec<usize> {
    let mut chain = Chain::default();
    let mut ends = Vec::new();
    for (number, records) in (1..).zip(records.chunks(by)) {
        let mut bytes = chain.head(number).to_vec();
        for record in records {
            bytes.extend(chain.seal(record).unwrap());
            bytes.extend_from_slice(record);
            ends.push(bytes.len());
        }
        fs::write(file(folder, number), bytes).unwrap();
    }
    ends
}

fn file(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:05}.tape"))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// So many records are read, how many bytes are torn, and what is wrong then.
fn read(folder: &Path) -> (usize, u64, Option<TapeFault>) {
    let mut reel = match Reel::open(folder) {
        Ok(reel) => reel,
        Err(fault) => return (0, 0, Some(fault)),
    };
    let mut count = 0;
    loop {
        match reel.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, reel.torn(), None),
            Err(fault) => return (count, 0, Some(fault)),
        }
    }
}

#[test]
fn a_recorded_tape_plays_back_the_same_without_the_key_of_its_node() {
    let home = home();
    write(home.path(), records(), usize::MAX);
    let played = play(home.path(), None, None).unwrap();
    assert!(played.is_same(), "{}", played.to_text());
    assert!(played.steps > 200 && played.outputs > 500, "{}", played.to_text());
    assert_eq!(played.kinds.values().sum::<u64>(), played.steps);
    assert!(played.kinds["frame: cell"] > 10 && played.kinds["persisted"] > 10, "{:?}", played.kinds);
    assert_eq!((played.ended.as_str(), played.torn_bytes), ("the node stopped", 0));
    assert!(played.same_program || program().commit == "unknown");
    let text = played.to_text();
    assert!(text.contains(&format!("{} steps, {} outputs: the same", played.steps, played.outputs)), "{text}");

    // As many files as one likes.
    let home = self::home();
    write(home.path(), records(), 100);
    let again = play(home.path(), None, None).unwrap();
    assert_eq!((again.steps, again.outputs, again.is_same()), (played.steps, played.outputs, true));
    fs::remove_file(file(home.path(), 2)).unwrap();
    let Unplayed { fault, whole } = play(home.path(), None, None).unwrap_err();
    assert!(matches!(fault, TapeFault::Missing { .. }), "{fault}");
    assert!(whole.is_some_and(|step| step > 10), "{whole:?}");
}

#[test]
fn a_tape_is_played_up_to_a_step_and_shown_from_one() {
    let home = home();
    write(home.path(), records(), usize::MAX);
    let played = play(home.path(), Some(30), Some(28)).unwrap();
    assert_eq!((played.steps, played.is_same()), (30, true));
    assert_eq!(played.shown.iter().map(|it| it.step).collect::<Vec<_>>(), [28, 29, 30]);
    assert!(played.ended.contains("step 30 only"), "{}", played.ended);
}

#[test]
fn the_first_step_that_differs_is_named() {
    // As if the second output of a step had been another one.
    let mut changed = records().to_vec();
    let at = (opening_records()..changed.len())
        .find(|at| matches!(Record::decode(&changed[*at]), Ok(Record::Done { outputs, .. }) if outputs.len() > 64))
        .unwrap();
    let Ok(Record::Done { signatures, outputs }) = Record::decode(&changed[at]) else { unreachable!() };
    let mut outputs = outputs.to_vec();
    outputs[20] ^= 1;
    changed[at] = Record::Done { signatures, outputs: outputs.into() }.encode();
    let home = home();
    write(home.path(), &changed, usize::MAX);
    let played = play(home.path(), None, None).unwrap();
    let step = (at - opening_records()) as u64 / 2 + 1;
    let differs = played.differs.clone().unwrap();
    assert_eq!((differs.step, differs.output), (step, Some(2)), "{differs:?}");
    assert!(played.to_text().contains(&format!("DIFFERS in step {step} ")), "{}", played.to_text());
}

#[test]
fn a_step_that_the_tape_leaves_out_shows() {
    let mut changed = records().to_vec();
    let at = opening_records() + 40;
    changed.drain(at..at + 2);
    let home = home();
    write(home.path(), &changed, usize::MAX);
    let played = play(home.path(), None, None).unwrap();
    assert!(played.differs.is_some(), "{}", played.to_text());
}

#[test]
fn a_tape_of_another_program_says_so() {
    let mut changed = records().to_vec();
    let Ok(Record::Opening(mut opening)) = Record::decode(&changed[0]) else { unreachable!() };
    opening.program.commit = "another".into();
    changed[0] = Record::Opening(opening).encode();
    let home = home();
    write(home.path(), &changed, usize::MAX);
    let played = play(home.path(), Some(1), None).unwrap();
    assert!(!played.same_program && played.is_same());
}

#[test]
fn a_tape_of_a_process_that_was_killed_is_played_to_its_last_whole_step() {
    let steps = opening_records();
    for (count, whole, words) in [(steps + 80, 40, "killed"), (steps + 81, 40, "within a step")] {
        let home = home();
        let ends = write(home.path(), &records()[..count], usize::MAX);
        // And with half a record.
        for torn in [0, 1, PREFIX_BYTES, PREFIX_BYTES + 1] {
            let bytes = fs::read(file(home.path(), 1)).unwrap();
            let next = &records()[count];
            let mut chain = Chain::default();
            chain.head(1);
            records()[..count].iter().for_each(|record| drop(chain.seal(record)));
            let more = [&chain.seal(next).unwrap()[..], next].concat();
            fs::write(file(home.path(), 1), [&bytes[..*ends.last().unwrap()], &more[..torn]].concat()).unwrap();
            let played = play(home.path(), None, None).unwrap();
            assert_eq!((played.steps, played.is_same()), (whole, true), "{}", played.to_text());
            assert_eq!(played.torn_bytes, torn as u64);
            assert!(played.ended.contains(words), "{}", played.ended);
        }
    }
}

#[test]
fn a_tape_that_was_cut_at_any_byte_is_read_as_far_as_it_goes() {
    let home = home();
    let some = &records()[..opening_records() + 12];
    let ends = write(home.path(), some, usize::MAX);
    let whole = fs::read(file(home.path(), 1)).unwrap();
    for cut in (0..whole.len()).step_by(3) {
        fs::write(file(home.path(), 1), &whole[..cut]).unwrap();
        let (count, torn, fault) = read(home.path());
        assert!(fault.is_none(), "cut at {cut}: {fault:?}");
        assert_eq!(count, ends.iter().filter(|end| **end <= cut).count(), "cut at {cut}");
        let last = ends[..count].last().copied().unwrap_or(if cut < HEAD_BYTES { 0 } else { HEAD_BYTES });
        assert_eq!(torn, if cut == 0 { 1 } else { (cut - last) as u64 }, "cut at {cut}");
    }
    // Cut before the node has opened: there is nothing to play.
    fs::write(file(home.path(), 1), &whole[..HEAD_BYTES + 3]).unwrap();
    let unplayed = play(home.path(), None, None).unwrap_err();
    assert!(matches!(unplayed.fault, TapeFault::Short { .. }) && unplayed.whole.is_none(), "{unplayed}");
}

#[test]
fn a_changed_bit_is_refused_with_its_place() {
    let home = home();
    let some = &records()[..opening_records() + 12];
    let ends = write(home.path(), some, usize::MAX);
    let whole = fs::read(file(home.path(), 1)).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(file(home.path(), 1), changed).unwrap();
        let (count, _, fault) = read(home.path());
        let before = ends.iter().filter(|end| **end <= at).count();
        assert_eq!(count, before, "byte {at}");
        let Some(TapeFault::Flawed { at: place, .. }) = fault else { panic!("byte {at}: {fault:?}") };
        let began = if at < HEAD_BYTES { 0 } else { ends[..before].last().copied().unwrap_or(HEAD_BYTES) };
        assert_eq!(place, began as u64, "byte {at}");
    }
}

#[test]
fn what_is_no_tape_is_told_from_a_tape() {
    let home = home();
    assert!(matches!(read(home.path()).2, Some(TapeFault::NoTape { .. })));
    assert!(matches!(read(&home.path().join("nowhere")).2, Some(TapeFault::NoTape { .. })));
    fs::write(file(home.path(), 1), "some text that is longer than a head is").unwrap();
    let fault = read(home.path()).2.unwrap().to_string();
    assert!(fault.contains("it is no segment of a tape"), "{fault}");
    // What is behind the end, or in the place of something else.
    let end = Record::End(End::Stopped).encode();
    let [first, rest @ ..] = records() else { unreachable!() };
    for (records, words) in [
        (vec![end.clone()], "does not begin with what the node opened with"),
        (vec![first.clone(), rest[opening_records()].clone()], "it is not"),
        ([&records()[..opening_records()], &[end.clone(), end.clone()]].concat(), "something follows the end"),
        ([&records()[..opening_records()], std::slice::from_ref(first)].concat(), "it is no step"),
    ] {
        let home = self::home();
        write(home.path(), &records, usize::MAX);
        let fault = play(home.path(), None, None).unwrap_err().to_string();
        assert!(fault.contains(words), "{fault}");
    }
}

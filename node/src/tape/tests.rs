//! The tape's own side: files, bounds, and how it ends.
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use bocage_protocol::tape::{Chain, HEAD_BYTES, PREFIX_BYTES};

use super::{reel::TAPE_BYTES_MIN, *};

fn now() -> Now {
    Now::default()
}

fn step() -> Blob {
    Record::step(now(), None)
}

/// All records of a tape, and how many files it has.
fn read(folder: &Path) -> (Vec<Record>, u32) {
    let mut chain = Chain::default();
    let mut records = Vec::new();
    for number in 1.. {
        let Ok(bytes) = fs::read(folder.join(format!("{number:05}.tape"))) else { return (records, number - 1) };
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>().unwrap();
        chain.opens(head, number).unwrap();
        while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>() {
            let (record, behind) = behind.split_at(chain.length(prefix).unwrap());
            chain.check(prefix, record).unwrap();
            records.push(Record::decode(record).unwrap());
            rest = behind;
        }
        assert!(rest.is_empty());
    }
    unreachable!("a tape has an end")
}

#[test]
fn a_tape_is_readable_by_its_owner_alone_and_needs_a_folder_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("tapes/one");
    let reel = Reel::create(&folder, TAPE_BYTES_MIN).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("00001.tape")), 0o600);
    drop(reel);
    let error = Reel::create(&folder, TAPE_BYTES_MIN).err().unwrap();
    assert!(matches!(error, TapeError::NotEmpty { .. }), "{error}");
    let error = Reel::create(&home.path().join("two"), TAPE_BYTES_MIN - 1).err().unwrap().to_string();
    assert!(error.contains("--tape-limit must be at least 65536 bytes"), "{error}");
    assert!(!home.path().join("two").exists());
}

#[test]
fn a_tape_ends_as_its_node_stops_with_all_that_was_recorded() {
    let home = tempfile::tempdir().unwrap();
    let mut queue = Queue::start(Reel::create(home.path(), 1 << 20).unwrap()).unwrap();
    for _ in 0..1_000 {
        assert!(queue.put(step()));
    }
    drop(queue);
    let (records, files) = read(home.path());
    assert_eq!((records.len(), files), (1_001, 1));
    assert_eq!(records[1_000], Record::End(End::Stopped));
}

#[test]
fn a_tape_of_a_machine_that_panics_says_so() {
    let home = tempfile::tempdir().unwrap();
    let mut queue = Queue::start(Reel::create(home.path(), 1 << 20).unwrap()).unwrap();
    let machine = thread::spawn(move || {
        assert!(queue.put(step()));
        panic!("as a machine would");
    });
    assert!(machine.join().is_err());
    let (records, _) = read(home.path());
    assert_eq!(records, [Record::Step { now: now(), input: None }, Record::End(End::Broke)]);
}

#[test]
fn a_tape_ends_at_its_limit_and_no_byte_behind_it() {
    let home = tempfile::tempdir().unwrap();
    let mut reel = Reel::create(home.path(), TAPE_BYTES_MIN).unwrap();
    let mut written = 0;
    let full = loop {
        match reel.write(&step()) {
            Ok(()) => written += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(full, Full::End(End::Limit)), "{full:?}");
    reel.end(full);
    let (records, _) = read(home.path());
    assert_eq!(records.len(), written + 1);
    assert_eq!(records.last(), Some(&Record::End(End::Limit)));
    let length = fs::metadata(home.path().join("00001.tape")).unwrap().len();
    assert!(length <= TAPE_BYTES_MIN && length > TAPE_BYTES_MIN - 256, "{length}");
}

#[test]
fn a_tape_whose_disk_is_behind_ends_and_the_machine_does_not_wait() {
    let home = tempfile::tempdir().unwrap();
    let mut queue = Queue::start(Reel::create(home.path(), 1 << 30).unwrap()).unwrap();
    assert!(queue.put(step()));
    // As if so much had not been written yet.
    queue.waiting.fetch_add(QUEUE_BYTES_MAX, Ordering::Relaxed);
    assert!(!queue.put(step()));
    assert!(!queue.put(step()), "there is no more");
    queue.writer.take().unwrap().join().unwrap();
    let (records, _) = read(home.path());
    assert_eq!(records, [Record::Step { now: now(), input: None }, Record::End(End::Behind)]);
}

#[test]
fn what_does_not_fit_into_a_record_ends_a_tape() {
    let home = tempfile::tempdir().unwrap();
    let mut queue = Queue::start(Reel::create(home.path(), 1 << 30).unwrap()).unwrap();
    assert!(!queue.put(vec![0; RECORD_BYTES_MAX + 1].into()));
    queue.writer.take().unwrap().join().unwrap();
    assert_eq!(read(home.path()).0, [Record::End(End::Large)]);
}

#[test]
fn a_long_tape_goes_on_in_another_file() {
    let home = tempfile::tempdir().unwrap();
    let mut reel = Reel::create(home.path(), 1 << 30).unwrap();
    let value = Blob::from(vec![7; 1 << 20]);
    for number in 0..70_u8 {
        reel.write(&Record::keyed(&Blob::from(vec![number]), &value)).unwrap();
    }
    reel.end(Full::End(End::Stopped));
    let (records, files) = read(home.path());
    assert_eq!((records.len(), files), (71, 2));
    for number in 1..=2 {
        let length = fs::metadata(home.path().join(format!("{number:05}.tape"))).unwrap().len();
        assert!(length <= 64 << 20, "{length}");
    }
}

//! The real store on real files.
use std::{
    path::Path,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use bocage_protocol::{
    id::{NodeId, WriteId},
    machine::Machine,
    random::Seed,
    store::{Boot, DiskFault, Input, Output, Store, StoreConfig, StoreOp, WriteBatch},
    time::Now,
};
use tempfile::TempDir;

use super::{DirError, Disk, Files, Layer, Performed, plainly};

/// What it says of a verb is reported instead of performing it.
struct Instead<F>(F);

impl<F: FnMut(&Output) -> Option<DiskFault> + Send> Layer for Instead<F> {
    fn perform(&mut self, files: &mut Files, verb: &Output) -> Performed {
        (self.0)(verb).map_or_else(|| plainly(files, verb), Err)
    }
}

const NODE: NodeId = NodeId([1; 32]);

struct Bench {
    disk: Disk,
    answers: Receiver<Input>,
    store: Store,
    booted: Option<Boot>,
    unopened: Option<DiskFault>,
    persisted: Vec<u64>,
    failed: Vec<(u64, DiskFault)>,
    writes: u64,
}

impl Bench {
    fn open(dir: &Path) -> Self {
        Self::open_with(dir, None)
    }

    fn open_with(dir: &Path, faults: Option<Box<dyn Layer>>) -> Self {
        Disk::create_marker(dir, NODE).unwrap();
        let (sender, answers) = channel();
        let report = move |answer| drop(sender.send(answer));
        let (disk, segments) = Disk::open_with(dir, NODE, faults, report).unwrap();
        let config = StoreConfig { segment_bytes: 64 << 10, segments_min: 2, ..StoreConfig::default() };
        let store = Store::open(config, Seed([3; 32]), segments, Now::default());
        let (booted, unopened) = (None, None);
        let (persisted, failed) = (Vec::new(), Vec::new());
        let mut bench = Self { disk, answers, store, booted, unopened, persisted, failed, writes: 0 };
        bench.run_until(|bench| bench.booted.is_some() || bench.unopened.is_some());
        bench
    }

    fn persist(&mut self, ops: Vec<StoreOp>) {
        self.writes += 1;
        let write = WriteId(self.writes);
        self.store.handle_input(Now::default(), Input::Persist { write, batch: WriteBatch { ops } });
        self.run_until(|bench| bench.persisted.contains(&write.0) || bench.failed.iter().any(|(of, _)| *of <= write.0));
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        loop {
            while let Some(output) = self.store.poll_output() {
                match output {
                    Output::Booted(boot) => self.booted = Some(*boot),
                    Output::Unopened(fault) => self.unopened = Some(fault),
                    Output::Persisted(write) => self.persisted.push(write.0),
                    Output::PersistFailed(write, fault) => self.failed.push((write.0, fault)),
                    Output::Loaded { .. } => {}
                    verb => self.disk.perform(verb).unwrap(),
                }
            }
            if done(self) {
                return;
            }
            let answer = self.answers.recv_timeout(Duration::from_secs(30)).unwrap();
            self.store.handle_input(Now::default(), answer);
        }
    }
}

fn put(key: &str, value: Vec<u8>) -> StoreOp {
    StoreOp::Put { key: key.into(), value: value.into() }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut bench = Bench::open(dir.path());
    assert_eq!(bench.booted.as_ref().unwrap().boots, 1);
    for n in 0..300_u32 {
        bench.persist(vec![put("often", vec![n.to_le_bytes()[0]; 2_000]), put(&format!("key {n}"), vec![1; 10])]);
    }
    drop(bench);
    let bench = Bench::open(dir.path());
    let boot = bench.booted.as_ref().unwrap();
    assert_eq!((boot.boots, boot.keyed.len()), (2, 301));
    assert_eq!(boot.keyed[&"often".into()][0], 299_u32.to_le_bytes()[0]);
    let files = std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(files < 8, "600 kB of garbage were freed, {files} segments of 64 KiB are left");
}

#[test]
fn a_full_disk_stops_acknowledgements_and_a_restart_with_room_goes_on() {
    let dir = TempDir::new().unwrap();
    let mut creates = 0;
    let full = move |verb: &Output| {
        creates += usize::from(matches!(verb, Output::Create { .. }));
        (creates > 2).then_some(DiskFault::Full)
    };
    let mut bench = Bench::open_with(dir.path(), Some(Box::new(Instead(full))));
    while bench.failed.is_empty() {
        let key = format!("key {}", bench.writes);
        bench.persist(vec![put(&key, vec![7; 5_000])]);
    }
    assert_eq!(bench.failed[0].1, DiskFault::Full);
    let acknowledged = bench.persisted.len();
    drop(bench);
    let mut bench = Bench::open(dir.path());
    assert!(bench.booted.as_ref().unwrap().keyed.len() >= acknowledged);
    bench.persist(vec![put("room", vec![])]);
    assert!(bench.failed.is_empty());
}

/// Where the copy of this test that runs on a small disk finds that disk.
const SMALL_DISK: &str = "BOCAGE_TEST_SMALL_DISK";

/// A file system of 2 MiB that really fills up. It takes a mount namespace, so the test runs a copy of itself in one.
#[test]
fn a_really_full_disk_loses_nothing_that_was_acknowledged() {
    let name = "disk::tests::a_really_full_disk_loses_nothing_that_was_acknowledged";
    let Some(small) = std::env::var_os(SMALL_DISK) else {
        let dir = TempDir::new().unwrap();
        let script = "mount -t tmpfs -o size=2m small \"$0\" && exec \"$1\" --exact \"$2\" --nocapture";
        let output = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(SMALL_DISK, dir.path())
            .output()
            .expect("unshare comes with util-linux: install it");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "on a small disk of its own (if it is unshare that may not: sysctl kernel.unprivileged_userns_clone=1, or run as root): {said}"
        );
        return;
    };
    let dir = Path::new(&small).join("data");
    let mut bench = Bench::open(&dir);
    while bench.failed.is_empty() {
        assert!(bench.writes < 10_000, "2 MiB do not fill up");
        let key = format!("key {}", bench.writes);
        bench.persist(vec![put(&key, vec![7; 20_000])]);
    }
    let (acknowledged, fault) = (bench.persisted.len(), bench.failed[0].1.clone());
    assert_eq!(fault, DiskFault::Full, "the system said so: {fault}");
    assert!(acknowledged > 20, "{acknowledged}");
    bench.persist(vec![put("later", vec![])]);
    assert_eq!(bench.persisted.len(), acknowledged, "nothing is acknowledged any more");
    drop(bench);
    // Still full: either it opens with all there is, or it says that the disk is full.
    let bench = Bench::open(&dir);
    match &bench.booted {
        Some(boot) => assert!(boot.keyed.len() >= acknowledged),
        None => assert_eq!(bench.unopened, Some(DiskFault::Full)),
    }
    drop(bench);
    let grown = std::process::Command::new("mount").args(["-o", "remount,size=8m"]).arg(&small).status().unwrap();
    assert!(grown.success());
    let mut bench = Bench::open(&dir);
    let boot = bench.booted.as_ref().unwrap();
    assert!(boot.keyed.len() >= acknowledged && boot.rot == bocage_protocol::store::Rot::default());
    bench.persist(vec![put("room", vec![])]);
    assert!(bench.failed.is_empty(), "with room it goes on: {:?}", bench.failed);
}

#[test]
fn a_failed_sync_is_reported_and_final() {
    let dir = TempDir::new().unwrap();
    let mut syncs = 0;
    let failing = move |verb: &Output| {
        syncs += usize::from(matches!(verb, Output::Sync { .. }));
        (syncs == 4).then(|| DiskFault::Failed("input/output error".into()))
    };
    let mut bench = Bench::open_with(dir.path(), Some(Box::new(Instead(failing))));
    for _ in 0..5 {
        bench.persist(vec![put("a", vec![1])]);
    }
    assert_eq!(bench.persisted, [1]);
    assert_eq!(bench.failed.iter().map(|(write, _)| *write).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn a_segment_that_does_not_fit_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let (mut files, _) = super::Files::open(&dir.path().join("segments")).unwrap();
    let op = bocage_protocol::store::BlockOp(1);
    let verb = Output::Create { op, segment: bocage_protocol::store::SegmentId(1), size_bytes: 1 << 62 };
    let answer = super::perform(&mut files, &mut None, &verb);
    assert!(matches!(answer, Some(Input::Failed { .. })), "{answer:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("segments")).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn two_nodes_never_share_a_folder() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path());
    let error = Disk::open(dir.path(), NODE, |_| ()).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, DirError::InUse { .. }), "{error:?}");
    assert!(
        said.contains("is in use by another bocage node") && said.contains(&std::process::id().to_string()),
        "{said}"
    );
    drop(bench);
    Disk::open(dir.path(), NODE, |_| ()).unwrap();
}

#[test]
fn a_foreign_folder_is_left_alone() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(Disk::create_marker(dir.path(), NODE), Err(DirError::Foreign { .. })));
    assert!(matches!(Disk::open(dir.path(), NODE, |_| ()), Err(DirError::Foreign { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn another_nodes_folder_is_named_as_such() {
    let dir = TempDir::new().unwrap();
    Disk::create_marker(dir.path(), NODE).unwrap();
    let other = NodeId([2; 32]);
    let said = Disk::open(dir.path(), other, |_| ()).unwrap_err().to_string();
    assert!(said.contains(&NODE.short()) && said.contains(&other.short()), "{said}");
    assert_eq!(Disk::marker(dir.path()).unwrap().node, NODE);
}

#[test]
fn a_newer_missing_or_unreadable_folder_is_named_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data");
    assert!(matches!(Disk::marker(&path), Err(DirError::Missing { .. })));
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(Disk::marker(&path), Err(DirError::NotAFolder { .. })));
    assert!(matches!(Disk::create_marker(&path, NODE), Err(DirError::NotAFolder { .. })));
    std::fs::remove_file(&path).unwrap();
    Disk::create_marker(&path, NODE).unwrap();
    std::fs::write(path.join("bocage.toml"), "format = 2\nowner = \"somebody\"\n").unwrap();
    let error = Disk::open(&path, NODE, |_| ()).unwrap_err();
    assert!(matches!(error, DirError::Newer { format: 2, .. }), "{error}");
    std::fs::write(path.join("bocage.toml"), [0xff, 0xfe]).unwrap();
    assert!(matches!(Disk::marker(&path), Err(DirError::Foreign { .. })));
}

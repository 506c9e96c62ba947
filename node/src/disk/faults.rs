//! Faults on purpose, between the block verbs and the files: what the simulator's disks suffer (`simulator/src/blocks.rs`), by the
//! same names, befalls a real node. For tests and benches only: off unless `BOCAGE_DISK_FAULTS` names a file, and then loud.
//!
//! ```toml
//! faults = ["fail-sync"]
//! seed = 7                  # of what is drawn; left out: 0
//! ```
//!
//! | fault | what it does |
//! |---|---|
//! | `fail-sync` | each sync fails |
//! | `disk-full` | no new segment is made |
//! | `rot` | once, when the file comes to name it, or the node starts while it does: a few bytes of what was synced change |
//! | `power` | a kill is a power cut: of what was not synced yet, each write is kept, lost or torn |
//!
//! The file is looked at before each verb, so that a running node can be told; it need not be there. A path that is not absolute lies
//! in the node's folder: so one variable serves all nodes of a demo. One that does not read keeps the node from starting; later, the
//! faults before stay.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bocage_protocol::{
    codec::Blob,
    random::{Rng, Seed},
    store::{DiskFault, Output, SegmentId},
};
use rustix::io::Errno;
use serde::Deserialize;

use super::{
    Layer, Performed,
    files::{self, Files},
    folder::DirError,
    plainly,
};

/// Names the file.
pub(crate) const VARIABLE: &str = "BOCAGE_DISK_FAULTS";
/// A longer file is none of ours.
const FILE_BYTES_MAX: u64 = 4 << 10;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What says that a segment is one stands before: rot spares it.
const HEAD_BYTES: usize = 4_096;
/// Bytes that rot changes in each segment.
const ROTTEN: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    FailSync,
    DiskFull,
    Rot,
    Power,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    faults: BTreeSet<Fault>,
    #[serde(default)]
    seed: u64,
}

/// How a file looked when it was read last: inode, length, and when it was written.
type Look = (u64, u64, i64, i64);

/// The faults of one disk.
#[derive(Debug)]
pub(crate) struct FaultFile {
    path: PathBuf,
    looked: Option<Look>,
    now: Faults,
    /// Rot is due.
    rots: bool,
    rng: Rng,
    held: Held,
}

/// Writes that wait for a sync, oldest first. The store waits for each sync before it writes much more, which bounds them.
#[derive(Debug, Default)]
struct Held(BTreeMap<SegmentId, Vec<(u64, Blob)>>);

impl FaultFile {
    /// What the environment asks for on the disk of the node in this folder; usually nothing.
    pub(crate) fn from_environment(node: &Path) -> Result<Option<Self>, DirError> {
        std::env::var_os(VARIABLE).map(|name| Self::open(node, &name)).transpose()
    }

    fn open(node: &Path, name: &OsStr) -> Result<Self, DirError> {
        let path = node.join(name);
        let (looked, now) = (None, Faults::default());
        let mut this = Self { path, looked, now, rots: false, rng: Seed([0; 32]).rng(), held: Held::default() };
        let refuse = |why| DirError::Faults { path: this.path.clone(), why };
        if name.is_empty() {
            return Err(refuse("the variable is empty: unset it".to_owned()));
        }
        if let Some((look, faults)) = this.news().map_err(refuse)? {
            this.take(look, faults);
        }
        tracing::warn!(
            file = %this.path.display(),
            "{VARIABLE} is set: the disk of this node fails on purpose whenever that file says so. Never run it so with what matters"
        );
        Ok(this)
    }

    /// What the file says, if it changed since it was looked at; no file: no faults.
    fn news(&self) -> Result<Option<(Option<Look>, Faults)>, String> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.looked.map(|_| (None, Faults::default())));
            }
            Err(error) => return Err(error.to_string()),
        };
        let look = Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()));
        if look == self.looked {
            return Ok(None);
        }
        if found.len() > FILE_BYTES_MAX {
            return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        let faults = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        Ok(Some((look, faults)))
    }

    fn take(&mut self, look: Option<Look>, faults: Faults) {
        self.looked = look;
        if faults == self.now {
            return;
        }
        tracing::warn!(faults = ?faults.faults, seed = faults.seed, "from here on the disk fails on purpose so");
        self.rots |= faults.faults.contains(&Fault::Rot) && !self.now.faults.contains(&Fault::Rot);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&faults.seed.to_le_bytes());
        self.rng = Seed(seed).rng();
        self.now = faults;
    }

    /// Looks at the file, and has done what it asks for once.
    fn look(&mut self, files: &mut Files) -> io::Result<()> {
        match self.news() {
            Ok(Some((look, faults))) => self.take(look, faults),
            Ok(None) => {}
            Err(why) => {
                tracing::error!(file = %self.path.display(), why, "this file does not read: the faults before stay");
            }
        }
        if std::mem::take(&mut self.rots) {
            for (segment, bytes) in files.segments()? {
                rot(files, &mut self.rng, segment, bytes)?;
            }
        }
        Ok(())
    }

    fn has(&self, fault: Fault) -> bool {
        self.now.faults.contains(&fault)
    }

    fn inflict(&mut self, files: &mut Files, verb: &Output) -> Performed {
        match verb {
            Output::Create { .. } if self.has(Fault::DiskFull) => Err(DiskFault::Full),
            Output::Sync { .. } if self.has(Fault::FailSync) => Err(files::fault(verb, &Errno::IO.into())),
            Output::Write { segment, offset, bytes, .. } if self.has(Fault::Power) => {
                let kept = self.held.take(*segment, *offset, bytes, &mut self.rng);
                let written = kept.into_iter().try_for_each(|(at, part)| files.write(*segment, at, part));
                written.map(|()| None).map_err(|error| files::fault(verb, &error))
            }
            Output::Sync { segment, .. } => {
                let waiting = self.held.0.remove(segment).unwrap_or_default();
                let written = waiting.iter().try_for_each(|(at, bytes)| files.write(*segment, *at, bytes));
                written.map_err(|error| files::fault(verb, &error))?;
                plainly(files, verb)
            }
            Output::Read { segment, offset, .. } => {
                let mut bytes = plainly(files, verb)?;
                if let Some(bytes) = &mut bytes {
                    self.held.lay_over(*segment, *offset, bytes);
                }
                Ok(bytes)
            }
            Output::Trim { segment, .. } => {
                self.held.0.remove(segment);
                plainly(files, verb)
            }
            Output::Create { .. }
            | Output::Write { .. }
            | Output::Booted(_)
            | Output::Unopened(_)
            | Output::Persisted(_)
            | Output::PersistFailed(..)
            | Output::Loaded { .. } => plainly(files, verb),
        }
    }
}

impl Layer for FaultFile {
    fn perform(&mut self, files: &mut Files, verb: &Output) -> Performed {
        self.look(files).map_err(|error| files::fault(verb, &error))?;
        self.inflict(files, verb)
    }
}

impl Held {
    /// Holds a write back, and draws what a power cut would leave of it: that goes to the file at once.
    fn take<'a>(&mut self, segment: SegmentId, offset: u64, bytes: &'a Blob, rng: &mut Rng) -> Vec<(u64, &'a [u8])> {
        self.0.entry(segment).or_default().push((offset, bytes.clone()));
        if rng.chance(400) {
            return Vec::new();
        }
        let torn = rng.chance(500);
        let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
        let placed = sectors.map(|(number, sector)| (offset + (number * SECTOR_BYTES) as u64, sector));
        placed.filter(|_| !torn || rng.chance(500)).collect()
    }

    /// A reader sees what waits, too.
    fn lay_over(&self, segment: SegmentId, offset: u64, read: &mut [u8]) {
        for (at, bytes) in self.0.get(&segment).into_iter().flatten() {
            let (start, end) = ((*at).max(offset), (at + bytes.len() as u64).min(offset + read.len() as u64));
            if start < end {
                let within = |of: u64| usize::try_from(of).expect("both lie in memory");
                read[within(start - offset)..within(end - offset)]
                    .copy_from_slice(&bytes[within(start - at)..within(end - at)]);
            }
        }
    }
}

/// Changes some bytes of a segment, up to the last one that is not zero by birth.
fn rot(files: &mut Files, rng: &mut Rng, segment: SegmentId, bytes: u64) -> io::Result<()> {
    let mut found = files.read(segment, 0, bytes)?;
    let len = found.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for _ in 0..ROTTEN {
        let Some(at) = rng.index(len.saturating_sub(HEAD_BYTES)) else { break };
        found[HEAD_BYTES + at] ^= 0x40;
    }
    files.write(segment, 0, &found[..len])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bocage_protocol::store::BlockOp;
    use tempfile::TempDir;

    use super::*;

    const SEGMENT: SegmentId = SegmentId(1);
    const OP: BlockOp = BlockOp(1);

    struct Bench {
        dir: TempDir,
        files: Files,
        layer: FaultFile,
        said: u64,
    }

    impl Bench {
        fn new() -> Self {
            let dir = TempDir::new().unwrap();
            let (files, _) = Files::open(&dir.path().join("segments")).unwrap();
            let layer = FaultFile::open(dir.path(), OsStr::new("faults.toml")).unwrap();
            let mut this = Self { dir, files, layer, said: 0 };
            this.does(&Output::Create { op: OP, segment: SEGMENT, size_bytes: 16_384 }).unwrap();
            this
        }

        /// The file says this from now on; no two are equally long and written at the same time.
        fn says(&mut self, text: &str) {
            self.said += 1;
            let path = self.dir.path().join("faults.toml");
            fs::write(&path, text).unwrap();
            let written = std::time::UNIX_EPOCH + Duration::from_secs(self.said);
            fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        }

        fn does(&mut self, verb: &Output) -> Performed {
            self.layer.perform(&mut self.files, verb)
        }

        fn writes(&mut self, offset: u64, bytes: &[u8]) {
            self.does(&Output::Write { op: OP, segment: SEGMENT, offset, bytes: bytes.into() }).unwrap();
        }

        fn syncs(&mut self) -> Performed {
            self.does(&Output::Sync { op: OP, segment: SEGMENT })
        }

        fn reads(&mut self, offset: u64, len: u64) -> Vec<u8> {
            self.does(&Output::Read { op: OP, segment: SEGMENT, offset, len }).unwrap().unwrap()
        }

        /// What another process would find in the file.
        fn left(&mut self, offset: u64, len: u64) -> Vec<u8> {
            self.files.read(SEGMENT, offset, len).unwrap()
        }
    }

    #[test]
    fn a_running_disk_fails_as_the_file_says_and_no_longer() {
        let mut bench = Bench::new();
        bench.writes(0, b"well");
        assert_eq!(bench.syncs(), Ok(None));
        bench.says("faults = [\"fail-sync\", \"disk-full\"]");
        assert!(matches!(bench.syncs(), Err(DiskFault::Failed(why)) if why.starts_with("sync segment 1")));
        let more = Output::Create { op: OP, segment: SegmentId(2), size_bytes: 8_192 };
        assert_eq!(bench.does(&more), Err(DiskFault::Full));
        bench.says("faults = [\"disk-full\"] # and no more");
        assert_eq!(bench.syncs(), Ok(None));
        fs::remove_file(bench.dir.path().join("faults.toml")).unwrap();
        assert_eq!(bench.does(&more), Ok(None));
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_of_the_rest_all_some_or_nothing() {
        let mut fates = BTreeSet::new();
        for seed in 0..40 {
            let mut bench = Bench::new();
            bench.says(&format!("faults = [\"power\"]\nseed = {seed}"));
            bench.writes(512, &[7; 1_024]);
            bench.syncs().unwrap();
            bench.writes(4_096, &[9; 4_096]);
            assert_eq!(bench.reads(4_000, 5_000)[96..96 + 4_096], [9; 4_096], "who reads sees what waits");
            assert_eq!(bench.left(512, 1_024), [7; 1_024]);
            let kept = bench.left(4_096, 4_096).into_iter().filter(|byte| *byte == 9).count();
            assert_eq!(kept % SECTOR_BYTES, 0);
            fates.insert(match kept {
                0 => "lost",
                4_096 => "kept",
                _ => "torn",
            });
            bench.syncs().unwrap();
            assert_eq!(bench.left(4_096, 4_096), [9; 4_096]);
        }
        assert_eq!(fates.len(), 3, "{fates:?}");
    }

    #[test]
    fn a_sync_that_fails_leaves_what_waits_unwritten() {
        let mut bench = Bench::new();
        bench.says("faults = [\"power\", \"fail-sync\"]\nseed = 1");
        for at in 0..16 {
            bench.writes(at * 512, &[1; 512]);
        }
        bench.syncs().unwrap_err();
        let kept = bench.left(0, 8_192).into_iter().filter(|byte| *byte == 1).count();
        assert!(kept < 8_192, "{kept} of 8,192 bytes reached the file, and none was synced");
    }

    #[test]
    fn rot_comes_once_and_spares_the_head() {
        let mut bench = Bench::new();
        bench.writes(0, &[1; 8_192]);
        bench.syncs().unwrap();
        bench.says("faults = [\"rot\"]\nseed = 3");
        let rotten = |bytes: &[u8]| (0..bytes.len()).filter(|at| bytes[*at] != 1).collect::<Vec<_>>();
        let once = bench.reads(0, 8_192);
        assert!((1..=ROTTEN).contains(&rotten(&once).len()), "{:?}", rotten(&once));
        assert!(rotten(&once).iter().all(|at| *at >= HEAD_BYTES));
        assert_eq!(bench.reads(0, 8_192), once);
        bench.says("faults = [\"rot\"]\nseed = 3 # still");
        assert_eq!(bench.reads(0, 8_192), once);
    }

    #[test]
    fn a_file_that_does_not_read_keeps_a_node_from_starting_and_changes_nothing_later() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("faults.toml");
        for text in ["faults = [\"fire\"]", "faults = []\nseeds = 1", "fault = []", "faults"] {
            fs::write(&path, text).unwrap();
            let refused = FaultFile::open(dir.path(), OsStr::new("faults.toml")).unwrap_err().to_string();
            assert!(refused.contains("faults.toml") && refused.contains(VARIABLE), "{refused}");
        }
        let mut bench = Bench::new();
        bench.says("faults = [\"fail-sync\"]");
        bench.syncs().unwrap_err();
        bench.says("faults = [\"fire\"]");
        bench.syncs().unwrap_err();
    }
}

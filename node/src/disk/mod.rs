//! The block verbs of the protocol's store, for real: segments are files of a folder that one node at a time may use.
//!
//! A thread of its own performs one verb after the other, since a sync may take long and must not stall anything else.
//! It decides nothing: each verb is answered by `Done` or `Failed`, and what follows is the store's business.
//!
//! ```text
//! DIR/bocage.toml          whose folder it is (see folder)
//! DIR/lock                 held while a node runs
//! DIR/segments/*.seg       one file for each segment (see files)
//! ```
//! Tests and benches can have it fail on purpose (see faults).
mod folder;
mod files;
mod faults;

use std::{
    path::Path,
    sync::mpsc::{self, SyncSender, TrySendError},
    thread::{self, JoinHandle},
};

use bocage_protocol::{
    id::NodeId,
    store::{DiskFault, Input, Output, SegmentId},
};

pub(crate) use self::faults::FaultFile;
use self::files::Files;
pub use self::folder::{DirError, Lock, Marker};

/// Verbs that may wait for the disk. The store has far fewer under way at a time (a write, its sync, a segment in the
/// making, 16 loads, one piece of compaction); one more fails as if the disk had failed it.
const VERBS_MAX: usize = 256;

/// What became of a verb: of a read, its bytes.
type Performed = Result<Option<Vec<u8>>, DiskFault>;

/// What stands between verbs and files where a disk is to fail on purpose.
pub(crate) trait Layer: Send {
    fn perform(&mut self, files: &mut Files, verb: &Output) -> Performed;
}

/// A disk in use. Dropping it waits for the verbs under way, then frees the folder for others.
#[derive(Debug)]
pub struct Disk {
    verbs: Option<SyncSender<Output>>,
    thread: Option<JoinHandle<()>>,
    _lock: Lock,
}

impl Disk {
    /// Marks a folder as the data folder of `node`, making it if need be. Harmless when it is one already.
    ///
    /// # Errors
    /// When the folder cannot be made or written, is another node's, or holds other things: call this before anything
    /// else is put there.
    pub fn create_marker(dir: &Path, node: NodeId) -> Result<(), DirError> {
        folder::create(dir, node)
    }

    /// Whose folder it is.
    ///
    /// # Errors
    /// When it is not there, not readable, or no data folder.
    pub fn marker(dir: &Path) -> Result<Marker, DirError> {
        folder::read_marker(dir)
    }

    /// Takes the data folder of `node` in use. `report` is called on the disk's thread with the answer to each verb, in
    /// the order in which they were asked for. Also gives the segments that are there: what `Store::open` wants.
    ///
    /// # Errors
    /// When it is not the data folder of `node`, in use, of a newer format, or cannot be read.
    pub fn open(
        dir: &Path,
        node: NodeId,
        report: impl FnMut(Input) + Send + 'static,
    ) -> Result<(Self, Vec<(SegmentId, u64)>), DirError> {
        Self::open_with(dir, node, None, report)
    }

    /// As [`Disk::open`], with what makes it fail.
    pub(crate) fn open_with(
        dir: &Path,
        node: NodeId,
        mut faults: Option<Box<dyn Layer>>,
        mut report: impl FnMut(Input) + Send + 'static,
    ) -> Result<(Self, Vec<(SegmentId, u64)>), DirError> {
        let lock = folder::take(dir, node)?;
        let (mut files, segments) =
            Files::open(&dir.join("segments")).map_err(|error| DirError::from_io(dir, error))?;
        let (verbs, asked) = mpsc::sync_channel::<Output>(VERBS_MAX);
        let work = move || {
            while let Ok(verb) = asked.recv() {
                if let Some(answer) = perform(&mut files, &mut faults, &verb) {
                    report(answer);
                }
            }
        };
        let thread = thread::Builder::new().name("disk".into()).spawn(work);
        let thread = thread.map_err(|error| DirError::from_io(dir, error))?;
        Ok((Self { verbs: Some(verbs), thread: Some(thread), _lock: lock }, segments))
    }

    /// Queues a block verb; never blocks.
    ///
    /// # Errors
    /// The answer itself, when the queue is full or the thread is gone: hand it to the store like any other. `Ok` for
    /// outputs that are no verbs, which are ignored.
    pub fn perform(&self, verb: Output) -> Result<(), Input> {
        let Some(verbs) = &self.verbs else { return Ok(()) };
        verbs.try_send(verb).or_else(|refused| {
            let (verb, why) = match refused {
                TrySendError::Full(verb) => (verb, "more verbs wait than it can take"),
                TrySendError::Disconnected(verb) => (verb, "its thread has ended"),
            };
            answer(&verb, Err(DiskFault::Failed(why.into()))).map_or(Ok(()), Err)
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.verbs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn perform(files: &mut Files, faults: &mut Option<Box<dyn Layer>>, verb: &Output) -> Option<Input> {
    let performed = match faults {
        None => plainly(files, verb),
        Some(faults) => faults.perform(files, verb),
    };
    answer(verb, performed)
}

/// As the files have it.
fn plainly(files: &mut Files, verb: &Output) -> Performed {
    let result = match verb {
        Output::Create { segment, size_bytes, .. } => files.create(*segment, *size_bytes).map(|()| None),
        Output::Write { segment, offset, bytes, .. } => files.write(*segment, *offset, bytes).map(|()| None),
        Output::Sync { segment, .. } => files.sync(*segment).map(|()| None),
        Output::Read { segment, offset, len, .. } => files.read(*segment, *offset, *len).map(Some),
        Output::Trim { segment, .. } => files.trim(*segment).map(|()| None),
        Output::Booted(_)
        | Output::Unopened(_)
        | Output::Persisted(_)
        | Output::PersistFailed(..)
        | Output::Loaded { .. } => Ok(None),
    };
    result.map_err(|error| files::fault(verb, &error))
}

/// The report on a verb; `None`: it is none.
fn answer(verb: &Output, result: Performed) -> Option<Input> {
    let op = match verb {
        Output::Create { op, .. }
        | Output::Write { op, .. }
        | Output::Sync { op, .. }
        | Output::Read { op, .. }
        | Output::Trim { op, .. } => *op,
        Output::Booted(_)
        | Output::Unopened(_)
        | Output::Persisted(_)
        | Output::PersistFailed(..)
        | Output::Loaded { .. } => return None,
    };
    Some(match result {
        Ok(bytes) => Input::Done { op, bytes: bytes.map(Into::into) },
        Err(fault) => Input::Failed { op, fault },
    })
}

#[cfg(test)]
mod tests;

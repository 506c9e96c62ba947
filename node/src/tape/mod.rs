//! Recording a tape: what the machine was opened with and every step that it takes, for whoever looks into a bug.
//!
//! ```text
//!  machine's thread ─ encode, digest ─► queue ─► writer's thread ─► 00001.tape, 00002.tape, …
//! ```
//! The machine never waits for the tape's disk: where the queue is full, or the tape as long as it may be, the tape ends and
//! says why, and the node goes on. What a tape says is in `bocage_protocol::tape`.
mod reel;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use bocage_protocol::{
    codec::Blob,
    config::Config,
    identity::Signatures,
    io::Output,
    random::Seed,
    store::Boot,
    tape::{DIGEST_BYTES, End, Opening, Program, RECORD_BYTES_MAX, Record, digest},
    time::Now,
};
use reel::{Full, Reel};

use crate::effects::{Step, Tape};

/// Records that wait for the tape's disk; at it the tape ends.
const QUEUE_RECORDS_MAX: usize = 16 << 10;

/// Bytes that wait for the tape's disk, one record in any case; at it the tape ends.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What is recorded, and where.
#[derive(Clone, Debug)]
pub struct TapeSettings {
    /// A folder of its own: new, or empty.
    pub folder: PathBuf,
    /// The tape ends when it is so long.
    pub bytes_max: u64,
    /// Which program this is.
    pub program: Program,
}

/// Why there can be no tape. Nothing was recorded, and no node started.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// Something is there.
    #[error("{} is not empty: a tape needs a folder of its own. Name a new one with --tape", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// Too little for anything.
    #[error("a tape of {given} bytes holds nothing: --tape-limit must be at least {} bytes", reel::TAPE_BYTES_MIN)]
    Short {
        /// What was asked for.
        given: u64,
    },
    /// The disk.
    #[error("a tape cannot be recorded in {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The tape of one life of a node.
pub struct FileTape {
    program: Program,
    config: Config,
    seed: Seed,
    signatures: Signatures,
    state: State,
    /// Of the step at hand.
    outputs: Vec<u8>,
}

enum State {
    /// The node has not opened yet.
    Empty(Reel),
    /// Steps are recorded.
    Turning(Queue),
    /// There is no more.
    Over,
}

/// To the writer.
struct Queue {
    records: Option<SyncSender<Blob>>,
    /// Bytes in it.
    waiting: Arc<AtomicUsize>,
    /// Why nothing follows.
    why: Arc<OnceLock<End>>,
    writer: Option<JoinHandle<()>>,
}

impl FileTape {
    /// Makes the tape's folder. From now on the node of `config` signs for the tape too.
    ///
    /// # Errors
    /// When there can be no tape: says why, and what to do.
    pub fn create(settings: &TapeSettings, config: &mut Config, seed: Seed) -> Result<Self, TapeError> {
        let reel = Reel::create(&settings.folder, settings.bytes_max)?;
        let (identity, signatures) = config.identity.taped();
        config.identity = identity;
        tracing::warn!(
            folder = %settings.folder.display(),
            "this node is recorded: its tape holds what its apps hold, and is as private as they are"
        );
        let (program, config) = (settings.program.clone(), config.clone());
        Ok(Self { program, config, seed, signatures, state: State::Empty(reel), outputs: Vec::new() })
    }

    /// Writes what the node opens with. The node waits for that: it does nothing yet.
    fn begin(&self, reel: &mut Reel, boot: &Boot, now: Now) -> Result<(), Full> {
        let opening = Opening::new(self.program.clone(), &self.config, self.seed, boot, now);
        reel.write(&Record::Opening(Box::new(opening)).encode())?;
        boot.keyed.iter().try_for_each(|(key, value)| reel.write(&Record::keyed(key, value)))?;
        boot.cells.iter().try_for_each(|(cell, boot)| reel.write(&Record::cell(*cell, boot)))
    }
}

impl Tape for FileTape {
    fn open(&mut self, boot: &Boot, now: Now) {
        let State::Empty(mut reel) = std::mem::replace(&mut self.state, State::Over) else { return };
        match self.begin(&mut reel, boot, now) {
            Ok(()) => match Queue::start(reel) {
                Ok(queue) => self.state = State::Turning(queue),
                Err(error) => tracing::warn!(%error, "nothing is recorded: the system gives no thread"),
            },
            Err(full) => reel.end(full),
        }
    }

    fn record(&mut self, now: Now, step: Step<'_>) {
        let State::Turning(queue) = &mut self.state else { return };
        let input = match step {
            Step::Node(input) => Some(input),
            Step::NodeTimeout => None,
            // The store has machines and tests of its own: what it told the node is on the tape.
            Step::Store(_) | Step::StoreTimeout => return,
        };
        if !queue.put(Record::step(now, input)) {
            self.state = State::Over;
        }
    }

    fn output(&mut self, output: &Output) {
        if let State::Turning(_) = self.state {
            self.outputs.extend_from_slice(&digest(output));
        }
    }

    fn done(&mut self) {
        // When nothing is recorded any more, too: else they would pile up.
        let signatures = self.signatures.take();
        debug_assert!(self.outputs.len().is_multiple_of(DIGEST_BYTES));
        let outputs = Blob::from(self.outputs.as_slice());
        self.outputs.clear();
        let State::Turning(queue) = &mut self.state else { return };
        if !queue.put(Record::Done { signatures, outputs }.encode()) {
            self.state = State::Over;
        }
    }
}

impl Queue {
    fn start(mut reel: Reel) -> io::Result<Self> {
        let (records, coming) = sync_channel::<Blob>(QUEUE_RECORDS_MAX);
        let (waiting, why) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::new()));
        let (left, ended) = (waiting.clone(), why.clone());
        let writer = thread::Builder::new().name("bocage-tape".into()).spawn(move || {
            let full = write(&mut reel, &coming, &left);
            // Without a word the other side just went away: its node has stopped.
            reel.end(full.unwrap_or_else(|| Full::End(*ended.get().unwrap_or(&End::Stopped))));
        })?;
        Ok(Self { records: Some(records), waiting, why, writer: Some(writer) })
    }

    /// Whether the tape goes on.
    fn put(&mut self, record: Blob) -> bool {
        let Some(records) = &self.records else { return false };
        let length = record.len();
        if length > RECORD_BYTES_MAX {
            self.end(End::Large);
            return false;
        }
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > QUEUE_BYTES_MAX || records.try_send(record).is_err() {
            // If the writer has ended by itself, it has said why.
            self.end(End::Behind);
            return false;
        }
        true
    }

    fn end(&mut self, why: End) {
        // The first reason is the reason.
        let _ = self.why.set(why);
        self.records = None;
    }
}

impl Drop for Queue {
    /// The tape ends with its node. A node that stops waits for what is under way to its tape; one whose tape ended before does
    /// not.
    fn drop(&mut self) {
        if self.records.is_none() {
            return;
        }
        self.end(if thread::panicking() { End::Broke } else { End::Stopped });
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has left a tape without an end, which is what it is.
            let _ = writer.join();
        }
    }
}

/// Writes what comes, until nothing comes any more or nothing can be written any more: why, then.
fn write(reel: &mut Reel, coming: &Receiver<Blob>, waiting: &AtomicUsize) -> Option<Full> {
    loop {
        let record = match coming.try_recv() {
            Ok(record) => record,
            Err(TryRecvError::Disconnected) => return None,
            // Whoever is killed while nothing happens leaves everything on the tape.
            Err(TryRecvError::Empty) => {
                if let Err(full) = reel.flush() {
                    return Some(full);
                }
                match coming.recv() {
                    Ok(record) => record,
                    Err(_) => return None,
                }
            }
        };
        let written = reel.write(&record);
        waiting.fetch_sub(record.len(), Ordering::Relaxed);
        if let Err(full) = written {
            return Some(full);
        }
    }
}

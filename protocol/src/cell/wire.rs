//! What replicas and callers of a cell say to each other.
use minicbor::{Decode, Encode};

use super::{
    command::{Answer, Barrier, Command, Entry, Outcome, Query},
    recovery::{Recovered, RecoveryPapers, Report},
};
use crate::{
    codec::{self, Blob},
    context::WireContext,
    id::{ContentHash, NodeId, RequestId},
    identity::{BadSignature, Envelope, Envelopes},
    refusal::Refusal,
    store::{LogEntry, SnapshotMeta},
};

/// A frame of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Between replicas.
    #[n(0)]
    Raft {
        /// The sender's line: a lower one is answered with nothing.
        #[n(0)]
        line: u64,
        /// Raft's message in our own encoding.
        #[n(1)]
        message: RaftMessage,
    },
    /// A caller wants a command proposed.
    #[n(1)]
    Propose {
        /// Whose, until when; its request is named in the answer.
        #[n(0)]
        context: WireContext,
        /// What.
        #[n(1)]
        command: Box<Command>,
    },
    /// The answer to `Propose`.
    #[n(2)]
    Outcome {
        /// The caller's request.
        #[n(0)]
        request: RequestId,
        /// Applied at this index, with this result; or why not, and who leads if known.
        #[n(1)]
        result: Reached<Applied>,
    },
    /// A caller wants to read.
    #[n(3)]
    Read {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// How fresh.
        #[n(1)]
        barrier: Barrier,
        /// Answered at one index, in order. At most 64.
        #[n(2)]
        queries: Vec<Query>,
    },
    /// The answer to `Read`.
    #[n(4)]
    Answers {
        /// The caller's request.
        #[n(0)]
        request: RequestId,
        /// The index they hold at, and the answers; or why not, and who leads if known.
        #[n(1)]
        result: Reached<Answered>,
    },
    /// The leader sees nothing to do: sleep. To every node with a replica or a lease of the cell; only to who said in its Hello
    /// that it lets cells sleep, like the two below.
    #[n(5)]
    Sleep {
        /// The leader's line.
        #[n(0)]
        line: u64,
        /// Its term.
        #[n(1)]
        term: u64,
        /// Where its log ends, all of it committed.
        #[n(2)]
        index: u64,
    },
    /// The answer to `Sleep` of who sees the same and sleeps now.
    #[n(6)]
    Slept {
        /// As it was told.
        #[n(0)]
        line: u64,
        /// As it was told.
        #[n(1)]
        term: u64,
        /// As it was told.
        #[n(2)]
        index: u64,
    },
    /// A copy that stands away asks the leader what is committed. From rules 4 on, like the next.
    #[n(8)]
    Prove {
        /// The copy's line.
        #[n(0)]
        line: u64,
        /// Its own number: the answer names it.
        #[n(1)]
        serial: u64,
    },
    /// The answer to `Prove`.
    #[n(9)]
    Committed {
        /// The leader's line.
        #[n(0)]
        line: u64,
        /// As it was asked.
        #[n(1)]
        serial: u64,
        /// All that was committed when it was asked lies up to here.
        #[n(2)]
        index: u64,
    },
    /// The receiver is on a later line than the sender: why? Only to who said in its Hello that it knows of recoveries, like all
    /// below.
    #[n(10)]
    Outdated {
        /// The sender's line.
        #[n(0)]
        line: u64,
    },
    /// The receiver's line has ended.
    #[n(11)]
    Recovered(#[n(0)] Box<Recovered>),
    /// What does the receiver's node hold of this cell?
    #[n(12)]
    Survey {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
    },
    /// The answer to `Survey`.
    #[n(13)]
    Surveyed {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// What it holds.
        #[n(1)]
        report: Box<Report>,
    },
    /// The receiver is the survivor that this recovery names: carry it out.
    #[n(14)]
    Recover {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// What was signed.
        #[n(1)]
        papers: Box<RecoveryPapers>,
    },
    /// The answer to `Recover`.
    #[n(15)]
    Carried {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// The line that has begun, durably; or why not.
        #[n(1)]
        result: Result<u64, Refusal>,
    },
    /// The cell is awake: a host of its instances without a replica renews its lease.
    #[n(7)]
    Wake {
        /// The leader's line.
        #[n(0)]
        line: u64,
    },
}

/// Where a command was applied, and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Applied {
    /// The entry's index.
    #[n(0)]
    pub index: u64,
    /// What it did.
    #[n(1)]
    pub outcome: Outcome,
}

/// Answers and the index they hold at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answered {
    /// The state that was read has applied at least this.
    #[n(0)]
    pub index: u64,
    /// In the order of the queries.
    #[n(1)]
    pub answers: Vec<Answer>,
}

/// An answer of a replica, or its no with a hint whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reached<T> {
    /// Here it is.
    #[n(0)]
    Yes(#[n(0)] T),
    /// Ask this one instead; `None`: ask again in a moment.
    #[n(1)]
    NotLeader(#[n(0)] Option<NodeId>),
    /// No.
    #[n(2)]
    No(#[n(0)] Refusal),
}

impl<T> Reached<T> {
    /// The same with another kind of answer.
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> Reached<U> {
        match self {
            Self::Yes(answer) => Reached::Yes(into(answer)),
            Self::NotLeader(hint) => Reached::NotLeader(hint),
            Self::No(refusal) => Reached::No(refusal),
        }
    }
}

/// Raft's message, with the field numbers of our own. Snapshots carry their hash only: the bytes come by transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RaftMessage {
    /// Raft's `MessageType`, as its own number. Only append, vote, heartbeat, snapshot and their answers are let in, and what
    /// hands the lead over: 13 (of it only `index` is read, the heir) and 14.
    #[n(0)]
    pub kind: u8,
    /// Replica.
    #[n(1)]
    pub to: u64,
    /// Replica.
    #[n(2)]
    pub from: u64,
    /// Raft's term, never 0.
    #[n(3)]
    pub term: u64,
    /// Term of the entry at `index`.
    #[n(4)]
    pub log_term: u64,
    /// The entry before `entries`, or what the kind says.
    #[n(5)]
    pub index: u64,
    /// Contiguous from `index + 1`.
    #[n(6)]
    pub entries: Vec<LogEntry>,
    /// The sender's commit.
    #[n(7)]
    pub commit: u64,
    /// Term of that entry.
    #[n(8)]
    pub commit_term: u64,
    /// Of a `MsgSnapshot`. In a box, for it is rare, and large beside the rest.
    #[n(9)]
    pub snapshot: Option<Box<SnapshotOffer>>,
    /// A no.
    #[n(10)]
    pub reject: bool,
    /// Where the receiver's log ends.
    #[n(11)]
    pub reject_hint: u64,
    /// A follower asks for a snapshot at least so new.
    #[n(12)]
    pub request_snapshot: u64,
    /// Election priority.
    #[n(13)]
    pub priority: i64,
    /// Names a ReadIndex round. At most 64 bytes.
    #[n(14)]
    pub context: Blob,
}

/// Where to fetch a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotOffer {
    /// Where it stands.
    #[n(0)]
    pub meta: SnapshotMeta,
    /// Its bytes, to be fetched from the sender.
    #[n(1)]
    pub content: ContentHash,
    /// How many.
    #[n(2)]
    pub size_bytes: u64,
}

impl Message {
    /// Whether only a peer that lets cells sleep reads it.
    #[must_use]
    pub const fn is_about_sleep(&self) -> bool {
        matches!(self, Self::Sleep { .. } | Self::Slept { .. } | Self::Wake { .. })
    }

    /// Whether only a peer that knows of recoveries reads it.
    #[must_use]
    pub const fn is_about_recovery(&self) -> bool {
        matches!(
            self,
            Self::Outdated { .. }
                | Self::Recovered(_)
                | Self::Survey { .. }
                | Self::Surveyed { .. }
                | Self::Recover { .. }
                | Self::Carried { .. }
        )
    }

    /// Checks every signature inside, those of log entries included, asking `known` first.
    ///
    /// # Errors
    /// At the first bad signature or unreadable entry: the whole message is then dropped.
    pub fn check(&self, known: &mut impl FnMut(&Envelope) -> bool) -> Result<(), BadSignature> {
        let check_command = |command: &Command, known: &mut dyn FnMut(&Envelope) -> bool| {
            let mut envelopes = Vec::new();
            command.envelopes(&mut envelopes);
            envelopes.into_iter().try_for_each(|envelope| envelope.check_with(known))
        };
        match self {
            Self::Propose { command, .. } => check_command(command, known),
            Self::Recovered(recovered) => check_all(&**recovered, known),
            Self::Recover { papers, .. } => check_all(&**papers, known),
            Self::Raft { message, .. } => {
                for log_entry in &message.entries {
                    let data = if log_entry.kind == 0 { &log_entry.data } else { &log_entry.context };
                    if data.is_empty() {
                        continue;
                    }
                    let entry: Entry = codec::decode("cell entry", data).map_err(BadSignature::Payload)?;
                    check_command(&entry.command, known)?;
                }
                Ok(())
            }
            Self::Outcome { .. }
            | Self::Read { .. }
            | Self::Answers { .. }
            | Self::Sleep { .. }
            | Self::Slept { .. }
            | Self::Prove { .. }
            | Self::Committed { .. }
            | Self::Outdated { .. }
            | Self::Survey { .. }
            | Self::Surveyed { .. }
            | Self::Carried { .. }
            | Self::Wake { .. } => Ok(()),
        }
    }
}

fn check_all(holder: &impl Envelopes, known: &mut dyn FnMut(&Envelope) -> bool) -> Result<(), BadSignature> {
    let mut envelopes = Vec::new();
    holder.envelopes(&mut envelopes);
    envelopes.into_iter().try_for_each(|envelope| envelope.check_with(known))
}

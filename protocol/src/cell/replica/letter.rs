//! Raft's messages in our own encoding, and what is let in.
//!
//! raft 0.7 trusts its peers: it panics on a commit beyond its log, on a membership that contradicts itself, on a vote
//! that answers nothing. So each message is checked against everything that raft assumes before it is stepped; what does
//! not hold is dropped, as if the network had lost it.
use minicbor::Decoder;
use raft::eraftpb::{Message, MessageType};

use super::log;
use crate::{
    cell::{RaftMessage, SnapshotOffer},
    codec::Blob,
    store::{LogEntry, SnapshotMeta},
    time::Timestamp,
};

/// Entries in one append; a leader sends far fewer.
const ENTRIES_MAX: usize = 16_384;
/// A ReadIndex round is named by fewer bytes.
const CONTEXT_BYTES_MAX: usize = 64;
/// Members of a cell, of each kind.
const MEMBERS_MAX: usize = 16;
/// A payload of a membership change.
const CHANGE_BYTES_MAX: usize = 1_024;
/// No honest index or term comes near: sums with them cannot overflow.
const NUMBER_MAX: u64 = 1 << 60;
/// Terms that one message may skip: with pre-vote a term rises only when somebody can win it.
const TERM_LEAP_MAX: u64 = 1 << 20;
/// A follower takes no entry stamped further ahead of its own wall clock: one fast clock must not move cell time.
const STAMP_AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// raft's number of `MsgTransferLeader`: the notice of who was handed the lead, which is never stepped.
pub(super) const TRANSFER_LEADER: u8 = 13;

/// raft's number of `MsgSnapshot`.
pub(super) const SNAPSHOT: u8 = 7;

/// raft's number of `MsgRequestPreVote`.
pub(super) const REQUEST_PRE_VOTE: u8 = 17;

/// What the receiver knows when a message comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver {
    pub(super) id: u64,
    pub(super) term: u64,
    pub(super) last: u64,
    /// Its vote requests have left: before that nobody can have answered one.
    pub(super) asked_for_votes: bool,
    /// It has no state yet: it only listens to a leader.
    pub(super) newcomer: bool,
    /// Room for uncommitted entries.
    pub(super) room: bool,
    pub(super) wall: Timestamp,
    /// Who leads in `term`, as it believes; 0: nobody.
    pub(super) leader: u64,
    /// To whom the leader of `term` has handed over, as it says; 0: to nobody.
    pub(super) heir: u64,
    /// A snapshot is being made durable: raft would look for entries that it took the place of.
    pub(super) installing: bool,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is not something that an honest peer sends.
    Malformed(&'static str),
    /// The leader's clock is too far ahead of ours.
    FromTheFuture,
    /// Not now: memory is full, or it answers nothing we asked.
    Untimely,
}

/// Raft's message, if everything raft assumes of it holds. A snapshot comes without its bytes.
pub(super) fn admit(message: RaftMessage, receiver: &Receiver) -> Result<Message, Dropped> {
    use Dropped::{FromTheFuture, Malformed, Untimely};
    let kind = kind_of(message.kind).ok_or(Malformed("a kind that peers do not send"))?;
    check_numbers(&message, receiver)?;
    let for_newcomers = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
    if receiver.newcomer && !for_newcomers {
        return Err(Untimely);
    }
    if kind != MessageType::MsgAppend && !message.entries.is_empty() {
        return Err(Malformed("entries outside an append"));
    }
    if (kind == MessageType::MsgSnapshot) != message.snapshot.is_some() {
        return Err(Malformed("a snapshot is missing, or where none belongs"));
    }
    let current = message.term >= receiver.term;
    match kind {
        MessageType::MsgAppend => {
            check_entries(&message)?;
            if current && !message.entries.is_empty() && !receiver.room {
                return Err(Untimely);
            }
            if current && message.entries.iter().any(|entry| ahead(entry, receiver.wall)) {
                return Err(FromTheFuture);
            }
        }
        MessageType::MsgHeartbeat if current && message.commit > receiver.last => {
            return Err(Malformed("a commit beyond what is known to match"));
        }
        MessageType::MsgAppendResponse if !message.reject && message.index > receiver.last => {
            return Err(Malformed("acknowledges more than was sent"));
        }
        MessageType::MsgRequestVote if !message.context.is_empty() => check_forced(&message, receiver)?,
        MessageType::MsgRequestPreVote if !message.context.is_empty() => {
            return Err(Malformed("a forced vote"));
        }
        MessageType::MsgTimeoutNow => {
            if message.term != receiver.term || message.from != receiver.leader || !message.context.is_empty() {
                return Err(Malformed("a lead handed over by who does not lead"));
            }
            if receiver.installing {
                return Err(Untimely);
            }
        }
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse if !receiver.asked_for_votes => {
            return Err(Untimely);
        }
        MessageType::MsgSnapshot => {
            let offer = message.snapshot.as_ref().expect("checked above");
            check_meta(&offer.meta, receiver.id)?;
            let votes = offer.meta.voters.contains(&receiver.id) || offer.meta.voters_outgoing.contains(&receiver.id);
            if receiver.newcomer && votes {
                return Err(Malformed(
                    "a first state in which the newcomer votes already: it has forgotten what it was",
                ));
            }
        }
        _ => {}
    }
    to_raft(kind, message).ok_or(Malformed("an entry of unknown kind"))
}

/// raft's word for a vote that disturbs a leader: see `handing`.
const FORCED: &[u8] = b"CampaignTransfer";

fn check_forced(message: &RaftMessage, receiver: &Receiver) -> Result<(), Dropped> {
    let handed_over = receiver.heir != 0 && receiver.heir == message.from;
    if &message.context.0[..] == FORCED && handed_over && message.term == receiver.term + 1 {
        return Ok(());
    }
    Err(Dropped::Malformed("a forced vote of who was not handed the lead"))
}

/// To whom the leader says that it hands over: a `MsgTransferLeader`, of which nothing but this is read.
pub(super) fn heir(message: &RaftMessage, receiver: &Receiver) -> Result<u64, Dropped> {
    check_numbers(message, receiver)?;
    let bare = message.entries.is_empty() && message.snapshot.is_none() && message.context.is_empty();
    let leads = message.term == receiver.term && message.from == receiver.leader;
    if message.kind != TRANSFER_LEADER || !bare || !leads || message.index == 0 || message.index == message.from {
        return Err(Dropped::Malformed("a lead handed over by who does not lead, or to nobody"));
    }
    Ok(message.index)
}

fn kind_of(kind: u8) -> Option<MessageType> {
    let kind = match kind {
        3 => MessageType::MsgAppend,
        4 => MessageType::MsgAppendResponse,
        5 => MessageType::MsgRequestVote,
        6 => MessageType::MsgRequestVoteResponse,
        7 => MessageType::MsgSnapshot,
        8 => MessageType::MsgHeartbeat,
        9 => MessageType::MsgHeartbeatResponse,
        14 => MessageType::MsgTimeoutNow,
        17 => MessageType::MsgRequestPreVote,
        18 => MessageType::MsgRequestPreVoteResponse,
        _ => return None,
    };
    Some(kind)
}

fn check_numbers(message: &RaftMessage, receiver: &Receiver) -> Result<(), Dropped> {
    use Dropped::Malformed;
    if message.to != receiver.id || message.from == 0 || message.from == receiver.id {
        return Err(Malformed("addressed to another replica, or from none"));
    }
    if message.term == 0 || message.term.saturating_sub(receiver.term) > TERM_LEAP_MAX {
        return Err(Malformed("a term that cannot be"));
    }
    let numbers =
        [message.term, message.log_term, message.index, message.commit, message.commit_term, message.reject_hint];
    if numbers.iter().any(|number| *number > NUMBER_MAX) {
        return Err(Malformed("a number that cannot be"));
    }
    if message.request_snapshot != 0 {
        return Err(Malformed("no replica asks for a snapshot"));
    }
    if message.context.len() > CONTEXT_BYTES_MAX || message.entries.len() > ENTRIES_MAX {
        return Err(Malformed("too long"));
    }
    Ok(())
}

/// Contiguous, terms that never fall and never exceed the message's own.
fn check_entries(message: &RaftMessage) -> Result<(), Dropped> {
    // A cell's log starts behind its genesis, which is a snapshot at index 1.
    if message.index == 0 || message.log_term == 0 || message.log_term > message.term {
        return Err(Dropped::Malformed("the entry before has no place, no term, or a later one"));
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        index += 1;
        if entry.index != index || entry.term < term || entry.term == 0 || entry.term > message.term {
            return Err(Dropped::Malformed("entries with a gap, or terms that fall"));
        }
        term = entry.term;
        let well_formed = match entry.kind {
            0 => entry.context.is_empty(),
            2 => entry.data.len() <= CHANGE_BYTES_MAX && entry.context.len() <= CHANGE_BYTES_MAX,
            _ => false,
        };
        if !well_formed {
            return Err(Dropped::Malformed("an entry of unknown form"));
        }
    }
    Ok(())
}

/// What raft demands of a membership, and that the receiver is in it.
pub(super) fn check_meta(meta: &SnapshotMeta, me: u64) -> Result<(), Dropped> {
    let sets = [&meta.voters, &meta.learners, &meta.voters_outgoing, &meta.learners_next];
    let sound = sets.iter().all(|set| {
        let mut ids = (*set).clone();
        ids.sort_unstable();
        ids.dedup();
        ids.len() == set.len() && set.len() <= MEMBERS_MAX && !set.contains(&0)
    });
    let votes = |id: &u64| meta.voters.contains(id) || meta.voters_outgoing.contains(id);
    let disjoint = !meta.learners.iter().any(votes);
    let staged = meta.learners_next.iter().all(|id| meta.voters_outgoing.contains(id) && !meta.voters.contains(id));
    let mine = votes(&me) || meta.learners.contains(&me);
    let placed = meta.index > 0 && meta.term > 0 && meta.index <= NUMBER_MAX && meta.term <= NUMBER_MAX;
    if sound && disjoint && staged && mine && placed && !meta.auto_leave && !meta.voters.is_empty() {
        return Ok(());
    }
    Err(Dropped::Malformed("a snapshot with an impossible membership"))
}

/// Whether a message offers a state of which its receiver is no member: raft takes none such.
pub(super) fn shows_out(message: &RaftMessage) -> bool {
    message.kind == SNAPSHOT
        && message.snapshot.as_ref().is_some_and(|offer| {
            let meta = &offer.meta;
            let sets = [&meta.voters, &meta.learners, &meta.voters_outgoing, &meta.learners_next];
            sets.iter().all(|set| set.len() <= MEMBERS_MAX && !set.contains(&message.to))
        })
}

/// Whether an entry is stamped too far ahead of `wall`. Reads only the stamp, the first field of an encoded entry.
fn ahead(entry: &LogEntry, wall: Timestamp) -> bool {
    if entry.kind != 0 || entry.data.is_empty() {
        return false;
    }
    let mut decoder = Decoder::new(&entry.data);
    let stamp = decoder.array().and_then(|_| decoder.u64()).map_or(0, |stamp| stamp);
    Timestamp(stamp) > wall + STAMP_AHEAD_MAX
}

fn to_raft(kind: MessageType, message: RaftMessage) -> Option<Message> {
    let mut out = Message::default();
    out.set_msg_type(kind);
    out.to = message.to;
    out.from = message.from;
    out.term = message.term;
    out.log_term = message.log_term;
    out.index = message.index;
    out.commit = message.commit;
    out.commit_term = message.commit_term;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint;
    out.priority = message.priority;
    out.context = message.context.0;
    let entries: Option<Vec<_>> = message.entries.into_iter().map(log::from_stored).collect();
    out.set_entries(entries?.into());
    if let Some(offer) = message.snapshot {
        out.mut_snapshot().set_metadata(log::to_raft_meta(&offer.meta));
    }
    Some(out)
}

/// What goes on the wire for raft's message; `offer` says where a snapshot's bytes are. Entries that do not fit in one
/// frame go in several: raft merges what it appends in one step.
pub(super) fn write(message: Message, offer: Option<SnapshotOffer>, bytes_max: u64) -> Vec<RaftMessage> {
    let kind = u8::try_from(message.get_msg_type() as i32).expect("raft numbers its kinds from 0 to 18");
    let mut part = RaftMessage {
        kind,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: Vec::with_capacity(message.entries.len()),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: offer.map(Box::new),
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: Blob(message.context),
    };
    let mut parts = Vec::new();
    let mut bytes = 0;
    for entry in &message.entries {
        let cost = log::size(entry);
        if bytes > 0 && bytes + cost > bytes_max {
            let entries = std::mem::take(&mut part.entries);
            let before = entries.last().expect("bytes are counted per entry");
            let next = RaftMessage { index: before.index, log_term: before.term, ..part.clone() };
            parts.push(RaftMessage { entries, ..std::mem::replace(&mut part, next) });
            bytes = 0;
        }
        bytes += cost;
        part.entries.push(log::to_stored(entry));
    }
    parts.push(part);
    parts
}

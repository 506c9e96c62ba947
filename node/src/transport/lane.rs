//! The send queue of one urgency on one link: bounded in frames and in bytes, emptied in batches.
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bocage_protocol::{codec::Blob, frame::FRAME_BYTES_MAX};
use tokio::sync::Notify;

/// Frames waiting in a lane; a machine that outruns the link so far is told, and the frame is dropped.
const FRAMES_MAX: usize = 2048;

/// Their bytes: a few of the longest frames, a second of a slow link.
const BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// A batch is written at once; it ends after the frame that reaches this.
const BATCH_BYTES: usize = 64 << 10;

/// What became of a frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It waits its turn.
    Queued,
    /// The queue was full: dropped. Told once until the queue has room again.
    Full,
    /// The queue was still full: dropped, as told before.
    StillFull,
    /// There is no link to that peer: dropped.
    NoLink,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Blob>,
    bytes: usize,
    told_full: bool,
}

/// Frames with their lengths, ready for the wire.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: usize,
}

impl Lane {
    /// Puts a frame at the end.
    pub(super) fn push(&self, frame: Blob) -> Sent {
        let mut queue = self.lock();
        if queue.frames.len() >= FRAMES_MAX || queue.bytes + frame.len() > BYTES_MAX {
            let told = std::mem::replace(&mut queue.told_full, true);
            return if told { Sent::StillFull } else { Sent::Full };
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        drop(queue);
        self.filled.notify_one();
        Sent::Queued
    }

    /// Completes when there is something to take. For one task at a time.
    pub(super) async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Completes when there is nothing left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Takes the oldest frames, each after its length; `None` when there are none.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut queue = self.lock();
        let mut batch = Batch { bytes: Vec::new(), frames: 0 };
        while batch.bytes.len() < BATCH_BYTES
            && let Some(frame) = queue.frames.pop_front()
        {
            queue.bytes -= frame.len();
            let len = u32::try_from(frame.len()).expect("a frame that was queued is not longer than the queue");
            batch.bytes.extend_from_slice(&len.to_be_bytes());
            batch.bytes.extend_from_slice(&frame);
            batch.frames += 1;
        }
        if queue.bytes < BYTES_MAX / 2 && queue.frames.len() < FRAMES_MAX / 2 {
            queue.told_full = false;
        }
        if queue.frames.is_empty() {
            self.emptied.notify_waiters();
        }
        (batch.frames > 0).then_some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_says_so_once_and_again_after_it_had_room() {
        let lane = Lane::default();
        let frame = || Blob::from(&b"frame"[..]);
        (0..FRAMES_MAX).for_each(|_| assert_eq!(lane.push(frame()), Sent::Queued));
        assert_eq!(lane.push(frame()), Sent::Full);
        assert_eq!(lane.push(frame()), Sent::StillFull);
        while lane.take().is_some() {}
        assert_eq!(lane.push(frame()), Sent::Queued);
    }

    #[test]
    fn long_frames_fill_a_lane_before_many_do() {
        let lane = Lane::default();
        let frame = || Blob::from(vec![0; FRAME_BYTES_MAX]);
        (0..4).for_each(|_| assert_eq!(lane.push(frame()), Sent::Queued));
        assert_eq!(lane.push(frame()), Sent::Full);
    }

    #[test]
    fn frames_leave_in_order_each_after_its_length() {
        let lane = Lane::default();
        lane.push(Blob::from(&b"ab"[..]));
        lane.push(Blob::from(&b"c"[..]));
        let batch = lane.take().unwrap();
        assert_eq!(batch.bytes, [0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1, b'c']);
        assert_eq!(batch.frames, 2);
        assert!(lane.take().is_none());
    }
}

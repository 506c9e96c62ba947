//! Where everything that happens outside enters the machine: three lanes by urgency, and the disk's own.
//!
//! In a lane every sender has a queue of its own, and they take turns: a peer that sends at line rate waits behind itself,
//! and what another peer says waits for one input of each at most. A sender whose queue is full waits, so a peer that
//! sends too much is not read any further. Frames bring the permits for their memory along and give them back when the
//! machine has taken them in.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bocage_protocol::{frame::Urgency, id::NodeId, io::Input, store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::handle::Stopped;

/// Inputs of one sender waiting in one lane. Their bytes are bounded by the permits that they hold.
pub(crate) const WAITING_MAX: usize = 256;

/// Inputs of this node's own tasks (links, transfers, instances) waiting in one lane.
const OWN_MAX: usize = 1024;

/// The inlet of a driver, for everything that carries out the machine's outputs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inlet {
    lanes: Arc<Lanes>,
    /// Places for this node's own inputs, a lane each.
    own: [Arc<Semaphore>; 3],
    blocks: mpsc::UnboundedSender<store::Input>,
    /// Closed once the driver is gone; dropped with the last inlet.
    alive: mpsc::Sender<()>,
}

/// The driver's end.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) frames: Outlet,
    pub(crate) blocks: mpsc::UnboundedReceiver<store::Input>,
}

/// Where the lanes are emptied.
#[derive(Debug)]
pub(crate) struct Outlet {
    lanes: Arc<Lanes>,
    alive: mpsc::Receiver<()>,
}

/// An input, and the memory and the place that it takes until the machine has taken it in.
#[derive(Debug)]
struct Held {
    input: Input,
    _permits: Vec<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Lanes {
    lanes: [Mutex<Lane>; 3],
    filled: Notify,
}

/// Whose inputs take turns. `None`: this node's own.
type Sender = Option<NodeId>;

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<Sender, VecDeque<Held>>,
    /// Those with something waiting; the next one first.
    turns: VecDeque<Sender>,
}

/// An inlet and the inbox that it leads to.
#[must_use]
pub fn channel() -> (Inlet, Inbox) {
    let lanes = Arc::new(Lanes::default());
    // Bounded by the store: one report for each verb that it asked for.
    let (blocks_in, blocks) = mpsc::unbounded_channel();
    let (alive_in, alive) = mpsc::channel(1);
    let own = std::array::from_fn(|_| Arc::new(Semaphore::new(OWN_MAX)));
    (
        Inlet { lanes: Arc::clone(&lanes), own, blocks: blocks_in, alive: alive_in },
        Inbox { frames: Outlet { lanes, alive }, blocks },
    )
}

impl Inlet {
    /// Hands an input of this node's own over; waits while too many do.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn input(&self, urgency: Urgency, input: Input) -> Result<(), Stopped> {
        let places = Arc::clone(&self.own[number(urgency)]);
        let place = tokio::select! {
            place = places.acquire_owned() => place.map_err(|_| Stopped)?,
            () = self.alive.closed() => return Err(Stopped),
        };
        self.put(urgency, None, input, vec![place])
    }

    /// Hands over what a peer sent, with the permits for its memory and for its place among [`WAITING_MAX`].
    ///
    /// # Errors
    /// When the driver has stopped.
    pub(crate) fn hold(
        &self,
        urgency: Urgency,
        from: NodeId,
        input: Input,
        permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<(), Stopped> {
        self.put(urgency, Some(from), input, permits)
    }

    /// Hands an input over unless too many wait: for what may be lost. Says whether it was.
    #[must_use]
    pub fn try_input(&self, urgency: Urgency, input: Input) -> bool {
        let place = Arc::clone(&self.own[number(urgency)]).try_acquire_owned();
        place.is_ok_and(|place| self.put(urgency, None, input, vec![place]).is_ok())
    }

    fn put(
        &self,
        urgency: Urgency,
        from: Sender,
        input: Input,
        permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<(), Stopped> {
        if self.alive.is_closed() {
            return Err(Stopped);
        }
        self.lanes.of(urgency).put(from, Held { input, _permits: permits });
        self.lanes.filled.notify_one();
        Ok(())
    }

    /// Reports on a block verb. From any thread; never blocks.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub fn block(&self, report: store::Input) -> Result<(), Stopped> {
        self.blocks.send(report).map_err(|_| Stopped)
    }
}

impl Outlet {
    /// The next input of a lane, if one waits.
    pub(crate) fn try_next(&mut self, urgency: Urgency) -> Option<Input> {
        self.lanes.of(urgency).take().map(|held| held.input)
    }

    /// Completes when something may have come into a lane; `false`: nothing ever will, for all inlets are gone.
    pub(crate) async fn filled(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.lanes.filled.notified() => true,
            // Nobody ever sends: it ends when the last inlet is dropped.
            _ = self.alive.recv() => self.lanes.lanes.iter().any(|lane| !lock(lane).turns.is_empty()),
        }
    }
}

impl Lanes {
    fn of(&self, urgency: Urgency) -> MutexGuard<'_, Lane> {
        lock(&self.lanes[number(urgency)])
    }
}

impl Lane {
    fn put(&mut self, from: Sender, held: Held) {
        let queue = self.waiting.entry(from).or_default();
        if queue.is_empty() {
            self.turns.push_back(from);
        }
        queue.push_back(held);
    }

    fn take(&mut self) -> Option<Held> {
        let sender = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&sender)?;
        let held = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&sender);
        } else {
            self.turns.push_back(sender);
        }
        held
    }
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn number(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Control => 0,
        Urgency::Request => 1,
        Urgency::Bulk => 2,
    }
}

#[cfg(test)]
impl Inbox {
    /// The next input of any lane, the most urgent first.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            let next =
                [Urgency::Control, Urgency::Request, Urgency::Bulk].into_iter().find_map(|it| self.frames.try_next(it));
            if let Some(input) = next {
                return input;
            }
            assert!(self.frames.filled().await, "an inlet is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::id::WriteId;

    use super::*;

    fn numbered(n: u64) -> Input {
        Input::Persisted(WriteId(n))
    }

    #[tokio::test]
    async fn a_peer_at_line_rate_waits_behind_itself() {
        let (inlet, mut inbox) = channel();
        let (loud, quiet) = (NodeId([1; 32]), NodeId([2; 32]));
        for n in 0..100 {
            inlet.hold(Urgency::Control, loud, numbered(n), Vec::new()).unwrap();
        }
        inlet.hold(Urgency::Control, quiet, numbered(1_000), Vec::new()).unwrap();
        inlet.input(Urgency::Control, numbered(2_000)).await.unwrap();
        let first: Vec<_> = (0..4).map(|_| inbox.frames.try_next(Urgency::Control).unwrap()).collect();
        assert_eq!(first, [numbered(0), numbered(1_000), numbered(2_000), numbered(1)], "in turns, each in its order");
    }

    #[tokio::test]
    async fn a_place_is_given_back_when_the_machine_has_taken_the_input_in() {
        let (inlet, mut inbox) = channel();
        for n in 0..OWN_MAX as u64 {
            assert!(inlet.try_input(Urgency::Bulk, numbered(n)));
        }
        assert!(!inlet.try_input(Urgency::Bulk, numbered(0)), "it may be lost, so it is");
        assert!(inlet.try_input(Urgency::Request, numbered(0)), "other lanes have places of their own");
        inbox.frames.try_next(Urgency::Bulk).unwrap();
        assert!(inlet.try_input(Urgency::Bulk, numbered(0)));
        assert!(inbox.frames.lanes.of(Urgency::Bulk).waiting.len() == 1);
    }

    #[tokio::test]
    async fn both_ends_notice_when_the_other_is_gone() {
        let (inlet, mut inbox) = channel();
        inlet.input(Urgency::Bulk, numbered(1)).await.unwrap();
        drop(inlet);
        while inbox.frames.try_next(Urgency::Bulk).is_some() {}
        while inbox.frames.filled().await {}
        let (inlet, inbox) = channel();
        drop(inbox);
        assert_eq!(inlet.input(Urgency::Bulk, numbered(1)).await, Err(Stopped));
        assert_eq!(inlet.block(store::Input::Done { op: store::BlockOp(1), bytes: None }), Err(Stopped));
    }
}

//! Where everything that happens outside enters the machine: three lanes by urgency, and the disk's own.
//!
//! A full lane makes its sender wait, so a peer that sends too much is not read any further. Frames bring the permits for
//! their memory along and give them back when the machine has taken them in.
use bocage_protocol::{frame::Urgency, io::Input, store};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::handle::Stopped;

/// Inputs waiting in one lane. Their bytes are bounded by the permits that they hold.
const LANE_MAX: usize = 1024;

/// The inlet of a driver, for everything that carries out the machine's outputs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inlet {
    control: mpsc::Sender<Held>,
    request: mpsc::Sender<Held>,
    bulk: mpsc::Sender<Held>,
    blocks: mpsc::UnboundedSender<store::Input>,
}

/// The driver's end.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) control: mpsc::Receiver<Held>,
    pub(crate) request: mpsc::Receiver<Held>,
    pub(crate) bulk: mpsc::Receiver<Held>,
    pub(crate) blocks: mpsc::UnboundedReceiver<store::Input>,
}

/// An input, and the memory that it may use until the machine has taken it in.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) input: Input,
    _memory: Vec<OwnedSemaphorePermit>,
}

/// An inlet and the inbox that it leads to.
#[must_use]
pub fn channel() -> (Inlet, Inbox) {
    let (control_in, control) = mpsc::channel(LANE_MAX);
    let (request_in, request) = mpsc::channel(LANE_MAX);
    let (bulk_in, bulk) = mpsc::channel(LANE_MAX);
    // Bounded by the store: one report for each verb that it asked for.
    let (blocks_in, blocks) = mpsc::unbounded_channel();
    let inlet = Inlet { control: control_in, request: request_in, bulk: bulk_in, blocks: blocks_in };
    (inlet, Inbox { control, request, bulk, blocks })
}

impl Inlet {
    /// Hands an input over; waits while its lane is full.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn input(&self, urgency: Urgency, input: Input) -> Result<(), Stopped> {
        self.hold(urgency, input, Vec::new()).await
    }

    /// The same for an input whose memory is accounted for.
    pub(crate) async fn hold(
        &self,
        urgency: Urgency,
        input: Input,
        memory: Vec<OwnedSemaphorePermit>,
    ) -> Result<(), Stopped> {
        self.lane(urgency).send(Held { input, _memory: memory }).await.map_err(|_| Stopped)
    }

    /// Hands an input over unless its lane is full: for what may be lost. Says whether it was.
    #[must_use]
    pub fn try_input(&self, urgency: Urgency, input: Input) -> bool {
        self.lane(urgency).try_send(Held { input, _memory: Vec::new() }).is_ok()
    }

    /// Reports on a block verb. From any thread; never blocks.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub fn block(&self, report: store::Input) -> Result<(), Stopped> {
        self.blocks.send(report).map_err(|_| Stopped)
    }

    fn lane(&self, urgency: Urgency) -> &mpsc::Sender<Held> {
        match urgency {
            Urgency::Control => &self.control,
            Urgency::Request => &self.request,
            Urgency::Bulk => &self.bulk,
        }
    }
}

#[cfg(test)]
impl Inbox {
    /// The next input of any lane, the most urgent first.
    pub(crate) async fn next(&mut self) -> Input {
        tokio::select! {
            biased;
            Some(held) = self.control.recv() => held.input,
            Some(held) = self.request.recv() => held.input,
            Some(held) = self.bulk.recv() => held.input,
        }
    }
}

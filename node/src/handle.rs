//! What edges, runtimes and the control API hold of a running node: it asks the machine, tells it what happened, and
//! shows the route table. Everything here is bounded; the machine itself lives in [`crate::driver`].
//!
//! ```text
//!   edge, control, runtime ── NodeHandle ──Input──→ driver ── Node
//!            ▲                                        │
//!            └────── reply, table, notices ───────────┘ DriverEnd
//! ```
//! A test that needs a node can hold the [`DriverEnd`] itself and answer as it likes.
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bocage_protocol::{
    command::{Command, Reply},
    context::Context,
    id::{OpId, RequestId, TenantId, TraceId},
    io::Input,
    notice::Notice,
    record::Keyring,
    refusal::{Code, Refusal},
    route::{RouteDelta, Table},
    time::Timestamp,
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock::Clock;

/// Inputs on their way from handles to the machine. At the bound askers wait until their deadline.
const INPUTS_MAX: usize = 1024;

/// Requests that wait for the machine's reply. At the bound a new one is refused *definite*.
const REQUESTS_MAX: usize = 4096;

/// A tenant's share of [`REQUESTS_MAX`]: one busy tenant leaves room for three more.
const REQUESTS_PER_TENANT_MAX: usize = REQUESTS_MAX / 4;

/// Notices that a slow reader may fall behind; then it loses the oldest.
const NOTICES_MAX: usize = 1024;

/// The machine answers at the latest shortly after the deadline; past this much later we answer for it.
const REPLY_GRACE: Duration = Duration::from_millis(250);

/// No request waits longer, whatever it asks.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// For whom and how long a command is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// After it the answer is worth nothing. At most [`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Whose share of bounded queues it uses.
    pub tenant: Option<TenantId>,
    /// Present on every mutating command: makes a retry harmless.
    pub op: Option<OpId>,
    /// For people.
    pub trace: TraceId,
}

impl Ask {
    /// An ask with nothing but a timeout.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self { timeout, tenant: None, op: None, trace: TraceId::default() }
    }
}

/// The node has stopped: nothing reaches its machine any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node is stopping")]
pub struct Stopped;

/// A running node, as everybody but its driver sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    clock: Clock,
    inputs: mpsc::Sender<Input>,
    waiting: Arc<Waiting>,
    table: watch::Receiver<Arc<Table>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    recertify: watch::Receiver<Option<Timestamp>>,
    notices: broadcast::Sender<Notice>,
    recoveries_refused: Counter,
}

/// The driver's end of all handles: where inputs come out, and replies, routes and notices go in.
#[derive(Debug)]
pub struct DriverEnd {
    /// What handles tell the machine, oldest first.
    pub inputs: mpsc::Receiver<Input>,
    waiting: Arc<Waiting>,
    table: watch::Sender<Arc<Table>>,
    keyring: watch::Sender<Arc<Keyring>>,
    recertify: watch::Sender<Option<Timestamp>>,
    notices: broadcast::Sender<Notice>,
    recoveries_refused: Counter,
}

/// Makes a handle and its driver's end. `clock` is the one that the driver asks.
#[must_use]
pub fn channel(clock: Clock) -> (NodeHandle, DriverEnd) {
    let (input_sender, inputs) = mpsc::channel(INPUTS_MAX);
    let (table_sender, table) = watch::channel(Arc::new(Table::default()));
    let (keyring_sender, keyring) = watch::channel(Arc::default());
    let (recertify_sender, recertify) = watch::channel(None);
    let (notices, _) = broadcast::channel(NOTICES_MAX);
    let waiting = Arc::new(Waiting::new(clock));
    let handle = NodeHandle {
        clock,
        inputs: input_sender,
        waiting: Arc::clone(&waiting),
        table,
        keyring,
        recertify,
        notices: notices.clone(),
        recoveries_refused: Counter::default(),
    };
    let recoveries_refused = handle.recoveries_refused.clone();
    let (table, keyring, recertify) = (table_sender, keyring_sender, recertify_sender);
    (handle, DriverEnd { inputs, waiting, table, keyring, recertify, notices, recoveries_refused })
}

impl NodeHandle {
    /// Asks the machine and waits for its reply, at most shortly beyond `ask.timeout`. Dropping the future forgets the
    /// reply; the command may still take effect.
    ///
    /// # Errors
    /// The machine's refusal; *definite* when a bound here kept the command from it, *indefinite* when it did not answer.
    pub async fn ask(&self, ask: Ask, command: Command) -> Result<Reply, Refusal> {
        let timeout = ask.timeout.min(TIMEOUT_MAX);
        let deadline = self.clock.instant() + timeout;
        let late = tokio::time::sleep(timeout + REPLY_GRACE);
        tokio::pin!(late);

        let mut place = self.waiting.wait(ask.tenant)?;
        let permit = tokio::select! {
            permit = self.inputs.reserve() => permit.map_err(|_| stopped())?,
            () = &mut late => {
                let detail = "this node is too busy to take the request in; nothing was done, try again";
                return Err(Refusal::definite(Code::Timeout, detail));
            }
        };
        let context = Context { op: ask.op, request: place.request, tenant: ask.tenant, trace: ask.trace, deadline };
        permit.send(Input::Command { context, command: Box::new(command) });
        tokio::select! {
            reply = &mut place.reply => reply.unwrap_or_else(|_| {
                Err(Refusal::indefinite(Code::Unreachable, "this node stopped before it answered"))
            }),
            () = &mut late => Err(Refusal::indefinite(Code::Timeout, "no answer before the deadline")),
        }
    }

    /// Tells the machine what happened here: an instance changed, usage was measured. Waits while the queue is full.
    ///
    /// # Errors
    /// When the node has stopped.
    pub async fn input(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// The same from a thread outside of tokio: blocks while the queue is full.
    ///
    /// # Errors
    /// When the node has stopped.
    ///
    /// # Panics
    /// When called from an async task.
    pub fn blocking_input(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.blocking_send(input).map_err(|_| Stopped)
    }

    /// The route table now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// What is known here of keys now.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.borrow())
    }

    /// Wakes when this node's certificate is about to end: when it does.
    #[must_use]
    pub fn recertify(&self) -> watch::Receiver<Option<Timestamp>> {
        self.recertify.clone()
    }

    /// Wakes at each change of the route table.
    #[must_use]
    pub fn table_changed(&self) -> watch::Receiver<Arc<Table>> {
        self.table.clone()
    }

    /// What happens from now on. A reader that falls far behind loses the oldest.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Recoveries that were shown to this node and do not count.
    #[must_use]
    pub fn recoveries_refused(&self) -> &Counter {
        &self.recoveries_refused
    }

    /// The clock that the machine's instants are on.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Completes once the driver is gone.
    pub async fn stopped(&self) {
        self.inputs.closed().await;
    }
}

impl DriverEnd {
    /// Hands a reply to whoever asked; nobody waits any more: forgotten.
    pub fn reply(&self, request: RequestId, result: Result<Reply, Refusal>) {
        self.waiting.answer(request, result);
    }

    /// Changes the route table that edges read.
    pub fn serve(&self, delta: RouteDelta) {
        self.table.send_modify(|table| Arc::make_mut(table).change(delta));
    }

    /// What is known of keys changed.
    pub fn keys(&self, keyring: Arc<Keyring>) {
        self.keyring.send_replace(keyring);
    }

    /// This node's certificate ends.
    pub fn recertify(&self, expires: Timestamp) {
        self.recertify.send_replace(Some(expires));
    }

    /// Tells everybody who listens.
    pub fn notice(&self, notice: Notice) {
        if matches!(notice, Notice::RecoveryRefused { .. }) {
            self.recoveries_refused.inc();
        }
        // An error says that nobody listens: a notice carries no obligation.
        let _ = self.notices.send(notice);
    }
}

impl Drop for DriverEnd {
    fn drop(&mut self) {
        self.waiting.stop();
    }
}

type ReplySender = oneshot::Sender<Result<Reply, Refusal>>;

/// The requests that wait for a reply.
#[derive(Debug)]
struct Waiting {
    next: AtomicU64,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    stopped: bool,
    replies: BTreeMap<RequestId, (Option<TenantId>, ReplySender)>,
    of_tenant: BTreeMap<TenantId, usize>,
}

/// A request's place among those that wait. Given up when dropped.
struct Place {
    request: RequestId,
    reply: oneshot::Receiver<Result<Reply, Refusal>>,
    waiting: Arc<Waiting>,
}

impl Waiting {
    fn new(clock: Clock) -> Self {
        // Not from 1: an answer that a peer sends to a request from before a restart must not fit a new one.
        Self { next: AtomicU64::new(clock.now().wall.0 << 20), requests: Mutex::default() }
    }

    fn wait(self: &Arc<Self>, tenant: Option<TenantId>) -> Result<Place, Refusal> {
        let mut requests = self.lock();
        if requests.stopped {
            return Err(stopped());
        }
        let full = |detail| Err(Refusal::definite(Code::Full, detail));
        if requests.replies.len() >= REQUESTS_MAX {
            return full("this node answers too many requests at once; nothing was done, try again");
        }
        if let Some(tenant) = tenant {
            let share = requests.of_tenant.entry(tenant).or_default();
            if *share >= REQUESTS_PER_TENANT_MAX {
                return full("this tenant has too many requests at this node at once; nothing was done, try again");
            }
            *share += 1;
        }
        let request = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, reply) = oneshot::channel();
        requests.replies.insert(request, (tenant, sender));
        Ok(Place { request, reply, waiting: Arc::clone(self) })
    }

    fn answer(&self, request: RequestId, result: Result<Reply, Refusal>) {
        let sender = self.lock().take(request);
        if let Some(sender) = sender {
            // An error says that the asker has just gone.
            let _ = sender.send(result);
        }
    }

    fn stop(&self) {
        *self.lock() = Requests { stopped: true, ..Requests::default() };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn take(&mut self, request: RequestId) -> Option<ReplySender> {
        let (tenant, sender) = self.replies.remove(&request)?;
        if let Some(tenant) = tenant
            && let Some(share) = self.of_tenant.get_mut(&tenant)
        {
            *share -= 1;
            if *share == 0 {
                self.of_tenant.remove(&tenant);
            }
        }
        Some(sender)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().take(self.request);
    }
}

fn stopped() -> Refusal {
    Refusal::definite(Code::Unreachable, "this node is stopping; nothing was done, ask another")
}

#[cfg(test)]
mod tests {
    use bocage_protocol::{id::CellId, refusal::Certainty, route::AppRoute};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn request_of(input: &Input) -> RequestId {
        match input {
            Input::Command { context, .. } => context.request,
            other => panic!("a command was asked, not {other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_goes_to_the_one_who_asked() {
        let (handle, mut driver) = channel(Clock::start());
        let asker = handle.clone();
        let one = tokio::spawn(async move { asker.ask(Ask::within(TIMEOUT_MAX), Command::Status).await });
        let first = request_of(&driver.inputs.recv().await.unwrap());
        let two = tokio::spawn(async move { handle.ask(Ask::within(TIMEOUT_MAX), Command::Cells).await });
        let second = request_of(&driver.inputs.recv().await.unwrap());
        driver.reply(second, Ok(Reply::Done));
        driver.reply(first, Err(Refusal::definite(Code::NotFound, "no")));
        assert_eq!(two.await.unwrap(), Ok(Reply::Done));
        assert_eq!(one.await.unwrap().unwrap_err().code, Code::NotFound);
    }

    #[tokio::test]
    async fn a_machine_that_never_answers_leaves_the_outcome_open() {
        let (handle, driver) = channel(Clock::start());
        let refusal = handle.ask(Ask::within(SOON), Command::Status).await.unwrap_err();
        assert_eq!((refusal.code, refusal.certainty), (Code::Timeout, Certainty::Indefinite));
        assert!(driver.waiting.lock().replies.is_empty(), "its place is free again");
    }

    #[tokio::test]
    async fn a_command_that_never_entered_the_machine_certainly_did_nothing() {
        let (handle, driver) = channel(Clock::start());
        for _ in 0..INPUTS_MAX {
            handle.inputs.try_send(Input::Persisted(bocage_protocol::id::WriteId(1))).unwrap();
        }
        let refusal = handle.ask(Ask::within(SOON), Command::Status).await.unwrap_err();
        assert_eq!((refusal.code, refusal.certainty), (Code::Timeout, Certainty::Definite));
        drop(driver);
    }

    #[tokio::test]
    async fn a_busy_tenant_leaves_room_for_others() {
        let (handle, _driver) = channel(Clock::start());
        let busy = Some(TenantId::of(b"busy"));
        let held: Vec<_> =
            (0..REQUESTS_PER_TENANT_MAX).map(|_| handle.waiting.wait(busy).expect("within the share")).collect();
        assert_eq!(handle.waiting.wait(busy).err().unwrap().code, Code::Full);
        assert!(handle.waiting.wait(Some(TenantId::of(b"quiet"))).is_ok());
        drop(held);
        assert!(handle.waiting.wait(busy).is_ok(), "the share is free again");
    }

    #[tokio::test]
    async fn a_node_that_stops_answers_those_who_wait_and_takes_nobody_in() {
        let (handle, mut driver) = channel(Clock::start());
        let asker = handle.clone();
        let waits = tokio::spawn(async move { asker.ask(Ask::within(TIMEOUT_MAX), Command::Status).await });
        driver.inputs.recv().await.unwrap();
        drop(driver);
        assert_eq!(waits.await.unwrap().unwrap_err().certainty, Certainty::Indefinite);
        let refusal = handle.ask(Ask::within(TIMEOUT_MAX), Command::Status).await.unwrap_err();
        assert_eq!(refusal.certainty, Certainty::Definite);
        assert_eq!(handle.input(Input::Persisted(bocage_protocol::id::WriteId(1))).await, Err(Stopped));
    }

    #[tokio::test]
    async fn edges_see_a_changed_table() {
        let (handle, driver) = channel(Clock::start());
        let mut changed = handle.table_changed();
        let cell = CellId::of(b"cell");
        let route = AppRoute {
            cell,
            tenant: TenantId::of(b"tenant"),
            app: "shop".into(),
            hosts: vec!["shop.example.org".into()],
            targets: vec![],
        };
        driver.serve(RouteDelta::Put(route));
        changed.changed().await.unwrap();
        assert_eq!(handle.table().route("shop.example.org").map(|route| route.cell), Some(cell));
        driver.serve(RouteDelta::Remove(cell));
        assert!(handle.table().route("shop.example.org").is_none());
    }
}

//! Two nodes on loopback with content stores in memory.
use bocage_protocol::{
    identity::Keypair,
    io::{LinkChange, Path},
};

use super::*;
use crate::{
    inbox::{self, Inbox},
    transport::{Config, Metrics},
};

const PATIENT: Duration = Duration::from_secs(30);

/// Keeps what the hash names, and may be told to hand out other bytes.
#[derive(Default)]
struct Memory {
    kept: Mutex<BTreeMap<ContentHash, Vec<u8>>>,
}

impl ContentStore for Memory {
    fn open(&self, content: ContentHash) -> io::Result<Option<(u64, Box<dyn Read + Send>)>> {
        let kept = self.kept.lock().unwrap().get(&content).cloned();
        Ok(kept.map(|bytes| (bytes.len() as u64, Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>)))
    }

    fn put(&self, content: ContentHash, bytes: &mut dyn Read) -> Result<(), PutError> {
        let mut whole = Vec::new();
        bytes.read_to_end(&mut whole).map_err(PutError::Read)?;
        if ContentHash::of(&whole) != content {
            return Err(PutError::OtherBytes);
        }
        self.kept.lock().unwrap().insert(content, whole);
        Ok(())
    }

    fn remove(&self, content: ContentHash) -> io::Result<()> {
        self.kept.lock().unwrap().remove(&content);
        Ok(())
    }
}

struct Side {
    mesh: Mesh,
    inbox: Inbox,
    store: Arc<Memory>,
    transfers: Transfers,
    /// Of a node that serves nothing: its incoming streams wait here for ever.
    silent: Option<mpsc::Receiver<Incoming>>,
}

impl Side {
    fn start(seed: u8, listen: &[&str], serves: bool) -> Self {
        let (inlet, inbox) = inbox::channel();
        let config = Config { listen: listen.iter().map(ToString::to_string).collect(), ..Config::default() };
        let keys = Keypair::from_secret(&[seed; 32]);
        let mesh = Mesh::start(&config, &keys, inlet.clone(), Metrics::default()).unwrap();
        let store = Arc::new(Memory::default());
        let silent = if serves { None } else { mesh.incoming(Purpose::Content) };
        let transfers = Transfers::start(mesh.clone(), Arc::clone(&store) as Arc<dyn ContentStore>, inlet);
        Self { mesh, inbox, store, transfers, silent }
    }

    async fn until<T>(&mut self, wanted: impl Fn(Input) -> Option<T>) -> T {
        loop {
            let input = timeout(PATIENT, self.inbox.next()).await.expect("something happens in time");
            if let Some(found) = wanted(input) {
                return found;
            }
        }
    }

    async fn fetch(&mut self, from: NodeId, what: Content) -> Fetched {
        self.transfers.transfer(TransferId(1), from, what);
        self.until(|input| match input {
            Input::Transferred { id: TransferId(1), result } => Some(result),
            _ => None,
        })
        .await
    }
}

/// One that fetches from another over QUIC.
async fn pair() -> (Side, Side) {
    pair_that(true).await
}

async fn pair_that(serves: bool) -> (Side, Side) {
    let (mut one, mut two) = (Side::start(1, &[], true), Side::start(2, &["/ip4/127.0.0.1/udp/0/quic-v1"], serves));
    let address = two.until(|input| match input {
        Input::Link { change: LinkChange::Listening { address }, .. } => Some(address),
        _ => None,
    });
    let address = address.await;
    one.mesh.dial(two.mesh.node(), &Path::Direct(vec![address])).unwrap();
    let up = |input| matches!(input, Input::Link { change: LinkChange::Up { .. }, .. }).then_some(());
    tokio::join!(one.until(up), two.until(up));
    (one, two)
}

fn component(bytes: &[u8]) -> Content {
    Content { hash: ContentHash::of(bytes), size_bytes_max: 10 << 20, kind: ContentKind::Component }
}

fn snapshot(bytes: &[u8]) -> Content {
    Content { kind: ContentKind::Snapshot, ..component(bytes) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_fetched_and_kept() {
    let (mut one, two) = pair().await;
    let bytes = vec![5; 3_000_001];
    let what = component(&bytes);
    two.store.put(what.hash, &mut bytes.as_slice()).unwrap();
    assert_eq!(one.fetch(two.mesh.node(), what).await, Ok(None));
    assert_eq!(one.store.kept.lock().unwrap().get(&what.hash), Some(&bytes));
    assert_eq!(one.fetch(one.mesh.node(), what).await, Ok(None), "from itself: it is here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_just_provided_is_handed_over() {
    let (mut one, mut two) = pair().await;
    let bytes = b"the state of a cell";
    two.transfers.provide(ContentHash::of(bytes), Blob::from(&bytes[..]));
    assert_eq!(one.fetch(two.mesh.node(), snapshot(bytes)).await, Ok(Some(Blob::from(&bytes[..]))));
    two.transfers.withdraw(ContentHash::of(bytes));
    let this = two.mesh.node();
    while two.fetch(this, snapshot(bytes)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_too_long_or_not_linked_is_said_so() {
    let (mut one, two) = pair().await;
    let bytes = vec![1; 100_000];
    let what = component(&bytes);
    assert_eq!(one.fetch(two.mesh.node(), what).await, Err(TransferFault::NotThere));
    assert_eq!(one.fetch(one.mesh.node(), what).await, Err(TransferFault::NotThere));
    two.store.put(what.hash, &mut bytes.as_slice()).unwrap();
    let narrow = Content { size_bytes_max: 99_999, ..what };
    assert_eq!(one.fetch(two.mesh.node(), narrow).await, Err(TransferFault::TooLong));
    let stranger = Keypair::from_secret(&[9; 32]).node();
    assert!(matches!(one.fetch(stranger, what).await, Err(TransferFault::Broken(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_than_the_hash_says_are_not_kept() {
    let (mut one, two) = pair().await;
    let what = component(b"what was asked for");
    two.store.kept.lock().unwrap().insert(what.hash, b"what a liar sends".to_vec());
    assert_eq!(one.fetch(two.mesh.node(), what).await, Err(TransferFault::NotThere));
    assert!(one.store.kept.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_breaks_ends_the_transfer() {
    let (mut one, mut two) = pair_that(false).await;
    one.transfers.transfer(TransferId(1), two.mesh.node(), component(b"never comes"));
    let mut silent = two.silent.take().unwrap();
    let _stream = timeout(PATIENT, silent.recv()).await.unwrap().expect("it was asked");
    two.mesh.hangup(one.mesh.node());
    let result = one.until(|input| match input {
        Input::Transferred { result, .. } => Some(result),
        _ => None,
    });
    assert!(matches!(result.await, Err(TransferFault::Broken(_))));
}

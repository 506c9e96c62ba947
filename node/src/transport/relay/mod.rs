//! This node as a relay: it carries bytes between two links of its own for members that cannot dial each other, as libp2p's
//! circuit relay v2 asks, and reads nothing of them: the two ends encrypt and authenticate what goes through.
//!
//! libp2p's own relay cannot bound bytes per second nor count them (it cuts a circuit after so many bytes or minutes, which
//! would take raft's links down), so the relay's side is ours and the client's side is libp2p's. Who may have a circuit:
//! who has a link and has introduced itself.
mod messages;
mod pace;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bocage_protocol::id::NodeId;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::time::{sleep, timeout};

use super::{
    Shared,
    link::Link,
    peer::{node_of, peer_of},
    streams::Kind,
};
use messages::{Hop, HopType, Peer, Reservation, Status, Stop, StopType};
use pace::Pace;

/// Peers that this node relays for; one more is refused.
const RESERVATIONS_MAX: usize = 128;

/// Circuits to or from one peer; one more is refused.
const CIRCUITS_PER_PEER_MAX: usize = 32;

/// Circuits in all, of some 40 KiB each; one more is refused.
const CIRCUITS_MAX: usize = 512;

/// Bytes of a circuit that are held at a time, each way.
const CHUNK_BYTES: usize = 16 << 10;

/// A reservation holds so long unless it is renewed; libp2p's client renews at three quarters.
const RESERVED_FOR: Duration = Duration::from_hours(1);

/// Whoever asks is answered within this, and a peer must answer within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A link that has just come up gets so long to introduce itself before what it asks for is refused.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(3);

/// How this node relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes that all circuits together carry in a second, both ways counted.
    pub bytes_per_second_max: u64,
    /// Bytes that the circuits of one peer carry in a second, both ways counted.
    pub peer_bytes_per_second_max: u64,
}

#[derive(Debug)]
pub(super) struct Relay {
    config: Config,
    pace: Arc<Pace>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    reserved: BTreeMap<NodeId, Instant>,
    ends: BTreeMap<NodeId, End>,
    circuits: usize,
}

/// What one peer's circuits share.
#[derive(Debug)]
struct End {
    circuits: usize,
    pace: Arc<Pace>,
}

/// Two peers' shares of circuits, given back with this.
#[derive(Debug)]
struct Circuit {
    relay: Arc<Relay>,
    ends: [NodeId; 2],
    paces: [Arc<Pace>; 3],
}

impl Relay {
    pub(super) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self { config, pace: Arc::new(Pace::new(config.bytes_per_second_max)), book: Mutex::default() })
    }

    /// The link to a peer is gone: it has no reservation any more.
    pub(super) fn forget(&self, peer: NodeId) {
        self.book().reserved.remove(&peer);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, peer: NodeId) -> Result<(), Status> {
        let mut book = self.book();
        let now = Instant::now();
        book.reserved.retain(|_, until| now < *until);
        if book.reserved.len() >= RESERVATIONS_MAX && !book.reserved.contains_key(&peer) {
            return Err(Status::ReservationRefused);
        }
        book.reserved.insert(peer, now + RESERVED_FOR);
        Ok(())
    }

    /// A share of circuits for both ends.
    fn circuit(self: &Arc<Self>, from: NodeId, to: NodeId) -> Result<Circuit, Status> {
        let mut book = self.book();
        if book.reserved.get(&to).is_none_or(|until| *until <= Instant::now()) {
            return Err(Status::NoReservation);
        }
        let of = |book: &Book, node| book.ends.get(&node).map_or(0, |end: &End| end.circuits);
        if book.circuits >= CIRCUITS_MAX || [from, to].iter().any(|end| of(&book, *end) >= CIRCUITS_PER_PEER_MAX) {
            return Err(Status::ResourceLimitExceeded);
        }
        book.circuits += 1;
        let [of_from, of_to] = [from, to].map(|node| {
            let end = book.ends.entry(node).or_insert_with(|| End {
                circuits: 0,
                pace: Arc::new(Pace::new(self.config.peer_bytes_per_second_max)),
            });
            end.circuits += 1;
            Arc::clone(&end.pace)
        });
        let paces = [Arc::clone(&self.pace), of_from, of_to];
        Ok(Circuit { relay: Arc::clone(self), ends: [from, to], paces })
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let mut book = self.relay.book();
        book.circuits -= 1;
        for node in self.ends {
            if let Some(end) = book.ends.get_mut(&node) {
                end.circuits -= 1;
                if end.circuits == 0 {
                    book.ends.remove(&node);
                }
            }
        }
    }
}

/// Answers what a peer asks of this relay, and carries its circuit until either end closes it.
pub(super) async fn serve(relay: Arc<Relay>, shared: Arc<Shared>, link: Arc<Link>, mut stream: Stream) {
    let asked = timeout(ANSWER_WITHIN, messages::read::<Hop>(&mut stream)).await;
    let Ok(Ok(hop)) = asked else { return };
    let refused = if is_introduced(&link).await {
        match HopType::try_from(hop.kind) {
            Ok(HopType::Reserve) => match reserve(&relay, &shared, &link, &mut stream).await {
                Ok(()) => return,
                Err(status) => status,
            },
            Ok(HopType::Connect) => match connect(&relay, &shared, &link, hop.peer).await {
                Ok((circuit, there)) => return carry_both(circuit, &shared, stream, there).await,
                Err(status) => status,
            },
            Ok(HopType::Status) | Err(_) => Status::UnexpectedMessage,
        }
    } else {
        Status::PermissionDenied
    };
    tracing::debug!(peer = ?link.peer, ?refused, "a peer's request to this relay was refused");
    // Best effort: it asks again.
    let _ = timeout(ANSWER_WITHIN, messages::write(&mut stream, &Hop::answer(refused))).await;
}

async fn is_introduced(link: &Link) -> bool {
    let waited = async {
        while !link.is_introduced() {
            sleep(Duration::from_millis(25)).await;
        }
    };
    timeout(INTRODUCED_WITHIN, waited).await.is_ok()
}

async fn reserve(relay: &Relay, shared: &Shared, link: &Link, stream: &mut Stream) -> Result<(), Status> {
    relay.reserve(link.peer)?;
    let expire = SystemTime::now() + RESERVED_FOR;
    // libp2p's client wants at least one; ours announces the addresses of this node that it knows itself.
    let addresses: Vec<Vec<u8>> =
        shared.listening().iter().filter_map(|text| Some(text.parse::<Multiaddr>().ok()?.to_vec())).take(4).collect();
    let reservation =
        Reservation { expire: expire.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()), addresses };
    let answer = Hop { reservation: Some(reservation), ..Hop::answer(Status::Ok) };
    let written = timeout(ANSWER_WITHIN, messages::write(stream, &answer)).await;
    if !matches!(written, Ok(Ok(()))) {
        relay.forget(link.peer);
    }
    Ok(())
}

/// Opens the far half of a circuit.
async fn connect(
    relay: &Arc<Relay>,
    shared: &Shared,
    from: &Link,
    to: Option<Peer>,
) -> Result<(Circuit, (Arc<Link>, Stream)), Status> {
    let peer = to.ok_or(Status::MalformedMessage)?;
    let to = PeerId::from_bytes(&peer.id).ok().and_then(|peer| node_of(&peer)).ok_or(Status::MalformedMessage)?;
    let circuit = relay.circuit(from.peer, to)?;
    let link = shared.links.of(to).ok_or(Status::NoReservation)?;
    let stop = Stop {
        kind: StopType::Connect.into(),
        peer: Some(Peer { id: peer_of(from.peer).ok_or(Status::MalformedMessage)?.to_bytes(), addresses: Vec::new() }),
        status: None,
    };
    let ask = async {
        let mut stream = link.primary().open(Kind::Stop).await?;
        messages::write(&mut stream, &stop).await?;
        let answer: Stop = messages::read(&mut stream).await?;
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "it wants no circuit");
        if answer.status == Some(Status::Ok.into()) { Ok(stream) } else { Err(refused()) }
    };
    match timeout(ANSWER_WITHIN, ask).await {
        Ok(Ok(stream)) => Ok((circuit, (link, stream))),
        Ok(Err(_)) | Err(_) => Err(Status::ConnectionFailed),
    }
}

async fn carry_both(circuit: Circuit, shared: &Shared, mut here: Stream, (link, there): (Arc<Link>, Stream)) {
    if messages::write(&mut here, &Hop::answer(Status::Ok)).await.is_err() {
        return;
    }
    let _open = shared.metrics.circuit();
    let (from_here, to_here) = here.split();
    let (from_there, to_there) = there.split();
    let carried = async {
        // Each way ends by itself: one end may close its half first.
        tokio::join!(carry(&circuit, shared, from_here, to_there), carry(&circuit, shared, from_there, to_here))
    };
    link.closed.run_until_cancelled(carried).await;
}

/// Carries one way until it ends, no faster than all of its paces allow.
async fn carry(circuit: &Circuit, shared: &Shared, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        shared.metrics.relayed(read);
        let wait = circuit.paces.iter().map(|pace| pace.charge(read)).max().unwrap_or_default();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if to.write_all(&chunk[..read]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    // An error says that it is closed already.
    let _ = to.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Arc<Relay> {
        Relay::new(Config { bytes_per_second_max: 1 << 20, peer_bytes_per_second_max: 1 << 18 })
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn circuits_lead_only_to_who_reserved_and_each_end_has_a_bounded_share() {
        let relay = relay();
        assert_eq!(relay.circuit(node(1), node(2)).unwrap_err(), Status::NoReservation);
        relay.reserve(node(2)).unwrap();
        let held: Vec<_> = (0..CIRCUITS_PER_PEER_MAX).map(|_| relay.circuit(node(1), node(2)).unwrap()).collect();
        assert_eq!(relay.circuit(node(1), node(2)).unwrap_err(), Status::ResourceLimitExceeded);
        drop(held);
        assert!(relay.circuit(node(1), node(2)).is_ok(), "a share that was given back can be had again");
        assert!(relay.book().ends.is_empty());
        relay.forget(node(2));
        assert_eq!(relay.circuit(node(1), node(2)).unwrap_err(), Status::NoReservation);
    }

    #[test]
    fn a_relay_relays_for_a_bounded_number_of_peers_and_renews_for_those_it_has() {
        let relay = relay();
        for number in 0..RESERVATIONS_MAX {
            relay.reserve(node(u8::try_from(number).unwrap())).unwrap();
        }
        assert_eq!(relay.reserve(node(255)), Err(Status::ReservationRefused));
        assert_eq!(relay.reserve(node(0)), Ok(()));
    }
}

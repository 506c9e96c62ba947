//! Whether a peer is still there. An idle link costs nothing here; a link gets a pulse of 250 ms
//!
//! - while somebody holds a [`WatchGuard`] on the peer (the edge does, for requests in flight), and
//! - when something was sent that wants an answer and nothing at all came back for 300 ms.
//!
//! After three pulses in a row in which the peer said nothing, its link is given up: a killed process is noticed within a
//! second, without waiting for QUIC's idle timeout. Whatever the peer sends counts, so that a busy link is never given up
//! for a late answer.
use std::{sync::Arc, time::Duration};

use bocage_protocol::id::NodeId;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Shared, link::Link, streams::Kind};

/// Between two pulses.
const PULSE: Duration = Duration::from_millis(250);

/// Pulses in which nothing came back before the link is given up; more when its round trip is longer than two of them.
const UNANSWERED_MAX: u32 = 3;

/// How long an expected answer may take before it is worth a pulse.
const PATIENCE: Duration = Duration::from_millis(300);

/// The eight bytes of a pulse: what comes back must be these.
const BEAT: [u8; 8] = *b"bocage?\n";

/// A peer's stream of pulses that says nothing for so long is closed.
const ECHO_IDLE: Duration = Duration::from_mins(1);

/// While one of these is alive, the peer is pinged every 250 ms, and its link is reported down within a second after it
/// fell silent. Survives a new link to the same peer.
#[derive(Debug)]
pub struct WatchGuard {
    peer: NodeId,
    shared: Arc<Shared>,
}

impl WatchGuard {
    pub(super) fn new(peer: NodeId, shared: Arc<Shared>) -> Self {
        shared.links.watch(peer);
        Self { peer, shared }
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.shared.links.unwatch(self.peer);
    }
}

/// Feels for the pulse of one peer until the link is down. Returns when the peer is silent.
pub(super) async fn feel(link: Arc<Link>, shared: Arc<Shared>) {
    let mut stream = None;
    loop {
        let mut heard = link.heard();
        if !shared.links.is_watched(link.peer) {
            link.wanted.notified().await;
            heard = link.heard();
            if !shared.links.is_watched(link.peer) {
                tokio::select! {
                    () = sleep(PATIENCE) => {}
                    () = link.wanted.notified() => {}
                }
            }
        }
        if link.heard() != heard {
            link.expect_nothing();
        }
        if beat_while_wanted(&link, &shared, &mut stream).await == Pulse::Silent {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    /// Nobody wants to know any more.
    Unwanted,
    Silent,
}

async fn beat_while_wanted(link: &Link, shared: &Shared, stream: &mut Option<Stream>) -> Pulse {
    let mut ticks = interval(PULSE);
    // After a stall of our own the pulses missed are not made up for: the peer is not to blame.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    while shared.links.is_watched(link.peer) || link.is_expecting() {
        ticks.tick().await;
        let heard = link.heard();
        // The answer may come later than this pulse ends: then it counts for the next.
        if let Ok(Err(())) = timeout(PULSE, beat(link, stream)).await {
            *stream = None;
        }
        if link.heard() != heard {
            unanswered = 0;
            link.expect_nothing();
            continue;
        }
        unanswered += 1;
        if unanswered >= unanswered_max(link.round_trip()) {
            return Pulse::Silent;
        }
    }
    Pulse::Unwanted
}

/// So many pulses without an answer are silence, on a link of this round trip.
fn unanswered_max(round_trip: Option<Duration>) -> u32 {
    let pulses = round_trip.unwrap_or_default().as_millis() * 3 / (PULSE.as_millis() * 2);
    UNANSWERED_MAX.max(u32::try_from(pulses).unwrap_or(u32::MAX).saturating_add(1))
}

/// One pulse: eight bytes there, and whatever comes back within it.
async fn beat(link: &Link, stream: &mut Option<Stream>) -> Result<(), ()> {
    if stream.is_none() {
        *stream = Some(link.primary().open(Kind::Pulse).await.map_err(drop)?);
    }
    let stream = stream.as_mut().expect("opened above");
    stream.write_all(&BEAT).await.map_err(drop)?;
    stream.flush().await.map_err(drop)?;
    let mut back = [0; BEAT.len()];
    // Late answers to earlier pulses are answers too, and no bytes of one are lost when we stop waiting: a partial read
    // of eight bytes that were sent as one does not happen on QUIC or yamux, and would only shift equal bytes.
    stream.read_exact(&mut back).await.map_err(drop)?;
    link.hear();
    Ok(())
}

/// Answers a peer's pulses.
pub(super) async fn echo(mut stream: Stream) {
    let mut beat = [0; BEAT.len()];
    while let Ok(Ok(())) = timeout(ECHO_IDLE, stream.read_exact(&mut beat)).await {
        if stream.write_all(&beat).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_link_gets_more_time_to_answer() {
        assert_eq!(unanswered_max(None), 3);
        assert_eq!(unanswered_max(Some(Duration::from_millis(1))), 3);
        assert_eq!(unanswered_max(Some(Duration::from_millis(470))), 3);
        assert_eq!(unanswered_max(Some(Duration::from_secs(1))), 7);
    }
}

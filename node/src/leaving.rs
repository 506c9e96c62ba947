//! How a node's requests end when its process does: clients are asked to come back on another connection, then nothing new is
//! begun, then what was begun is waited for.
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Every answer says that its connection closes.
    Parting,
    /// Connections end after what they carry; nothing from other edges is begun.
    Closing,
}

/// What whoever serves requests holds.
#[derive(Clone, Debug)]
pub struct Leaving {
    phase: watch::Receiver<Phase>,
    /// Connections and exchanges under way. Whoever stops spawning here is waited for.
    pub under_way: TaskTracker,
}

/// What the daemon holds.
#[derive(Debug)]
pub struct Leave {
    phase: watch::Sender<Phase>,
    under_way: TaskTracker,
}

/// A process that serves, and the word that ends it.
#[must_use]
pub fn begin() -> (Leave, Leaving) {
    let (sender, phase) = watch::channel(Phase::Open);
    let under_way = TaskTracker::new();
    (Leave { phase: sender, under_way: under_way.clone() }, Leaving { phase, under_way })
}

impl Leaving {
    /// Whether answers should say that their connection closes.
    #[must_use]
    pub fn is_parting(&self) -> bool {
        *self.phase.borrow() >= Phase::Parting
    }

    /// Whether nothing new is begun.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        *self.phase.borrow() >= Phase::Closing
    }

    /// Waits until clients are asked to go.
    pub async fn parting(&mut self) {
        self.reach(Phase::Parting).await;
    }

    /// Waits until nothing new is begun.
    pub async fn closing(&mut self) {
        self.reach(Phase::Closing).await;
    }

    async fn reach(&mut self, phase: Phase) {
        if self.phase.wait_for(|now| *now >= phase).await.is_err() {
            // Nobody can say it any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Leave {
    /// Whether no connection or exchange is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Asks clients to go.
    pub fn part(&self) {
        self.phase.send_replace(Phase::Parting);
    }

    /// Begins nothing new, and waits at most so long for what was begun; whether all of it ended.
    pub async fn close(&self, at_most: Duration) -> bool {
        self.phase.send_replace(Phase::Closing);
        self.under_way.close();
        tokio::time::timeout(at_most, self.under_way.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_waited_for_and_no_longer_than_said() {
        let (leave, mut leaving) = begin();
        assert!(leave.is_idle() && !leaving.is_parting());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        leaving.under_way.spawn(ended);
        leave.part();
        leaving.parting().await;
        assert!(leaving.is_parting() && !leaving.is_closing());
        assert!(!leave.close(Duration::from_millis(20)).await, "it is still under way");
        leaving.closing().await;
        end.send(()).unwrap();
        assert!(leave.close(Duration::from_secs(5)).await);
    }
}

//! Bugs planted on purpose. Each breaks one promise of the protocol, so that whoever checks the promises can show that he
//! would notice. They are compiled in by the cargo feature `planted` only: without it every question here is a constant no.
//!
//! Whoever drives machines chooses one at run time, for all machines of his thread.
use serde::{Deserialize, Serialize};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planted {
    /// The store calls a write durable that it has not synced.
    SkippedSync,
    /// A replica sends what rests on a write before the write is durable.
    HastyAnswer,
    /// A replica votes for whoever asks, however often in one term, and whoever leads.
    DoubleVote,
    /// Any replica answers reads from what it happens to have applied.
    StaleRead,
    /// A cell takes writes from whoever signs them.
    UnsignedCommand,
    /// A cell takes writes under leases that ended.
    ForgottenFence,
    /// A replica applies entries by its own clock.
    ClockAtApply,
    /// A cell applies a retry once more.
    LostSession,
    /// One operator's word is enough to call a node down.
    OneVoice,
    /// Of two contradicting statements a node keeps one, and says nothing.
    ForgottenProof,
    /// Neighbours never compare what they hold.
    NoRepair,
    /// A replica goes on though it is shown that its line has ended.
    UnfencedLine,
    /// Two versions of what one writer added are added up.
    SummedCounter,
}

#[cfg(any(test, feature = "planted"))]
mod chosen {
    use std::{cell::Cell, marker::PhantomData};

    use super::Planted;

    thread_local! {
        static CHOSEN: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// While it lives, the machines of this thread have the bug.
    #[must_use = "the bug ends with it"]
    #[derive(Debug)]
    pub struct Chosen {
        before: Option<Planted>,
        /// Not for another thread.
        here: PhantomData<*const ()>,
    }

    impl Chosen {
        /// `None`: no bug.
        pub fn new(bug: Option<Planted>) -> Self {
            Self { before: CHOSEN.replace(bug), here: PhantomData }
        }
    }

    impl Drop for Chosen {
        fn drop(&mut self) {
            CHOSEN.set(self.before);
        }
    }

    pub(crate) fn has(bug: Planted) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(any(test, feature = "planted"))]
pub use chosen::Chosen;
#[cfg(any(test, feature = "planted"))]
pub(crate) use chosen::has;

/// Whether machines have this bug.
#[cfg(not(any(test, feature = "planted")))]
pub(crate) const fn has(_: Planted) -> bool {
    false
}

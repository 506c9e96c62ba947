//! What reach keeps of one peer: how far it has come with it, who wants it, what waits for it, and how it is reached.
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{io::Wanter, vigil::Vigil};
use crate::{
    frame::Frame,
    id::{DiskId, OperatorId},
    identity::{NodeCertificate, PublicKey},
    io::{Over, PathKind},
    time::Instant,
    wire::WIRE_HELLO,
};

/// A relayed link is tried directly for the first time after so long: the peer's other addresses may work from here.
const DIRECT_FIRST: Duration = Duration::from_secs(1);
/// Then again after this, doubled up to [`DIRECT_MAX`].
const DIRECT_AGAIN: Duration = Duration::from_secs(15);
/// A relayed link is tried directly at least so often.
const DIRECT_MAX: Duration = Duration::from_mins(10);
/// What went wrong is kept in so many characters.
const WHY_MAX: usize = 200;

/// How far one way of a dial has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// There is no address for it.
    None,
    /// Its turn comes then.
    At(Instant),
    Trying,
    Failed,
}

impl Way {
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::None | Self::Failed)
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// No link; dialled again at the instant, if wanted.
    Idle { dial_at: Instant },
    /// The transport is dialling, one way or both.
    Dialling { direct: Way, relayed: Way },
    /// Linked, not introduced yet.
    Greeting,
    /// Linked and introduced.
    Linked,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) state: State,
    pub(super) wanted_by: BTreeSet<Wanter>,
    /// When its link came up, and when this node last introduced itself over it.
    pub(super) up_at: Instant,
    pub(super) greeted: Instant,
    /// Failed dials since the last link.
    pub(super) failures: u32,
    /// Frames that wait for the introduction, with the time they came.
    pub(super) waiting: VecDeque<(Instant, Frame)>,
    /// Its wall clock less ours, in milliseconds, when it introduced itself.
    pub(super) clock_off_ms: Option<i64>,
    pub(super) round_trip: Option<Duration>,
    pub(super) certificate: Option<NodeCertificate>,
    /// What its link speaks, once it is linked.
    pub(super) wire: u16,
    pub(super) operator: OperatorId,
    /// Who signed that.
    pub(super) certified_by: PublicKey,
    /// Its introduction was refused: it is not dialled again at once.
    pub(super) refused: bool,
    /// Its operator has a new key: it is hung up on then, unless it shows a new certificate before.
    pub(super) void_at: Option<Instant>,
    /// Its disk and how often it has started from it, as of this link.
    pub(super) life: Option<(DiskId, u64)>,
    /// It answers who asks where somebody is.
    pub(super) finds: bool,
    /// It knows what it means that a link is not needed.
    pub(super) parts: bool,
    /// It lets cells sleep.
    pub(super) sleeps: bool,
    /// It knows of recoveries.
    pub(super) recovers: bool,
    /// It knows of converging stores.
    pub(super) converges: bool,
    /// Sleeping cells rely on it.
    pub(super) vigil: Option<Vigil>,
    /// When this node last sent something over its link.
    pub(super) used_at: Instant,
    /// What each end of its link has said last of whether it needs it.
    pub(super) says_needed: bool,
    pub(super) needed_there: bool,
    /// It has no link because neither end needed it.
    pub(super) left_alone: bool,
    /// What the link goes over, while there is one.
    pub(super) over: Option<Over>,
    /// When a relayed link is next tried directly, and how often it was.
    pub(super) direct_at: Option<Instant>,
    direct_tries: u32,
    /// Why there is no direct link, as last tried by dialling.
    pub(super) direct_failed: Option<String>,
    /// Why there is no direct link, as last tried by both sides at once.
    pub(super) punch_failed: Option<String>,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Idle { dial_at: now },
            wanted_by: BTreeSet::new(),
            up_at: now,
            greeted: now,
            failures: 0,
            waiting: VecDeque::new(),
            clock_off_ms: None,
            round_trip: None,
            certificate: None,
            wire: WIRE_HELLO,
            operator: OperatorId::default(),
            certified_by: PublicKey::default(),
            refused: false,
            void_at: None,
            life: None,
            finds: false,
            parts: false,
            sleeps: false,
            recovers: false,
            converges: false,
            vigil: None,
            used_at: now,
            says_needed: true,
            needed_there: true,
            left_alone: false,
            over: None,
            direct_at: None,
            direct_tries: 0,
            direct_failed: None,
            punch_failed: None,
        }
    }

    pub(super) const fn has_link(&self) -> bool {
        matches!(self.state, State::Greeting | State::Linked)
    }

    /// When it is hung up on, unless it has introduced itself over this link.
    pub(super) fn turned_away_at(&self) -> Instant {
        self.up_at + super::HELLO_MAX
    }

    pub(super) fn is_needed(&self) -> bool {
        !self.wanted_by.is_empty() || !self.waiting.is_empty()
    }

    /// What is still to be known of it when nobody needs its link.
    pub(super) const fn is_watched(&self) -> bool {
        self.vigil.is_some()
    }

    /// Whether a part wants its link, now that the mesh is found.
    pub(super) fn is_wanted_for_good(&self) -> bool {
        self.wanted_by.iter().any(|by| *by != Wanter::Bootstrap)
    }

    /// Whether its whereabouts are worth asking others for.
    pub(super) fn is_worth_finding(&self) -> bool {
        !self.waiting.is_empty() || self.wanted_by.iter().any(|by| by.wants_nobody_else())
    }

    /// It was dialled in vain, and not only by chance.
    pub(super) fn seems_dead(&self) -> bool {
        !self.has_link() && self.failures >= super::FAILURES_BEFORE_FIND
    }

    /// Whether there is a way to try now: see [`super::Reach::dial_if_due`].
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Idle { dial_at } => now >= dial_at && self.is_needed(),
            State::Dialling { direct, relayed: Way::At(at) } => now >= at || direct.is_over(),
            State::Linked => self.direct_at.is_some_and(|at| now >= at),
            State::Dialling { .. } | State::Greeting => false,
        }
    }

    /// Its link goes over this now.
    pub(super) fn goes_over(&mut self, over: Over, now: Instant) {
        let was_relayed = self.over.is_some_and(Over::is_relayed);
        self.over = Some(over);
        if !over.is_relayed() {
            (self.direct_at, self.direct_tries) = (None, 0);
            (self.direct_failed, self.punch_failed) = (None, None);
        } else if !was_relayed {
            self.direct_at = Some(now + DIRECT_FIRST);
        }
    }

    /// It is tried directly now: when next?
    pub(super) fn tries_directly(&mut self, now: Instant) {
        let wait = DIRECT_AGAIN.saturating_mul(1 << self.direct_tries.min(8)).min(DIRECT_MAX);
        self.direct_tries += 1;
        self.direct_at = Some(now + wait);
    }

    pub(super) fn has_failed(&mut self, path: PathKind, why: &str) {
        if path == PathKind::Direct {
            self.direct_failed = Some(why.chars().take(WHY_MAX).collect());
        }
    }

    pub(super) fn was_punched(&mut self, failed: Option<&str>) {
        self.punch_failed = failed.map(|why| why.chars().take(WHY_MAX).collect());
    }

    /// Its link is gone.
    pub(super) fn lost(&mut self, dial_at: Instant) {
        self.state = State::Idle { dial_at };
        self.clock_off_ms = None;
        self.left_alone = !self.says_needed;
        (self.says_needed, self.needed_there) = (true, true);
        self.over = None;
        self.direct_at = None;
    }
}

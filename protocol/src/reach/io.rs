//! What may happen to reach, and what it asks of its node.
use std::{sync::Arc, time::Duration};

use super::{Message, Source};
use crate::{
    frame::{Frame, Hello},
    id::{CellId, DiskId, NodeId, TransferId},
    identity::{Admitted, Envelope, NodeCertificate, NodeIdentity, Signed},
    io::{LinkChange, Path},
    membership::Address,
    notice::Notice,
    record::Keyring,
};

/// Why a link is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanter {
    /// Configured as a first contact; wanted until anybody is linked.
    Bootstrap,
    /// Overlay or observation.
    Membership,
    /// A member or host of this cell.
    Cell(CellId),
    /// Requests for the app of this cell go there.
    Route(CellId),
    /// It relays, and this node needs a relay.
    Relay,
    /// Bytes come from there.
    Transfer(TransferId),
    /// It may know where this one is.
    Find(NodeId),
    /// It may hold something of this cell.
    Survey(CellId),
    /// It is to take over what this node wrote to the converging stores of this cell's app.
    HandOver(CellId),
}

/// Input of reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The transport says.
    Link {
        /// With whom.
        peer: NodeId,
        /// What.
        change: LinkChange,
    },
    /// A peer introduces itself.
    Hello {
        /// The node that the transport authenticated.
        from: NodeId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// A part wants a link, or no longer.
    Want {
        /// Which part.
        by: Wanter,
        /// To whom.
        peer: NodeId,
        /// Addresses that it knows.
        addresses: Vec<Address>,
        /// Wanted.
        wanted: bool,
    },
    /// A sleeping cell relies on a node, which is asked now and then whether it lives; or none does any longer.
    Watch {
        /// Which.
        peer: NodeId,
        /// It is relied on.
        wanted: bool,
    },
    /// Somebody can be found there.
    Addresses {
        /// Who.
        peer: NodeId,
        /// Where, best first.
        addresses: Vec<Address>,
        /// Who says so.
        source: Source,
    },
    /// Somebody relays for members that cannot be dialled, or no longer: it signed that.
    Relays {
        /// Who.
        peer: NodeId,
        /// It does.
        willing: bool,
    },
    /// A peer asks or says where somebody is.
    Received {
        /// The node that the transport authenticated.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A part sends a frame.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// Who counts. The first is everybody.
    Counted(Admitted),
    /// By what this node's operator was admitted: part of each introduction from now on.
    Credentials(Vec<Envelope>),
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// This node has a later certificate.
    Certificate(NodeIdentity),
}

/// Output of reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make a link, or a better connection of one.
    Dial {
        /// To whom.
        peer: NodeId,
        /// Which way, and where.
        via: Path,
    },
    /// Have a peer relay for this node, or no longer.
    Reserve {
        /// Who.
        relay: NodeId,
        /// Wanted.
        wanted: bool,
    },
    /// Close the link.
    Hangup {
        /// With whom.
        peer: NodeId,
    },
    /// Best effort.
    Send {
        /// To whom.
        to: NodeId,
        /// The version of this link, to encode it in.
        wire: u16,
        /// What.
        frame: Frame,
    },
    /// A peer introduced itself and is a member.
    Up {
        /// Who.
        peer: NodeId,
        /// Who vouches for it.
        certificate: Box<Signed<NodeCertificate>>,
        /// Its disk and how often it has started from it.
        disk: (DiskId, u64),
    },
    /// Its link is gone.
    Down(NodeId),
    /// A watched peer does not answer, though there is a link.
    Silent(NodeId),
    /// One that was silent answers again.
    Heard(NodeId),
    /// Measured.
    RoundTrip(NodeId, Duration),
    /// Where this node can itself be reached, all of it, best first.
    Reachable(Vec<Address>),
    /// This node's clock is wrong, or right again.
    ClockOff(bool),
    /// What happened.
    Notice(Notice),
}

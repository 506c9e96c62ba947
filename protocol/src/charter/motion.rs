//! What operators say to each other about who belongs and by which rules. Each is a signed statement that proves itself:
//! it does not matter who carries it, or when.
//!
//! ```text
//!   Motion   somebody asks           Admit: signed by the newcomer; Alias: by the tenant; all others: by an elector
//!   Ballot   an elector answers      signed by the elector's key, at home, whenever he likes
//!   Invite   an elector answers ahead, for whoever holds the bearer's secret; a *witness* node counts the uses
//!   Claim    the newcomer shows that he holds it
//!   Stamp    the witness counts: together with the invite it is the ballot of each elector who signed the invite
//! ```
use minicbor::{Decode, Encode};

use super::Charter;
use crate::{
    id::{MeshId, NodeId, OperatorId},
    identity::{Genesis, Lineage, PublicKey, Statement},
    time::Timestamp,
};

/// Names a motion: the hash of its signed bytes.
pub type MotionId = [u8; 32];

/// Names an invite: drawn at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct InviteId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// A reason or an alias has at most so many bytes; a longer one makes the motion void.
pub const TEXT_BYTES_MAX: usize = 256;

/// What shall be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Motion {
    /// In which mesh.
    #[n(0)]
    pub mesh: MeshId,
    /// [`Charter::hash`] of the version whose electorate decides.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub charter: [u8; 32],
    /// What.
    #[n(2)]
    pub matter: Matter,
    /// When it was made.
    #[n(3)]
    pub made: Timestamp,
}

/// What a motion is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Matter {
    /// An operator shall be a member.
    #[n(0)]
    Admit {
        /// Who asks.
        #[n(0)]
        operator: Genesis,
        /// The invite that he holds.
        #[n(1)]
        invite: Option<InviteId>,
    },
    /// An operator shall be none any more.
    #[n(1)]
    Exclude {
        /// Who.
        #[n(0)]
        operator: OperatorId,
        /// Why, for people.
        #[n(1)]
        reason: String,
    },
    /// The next version of the charter.
    #[n(2)]
    Amend(#[n(0)] Box<Charter>),
    /// A tenant shall have a short name, for good.
    #[n(3)]
    Alias {
        /// One DNS label, see [`super::check_alias`].
        #[n(0)]
        name: String,
        /// Who asks; its key signs the motion.
        #[n(1)]
        tenant: Box<Lineage>,
    },
}

/// An elector's answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ballot {
    /// To which motion.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub motion: MotionId,
    /// Whose. The key that signs is this elector's.
    #[n(1)]
    pub elector: OperatorId,
    /// Yes. A yes stands for ever; a no may become a yes.
    #[n(2)]
    pub yes: bool,
    /// When.
    #[n(3)]
    pub at: Timestamp,
}

/// An elector's yes to operators that he does not know yet. Several electors may sign the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Invite {
    /// Into which mesh.
    #[n(0)]
    pub mesh: MeshId,
    /// [`Charter::hash`] of the version under which it counts.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub charter: [u8; 32],
    /// Which.
    #[n(2)]
    pub id: InviteId,
    /// Whoever signs with this key holds it.
    #[n(3)]
    pub bearer: PublicKey,
    /// The node that counts its uses: one counter, so that one use is one use.
    #[n(4)]
    pub witness: NodeId,
    /// So many operators may come with it.
    #[n(5)]
    pub uses: u32,
    /// Void from then on, by the witness's clock.
    #[n(6)]
    pub expires: Timestamp,
    /// When it was made.
    #[n(7)]
    pub made: Timestamp,
}

/// The holder of an invite ties it to his own motion.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// Which motion.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub motion: MotionId,
    /// Which invite. The key that signs is its bearer's.
    #[n(1)]
    pub invite: InviteId,
}

/// The witness of an invite says whether it counts for a motion.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stamp {
    /// Which motion.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub motion: MotionId,
    /// Which invite. The key that signs is its witness's.
    #[n(1)]
    pub invite: InviteId,
    /// Its how-manieth use, from 0 up; or why it is void.
    #[n(2)]
    pub counted: Counted,
    /// When.
    #[n(3)]
    pub at: Timestamp,
}

/// What a witness found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Counted {
    /// It counts, as this use.
    #[n(0)]
    Use(#[n(0)] u32),
    /// All its uses were used.
    #[n(1)]
    Used,
    /// Its time was over.
    #[n(2)]
    Expired,
}

impl Statement for Motion {
    const DOMAIN: &'static str = "bocage/v1/motion";
}

impl Statement for Ballot {
    const DOMAIN: &'static str = "bocage/v1/ballot";
}

impl Statement for Invite {
    const DOMAIN: &'static str = "bocage/v1/invite";
}

impl Statement for Claim {
    const DOMAIN: &'static str = "bocage/v1/claim";
}

impl Statement for Stamp {
    const DOMAIN: &'static str = "bocage/v1/stamp";
}

impl std::fmt::Debug for InviteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

//! An invite as it is handed over: one line of text that holds all that an empty machine needs to become a member. Whoever
//! has it may use it: it is a secret, until it is used up.
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};

use super::{Claim, Invite, Matter, Motion};
use crate::{
    codec,
    identity::{Envelope, Founding, Genesis, Keypair, Signed},
    time::Timestamp,
};

/// What the text begins with.
const PREFIX: &str = "bocage-invite-1.";

/// Longer text is no token.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// See the top of this file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Token {
    /// How the mesh was founded.
    #[n(0)]
    pub founding: Founding,
    /// The invite, as signed by each of its sponsors.
    #[n(1)]
    pub invites: Vec<Envelope>,
    /// The secret of the invite's bearer.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub bearer: [u8; 32],
    /// Whom to dial first: multiaddresses that end in `/p2p/PEER`.
    #[n(3)]
    pub addresses: Vec<String>,
}

/// Why a token is no use. Nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not one.
    #[error("this is no invite: it begins with {PREFIX} and is one line; was a part of it lost?")]
    Damaged,
    /// A signature.
    #[error("this invite was changed after it was signed, or is not signed: ask for a new one")]
    Unsigned,
    /// It contradicts itself.
    #[error("this invite names another mesh than the founding statement that came with it: ask for a new one")]
    OtherMesh,
    /// Its time is over.
    #[error("this invite expired at {0:?}: ask for a new one, or, if that is in the future, set this machine's clock")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error(
        "this invite was made at {0:?}, which this machine takes for the future: set its clock (timedatectl set-ntp true)"
    )]
    NotYet(Timestamp),
}

impl Token {
    /// The line of text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&codec::encode(self)))
    }

    /// Reads a line of text, and checks its signatures.
    ///
    /// # Errors
    /// When it is no token, or was changed.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text: String = text.split_whitespace().collect();
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadToken::Damaged);
        }
        let bytes = text.strip_prefix(PREFIX).and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
        let this: Self = bytes.and_then(|bytes| codec::decode("invite", &bytes).ok()).ok_or(BadToken::Damaged)?;
        let invite = this.invite()?;
        if invite.mesh != this.founding.mesh() {
            return Err(BadToken::OtherMesh);
        }
        Ok(this)
    }

    /// What its sponsors signed: all the same.
    ///
    /// # Errors
    /// When a signature does not hold, or they differ.
    pub fn invite(&self) -> Result<Invite, BadToken> {
        let mut one = None;
        for envelope in &self.invites {
            let signed = Signed::<Invite>::from(envelope.clone());
            let invite = signed.verify().map_err(|_| BadToken::Unsigned)?.into_inner();
            if one.as_ref().is_some_and(|before| *before != invite) {
                return Err(BadToken::Unsigned);
            }
            one = Some(invite);
        }
        let invite = one.ok_or(BadToken::Unsigned)?;
        let fits = Keypair::from_secret(&self.bearer).public() == invite.bearer;
        if fits { Ok(invite) } else { Err(BadToken::Unsigned) }
    }

    /// The invite, if it may be used now.
    ///
    /// # Errors
    /// When it may not.
    pub fn usable(&self, wall: Timestamp) -> Result<Invite, BadToken> {
        let invite = self.invite()?;
        match () {
            () if invite.expires <= wall => Err(BadToken::Expired(invite.expires)),
            // A clock that is a little behind is no fault of the invite's.
            () if invite.made > wall + std::time::Duration::from_mins(5) => Err(BadToken::NotYet(invite.made)),
            () => Ok(invite),
        }
    }

    /// With what an operator asks to be admitted by it.
    ///
    /// # Errors
    /// When the token is none.
    pub fn request(&self, keys: &Keypair, operator: &Genesis, wall: Timestamp) -> Result<Vec<Envelope>, BadToken> {
        let invite = self.invite()?;
        let matter = Matter::Admit { operator: operator.clone(), invite: Some(invite.id) };
        let motion = Motion { mesh: invite.mesh, charter: invite.charter, matter, made: wall };
        let motion = Signed::seal(keys, &motion);
        let claim = Claim { motion: motion.hash(), invite: invite.id };
        let claim = Signed::seal(&Keypair::from_secret(&self.bearer), &claim);
        let mut statements = vec![motion.envelope().clone()];
        statements.extend(self.invites.iter().cloned());
        statements.push(claim.envelope().clone());
        Ok(statements)
    }
}

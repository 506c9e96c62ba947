//! A lawful no. Part of the protocol, shown to people; an *error* is a fault and stays in logs.
use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Whether the refused command may still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It did not happen and never will.
    #[n(0)]
    Definite,
    /// It may have happened, or may yet. Repeat it with the same op to find out.
    #[n(1)]
    Indefinite,
}

/// Why not. Each has a place in `docs/errors.md` and an HTTP status in the control API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No such app, cell, release, key or instance.
    #[n(0)]
    NotFound,
    /// The state is not what the command expected: a failed compare-and-swap, an app that exists.
    #[n(1)]
    Conflict,
    /// The signer may not do this.
    #[n(2)]
    Unauthorised,
    /// No plan honours the policy.
    #[n(3)]
    Unplaceable,
    /// The writer, line or lease is not the current one.
    #[n(4)]
    Fenced,
    /// A named bound is reached.
    #[n(5)]
    Full,
    /// The deadline passed.
    #[n(6)]
    Timeout,
    /// The other side cannot be reached now.
    #[n(7)]
    Unreachable,
    /// Malformed or out of bounds.
    #[n(8)]
    Invalid,
    /// This node or version does not do that.
    #[n(9)]
    Unsupported,
    /// The disk of this node failed: it acknowledges nothing until it was restarted.
    #[n(10)]
    DiskFailed,
    /// The op is older than what its session remembers.
    #[n(11)]
    Expired,
    /// This node is not the one to ask; the caller asks another by itself.
    #[n(12)]
    NotLeader,
    /// The instance failed: a trap, a limit, a start that did not work.
    #[n(13)]
    InstanceFailed,
}

/// A refusal, as it travels and as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    #[n(0)]
    pub code: Code,
    /// Whether it may still take effect.
    #[n(1)]
    pub certainty: Certainty,
    /// For people: what, why, and what to do. At most 2 KiB.
    #[n(2)]
    pub detail: String,
}

impl Refusal {
    /// It did not happen.
    #[must_use]
    pub fn definite(code: Code, detail: impl Into<String>) -> Self {
        Self { code, certainty: Certainty::Definite, detail: detail.into() }
    }

    /// It may have happened.
    #[must_use]
    pub fn indefinite(code: Code, detail: impl Into<String>) -> Self {
        Self { code, certainty: Certainty::Indefinite, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Refusal {}

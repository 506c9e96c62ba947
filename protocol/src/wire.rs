//! Wire versions. Each link speaks the newest that both its ends do, so nodes of this version and of the one before form
//! one mesh, and hosters who have never met need not upgrade on one day.
//!
//! ```text
//!   Hello { wire: newest, wire_min: oldest } ⇄ Hello { … }      always in version 1, so that anybody can read it
//!   link = min(newest, newest), if that is ≥ max(oldest, oldest); else both ends say who has to upgrade, and hang up
//! ```
//!
//! | version | what it adds |
//! |---|---|
//! | 1 | the first |
//! | 2 | lists of headers, most of what gossip says while records change, travel packed (`membership/packed.rs`) |
//!
//! A field or a variant that an old reader may skip needs no version; what it could not read does. A value whose bytes
//! differ between versions asks its encoder's context: [`Versioned`].
use minicbor::{Decode, Encode};

/// The newest wire version that this code speaks.
pub const WIRE_NEWEST: u16 = 2;

/// The oldest wire version that this code still speaks: the one before the newest.
pub const WIRE_OLDEST: u16 = 1;

/// What a `Hello` travels in, whatever the link becomes. Later Hellos have more fields, never others.
pub const WIRE_HELLO: u16 = 1;

/// The wire versions that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WireRange {
    #[n(0)]
    oldest: u16,
    #[n(1)]
    newest: u16,
}

/// The version that something is encoded or decoded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire(pub u16);

/// The context of an encoder whose values differ between versions.
pub trait Versioned {
    /// The version.
    fn wire(&self) -> u16;
}

impl Versioned for Wire {
    fn wire(&self) -> u16 {
        self.0
    }
}

impl Default for WireRange {
    /// All that this code speaks.
    fn default() -> Self {
        Self { oldest: WIRE_OLDEST, newest: WIRE_NEWEST }
    }
}

impl WireRange {
    /// What a node speaks that goes no further than `newest`; `None` if this code does not speak that.
    #[must_use]
    pub const fn up_to(newest: u16) -> Option<Self> {
        if newest < WIRE_OLDEST || newest > WIRE_NEWEST { None } else { Some(Self { oldest: WIRE_OLDEST, newest }) }
    }

    /// What a peer says that it speaks.
    #[must_use]
    pub const fn claimed(oldest: u16, newest: u16) -> Self {
        Self { oldest, newest }
    }

    /// The oldest version spoken.
    #[must_use]
    pub const fn oldest(self) -> u16 {
        self.oldest
    }

    /// The newest version spoken.
    #[must_use]
    pub const fn newest(self) -> u16 {
        self.newest
    }

    /// Whether a frame of this version can be read.
    #[must_use]
    pub const fn reads(self, version: u16) -> bool {
        self.oldest <= version && version <= self.newest
    }

    /// The version of a link to a peer that speaks `theirs`.
    ///
    /// # Errors
    /// When there is none that both speak: why, and which of the two has to do what.
    pub fn common(self, theirs: Self) -> Result<u16, String> {
        let version = self.newest.min(theirs.newest);
        if theirs.oldest == 0 || theirs.oldest > theirs.newest {
            return Err(format!("it says that it speaks wire versions {} to {}", theirs.oldest, theirs.newest));
        }
        if version >= self.oldest.max(theirs.oldest) {
            return Ok(version);
        }
        let who = if self.newest < theirs.oldest {
            "this node is too old: upgrade it"
        } else {
            "it is too old: it must be upgraded"
        };
        Err(format!(
            "it speaks wire versions {} to {}, this node {} to {}; {who}",
            theirs.oldest, theirs.newest, self.oldest, self.newest
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(oldest: u16, newest: u16) -> WireRange {
        WireRange::claimed(oldest, newest)
    }

    #[test]
    fn a_link_speaks_the_newest_version_of_both() {
        assert_eq!(speaks(1, 2).common(speaks(1, 2)), Ok(2));
        assert_eq!(speaks(1, 2).common(speaks(1, 1)), Ok(1));
        assert_eq!(speaks(2, 3).common(speaks(1, 2)), Ok(2));
        assert_eq!(speaks(1, 2).common(speaks(2, 9)), Ok(2));
    }

    #[test]
    fn both_ends_of_a_link_without_a_common_version_name_the_older_one() {
        let (old, new) = (speaks(1, 2), speaks(3, 4));
        assert_eq!(
            old.common(new).unwrap_err(),
            "it speaks wire versions 3 to 4, this node 1 to 2; this node is too old: upgrade it"
        );
        assert_eq!(
            new.common(old).unwrap_err(),
            "it speaks wire versions 1 to 2, this node 3 to 4; it is too old: it must be upgraded"
        );
        assert!(old.common(speaks(2, 1)).is_err() && old.common(speaks(0, 0)).is_err());
    }

    /// Whatever two nodes say, they come to the same answer.
    #[test]
    fn both_ends_choose_alike() {
        for (a, b) in (0..6 * 6).flat_map(|a| (0..6 * 6).map(move |b| (a, b))) {
            let (a, b) = (speaks(a / 6, a % 6), speaks(b / 6, b % 6));
            if a.oldest > 0 && a.oldest <= a.newest && b.oldest > 0 && b.oldest <= b.newest {
                assert_eq!(a.common(b).ok(), b.common(a).ok());
                assert!(a.common(b).ok().is_none_or(|version| a.reads(version) && b.reads(version)));
            }
        }
    }

    #[test]
    fn a_node_can_be_told_to_speak_as_the_previous_version() {
        assert_eq!(WireRange::up_to(WIRE_NEWEST), Some(WireRange::default()));
        assert_eq!(WireRange::up_to(WIRE_NEWEST - 1).map(WireRange::newest), Some(WIRE_NEWEST - 1));
        assert!(WireRange::up_to(0).is_none() && WireRange::up_to(WIRE_NEWEST + 1).is_none());
    }
}

//! The charter itself: a versioned document with its electorate and its values. Version 0 follows from the founding
//! statement; each later one is a motion that the version before it carried.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};

use crate::{
    codec,
    id::{MeshId, OperatorId},
    identity::{Founding, Genesis, PublicKey},
    time::Timestamp,
};

/// A charter lists at most so many electors, so that a charter with the ballots that carried it fits into one record. A
/// version that lists more does not count.
pub const ELECTORS_MAX: usize = 48;

/// What the operators agreed on. A field that is not there yet reads as its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Values {
    /// So many thousandths of the electorate carry a motion; never fewer than more than half.
    #[n(0)]
    pub quorum_permille: u32,
    /// Operators admitted in any 24 hours; whoever comes later waits his turn. At least 1.
    #[n(1)]
    pub admissions_per_day: u32,
    /// From four operators on, none gets more than so many thousandths of what its jurisdiction offers.
    #[n(2)]
    pub dominance_permille: u32,
    /// A new version is in force so long after it was carried: time to read it, and to leave.
    #[cbor(n(3), with = "codec::duration_ms")]
    pub notice: Duration,
}

impl Default for Values {
    fn default() -> Self {
        Self { quorum_permille: 501, admissions_per_day: 24, dominance_permille: 400, notice: Duration::from_hours(24) }
    }
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Charter {
    /// Of which mesh.
    #[n(0)]
    pub mesh: MeshId,
    /// From 0 up.
    #[n(1)]
    pub version: u64,
    /// [`Charter::hash`] of the version before; zeros in version 0.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub previous: [u8; 32],
    /// Whose majority carries motions: whom the version before voted in.
    #[n(3)]
    pub electorate: Vec<Genesis>,
    /// What was agreed.
    #[n(4)]
    pub values: Values,
    /// When it was drawn up.
    #[n(5)]
    pub made: Timestamp,
}

/// The electors of one version: their ids and keys were worked out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    keys: BTreeMap<OperatorId, PublicKey>,
    operators: BTreeMap<PublicKey, OperatorId>,
    /// So many ballots carry a motion.
    pub needed: usize,
}

impl Electorate {
    /// Whether `key` signs for the elector `operator`.
    #[must_use]
    pub fn signs(&self, operator: OperatorId, key: PublicKey) -> bool {
        self.keys.get(&operator) == Some(&key)
    }

    /// The elector whose key this is.
    #[must_use]
    pub fn of_key(&self, key: PublicKey) -> Option<OperatorId> {
        self.operators.get(&key).copied()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = OperatorId> {
        self.keys.keys().copied()
    }
}

/// Why a version of the charter cannot count. Nothing changed; draw up another.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlawful {
    /// Nobody or too many.
    #[error("a charter lists 1 to {ELECTORS_MAX} electors, each once; this one lists {0}")]
    Electorate(usize),
    /// A value outside its bounds.
    #[error("{0}")]
    Value(&'static str),
}

impl Charter {
    /// Version 0: the founders are the electorate.
    #[must_use]
    pub fn first(founding: &Founding) -> Self {
        let mut seen = BTreeSet::new();
        let mut electorate = founding.operators.clone();
        electorate.retain(|operator| seen.insert(operator.operator()));
        Self {
            mesh: founding.mesh(),
            version: 0,
            previous: [0; 32],
            electorate,
            values: Values::default(),
            made: founding.founded,
        }
    }

    /// The next version after this one, for others to carry.
    #[must_use]
    pub fn next(&self, electorate: Vec<Genesis>, values: Values, made: Timestamp) -> Self {
        Self { mesh: self.mesh, version: self.version + 1, previous: self.hash(), electorate, values, made }
    }

    /// Names this very version.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&codec::encode(self)).as_bytes()
    }

    /// So many ballots carry a motion.
    #[must_use]
    pub fn needed(&self) -> usize {
        let electors = self.electorate.len();
        let permille = usize::try_from(self.values.quorum_permille.min(1_000)).unwrap_or(1_000);
        (electors / 2 + 1).max((electors * permille).div_ceil(1_000))
    }

    /// Its electorate, for counting.
    #[must_use]
    pub fn electors(&self) -> Electorate {
        let keys: BTreeMap<OperatorId, PublicKey> =
            self.electorate.iter().map(|elector| (elector.operator(), elector.key)).collect();
        let operators = keys.iter().map(|(operator, key)| (*key, *operator)).collect();
        Electorate { keys, operators, needed: self.needed() }
    }

    /// Whether it keeps its bounds.
    ///
    /// # Errors
    /// When it does not, with what to write instead.
    pub fn check(&self) -> Result<(), Unlawful> {
        let electors = self.electorate.iter().map(Genesis::operator).collect::<BTreeSet<_>>();
        if electors.is_empty() || electors.len() != self.electorate.len() || electors.len() > ELECTORS_MAX {
            return Err(Unlawful::Electorate(self.electorate.len()));
        }
        let Values { quorum_permille, admissions_per_day, dominance_permille, notice } = self.values;
        match () {
            () if !(501..=1_000).contains(&quorum_permille) => {
                Err(Unlawful::Value("the quorum is 501 to 1000 permille"))
            }
            () if !(1..=10_000).contains(&admissions_per_day) => {
                Err(Unlawful::Value("admissions are 1 to 10000 a day"))
            }
            () if !(250..=1_000).contains(&dominance_permille) => {
                Err(Unlawful::Value("the cap on dominance is 250 to 1000 permille: four equals hold 250 each"))
            }
            () if notice > Duration::from_hours(24 * 90) => Err(Unlawful::Value("the notice is at most 90 days")),
            () => Ok(()),
        }
    }
}

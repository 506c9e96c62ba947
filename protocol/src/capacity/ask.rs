//! What a sponsor asks of another jurisdiction.
use minicbor::{Decode, Encode};

use crate::resources::{Jurisdiction, Resources};

/// Which candidates are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// In which jurisdiction.
    #[n(0)]
    pub jurisdiction: Jurisdiction,
    /// With at least so much free.
    #[n(1)]
    pub need: Resources,
    /// At most so many, of distinct operators where possible.
    #[n(2)]
    pub count: u32,
}

//! A bundle: an app in one file, signed, for another mesh to start from or for its tenant to keep.
//!
//! The file is a tar archive: `head`, then a [`Capture`] as `state`, then each component as `component/HASH`. The head, a
//! [`Signed`] [`BundleHead`], says what else is in it, so that nothing else is believed and nothing can be missing.
//! Who exported it signs it: the tenant, whose key it is says `successions`.
//!
//! [`Capture`]: crate::cell::Capture
use minicbor::{Decode, Encode};

use crate::{
    id::ContentHash,
    identity::{Endorsed, Genesis, Lineage, Signed, Statement, Succession},
    time::Timestamp,
};

/// The format of a [`BundleHead`].
pub const BUNDLE_FORMAT: u32 = 1;

/// Components in a bundle: one today.
pub const COMPONENTS_MAX: usize = 16;

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BundleHead {
    /// [`BUNDLE_FORMAT`].
    #[n(0)]
    pub format: u32,
    /// When it was signed.
    #[n(1)]
    pub exported: Timestamp,
    /// Of the capture, which says of which app, cell and mesh it is.
    #[n(2)]
    pub state: Part,
    /// Of each component. At most [`COMPONENTS_MAX`].
    #[n(3)]
    pub components: Vec<Part>,
    /// Whose it is.
    #[n(4)]
    pub tenant: Signed<Genesis>,
    /// How the tenant came to the key that signs.
    #[n(5)]
    pub successions: Vec<Endorsed<Succession>>,
}

/// Bytes by their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Of the bytes.
    #[n(0)]
    pub content: ContentHash,
    /// How many.
    #[n(1)]
    pub size_bytes: u64,
}

impl Statement for BundleHead {
    const DOMAIN: &'static str = "bocage/v1/bundle";
}

impl BundleHead {
    /// Reads a head that the tenant signed whom it names.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(signed: &Signed<Self>) -> Result<Self, String> {
        let head = signed.verify().map_err(|error| error.to_string())?.into_inner();
        if head.format != BUNDLE_FORMAT {
            return Err(format!("it has format {}, and only {BUNDLE_FORMAT} is known here", head.format));
        }
        if head.components.len() > COMPONENTS_MAX {
            return Err(format!("it names {} components, at most {COMPONENTS_MAX} may be", head.components.len()));
        }
        let genesis = head.tenant.verify().map_err(|error| error.to_string())?.into_inner();
        let lineage = Lineage { genesis, successions: head.successions.clone() };
        if lineage.verify()?.key() != signed.key() {
            return Err("it is not signed by the tenant whom it names".to_owned());
        }
        Ok(head)
    }
}

//! Where a person's files are, as XDG says.
use std::path::PathBuf;

use etcetera::{BaseStrategy as _, base_strategy::Xdg};

use crate::failure::{Exit, Failure};

fn xdg() -> Result<Xdg, Failure> {
    Xdg::new().map_err(|_| {
        Failure::new(Exit::Failed, "no-home", "this user has no home folder")
            .next("set HOME, or name files yourself: --dir, --key")
    })
}

/// Where the tenant's key is.
pub(crate) fn tenant_key() -> Result<PathBuf, Failure> {
    Ok(xdg()?.config_dir().join("bocage/tenant.key"))
}

/// Where demos are, and where others are remembered.
pub(crate) fn demos() -> Result<PathBuf, Failure> {
    Ok(xdg()?.cache_dir().join("bocage/demos"))
}

/// Where this machine's node is, unless somebody says otherwise.
pub(crate) fn node() -> Result<PathBuf, Failure> {
    Ok(xdg()?.data_dir().join("bocage/node"))
}

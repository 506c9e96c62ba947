//! `bocage keys restore`: a key file out of its backup.
use std::{fs, path::PathBuf};

use age::scrypt::Identity;
use clap::Args;
use serde_json::json;

use super::{backup::write_new, load, passphrase::From};
use crate::{
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
};

/// A key file is some hundred bytes; with all successions that a party may have, some thousand.
const BACKUP_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What bocage keys backup wrote
    backup: PathBuf,
    /// Where the key goes; never overwritten [default: your tenant key]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    passphrase: From,
}

impl Restore {
    pub(super) fn run(self, at: &Invocation) -> Result<(), Failure> {
        let to = self.to.or_else(|| at.globals.key.clone()).map_or_else(folders::tenant_key, Ok)?;
        let io = |error: std::io::Error| Failure::io(self.backup.display(), &error);
        if fs::metadata(&self.backup).map_err(io)?.len() > BACKUP_BYTES_MAX {
            let what = format!("{} is too long to be the backup of a key", self.backup.display());
            return Err(Failure::new(Exit::Usage, "backup", what));
        }
        let sealed = fs::read(&self.backup).map_err(io)?;
        let bytes = age::decrypt(&Identity::new(self.passphrase.known_one()?), &sealed).map_err(|error| {
            let what = format!("{} does not open: {error}", self.backup.display());
            Failure::new(Exit::Unauthorised, "backup", what).next("is it another passphrase, or another file?")
        })?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| Failure::io(folder.display(), &error))?;
        }
        write_new(&to, &bytes)?;
        let key = load(&to)?;
        let said = json!({ "key": to, "serial": key.successions.len() });
        at.say.done(&said, format!("The key is in {} (serial {}).", to.display(), key.successions.len()));
        Ok(())
    }
}

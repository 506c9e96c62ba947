//! `bocage keys backup`: a key file, sealed with a passphrase in age's format, so that `age -d` opens it too.
use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use age::scrypt::Recipient;
use clap::Args;
use serde_json::json;

use super::{beside, load, passphrase::From};
use crate::{
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage keys backup NODE/keys/operator.key --to /media/usb/operator.key.age")]
pub(crate) struct Backup {
    /// The key file: an operator's, tenant's, node's or recovery key [default: your tenant key]
    file: Option<PathBuf>,
    /// Where the copy goes; never overwritten [default: beside the key file, with .age behind]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    passphrase: From,
}

impl Backup {
    pub(super) fn run(self, at: &Invocation) -> Result<(), Failure> {
        let path = self.file.or_else(|| at.globals.key.clone()).map_or_else(folders::tenant_key, Ok)?;
        let to = self.to.unwrap_or_else(|| beside(&path, ".age"));
        // Whatever is wrong with the file is found now and not when it is needed.
        let key = load(&path)?;
        let bytes = fs::read(&path).map_err(|error| Failure::io(path.display(), &error))?;
        let sealed = age::encrypt(&Recipient::new(self.passphrase.new_one()?), &bytes)
            .map_err(|error| Failure::new(Exit::Failed, "backup", format!("the key is not sealed: {error}")))?;
        write_new(&to, &sealed)?;
        let said = json!({ "key": path, "backup": to, "serial": key.successions.len() });
        at.say.done(
            &said,
            format!(
                "The key is sealed in {}.\n  bring it back with:  bocage keys restore {} --to FILE\n  take it to another \
                 machine; after bocage keys rotate make a new one",
                to.display(),
                to.display()
            ),
        );
        Ok(())
    }
}

/// For its owner's eyes only, and never over another file.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Conflict,
            "exists",
            format!("{} exists already; it is never overwritten", path.display()),
        )
        .next("name another file with --to"),
        _ => Failure::io(path.display(), &error),
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

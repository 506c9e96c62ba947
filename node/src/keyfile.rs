//! Key files: a party's or node's secret in a small text file that only its owner can read.
//!
//! An operator or tenant is its *genesis*, of which the key is only a part, so the file holds what the genesis needs too:
//! losing it is losing the party, unless recovery keys were named.
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bocage_protocol::{
    id::ContentHash,
    identity::{Genesis, Keypair, Party, Signed},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A secret on disk.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// Whose.
    pub kind: Kind,
    /// What people call the party; empty for a node.
    pub name: String,
    /// When it was made; part of the party's genesis.
    pub created: Timestamp,
    /// The secret.
    pub keys: Keypair,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An operator's: certifies nodes.
    Operator,
    /// A tenant's: signs releases.
    Tenant,
    /// A node's: is its identity on the wire.
    Node,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    kind: Kind,
    name: String,
    created: Timestamp,
    secret: ContentHash,
}

/// Why a key file cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("there is no key file {0}")]
    Missing(PathBuf),
    /// Others can read it.
    #[error(
        "the key file {path} can be read by others (mode {mode:o}): run chmod 600 {path}, and make a new key if anybody may have read it"
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another kind of key.
    #[error("{path} holds the key of a {found:?}, not of a {wanted:?}")]
    OtherKind {
        /// Which.
        path: PathBuf,
        /// Wanted.
        wanted: Kind,
        /// Found.
        found: Kind,
    },
    /// It does not read.
    #[error("the key file {path} cannot be read: {why}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It exists: a key is never overwritten.
    #[error("{0} exists already; a key is never overwritten")]
    Exists(PathBuf),
    /// The disk said no.
    #[error("the key file {path} cannot be used: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the disk said.
        source: std::io::Error,
    },
}

impl KeyFile {
    /// A new key, drawn from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing can be safe then.
    #[must_use]
    pub fn generate(kind: Kind, name: &str, created: Timestamp) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system gives randomness");
        Self { kind, name: name.to_owned(), created, keys: Keypair::from_secret(&secret) }
    }

    /// Writes it for its owner's eyes only.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = Text {
            kind: self.kind,
            name: self.name.clone(),
            created: self.created,
            secret: ContentHash(self.keys.secret()),
        };
        let body = toml::to_string(&text).expect("four plain fields are TOML");
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
            _ => KeyFileError::Io { path: path.to_owned(), source },
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let head = "# A secret key of Bocage. Whoever has it is you: keep it private, keep a copy.\n";
        file.write_all(head.as_bytes()).and_then(|()| file.write_all(body.as_bytes())).map_err(io)?;
        file.sync_all().map_err(io)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is missing, of another kind, malformed, or others can read it.
    pub fn load(path: &Path, wanted: Kind) -> Result<Self, KeyFileError> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => KeyFileError::Io { path: path.to_owned(), source },
        };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let malformed =
            |error: toml::de::Error| KeyFileError::Malformed { path: path.to_owned(), why: error.message().to_owned() };
        let Text { kind, name, created, secret } = toml::from_str(&text).map_err(malformed)?;
        if kind != wanted {
            return Err(KeyFileError::OtherKind { path: path.to_owned(), wanted, found: kind });
        }
        Ok(Self { kind, name, created, keys: Keypair::from_secret(&secret.0) })
    }

    /// The party's genesis, if this is an operator's or tenant's key.
    #[must_use]
    pub fn genesis(&self) -> Option<Genesis> {
        let party = match self.kind {
            Kind::Operator => Party::Operator,
            Kind::Tenant => Party::Tenant,
            Kind::Node => return None,
        };
        Some(Genesis::new(party, &self.name, self.keys.public(), self.created))
    }

    /// The same, signed.
    #[must_use]
    pub fn signed_genesis(&self) -> Option<Signed<Genesis>> {
        self.genesis().map(|genesis| Signed::seal(&self.keys, &genesis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/operator.key");
        let made = KeyFile::generate(Kind::Operator, "alder", Timestamp(7));
        made.create(&path).unwrap();
        let read = KeyFile::load(&path, Kind::Operator).unwrap();
        assert_eq!(read.genesis(), made.genesis());
        assert!(matches!(made.create(&path), Err(KeyFileError::Exists(_))));
        assert!(matches!(KeyFile::load(&path, Kind::Tenant), Err(KeyFileError::OtherKind { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        KeyFile::generate(Kind::Node, "", Timestamp(0)).create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyFile::load(&path, Kind::Node).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

//! Key files: a party's or node's secret in a small text file that only its owner can read.
//!
//! An operator or tenant is its *genesis*, of which the key is only a part, so the file holds what the genesis needs too, and
//! how the party came to this key: losing it is losing the party, unless recovery keys were named.
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bocage_protocol::{
    codec,
    id::ContentHash,
    identity::{Endorsed, Genesis, Keypair, Lineage, Party, Signed, Succession},
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
    /// The party's genesis by its first key, where the rest does not tell it: it has recovery keys, or this is not its
    /// first key, or it is one of its recovery keys.
    pub genesis: Option<Signed<Genesis>>,
    /// How the party came from its first key to this one.
    pub successions: Vec<Endorsed<Succession>>,
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
    /// Of an operator or tenant: replaces a lost or stolen key, together with others of its kind.
    Recovery,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    kind: Kind,
    name: String,
    created: Timestamp,
    secret: ContentHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    genesis: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    successions: Option<String>,
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
        let keys = Keypair::from_secret(&secret);
        Self { kind, name: name.to_owned(), created, keys, genesis: None, successions: Vec::new() }
    }

    /// A new party's key, and `recovery` keys of which `threshold` replace it together.
    #[must_use]
    pub fn generate_with_recovery(
        kind: Kind,
        name: &str,
        created: Timestamp,
        recovery: usize,
        threshold: u32,
    ) -> (Self, Vec<Self>) {
        let mut key = Self::generate(kind, name, created);
        let Some(mut genesis) = key.genesis().filter(|_| recovery > 0) else { return (key, Vec::new()) };
        let mut apart: Vec<Self> = (0..recovery).map(|_| Self::generate(Kind::Recovery, name, created)).collect();
        genesis.recovery = apart.iter().map(|key| key.keys.public()).collect();
        genesis.threshold = threshold;
        let signed = Signed::seal(&key.keys, &genesis);
        for key in &mut apart {
            key.genesis = Some(signed.clone());
        }
        key.genesis = Some(signed);
        (key, apart)
    }

    /// The party's next key file: `keys` after this lineage, which ends with them.
    #[must_use]
    pub fn next(&self, keys: Keypair, genesis: Signed<Genesis>, lineage: Lineage) -> Self {
        let kind = match lineage.genesis.party {
            Party::Operator => Kind::Operator,
            Party::Tenant => Kind::Tenant,
        };
        let Self { name, created, .. } = self;
        let (name, created) = (name.clone(), *created);
        Self { kind, name, created, keys, genesis: Some(genesis), successions: lineage.successions }
    }

    /// Writes it for its owner's eyes only.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        let body = self.text();
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

    fn text(&self) -> String {
        let base64 = |bytes: codec::Blob| data_encoding::BASE64.encode(&bytes);
        let text = Text {
            kind: self.kind,
            name: self.name.clone(),
            created: self.created,
            secret: ContentHash(self.keys.secret()),
            genesis: self.genesis.as_ref().map(|genesis| base64(codec::encode(genesis))),
            successions: (!self.successions.is_empty()).then(|| base64(codec::encode(&self.successions))),
        };
        toml::to_string(&text).expect("plain fields are TOML")
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is missing, of another kind, malformed, or others can read it.
    pub fn load(path: &Path, wanted: Kind) -> Result<Self, KeyFileError> {
        let this = Self::load_any(path)?;
        if this.kind != wanted {
            return Err(KeyFileError::OtherKind { path: path.to_owned(), wanted, found: this.kind });
        }
        Ok(this)
    }

    /// Reads it, whatever kind of key it holds.
    ///
    /// # Errors
    /// When it is missing, malformed, or others can read it.
    pub fn load_any(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => KeyFileError::Io { path: path.to_owned(), source },
        };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        Self::parse(&fs::read_to_string(path).map_err(io)?)
            .map_err(|why| KeyFileError::Malformed { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Text { kind, name, created, secret, genesis, successions } =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let bytes = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).map_err(|error| error.to_string());
        let genesis: Option<Signed<Genesis>> = match genesis {
            Some(text) => Some(codec::decode("genesis", &bytes(&text)?).map_err(|error| error.to_string())?),
            None => None,
        };
        let successions: Vec<Endorsed<Succession>> = match successions {
            Some(text) => codec::decode("successions", &bytes(&text)?).map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let this = Self { kind, name, created, keys: Keypair::from_secret(&secret.0), genesis, successions };
        this.check()?;
        Ok(this)
    }

    /// Whether its key is the last one of its lineage, or one of its recovery keys.
    fn check(&self) -> Result<(), String> {
        if let Some(signed) = &self.genesis {
            let genesis = signed.verify().map_err(|error| error.to_string())?;
            if signed.key() != genesis.key {
                return Err("its genesis is not signed by the party's first key".to_owned());
            }
        }
        let Some(lineage) = self.lineage() else { return Ok(()) };
        let descent = lineage.verify()?;
        let key = self.keys.public();
        let its_own =
            if self.kind == Kind::Recovery { lineage.genesis.recovery.contains(&key) } else { descent.key() == key };
        if its_own { Ok(()) } else { Err("its secret is not the key that its genesis and successions name".to_owned()) }
    }

    /// The party's genesis, if this is an operator's or tenant's key.
    #[must_use]
    pub fn genesis(&self) -> Option<Genesis> {
        if let Some(signed) = &self.genesis {
            return signed.open().ok();
        }
        let party = match self.kind {
            Kind::Operator => Party::Operator,
            Kind::Tenant => Party::Tenant,
            Kind::Node | Kind::Recovery => return None,
        };
        Some(Genesis::new(party, &self.name, self.keys.public(), self.created))
    }

    /// The same, signed by the party's first key.
    #[must_use]
    pub fn signed_genesis(&self) -> Option<Signed<Genesis>> {
        self.genesis.clone().or_else(|| self.genesis().map(|genesis| Signed::seal(&self.keys, &genesis)))
    }

    /// The party's keys up to this one.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        self.genesis().map(|genesis| Lineage { genesis, successions: self.successions.clone() })
    }

    /// Puts the party's next key in the place of this one, which is kept beside it under its serial.
    ///
    /// # Errors
    /// When the disk says no: then the old file is still in its place, or the new one already is.
    pub fn replace(path: &Path, next: &Path, serial: u64) -> Result<PathBuf, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), source };
        let retired = |number: u64| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".retired-{number}"));
            PathBuf::from(name)
        };
        let retired = (serial..=u64::MAX).map(retired).find(|path| !path.exists()).unwrap_or_else(|| retired(serial));
        match fs::rename(path, &retired) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
        fs::rename(next, path).map_err(io)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        }
        Ok(retired)
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
    fn a_party_with_recovery_keys_reads_back_whole_and_a_foreign_secret_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (made, apart) = KeyFile::generate_with_recovery(Kind::Tenant, "ada", Timestamp(7), 3, 2);
        made.create(&path("tenant.key")).unwrap();
        apart[1].create(&path("recovery")).unwrap();
        let (key, spare) =
            (KeyFile::load_any(&path("tenant.key")).unwrap(), KeyFile::load_any(&path("recovery")).unwrap());
        assert_eq!(key.genesis().unwrap().recovery.len(), 3);
        assert_eq!(spare.genesis(), key.genesis());
        let new = Keypair::from_secret(&[9; 32]);
        let lineage = key.lineage().unwrap().recover(0, &[&apart[0].keys, &spare.keys], &new, Timestamp(8)).unwrap();
        let next = key.next(new, key.signed_genesis().unwrap(), lineage.clone());
        next.create(&path("next")).unwrap();
        let retired = KeyFile::replace(&path("tenant.key"), &path("next"), 0).unwrap();
        assert_eq!(KeyFile::load(&path("tenant.key"), Kind::Tenant).unwrap().lineage(), Some(lineage));
        assert!(retired.exists());
        let text = KeyFile { keys: Keypair::from_secret(&[8; 32]), ..next }.text();
        assert!(KeyFile::parse(&text).unwrap_err().contains("not the key"));
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

//! What a hoster writes: one commented file, `bocage.toml`, in the node's folder. Parsed once, valid ever after.
//!
//! ```text
//!   FOLDER/bocage.toml          these settings
//!   FOLDER/keys/                operator.key (may live elsewhere), node.key, certificate,
//!                               founding (how the mesh began), request (of an operator that asks to be admitted)
//!   FOLDER/disk/                the segment store
//!   FOLDER/content/             components, by hash
//!   FOLDER/cache/               compiled components: may be deleted at any time
//!   FOLDER/control.sock         the control API, for this machine's own users
//! ```
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bocage_protocol::{
    codec,
    command::Terms,
    id::{MeshId, NodeId},
    identity::{Envelope, Founding, NodeCertificate, NodeIdentity, Signed},
    membership::Address,
    resources::{Currency, Jurisdiction, Price, Resources, Site},
    time::Timestamp,
    wire::{WIRE_NEWEST, WIRE_OLDEST, WireRange},
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    keyfile::{KeyFile, KeyFileError, Kind},
    sealing::sealing_public,
    transport::RelayConfig,
};

/// The name of the file.
pub const FILE: &str = "bocage.toml";
/// What a node's operator says of it.
const CERTIFICATE: &str = "keys/certificate";
/// How the mesh was founded.
const FOUNDING: &str = "keys/founding";
/// With what an operator asks to be admitted.
const REQUEST: &str = "keys/request";
/// A certificate that `node init` makes is valid so long.
const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(365 * 24);

/// The file, as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which mesh, and whom to dial first.
    pub mesh: MeshSettings,
    /// Where this node stands.
    pub node: NodeSettings,
    /// Where it listens.
    pub listen: ListenSettings,
    /// What it offers; left out: nothing.
    pub offer: Option<OfferSettings>,
    /// Whether it relays for others; left out: no.
    pub relay: Option<RelaySettings>,
}

/// `[relay]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    /// Carry bytes between members that cannot dial each other.
    pub offer: bool,
    /// Bytes carried in a second for all of them together, both ways counted.
    #[serde(default = "RelaySettings::default_bytes")]
    pub bytes_per_second_max: u64,
    /// Bytes carried in a second for one of them; left out: a quarter of all.
    pub peer_bytes_per_second_max: Option<u64>,
}

impl RelaySettings {
    /// 8 MiB: two thirds of a line of 100 Mbit/s.
    const fn default_bytes() -> u64 {
        8 << 20
    }

    /// In the transport's words; nothing: it does not relay.
    #[must_use]
    pub fn config(&self) -> Option<RelayConfig> {
        let (all, one) = (self.bytes_per_second_max, self.peer_bytes_per_second_max);
        let config =
            RelayConfig { bytes_per_second_max: all, peer_bytes_per_second_max: one.unwrap_or(all / 4).max(1) };
        self.offer.then_some(config)
    }
}

/// `[mesh]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshSettings {
    /// Its id; left out until the node has founded or joined one.
    pub id: Option<MeshId>,
    /// Self-certifying hosts are `app.tenant.zone`.
    pub zone: String,
    /// Multiaddresses that end in `/p2p/<peer id>`.
    #[serde(default)]
    pub bootstrap: Vec<String>,
    /// Speak wire versions no newer than this, as a node that was not upgraded yet; left out: all that this one can.
    #[serde(default, deserialize_with = "spoken", skip_serializing_if = "Option::is_none")]
    pub wire_newest: Option<u16>,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// The law it answers to.
    pub jurisdiction: Jurisdiction,
    /// The place that fails together.
    pub site: Site,
    /// Finer things that fail together.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSettings {
    /// Multiaddresses for other nodes: QUIC first, TCP as fallback.
    pub mesh: Vec<String>,
    /// What others are told instead of the sockets' own addresses.
    #[serde(default)]
    pub announce: Vec<Address>,
    /// HTTP for everybody.
    pub edge: SocketAddr,
    /// The control API over TCP; requests are signed.
    pub control: SocketAddr,
    /// Look for nodes on the local network.
    #[serde(default)]
    pub mdns: bool,
}

/// `[offer]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferSettings {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Mebibytes of memory.
    pub memory_mib: u64,
    /// Gibibytes of disk.
    pub disk_gib: u64,
    /// Currency of the prices.
    pub currency: Currency,
    /// For a core and month of 730 hours, in cents.
    pub cpu_core_month: u64,
    /// For a GiB of memory and month, in cents.
    pub memory_gib_month: u64,
    /// For a GiB of disk and month, in cents.
    pub disk_gib_month: u64,
}

/// Why a folder is not a node's. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no settings file.
    #[error("{0} is not the folder of a node: it has no bocage.toml. Make one: bocage node init --dir {0}")]
    Missing(PathBuf),
    /// It does not read.
    #[error("{path}:{line}:{column}: {why}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// It was made, and has neither founded nor joined a mesh.
    #[error("the node in {0} belongs to no mesh yet: bocage node join INVITE, or bocage mesh found NAME")]
    NoMesh(PathBuf),
    /// The certificate does not count.
    #[error("{path}: {why}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The folder is in use already.
    #[error("{0} holds a node already; choose another folder")]
    Exists(PathBuf),
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the disk said.
        source: std::io::Error,
    },
}

fn spoken<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u16>, D::Error> {
    let newest = u16::deserialize(d)?;
    WireRange::up_to(newest).map(|_| Some(newest)).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "wire_newest = {newest}: this version speaks wire versions {WIRE_OLDEST} to {WIRE_NEWEST}; leave it out for all"
        ))
    })
}

impl MeshSettings {
    /// The wire versions that are spoken.
    #[must_use]
    pub fn wire(&self) -> WireRange {
        self.wire_newest.and_then(WireRange::up_to).unwrap_or_default()
    }
}

impl Settings {
    /// Reads a folder's file.
    ///
    /// # Errors
    /// When it is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let file = path.join(FILE);
        let text = fs::read_to_string(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => SettingsError::Missing(path.to_owned()),
            _ => SettingsError::Io { path: file.clone(), source },
        })?;
        toml::from_str(&text).map_err(|error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or("");
            SettingsError::Malformed {
                path: file.clone(),
                line: before.matches('\n').count() + 1,
                column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
                why: error.message().to_owned(),
            }
        })
    }
}

impl OfferSettings {
    /// In the protocol's units.
    #[must_use]
    pub fn terms(&self) -> Terms {
        // Cents a month → millionths of a cent an hour.
        let hourly = |cents: u64| cents.saturating_mul(1_000_000) / 730;
        Terms {
            total: Resources {
                cpu_millis: self.cpu_millis,
                memory_bytes: self.memory_mib.saturating_mul(1 << 20),
                disk_bytes: self.disk_gib.saturating_mul(1 << 30),
            },
            price: Price {
                currency: self.currency,
                cpu_core_hour: hourly(self.cpu_core_month),
                memory_gib_hour: hourly(self.memory_gib_month),
                disk_gib_hour: hourly(self.disk_gib_month),
            },
        }
    }
}

/// A node's folder that was read and found whole.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// What its file says.
    pub settings: Settings,
    /// Who it is.
    pub identity: NodeIdentity,
    /// The node's key, for the transport.
    pub node_key: KeyFile,
    /// Its mesh.
    pub mesh: MeshId,
    /// How the mesh was founded, if the folder knows.
    pub founding: Option<Founding>,
    /// With what its operator asks to be admitted, if it must.
    pub request: Option<Vec<Envelope>>,
}

/// What a node is given when it becomes one of a mesh.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which.
    pub mesh: MeshId,
    /// How it was founded.
    pub founding: Option<Founding>,
    /// With what its operator asks to be admitted.
    pub request: Option<Vec<Envelope>>,
}

impl Folder {
    /// Makes a new folder: the node's key, settings, and the certificate if the settings name a mesh.
    ///
    /// # Errors
    /// When there is a node already, or the disk says no; what was made is taken away again.
    pub fn create(
        path: &Path,
        settings: &Settings,
        operator: &KeyFile,
        now: Timestamp,
    ) -> Result<NodeId, SettingsError> {
        let file = path.join(FILE);
        if file.exists() {
            return Err(SettingsError::Exists(path.to_owned()));
        }
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| SettingsError::Io { path, source }
        };
        fs::create_dir_all(path.join("keys")).map_err(io(path))?;
        let node_key = path.join("keys/node.key");
        let key = KeyFile::generate(Kind::Node, "", now);
        key.create(&node_key)?;
        let certified = match settings.mesh.id {
            Some(mesh) => write_certificate(path, settings, mesh, operator, &key, now),
            None => Ok(()),
        };
        let written = certified.and_then(|()| {
            let body = format!("{HEAD}{}", toml::to_string(settings).expect("settings are plain TOML"));
            fs::write(&file, body).map_err(io(&file))
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&node_key);
            let _ = fs::remove_file(path.join(CERTIFICATE));
            return Err(error);
        }
        Ok(key.keys.node())
    }

    /// Makes the node of a folder one of a mesh: certificate, founding statement, request. The settings must then name
    /// the mesh too: that is the last step, and the caller's, who keeps the owner's comments.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn enter(path: &Path, entry: &Entry, operator: &KeyFile, now: Timestamp) -> Result<(), SettingsError> {
        let settings = Settings::read(path)?;
        let key = KeyFile::load(&path.join("keys/node.key"), Kind::Node)?;
        write_certificate(path, &settings, entry.mesh, operator, &key, now)?;
        if let Some(founding) = &entry.founding {
            write_text(&path.join(FOUNDING), &codec::encode(founding))?;
        }
        if let Some(request) = &entry.request {
            write_text(&path.join(REQUEST), &codec::encode(request))?;
        }
        Ok(())
    }

    /// Takes back [`Folder::enter`]: the node belongs to no mesh again.
    pub fn leave(path: &Path) {
        for file in [CERTIFICATE, FOUNDING, REQUEST] {
            // What is not there need not be taken away.
            let _ = fs::remove_file(path.join(file));
        }
    }

    /// Makes a new certificate for the node of a folder, as its settings say now, and puts it in the place of the one before.
    ///
    /// # Errors
    /// When it is not a node's folder, or the disk says no: then the certificate before is still in its place.
    pub fn certify(path: &Path, operator: &KeyFile, now: Timestamp) -> Result<Signed<NodeCertificate>, SettingsError> {
        let settings = Settings::read(path)?;
        let key = KeyFile::load(&path.join("keys/node.key"), Kind::Node)?;
        let mesh = settings.mesh.id.ok_or_else(|| SettingsError::NoMesh(path.to_owned()))?;
        let certificate = certify(&settings, mesh, operator, &key, now);
        let (certified, next) = (path.join(CERTIFICATE), path.join("keys/certificate.next"));
        let text = data_encoding::BASE64.encode(&codec::encode(&certificate));
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &certified));
        written.map_err(|source| SettingsError::Io { path: certified, source })?;
        Ok(certificate)
    }

    /// As `certify`, by the operator's key in the folder itself, if it is there and the certificate is past two thirds of its
    /// life. `None`: there was nothing to do, or no key to do it with.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn renew(path: &Path, now: Timestamp) -> Result<Option<Signed<NodeCertificate>>, SettingsError> {
        if Settings::read(path)?.mesh.id.is_none() {
            return Ok(None);
        }
        let operator = match KeyFile::load(&path.join("keys/operator.key"), Kind::Operator) {
            Ok(operator) => operator,
            Err(KeyFileError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let current = Self::certificate(path)?.open();
        let is_due = current.is_ok_and(|it| now >= it.not_before + it.expires.since(it.not_before) / 3 * 2);
        if is_due { Self::certify(path, &operator, now).map(Some) } else { Ok(None) }
    }

    /// The certificate of a folder's node, whether it still counts or not.
    ///
    /// # Errors
    /// When the certificate is missing or unreadable.
    pub fn certificate(path: &Path) -> Result<Signed<NodeCertificate>, SettingsError> {
        let certified = path.join(CERTIFICATE);
        let refuse = |why: String| SettingsError::Certificate { path: certified.clone(), why };
        let text = fs::read_to_string(&certified).map_err(|error| refuse(error.to_string()))?;
        let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).map_err(|error| refuse(error.to_string()))?;
        let signed: Signed<NodeCertificate> =
            codec::decode("node certificate", &bytes).map_err(|error| refuse(error.to_string()))?;
        signed.verify().map_err(|error| refuse(error.to_string()))?;
        Ok(signed)
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// When it is not a node's, or something in it does not count; says which file and what to do.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, SettingsError> {
        let settings = Settings::read(path)?;
        let mesh = settings.mesh.id.ok_or_else(|| SettingsError::NoMesh(path.to_owned()))?;
        let node_key = KeyFile::load(&path.join("keys/node.key"), Kind::Node)?;
        let signed = Self::certificate(path)?;
        let refuse = |why: String| SettingsError::Certificate { path: path.join(CERTIFICATE), why };
        let identity =
            NodeIdentity::new(node_key.keys.clone(), signed, mesh, now).map_err(|error| refuse(error.to_string()))?;
        let founding: Option<Founding> = read_text(&path.join(FOUNDING), "founding statement")?;
        if founding.as_ref().is_some_and(|founding| founding.mesh() != mesh) {
            let why = "it is another mesh's than mesh.id in bocage.toml names".to_owned();
            return Err(SettingsError::Certificate { path: path.join(FOUNDING), why });
        }
        let request = read_text(&path.join(REQUEST), "request to be admitted")?;
        Ok(Self { path: path.to_owned(), settings, identity, node_key, mesh, founding, request })
    }
}

fn write_certificate(
    path: &Path,
    settings: &Settings,
    mesh: MeshId,
    operator: &KeyFile,
    node: &KeyFile,
    now: Timestamp,
) -> Result<(), SettingsError> {
    write_text(&path.join(CERTIFICATE), &codec::encode(&certify(settings, mesh, operator, node, now)))
}

fn write_text(path: &Path, bytes: &[u8]) -> Result<(), SettingsError> {
    let io = |source| SettingsError::Io { path: path.to_owned(), source };
    fs::write(path, data_encoding::BASE64.encode(bytes)).map_err(io)
}

fn read_text<T: for<'b> minicbor::Decode<'b, ()>>(path: &Path, what: &'static str) -> Result<Option<T>, SettingsError> {
    let refuse = |why: String| SettingsError::Certificate { path: path.to_owned(), why };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SettingsError::Io { path: path.to_owned(), source }),
    };
    let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).map_err(|error| refuse(error.to_string()))?;
    codec::decode(what, &bytes).map(Some).map_err(|error| refuse(error.to_string()))
}

/// The operator says: this node is mine, it stands there.
fn certify(
    settings: &Settings,
    mesh: MeshId,
    operator: &KeyFile,
    node: &KeyFile,
    now: Timestamp,
) -> Signed<NodeCertificate> {
    let certificate = NodeCertificate {
        mesh,
        operator: operator.genesis().expect("an operator's key file has a genesis"),
        node: node.keys.node(),
        site: settings.node.site.clone(),
        jurisdiction: settings.node.jurisdiction,
        domains: settings.node.domains.clone(),
        // Clocks differ: a peer that is a little behind must not find it too young.
        not_before: now - Duration::from_mins(5),
        expires: now + CERTIFICATE_LIFETIME,
        serial: now.0,
        sealing: sealing_public(&node.keys),
        successions: (!operator.successions.is_empty()).then(|| operator.successions.clone()),
    };
    Signed::seal(&operator.keys, &certificate)
}

const HEAD: &str = "\
# A node of a Bocage mesh. After a change: restart the node (bocage node run).
# mesh.bootstrap   whom to dial first; once the node knows its mesh, none of them need be alive
# node.site        the place that fails together: building, power feed, uplink
# listen.mesh      for other nodes: UDP for QUIC, TCP as fallback; both must be reachable
# listen.announce  where others reach it, if a router forwards a port to it
# relay            offer = true: carry bytes, within bounds, for members that nobody can dial
# offer            what the mesh may use of this machine, and prices in cents for a month of 730 hours

";

/// The wall clock.
#[must_use]
pub fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_version_that_is_not_spoken_is_refused_with_those_that_are() {
        let read = |newest: &str| {
            let id = MeshId::of(b"mesh");
            toml::from_str::<MeshSettings>(&format!("id = \"{id}\"\nzone = \"localhost\"\n{newest}"))
        };
        assert_eq!(read("").unwrap().wire(), WireRange::default());
        assert_eq!(read("wire_newest = 1").unwrap().wire().newest(), 1);
        let error = read("wire_newest = 9").unwrap_err().to_string();
        assert!(error.contains("this version speaks wire versions 1 to 2; leave it out for all"), "{error}");
    }
}

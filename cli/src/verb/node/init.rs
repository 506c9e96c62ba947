//! `bocage node init`: keys, certificate and settings of a new node, and of a new mesh if it is the first.
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bocage_node::{
    keyfile::{KeyFile, KeyFileError, Kind},
    settings::{
        Folder as NodeFolder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, Settings, SettingsError, wall,
    },
    transport::{node_of_address, peer_of},
};
use bocage_protocol::{
    codec,
    id::{MeshId, NodeId},
    identity::Founding,
    resources::{Jurisdiction, Site},
};
use clap::Args;
use serde_json::json;

use super::Folder;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    verb::{
        keys::make,
        offer::set::{Terms, euro},
    },
};

/// The port for other nodes, UDP and TCP.
const MESH_PORT: u16 = 4_001;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage node init --found my-mesh --name alder --jurisdiction FR --site home --cpu 2 --memory 2GiB --disk 20GiB
  bocage node init --mesh ID --bootstrap /ip4/203.0.113.7/udp/4001/quic-v1/p2p/PEER --name birch \\
      --jurisdiction DE --site cellar --cpu 2 --memory 2GiB --disk 20GiB")]
pub(crate) struct Init {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    which: Which,
    /// What the operator is called
    #[arg(long, value_name = "OPERATOR", required_unless_present = "operator_key")]
    name: Option<String>,
    /// The operator's key file, if there is one already; else one is made in the node's folder
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    #[command(flatten)]
    recovery: make::Recovery,
    /// The law that the node answers to: an ISO 3166-1 code, such as FR
    #[arg(long, value_name = "CODE")]
    jurisdiction: Jurisdiction,
    /// The place that fails together: building, power feed, uplink
    #[arg(long, value_name = "NAME")]
    site: String,
    /// A finer thing that fails together, such as power:A; may be given again
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// A node to dial first: a multiaddress that ends in /p2p/PEER; may be given again
    #[arg(long, value_name = "ADDR")]
    bootstrap: Vec<String>,
    /// Suffix of apps' own host names
    #[arg(long, default_value = "localhost", value_name = "ZONE")]
    zone: String,
    /// Port for other nodes, UDP and TCP
    #[arg(long, default_value_t = MESH_PORT, value_name = "PORT")]
    port: u16,
    /// An address that other nodes reach this one at, where it is not the sockets' own; may be given again
    #[arg(long, value_name = "ADDR")]
    announce: Vec<String>,
    /// Where HTTP for apps comes in
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDR")]
    edge: SocketAddr,
    /// Where the control API is; requests over TCP are signed
    #[arg(long, default_value = "127.0.0.1:4080", value_name = "ADDR")]
    control: SocketAddr,
    /// Look for nodes on the local network
    #[arg(long)]
    mdns: bool,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Join the mesh of this id
    #[arg(long, value_name = "ID")]
    mesh: Option<MeshId>,
    /// Found a mesh of this name
    #[arg(long, value_name = "NAME")]
    found: Option<String>,
}

impl Init {
    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        if let Some(wrong) = self.bootstrap.iter().find(|text| node_of_address(text).is_none()) {
            return Err(not_an_address(wrong));
        }
        let path = self.folder.path()?;
        let flag = self.folder.flag();
        let key_path = self.operator_key.clone().unwrap_or_else(|| path.join("keys/operator.key"));
        let (operator, apart) = operator(&key_path, self.name.as_deref(), self.recovery)?;
        let mesh = match (&self.which.mesh, &self.which.found) {
            (Some(mesh), _) => *mesh,
            (None, Some(name)) => found(&path, name, &operator)?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        let port = self.port;
        let settings = self.settings(mesh);
        let node = NodeFolder::create(&path, &settings, &operator, wall()).map_err(|error| refused(&error, &flag))?;
        let address = format!("/ip4/ADDRESS/udp/{port}/quic-v1{}", peer_suffix(node));
        let said = json!({ "dir": path, "node_id": node, "mesh": mesh, "operator_key": key_path, "address": address });
        at.say.done(
            &said,
            format!(
                "Made node {} in {}.\n  mesh     {mesh}\n  operator {} ({}): keep a copy{}\n  address  {address}\n\
                 Run it:  bocage node run{flag}\n\
                 Others join with:  bocage node init --mesh {mesh} --bootstrap {address} …",
                node.short(),
                path.display(),
                operator.name,
                key_path.display(),
                make::told(&apart),
            ),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn settings(self, mesh: MeshId) -> Settings {
        let port = self.port;
        Settings {
            mesh: MeshSettings { id: mesh, zone: self.zone, bootstrap: self.bootstrap, wire_newest: None },
            node: NodeSettings { jurisdiction: self.jurisdiction, site: Site(self.site), domains: self.domains },
            listen: ListenSettings {
                mesh: everywhere(port),
                announce: self.announce,
                edge: self.edge,
                control: self.control,
                mdns: self.mdns,
            },
            offer: Some(self.terms.over(&modest())),
            relay: None,
        }
    }
}

/// Every address of this machine, IPv6 first where there is any: no NAT is in between there.
fn everywhere(port: u16) -> Vec<String> {
    // The daemon listens for IPv6 alone on it, and asks for the port before it does for IPv4.
    let has_ip6 = std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ips = if has_ip6 { vec!["/ip6/::", "/ip4/0.0.0.0"] } else { vec!["/ip4/0.0.0.0"] };
    ips.into_iter().flat_map(|ip| [format!("{ip}/udp/{port}/quic-v1"), format!("{ip}/tcp/{port}")]).collect()
}

/// What is offered where nobody says otherwise: a part of a small machine.
fn modest() -> OfferSettings {
    OfferSettings {
        cpu_millis: 1_000,
        memory_mib: 1_024,
        disk_gib: 10,
        currency: euro(),
        cpu_core_month: 400,
        memory_gib_month: 150,
        disk_gib_month: 5,
    }
}

/// The operator's key: loaded, or made under a name, with its recovery keys.
pub(crate) fn operator(
    path: &Path,
    name: Option<&str>,
    recovery: make::Recovery,
) -> Result<(KeyFile, Vec<PathBuf>), Failure> {
    let no_key = |error: KeyFileError| Failure::new(Exit::Unauthorised, "no-key", error.to_string());
    match (KeyFile::load(path, Kind::Operator), name) {
        (Err(KeyFileError::Missing(_)), Some(name)) => {
            recovery.checked()?.make(Kind::Operator, name, path).map_err(no_key)
        }
        (loaded, _) => Ok((loaded.map_err(no_key)?, Vec::new())),
    }
}

/// The founding statement of a mesh with one founder, kept beside his key.
fn found(path: &Path, name: &str, operator: &KeyFile) -> Result<MeshId, Failure> {
    let genesis = operator.genesis().expect("an operator's key file has a genesis");
    let founding = Founding { name: name.to_owned(), operators: vec![genesis], founded: wall() };
    keep(&path.join("keys/founding"), &founding)?;
    Ok(founding.mesh())
}

/// Keeps a founding statement where people find it.
pub(crate) fn keep(path: &Path, founding: &Founding) -> Result<(), Failure> {
    let text = data_encoding::BASE64.encode(&codec::encode(founding));
    fs::write(path, text).map_err(|error| Failure::io(path.display(), &error))
}

/// `/p2p/…` of a node's address.
pub(crate) fn peer_suffix(node: NodeId) -> String {
    peer_of(node).map(|peer| format!("/p2p/{peer}")).unwrap_or_default()
}

pub(super) fn not_an_address(text: &str) -> Failure {
    Failure::new(Exit::Usage, "address", format!("{text:?} is not a node's address"))
        .next("it looks like /ip4/203.0.113.7/udp/4001/quic-v1/p2p/PEER: node init of that node showed it")
}

/// A folder that is not a node's, or is one already.
pub(super) fn refused(error: &SettingsError, flag: &str) -> Failure {
    let (exit, next) = match error {
        SettingsError::Missing(_) => (Exit::NotFound, Some(format!("bocage node init{flag} …"))),
        SettingsError::Exists(_) => (Exit::Conflict, Some(format!("run it: bocage node run{flag}"))),
        SettingsError::Malformed { .. } => {
            (Exit::Usage, Some(format!("check it: bocage node run{flag} --check-config")))
        }
        SettingsError::Key(_) => (Exit::Unauthorised, None),
        SettingsError::Certificate { .. } => (
            Exit::Unauthorised,
            Some(format!("check this machine's clock; else: bocage node renew{flag} --operator-key FILE")),
        ),
        SettingsError::Io { .. } => (Exit::Failed, None),
    };
    let failure = Failure::new(exit, "node-folder", error.to_string());
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

//! `bocage node init`: keys and settings of a new node. It belongs to a mesh once it has joined or founded one; with
//! `--found` or `--mesh` it does at once.
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bocage_node::{
    keyfile::{KeyFile, KeyFileError, Kind},
    settings::{Entry, Folder as NodeFolder, SettingsError, wall},
    transport::peer_of,
};
use bocage_protocol::{
    charter::ELECTORS_MAX,
    codec,
    id::{MeshId, NodeId},
    identity::{Founding, Genesis},
};
use clap::Args;
use serde_json::json;

use super::{Folder, edit, make::Make};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    verb::keys::make::{self, Recovery},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage node init                    asks what it must know; then: bocage node join INVITE, or bocage mesh found NAME
  bocage node init --name alder --jurisdiction FR --site home --cpu 2 --memory 2GiB --disk 20GiB")]
pub(crate) struct Init {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Which {
    /// Be a node of the mesh of this id; its operator must be, or become, a member
    #[arg(long, value_name = "ID")]
    mesh: Option<MeshId>,
    /// Found a mesh of this name
    #[arg(long, value_name = "NAME")]
    found: Option<String>,
}

impl Init {
    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        let made = self.make.make(&path, &flag, self.which.mesh)?;
        let mesh = match &self.which.found {
            Some(name) => Some(found(&path, &flag, name, &made.operator, Vec::new())?),
            None => self.which.mesh,
        };
        let address = format!("/ip4/ADDRESS/udp/{}/quic-v1{}", made.port, peer_suffix(made.node));
        let said = json!({
            "dir": path, "node_id": made.node, "mesh": mesh, "operator_key": made.operator_key, "address": address,
        });
        let next = match mesh {
            Some(mesh) => format!("  mesh     {mesh}\nRun it:  bocage node run{flag}"),
            None => format!("Join a mesh:  bocage node join INVITE{flag}\nFound one:    bocage mesh found NAME{flag}"),
        };
        at.say.done(
            &said,
            format!(
                "Made node {} in {}.\n  operator {} ({}): keep a copy{}\n  address  {address}\n{next}",
                made.node.short(),
                path.display(),
                made.operator.name,
                made.operator_key.display(),
                make::told(&made.apart),
            ),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes the node of a folder the first of a new mesh, and its operator a founder, with these others.
pub(crate) fn found(
    path: &Path,
    flag: &str,
    name: &str,
    operator: &KeyFile,
    others: Vec<Genesis>,
) -> Result<MeshId, Failure> {
    let mut operators = vec![operator.genesis().expect("an operator's key file has a genesis")];
    for other in others {
        if operators.contains(&other) {
            return Err(Failure::new(Exit::Usage, "founder", format!("{} is named as a founder twice", other.name)));
        }
        operators.push(other);
    }
    if operators.len() > ELECTORS_MAX {
        let what = format!("a mesh has at most {ELECTORS_MAX} founders");
        return Err(Failure::new(Exit::Usage, "founder", what).next("invite the others afterwards: bocage mesh invite"));
    }
    let founding = Founding { name: name.to_owned(), operators, founded: wall() };
    let mesh = founding.mesh();
    let entry = Entry { mesh, founding: Some(founding), request: None };
    NodeFolder::enter(path, &entry, operator, wall()).map_err(|error| refused(&error, flag))?;
    edit::mesh(path, mesh, &[])?;
    Ok(mesh)
}

/// The operator's key: loaded, or made under a name, with its recovery keys.
pub(crate) fn operator(
    path: &Path,
    name: Option<&str>,
    recovery: Recovery,
) -> Result<(KeyFile, Vec<PathBuf>), Failure> {
    let no_key = |error: KeyFileError| Failure::new(Exit::Unauthorised, "no-key", error.to_string());
    match (KeyFile::load(path, Kind::Operator), name) {
        (Err(KeyFileError::Missing(_)), Some(name)) => {
            recovery.checked()?.make(Kind::Operator, name, path).map_err(no_key)
        }
        (loaded, _) => Ok((loaded.map_err(no_key)?, Vec::new())),
    }
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
pub(crate) fn refused(error: &SettingsError, flag: &str) -> Failure {
    let (exit, next) = match error {
        SettingsError::Missing(_) => (Exit::NotFound, Some(format!("bocage node init{flag} …"))),
        SettingsError::Exists(_) => (Exit::Conflict, Some(format!("run it: bocage node run{flag}"))),
        SettingsError::Malformed { .. } => {
            (Exit::Usage, Some(format!("check it: bocage node run{flag} --check-config")))
        }
        SettingsError::NoMesh(_) => {
            (Exit::Conflict, Some(format!("bocage node join INVITE{flag}, or bocage mesh found NAME{flag}")))
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

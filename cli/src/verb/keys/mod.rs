//! `bocage keys`: change, recover and revoke keys, keep copies of them. What is said goes to one node, which tells the mesh.
pub(crate) mod card;
pub(crate) mod make;
mod backup;
mod passphrase;
mod recover;
mod resolve;
mod restore;
mod revoke;
mod rotate;
mod show;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use bocage_node::{
    control::api,
    keyfile::{KeyFile, KeyFileError, Kind},
    settings::Folder,
};
use bocage_protocol::{
    codec,
    id::{NodeId, OperatorId, PartyId},
    identity::{Lineage, Standing},
};
use clap::Subcommand;

use crate::{
    control::Control,
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
    target::Target,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Show whose key a file holds, and how it came to be theirs
    Show(show::Show),
    /// Change the key of an operator or tenant: the one before is dead
    Rotate(rotate::Rotate),
    /// Take a lost or stolen key back with recovery keys
    Recover(recover::Recover),
    /// Void a node's certificates: it is thrown out of the mesh
    Revoke(revoke::Revoke),
    /// Explain a node's contradiction, so that it is given votes and leases again
    Resolve(resolve::Resolve),
    /// Write a key into a file that only a passphrase opens
    Backup(backup::Backup),
    /// Bring a key back from such a file
    Restore(restore::Restore),
}

impl Keys {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Show(show) => show.run(at),
            Self::Rotate(rotate) => rotate.run(at).await,
            Self::Recover(recover) => recover.run(at).await,
            Self::Revoke(revoke) => revoke.run(at).await,
            Self::Resolve(resolve) => resolve.run(at).await,
            Self::Backup(backup) => backup.run(at),
            Self::Restore(restore) => restore.run(at),
        }
    }
}

/// A key file, or what is wrong with it.
fn load(path: &Path) -> Result<KeyFile, Failure> {
    KeyFile::load_any(path).map_err(|error| no_key(&error))
}

fn load_kind(path: &Path, kind: Kind) -> Result<KeyFile, Failure> {
    KeyFile::load(path, kind).map_err(|error| no_key(&error))
}

fn no_key(error: &KeyFileError) -> Failure {
    Failure::new(Exit::Unauthorised, "no-key", error.to_string())
}

/// The lineage of a party's key.
fn lineage_of(key: &KeyFile, path: &Path) -> Result<Lineage, Failure> {
    key.lineage().filter(|_| matches!(key.kind, Kind::Operator | Kind::Tenant)).ok_or_else(|| {
        let what = format!("{} holds the key of a {:?}, not of an operator or tenant", path.display(), key.kind);
        let failure = Failure::new(Exit::Usage, "no-party", what);
        match key.kind {
            Kind::Node => failure.next(
                "a node's key is the node: revoke the old one (bocage keys revoke NODE) and make a new one (bocage node init)",
            ),
            Kind::Operator | Kind::Tenant | Kind::Recovery => failure.next("see what it is: bocage keys show FILE"),
        }
    })
}

/// `path` with something behind its name.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(more);
    name.into()
}

/// The node that is told: `--node`, else the folder's own if it runs, else this machine's, else a demo's. Over TCP `key`
/// signs.
fn control(at: &Invocation, folder: Option<&Path>, key: &KeyFile) -> Result<Control, Failure> {
    let runs = |path: &Path| path.join("control.sock").exists();
    let own = folders::node().ok().filter(|path| runs(path));
    let target = match (&at.node, folder.filter(|path| runs(path)), own) {
        (Some(node), ..) => node.clone(),
        (None, Some(folder), _) => Target::socket(folder),
        (None, None, Some(own)) => Target::socket(&own),
        (None, None, None) => Target::find(None)?,
    };
    Ok(at.control_at(target, Some(key.clone().into())))
}

/// What a node knows of a party's changes of keys; `None`: of none.
async fn known(control: &Control, party: PartyId) -> Result<Option<Lineage>, Failure> {
    let answer: api::Lineage = match control.get(&format!("/v1/keys/{party}")).await {
        Ok(answer) => answer,
        Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let nonsense = |why: String| Failure::new(Exit::Failed, "other-version", format!("the node's answer: {why}"));
    let bytes = data_encoding::BASE64.decode(answer.lineage.as_bytes()).map_err(|error| nonsense(error.to_string()))?;
    let lineage: Lineage = codec::decode("lineage", &bytes).map_err(|error| nonsense(error.to_string()))?;
    lineage.verify().map_err(nonsense)?;
    Ok(Some(lineage))
}

/// What a node knows that an operator has ruled about a node.
async fn ruling(control: &Control, operator: OperatorId, node: NodeId) -> Result<api::Ruling, Failure> {
    control.get(&format!("/v1/rulings/{operator}/{node}")).await
}

/// Whichever of two lineages of one party is in force.
fn stronger(one: Lineage, other: Option<Lineage>) -> Lineage {
    let Some(other) = other else { return one };
    match (one.descent(), other.descent()) {
        (Ok(ours), Ok(theirs)) if ours.against(&theirs) != Standing::Outranked => one,
        _ => other,
    }
}

/// The node folder that a key file lies in, if it lies in one.
fn folder_around(key: &Path) -> Option<PathBuf> {
    let folder = key.parent()?.parent()?;
    folder.join("bocage.toml").exists().then(|| folder.to_owned())
}

/// Certifies the nodes of these folders by `operator` and tells those that run. How many run.
pub(crate) async fn certify(at: &Invocation, folders: &[PathBuf], operator: &KeyFile) -> Result<usize, Failure> {
    let mut running = 0;
    for folder in folders {
        let signed = Folder::certify(folder, operator, bocage_node::settings::wall())
            .map_err(|error| Failure::new(Exit::Failed, "node-folder", error.to_string()))?;
        let socket = Target::socket(folder);
        if folder.join("control.sock").exists() {
            match at.control_at(socket, None).certificate(&signed).await {
                Ok(()) => running += 1,
                // A socket that a dead daemon left.
                Err(failure) if failure.code == "no-node" => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(running)
}

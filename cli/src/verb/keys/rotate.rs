//! `bocage keys rotate`: a new key in the place of the current one. Made anew at any point it was broken off: the new key
//! lies beside the old one until a node was told.
use std::path::PathBuf;

use bocage_node::{
    keyfile::{KeyFile, Kind},
    settings::wall,
};
use bocage_protocol::record::KeyWord;
use clap::Args;
use serde_json::json;

use super::{beside, certify, control, folder_around, known, lineage_of, load, no_key, stronger};
use crate::{
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
    say,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage keys rotate                                         your tenant key
  bocage keys rotate NODE/keys/operator.key                  an operator's, and the certificate of that node
  bocage keys rotate operator.key --dir NODE1 --dir NODE2    the same, for the nodes of these folders

Nodes on other machines are members again once they have a certificate by the new key: bring them the new key file, and
run bocage node renew --operator-key FILE there.")]
pub(crate) struct Rotate {
    /// The key file of an operator or tenant [default: your tenant key]
    file: Option<PathBuf>,
    /// A node's folder whose certificate is renewed; may be given again [default: the one that the key file lies in]
    #[arg(long = "dir", value_name = "FOLDER")]
    dirs: Vec<PathBuf>,
}

impl Rotate {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let path = self.file.or_else(|| at.globals.key.clone()).map_or_else(folders::tenant_key, Ok)?;
        let next_path = beside(&path, ".next");
        let old = load(&path)?;
        let lineage = lineage_of(&old, &path)?;
        let mut dirs = self.dirs;
        if old.kind == Kind::Operator && dirs.is_empty() {
            dirs.extend(folder_around(&path));
        }
        let asked = control(at, dirs.first().map(PathBuf::as_path), &old)?;
        let party = lineage.genesis.party_id();
        let strongest = stronger(lineage.clone(), known(&asked, party).await?);
        let next = if next_path.exists() { load(&next_path)? } else { made(&old, &lineage, &next_path)? };
        let next_lineage = lineage_of(&next, &next_path)?;
        if stronger(next_lineage.clone(), Some(strongest)) != next_lineage {
            let what = "this key was replaced before, by whoever had it or your recovery keys";
            return Err(Failure::new(Exit::Conflict, "replaced", what)
                .next("use the newer key file; if it was not you: bocage keys recover"));
        }
        let running = certify(at, &dirs, &next).await?;
        let control = control(at, dirs.first().map(PathBuf::as_path), &next)?;
        control.tell(&KeyWord::Lineage(next_lineage)).await?;
        let retired =
            KeyFile::replace(&path, &next_path, old.successions.len() as u64).map_err(|error| no_key(&error))?;
        let serial = next.successions.len();
        let said = json!({
            "party": party, "serial": serial, "key": path, "retired": retired,
            "certified": dirs.len(), "told_running": running,
        });
        let nodes = match dirs.len() {
            0 => String::new(),
            count => format!("\n  {} certified anew, {running} of them at once", say::counted(count, "node")),
        };
        at.say.done(
            &said,
            format!(
                "The key of {} is new (serial {serial}): {}.{nodes}\n  the old one is dead, and kept as {}: secrets sealed \
                 to it still open with it\n  keep a copy:  bocage keys backup {}",
                old.name,
                path.display(),
                retired.display(),
                path.display(),
            ),
        );
        Ok(())
    }
}

fn made(
    old: &KeyFile,
    lineage: &bocage_protocol::identity::Lineage,
    path: &std::path::Path,
) -> Result<KeyFile, Failure> {
    let keys = KeyFile::generate(old.kind, &old.name, old.created).keys;
    let refuse = |error: bocage_protocol::identity::LineageError| {
        Failure::new(Exit::Failed, "lineage", format!("the key cannot be changed: {error}"))
    };
    let lineage = lineage.succeed(&old.keys, &keys, wall()).map_err(refuse)?;
    let genesis = old.signed_genesis().ok_or_else(|| Failure::new(Exit::Failed, "lineage", "it has no genesis"))?;
    let next = old.next(keys, genesis, lineage);
    next.create(path).map_err(|error| no_key(&error))?;
    Ok(next)
}

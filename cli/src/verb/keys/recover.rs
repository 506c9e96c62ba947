//! `bocage keys recover`: recovery keys make a new key. It undoes every change of the key since the last recovery, by
//! whomever.
use std::path::PathBuf;

use bocage_node::{
    keyfile::{KeyFile, Kind},
    settings::wall,
};
use bocage_protocol::{identity::Keypair, record::KeyWord};
use clap::Args;
use serde_json::json;

use super::{beside, certify, control, folder_around, known, lineage_of, load_kind, no_key, stronger};
use crate::{
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage keys recover NODE/keys/operator.key --recovery usb/operator.key.recovery-1 --recovery safe/operator.key.recovery-3")]
pub(crate) struct Recover {
    /// Where the new key goes; what is there is kept beside it [default: your tenant key]
    file: Option<PathBuf>,
    /// A recovery key file; as many as the threshold
    #[arg(long, value_name = "FILE", required = true)]
    recovery: Vec<PathBuf>,
    /// A node's folder whose certificate is renewed; may be given again [default: the one that the key file lies in]
    #[arg(long = "dir", value_name = "FOLDER")]
    dirs: Vec<PathBuf>,
}

impl Recover {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let path = self.file.or_else(|| at.globals.key.clone()).map_or_else(folders::tenant_key, Ok)?;
        let recovery: Vec<KeyFile> =
            self.recovery.iter().map(|path| load_kind(path, Kind::Recovery)).collect::<Result<_, _>>()?;
        let first = &recovery[0];
        let (Some(genesis), Some(mut lineage)) = (first.signed_genesis(), first.lineage()) else {
            return Err(Failure::new(Exit::Usage, "no-party", "the recovery key does not say whose it is"));
        };
        let party = lineage.genesis.party_id();
        if recovery.iter().any(|key| key.genesis().is_none_or(|genesis| genesis.party_id() != party)) {
            return Err(Failure::new(Exit::Usage, "no-party", "these recovery keys are of different parties")
                .next("see whose they are: bocage keys show FILE"));
        }
        // What the old file knows of recoveries counts, whoever has its key.
        if let Ok(old) = KeyFile::load_any(&path)
            && let Some(theirs) = old.lineage().filter(|theirs| theirs.genesis.party_id() == party)
        {
            lineage = stronger(lineage, Some(theirs));
        }
        let mut dirs = self.dirs;
        if dirs.is_empty() && lineage.genesis.party == bocage_protocol::identity::Party::Operator {
            dirs.extend(folder_around(&path));
        }
        // Over TCP nobody but the new key could sign; it is made first and told along with the request.
        let next_path = beside(&path, ".next");
        let kept =
            next_path.exists().then(|| KeyFile::load_any(&next_path)).transpose().map_err(|error| no_key(&error))?;
        let keys =
            kept.map_or_else(|| KeyFile::generate(Kind::Recovery, &first.name, first.created).keys, |key| key.keys);
        let make = |lineage: &bocage_protocol::identity::Lineage, keys: &Keypair| {
            let by: Vec<&Keypair> = recovery.iter().map(|key| &key.keys).collect();
            let after = lineage.descent().map_or(0, |descent| descent.last_recovery());
            lineage.recover(after, &by, keys, wall()).map_err(|error| {
                let needed = lineage.genesis.threshold;
                Failure::new(Exit::Unauthorised, "recovery", format!("the key is not recovered: {error}"))
                    .next(format!("it takes {needed} of this party's recovery keys: give --recovery FILE for each"))
            })
        };
        let signer = first.next(keys.clone(), genesis.clone(), make(&lineage, &keys)?);
        let control = control(at, dirs.first().map(PathBuf::as_path), &signer)?;
        let lineage = stronger(lineage, known(&control, party).await?);
        let recovered = make(&lineage, &keys)?;
        let next = first.next(keys, genesis, recovered.clone());
        if next_path.exists() {
            std::fs::remove_file(&next_path).map_err(|error| Failure::io(next_path.display(), &error))?;
        }
        next.create(&next_path).map_err(|error| no_key(&error))?;
        let running = certify(at, &dirs, &next).await?;
        control.tell(&KeyWord::Lineage(recovered)).await?;
        let serial = next.successions.len();
        let retired = KeyFile::replace(&path, &next_path, serial as u64 - 1).map_err(|error| no_key(&error))?;
        lineage_of(&next, &path)?;
        let said =
            json!({ "party": party, "serial": serial, "key": path, "retired": retired, "told_running": running });
        at.say.done(
            &said,
            format!(
                "The key of {} is yours again (serial {serial}): {}. Every key before it is dead.\n  what stood there is \
                 kept as {}\n  keep a copy:  bocage keys backup {}",
                next.name,
                path.display(),
                retired.display(),
                path.display(),
            ),
        );
        Ok(())
    }
}

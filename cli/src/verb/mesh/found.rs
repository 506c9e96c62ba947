//! `bocage mesh found`: the node of this folder is the first of a new mesh, and its operator the founder.
use std::process::ExitCode;

use bocage_node::{
    keyfile::{KeyFile, Kind},
    settings::{Settings, SettingsError},
};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    verb::keys::card,
    verb::node::{
        Folder,
        init::{self, refused},
        make::Make,
    },
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage mesh found our-mesh                                           of a node that node init made
  bocage mesh found our-mesh --name alder --jurisdiction FR --site attic    on an empty machine
  bocage mesh found our-mesh --with bocage-party-1.… --with …               with others, who decide too")]
pub(crate) struct Found {
    /// What people call it
    #[arg(value_name = "NAME")]
    called: String,
    /// Another founder: his card, as his bocage keys show FILE says it; may be given again. All founders are electors
    #[arg(long = "with", value_name = "CARD")]
    with: Vec<String>,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    make: Make,
}

impl Found {
    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        let others = self.with.iter().map(|text| card::read(text)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = others.iter().map(|other| other.name.clone()).collect();
        let operator = match Settings::read(&path) {
            Ok(settings) => {
                if let Some(mesh) = settings.mesh.id {
                    let what = format!("the node in {} belongs to mesh {mesh} already", path.display());
                    return Err(Failure::new(Exit::Conflict, "other-mesh", what)
                        .next("found one with another folder: bocage mesh found NAME --dir OTHER"));
                }
                if self.make.says_something() {
                    let what = format!("{} is made already: flags about the node do not change it", path.display());
                    return Err(Failure::new(Exit::Usage, "node-folder", what)
                        .next("change bocage.toml, and leave the flags out"));
                }
                let key = self.make.operator_key.clone().unwrap_or_else(|| path.join("keys/operator.key"));
                KeyFile::load(&key, Kind::Operator)
                    .map_err(|error| Failure::new(Exit::Unauthorised, "no-key", error.to_string()))?
            }
            Err(SettingsError::Missing(_)) => self.make.make(&path, &flag, None)?.operator,
            Err(error) => return Err(refused(&error, &flag)),
        };
        let mesh = init::found(&path, &flag, &self.called, &operator, others)?;
        at.say.done(
            &json!({ "dir": path, "mesh": mesh, "name": self.called, "operator": operator.name }),
            format!(
                "Founded {} ({mesh}). {}.\nRun the node:   bocage node run{flag}\n\
                 Invite others:  bocage mesh invite{flag}",
                self.called,
                electors(&operator.name, &names),
            ),
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn electors(founder: &str, others: &[String]) -> String {
    match others {
        [] => format!("{founder} is its first elector"),
        others => format!("{founder}, {} are its first electors; the others join with one invite", others.join(", ")),
    }
}

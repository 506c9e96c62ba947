//! `bocage offer`: what a node offers to the mesh, and at which price. The operator's key signs over TCP; the node's own
//! socket needs none.
pub(crate) mod set;
mod show;

use std::path::PathBuf;

use bocage_node::keyfile::{KeyFile, Kind};
use clap::{Args, Subcommand};

use crate::{
    control::{Control, Signer},
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
    say,
    target::Target,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Offer {
    /// Change what a node offers
    Set(set::Set),
    /// Show what a node offers, and how much of it is used
    Show(show::Show),
}

impl Offer {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run(at).await,
            Self::Show(show) => show.run(at).await,
        }
    }
}

/// Whose node, and by which key.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The node's folder [default: `$XDG_DATA_HOME/bocage/node`]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// The operator's key file [default: keys/operator.key in the node's folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: Option<PathBuf>,
}

impl Whose {
    /// The node: `--dir`, else `--node`, else this machine's own, else a demo's.
    pub(crate) fn control(&self, at: &Invocation) -> Result<Control, Failure> {
        let own = folders::node().ok().filter(|path| path.join("control.sock").exists());
        let target = match (&self.dir, &at.node, own) {
            (_, Some(node), _) => node.clone(),
            (Some(dir), None, _) => Target::socket(dir),
            (None, None, Some(own)) => Target::socket(&own),
            (None, None, None) => Target::find(None)?,
        };
        let signer = match &target {
            Target::Unix(_) => None,
            Target::Tcp(address) => self.signer(at, address)?,
        };
        Ok(at.control_at(target, signer))
    }

    /// The operator, if his key is at hand; else whoever the tenant is: reading needs no more.
    fn signer(&self, at: &Invocation, address: &str) -> Result<Option<Signer>, Failure> {
        let in_folder = |dir: &PathBuf| dir.join("keys/operator.key");
        let of_demo = crate::verb::demo::record::folder_of(address);
        let path = self.operator_key.clone().or_else(|| self.dir.as_ref().or(of_demo.as_ref()).map(in_folder));
        let Some(path) = path else { return Ok(Some(at.tenant_at_first_use()?.signer())) };
        let key = KeyFile::load(&path, Kind::Operator)
            .map_err(|error| Failure::new(Exit::Unauthorised, "no-key", error.to_string()))?;
        Ok(Some(key.into()))
    }
}

/// An offer as a table.
pub(crate) fn shown(offer: &bocage_node::control::api::Offer) -> String {
    let monthly = |micro: u64| {
        let cents = (u128::from(micro) * 730).div_ceil(1_000_000);
        format!("{}.{:02} {}", cents / 100, cents % 100, offer.currency)
    };
    let cores = |millis: u64| format!("{}.{:03} cores", millis / 1_000, millis % 1_000);
    say::table(
        ["", "OFFERED", "IN USE", "A MONTH"],
        [
            [
                "cpu".to_owned(),
                cores(offer.cpu_millis),
                cores(offer.cpu_millis_used),
                format!("{} a core", monthly(offer.cpu_core_hour_micro)),
            ],
            [
                "memory".to_owned(),
                say::in_bytes(offer.memory_bytes),
                say::in_bytes(offer.memory_bytes_used),
                format!("{} a GiB", monthly(offer.memory_gib_hour_micro)),
            ],
            [
                "disk".to_owned(),
                say::in_bytes(offer.disk_bytes),
                say::in_bytes(offer.disk_bytes_used),
                format!("{} a GiB", monthly(offer.disk_gib_hour_micro)),
            ],
        ],
    )
}

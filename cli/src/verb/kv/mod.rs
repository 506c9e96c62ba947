//! `bocage kv`: an app's keys, as its tenant reads and writes them. What is written is signed by the tenant and committed
//! by the cell; what is read is as of now.
mod get;
mod set;
mod list;
mod cas;
mod delete;

use std::io::Read as _;

use bocage_node::control::api::Applied;
use bocage_protocol::{
    cell::{TenantAction, Write},
    codec::Blob,
    id::CellId,
};
use clap::{Args, Subcommand};

use crate::{
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    tenant::Tenant,
};

/// What a cell takes as one value.
const VALUE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Read a key
    Get(get::Get),
    /// Write a key
    Set(set::Set),
    /// List keys
    List(list::List),
    /// Write a key only if nobody else did since you read it
    Cas(cas::Cas),
    /// Take a key away
    Delete(delete::Delete),
}

/// Where keys are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Which app
    app: String,
    /// In which of its stores
    #[arg(long, short, default_value = "default", value_name = "NAME")]
    store: String,
}

/// A cell that was found, and who asks.
struct Opened {
    tenant: Tenant,
    control: Control,
    cell: CellId,
}

impl Kv {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Get(get) => get.run(at).await,
            Self::Set(set) => set.run(at).await,
            Self::List(list) => list.run(at).await,
            Self::Cas(cas) => cas.run(at).await,
            Self::Delete(delete) => delete.run(at).await,
        }
    }
}

impl Place {
    async fn open(&self, at: &Invocation) -> Result<Opened, Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        Ok(Opened { tenant, control, cell })
    }
}

impl Opened {
    async fn write(&self, write: Write) -> Result<Applied, Failure> {
        let command = self.tenant.command(Some(self.cell), TenantAction::Write(vec![write]));
        self.control.submit(self.cell, &command).await
    }
}

/// The value as given, or all of stdin for `-`.
fn value(given: String) -> Result<Blob, Failure> {
    let bytes = if given == "-" {
        let mut bytes = Vec::new();
        let mut stdin = std::io::stdin().lock().take(VALUE_BYTES_MAX as u64 + 1);
        stdin.read_to_end(&mut bytes).map_err(|error| Failure::io("stdin", &error))?;
        bytes
    } else {
        given.into_bytes()
    };
    if bytes.len() > VALUE_BYTES_MAX {
        let what = format!("a value has at most {VALUE_BYTES_MAX} bytes");
        return Err(Failure::new(Exit::Usage, "too-large", what).next("split it over several keys"));
    }
    Ok(bytes.into())
}

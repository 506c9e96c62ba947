//! `bocage kv set`: write a key, whatever it held.
use bocage_protocol::cell::Write;
use clap::Args;

use super::{Place, value};
use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    place: Place,
    /// Which key
    key: String,
    /// What; - reads it from stdin
    #[arg(allow_hyphen_values = true)]
    value: String,
}

impl Set {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let opened = self.place.open(at).await?;
        let write = Write::Set { store: self.place.store, key: self.key.clone(), value: value(self.value)? };
        let applied = opened.write(write).await?;
        at.say.done(&applied, format!("{} is written, version {}.", self.key, applied.number));
        Ok(())
    }
}

//! `bocage kv delete`: take a key away; harmless when it is not there.
use bocage_protocol::cell::Write;
use clap::Args;

use super::Place;
use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
    /// Which key
    key: String,
}

impl Delete {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let opened = self.place.open(at).await?;
        let applied = opened.write(Write::Delete { store: self.place.store, key: self.key.clone() }).await?;
        at.say.done(&applied, format!("{} is gone.", self.key));
        Ok(())
    }
}

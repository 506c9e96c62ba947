//! `bocage offer show`: what a node offers, and how much of it is used.
use clap::Args;

use super::{Whose, shown};
use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    whose: Whose,
}

impl Show {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let offer = self.whose.control(at)?.status().await?.offer;
        at.say.result(&offer, |offer| offer.as_ref().map(shown).unwrap_or_default());
        if offer.is_none() {
            at.say.step("It offers nothing. Change that: bocage offer set --cpu 2 --memory 2GiB --disk 20GiB");
        }
        Ok(())
    }
}

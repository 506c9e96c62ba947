//! `bocage kv cas`: compare and swap: write a key only if it still is what was read.
use bocage_protocol::cell::Write;
use clap::Args;

use super::{Place, value};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

#[derive(Debug, Args)]
pub(crate) struct Cas {
    #[command(flatten)]
    place: Place,
    /// Which key
    key: String,
    /// The version that was read, as kv get --output json tells it; 0: the key is not there
    #[arg(long, value_name = "VERSION")]
    expect: u64,
    /// What; - reads it from stdin
    #[arg(allow_hyphen_values = true)]
    value: String,
}

impl Cas {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let opened = self.place.open(at).await?;
        let value = Some(value(self.value)?);
        let (store, expected) = (self.place.store, self.expect);
        let applied = opened.write(Write::Swap { store, key: self.key.clone(), expected, value }).await?;
        if applied.outcome == "conflict" {
            let found = match applied.number {
                0 => "it is not there".to_owned(),
                version => format!("its version is {version}"),
            };
            let what = format!("{} was expected at version {expected}, but {found}; nothing was written", self.key);
            return Err(Failure::new(Exit::Conflict, "conflict", what)
                .next(format!("read it again: bocage kv get {} {} --output json", self.place.app, self.key)));
        }
        at.say.done(&applied, format!("{} is written, version {}.", self.key, applied.number));
        Ok(())
    }
}

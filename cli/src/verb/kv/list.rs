//! `bocage kv list`: keys of a store, in order.
use bocage_node::control::api::Keys;
use clap::Args;

use super::Place;
use crate::{control::encode, failure::Failure, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Only keys that begin so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only keys behind this one: goes on where the last list ended
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl List {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let opened = self.place.open(at).await?;
        let after = self.after.as_deref().map(|after| format!("&after={}", encode(after))).unwrap_or_default();
        let path = format!(
            "/v1/cells/{}/stores/{}/keys?prefix={}&limit={}{after}",
            opened.cell,
            encode(&self.place.store),
            encode(&self.prefix),
            self.limit
        );
        let keys: Keys = opened.control.get(&path).await?;
        at.say.result(&keys, |keys| say::lines(&keys.keys));
        if let (true, Some(last)) = (keys.more, keys.keys.last()) {
            at.say.step(format!("There are more: --after {last:?}"));
        }
        Ok(())
    }
}

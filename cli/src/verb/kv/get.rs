//! `bocage kv get`: one key's value, byte by byte, as of now.
use std::io::IsTerminal as _;

use bocage_node::control::api::Value;
use clap::Args;
use serde_json::json;

use super::Place;
use crate::{
    control::encode,
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
    /// Which key
    key: String,
}

impl Get {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let opened = self.place.open(at).await?;
        let (store, key) = (encode(&self.place.store), encode(&self.key));
        let path = format!("/v1/cells/{}/stores/{store}/value?key={key}", opened.cell);
        let found: Value = opened.control.get(&path).await?;
        let bytes = data_encoding::BASE64.decode(found.value.as_bytes()).map_err(|error| {
            Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {error}"))
        })?;
        if at.say.is_json() {
            say::json(&json!({
                "store": self.place.store,
                "key": self.key,
                // Null where it is not text; base64 is always there.
                "value": std::str::from_utf8(&bytes).ok(),
                "base64": found.value,
                "version": found.version,
            }));
            return Ok(());
        }
        at.say.detail(format!("version {}", found.version));
        say::bytes_to_stdout(&bytes);
        if std::io::stdout().is_terminal() {
            say::to_stdout("\n");
        }
        Ok(())
    }
}

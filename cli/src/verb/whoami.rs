//! `bocage whoami`: in whose name commands are signed, and which node is asked.
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::{failure::Failure, invocation::Invocation, say, target::Target};

#[derive(Debug, Args)]
pub(crate) struct Whoami {}

impl Whoami {
    pub(crate) fn run(at: &Invocation) -> Result<ExitCode, Failure> {
        let tenant = at.tenant()?;
        let node = Target::find(at.node.as_ref()).ok().map(|target| target.to_string());
        let said = json!({
            "tenant": tenant.id(),
            "name": tenant.key.name,
            "serial": tenant.key.successions.len(),
            "key": tenant.path.display().to_string(),
            "node": node,
        });
        at.say.result(&said, |_| {
            let row = |name: &str, value: String| [name.to_owned(), value];
            let rows = [
                row("tenant", tenant.id().to_string()),
                row("name", tenant.key.name.clone()),
                row("key", format!("{} (serial {})", tenant.path.display(), tenant.key.successions.len())),
                row("node", node.clone().unwrap_or_else(|| "none: name one with --node".to_owned())),
            ];
            say::table(["", ""], rows).trim_start_matches('\n').to_owned()
        });
        Ok(ExitCode::SUCCESS)
    }
}

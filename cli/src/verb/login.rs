//! `bocage login`: make or load the tenant's key. Nothing is asked of anybody: the key *is* the tenant.
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::keys::make;
use crate::{failure::Failure, invocation::Invocation, tenant::Tenant};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// What people call you; kept in a new key, not unique
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    recovery: make::Recovery,
}

impl Login {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let (tenant, made) = Tenant::load_or_make(at.globals.key.as_ref(), self.name.as_deref(), self.recovery)?;
        let path = tenant.path.display().to_string();
        let said = json!({
            "tenant": tenant.id(), "name": tenant.key.name, "key": path, "made": made.is_some(), "recovery": made,
        });
        at.say.result(&said, |_| format!("{}\n", tenant.id()));
        at.say.step(match &made {
            Some(apart) if apart.is_empty() => {
                format!(
                    "Made your key: {path}. Whoever has it is you; lost, it is gone: keep a copy (bocage keys backup)."
                )
            }
            Some(apart) => format!("Made your key: {path}. Whoever has it is you.{}", make::told(apart)),
            None => format!("You are {}, by {path}.", tenant.key.name),
        });
        Ok(ExitCode::SUCCESS)
    }
}

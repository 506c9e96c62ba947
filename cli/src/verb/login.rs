//! `bocage login`: make or load the tenant's key. Nothing is asked of anybody: the key *is* the tenant.
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::{failure::Failure, invocation::Invocation, tenant::Tenant};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// What people call you; kept in a new key, not unique
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Login {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let (tenant, made) = Tenant::load_or_make(at.globals.key.as_ref(), self.name.as_deref())?;
        let path = tenant.path.display().to_string();
        let said = json!({ "tenant": tenant.id(), "name": tenant.key.name, "key": path, "made": made });
        at.say.result(&said, |_| format!("{}\n", tenant.id()));
        at.say.step(if made {
            format!("Made your key: {path}. Whoever has it is you; lost, it is gone: keep a copy.")
        } else {
            format!("You are {}, by {path}.", tenant.key.name)
        });
        Ok(ExitCode::SUCCESS)
    }
}

//! `bocage status APP`: each replica and instance with operator, jurisdiction and site, and why it was placed there.
use std::fmt::Write as _;

use bocage_node::control::api::{AppStatus, Cell};
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Which app
    app: String,
}

impl Status {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let status = control.app_status(cell).await?;
        at.say.result(&status, shown);
        Ok(())
    }
}

fn shown(status: &AppStatus) -> String {
    let mut text = say::bold(&status.app);
    let current = status.releases.iter().find(|release| release.current);
    if let Some(current) = current {
        let _ = write!(text, "  release {} of {}", current.number, say::time(current.deployed_ms));
    }
    let _ = write!(text, ", {} to {} instances", status.scale_min, status.scale_max);
    if let Some(removed) = status.removed_ms {
        let _ = write!(text, "; {}", say::red(&format!("ended {}", say::time(removed))));
    }
    text.push('\n');
    for cell in &status.cells {
        text.push_str(&of_cell(cell));
    }
    text.push('\n');
    text.push_str(&say::table(
        ["INSTANCE", "STATE", "OPERATOR", "LAW", "SITE", "NODE", "GENERATION", "WHY THERE"],
        status.instances.iter().map(|instance| {
            let state = match &instance.reason {
                Some(reason) => format!("{}: {reason}", instance.state),
                None => instance.state.clone(),
            };
            [
                instance.number.to_string(),
                state,
                instance.operator.clone(),
                instance.jurisdiction.clone(),
                instance.site.clone(),
                say::short(&instance.node_id),
                instance.generation.to_string(),
                instance.why.clone(),
            ]
        }),
    ));
    if !status.secrets.is_empty() {
        let _ = writeln!(text, "\nsecrets: {}", status.secrets.join(", "));
    }
    text
}

fn of_cell(cell: &Cell) -> String {
    let mut text = format!(
        "\ncell {}  line {}, writer {}, survives {}\n",
        say::short(&cell.cell),
        cell.line,
        cell.writer,
        survives(&cell.grade)
    );
    text.push_str(&say::table(
        ["REPLICA", "OPERATOR", "LAW", "SITE", "NODE", "APPLIED", "WHY THERE"],
        cell.replicas.iter().map(|replica| {
            let leads = cell.leader.as_ref() == Some(&replica.node_id);
            let role = if leads { "leader" } else { &replica.role };
            [
                role.to_owned(),
                replica.operator.clone(),
                replica.jurisdiction.clone(),
                replica.site.clone(),
                say::short(&replica.node_id),
                replica.applied.map_or_else(|| "?".to_owned(), |applied| applied.to_string()),
                replica.why.clone(),
            ]
        }),
    ));
    text
}

/// What a grade promises, in a sentence's end.
pub(super) fn survives(grade: &str) -> String {
    match grade {
        "nothing" => say::red("no loss at all"),
        "operator" => "the loss of any one operator".to_owned(),
        "site" => "the loss of any one operator or site".to_owned(),
        "jurisdiction" => "the loss of any one operator, site or jurisdiction".to_owned(),
        other => other.to_owned(),
    }
}

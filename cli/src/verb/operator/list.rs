//! `bocage operator list`
use bocage_node::control::roll::Roll;
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, roll::Elector, say};

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    elector: Elector,
}

impl List {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let roll: Roll = self.elector.control(at)?.get("/v1/roll").await?;
        if roll.mesh_name.is_none() {
            at.say.step("This node does not know how its mesh was founded: it counts everybody.");
        }
        at.say.result(&roll.operators, |operators| {
            say::table(
                ["OPERATOR", "ID", "SINCE", ""],
                operators.iter().map(|operator| {
                    let is = match (operator.excluded_ms, operator.founder, operator.elector) {
                        (Some(at), ..) => format!("excluded {}", say::time(at)),
                        (None, true, true) => "founder, elector".to_owned(),
                        (None, true, false) => "founder".to_owned(),
                        (None, false, true) => "elector".to_owned(),
                        (None, false, false) => String::new(),
                    };
                    [operator.name.clone(), say::short(&operator.operator_id), say::time(operator.since_ms), is]
                }),
            )
        });
        Ok(())
    }
}

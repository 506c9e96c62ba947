//! `bocage charter show`
use std::time::Duration;

use bocage_node::{
    control::roll::{Charter, Motion, Roll},
    settings::wall,
};
use clap::Args;

use crate::{
    failure::Failure,
    invocation::Invocation,
    roll::{Elector, is_void, names, stands},
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    elector: Elector,
}

impl Show {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let roll: Roll = self.elector.control(at)?.get("/v1/roll").await?;
        at.say.result(&roll, shown);
        Ok(())
    }
}

fn shown(roll: &Roll) -> String {
    let Some(name) = &roll.mesh_name else {
        return "This node does not know how its mesh was founded: it counts everybody.\n".to_owned();
    };
    let mut text = format!("Mesh {name}\n");
    for charter in roll.charter.iter().chain(&roll.coming) {
        text += &version(charter);
    }
    let motions: Vec<&Motion> = roll.motions.iter().filter(|motion| !is_void(motion)).collect();
    if !motions.is_empty() {
        let now = wall().0;
        let row = |motion: &Motion| {
            let about = motion.about.as_ref().map(|about| about.name.clone());
            let name = motion.alias.as_ref().map(|alias| alias.name.clone());
            let about = about.or(name).or_else(|| motion.reason.clone()).unwrap_or_default();
            [say::short(&motion.id), motion.matter.clone(), about, stands(motion, now), names(&motion.silent)]
        };
        text += "\n";
        text += &say::table(["MOTION", "", "ABOUT", "BALLOTS", "SILENT"], motions.into_iter().map(row));
    }
    text
}

fn version(charter: &Charter) -> String {
    let rows = [
        [
            "electorate".to_owned(),
            format!("{} ({} of them carry a motion)", names(&charter.electorate), charter.needed),
        ],
        ["admissions".to_owned(), format!("{} in 24 hours", charter.admissions_per_day)],
        ["dominance".to_owned(), format!("at most {} of 1000, from four operators on", charter.dominance_permille)],
        ["notice".to_owned(), say::duration(Duration::from_millis(charter.notice_ms))],
    ];
    let head = format!("version {}", charter.version);
    say::table([head.as_str(), &format!("in force from {}", say::time(charter.from_ms))], rows)
}

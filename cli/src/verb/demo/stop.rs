//! `bocage demo stop`: ends a demo's nodes; its folder stays.
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    farm,
    record::{self, Record},
};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Which demo [default: the newest that runs]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Stop {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let record = match &self.dir {
            Some(dir) => Record::load(dir)?.ok_or_else(|| {
                Failure::new(Exit::NotFound, "no-demo", format!("{} holds no demo", dir.display()))
                    .next("name the folder that demo --dir named, or none for the newest that runs")
            })?,
            None => record::newest_running().ok_or_else(|| {
                Failure::new(Exit::NotFound, "no-demo", "no demo runs here").next("start one: bocage demo")
            })?,
        };
        let stopped = farm::stop_all(&record.nodes).await;
        let dir = record.dir.display().to_string();
        let said = format!("{} stopped. Start again: bocage demo --dir {dir}", say::counted(stopped, "node"));
        at.say.done(&json!({ "dir": dir, "stopped": stopped }), said);
        Ok(())
    }
}

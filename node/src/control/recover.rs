//! What is left of an app that has lost its majority, and the recovery that its tenant has carried out. The recovery proves
//! itself, so it does not matter who brings it; its signatures are checked here, outside the machine.
use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
};
use bocage_protocol::{
    cell::RecoveryPapers,
    command::{Command, Reply},
    id::CellId,
    identity::Verified,
    refusal::Code,
    survey::Findings,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    api,
    routes::{COMMAND_MAX, Known, No, Said, Shared, ask, decode, no, unexpected},
};

/// A survey comes first, then what it is about is made durable.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// What is left of an app, as those that could be asked say.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Survey {
    /// In which mesh.
    pub mesh: String,
    /// Which cell.
    pub cell: String,
    /// The app's name.
    pub app: String,
    /// The highest line that anybody holds.
    pub line: u64,
    /// Voters of that line.
    pub voters: usize,
    /// How many of them answered. More than half: nothing is lost.
    pub voters_there: usize,
    /// Nothing is lost.
    pub majority: bool,
    /// Who holds something, best first: a recovery goes on from the first.
    pub survivors: Vec<Survivor>,
    /// Members from which nothing is to be had.
    pub missing: Vec<Missing>,
    /// Jurisdictions where the app is at home from which nobody answers: a recovery would be a fork.
    pub cut_off: Vec<String>,
    /// What a recovery would lose at worst.
    pub loss: Loss,
    /// Operators that must sign beside the tenant, so many of them.
    pub operators: Vec<String>,
    /// How many.
    pub threshold: u32,
    /// What is kept of lines that have ended.
    pub kept: Vec<Kept>,
    /// When it was found, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Somebody who holds something of an app.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Survivor {
    /// On which node.
    pub node_id: String,
    /// Its replica.
    pub replica: u64,
    /// `voter` or `learner`.
    pub role: String,
    /// Its line.
    pub line: u64,
    /// Of its newest entry.
    pub term: u64,
    /// Of its newest entry.
    pub index: u64,
    /// What it knows to be agreed.
    pub committed: u64,
    /// The stamp of its newest entry, in milliseconds since the Unix epoch.
    pub newest_ms: u64,
    /// How long ago it last was one of a majority; `null`: not since it started.
    pub alone_for_ms: Option<u64>,
    /// Why nothing can go on from it.
    pub stopped: Option<String>,
}

/// A member from which nothing is to be had.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// On which node.
    pub node_id: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// `voter` or `learner`.
    pub role: String,
    /// It answered, and why that is of no use; `null`: it did not answer.
    pub why: Option<String>,
}

/// What a recovery would lose at worst.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Loss {
    /// Entries that somebody has heard of and the first survivor lacks. There may be more of which nobody heard.
    pub entries_known: u64,
    /// Whatever was acknowledged in so many milliseconds before now may be lost; `null`: since its newest entry.
    pub window_ms: Option<u64>,
    /// The stamp of the newest entry that is not lost.
    pub newest_ms: u64,
}

/// What is kept of a line that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// Where.
    pub node_id: String,
    /// Which line.
    pub line: u64,
    /// Up to which index.
    pub index: u64,
    /// The stamp of its newest entry.
    pub newest_ms: u64,
    /// As which cell it is read: captures and components are those of this one.
    pub cell: String,
}

/// An app that goes on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Recovered {
    /// The line that has begun.
    pub line: u64,
}

/// Asks all that may hold something of a cell. For the app's tenant, and for operators, who may have to sign.
#[utoipa::path(get, path = "/v1/cells/{cell}/survey", params(("cell" = String, Path)),
    responses((status = 200, body = Survey), (status = 404, body = api::Problem)))]
pub(super) async fn survey(State(control): State<Shared>, known: Known, Path(cell): Path<CellId>) -> Said<Survey> {
    let Reply::Surveyed(found) = ask(&control, COMMAND_MAX, Command::Survey { cell }).await? else {
        return Err(unexpected());
    };
    let Some((tenant, app)) = found.of.clone() else {
        let detail = "nobody who could be asked holds anything of this cell; ask a node that was one of its members";
        return Err(no(Code::NotFound, detail));
    };
    if !known.0.is_tenant(tenant) && !known.0.is_operator() {
        return Err(no(Code::Unauthorised, "this is another tenant's"));
    }
    Ok(Json(Survey::of(*found, app)))
}

/// Has a recovery carried out. The body is the CBOR of `RecoveryPapers`.
#[utoipa::path(post, path = "/v1/recoveries", request_body = Vec<u8>,
    responses((status = 200, body = Recovered), (status = 409, body = api::Problem)))]
pub(super) async fn recover(State(control): State<Shared>, body: Bytes) -> Said<Recovered> {
    let read = decode::<RecoveryPapers>("recovery", &body).and_then(|papers| {
        Verified::check(papers, |_| false).map_err(|error| no(Code::Unauthorised, error.to_string()))
    });
    let papers = read.inspect_err(|No(refusal)| {
        tracing::warn!(%refusal, "a recovery is none");
        control.node.recoveries_refused().inc();
    })?;
    let command = Command::Recover(Box::new(papers.into_inner()));
    let Reply::Recovered { line } = ask(&control, RECOVERY_MAX, command).await? else { return Err(unexpected()) };
    Ok(Json(Recovered { line }))
}

impl Survey {
    fn of(found: Findings, app: String) -> Self {
        let role = |votes: bool| if votes { "voter" } else { "learner" }.to_owned();
        let majority = found.has_majority();
        let survivors = found.held.into_iter().map(|(node, held)| Survivor {
            node_id: node.to_string(),
            replica: held.base.replica.0,
            role: role(held.votes),
            line: held.line,
            term: held.base.term,
            index: held.base.index,
            committed: held.committed,
            newest_ms: held.stamp.0,
            alone_for_ms: held.alone_ms,
            stopped: held.stopped,
        });
        let missing = found.missing.into_iter().map(|missing| Missing {
            node_id: missing.node.to_string(),
            jurisdiction: missing.law.to_string(),
            role: role(missing.votes),
            why: missing.empty,
        });
        let kept = found.kept.into_iter().map(|(node, kept)| Kept {
            node_id: node.to_string(),
            line: kept.line,
            index: kept.index,
            newest_ms: kept.time.0,
            cell: kept.cell.to_string(),
        });
        let loss = found.loss;
        Self {
            mesh: found.mesh.to_string(),
            cell: found.cell.to_string(),
            app,
            line: found.line,
            voters: found.voters.0,
            voters_there: found.voters.1,
            majority,
            survivors: survivors.collect(),
            missing: missing.collect(),
            cut_off: found.cut_off.iter().map(ToString::to_string).collect(),
            loss: Loss { entries_known: loss.entries, window_ms: loss.window_ms, newest_ms: loss.newest.0 },
            operators: found.recoverers.operators.iter().map(ToString::to_string).collect(),
            threshold: found.recoverers.threshold,
            kept: kept.collect(),
            at_ms: found.at.0,
        }
    }
}

//! Emptying a node, and leaving for good.
use std::{fs, path::Path, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use bocage_protocol::{
    cell::{Answer, Barrier, Description, Query},
    command::{Command, DrainShown, DrainStage, Reply},
    departure,
    id::CellId,
    refusal::Code,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Control,
    routes::{COMMAND_MAX, Known, No, Said, Shared, ask, no, unexpected},
};
use crate::settings::wall;

/// In a node's folder, once it has left: its process does not start again.
pub const LEFT: &str = "left.json";
/// Cells that a leaving node says it was in; of more, the first.
const CELLS_MAX: usize = 16_384;

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// `not`, `draining`, `empty`, `spared`, `refused` or `as-crash`.
    pub stage: String,
    /// The node may be stopped.
    pub may_stop: bool,
    /// When it began, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Until when others have time to take over.
    pub deadline_ms: Option<u64>,
    /// What is still here.
    pub held: Vec<Held>,
}

/// What a draining node still holds of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// Which cell.
    pub cell: String,
    /// Its app.
    pub app: String,
    /// `voter`, `learner`, `past`: a member no more that has not heard of it; none.
    pub replica: Option<String>,
    /// It is led here.
    pub leads: bool,
    /// Instances that run here.
    pub instances: usize,
    /// The rules in force: before 3 nothing is replaced because of a drain.
    pub rules: u32,
    /// Without this node it would survive one more loss, and be served.
    pub survives: bool,
}

/// An order to empty a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrain {
    /// So long others have to take over.
    pub within_ms: u64,
    /// Past that the node may be stopped with whatever it holds.
    #[serde(default)]
    pub as_crash: bool,
}

/// That a node has left, kept in its folder as `left.json`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Left {
    /// Which node.
    pub node_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub left_ms: u64,
    /// How the drain had ended.
    pub stage: String,
    /// Who holds what it held.
    pub handed_over: Vec<HandedOver>,
}

/// What a cell said when the node had left it: read from its leader, who asked a majority whether it still leads.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HandedOver {
    /// Which cell.
    pub cell: String,
    /// Its app.
    pub app: Option<String>,
    /// Its line.
    pub line: u64,
    /// The index as of which it was read.
    pub applied: u64,
    /// Nodes with a vote.
    pub voters: Vec<String>,
    /// Nodes with an instance.
    pub instances: Vec<String>,
    /// Why it could not be read, or that it still names the node.
    pub problem: Option<String>,
}

/// Which cells the node was in, as whoever watched the drain saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Their ids.
    pub cells: Vec<String>,
}

impl Drain {
    fn of(shown: DrainShown) -> Self {
        let (stage, may_stop) = match shown.stage {
            DrainStage::Not => ("not", false),
            DrainStage::Draining => ("draining", false),
            DrainStage::Empty => ("empty", true),
            DrainStage::Spared => ("spared", true),
            DrainStage::Refused => ("refused", false),
            DrainStage::AsCrash => ("as-crash", true),
        };
        let held = shown.held.into_iter().map(|held| Held {
            cell: held.cell.to_string(),
            app: held.app,
            replica: match (held.votes, held.learns, held.past) {
                (true, ..) => Some("voter".to_owned()),
                (false, true, _) => Some("learner".to_owned()),
                (false, false, true) => Some("past".to_owned()),
                (false, false, false) => None,
            },
            leads: held.leads,
            instances: held.instances,
            rules: held.rules,
            survives: held.survives,
        });
        Self {
            stage: stage.to_owned(),
            may_stop,
            since_ms: shown.since.map(|since| since.0),
            deadline_ms: shown.deadline.map(|deadline| deadline.0),
            held: held.collect(),
        }
    }
}

async fn progress(control: &Control) -> Result<Drain, No> {
    let Reply::Drained(shown) = ask(control, COMMAND_MAX, Command::Drained).await? else { return Err(unexpected()) };
    Ok(Drain::of(*shown))
}

/// How far the drain of this node is.
#[utoipa::path(get, path = "/v1/drain", responses((status = 200, body = Drain)))]
pub(super) async fn drained(State(control): State<Shared>) -> Said<Drain> {
    Ok(Json(progress(&control).await?))
}

/// Empties this node; `null` ends that.
#[utoipa::path(put, path = "/v1/drain", request_body = Option<NewDrain>, responses((status = 204)))]
pub(super) async fn drain(
    State(control): State<Shared>,
    known: Known,
    Json(order): Json<Option<NewDrain>>,
) -> Result<StatusCode, No> {
    must_be_operator(known)?;
    let order = order
        .map(|order| departure::Order { within: Duration::from_millis(order.within_ms), as_crash: order.as_crash });
    ask(&control, COMMAND_MAX, Command::Drain(order)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn must_be_operator(known: Known) -> Result<(), No> {
    if known.0.is_operator() {
        return Ok(());
    }
    Err(no(Code::Unauthorised, "only this node's operator empties it"))
}

/// Ends a drained node for good: writes down who holds what it held, and stops its process.
#[utoipa::path(put, path = "/v1/leave", request_body = Leave, responses((status = 200, body = Left), (status = 409)))]
pub(super) async fn leave(State(control): State<Shared>, known: Known, Json(leave): Json<Leave>) -> Said<Left> {
    must_be_operator(known)?;
    let drain = progress(&control).await?;
    if !drain.may_stop {
        let detail = format!("the node still holds parts of {} apps: drain it first", drain.held.len());
        return Err(no(Code::Conflict, detail));
    }
    let mut handed_over = Vec::new();
    for cell in leave.cells.iter().take(CELLS_MAX) {
        let cell: CellId = cell.parse().map_err(|error| no(Code::Invalid, format!("{cell}: {error}")))?;
        handed_over.push(proof(&control, cell).await);
    }
    let left = Left { node_id: control.me.to_string(), left_ms: wall().0, stage: drain.stage, handed_over };
    let path = control.folder.join(LEFT);
    let text = serde_json::to_string_pretty(&left).expect("what is written is plain JSON");
    let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(no(Code::DiskFailed, format!("{LEFT} cannot be written: {error}"))),
        Err(_) => return Err(no(Code::DiskFailed, "the write broke: this is a bug")),
    }
    control.leaves.send_replace(true);
    Ok(Json(left))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

async fn proof(control: &Control, cell: CellId) -> HandedOver {
    let queries = vec![Query::Describe];
    let command = Command::Read { cell, barrier: Barrier::Linear, queries };
    let problem = |why: String| HandedOver {
        cell: cell.to_string(),
        app: None,
        line: 0,
        applied: 0,
        voters: Vec::new(),
        instances: Vec::new(),
        problem: Some(why),
    };
    let answered = match ask(control, COMMAND_MAX, command).await {
        Ok(Reply::Answered(answered)) => answered,
        Ok(_) => return problem("the node answered another question: this is a bug".to_owned()),
        Err(No(refusal)) => return problem(refusal.detail),
    };
    match answered.answers.into_iter().next() {
        Some(Answer::Description(description)) => without(control, &description),
        _ => problem("the cell answered another question: this is a bug".to_owned()),
    }
}

fn without(control: &Control, description: &Description) -> HandedOver {
    let voters: Vec<_> = description.members.iter().filter(|member| member.votes).map(|member| member.node).collect();
    let instances: Vec<_> = description.leases.iter().map(|lease| lease.node).collect();
    let named = voters.contains(&control.me) || instances.contains(&control.me);
    HandedOver {
        cell: description.cell.to_string(),
        app: Some(description.app.clone()),
        line: description.line,
        applied: description.applied,
        voters: voters.iter().map(ToString::to_string).collect(),
        instances: instances.iter().map(ToString::to_string).collect(),
        problem: named.then(|| "the cell still names this node".to_owned()),
    }
}

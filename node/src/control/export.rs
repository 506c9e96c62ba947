//! An app taken home: all of its state as of one index, and its component, in pieces.
use std::{
    io::{Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use bocage_protocol::{
    cell::{Answer, Description, PIECE_BYTES_MAX, Workload, state::RULES_OF_CAPTURES},
    command::{Command, Reply},
    id::{CellId, ContentHash},
    refusal::Code,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::routes::{DEPLOY_MAX, Known, No, Said, Shared, ask, describe, no, read, unexpected};
use crate::content::Contents;

/// A capture, held by the cell's leader for 30 s after it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Captured {
    /// The hash of its bytes, by which they are read.
    pub content: String,
    /// How many.
    pub size_bytes: u64,
}

/// Has the cell make a capture of the app as of now.
#[utoipa::path(post, path = "/v1/cells/{cell}/capture", params(("cell" = String, Path)),
    responses((status = 200, body = Captured), (status = 503, body = super::api::Problem)))]
pub(super) async fn capture(State(control): State<Shared>, known: Known, Path(cell): Path<CellId>) -> Said<Captured> {
    let description = describe(&control, known, cell).await?;
    if description.rules < RULES_OF_CAPTURES {
        let detail = format!(
            "this cell is on rules {}, captures come with {RULES_OF_CAPTURES}: its voters run an earlier version",
            description.rules
        );
        return Err(no(Code::Unsupported, detail));
    }
    match read(&control, known, cell, bocage_protocol::cell::Query::Capture).await? {
        Answer::Captured(Some((content, size_bytes))) => {
            Ok(Json(Captured { content: content.to_string(), size_bytes }))
        }
        Answer::Captured(None) => Err(no(Code::Full, "another capture was made just now: ask again in a second")),
        Answer::Value(_) | Answer::Keys { .. } | Answer::Description(_) | Answer::Piece(_) => Err(unexpected()),
    }
}

#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    offset: u64,
}

/// A piece of a capture: at most 512 KiB, none at its end.
#[utoipa::path(get, path = "/v1/cells/{cell}/capture/{content}",
    params(("cell" = String, Path), ("content" = String, Path), ("offset" = Option<u64>, Query)),
    responses((status = 200, body = Vec<u8>), (status = 404, body = super::api::Problem)))]
pub(super) async fn piece(
    State(control): State<Shared>,
    known: Known,
    Path((cell, content)): Path<(CellId, ContentHash)>,
    Query(From { offset }): Query<From>,
) -> Result<Response, No> {
    let query = bocage_protocol::cell::Query::Piece { content, offset };
    match read(&control, known, cell, query).await? {
        Answer::Piece(Some(bytes)) => Ok(octets(bytes.to_vec())),
        Answer::Piece(None) => Err(no(Code::NotFound, "the cell holds this capture no more: begin again")),
        Answer::Value(_) | Answer::Keys { .. } | Answer::Description(_) | Answer::Captured(_) => Err(unexpected()),
    }
}

/// A piece of a component that the cell retains: at most 512 KiB, none at its end.
#[utoipa::path(get, path = "/v1/cells/{cell}/components/{content}",
    params(("cell" = String, Path), ("content" = String, Path), ("offset" = Option<u64>, Query)),
    responses((status = 200, body = Vec<u8>), (status = 404, body = super::api::Problem)))]
pub(super) async fn component(
    State(control): State<Shared>,
    known: Known,
    Path((cell, content)): Path<(CellId, ContentHash)>,
    Query(From { offset }): Query<From>,
) -> Result<Response, No> {
    let description = describe(&control, known, cell).await?;
    let Some(size_bytes_max) = size_of(&description, content) else {
        return Err(no(Code::NotFound, format!("no release that this cell retains has the component {content}")));
    };
    if !control.content.path(content).exists() {
        let from = description.members.iter().filter(|member| member.node != control.me).map(|member| member.node);
        let command = Command::Bring { content, size_bytes_max, from: from.collect() };
        let Reply::Done = ask(&control, DEPLOY_MAX, command).await? else { return Err(unexpected()) };
    }
    let contents = Arc::clone(&control.content);
    let read = tokio::task::spawn_blocking(move || read_at(&contents, content, offset)).await;
    match read {
        Ok(Ok(bytes)) => Ok(octets(bytes)),
        Ok(Err(error)) => Err(no(Code::DiskFailed, error.to_string())),
        Err(_) => Err(no(Code::DiskFailed, "the content store broke: this is a bug")),
    }
}

fn size_of(description: &Description, content: ContentHash) -> Option<u64> {
    description.releases.iter().find_map(|release| match &release.workload {
        Workload::Component { hash, size_bytes } => (*hash == content).then_some(*size_bytes),
        Workload::Container { .. } | Workload::Site { .. } => None,
    })
}

fn read_at(contents: &Contents, content: ContentHash, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(contents.path(content))?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(PIECE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn octets(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

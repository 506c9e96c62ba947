//! Words about keys: a party's new key, an operator's ruling on its node, and this node's next certificate. Each proves
//! itself, so it does not matter who brings it; its signatures are checked here, outside the machine.
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use bocage_protocol::{
    codec,
    command::Command,
    id::{NodeId, OperatorId, PartyId},
    identity::{NodeCertificate, Signed, Verified},
    record::KeyWord,
    refusal::Code,
};

use super::{
    api,
    routes::{COMMAND_MAX, Known, No, Said, Shared, ask, decode, no},
};

/// Takes a word about keys in and spreads it. The body is its CBOR.
#[utoipa::path(put, path = "/v1/keys", request_body = Vec<u8>,
    responses((status = 204), (status = 409, body = api::Problem)))]
pub(super) async fn tell(State(control): State<Shared>, body: Bytes) -> Result<StatusCode, No> {
    let word: KeyWord = decode("word on keys", &body)?;
    let word = Verified::check(word, |_| false).map_err(|error| no(Code::Unauthorised, error.to_string()))?;
    ask(&control, COMMAND_MAX, Command::Word(Box::new(word.into_inner()))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a party came to its current key, if it has ever changed it and this node knows.
#[utoipa::path(get, path = "/v1/keys/{party}", params(("party" = String, Path)),
    responses((status = 200, body = api::Lineage), (status = 404, body = api::Problem)))]
pub(super) async fn lineage(State(control): State<Shared>, Path(party): Path<PartyId>) -> Said<api::Lineage> {
    let keyring = control.node.keyring();
    let Some(lineage) = keyring.lineage(party) else {
        return Err(no(Code::NotFound, "this node knows of no change of this party's key"));
    };
    let lineage = data_encoding::BASE64.encode(&codec::encode(lineage));
    Ok(Json(api::Lineage { serial: keyring.serial(party), lineage }))
}

/// Gives this node its next certificate. The body is the CBOR of `Signed<NodeCertificate>`.
#[utoipa::path(put, path = "/v1/certificate", request_body = Vec<u8>,
    responses((status = 204), (status = 403, body = api::Problem)))]
pub(super) async fn certificate(State(control): State<Shared>, known: Known, body: Bytes) -> Result<StatusCode, No> {
    if !known.0.is_operator() {
        return Err(no(Code::Unauthorised, "only this node's operator renews its certificate"));
    }
    let signed: Signed<NodeCertificate> = decode("node certificate", &body)?;
    signed.verify().map_err(|error| no(Code::Unauthorised, error.to_string()))?;
    ask(&control, COMMAND_MAX, Command::Certificate(Box::new(signed))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an operator has ruled about a node, as far as this node knows.
#[utoipa::path(get, path = "/v1/rulings/{operator}/{node}",
    params(("operator" = String, Path), ("node" = String, Path)), responses((status = 200, body = api::Ruling)))]
pub(super) async fn ruling(
    State(control): State<Shared>,
    Path((operator, node)): Path<(OperatorId, NodeId)>,
) -> Json<api::Ruling> {
    let keyring = control.node.keyring();
    let (below, resolved) =
        keyring.ruling(operator, node).map_or((0, 0), |(ruling, _)| (ruling.below, ruling.resolved));
    Json(api::Ruling { below, resolved })
}

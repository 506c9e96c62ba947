//! The paths of the control API. Each handler reads, asks the machine, and says what came of it.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use bocage_protocol::{
    cell::{self, Answer, Barrier, Description, Outcome, TenantAction, TenantCommand},
    codec,
    command::{Command, Reply, Terms},
    id::{CellId, ContentHash, NodeId, TenantId},
    identity::{Lineage, PublicKey, Signed},
    placement::Policy,
    refusal::{Code, Refusal},
    resources::{Price, Resources},
};
use serde::Deserialize;
use utoipa::OpenApi;

use super::{
    Control,
    api::{self, AppStatus},
    auth::Caller,
    doctor::{self, Around, Health, Relaying},
};
use crate::{edge::problem, handle::Ask, settings::wall, transfer::ContentStore as _};

/// A command is answered within this.
pub(super) const COMMAND_MAX: Duration = Duration::from_secs(10);
/// A deploy is answered within this.
pub(super) const DEPLOY_MAX: Duration = Duration::from_mins(1);

pub(super) type Shared = Arc<Control>;

/// A no, as the API says it.
#[derive(Debug)]
pub(super) struct No(pub(super) Refusal);

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        problem(&self.0).map(axum::body::Body::new)
    }
}

pub(super) fn no(code: Code, detail: impl Into<String>) -> No {
    No(Refusal::definite(code, detail))
}

pub(super) type Said<T> = Result<Json<T>, No>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Bocage control API", description = "What the CLI and the dashboard ask of a node."),
    paths(
        status,
        health,
        apps,
        cell_status,
        submit,
        read_key,
        list_keys,
        upload,
        deploy,
        plan,
        set_offer,
        secrets,
        super::export::capture,
        super::export::piece,
        super::export::component,
        super::recover::survey,
        super::recover::recover,
        super::drain::drained,
        super::drain::drain,
        super::drain::leave,
        super::roll::roll,
        super::roll::papers,
        super::keys::tell,
        super::keys::lineage,
        super::keys::ruling,
        super::keys::certificate
    )
)]
struct Api;

/// All paths, behind the door.
pub(super) fn router(control: Shared, local: bool) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/doctor", get(health))
        .route("/v1/apps", get(apps).post(deploy))
        .route("/v1/plan", post(plan))
        .route("/v1/offer", put(set_offer))
        .route("/v1/drain", get(super::drain::drained).put(super::drain::drain))
        .route("/v1/leave", put(super::drain::leave))
        .route("/v1/roll", get(super::roll::roll))
        .route("/v1/papers", post(super::roll::papers))
        .route("/v1/keys", put(super::keys::tell))
        .route("/v1/keys/{party}", get(super::keys::lineage))
        .route("/v1/rulings/{operator}/{node}", get(super::keys::ruling))
        .route("/v1/certificate", put(super::keys::certificate))
        .route("/v1/content/{hash}", put(upload))
        .route("/v1/cells/{cell}", get(cell_status))
        .route("/v1/cells/{cell}/commands", post(submit))
        .route("/v1/cells/{cell}/stores/{store}/keys", get(list_keys))
        .route("/v1/cells/{cell}/stores/{store}/value", get(read_key))
        .route("/v1/cells/{cell}/secrets", get(secrets))
        .route("/v1/cells/{cell}/capture", post(super::export::capture))
        .route("/v1/cells/{cell}/capture/{content}", get(super::export::piece))
        .route("/v1/cells/{cell}/components/{content}", get(super::export::component))
        .route("/v1/cells/{cell}/survey", get(super::recover::survey))
        .route("/v1/recoveries", post(super::recover::recover))
        .route("/v1/cells/{cell}/logs", get(super::logs::logs))
        .route_layer(middleware::from_fn_with_state((Arc::clone(&control), local), enter))
        // `enter` has read the body within its own bounds.
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .merge(guarded)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .route("/v1/openapi.json", get(|| async { Json(Api::openapi()) }))
        .with_state(control)
}

/// Asks the door who it is, reads the body, and passes both on. The body of somebody who is not let in is not read.
async fn enter(State((control, local)): State<(Shared, bool)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let announced = if local {
        None
    } else {
        match control.door.check_head(&parts.headers, parts.method.as_str(), path, wall(), &control.node.keyring()) {
            Ok(announced) => Some(announced),
            Err(refusal) => return No(refusal).into_response(),
        }
    };
    let (body, _memory) = match control.bodies.read(body).await {
        Ok(read) => read,
        Err(refusal) => return No(refusal).into_response(),
    };
    match announced.map_or(Ok(Caller::Local), |announced| announced.with_body(&body)) {
        Ok(caller) => {
            parts.extensions.insert(Known(caller));
            next.run(Request::from_parts(parts, axum::body::Body::from(body))).await
        }
        Err(refusal) => No(refusal).into_response(),
    }
}

/// Who asks, for handlers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, No> {
        parts.extensions.get().copied().ok_or_else(|| no(Code::Unauthorised, "nobody was let in"))
    }
}

pub(super) async fn ask(control: &Control, timeout: Duration, command: Command) -> Result<Reply, No> {
    Ok(control.node.ask(Ask::within(timeout), command).await?)
}

pub(super) fn unexpected() -> No {
    No(Refusal::indefinite(Code::Unsupported, "the node answered another question: this is a bug"))
}

/// What this node knows of itself and its mesh.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = api::Node)))]
async fn status(State(control): State<Shared>) -> Said<api::Node> {
    let Reply::Status(status) = ask(&control, COMMAND_MAX, Command::Status).await? else { return Err(unexpected()) };
    let node = api::Node::of(*status, &control.zone, &control.mesh_id.to_string());
    Ok(Json(api::Node { edge: Some(control.edge.to_string()), ..node }))
}

/// How this node is, how it reaches its peers, and what to do.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = Health)))]
async fn health(State(control): State<Shared>) -> Said<Health> {
    let Reply::Status(status) = ask(&control, COMMAND_MAX, Command::Status).await? else { return Err(unexpected()) };
    let Reply::Reach(reach) = ask(&control, COMMAND_MAX, Command::Reach).await? else { return Err(unexpected()) };
    let around = Around {
        now: wall(),
        certificate_expires: status.keys.certificate_expires,
        disk_free_bytes: doctor::disk_free_bytes(&control.folder),
        relaying: control.relays.then(|| Relaying {
            circuits: control.carried.relay_circuits.get(),
            bytes: control.carried.relayed_bytes.get(),
        }),
    };
    Ok(Json(Health::of(&status, *reach, around)))
}

#[derive(Deserialize)]
struct WhichApps {
    tenant: TenantId,
    app: Option<String>,
}

/// A tenant's apps, or one of them.
#[utoipa::path(get, path = "/v1/apps", params(("tenant" = String, Query), ("app" = Option<String>, Query)),
    responses((status = 200, body = Vec<api::App>)))]
async fn apps(State(control): State<Shared>, known: Known, Query(which): Query<WhichApps>) -> Said<Vec<api::App>> {
    must_be_tenant(known, which.tenant)?;
    let command = Command::Apps { tenant: which.tenant, app: which.app };
    let Reply::Apps(apps) = ask(&control, COMMAND_MAX, command).await? else { return Err(unexpected()) };
    let shown = apps.into_iter().map(|app| api::App { app: app.app, cell: app.cell.to_string(), hosts: app.hosts });
    Ok(Json(shown.collect()))
}

fn must_be_tenant(known: Known, tenant: TenantId) -> Result<(), No> {
    if known.0.is_tenant(tenant) {
        return Ok(());
    }
    Err(no(Code::Unauthorised, "this is another tenant's"))
}

/// A cell, as of its leader, if it is the caller's.
pub(super) async fn describe(control: &Control, known: Known, cell: CellId) -> Result<Description, No> {
    let queries = vec![cell::Query::Describe];
    let read = Command::Read { cell, barrier: Barrier::Linear, queries };
    let Reply::Answered(answered) = ask(control, COMMAND_MAX, read).await? else { return Err(unexpected()) };
    let Some(Answer::Description(description)) = answered.answers.into_iter().next() else { return Err(unexpected()) };
    must_be_tenant(known, description.tenant)?;
    Ok(*description)
}

/// All about one app: replicas, instances, releases.
#[utoipa::path(get, path = "/v1/cells/{cell}", params(("cell" = String, Path)), responses((status = 200, body = api::AppStatus)))]
async fn cell_status(State(control): State<Shared>, known: Known, Path(cell): Path<CellId>) -> Said<AppStatus> {
    Ok(Json(AppStatus::of(&describe(&control, known, cell).await?)))
}

/// Brings a tenant's signed command to a cell. The body is the CBOR of `Signed<TenantCommand>`.
#[utoipa::path(post, path = "/v1/cells/{cell}/commands", params(("cell" = String, Path)), request_body = Vec<u8>,
    responses((status = 200, body = api::Applied), (status = 409, body = api::Problem)))]
async fn submit(
    State(control): State<Shared>,
    known: Known,
    Path(cell): Path<CellId>,
    body: Bytes,
) -> Said<api::Applied> {
    let signed: Signed<TenantCommand> = decode("tenant command", &body)?;
    let opened = verify(&signed)?;
    if let TenantAction::Write(writes) = &opened.action
        && let Some(here) = hosted(&control, cell).await?
        && writes.iter().any(|write| here.policy.converges(write.store()))
    {
        // This node answers by itself, and the cell does not look who signed: so the door has, and here it is said for whom.
        must_be_tenant(known, here.tenant)?;
        if opened.tenant != here.tenant {
            return Err(no(Code::Unauthorised, "the command is not signed by this app's tenant"));
        }
    }
    let timeout = if matches!(opened.action, TenantAction::Release(_)) { DEPLOY_MAX } else { COMMAND_MAX };
    let command = Box::new(cell::Command::Tenant { signed, receipts: Vec::new() });
    let ask = Ask { op: Some(opened.op), tenant: Some(opened.tenant), ..Ask::within(timeout) };
    let reply = control.node.ask(ask, Command::Submit { cell, command }).await?;
    let Reply::Applied(applied) = reply else { return Err(unexpected()) };
    let (outcome, number) = match applied.outcome {
        Outcome::Released(number) => ("released", number),
        Outcome::Written { version, .. } => ("written", version),
        Outcome::Conflict { version } => ("conflict", version),
        Outcome::Done => ("done", 0),
        Outcome::Refused(refusal) => return Err(No(refusal)),
    };
    Ok(Json(api::Applied { index: applied.index, outcome: outcome.to_owned(), number }))
}

/// What this node knows of a cell that it has a replica or a lease of.
async fn hosted(control: &Control, cell: CellId) -> Result<Option<Arc<Description>>, No> {
    let Reply::Cells(cells) = ask(control, COMMAND_MAX, Command::Cells).await? else { return Err(unexpected()) };
    Ok(cells.into_iter().find(|here| here.cell == cell))
}

/// Reads a statement and checks its signature: only what was checked may enter the machine.
fn verify(signed: &Signed<TenantCommand>) -> Result<TenantCommand, No> {
    let invalid = |error: bocage_protocol::identity::BadSignature| no(Code::Unauthorised, error.to_string());
    Ok(signed.verify().map_err(invalid)?.into_inner())
}

pub(super) fn decode<T: for<'b> minicbor::Decode<'b, ()>>(what: &'static str, body: &[u8]) -> Result<T, No> {
    codec::decode(what, body).map_err(|error| no(Code::Invalid, error.to_string()))
}

#[derive(Deserialize)]
struct WhichKey {
    key: String,
}

/// The value and version of a key, as of now.
#[utoipa::path(get, path = "/v1/cells/{cell}/stores/{store}/value",
    params(("cell" = String, Path), ("store" = String, Path), ("key" = String, Query)),
    responses((status = 200, body = api::Value), (status = 404, body = api::Problem)))]
async fn read_key(
    State(control): State<Shared>,
    known: Known,
    Path((cell, store)): Path<(CellId, String)>,
    Query(WhichKey { key }): Query<WhichKey>,
) -> Said<api::Value> {
    let query = cell::Query::Get { store, key: key.clone() };
    match read(&control, known, cell, query).await? {
        Answer::Value(Some(versioned)) => {
            let value = data_encoding::BASE64.encode(&versioned.value);
            Ok(Json(api::Value { value, version: versioned.version }))
        }
        Answer::Value(None) => Err(no(Code::NotFound, format!("there is no key {key:?}"))),
        Answer::Keys { .. } | Answer::Description(_) | Answer::Captured(_) | Answer::Piece(_) => Err(unexpected()),
    }
}

/// Asks for who it is in the same read: state and authority are of one index, and of one node where a store converges.
pub(super) async fn read(control: &Control, known: Known, cell: CellId, query: cell::Query) -> Result<Answer, No> {
    let queries = vec![cell::Query::Describe, query];
    let command = Command::Read { cell, barrier: Barrier::Linear, queries };
    let Reply::Answered(answered) = ask(control, COMMAND_MAX, command).await? else { return Err(unexpected()) };
    let mut answers = answered.answers.into_iter();
    let Some(Answer::Description(description)) = answers.next() else { return Err(unexpected()) };
    must_be_tenant(known, description.tenant)?;
    answers.next().ok_or_else(unexpected)
}

#[derive(Deserialize)]
struct WhichKeys {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<u32>,
}

/// Keys of a store in order.
#[utoipa::path(get, path = "/v1/cells/{cell}/stores/{store}/keys",
    params(("cell" = String, Path), ("store" = String, Path), ("prefix" = Option<String>, Query),
        ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = api::Keys)))]
async fn list_keys(
    State(control): State<Shared>,
    known: Known,
    Path((cell, store)): Path<(CellId, String)>,
    Query(which): Query<WhichKeys>,
) -> Said<api::Keys> {
    let limit = which.limit.unwrap_or(1_000);
    let query = cell::Query::List { store, prefix: which.prefix, after: which.after, limit };
    match read(&control, known, cell, query).await? {
        Answer::Keys { keys, more } => Ok(Json(api::Keys { keys, more })),
        Answer::Value(_) | Answer::Description(_) | Answer::Captured(_) | Answer::Piece(_) => Err(unexpected()),
    }
}

/// The app's secrets as they are sealed, for its tenant, with the certificates' sealing keys of those who hold it.
#[utoipa::path(get, path = "/v1/cells/{cell}/secrets", params(("cell" = String, Path)), responses((status = 200, body = api::Sealed)))]
async fn secrets(State(control): State<Shared>, known: Known, Path(cell): Path<CellId>) -> Said<api::Sealed> {
    let description = describe(&control, known, cell).await?;
    let members = description.members.iter().map(|member| (member.node, member.sealing));
    let leases = description.leases.iter().map(|lease| (lease.node, lease.sealing));
    let holders: BTreeMap<NodeId, PublicKey> = members.chain(leases).collect();
    // A key is shown as ids are: 52 characters of base32.
    let holders = holders.into_iter().map(|(node, key)| format!("{node}:{}", NodeId(key.0)));
    let secrets = data_encoding::BASE64.encode(&codec::encode(&description.secrets));
    Ok(Json(api::Sealed { secrets, holders: holders.collect() }))
}

/// Puts bytes where this node's peers can fetch them by hash.
#[utoipa::path(put, path = "/v1/content/{hash}", params(("hash" = String, Path)), request_body = Vec<u8>,
    responses((status = 204), (status = 400, body = api::Problem)))]
async fn upload(State(control): State<Shared>, Path(hash): Path<ContentHash>, body: Bytes) -> Result<StatusCode, No> {
    if ContentHash::of(&body) != hash {
        return Err(no(Code::Invalid, "these bytes have another hash: the upload was damaged"));
    }
    let contents = Arc::clone(&control.content);
    let kept = tokio::task::spawn_blocking(move || contents.put(hash, &mut &body[..])).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(no(Code::DiskFailed, error.to_string())),
        Err(_) => return Err(no(Code::DiskFailed, "the content store broke: this is a bug")),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Founds a cell for a signed release. The body is the CBOR of an [`api::Founding`].
#[utoipa::path(post, path = "/v1/apps", request_body = Vec<u8>,
    responses((status = 200, body = api::Deployed), (status = 422, body = api::Problem)))]
async fn deploy(State(control): State<Shared>, body: Bytes) -> Said<api::Deployed> {
    let api::Founding { tenant, release, successions } = decode("deploy", &body)?;
    let successions = successions.unwrap_or_default();
    let lineage =
        Lineage { genesis: tenant.open().map_err(|error| no(Code::Invalid, error.to_string()))?, successions };
    lineage.verify().map_err(|error| no(Code::Unauthorised, error))?;
    let successions = lineage.successions;
    tenant.verify().map_err(|error| no(Code::Unauthorised, error.to_string()))?;
    let command = verify(&release)?;
    let TenantAction::Release(wanted) = command.action else {
        return Err(no(Code::Invalid, "only a release founds a cell"));
    };
    let ask = Ask { op: Some(command.op), tenant: Some(command.tenant), ..Ask::within(DEPLOY_MAX) };
    let reply = control.node.ask(ask, Command::Deploy { tenant, successions, release }).await?;
    let Reply::Deployed { cell, host, .. } = reply else { return Err(unexpected()) };
    Ok(Json(api::Deployed { app: wanted.app, cell: cell.to_string(), release: 1, host }))
}

/// The plan that a deploy would make. The body is the CBOR of a `Policy`.
#[utoipa::path(post, path = "/v1/plan", request_body = Vec<u8>, responses((status = 200, body = api::Plan)))]
async fn plan(State(control): State<Shared>, body: Bytes) -> Said<api::Plan> {
    let policy: Policy = decode("policy", &body)?;
    let command = Command::Plan { policy: Box::new(policy) };
    let Reply::Planned(plan) = ask(&control, COMMAND_MAX, command).await? else { return Err(unexpected()) };
    Ok(Json((*plan).into()))
}

/// What an operator offers.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOffer {
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    currency: String,
    cpu_core_hour_micro: u64,
    memory_gib_hour_micro: u64,
    disk_gib_hour_micro: u64,
}

/// Changes what this node offers; `null` withdraws it.
#[utoipa::path(put, path = "/v1/offer", request_body = Option<NewOffer>, responses((status = 204)))]
async fn set_offer(
    State(control): State<Shared>,
    known: Known,
    Json(offer): Json<Option<NewOffer>>,
) -> Result<StatusCode, No> {
    if !known.0.is_operator() {
        return Err(no(Code::Unauthorised, "only this node's operator changes what it offers"));
    }
    let terms = offer.map(|offer| {
        let currency = offer.currency.parse().map_err(|error| no(Code::Invalid, format!("{error}")))?;
        Ok::<_, No>(Terms {
            total: Resources {
                cpu_millis: offer.cpu_millis,
                memory_bytes: offer.memory_bytes,
                disk_bytes: offer.disk_bytes,
            },
            price: Price {
                currency,
                cpu_core_hour: offer.cpu_core_hour_micro,
                memory_gib_hour: offer.memory_gib_hour_micro,
                disk_gib_hour: offer.disk_gib_hour_micro,
            },
        })
    });
    ask(&control, COMMAND_MAX, Command::Offer(terms.transpose()?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ready: the machine answers, its disk works, its clock agrees with its peers'.
async fn ready(State(control): State<Shared>) -> Response {
    let status = control.node.ask(Ask::within(Duration::from_secs(2)), Command::Status).await;
    let reasons = match status {
        Ok(Reply::Status(status)) => {
            let disk = status.disk.map(|fault| format!("{fault}: restart the node once it is mended"));
            let off = status.clock_off_ms.unsigned_abs() > 30_000;
            let clock = off.then(|| format!("this clock is {} ms off its peers' median", status.clock_off_ms));
            disk.into_iter().chain(clock).collect::<Vec<_>>()
        }
        Ok(_) => vec!["the machine answered another question".to_owned()],
        Err(refusal) => vec![refusal.detail],
    };
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

async fn metrics(State(control): State<Shared>) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &control.metrics).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

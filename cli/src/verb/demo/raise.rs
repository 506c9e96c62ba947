//! What a demo goes through until its app answers. Nothing here sleeps for a fixed time: each stage looks until it sees.
use std::{
    path::Path,
    time::{Duration, Instant},
};

use bocage_protocol::id::CellId;
use bytes::Bytes;

use super::{
    farm::Farm,
    layout,
    record::{self, AppRecord, NodeRecord, Record},
};
use crate::{
    connection::{self, Asked},
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    manifest::{self, Package},
    say,
    target::Target,
    tenant::Tenant,
    verb::deploy,
};

/// The example app, as its folder has it.
const MANIFEST: &str = include_str!("../../../../examples/guestbook/guestbook.toml");
const COMPONENT: &[u8] = include_bytes!("../../../../examples/guestbook/guestbook.wasm");

/// Nodes are ready within this.
const READY_MAX: Duration = Duration::from_secs(30);
/// The mesh can place the app within this.
const PLACED_MAX: Duration = Duration::from_secs(30);
/// For so long a plan that survives less than the loss of a jurisdiction may be bettered by news from the others.
const BETTER_MAX: Duration = Duration::from_secs(3);
/// All wanted instances run within this, or the demo goes on with those that do.
const ALL_RUNNING_MAX: Duration = Duration::from_secs(15);
/// A node of a large mesh keeps links to a few: with itself so many nodes.
const LINKED_MIN: usize = 5;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ports may be taken by others between our choice and the nodes' start: so often we choose again.
const PORT_TRIES: usize = 3;

/// A new mesh in an empty folder.
pub(super) async fn anew(
    dir: &Path,
    operators: usize,
    mixed_wire: bool,
    farm: &mut Farm,
    at: &Invocation,
) -> Result<Record, Failure> {
    let tenant = at.tenant_at_first_use()?;
    let mut tries = 0;
    let mut record = loop {
        tries += 1;
        let nodes = layout::lay_out(dir, operators, mixed_wire)?;
        let mut record = Record { dir: dir.to_owned(), nodes, app: None, leader: None };
        match start(&mut record, farm).await {
            Err(failure) if failure.code == "port" && tries < PORT_TRIES => {
                farm.stop().await;
                layout::clear(&record.nodes)?;
            }
            started => {
                started?;
                break record;
            }
        }
    };
    at.say.step(format!("{} ready", say::counted(operators, "node")));
    host(&mut record, &tenant, at).await?;
    Ok(record)
}

/// Lets the mesh host the example app.
async fn host(record: &mut Record, tenant: &Tenant, at: &Invocation) -> Result<(), Failure> {
    let operators = record.nodes.len();
    let control = control(&record.nodes, tenant, at);
    until_known(&control, operators).await?;
    at.say.step(format!("{operators} operators found each other"));
    let package = Package::new(manifest::parse("guestbook.toml", MANIFEST)?, Bytes::from_static(COMPONENT));
    until_plannable(&control, &package).await?;
    let deployed = place(&control, tenant, &package).await?;
    let cell = deployed.cell.parse().expect("a node names cells by their ids");
    finish(record, &control, &deployed.app, &deployed.host, cell).await
}

/// A demo that stopped: the same folders, keys, ports and entries.
pub(super) async fn again(mut record: Record, farm: &mut Farm, at: &Invocation) -> Result<Record, Failure> {
    let tenant = at.tenant()?;
    at.say.step(format!("going on with the demo in {}", record.dir.display()));
    start(&mut record, farm).await?;
    at.say.step(format!("{} ready", say::counted(record.nodes.len(), "node")));
    let Some(app) = record.app.clone() else {
        // It stopped before it came so far.
        host(&mut record, &tenant, at).await?;
        return Ok(record);
    };
    let control = control(&record.nodes, &tenant, at);
    let cell = until_found(&control, &tenant, &app.name).await?;
    finish(&mut record, &control, &app.name, &app.host, cell).await?;
    Ok(record)
}

/// Starts all nodes and waits until each is ready.
async fn start(record: &mut Record, farm: &mut Farm) -> Result<(), Failure> {
    farm.start(&mut record.nodes)?;
    // From here on `demo stop` finds them.
    record.save()?;
    record::remember(&record.dir);
    let began = Instant::now();
    for (number, node) in record.nodes.iter().enumerate() {
        while !is_ready(node).await {
            if let Some(failure) = farm.failed(number)? {
                return Err(failure);
            }
            if began.elapsed() > READY_MAX {
                let what = format!("{} is not ready after {} s", node.operator, READY_MAX.as_secs());
                let log = node.dir.join("log");
                return Err(Failure::new(Exit::Failed, "start", what).next(format!("its log: {}", log.display())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

async fn is_ready(node: &NodeRecord) -> bool {
    let target = Target::Tcp(node.control.clone());
    let answer = connection::exchange(&target, Asked::get("/readyz"), Duration::from_secs(3)).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

fn control(nodes: &[NodeRecord], tenant: &Tenant, at: &Invocation) -> Control {
    let first = nodes.first().expect("a demo has nodes");
    at.control_at(Target::Tcp(first.control.clone()), Some(tenant.signer()))
}

/// Until the first node has links to all others, or to as many as a node of a larger mesh keeps.
async fn until_known(control: &Control, operators: usize) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let linked = control.status().await?.peers.len() + 1;
        if linked >= operators.min(LINKED_MIN) {
            return Ok(());
        }
        if began.elapsed() > READY_MAX {
            let what = format!("only {linked} of {operators} nodes found each other");
            return Err(Failure::new(Exit::Failed, "mesh", what).next("their logs, in the demo's folders, say why"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Until the app could be placed; a little longer where that places it better.
async fn until_plannable(control: &Control, package: &Package) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match control.plan(&package.manifest.policy).await {
            Ok(plan) if plan.grade == "jurisdiction" || began.elapsed() > BETTER_MAX => return Ok(()),
            Ok(_) => {}
            Err(failure) if is_too_early(&failure) && began.elapsed() < PLACED_MAX => {
                control.say.detail(failure.what);
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Deploys, again where it certainly did not happen and only came too early.
async fn place(
    control: &Control,
    tenant: &Tenant,
    package: &Package,
) -> Result<bocage_node::control::api::Deployed, Failure> {
    let began = Instant::now();
    loop {
        match deploy::release(control, tenant, package).await {
            Err(failure) if is_too_early(&failure) && began.elapsed() < PLACED_MAX => {
                control.say.detail(failure.what);
                tokio::time::sleep(LOOK_EVERY).await;
            }
            result => return result,
        }
    }
}

fn is_too_early(failure: &Failure) -> bool {
    failure.exit != Exit::Indefinite && (failure.code == "unplaceable" || failure.is_passing())
}

/// Until the mesh knows again where the app's cell is.
async fn until_found(control: &Control, tenant: &Tenant, app: &str) -> Result<CellId, Failure> {
    let began = Instant::now();
    loop {
        match control.cell_of(tenant.id(), app).await {
            Err(failure) if failure.exit == Exit::NotFound && began.elapsed() < PLACED_MAX => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            result => return result,
        }
    }
}

/// Waits until the app runs where it should and every edge answers for it; remembers that.
async fn finish(record: &mut Record, control: &Control, app: &str, host: &str, cell: CellId) -> Result<(), Failure> {
    let began = Instant::now();
    deploy::until_running(control, cell, 1, control.say).await?;
    for node in record.nodes.iter().filter(|node| node.is_alive()) {
        deploy::until_answered(&node.edge, host, "/entries").await?;
    }
    let status = loop {
        let status = control.app_status(cell).await?;
        let running = status.instances.iter().filter(|instance| instance.state == "running").count();
        if running >= status.scale_min as usize || began.elapsed() > ALL_RUNNING_MAX {
            break status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let edge = &record.nodes.first().expect("a demo has nodes").edge;
    let (name, host, url) = (app.to_owned(), host.to_owned(), deploy::url(host, edge));
    record.app = Some(AppRecord { name, host, url });
    record.leader = status.cells.first().and_then(|cell| cell.leader.clone());
    record.save()
}

//! `bocage deploy PATH`: a manifest's app becomes a cell with instances, or a new release of the cell that it is.
//!
//! ```text
//!   read → upload bytes → plan ─ found the cell → wait until an instance runs → the edge answers
//!                       └ there is one already: sign a new release to it ┘
//! ```
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bocage_node::control::api::{AppStatus, Deployed};
use bocage_protocol::{cell::TenantAction, id::CellId};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    connection::{self, Asked},
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    manifest::{Found, Package},
    say::{self, Say},
    target::Target,
    tenant::Tenant,
};

/// An app starts within this, compiling included, or the deploy says that it has not.
const START_MAX: Duration = Duration::from_mins(1);
/// The edge answers within this after an instance runs.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bocage deploy examples/guestbook\n  bocage deploy app.wasm --name my-app\n\n\
    The last line on stdout is the app's URL; what happens on the way goes to stderr.")]
pub(crate) struct Deploy {
    /// A manifest, a folder that holds one, or a .wasm component
    path: PathBuf,
    /// What to call the app, whatever the manifest says
    #[arg(long, value_name = "APP")]
    name: Option<String>,
    /// Return as soon as the release is committed, before an instance runs
    #[arg(long)]
    no_wait: bool,
}

/// What a deploy comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) app: String,
    pub(crate) cell: String,
    pub(crate) release: u64,
    pub(crate) host: String,
    /// Through the node that was asked.
    pub(crate) url: String,
}

impl Deploy {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let package = Found::at(&self.path)?.named(self.name.as_deref())?.package()?;
        let tenant = at.tenant_at_first_use()?;
        let control = at.control(&tenant)?;
        let deployed = release(&control, &tenant, &package).await?;
        let edge = edge_of(&control).await?;
        let live = live(&deployed, &edge);
        if !self.no_wait {
            let cell = deployed.cell.parse().expect("release gave a cell's id");
            until_running(&control, cell, deployed.release, at.say).await?;
            until_answered(&edge, &deployed.host, "/").await?;
            at.say.step(say::green(&format!("{} is live, release {}", live.app, live.release)));
        }
        at.say.result(&live, |live| format!("{}\n", live.url));
        Ok(())
    }
}

/// Uploads the bytes and brings the tenant's signed release to the mesh.
pub(crate) async fn release(control: &Control, tenant: &Tenant, package: &Package) -> Result<Deployed, Failure> {
    let say = control.say;
    let app = &package.manifest.app;
    let there = control.apps(tenant.id(), Some(app)).await?.into_iter().find(|found| found.app == *app);
    let size = say::in_bytes(package.component.len() as u64);
    say.step(format!("uploading {size}, {}", say::short(&package.hash.to_string())));
    control.upload(package.hash, package.component.clone()).await?;
    let action = TenantAction::Release(Box::new(package.release()));
    if let Some(there) = there {
        let cell: CellId = there.cell.parse().expect("a node names cells by their ids");
        let applied = control.submit(cell, &tenant.command(Some(cell), action)).await?;
        say.step(format!("release {} is committed", applied.number));
        let host = there.hosts.into_iter().next().unwrap_or_default();
        return Ok(Deployed { app: app.clone(), cell: there.cell, release: applied.number, host });
    }
    let plan = control.plan(&package.manifest.policy).await?;
    for placed in plan.placed.iter().filter(|placed| placed.role == "voter") {
        say.step(format!(
            "  {:8} {:2} {:12} {}",
            placed.operator,
            placed.jurisdiction,
            placed.site,
            say::dim(&placed.why)
        ));
    }
    let deployed = found(control, tenant, app, action).await?;
    say.step(format!("granted, stored and founded: cell {}", say::short(&deployed.cell)));
    Ok(deployed)
}

/// Founds the cell. When it is not known whether that worked, the mesh is asked: a second cell of one name is worse than
/// a late answer.
pub(crate) async fn found(
    control: &Control,
    tenant: &Tenant,
    app: &str,
    action: TenantAction,
) -> Result<Deployed, Failure> {
    let command = tenant.command(None, action);
    let unknown = match control.found(&tenant.key, command).await {
        Err(failure) if failure.exit == Exit::Indefinite => failure,
        result => return result,
    };
    let began = Instant::now();
    while began.elapsed() < ANSWER_MAX {
        let apps = control.apps(tenant.id(), Some(app)).await?;
        if let Some(found) = apps.into_iter().find(|found| found.app == app) {
            let host = found.hosts.into_iter().next().unwrap_or_default();
            return Ok(Deployed { app: found.app, cell: found.cell, release: 1, host });
        }
        tokio::time::sleep(LOOK_EVERY * 20).await;
    }
    Err(unknown.next(format!("look before you repeat it: bocage status {app}")))
}

/// Waits until an instance runs; says what became of those that do not.
pub(crate) async fn until_running(
    control: &Control,
    cell: CellId,
    release: u64,
    say: Say,
) -> Result<AppStatus, Failure> {
    let began = Instant::now();
    let mut told = 0;
    loop {
        let status = control.app_status(cell).await?;
        let running = status.instances.iter().filter(|instance| instance.state == "running");
        let running: Vec<_> = running.map(|instance| instance.operator.as_str()).collect();
        if running.len() > told {
            told = running.len();
            say.step(format!("running at {}", running.join(", ")));
        }
        // An app that may scale to nothing runs once it is asked for.
        if told > 0 || status.scale_min == 0 {
            return Ok(status);
        }
        let failed: Vec<_> = status.instances.iter().filter_map(|instance| instance.reason.as_deref()).collect();
        let all_failed = !failed.is_empty() && failed.len() == status.instances.len();
        if all_failed || began.elapsed() > START_MAX {
            let why = failed.first().map_or("none has started yet", |why| *why);
            let what = format!("release {release} is committed, but no instance of {} runs: {why}", status.app);
            return Err(Failure::new(Exit::Partial, "not-running", what)
                .next(format!("look at it: bocage status {0}; bocage logs {0}", status.app)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until an edge answers for a host with anything but a refusal of its own.
pub(crate) async fn until_answered(edge: &str, host: &str, path: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let target = Target::Tcp(edge.to_owned());
    loop {
        let asked = Asked { host: Some(host), ..Asked::get(path) };
        let last = match connection::exchange(&target, asked, ANSWER_MAX).await {
            Ok(answer) if !is_refusal(&answer) => return Ok(()),
            Ok(answer) => format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body())),
            Err(broken) => broken.to_string(),
        };
        if began.elapsed() > ANSWER_MAX {
            let what = format!("the edge at {edge} does not answer for {host}: {last}");
            return Err(Failure::new(Exit::Partial, "no-answer", what)
                .next(format!("ask it yourself: curl -v -H 'Host: {host}' http://{edge}/")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_refusal<B>(answer: &http::Response<B>) -> bool {
    let kind = answer.headers().get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind == "application/problem+json") || answer.status().as_u16() == 503
}

fn live(deployed: &Deployed, edge: &str) -> Live {
    let Deployed { app, cell, release, host } = deployed.clone();
    Live { url: url(&host, edge), app, cell, release, host }
}

/// Where a browser finds a host through an edge.
pub(crate) fn url(host: &str, edge: &str) -> String {
    match edge.rsplit_once(':') {
        None | Some((_, "80")) => format!("http://{host}/"),
        Some((_, port)) => format!("http://{host}:{port}/"),
    }
}

/// The address of the asked node's edge, as this machine reaches it.
pub(crate) async fn edge_of(control: &Control) -> Result<String, Failure> {
    let status = control.status().await?;
    let edge = status.edge.unwrap_or_else(|| "127.0.0.1:80".to_owned());
    let (host, port) = edge.rsplit_once(':').unwrap_or((&edge, "80"));
    let is_any = matches!(host, "0.0.0.0" | "[::]");
    let reached = match &control.target {
        Target::Tcp(address) if is_any => address.rsplit_once(':').map_or(host, |(host, _)| host),
        Target::Unix(_) if is_any => "127.0.0.1",
        Target::Tcp(_) | Target::Unix(_) => host,
    };
    Ok(format!("{reached}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_port_only_where_it_must() {
        assert_eq!(url("a.b.localhost", "127.0.0.1:80"), "http://a.b.localhost/");
        assert_eq!(url("a.b.localhost", "127.0.0.1:8080"), "http://a.b.localhost:8080/");
    }
}

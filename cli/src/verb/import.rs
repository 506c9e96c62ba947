//! `bocage import FILE`: an app begins again from its bundle, in this or another mesh.
//!
//! It is founded without instances, its keys are written in batches, each with a mark of how far they are in the same entry,
//! and only then does it serve. So nobody sees half of it, and an import that was cut off goes on where it stopped.
use std::path::PathBuf;

use bocage_node::{control::api::AppStatus, sealing};
use bocage_protocol::{
    cell::{Release, TenantAction, Write, state::BATCH_WRITES_MAX},
    id::{CellId, OpId, SessionId, TenantId},
    placement::Scale,
};
use clap::Args;
use data_encoding::BASE64;

use crate::{
    bundle::Bundle,
    control::{Control, encode},
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
    tenant::Tenant,
    verb::{deploy, secrets::set as secrets},
};

/// Where an import says how far it is: `HASH BATCHES`.
const MARK_STORE: &str = "bocage-import";
const MARK_KEY: &str = "progress";
/// Bytes of keys and values in a batch: an entry must fit in a frame.
const BATCH_BYTES_MAX: usize = 1_200 << 10;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bocage import guestbook.bundle.tar\n  bocage import guestbook.bundle.tar --name copy\n\n\
    Nothing serves before all of it is there. An import that was cut off is gone on with: give the same command again."
)]
pub(crate) struct Import {
    /// The bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call the app here [default: as in the bundle]
    #[arg(long, value_name = "APP")]
    name: Option<String>,
    /// Take over what this other tenant exported; its secrets stay behind
    #[arg(long, value_name = "TENANT")]
    of: Option<TenantId>,
}

impl Import {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let bundle = Bundle::read(&self.file)?;
        let tenant = at.tenant_at_first_use()?;
        let foreign = bundle.tenant != tenant.id();
        if foreign && self.of != Some(bundle.tenant) {
            let what = format!("{} was exported by another tenant, {}", self.file.display(), bundle.tenant);
            return Err(Failure::new(Exit::Unauthorised, "another-tenant", what)
                .next(format!("if you mean to take it over: add --of {}", bundle.tenant)));
        }
        let control = at.control(&tenant)?;
        let mut release = bundle.capture.release.clone();
        release.app = self.name.unwrap_or(release.app);
        let import = Importing { control: &control, tenant: &tenant, bundle: &bundle, release };
        let cell = import.begin().await?;
        import.keys(cell).await?;
        if foreign && !bundle.capture.secrets.values.is_empty() {
            at.say.step("its secrets are sealed to the other tenant and stay behind: bocage secrets set");
        } else {
            import.secrets(cell).await?;
        }
        import.end(cell).await?;
        let edge = deploy::edge_of(&control).await?;
        let status = deploy::until_running(&control, cell, 1, at.say).await?;
        let app = control.apps(tenant.id(), Some(&import.release.app)).await?;
        let host = app.into_iter().find_map(|app| app.hosts.into_iter().next()).unwrap_or_default();
        if status.scale_max > 0 {
            deploy::until_answered(&edge, &host, "/").await?;
        }
        let (app, release) = (import.release.app.clone(), current(&status));
        let url = deploy::url(&host, &edge);
        let live = deploy::Live { app, cell: cell.to_string(), release, host, url };
        at.say.step(say::green(&format!("{} is live with {}", live.app, say::counted(bundle.capture.keys(), "key"))));
        at.say.result(&live, |live| format!("{}\n", live.url));
        Ok(())
    }
}

struct Importing<'a> {
    control: &'a Control,
    tenant: &'a Tenant,
    bundle: &'a Bundle,
    /// As it shall be in the end.
    release: Release,
}

impl Importing<'_> {
    /// The app, founded without instances, or left so by an import of this bundle that was cut off.
    async fn begin(&self) -> Result<CellId, Failure> {
        let (control, app) = (self.control, &self.release.app);
        let there = control.apps(self.tenant.id(), Some(app)).await?.into_iter().find(|found| found.app == *app);
        if let Some(there) = there {
            let cell: CellId = there.cell.parse().expect("a node names cells by their ids");
            self.must_be_ours(cell).await?;
            control.say.step("going on with an import that was cut off");
            return Ok(cell);
        }
        let component = self.bundle.component.clone();
        control.say.step(format!("uploading {}", say::in_bytes(component.len() as u64)));
        control.upload(bocage_protocol::id::ContentHash::of(&component), component).await?;
        let mut release = self.release.clone();
        (release.policy.scale.min, release.policy.scale.max) = (0, 0);
        let action = TenantAction::Release(Box::new(release));
        let deployed = deploy::found(control, self.tenant, app, action).await?;
        control.say.step(format!("founded without instances: cell {}", say::short(&deployed.cell)));
        Ok(deployed.cell.parse().expect("a node names cells by their ids"))
    }

    /// An app that is there already was left by an import of this very bundle.
    async fn must_be_ours(&self, cell: CellId) -> Result<(), Failure> {
        let status = self.control.app_status(cell).await?;
        let ours = match self.mark(cell).await? {
            Some(_) => true,
            None => is_untouched(&status) && self.is_empty(cell).await?,
        };
        if ours {
            return Ok(());
        }
        let what = format!("you have an app {:?} here already; nothing was changed", self.release.app);
        Err(Failure::new(Exit::Conflict, "exists", what).next("import it under another name: --name APP"))
    }

    async fn is_empty(&self, cell: CellId) -> Result<bool, Failure> {
        for store in &self.bundle.capture.stores {
            let path = format!("/v1/cells/{cell}/stores/{}/keys?limit=1", encode(&store.name));
            let listed: bocage_node::control::api::Keys = self.control.get(&path).await?;
            if !listed.keys.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many batches of this bundle are in the cell; `None`: none, and no import is under way.
    async fn mark(&self, cell: CellId) -> Result<Option<usize>, Failure> {
        let path = format!("/v1/cells/{cell}/stores/{MARK_STORE}/value?key={MARK_KEY}");
        let value: bocage_node::control::api::Value = match self.control.get(&path).await {
            Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
            found => found?,
        };
        let text = BASE64.decode(value.value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let mark = text.as_deref().and_then(|text| text.split_once(' '));
        let here = self.bundle.head.state.content.to_string();
        match mark.and_then(|(hash, batches)| Some((hash, batches.parse().ok()?))) {
            Some((hash, batches)) if hash == here => Ok(Some(batches)),
            Some(_) | None => {
                let what = format!("an import of another bundle into {:?} was cut off", self.release.app);
                Err(Failure::new(Exit::Conflict, "other-import", what)
                    .next("end that one first: give its file, or bocage rm APP"))
            }
        }
    }

    async fn keys(&self, cell: CellId) -> Result<(), Failure> {
        let batches = batches(self.bundle.capture.stores.iter().flat_map(|store| {
            store.keys.iter().map(|(key, value)| Write::Set {
                store: store.name.clone(),
                key: key.clone(),
                value: value.clone(),
            })
        }));
        let done = self.mark(cell).await?.unwrap_or(0);
        for (number, batch) in (1..).zip(batches).skip(done) {
            let mark = format!("{} {number}", self.bundle.head.state.content);
            let mark =
                Write::Set { store: MARK_STORE.to_owned(), key: MARK_KEY.to_owned(), value: mark.as_str().into() };
            let writes = std::iter::once(mark).chain(batch).collect();
            self.submit(cell, number, TenantAction::Write(writes)).await?;
            self.control.say.detail(format!("batch {number} is there"));
        }
        Ok(())
    }

    /// Sealed anew to who hosts the app here.
    async fn secrets(&self, cell: CellId) -> Result<(), Failure> {
        let before = &self.bundle.capture.secrets;
        if before.values.is_empty() {
            return Ok(());
        }
        let opened = self.tenant.keypairs().find_map(|keys| sealing::open_all(before, &keys).ok());
        let values = opened.ok_or_else(|| {
            Failure::new(Exit::Unauthorised, "sealed", "the bundle's secrets are sealed to a key that is not here")
                .next("restore the key that you had then: bocage keys restore")
        })?;
        secrets::seal(self.control, self.tenant, cell, &values).await?;
        Ok(())
    }

    /// All is there: it may serve, and the mark goes.
    async fn end(&self, cell: CellId) -> Result<(), Failure> {
        let Scale { min, max, .. } = self.release.policy.scale;
        self.submit(cell, usize::MAX - 1, TenantAction::Scale { min, max }).await?;
        let unmark = Write::Delete { store: MARK_STORE.to_owned(), key: MARK_KEY.to_owned() };
        self.submit(cell, usize::MAX, TenantAction::Write(vec![unmark])).await
    }

    /// Each step of an import has an op of its own: given again it happens once.
    async fn submit(&self, cell: CellId, step: usize, action: TenantAction) -> Result<(), Failure> {
        let of = format!("import {} into {cell}, step {step}", self.bundle.head.state.content);
        let op = OpId { session: SessionId::of(of.as_bytes()), seq: 1 };
        let command = self.tenant.command_as(Some(cell), op, action);
        self.control.submit(cell, &command).await.map(drop)
    }
}

/// Founded with no instances, and nothing was done to it since.
fn is_untouched(status: &AppStatus) -> bool {
    status.scale_max == 0 && current(status) == 1
}

fn current(status: &AppStatus) -> u64 {
    status.releases.iter().find(|release| release.current).map_or(0, |release| release.number)
}

/// Within what one entry takes, a mark beside them.
fn batches(writes: impl Iterator<Item = Write>) -> Vec<Vec<Write>> {
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size = size_of(&write);
        let full = |batch: &Vec<Write>| batch.len() + 1 >= BATCH_WRITES_MAX || bytes + size > BATCH_BYTES_MAX;
        if batches.last().is_none_or(full) {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        batches.last_mut().expect("one was pushed if there was none").push(write);
    }
    batches
}

fn size_of(write: &Write) -> usize {
    match write {
        Write::Set { store, key, value } => store.len() + key.len() + value.len() + 16,
        Write::Swap { .. } | Write::Delete { .. } | Write::Increment { .. } => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: String, len: usize) -> Write {
        Write::Set { store: "s".to_owned(), key, value: vec![0; len].into() }
    }

    #[test]
    fn batches_keep_both_bounds_and_leave_room_for_the_mark() {
        let many = batches((0..200).map(|number| set(number.to_string(), 1)));
        assert!(many.iter().all(|batch| batch.len() < BATCH_WRITES_MAX));
        assert_eq!(many.iter().map(Vec::len).sum::<usize>(), 200);
        let large = batches((0..5).map(|number| set(number.to_string(), 1 << 20)));
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [1; 5]);
        assert!(batches(std::iter::empty()).is_empty());
    }
}

//! `bocage node join INVITE`: from an empty machine, or from a node that `node init` made, to a member of a mesh. It runs the
//! node, asks to be admitted, and waits until others count it; or it leaves nothing behind, and says why.
//!
//! With addresses instead of an invite it tells a node that is a member already whom to dial first.
use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use bocage_node::{
    control::{self, roll::Roll},
    daemon::Daemon,
    handle::Ask,
    keyfile::{KeyFile, Kind},
    settings::{Entry, Folder as NodeFolder, Settings, SettingsError, wall},
    transport::node_of_address,
};
use bocage_protocol::{
    charter::{BadToken, CaseShown, Counted, RollShown, Token},
    command::{Command, NodeStatus, Reply},
    id::{ContentHash, MeshId, OperatorId},
    reach::CLOCK_OFF_MAX,
};
use clap::Args;
use serde_json::json;

use super::{
    Folder,
    attempt::Attempt,
    edit,
    init::{not_an_address, refused},
    make::Make,
    run::{self, Run},
};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

/// What an invite begins with.
const INVITE: &str = "bocage-invite-";
/// A sponsor whose invite counts, and who is not enough, is waited for so long before others are named.
const PENDING: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage node join bocage-invite-1.… --name birch --jurisdiction DE --site cellar    on an empty machine
  bocage node join bocage-invite-1.… --run                                           and stay: be the node
  bocage node join /ip4/203.0.113.7/udp/4001/quic-v1/p2p/PEER --mesh ID              one more to dial first")]
pub(crate) struct Join {
    /// An invite; or addresses of nodes that end in /p2p/PEER, for a node that is a member already
    #[arg(required = true, value_name = "INVITE|ADDR")]
    what: Vec<String>,
    /// The mesh's id, to be sure
    #[arg(long, value_name = "ID")]
    mesh: Option<MeshId>,
    #[command(flatten)]
    folder: Folder,
    /// Then run the node
    #[arg(long)]
    run: bool,
    /// How long to wait for being admitted, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    make: Make,
}

impl Join {
    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        match &self.what[..] {
            [invite] if invite.starts_with(INVITE) => self.with_invite(at),
            _ => self.with_addresses(at),
        }
    }

    fn with_invite(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let token = Token::parse(&self.what[0]).map_err(|error| bad_token(&error))?;
        let invite = token.usable(wall()).map_err(|error| bad_token(&error))?;
        if let Some(mesh) = self.mesh.filter(|mesh| *mesh != invite.mesh) {
            let what = format!("this invite is into mesh {} ({}), not {mesh}", invite.mesh, token.founding.name);
            return Err(Failure::new(Exit::Conflict, "other-mesh", what).next("ask for an invite into yours"));
        }
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        Attempt::clean_up(&path);
        let made = self.may_join(&path, &flag, invite.mesh)?;
        let attempt = Attempt::begin(&path)?;
        let operator = self.operator(&path, &flag, made)?;
        let genesis = operator.genesis().expect("an operator's key file has a genesis");
        // A founder is a member: it only needs to know where the others are.
        let is_founder = token.founding.operators.contains(&genesis);
        let request = (!is_founder).then(|| token.request(&operator.keys, &genesis, wall())).transpose();
        let request = request.map_err(|error| bad_token(&error))?;
        let entry = Entry { mesh: invite.mesh, founding: Some(token.founding.clone()), request };
        NodeFolder::enter(&path, &entry, &operator, wall()).map_err(|error| refused(&error, &flag))?;
        edit::mesh(&path, invite.mesh, &token.addresses)?;
        let wait = Duration::from_secs(self.wait);
        let runtime = run::runtime()?;
        let mesh = token.founding.name.clone();
        let came = runtime.block_on(be_admitted(&path, &flag, genesis.operator(), wait, at))?;
        drop(runtime);
        attempt.succeeded();
        let said = json!({ "dir": path, "mesh": invite.mesh, "operator_id": genesis.operator(), "member": came.member,
            "missing": came.missing, "seconds": came.took.as_secs_f64() });
        if !came.member {
            let missing = came.missing.join(", ");
            at.say.done(
                &said,
                format!(
                    "Asked to join {mesh}: {} of {} ballots are there. Still needed, from any of: {missing}.\n\
                     They run: bocage operator admit {}\nMeanwhile run the node, it hosts once it is admitted: \
                     bocage node run{flag}",
                    came.ballots, came.needed, genesis.name
                ),
            );
            return Ok(Exit::Partial.into());
        }
        at.say.step(format!("{} is a member of {mesh} after {:.1} s.", genesis.name, came.took.as_secs_f64()));
        if self.run {
            return Run::of(self.folder).run(at);
        }
        at.say.done(&said, format!("Run the node: bocage node run{flag}"));
        Ok(ExitCode::SUCCESS)
    }

    /// Whether the folder holds a node that may join; whether there is one at all. Nothing is changed.
    fn may_join(&self, path: &Path, flag: &str, mesh: MeshId) -> Result<bool, Failure> {
        let settings = match Settings::read(path) {
            Ok(settings) => settings,
            Err(SettingsError::Missing(_)) => return Ok(false),
            Err(error) => return Err(refused(&error, flag)),
        };
        if let Some(id) = settings.mesh.id {
            let what = format!("the node in {} belongs to mesh {id} already", path.display());
            let next = if id == mesh {
                format!("it needs no invite: bocage node run{flag}")
            } else {
                "join with another folder: bocage node join INVITE --dir OTHER".to_owned()
            };
            return Err(Failure::new(Exit::Conflict, "other-mesh", what).next(next));
        }
        if self.make.says_something() {
            let what = format!("{} is made already: flags about the node do not change it", path.display());
            return Err(
                Failure::new(Exit::Usage, "node-folder", what).next("change bocage.toml, and leave the flags out")
            );
        }
        Ok(true)
    }

    /// The operator of the folder's node, which is made where there is none.
    fn operator(&self, path: &Path, flag: &str, made: bool) -> Result<KeyFile, Failure> {
        if !made {
            return self.make.make(path, flag, None).map(|made| made.operator);
        }
        let key = self.make.operator_key.clone().unwrap_or_else(|| path.join("keys/operator.key"));
        KeyFile::load(&key, Kind::Operator)
            .map_err(|error| Failure::new(Exit::Unauthorised, "no-key", error.to_string()))
    }

    fn with_addresses(self, at: &Invocation) -> Result<ExitCode, Failure> {
        if let Some(wrong) = self.what.iter().find(|text| node_of_address(text).is_none()) {
            return Err(not_an_address(wrong));
        }
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        let node = NodeFolder::open(&path, wall()).map_err(|error| refused(&error, &flag))?;
        if let Some(mesh) = self.mesh.filter(|mesh| *mesh != node.mesh) {
            let what = format!("the node in {} is certified for mesh {}", path.display(), node.mesh);
            return Err(Failure::new(Exit::Conflict, "other-mesh", what)
                .next(format!("make another one: bocage node init --dir OTHER --mesh {mesh} …")));
        }
        let added = edit::bootstrap(&path, &self.what)?;
        let known = say::counted(added, "new address");
        if self.run {
            at.say.step(format!("{known} to dial first."));
            return Run::of(self.folder).run(at);
        }
        let runs = control::fitting(&control::socket_of(&path))
            .and_then(|(socket, _folder)| std::os::unix::net::UnixStream::connect(socket))
            .is_ok();
        let next = if runs { "It runs now: restart it to dial them." } else { "Run it:" };
        at.say.done(
            &json!({ "dir": path, "added": added, "running": runs }),
            format!("{known} to dial first. {next} bocage node run{flag}"),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// How far an operator came.
struct Came {
    member: bool,
    ballots: usize,
    needed: usize,
    /// Whose ballots are missing.
    missing: Vec<String>,
    took: Duration,
}

/// Runs the node until others count it, or until it is known why they do not.
async fn be_admitted(
    path: &Path,
    flag: &str,
    operator: OperatorId,
    wait: Duration,
    at: &Invocation,
) -> Result<Came, Failure> {
    let signals = run::Signals::listen()?;
    let daemon = Daemon::start(path, run::compiler(), None).await.map_err(|error| run::not_started(&error, flag))?;
    let node = daemon.node.clone();
    at.say.step("Asking to be admitted…");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut ended = Box::pin(daemon.run_until(async {
        // An error says that nobody waits any more.
        let _ = stopped.await;
    }));
    let came = tokio::select! {
        came = watch(&node, operator, wait) => came,
        name = signals.stop(path) => {
            Err(Failure::new(Exit::Interrupted, "interrupted", format!("{name} came while this node was joining"))
                .next("nothing stays behind; run the same command again"))
        }
        ended = &mut ended => {
            let why = ended.err().map_or_else(|| "it stopped".to_owned(), |error| error.to_string());
            return Err(Failure::new(Exit::Failed, "node", format!("the node stopped while it was joining: {why}")));
        }
    };
    let _ = stop.send(());
    // How the node ends is not what was asked.
    let _ = ended.await;
    came
}

async fn watch(node: &bocage_node::handle::NodeHandle, operator: OperatorId, wait: Duration) -> Result<Came, Failure> {
    let began = Instant::now();
    let mut counted_since = None;
    loop {
        let status = ask_status(node).await?;
        let roll = ask_roll(node).await?;
        clock_is_right(status.last_clock_ms)?;
        let case = roll.cases.iter().find(|case| is_request_of(case, operator));
        if let Some(case) = case {
            invite_counts(case)?;
        }
        let (ballots, needed) = case.map_or((0, 0), |case| (case.yes.len(), case.needed));
        if roll.counts && status.neighbours > 0 {
            return Ok(Came { member: true, ballots, needed, missing: Vec::new(), took: began.elapsed() });
        }
        if let Some(case) = case.filter(|case| !roll.counts && matches!(case.stamp, Some(Counted::Use(_)))) {
            let since: Instant = *counted_since.get_or_insert_with(Instant::now);
            if since.elapsed() > PENDING && case.yes.len() < case.needed {
                let shown = Roll::of(&roll).motions.into_iter().find(|it| it.id == ContentHash(case.id).to_string());
                let missing = shown.map(|motion| motion.silent.into_iter().map(|it| it.name).collect());
                let missing = missing.unwrap_or_default();
                return Ok(Came { member: false, ballots, needed, missing, took: began.elapsed() });
            }
        }
        if status.peers.is_empty()
            && let Some((_, reason)) = status.turned_away.as_ref().filter(|_| began.elapsed() > PENDING)
        {
            let what = format!("the node that the invite names cannot be joined: {reason}");
            return Err(
                Failure::new(Exit::Conflict, "turned-away", what).next("ask whoever invited you for a new invite")
            );
        }
        if began.elapsed() > wait {
            return Err(too_late(&status, case, wait));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_request_of(case: &CaseShown, operator: OperatorId) -> bool {
    matches!(&case.motion.matter, bocage_protocol::charter::Matter::Admit { operator: asks, .. } if asks.operator() == operator)
}

/// `peers_ms`: a peer's clock less this machine's.
fn clock_is_right(peers_ms: Option<i64>) -> Result<(), Failure> {
    let Some(off) = peers_ms.filter(|off| Duration::from_millis(off.unsigned_abs()) > CLOCK_OFF_MAX) else {
        return Ok(());
    };
    let way = if off > 0 { "behind" } else { "ahead of" };
    let what = format!(
        "this machine's clock is {} s {way} its peer's: nobody would believe what it signs",
        off.unsigned_abs() / 1_000
    );
    Err(Failure::new(Exit::Failed, "clock", what)
        .next("set it (timedatectl set-ntp true), then run the same command again; nothing stays behind"))
}

fn invite_counts(case: &CaseShown) -> Result<(), Failure> {
    let why = match case.stamp {
        Some(Counted::Used) => "all its uses were used",
        Some(Counted::Expired) => "it expired, or the charter has changed since",
        Some(Counted::Use(_)) | None => return Ok(()),
    };
    let what = format!("this invite does not count any more: {why}");
    Err(Failure::new(Exit::Conflict, "invite", what)
        .next("ask for a new one: bocage mesh invite; nothing stays behind here"))
}

fn too_late(status: &NodeStatus, case: Option<&CaseShown>, wait: Duration) -> Failure {
    let seconds = wait.as_secs();
    if status.peers.is_empty() {
        let what = format!("no node of the mesh was reached within {seconds} s");
        return Failure::new(Exit::Failed, "unreachable", what)
            .next("is UDP and TCP open on both sides? Ask for an invite whose node runs; nothing stays behind here");
    }
    let what = match case {
        None => format!("nothing was heard of the request within {seconds} s"),
        Some(case) if case.stamp.is_none() => {
            format!("the node that counts this invite's uses did not answer within {seconds} s")
        }
        Some(_) => format!("it was not admitted within {seconds} s: the charter admits so many a day and no more"),
    };
    Failure::new(Exit::Failed, "not-admitted", what)
        .next("run the same command again when that node runs, or ask for another invite; nothing stays behind here")
}

async fn ask_status(node: &bocage_node::handle::NodeHandle) -> Result<NodeStatus, Failure> {
    match node.ask(Ask::within(Duration::from_secs(5)), Command::Status).await {
        Ok(Reply::Status(status)) => Ok(*status),
        Ok(_) => Err(Failure::new(Exit::Failed, "bug", "the node answered another question: this is a bug")),
        Err(refusal) => Err(Failure::new(Exit::Failed, "node", refusal.detail)),
    }
}

async fn ask_roll(node: &bocage_node::handle::NodeHandle) -> Result<RollShown, Failure> {
    match node.ask(Ask::within(Duration::from_secs(5)), Command::Roll).await {
        Ok(Reply::Roll(roll)) => Ok(*roll),
        Ok(_) => Err(Failure::new(Exit::Failed, "bug", "the node answered another question: this is a bug")),
        Err(refusal) => Err(Failure::new(Exit::Failed, "node", refusal.detail)),
    }
}

pub(crate) fn bad_token(error: &BadToken) -> Failure {
    let exit = match error {
        BadToken::Damaged => Exit::Usage,
        BadToken::Unsigned => Exit::Unauthorised,
        BadToken::OtherMesh | BadToken::Expired(_) | BadToken::NotYet(_) => Exit::Conflict,
    };
    let (what, next) = match error {
        BadToken::Expired(at) => (
            format!("this invite expired on {}", say::time(at.0)),
            "if that is in the future, set this machine's clock \
              (timedatectl set-ntp true); else ask for a new one: bocage mesh invite",
        ),
        BadToken::NotYet(at) => {
            let what = format!("this invite was made on {}, which this machine takes for the future", say::time(at.0));
            (what, "set its clock: timedatectl set-ntp true")
        }
        BadToken::Damaged | BadToken::Unsigned | BadToken::OtherMesh => {
            (error.to_string(), "an elector makes one: bocage mesh invite")
        }
    };
    Failure::new(exit, "invite", what).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_ten_minutes_off_is_named_with_its_direction_and_the_command_that_sets_it() {
        assert!(clock_is_right(None).is_ok() && clock_is_right(Some(-29_000)).is_ok());
        for (off, way) in [(600_000, "600 s behind"), (-600_000, "600 s ahead of")] {
            let failure = clock_is_right(Some(off)).unwrap_err();
            assert!(failure.what.contains(way), "{}", failure.what);
            assert!(failure.next.unwrap().contains("timedatectl set-ntp true"));
        }
    }
}

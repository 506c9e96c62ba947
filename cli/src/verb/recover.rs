//! `bocage recover APP`: an app that has lost the majority of its voters for good goes on from what one survivor holds.
//!
//! It looks first, shows what is left and what would be lost at worst, and asks. Where the app names operators that must
//! agree, it writes a file for them to sign; `--with FILE` then carries it out.
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bocage_node::control::recover::{Loss, Recovered, Survey, Survivor};
use bocage_protocol::{
    cell::{Base, RECOVERY_VALID_MAX, Recovery, RecoveryPapers},
    id::ReplicaId,
    identity::Endorsed,
    time::Timestamp,
};
use clap::Args;
use serde::Serialize;

use crate::{
    confirm::{self, Answer},
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    recovery, say,
    tenant::Tenant,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage recover guestbook --look           what is left, and what would be lost at worst; changes nothing
  bocage recover guestbook                  the same, then asks, then does it, or writes a file for operators to sign
  bocage operator recover guestbook.recovery     what each of them types
  bocage recover guestbook --with guestbook.recovery

An app that still has most of its voters is refused: nothing is lost, and it goes on by itself. Whoever comes back to what
was before the recovery stops, and keeps what only he holds: bocage export APP --line N.")]
pub(crate) struct Recover {
    /// Which app
    app: String,
    /// Only show what is left
    #[arg(long, conflicts_with_all = ["with", "yes"])]
    look: bool,
    /// Go on even while a jurisdiction where the app is at home is unreachable as a whole: it may go on there too
    #[arg(long, conflicts_with = "with")]
    accept_fork: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Where the file goes that operators sign [default: APP.recovery]
    #[arg(long, value_name = "FILE", conflicts_with = "with")]
    to: Option<PathBuf>,
    /// Carry out what this file says, now that it is signed
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    app: String,
    /// What was found.
    survey: Option<Survey>,
    /// The line that has begun.
    line: Option<u64>,
    /// The file that operators are to sign.
    file: Option<PathBuf>,
    /// How many of them.
    threshold: u32,
}

impl Recover {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        if let Some(file) = &self.with {
            let (papers, _) = recovery::read(file)?;
            return self.carry_out(at, &control, &papers, None).await;
        }
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let survey: Survey = control.get(&format!("/v1/cells/{cell}/survey")).await?;
        if self.look {
            at.say.result(&survey, shown);
            return Ok(());
        }
        if !at.say.is_json() {
            say::to_stderr(&shown(&survey));
        }
        let survivor = self.may_go_on(&survey)?;
        if !self.yes {
            self.confirm(&survey)?;
        }
        let papers = sign(&tenant, &survey, survivor, self.accept_fork)?;
        if survey.threshold == 0 {
            return self.carry_out(at, &control, &papers, Some(survey)).await;
        }
        let file = self.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.recovery", self.app)));
        recovery::write(&file, &papers)?;
        let threshold = survey.threshold;
        let happened = told(&self.app, &file, &survey);
        let outcome = Outcome { app: self.app, survey: Some(survey), line: None, file: Some(file), threshold };
        at.say.done(&outcome, happened);
        Ok(())
    }

    /// The survivor from which the app would go on, if it may.
    fn may_go_on<'a>(&self, survey: &'a Survey) -> Result<&'a Survivor, Failure> {
        if survey.majority {
            let what = format!(
                "{} of {} voters of {} are there: nothing is lost, and it goes on by itself",
                survey.voters_there, survey.voters, self.app
            );
            let next = format!("see how it is: bocage status {}", self.app);
            return Err(Failure::new(Exit::Conflict, "majority", what).next(next));
        }
        if !survey.cut_off.is_empty() && !self.accept_fork {
            let what = format!(
                "nobody answers from {}, where {} is at home: it may go on there",
                survey.cut_off.join(", "),
                self.app
            );
            return Err(Failure::new(Exit::Conflict, "cut", what).next(
                "wait until the cut heals; or go on all the same with --accept-fork: then both go on, and what is written \
                 there later is kept as an export, and never merged",
            ));
        }
        survey.survivors.first().filter(|survivor| survivor.stopped.is_none()).ok_or_else(|| {
            let what = format!("nobody who could be asked holds anything of {}", self.app);
            Failure::new(Exit::NotFound, "not-found", what)
                .next("a node that comes back may hold it; or begin again from a bundle: bocage import FILE")
        })
    }

    /// Asks the person; without one, says which flag answers.
    fn confirm(&self, survey: &Survey) -> Result<(), Failure> {
        let app = &self.app;
        let unsure = |what: &str| {
            Failure::new(Exit::Usage, "unconfirmed", format!("{what}; nothing was done"))
                .next(format!("if you mean it: bocage recover {app} --yes"))
        };
        let question = format!("This ends line {} of {app} for good. Type its name to go on: ", survey.line);
        match confirm::ask(&question, app)? {
            Answer::Yes => Ok(()),
            Answer::Other => Err(unsure("that is another name")),
            Answer::Nobody => Err(unsure("recover may lose what was written last, and there is nobody to ask")),
        }
    }

    async fn carry_out(
        self,
        at: &Invocation,
        control: &Control,
        papers: &RecoveryPapers,
        survey: Option<Survey>,
    ) -> Result<(), Failure> {
        let Recovered { line } = control.recover(papers).await?;
        let threshold = survey.as_ref().map_or(0, |survey| survey.threshold);
        let happened = format!(
            "{} goes on, on line {line}. It is on one voter until others have caught up: bocage status {}",
            self.app, self.app
        );
        let outcome = Outcome { app: self.app, survey, line: Some(line), file: None, threshold };
        at.say.done(&outcome, happened);
        Ok(())
    }
}

/// What the tenant signs.
fn sign(tenant: &Tenant, survey: &Survey, from: &Survivor, fork: bool) -> Result<RecoveryPapers, Failure> {
    let unread = |what: &str| {
        Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {what}"))
            .next("node and CLI are of different versions? bocage --version, and GET /version of the node")
    };
    let base = Base {
        node: from.node_id.parse().map_err(|_| unread("a node's id"))?,
        replica: ReplicaId(from.replica),
        term: from.term,
        index: from.index,
    };
    let made = bocage_node::settings::wall();
    let recovery = Recovery {
        mesh: survey.mesh.parse().map_err(|_| unread("the mesh's id"))?,
        cell: survey.cell.parse().map_err(|_| unread("a cell's id"))?,
        line: survey.line,
        base,
        fork,
        made,
        until: made + RECOVERY_VALID_MAX,
    };
    let lineage = tenant.key.lineage().expect("a tenant's key file has a genesis");
    let statement = Endorsed::draft(&recovery).with(&tenant.key.keys);
    Ok(RecoveryPapers { statement, tenant: lineage, operators: Vec::new() })
}

fn told(app: &str, file: &Path, survey: &Survey) -> String {
    let mut text = format!(
        "{} is signed by you. {} of these operators must sign it within a day, each with\n    bocage operator recover {}\n",
        file.display(),
        survey.threshold,
        file.display()
    );
    for operator in &survey.operators {
        let _ = writeln!(text, "  {operator}");
    }
    let _ = write!(text, "Then: bocage recover {app} --with {}", file.display());
    text
}

/// What is left, for people.
fn shown(survey: &Survey) -> String {
    let mut text = format!(
        "{}  line {}, {} of {} voters there\n",
        say::bold(&survey.app),
        survey.line,
        survey.voters_there,
        survey.voters
    );
    let rows = survey.survivors.iter().map(|held| {
        [
            say::short(&held.node_id),
            held.role.clone(),
            format!("line {}", held.line),
            held.index.to_string(),
            say::time(held.newest_ms),
            match (&held.stopped, held.alone_for_ms) {
                (Some(why), _) => format!("stopped: {why}"),
                (None, Some(ms)) => format!("alone for {}", spoken(ms)),
                (None, None) => "alone since it started".to_owned(),
            },
        ]
    });
    text.push_str(&say::table(["SURVIVOR", "ROLE", "LINE", "INDEX", "NEWEST", ""], rows));
    for missing in &survey.missing {
        let why = missing.why.as_deref().unwrap_or("does not answer");
        let _ = writeln!(
            text,
            "missing: {} {} in {}: {why}",
            missing.role,
            say::short(&missing.node_id),
            missing.jurisdiction
        );
    }
    for kept in &survey.kept {
        let node = say::short(&kept.node_id);
        let _ = writeln!(
            text,
            "kept of line {} on {node}: up to index {}: bocage export {} --line {}",
            kept.line, kept.index, survey.app, kept.line
        );
    }
    if survey.majority {
        text.push_str("nothing is lost: most voters are there\n");
    } else if !survey.survivors.is_empty() {
        text.push_str(&worst(&survey.loss, Timestamp(survey.at_ms)));
    }
    for law in &survey.cut_off {
        let _ = writeln!(text, "nobody answers from {law}, where it is at home: to go on now would be a fork");
    }
    if survey.threshold > 0 {
        let all = survey.operators.len();
        let _ =
            writeln!(text, "a recovery takes your key and {} of {}", survey.threshold, say::counted(all, "operator"));
    }
    text
}

/// What a recovery would lose at worst.
fn worst(loss: &Loss, now: Timestamp) -> String {
    let window = loss.window_ms.unwrap_or_else(|| now.0.saturating_sub(loss.newest_ms));
    let known = match loss.entries_known {
        0 => "nobody who answers has heard of a write that it lacks".to_owned(),
        known => {
            format!("{} are known that it lacks", say::counted(usize::try_from(known).unwrap_or(usize::MAX), "write"))
        }
    };
    format!(
        "worst case: what was acknowledged in the last {} is lost, from {} on; {known}\n",
        spoken(window),
        say::time(now.0.saturating_sub(window))
    )
}

fn spoken(ms: u64) -> String {
    say::duration(Duration::from_secs(ms.div_ceil(1_000)))
}

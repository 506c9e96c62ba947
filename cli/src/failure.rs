//! Why a verb did not do what it was asked: what, why, and the next command.
use std::{fmt::Write as _, process::ExitCode};

use bocage_node::control::api::Problem;

use crate::say;

/// How a process ends; see the table in `main.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Unauthorised = 5,
    Indefinite = 6,
    Partial = 7,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What is said instead of a result.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For programs and for looking it up: the code of a problem, or one of our own.
    pub(crate) code: String,
    /// What did not work, and why.
    pub(crate) what: String,
    /// The next command, or what else to do.
    pub(crate) next: Option<String>,
    /// Drawn instead of `what` where a person's own text is wrong: points at the line.
    pub(crate) drawn: Option<Box<miette::Report>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), what: what.into(), next: None, drawn: None }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The disk or the system said no.
    pub(crate) fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, "io", format!("{what}: {error}"))
    }

    /// What a node answered instead of a result.
    pub(crate) fn of(problem: Problem) -> Self {
        let exit = match (problem.code.as_str(), problem.certainty.as_str()) {
            ("not-found", _) => Exit::NotFound,
            ("conflict" | "fenced" | "expired", _) => Exit::Conflict,
            ("unauthorised", _) => Exit::Unauthorised,
            ("timeout", _) | (_, "indefinite") => Exit::Indefinite,
            _ => Exit::Failed,
        };
        let next = match problem.code.as_str() {
            "not-found" => Some("list your apps: bocage apps".to_owned()),
            "unauthorised" => Some("see who you are: bocage whoami".to_owned()),
            "unplaceable" => Some("see what each node offers and why it was left out: bocage plan PATH".to_owned()),
            _ if exit == Exit::Indefinite => {
                Some("it may have happened all the same; look before you repeat it: bocage status APP".to_owned())
            }
            _ => None,
        };
        Self { exit, code: problem.code, what: problem.detail, next, drawn: None }
    }

    /// The last of several attempts failed for certain, but an earlier one may have been done.
    pub(crate) fn after_an_open_attempt(self) -> Self {
        if self.exit == Exit::Indefinite {
            return self;
        }
        let what = format!("{}; an attempt before that was cut off, and may have been done", self.what);
        let next = "look before you repeat it: bocage status APP".to_owned();
        Self { exit: Exit::Indefinite, code: "lost".to_owned(), what, next: Some(next), drawn: None }
    }

    /// Whether asking again a little later may work: the answer is only "not now".
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "unreachable" | "not-leader" | "timeout" | "full" | "lost")
    }

    /// Says it on stderr; gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let mut text = String::new();
        let written = match &self.drawn {
            Some(drawn) => writeln!(text, "{drawn:?}"),
            None => writeln!(text, "{}: {}", say::red(&format!("error[{}]", self.code)), self.what),
        };
        let written = written.and_then(|()| self.next.iter().try_for_each(|next| writeln!(text, "  next: {next}")));
        written.expect("a String takes every line");
        say::to_stderr(&text);
        self.exit.into()
    }
}

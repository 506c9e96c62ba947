//! A passphrase: typed unseen, or the first line of a file. Never an argument: those can be seen by everybody on the machine.
use std::{
    io::{BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use age::secrecy::SecretString;
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    say,
    verb::secrets::set::Unseen,
};

/// Shorter ones are guessed.
const CHARS_MIN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct From {
    /// Take the passphrase from the first line of this file [default: ask]
    #[arg(long, value_name = "FILE", env = "BOCAGE_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

impl From {
    /// A new one, asked twice.
    pub(super) fn new_one(&self) -> Result<SecretString, Failure> {
        let phrase = if let Some(path) = &self.passphrase_file {
            first_line(path)?
        } else {
            let phrase = typed("Passphrase (not shown): ")?;
            if typed("Once more: ")? != phrase {
                return Err(Failure::new(Exit::Usage, "passphrase", "the two differ; nothing was written"));
            }
            phrase
        };
        if phrase.chars().count() < CHARS_MIN {
            let what = format!("the passphrase has fewer than {CHARS_MIN} characters; nothing was written");
            return Err(Failure::new(Exit::Usage, "passphrase", what).next("five words drawn at random are a good one"));
        }
        Ok(phrase.into())
    }

    /// One that was chosen before.
    pub(super) fn known_one(&self) -> Result<SecretString, Failure> {
        match &self.passphrase_file {
            Some(path) => first_line(path).map(SecretString::from),
            None => typed("Passphrase (not shown): ").map(SecretString::from),
        }
    }
}

fn first_line(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn typed(prompt: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(Exit::Usage, "passphrase", "there is no terminal to ask for the passphrase")
            .next("put it into a file that only you can read: --passphrase-file FILE"));
    }
    say::to_stderr(prompt);
    let _unseen = Unseen::new();
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| Failure::io("no passphrase", &error))?;
    say::to_stderr("\n");
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

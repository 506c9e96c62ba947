//! What a person types before something that cannot be taken back.
use std::io::{BufRead as _, IsTerminal as _};

use crate::{failure::Failure, say};

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The word was typed.
    Yes,
    /// Something else was.
    Other,
    /// Nobody is there who could be asked.
    Nobody,
}

/// Asks a person to type `word`.
pub(crate) fn ask(question: &str, word: &str) -> Result<Answer, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(Answer::Nobody);
    }
    say::to_stderr(question);
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| Failure::io("no answer", &error))?;
    Ok(if answer.trim() == word { Answer::Yes } else { Answer::Other })
}

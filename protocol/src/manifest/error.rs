//! What is wrong with a manifest, where, and what to write instead: shown to the person who wrote it.
use std::{fmt, ops::Range};

/// A manifest that cannot be used. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// What is wrong.
    pub message: String,
    /// Which bytes of the text; `None` when something is missing altogether.
    pub span: Option<Range<usize>>,
    /// From 1 up; 0 without a span.
    pub line: usize,
    /// In characters, from 1 up; 0 without a span.
    pub column: usize,
    /// What to do.
    pub help: Option<String>,
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    /// `line 3, column 1: unknown key "hom" (did you mean "home"?)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.span.is_some() {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

impl ManifestError {
    /// Wrong at `span` of `text`.
    pub(super) fn at(text: &str, span: Range<usize>, message: impl Into<String>, help: Option<String>) -> Self {
        let (line, column) = position(text, span.start);
        Self { message: message.into(), span: Some(span), line, column, help }
    }

    /// Something is not there.
    pub(super) fn missing(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, line: 0, column: 0, help: Some(help.into()) }
    }

    /// What the TOML reader found, in our words.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span();
        let message = error.message();
        let ticked: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let (message, help) = if let Some(key) = unknown_field(message, &ticked) {
            (format!("unknown key \"{key}\""), Some(nearest(key, &ticked[1..])))
        } else if let (true, Some(key)) = (message.starts_with("missing field"), ticked.first()) {
            (format!("the key \"{key}\" is missing"), None)
        } else if message.starts_with("duplicate key") {
            let key = span.clone().and_then(|span| text.get(span)).unwrap_or_default();
            (format!("the key \"{key}\" is there twice"), Some("keep one of them".into()))
        } else if let Some((found, expected)) = wrong_type(message) {
            (format!("expected {}, found {found}", in_words(expected)), None)
        } else {
            (message.trim_end().replace('\n', "; "), None)
        };
        match span.filter(|span| span.end <= text.len()) {
            Some(span) => Self::at(text, span, message, help),
            None => Self { message, span: None, line: 0, column: 0, help },
        }
    }
}

fn wrong_type(message: &str) -> Option<(&str, &str)> {
    message.trim_end().strip_prefix("invalid type: ")?.split_once(", expected ")
}

/// What serde expected, as a person would write it.
fn in_words(expected: &str) -> String {
    match expected {
        "a sequence" => "a list such as [\"a\", \"b\"]".into(),
        "a boolean" => "true or false, without quotes".into(),
        "a string" => "text in quotes".into(),
        "a map" => "a table".into(),
        _ if expected.starts_with("struct ") => "a table: a line in brackets, and its keys below".into(),
        _ => expected.into(),
    }
}

fn unknown_field<'a>(message: &str, ticked: &[&'a str]) -> Option<&'a str> {
    message.starts_with("unknown field").then(|| ticked.first().copied())?
}

/// "did you mean …", or which keys there are.
pub(super) fn nearest(key: &str, known: &[&str]) -> String {
    /// A key further off than this was not meant.
    const LIKENESS_MIN: f64 = 0.7;
    // Floats, but only words for people depend on them.
    let likeness = |known: &str| strsim::jaro_winkler(key, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= LIKENESS_MIN) {
        Some(best) => format!("did you mean \"{best}\"?"),
        None if known.is_empty() => "nothing can stand here".into(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// Line and column of a byte, both from 1 up.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

//! A mistake in a scenario file: where it stands, what is wrong and what to write instead.
use std::{ops::Range, path::PathBuf};

/// Something in a scenario that a person wrote wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which file; none if the text came from none.
    pub path: Option<PathBuf>,
    /// All of it.
    pub text: String,
    /// Which bytes.
    pub span: Range<usize>,
    /// From 1 up.
    pub line: usize,
    /// In characters, from 1 up.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Mistake {
    pub(super) fn at(
        path: Option<PathBuf>,
        text: &str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Self {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        Self { path, text: text.to_owned(), span, line, column, message, help }
    }
}

impl std::error::Error for Mistake {}

impl std::fmt::Display for Mistake {
    /// `lab.toml: line 3, column 1: unknown key "hom" (did you mean "home"?)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.iter().try_for_each(|path| write!(f, "{}: ", path.display()))?;
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

/// The TOML reader's words as a person would say them, and what to do.
pub(super) fn in_words(message: &str) -> (String, Option<String>) {
    let ticked: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = |what: &str| {
        let (key, known) = ticked.split_first()?;
        Some((format!("unknown {what} \"{key}\""), Some(nearest(key, known))))
    };
    let found = match () {
        () if message.starts_with("unknown field") => unknown("key"),
        () if message.starts_with("unknown variant") => unknown("word"),
        () if message.starts_with("missing field") => {
            ticked.first().map(|key| (format!("the key \"{key}\" is missing"), None))
        }
        () => None,
    };
    found.unwrap_or_else(|| (message.trim_end().replace('\n', "; "), None))
}

/// "did you mean …", or what there is.
pub(crate) fn nearest(key: &str, known: &[&str]) -> String {
    /// A word further off than this was not meant.
    const LIKENESS_MIN: f64 = 0.7;
    let likeness = |known: &str| strsim::jaro_winkler(key, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= LIKENESS_MIN) {
        Some(best) => format!("did you mean \"{best}\"?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

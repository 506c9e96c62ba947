//! The text of a scenario: one file and those that it includes, laid out one behind the other, so that each byte of them has
//! one number and every mistake its file, line and column.
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{Mistake, ScenarioError};

/// No scenario is made of more files.
const FILES_MAX: usize = 32;

/// The key by which a file includes others.
const INCLUDE: &str = "include";

/// All files of a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    files: Vec<File>,
}

/// One of them.
#[derive(Clone, Debug)]
struct File {
    /// None of a text that came from no file.
    path: Option<PathBuf>,
    /// Where its first byte lies among those of all files.
    start: usize,
    /// So many line ends, then what it says: TOML read from here has the places of the whole source.
    padded: String,
    includes: Vec<usize>,
}

impl Source {
    /// Text that came from no file. It cannot include any, for there is no folder to look in.
    pub(crate) fn of_text(text: &str) -> Result<Self, ScenarioError> {
        let mut this = Self::default();
        let number = this.add(None, text)?;
        this.included(number)?;
        Ok(this)
    }

    /// A file and those that it includes.
    pub(crate) fn load(path: &Path) -> Result<Self, ScenarioError> {
        let mut this = Self::default();
        this.load_one(path, &mut Vec::new())?;
        Ok(this)
    }

    fn load_one(&mut self, path: &Path, within: &mut Vec<PathBuf>) -> Result<usize, ScenarioError> {
        let unreadable = |why| ScenarioError::Unreadable { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let number = self.add(Some(path.to_owned()), &text)?;
        within.push(path.canonicalize().map_err(unreadable)?);
        for (named, span) in self.included(number)? {
            let other = path.parent().unwrap_or_else(|| Path::new("")).join(&named);
            let wrong = |what: String, help: &str| self.mistake(span.clone(), what, Some(help.to_owned()));
            let Ok(canonical) = other.canonicalize() else {
                return Err(wrong(
                    format!("there is no file {}", other.display()),
                    "a path starts at this file's folder",
                ));
            };
            if within.contains(&canonical) {
                return Err(wrong(format!("{named} includes this file itself"), "take one of the two includes out"));
            }
            if self.files.len() == FILES_MAX {
                return Err(wrong(format!("a scenario has at most {FILES_MAX} files"), "put some of them together"));
            }
            let included = self.load_one(&other, within)?;
            self.files[number].includes.push(included);
        }
        within.pop();
        Ok(number)
    }

    fn add(&mut self, path: Option<PathBuf>, text: &str) -> Result<usize, ScenarioError> {
        let start = self.files.last().map_or(0, |file| file.padded.len() + 1);
        let padded = "\n".repeat(start) + text;
        self.files.push(File { path, start, padded, includes: Vec::new() });
        let number = self.files.len() - 1;
        self.tables_of(number)?;
        Ok(number)
    }

    /// What one file says, by itself.
    fn tables_of(&self, number: usize) -> Result<Spanned<DeTable<'_>>, ScenarioError> {
        DeTable::parse(&self.files[number].padded).map_err(|error| self.malformed(&error))
    }

    /// The files that one includes, with where it says so.
    fn included(&self, number: usize) -> Result<Vec<(String, Range<usize>)>, ScenarioError> {
        let mut tables = self.tables_of(number)?;
        let Some(value) = tables.get_mut().remove(INCLUDE) else { return Ok(Vec::new()) };
        let span = value.span();
        let named = match value.into_inner() {
            DeValue::String(one) => vec![(one.into_owned(), span.clone())],
            DeValue::Array(many) => {
                let many = many.into_iter().map(|one| (one.span(), one.into_inner()));
                let text = |(span, one): (Range<usize>, DeValue<'_>)| match one {
                    DeValue::String(one) => Some((one.into_owned(), span)),
                    _ => None,
                };
                many.map(text).collect::<Option<Vec<_>>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if named.is_empty() {
            let help = Some("include = \"other.toml\", or a list of such".into());
            return Err(self.mistake(span, "include names files".into(), help));
        }
        if self.files[number].path.is_none() {
            return Err(self.mistake(span, "only a file includes others".into(), None));
        }
        Ok(named)
    }

    /// All files in one: each says over again what those that it includes say, table by table; lists as a whole.
    pub(crate) fn merged(&self) -> Result<Spanned<DeTable<'_>>, ScenarioError> {
        self.merged_from(0)
    }

    fn merged_from(&self, number: usize) -> Result<Spanned<DeTable<'_>>, ScenarioError> {
        let mut own = self.tables_of(number)?;
        own.get_mut().remove(INCLUDE);
        let Some((first, others)) = self.files[number].includes.split_first() else { return Ok(own) };
        let mut all = self.merged_from(*first)?;
        for other in others {
            lay_over(all.get_mut(), self.merged_from(*other)?.into_inner());
        }
        let span = own.span();
        lay_over(all.get_mut(), own.into_inner());
        Ok(Spanned::new(span, all.into_inner()))
    }

    /// What the TOML reader found, in our words and at its place.
    pub(crate) fn malformed(&self, error: &toml::de::Error) -> ScenarioError {
        let (message, help) = super::mistake::in_words(error.message());
        self.mistake(error.span().unwrap_or(0..0), message, help)
    }

    /// Something is wrong at `span`.
    pub(crate) fn mistake(&self, span: Range<usize>, message: String, help: Option<String>) -> ScenarioError {
        let file = self.files.iter().rev().find(|file| file.start <= span.start).unwrap_or(&self.files[0]);
        let text = &file.padded[file.start..];
        let within = |at: usize| at.saturating_sub(file.start).min(text.len());
        let span = within(span.start)..within(span.end);
        ScenarioError::Wrong(Box::new(Mistake::at(file.path.clone(), text, span, message, help)))
    }

    /// The file that a value names, whose path starts at the folder of the file that says so.
    pub(crate) fn beside(&self, named: &Spanned<String>) -> Result<PathBuf, ScenarioError> {
        let span = named.span();
        let file = self.files.iter().rev().find(|file| file.start <= span.start).unwrap_or(&self.files[0]);
        let Some(path) = &file.path else {
            return Err(self.mistake(span, "only a file names another file".into(), None));
        };
        let path = path.parent().unwrap_or_else(|| Path::new("")).join(named.get_ref());
        if path.is_file() {
            return Ok(path);
        }
        let help = Some("a path starts at this file's folder".to_owned());
        Err(self.mistake(span, format!("there is no file {}", path.display()), help))
    }

    /// Where a word stands first; the beginning if nowhere.
    pub(crate) fn find(&self, word: &str) -> Range<usize> {
        let found = self.files.iter().find_map(|file| file.padded.find(word));
        found.map_or(0..0, |at| at..at + word.len())
    }

    /// The BLAKE3 hash of each file, by its path as named.
    pub(crate) fn hashes(&self) -> BTreeMap<String, String> {
        let hash = |file: &File| {
            let path = file.path.as_ref()?.display().to_string();
            Some((path, blake3::hash(&file.padded.as_bytes()[file.start..]).to_hex().to_string()))
        };
        self.files.iter().filter_map(hash).collect()
    }
}

/// Whatever `over` says counts; of tables in both, key by key.
fn lay_over<'a>(under: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let span = value.span();
        match (under.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(under)), DeValue::Table(over)) => lay_over(under, over),
            (_, value) => put(under, key, Spanned::new(span, value)),
        }
    }
}

/// Sets a key, whose place counts from now on.
pub(crate) fn put<'a>(table: &mut DeTable<'a>, key: Spanned<DeString<'a>>, value: Spanned<DeValue<'a>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

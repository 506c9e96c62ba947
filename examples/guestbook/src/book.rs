//! What the book keeps: see the table at the head of `lib.rs`.
use crate::{
    answer::Answer,
    keyvalue::{
        atomics::{Cas, CasError, swap},
        batch::get_many,
        store::{Error, open},
    },
};

/// How often an id is tried for before giving up. Each failure means that somebody else got one meanwhile.
const CLAIMS_MAX: usize = 200;
/// Entries that `newest` gives at most, and how many bytes of them.
const NEWEST_MAX: u64 = 1_000;
const NEWEST_BYTES_MAX: usize = 4 << 20;
/// Keys that the store reads as of one moment.
const BATCH: u64 = 64;

/// An entry as it is listed.
pub struct Listed {
    pub id: u64,
    pub text: String,
}

/// Some entries by rising id, and the id behind which the next page starts.
pub struct Page {
    pub entries: Vec<Listed>,
    pub next: Option<u64>,
}

/// Keeps `text` and gives its id; the same one for the same `key`.
pub fn sign(text: &str, key: Option<&str>) -> Result<u64, Answer> {
    let Some(key) = key else {
        let id = claim()?;
        open("entries")?.set(&entry(id), text.as_bytes())?;
        return Ok(id);
    };
    let id = bind(key)?;
    write(id, text)?;
    Ok(id)
}

/// The next id, nobody else's.
fn claim() -> Result<u64, Answer> {
    let mut cas = Cas::new(&open("counter")?, "next")?;
    for _ in 0..CLAIMS_MAX {
        let id = number(cas.current()?)? + 1;
        cas = match swap(cas, id.to_string().as_bytes()) {
            Ok(()) => return Ok(id),
            Err(CasError::CasFailed(fresh)) => fresh,
            Err(CasError::StoreError(error)) => return Err(error.into()),
        };
    }
    Err(Answer::text(503, "too many are signing at once; try again").with("retry-after", "1"))
}

/// The id that `key` is bound to, now if not before.
fn bind(key: &str) -> Result<u64, Answer> {
    let cas = Cas::new(&open("keys")?, key)?;
    if let bound @ Some(_) = cas.current()? {
        return number(bound);
    }
    let id = claim()?;
    match swap(cas, id.to_string().as_bytes()) {
        Ok(()) => Ok(id),
        // Another attempt of the same request was faster: its id counts, ours stays a gap.
        Err(CasError::CasFailed(theirs)) => number(theirs.current()?),
        Err(CasError::StoreError(error)) => Err(error.into()),
    }
}

/// Writes the entry unless an earlier attempt has.
fn write(id: u64, text: &str) -> Result<(), Answer> {
    let cas = Cas::new(&open("entries")?, &entry(id))?;
    let written = match cas.current()? {
        Some(written) => written,
        None => match swap(cas, text.as_bytes()) {
            Ok(()) => return Ok(()),
            Err(CasError::CasFailed(theirs)) => theirs.current()?.unwrap_or_default(),
            Err(CasError::StoreError(error)) => return Err(error.into()),
        },
    };
    if written != text.as_bytes() {
        return Err(Answer::text(422, "this Idempotency-Key was used for another text"));
    }
    Ok(())
}

/// The newest entries.
pub fn newest() -> Result<Page, Answer> {
    let last = last()?;
    let first = last.saturating_sub(NEWEST_MAX) + 1;
    Ok(Page { entries: read(first, last)?, next: None })
}

/// The entries behind `id`, few enough to be read as of one moment.
pub fn after(id: u64) -> Result<Page, Answer> {
    let last = last()?;
    let end = last.min(id.saturating_add(BATCH));
    Ok(Page { entries: read(id.saturating_add(1), end)?, next: (end < last).then_some(end) })
}

/// The highest id that is taken. The first read of a request, so everything acknowledged before it has an id up to this.
fn last() -> Result<u64, Answer> {
    number(open("counter")?.get("next")?)
}

/// Entries `first..=last`, read from the newest down: an entry that was begun after another was acknowledged has the
/// higher id, so whoever sees it sees the other too, though the batches are read one after another.
fn read(first: u64, last: u64) -> Result<Vec<Listed>, Answer> {
    let store = open("entries")?;
    let mut entries = Vec::new();
    let (mut end, mut bytes) = (last, 0);
    while end >= first && end > 0 && bytes < NEWEST_BYTES_MAX {
        let start = first.max(end.saturating_sub(BATCH - 1));
        let keys: Vec<String> = (start..=end).rev().map(entry).collect();
        for ((_, value), id) in get_many(&store, &keys)?.into_iter().zip((start..=end).rev()) {
            // A gap, or an entry that is being written.
            let Some(value) = value else { continue };
            bytes += value.len();
            entries.push(Listed { id, text: String::from_utf8_lossy(&value).into_owned() });
        }
        end = start - 1;
    }
    entries.reverse();
    Ok(entries)
}

/// The key of an entry. Padded, so that the keys' order is the ids'.
fn entry(id: u64) -> String {
    format!("{id:020}")
}

fn number(value: Option<Vec<u8>>) -> Result<u64, Answer> {
    let Some(value) = value else { return Ok(0) };
    std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Answer::text(500, "the store holds something that is not an id"))
}

impl From<Error> for Answer {
    /// Nothing is acknowledged, so the client may try again: with the same `Idempotency-Key`, and the entry is kept once.
    fn from(error: Error) -> Self {
        let why = match error {
            Error::NoSuchStore => "the store is gone".to_owned(),
            Error::AccessDenied => "this instance may not write any more".to_owned(),
            Error::Other(why) => why,
        };
        Answer::text(503, format!("not kept for certain: {why}")).with("retry-after", "1")
    }
}

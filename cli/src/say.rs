//! How things are said: results on stdout, everything else on stderr; colour only where it is seen.
use std::io::Write as _;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document; fields are only ever added.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    pub(crate) fn apply(self) {
        match self {
            // As the environment says: NO_COLOR, CLICOLOR_FORCE, TERM=dumb.
            Self::Auto => {}
            Self::Always => anstream::ColorChoice::Always.write_global(),
            Self::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

/// Says things as the person wants them said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
}

impl Say {
    /// What happens, on stderr.
    pub(crate) fn step(self, text: impl std::fmt::Display) {
        if !self.quiet {
            to_stderr(&format!("{text}\n"));
        }
    }

    /// What happens in detail: with `-v`.
    pub(crate) fn detail(self, text: impl std::fmt::Display) {
        if self.verbose > 0 {
            to_stderr(&format!("{}\n", dim(&text.to_string())));
        }
    }

    /// The result, one of two ways.
    pub(crate) fn result<T: Serialize>(self, value: &T, shown: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json => json(value),
            Format::Table => to_stdout(&shown(value)),
        }
    }

    /// A result that has nothing to say in words but what happened.
    pub(crate) fn done<T: Serialize>(self, value: &T, happened: impl std::fmt::Display) {
        match self.format {
            Format::Json => json(value),
            Format::Table => self.step(happened),
        }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// One document on stdout.
pub(crate) fn json<T: Serialize>(value: &T) {
    let text =
        serde_json::to_string_pretty(value).expect("results are plain JSON: no maps with keys that are not text");
    to_stdout(&(text + "\n"));
}

/// Text on stdout.
pub(crate) fn to_stdout(text: &str) {
    let mut stdout = anstream::stdout().lock();
    leave_if_nobody_reads(&stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// The very bytes on stdout.
pub(crate) fn bytes_to_stdout(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    leave_if_nobody_reads(&stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// `bocage … | head` has read enough: that is no error.
fn leave_if_nobody_reads(written: &std::io::Result<()>) {
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Text on stderr. When nobody reads it, nobody misses it.
pub(crate) fn to_stderr(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// One a line.
pub(crate) fn lines(words: &[String]) -> String {
    words.iter().flat_map(|word| [word.as_str(), "\n"]).collect()
}

/// Columns without lines, as `ls` and `ps` do it.
pub(crate) fn table<const N: usize>(headers: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

pub(crate) fn bold(text: &str) -> String {
    format!("\x1b[1m{text}\x1b[0m")
}

pub(crate) fn dim(text: &str) -> String {
    format!("\x1b[2m{text}\x1b[0m")
}

pub(crate) fn red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

pub(crate) fn green(text: &str) -> String {
    format!("\x1b[32m{text}\x1b[0m")
}

/// A time as people read it, in this machine's zone.
pub(crate) fn time(ms: u64) -> String {
    let Some(at) = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
        return format!("{ms} ms");
    };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `24 hours`, `90 s`.
pub(crate) fn duration(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let in_units = |unit: u64, name| {
        let is_whole = seconds > 0 && seconds.is_multiple_of(unit);
        is_whole.then(|| counted(usize::try_from(seconds / unit).unwrap_or(usize::MAX), name))
    };
    in_units(3_600, "hour").or_else(|| in_units(60, "minute")).unwrap_or_else(|| format!("{seconds} s"))
}

/// The first eight characters of an id: for people's eyes, never for comparing.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// `3 operators`, `1 operator`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in the largest unit that fits.
pub(crate) fn in_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x400 => return format!("{bytes} B"),
        0x400..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        0x4000_0000.. => (1 << 30, "GiB"),
    };
    let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
    if tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

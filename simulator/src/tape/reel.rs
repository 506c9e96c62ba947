//! The files of a tape, read record by record.
use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use bocage_protocol::tape::{Chain, Flaw, HEAD_BYTES, PREFIX_BYTES, Record};

/// Why a tape cannot be played, or no further.
#[derive(Debug, thiserror::Error)]
pub enum TapeFault {
    /// Another folder, or none.
    #[error("{} holds no tape: there is no 00001.tape in it", path.display())]
    NoTape {
        /// Which.
        path: PathBuf,
    },
    /// A file between others.
    #[error("{} is missing, and later files of the tape are there", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// Bytes that were not written so, or not for this program.
    #[error("{}, byte {at}: {flaw}", path.display())]
    Flawed {
        /// Where.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// Why.
        flaw: Flaw,
    },
    /// A record that says nothing, or nothing here.
    #[error("{}, byte {at}: {why}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// Why.
        why: String,
    },
    /// It does not even hold what the node opened with.
    #[error("{} ends before its node has opened ({why}): there is nothing to play", path.display())]
    Short {
        /// Which.
        path: PathBuf,
        /// Why, as far as it says so.
        why: String,
    },
    /// The system.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The files.
pub(super) struct Reel {
    folder: PathBuf,
    path: PathBuf,
    file: BufReader<File>,
    number: u32,
    /// The highest number there is.
    last: u32,
    /// In the file, behind the last whole record.
    at: u64,
    /// Of the record that was read last.
    began: u64,
    /// Bytes of a record at the end that is not whole.
    torn: u64,
    chain: Chain,
}

impl Reel {
    pub(super) fn open(folder: &Path) -> Result<Self, TapeFault> {
        let io = |source: io::Error| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => TapeFault::NoTape { path: folder.to_owned() },
            _ => TapeFault::Io { path: folder.to_owned(), source },
        };
        let mut last = 0;
        for entry in fs::read_dir(folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".tape")).and_then(|it| it.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        let path = folder.join(name(1));
        let file = BufReader::new(File::open(&path).map_err(io)?);
        let folder = folder.to_owned();
        let chain = Chain::default();
        let mut reel = Self { folder, path, file, number: 1, last, at: 0, began: 0, torn: 0, chain };
        reel.head()?;
        Ok(reel)
    }

    /// The next record that is whole; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, TapeFault> {
        loop {
            if self.torn > 0 {
                return Ok(None);
            }
            let mut prefix = [0; PREFIX_BYTES];
            match self.fill(&mut prefix)? {
                0 if self.number == self.last => return Ok(None),
                0 => self.turn()?,
                PREFIX_BYTES => return self.record(&prefix),
                part => self.tear(part)?,
            }
        }
    }

    fn record(&mut self, prefix: &[u8; PREFIX_BYTES]) -> Result<Option<Record>, TapeFault> {
        let length = self.chain.length(prefix).map_err(|flaw| self.flawed(flaw))?;
        let mut record = Vec::new();
        let read = (&mut self.file).take(length as u64).read_to_end(&mut record).map_err(|source| self.io(source))?;
        if read < length {
            self.tear(PREFIX_BYTES + read)?;
            return Ok(None);
        }
        self.chain.check(prefix, &record).map_err(|flaw| self.flawed(flaw))?;
        let said = Record::decode(&record).map_err(|error| self.unreadable(self.at, error.to_string()))?;
        self.began = self.at;
        self.at += (PREFIX_BYTES + length) as u64;
        Ok(Some(said))
    }

    /// The next file.
    fn turn(&mut self) -> Result<(), TapeFault> {
        self.number += 1;
        self.path = self.folder.join(name(self.number));
        let file = File::open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => TapeFault::Missing { path: self.path.clone() },
            _ => self.io(source),
        })?;
        self.file = BufReader::new(file);
        self.at = 0;
        self.head()
    }

    fn head(&mut self) -> Result<(), TapeFault> {
        let mut head = [0; HEAD_BYTES];
        let read = self.fill(&mut head)?;
        if read < HEAD_BYTES {
            // An empty file, too: one that was made and never written to.
            return self.tear(read.max(1));
        }
        self.chain.opens(&head, self.number).map_err(|flaw| self.flawed(flaw))?;
        self.at = HEAD_BYTES as u64;
        Ok(())
    }

    /// The file ends within something: whoever wrote it was killed there, if nothing follows.
    fn tear(&mut self, part: usize) -> Result<(), TapeFault> {
        if self.number < self.last {
            let why = "it was cut there, and later files of the tape are there".to_owned();
            return Err(self.unreadable(self.at, why));
        }
        self.torn = part as u64;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, TapeFault> {
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.io(source)),
            }
        }
        Ok(read)
    }

    /// Bytes at the end that are no whole record.
    pub(super) const fn torn(&self) -> u64 {
        self.torn
    }

    /// The record that was read last says nothing here.
    pub(super) fn out_of_place(&self, why: impl Into<String>) -> TapeFault {
        self.unreadable(self.began, why.into())
    }

    fn unreadable(&self, at: u64, why: String) -> TapeFault {
        TapeFault::Unreadable { path: self.path.clone(), at, why }
    }

    fn flawed(&self, flaw: Flaw) -> TapeFault {
        TapeFault::Flawed { path: self.path.clone(), at: self.at, flaw }
    }

    fn io(&self, source: io::Error) -> TapeFault {
        TapeFault::Io { path: self.path.clone(), source }
    }
}

fn name(number: u32) -> String {
    format!("{number:05}.tape")
}

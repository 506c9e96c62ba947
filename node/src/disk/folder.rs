//! Whose data folder it is, and that one daemon at a time uses it.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use bocage_protocol::id::NodeId;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::files::sync_parent;

const MARKER: &str = "bocage.toml";
const LOCK: &str = "lock";
/// The layout of a data folder that this version writes, and the only one it reads.
const FORMAT: u32 = 1;
/// A longer marker is none of ours.
const MARKER_BYTES_MAX: u64 = 64 << 10;

/// What a data folder says of itself. Fields of newer versions are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Of the folder's layout.
    pub format: u32,
    /// Whose it is.
    pub node: NodeId,
}

/// Why a folder cannot be used, and what to do. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Another daemon runs on it.
    #[error("the folder {} is in use by another bocage node ({}): stop that one, or give this one a folder of its own",
        path.display(), pid.map_or("pid unknown".into(), |pid| format!("pid {pid}")))]
    InUse {
        /// Which folder.
        path: PathBuf,
        /// Of the other daemon, as far as it is known.
        pid: Option<u32>,
    },
    /// It is not this node's.
    #[error("the folder {} is not the data folder of this node ({why}): choose its own folder, or an empty one", path.display())]
    Foreign {
        /// Which folder.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// A newer version wrote it.
    #[error("the folder {} was written by a newer bocage (layout {format}, this one knows {FORMAT}): run that version", path.display())]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// Its layout.
        format: u32,
    },
    /// It does not exist.
    #[error("there is no folder {}: make one with `bocage node init --dir {}`", path.display(), path.display())]
    Missing {
        /// Which folder.
        path: PathBuf,
    },
    /// Something else bears the name.
    #[error("{} is not a folder: choose another path", path.display())]
    NotAFolder {
        /// Which path.
        path: PathBuf,
    },
    /// Not allowed to.
    #[error("the folder {} cannot be read and written by this user ({source}): change its owner or its permissions", path.display())]
    Permissions {
        /// Which folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file of faults that a test asks for.
    #[error("{} names {}, which does not read ({why}): mend that file, or unset the variable", super::faults::VARIABLE, path.display())]
    Faults {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("the folder {} cannot be used", path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Held while a node uses a folder.
#[derive(Debug)]
pub struct Lock {
    /// Its lock ends when it is closed, however the process ends.
    _file: File,
}

impl DirError {
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Permissions { path, source },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder { path },
            ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }
}

pub(super) fn create(dir: &Path, node: NodeId) -> Result<(), DirError> {
    let io = |error| DirError::from_io(dir, error);
    fs::create_dir_all(dir).map_err(io)?;
    if dir.join(MARKER).exists() {
        return check(dir, node);
    }
    if let Some(entry) = fs::read_dir(dir).map_err(io)?.next() {
        let name = entry.map_err(io)?.file_name();
        let why = format!("it holds {} and no {MARKER}", name.display());
        return Err(DirError::Foreign { path: dir.to_owned(), why });
    }
    write_marker(dir, &Marker { format: FORMAT, node }).map_err(io)
}

pub(super) fn read_marker(dir: &Path) -> Result<Marker, DirError> {
    let io = |error| DirError::from_io(dir, error);
    let foreign = |why: String| DirError::Foreign { path: dir.to_owned(), why };
    if !fs::metadata(dir).map_err(io)?.is_dir() {
        return Err(DirError::NotAFolder { path: dir.to_owned() });
    }
    let mut text = String::new();
    match File::open(dir.join(MARKER)) {
        Ok(file) => {
            file.take(MARKER_BYTES_MAX).read_to_string(&mut text).map_err(|error| foreign(error.to_string()))?
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(foreign(format!("it has no {MARKER}"))),
        Err(error) => return Err(io(error)),
    };
    // A newer layout may say the rest in other words.
    let newer = toml::from_str::<Layout>(&text).ok().filter(|layout| layout.format > FORMAT);
    if let Some(Layout { format }) = newer {
        return Err(DirError::Newer { path: dir.to_owned(), format });
    }
    toml::from_str(&text).map_err(|error| foreign(format!("its {MARKER} does not read: {}", error.message())))
}

/// Takes the folder of `node` for this process.
pub(super) fn take(dir: &Path, node: NodeId) -> Result<Lock, DirError> {
    check(dir, node)?;
    let io = |error: io::Error| DirError::from_io(dir, error);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK));
    let mut file = open.map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.take(16).read_to_string(&mut pid);
            return Err(DirError::InUse { path: dir.to_owned(), pid: pid.trim().parse().ok() });
        }
        Err(error) => return Err(io(error.into())),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io)?;
    Ok(Lock { _file: file })
}

fn check(dir: &Path, node: NodeId) -> Result<(), DirError> {
    let marker = read_marker(dir)?;
    if marker.node != node {
        let why = format!("it belongs to node {}, this is node {}", marker.node.short(), node.short());
        return Err(DirError::Foreign { path: dir.to_owned(), why });
    }
    Ok(())
}

fn write_marker(dir: &Path, marker: &Marker) -> io::Result<()> {
    let fields = toml::to_string(marker).map_err(io::Error::other)?;
    let text = format!("# The data folder of a bocage node. Do not edit or copy it: a node exists once.\n{fields}");
    let (path, half) = (dir.join(MARKER), dir.join("bocage.toml.new"));
    let mut file = File::create(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&half, &path)?;
    sync_parent(&path)?;
    sync_parent(dir)
}

#[derive(Deserialize)]
struct Layout {
    format: u32,
}

//! Compiled code on disk, by the hash of the component that it was made of.
//!
//! This is the one place of the runtime with `unsafe`: wasmtime runs whatever such a file holds as machine code, without
//! a look at it. So a file is believed only if it lies in our own folder (0700), its name says which component and which
//! engine it is of, and the hash of its bytes is the one in its name. That guards against torn writes and rot, and
//! against whoever may not write the folder; who may, has the daemon's keys as well.
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use bocage_protocol::id::ContentHash;
use wasmtime::{Engine, component::Component};

/// How a file's name ends.
const SUFFIX: &str = "cwasm";

/// The folder, and what is known to be in it.
pub(super) struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    /// Names settings and version of the engine: code of another one does not load.
    engine: String,
    files: Mutex<BTreeMap<ContentHash, File>>,
}

#[derive(Clone)]
struct File {
    path: PathBuf,
    /// Of its bytes.
    sum: ContentHash,
    size_bytes: u64,
    made: SystemTime,
}

impl Cache {
    /// Takes stock of the folder, makes it if need be, and removes what is of no use any more.
    pub(super) fn open(dir: &Path, bytes_max: u64, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        let engine = fingerprint(engine);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            let Some((content, of, sum)) = parse(&path) else { continue };
            if of != engine {
                // Of another version of the daemon.
                remove(&path);
                continue;
            }
            let about = entry.metadata()?;
            let made = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.insert(content, File { path, sum, size_bytes: about.len(), made });
        }
        Ok(Self { dir: dir.to_owned(), bytes_max, engine, files: Mutex::new(files) })
    }

    /// The code made of `content` before, if it is there and whole. What is there and not whole is removed.
    pub(super) fn load(&self, engine: &Engine, content: ContentHash) -> Option<Component> {
        let file = self.lock().get(&content).cloned()?;
        let bytes = fs::read(&file.path).ok().filter(|bytes| ContentHash::of(bytes) == file.sum);
        let component = bytes.and_then(|bytes| {
            drop(bytes);
            // SAFETY: the bytes are those that `keep` got from the compiler of an engine of the same settings and
            // version: their hash is in the name of a file that only we may write. The file is mapped, and never changed
            // or shortened while it is: it is only ever unlinked.
            unsafe { Component::deserialize_file(engine, &file.path) }.ok()
        });
        if component.is_none() {
            tracing::warn!(%content, path = %file.path.display(), "compiled code was spoilt: removed, compiling anew");
            remove(&file.path);
            self.lock().remove(&content);
        }
        component
    }

    /// Keeps what the compiler made of `content`, and loads it. `compiled` comes from `Engine::precompile_component`.
    pub(super) fn keep(&self, engine: &Engine, content: ContentHash, compiled: &[u8]) -> wasmtime::Result<Component> {
        match self.write(content, compiled) {
            Ok(()) => {
                if let Some(component) = self.load(engine, content) {
                    return Ok(component);
                }
            }
            // A full disk is no reason not to run.
            Err(error) => tracing::warn!(%content, %error, "compiled code could not be kept on disk"),
        }
        // SAFETY: these bytes come from this engine's own compiler, a moment ago.
        unsafe { Component::deserialize(engine, compiled) }
    }

    fn write(&self, content: ContentHash, compiled: &[u8]) -> io::Result<()> {
        let sum = ContentHash::of(compiled);
        let path = self.dir.join(format!("{content}.{}.{sum}.{SUFFIX}", self.engine));
        let unfinished = path.with_extension("unfinished");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        // Not synced: after a crash the hash tells.
        io::Write::write_all(&mut options.open(&unfinished)?, compiled)?;
        fs::rename(&unfinished, &path)?;
        let file = File { path, sum, size_bytes: compiled.len() as u64, made: SystemTime::now() };
        let mut files = self.lock();
        files.insert(content, file);
        make_room(&mut files, self.bytes_max, content);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContentHash, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the oldest files until the others fit; `newest` stays in any case.
fn make_room(files: &mut BTreeMap<ContentHash, File>, bytes_max: u64, newest: ContentHash) {
    let mut bytes: u64 = files.values().map(|file| file.size_bytes).sum();
    while bytes > bytes_max {
        let oldest = files.iter().filter(|(content, _)| **content != newest).min_by_key(|(_, file)| file.made);
        let Some(oldest) = oldest.map(|(content, _)| *content) else { return };
        if let Some(file) = files.remove(&oldest) {
            remove(&file.path);
            bytes -= file.size_bytes;
        }
    }
}

/// `<component>.<engine>.<sum>.cwasm`
fn parse(path: &Path) -> Option<(ContentHash, String, ContentHash)> {
    let mut parts = path.file_name()?.to_str()?.split('.');
    let content = parts.next()?.parse().ok()?;
    let engine = parts.next()?.to_owned();
    let sum = parts.next()?.parse().ok()?;
    (parts.next() == Some(SUFFIX) && parts.next().is_none()).then_some((content, engine, sum))
}

/// Sixteen digits that change whenever compiled code of one engine would not run in another.
fn fingerprint(engine: &Engine) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "could not remove");
    }
}

//! An app in one file: read whole and believed only where its tenant's signature says so, see `bocage_protocol::bundle`.
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use bocage_protocol::{
    bundle::{BUNDLE_FORMAT, BundleHead, Part},
    cell::{Capture, Workload},
    codec,
    id::{ContentHash, TenantId},
    identity::Signed,
};
use bytes::Bytes;

use crate::{
    failure::{Exit, Failure},
    say,
    tenant::Tenant,
};

/// Names in the archive.
const HEAD: &str = "head";
const STATE: &str = "state";
const COMPONENTS: &str = "component/";
/// A head has at most so many bytes.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// A cell's state has at most 64 MiB, and what a capture adds is bounded well below as much again.
const STATE_BYTES_MAX: u64 = 128 << 20;
/// The control API takes no larger component.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// A bundle, checked.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) tenant: TenantId,
    pub(crate) head: BundleHead,
    pub(crate) capture: Capture,
    pub(crate) component: Bytes,
}

impl Bundle {
    /// Reads a bundle and checks all of it.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| not_whole(path, &format!("it ends or breaks in the middle ({error})"));
        let file = File::open(path).map_err(|error| Failure::io(path.display(), &error))?;
        let mut archive = tar::Archive::new(file);
        let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let name = entry.path().map_err(unreadable)?.to_string_lossy().into_owned();
            let most = bytes_max(&name).ok_or_else(|| not_whole(path, &format!("it holds {name:?}")))?;
            if entry.size() > most || parts.contains_key(&name) {
                return Err(not_whole(path, &format!("{name} stands in it twice, or with {} bytes", entry.size())));
            }
            let expected = entry.size();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 != expected {
                let why = format!("of {name} it holds {} bytes of {expected}", bytes.len());
                return Err(not_whole(path, &why));
            }
            parts.insert(name, bytes);
        }
        Self::of(&mut parts).map_err(|why| not_whole(path, &why))
    }

    fn of(parts: &mut BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let head = parts.remove(HEAD).ok_or("it has no head")?;
        let signed: Signed<BundleHead> = codec::decode("bundle", &head).map_err(|error| error.to_string())?;
        let head = BundleHead::open(&signed)?;
        let tenant = head.tenant.open().map_err(|error| error.to_string())?.tenant();
        let state = part(parts, STATE, &head.state)?;
        let capture = Capture::decode(&state).map_err(|error| error.to_string())?;
        if capture.tenant != tenant {
            return Err("its state is another tenant's than who signed it".to_owned());
        }
        let Workload::Component { hash, .. } = capture.release.workload else {
            return Err("it holds no WASM component, and this version runs nothing else".to_owned());
        };
        let held = head.components.iter().find(|held| held.content == hash).ok_or("its component is not in it")?;
        let component = part(parts, &component_name(hash), held)?.into();
        Ok(Self { tenant, head, capture, component })
    }
}

/// What is to become a bundle.
pub(crate) struct Parts<'a> {
    pub(crate) state: &'a [u8],
    pub(crate) component: (ContentHash, &'a [u8]),
}

impl Parts<'_> {
    /// Signs and writes them to `to`, by way of `new`: whole and synced, or not at all.
    pub(crate) fn write(&self, tenant: &Tenant, new: &Path, to: &Path) -> Result<(), Failure> {
        let (component, bytes) = self.component;
        let head = BundleHead {
            format: BUNDLE_FORMAT,
            exported: bocage_node::settings::wall(),
            state: Part { content: ContentHash::of(self.state), size_bytes: self.state.len() as u64 },
            components: vec![Part { content: component, size_bytes: bytes.len() as u64 }],
            tenant: tenant.key.signed_genesis().expect("a tenant's key file has a genesis"),
            successions: tenant.key.successions.clone(),
        };
        let signed = codec::encode(&Signed::seal(&tenant.key.keys, &head));
        let write = || {
            let mut archive = tar::Builder::new(File::create(new)?);
            append(&mut archive, HEAD, &signed)?;
            append(&mut archive, STATE, self.state)?;
            append(&mut archive, &component_name(component), bytes)?;
            archive.into_inner()?.sync_all()?;
            fs::rename(new, to)
        };
        write().map_err(|error| Failure::io(to.display(), &error))
    }
}

fn append(archive: &mut tar::Builder<File>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, bytes)
}

fn component_name(hash: ContentHash) -> String {
    format!("{COMPONENTS}{hash}")
}

fn bytes_max(name: &str) -> Option<u64> {
    match name {
        HEAD => Some(HEAD_BYTES_MAX),
        STATE => Some(STATE_BYTES_MAX),
        _ => name.starts_with(COMPONENTS).then_some(COMPONENT_BYTES_MAX),
    }
}

fn part(parts: &mut BTreeMap<String, Vec<u8>>, name: &str, said: &Part) -> Result<Vec<u8>, String> {
    let bytes = parts.remove(name).ok_or_else(|| format!("{name} is not in it"))?;
    if ContentHash::of(&bytes) != said.content || bytes.len() as u64 != said.size_bytes {
        return Err(format!("{name} was changed: its bytes are not those that the tenant signed"));
    }
    Ok(bytes)
}

fn not_whole(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Usage, "bundle", format!("{} is no whole bundle: {why}; nothing was changed", path.display()))
        .next(format!("export it again, or look into it: {}", say::bold(&format!("tar -tvf {}", path.display()))))
}

//! What a person names when he deploys: a manifest, a folder that holds one, or a bare component. Errors point at the
//! line in the person's own file.
use std::{
    fs,
    path::{Path, PathBuf},
};

use bocage_node::runtime::swaps;
use bocage_protocol::{
    cell::{Release, Workload},
    id::ContentHash,
    manifest::{Manifest, ManifestError},
};
use bytes::Bytes;

use crate::{
    failure::{Exit, Failure},
    mistake::Mistake,
    say,
};

/// A folder's manifest is called so, or after the folder, or is its only TOML file of an unknown name.
const USUAL: &str = "bocage.toml";
/// TOML files of a Rust or Python project, which are no manifests.
const OTHERS: [&str; 7] =
    ["Cargo.toml", "rust-toolchain.toml", "rustfmt.toml", "clippy.toml", "deny.toml", "pyproject.toml", "wkg.toml"];
/// The control API takes no more in one piece.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// How a component begins: `\0asm`, then version 13 of layer 1. A core module has version 1 of layer 0.
const COMPONENT_HEAD: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const MODULE_HEAD: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/// A manifest, and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    /// Paths in it start here.
    pub(crate) folder: PathBuf,
}

/// An app with its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) manifest: Manifest,
    pub(crate) component: Bytes,
    pub(crate) hash: ContentHash,
}

impl Found {
    /// Finds and reads what `path` names.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        let file = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
        let folder = file.parent().unwrap_or_else(|| Path::new("")).to_owned();
        if file.extension().is_some_and(|ext| ext == "wasm") {
            return Ok(Self { manifest: of_component(&file)?, folder });
        }
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let manifest = parse(&file.display().to_string(), &text)?;
        Ok(Self { manifest, folder })
    }

    /// The same app under another name.
    pub(crate) fn named(mut self, name: Option<&str>) -> Result<Self, Failure> {
        if let Some(name) = name {
            // The manifest's own rules decide what is a name.
            self.manifest.app = parse("--name", &minimal(name, "app.wasm"))?.app;
        }
        Ok(self)
    }

    /// Reads its component.
    pub(crate) fn package(self) -> Result<Package, Failure> {
        let named = self.manifest.component();
        let path =
            self.folder.join(named.map_err(|refusal| Failure::new(Exit::Failed, "unsupported", refusal.to_string()))?);
        let size = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len();
        if size > COMPONENT_BYTES_MAX {
            let what = format!(
                "{} has {}, a component has at most {}",
                path.display(),
                say::in_bytes(size),
                say::in_bytes(COMPONENT_BYTES_MAX)
            );
            return Err(Failure::new(Exit::Usage, "too-large", what).next("strip it: opt-level = \"s\", strip = true"));
        }
        let component = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        check(&path, &component)?;
        may_swap(&self.manifest, &path, &component)?;
        Ok(Package::new(self.manifest, component.into()))
    }
}

impl Package {
    pub(crate) fn new(manifest: Manifest, component: Bytes) -> Self {
        let hash = ContentHash::of(&component);
        Self { manifest, component, hash }
    }

    /// What the tenant signs.
    pub(crate) fn release(&self) -> Release {
        Release {
            app: self.manifest.app.clone(),
            workload: Workload::Component { hash: self.hash, size_bytes: self.component.len() as u64 },
            env: self.manifest.env.clone(),
            policy: self.manifest.policy.clone(),
            domains: self.manifest.domains.clone(),
        }
    }
}

/// Reads a manifest; a mistake is shown where it stands. `name` is what the person calls the text.
pub(crate) fn parse(name: &str, text: &str) -> Result<Manifest, Failure> {
    Manifest::parse(text).map_err(|error| {
        let what = format!("{name}: {error}");
        let mut failure = Failure::new(Exit::Usage, "manifest", what);
        if error.span.is_some() {
            failure.drawn = Some(Box::new(drawn(name, text, error)));
        }
        failure
    })
}

fn in_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let usual = folder.join(USUAL);
    if usual.is_file() {
        return Ok(usual);
    }
    let called = folder.canonicalize().ok().and_then(|path| path.file_name().map(ToOwned::to_owned));
    if let Some(called) = called {
        let after_folder = folder.join(called).with_extension("toml");
        if after_folder.is_file() {
            return Ok(after_folder);
        }
    }
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut manifests: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .filter(|path| path.file_name().is_some_and(|name| OTHERS.iter().all(|other| name != *other)))
        .collect();
    manifests.sort_unstable();
    match manifests.len() {
        1 => Ok(manifests.remove(0)),
        0 => {
            let what = format!("{} holds no manifest", folder.display());
            Err(Failure::new(Exit::NotFound, "no-manifest", what)
                .next("write one called bocage.toml: app = \"a-name\", [component] path = \"a.wasm\""))
        }
        _ => {
            let names: Vec<_> = manifests.iter().map(|path| path.display().to_string()).collect();
            let what = format!("{} holds several manifests: {}", folder.display(), names.join(", "));
            Err(Failure::new(Exit::Usage, "which-manifest", what).next("name the one that you mean"))
        }
    }
}

/// A bare component is an app with the default policy, called as its file.
fn of_component(file: &Path) -> Result<Manifest, Failure> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(63).collect();
    let path = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&file.display().to_string(), &minimal(name.trim_matches('-'), &path))
}

fn minimal(app: &str, path: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    format!("app = {}\n[component]\npath = {}\n", quoted(app), quoted(path))
}

fn check(path: &Path, component: &[u8]) -> Result<(), Failure> {
    if component.starts_with(&COMPONENT_HEAD) {
        return Ok(());
    }
    let (what, next) = if component.starts_with(&MODULE_HEAD) {
        ("is a core WASM module, not a component", "build it for wasm32-wasip2, or wrap it: wasm-tools component new")
    } else {
        ("is not a WASM component", "name the file that your build made under [component] path")
    };
    Err(Failure::new(Exit::Usage, "not-a-component", format!("{} {what}", path.display())).next(next))
}

/// An app of which all stores converge has none to compare and swap in: better said now than by its first request.
fn may_swap(manifest: &Manifest, path: &Path, component: &[u8]) -> Result<(), Failure> {
    let all_converge = !manifest.policy.converging.is_empty() && manifest.strong.is_empty();
    if !all_converge || !swaps(component) {
        return Ok(());
    }
    let what = format!(
        "{} compares and swaps (wasi:keyvalue/atomics swap), and every store that its manifest names converges: {}",
        path.display(),
        manifest.policy.converging.join(", ")
    );
    let next = "compare-and-swap needs one order for all: say which store it is for by [state.NAME] mode = \"strong\", or use \
                increment, set and delete";
    Err(Failure::new(Exit::Usage, "swaps-converging", what).next(next))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, "unreadable", format!("{} cannot be read: {error}", path.display()))
}

fn drawn(name: &str, text: &str, error: ManifestError) -> miette::Report {
    let ManifestError { line, column, message, help, span } = error;
    let what = format!("line {line}, column {column}: {message}");
    Mistake::new("manifest", name, text, what, span, help).drawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_component_is_an_app_called_as_its_file() {
        assert_eq!(of_component(Path::new("x/My_App.wasm")).unwrap().app, "my-app");
        assert_eq!(of_component(Path::new("x/My_App.wasm")).unwrap().component().unwrap(), "My_App.wasm");
        assert_eq!(of_component(Path::new("__.wasm")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_name_given_by_hand_obeys_the_same_rules() {
        let found = Found { manifest: parse("m", &minimal("a", "a.wasm")).unwrap(), folder: PathBuf::new() };
        assert_eq!(found.clone().named(Some("b")).unwrap().manifest.app, "b");
        assert!(found.named(Some("B!\"\n")).is_err());
    }

    #[test]
    fn a_module_that_is_no_component_is_told_from_other_bytes() {
        let failure = check(Path::new("a.wasm"), &MODULE_HEAD).unwrap_err();
        assert!(failure.next.unwrap().contains("wasm32-wasip2"));
        assert!(check(Path::new("a.wasm"), b"#!/bin/sh").is_err());
        assert!(check(Path::new("a.wasm"), &COMPONENT_HEAD).is_ok());
    }
}

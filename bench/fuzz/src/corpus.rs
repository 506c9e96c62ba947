//! Inputs in files, `corpus/TARGET/NAME`: valid ones (`seed-…`, made by `bocage-fuzz seeds`), and those that once broke
//! something (`found-…`; `corpus/README.md` says what each was).
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::target::Target;

/// Where the corpus of a target is.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// All inputs of a target, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn load(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes the valid inputs of a target that have no file yet.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_seeds(target: &Target) -> io::Result<usize> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    let mut written = 0;
    for (name, bytes) in (target.seeds)() {
        let path = folder.join(format!("seed-{name}"));
        if !path.exists() {
            fs::write(path, bytes)?;
            written += 1;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target;

    #[test]
    fn every_input_of_the_corpus_is_survived() {
        for target in &target::ALL {
            let inputs = load(target).expect("every target has a corpus");
            assert!(!inputs.is_empty(), "{} has no corpus", target.name);
            for (name, bytes) in inputs {
                let fed = std::panic::catch_unwind(|| (target.run)(&bytes));
                assert!(fed.is_ok(), "{} breaks at {name}", target.name);
            }
        }
    }

    #[test]
    fn every_target_takes_its_seeds_and_goes_deep_with_them() {
        for target in &target::ALL {
            for (name, bytes) in (target.seeds)() {
                assert!(bytes.len() <= target.bytes_max, "{}: {name} is {} bytes", target.name, bytes.len());
                (target.run)(&bytes);
            }
        }
    }
}

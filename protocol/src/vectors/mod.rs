//! The test vectors in `docs/vectors/`: made here, and read here as a stranger would read them, by the public readers alone.
//!
//! ```sh
//! cargo test --release --workspace --lib vectors -- --ignored      # writes them
//! cargo test --release --workspace --lib vectors                   # whether they say what the code does
//! ```
//!
//! A vector that changes is a break of the protocol, or the addition of one.
mod made;
mod read;

use std::{fs, path::PathBuf};

use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors").join(name)
}

fn written(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn stored(name: &str) -> Value {
    let path = path(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

#[test]
#[ignore = "writes docs/vectors"]
fn write() {
    for (name, value) in made::all() {
        fs::write(path(name), written(&value)).unwrap();
    }
}

#[test]
fn the_vectors_are_what_this_code_makes() {
    for (name, value) in made::all() {
        let stored = fs::read_to_string(path(name)).unwrap_or_default();
        assert!(
            stored == written(&value),
            "docs/vectors/{name} is not what this code makes. If that is meant: cargo test --release --workspace --lib \
             vectors -- --ignored"
        );
    }
}

//! Hostile bytes for everything that reads bytes: one *target* each, a corpus in `corpus/`, and two ways to make inputs.
//!
//! - `bocage-fuzz run` changes inputs of the corpus field by field (`mutate`, over CBOR as a tree: `value`). It needs
//!   nothing but stable Rust, and CI runs it. It is not guided by coverage.
//! - `bench/fuzz/guided` builds the same targets with coverage counters for libFuzzer, which uses the same mutations
//!   beside its own. It needs a C++ compiler, still no nightly.
//!
//! `bocage-fuzz mutants` does another thing: it makes wrong statements of right ones and counts that none is accepted.
pub mod value;
pub mod mutate;
pub mod heap;
pub mod target;
pub mod corpus;
pub mod run;
pub mod mutants;

//! What a person sees who types: help, mistakes, and how each mistake says what to do next. No node runs here.
#[path = "../common/mod.rs"]
mod common;
mod help;
mod manifests;
mod mistakes;
mod keys;
mod nodes;

//! Converging stores as members live them: merges in any order, and whole nodes that speak, are cut off, start again and leave.
mod members;
mod merging;

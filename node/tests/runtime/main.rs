//! The WASM runtime from outside: real components over a cell in memory.
mod bounds;
mod guestbook;
mod keyvalue;
mod outbound;
mod starting;
mod world;

//! Stories of replicas in a small world.
mod world;
mod agreement;
mod elections;
mod catching_up;
mod callers;
mod mending;
mod draining;
mod hostile;
mod sleeping;
mod capturing;
mod standing;
mod recovering;

//! The ground under the network: cities, how far apart they are, what a line of each access class is like, and the figures
//! that turn distance into delay.
//!
//! Whatever a run decides by is an integer here, so that a trace is the same on every machine; only the fit computes with
//! floats, and what it finds is rounded before anybody uses it.
mod access;
mod city;
mod figures;
pub mod fit;
mod globe;
mod matrix;
mod mean;

pub use access::{Access, Line};
pub(crate) use city::{City, cities, find};
pub use figures::Figures;
pub(crate) use matrix::{Matrix, Spoilt};

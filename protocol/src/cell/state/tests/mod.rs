//! Stories of a cell's state.

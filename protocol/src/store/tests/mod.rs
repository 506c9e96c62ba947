//! Stories of the store on a simulated disk.
mod bench;
mod model;
mod crashes;
mod faults;
mod rot;
mod space;
mod golden;

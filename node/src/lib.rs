pub mod content;
pub mod disk;

//! What is fed. A target panics when what must hold does not hold; whatever else it does with its input is fine.
mod frame;
mod record;
mod statement;
mod genesis;
mod state;
mod letter;
mod node;
mod segment;
mod blocks;
mod manifest;
mod sealed;
mod tape;
mod control;
mod door;
mod world;

pub(crate) use door::key_file;

/// Something that reads hostile bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Names it on the command line, and its folder in the corpus.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
    /// Valid inputs to start from, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Longer inputs are cut.
    pub bytes_max: usize,
    /// On the heap at once: so many bytes for each of the input, and so many beside; `None`: not bounded here.
    pub heap: Option<(usize, usize)>,
}

impl Target {
    /// Runs one input under the target's bound on the heap.
    ///
    /// # Panics
    /// When the target does, or its bound is broken.
    pub fn feed(&self, bytes: &[u8]) {
        let peak = crate::heap::peak_of(|| (self.run)(bytes));
        if let Some((per_byte, beside)) = self.heap {
            let allowed = per_byte * bytes.len() + beside;
            assert!(peak <= allowed, "{peak} bytes on the heap for an input of {}: more than {allowed}", bytes.len());
        }
    }
}

/// All targets.
pub const ALL: [Target; 14] = [
    frame::TARGET,
    record::TARGET,
    statement::TARGET,
    genesis::TARGET,
    state::TARGET,
    letter::TARGET,
    node::TARGET,
    segment::TARGET,
    blocks::TARGET,
    manifest::TARGET,
    sealed::TARGET,
    tape::TARGET,
    control::TARGET,
    door::TARGET,
];

/// The target of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

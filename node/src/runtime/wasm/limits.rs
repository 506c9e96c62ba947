//! What one request's instance may take, and what it took.
use wasmtime::ResourceLimiter;

/// Elements of one table: function pointers, for the most part. Large C++ programs have some 20,000.
const TABLE_ELEMENTS_MAX: usize = 64 << 10;
/// A component is made of some core instances: itself, its adapters, its shims.
pub(super) const CORE_INSTANCES_MAX: u32 = 32;
/// Linear memories of one component; one, but for components that were linked from several.
pub(super) const MEMORIES_MAX: u32 = 4;
/// Tables of one component.
pub(super) const TABLES_MAX: u32 = 16;
/// Elements that the pool reserves for each table.
pub(super) const POOLED_TABLE_ELEMENTS: usize = TABLE_ELEMENTS_MAX;

/// Counts what an instance takes and says no beyond its bounds.
#[derive(Debug)]
pub(super) struct Limits {
    /// Over all its memories.
    memory_bytes_max: u64,
    held_bytes: u64,
    /// It asked for more. It may live with the no; if it fails, this is why.
    refused: bool,
}

impl Limits {
    pub(super) fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes_max, held_bytes: 0, refused: false }
    }

    /// The bound, if the instance ran into it.
    pub(super) fn refused_at(&self) -> Option<u64> {
        self.refused.then_some(self.memory_bytes_max)
    }

    /// Memories only grow, so what they hold is also the most they held.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.held_bytes
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let held_bytes = self.held_bytes + desired.saturating_sub(current) as u64;
        if held_bytes > self.memory_bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            return Ok(false);
        }
        self.held_bytes = held_bytes;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_over_all_memories_of_an_instance() {
        let mut limits = Limits::new(3 << 16);
        assert!(limits.memory_growing(0, 2 << 16, None).unwrap());
        assert!(limits.memory_growing(0, 1 << 16, None).unwrap());
        assert_eq!(limits.refused_at(), None);
        assert!(!limits.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(limits.refused_at(), Some(3 << 16));
        assert_eq!(limits.memory_bytes(), 3 << 16);
    }
}

//! Payloads of events, out of line, so that events stay small.

/// Values by a small number that is reused once the value was taken.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps a value under a number.
    pub(crate) fn put(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.values[slot as usize] = Some(value);
            return slot;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).expect("fewer payloads wait than memory holds")
    }

    /// A value that stays.
    ///
    /// # Panics
    /// If it was taken before.
    pub(crate) fn see(&self, slot: u32) -> &T {
        self.values[slot as usize].as_ref().expect("a payload is seen before it is taken")
    }

    /// Takes a value out.
    ///
    /// # Panics
    /// If it was taken before: an event is handled once.
    pub(crate) fn take(&mut self, slot: u32) -> T {
        let value = self.values[slot as usize].take().expect("a payload is taken once");
        self.free.push(slot);
        value
    }
}

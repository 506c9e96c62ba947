//! Agreement: whoever applies an entry of a cell's line at an index applies the same one, after the same ones.
use std::collections::HashMap;

use bocage_protocol::id::CellId;

/// What was ever applied where, by anyone. A digest chains all before it, so 16 of its bytes at each index are enough.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    lines: HashMap<(CellId, u64), Vec<Option<[u8; 16]>>>,
    /// Digests that agreed with an earlier one.
    compared: u64,
}

impl Agreement {
    /// A replica applied an entry.
    pub(crate) fn applied(&mut self, cell: CellId, line: u64, index: u64, digest: &[u8; 32]) -> Result<(), String> {
        let index_in = usize::try_from(index).expect("no run applies as many entries as there are addresses");
        let digests = self.lines.entry((cell, line)).or_default();
        if digests.len() <= index_in {
            digests.resize(index_in + 1, None);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        match digests[index_in] {
            None => digests[index_in] = Some(short),
            Some(agreed) if agreed == short => self.compared += 1,
            Some(_) => return Err(format!("another entry was applied at index {index} of cell {cell:?}, line {line}")),
        }
        Ok(())
    }

    /// How often two replicas could be compared.
    pub(crate) const fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_differs_at_one_index_of_one_line_is_found() {
        let (cell, mut agreement) = (CellId::of(b"cell"), Agreement::default());
        for _replica in 0..3 {
            (1..50).for_each(|index| agreement.applied(cell, 1, index, &[u8::try_from(index).unwrap(); 32]).unwrap());
        }
        assert_eq!(agreement.compared(), 98);
        agreement.applied(cell, 2, 7, &[70; 32]).unwrap();
        agreement.applied(CellId::of(b"other"), 1, 7, &[70; 32]).unwrap();
        assert!(agreement.applied(cell, 1, 7, &[70; 32]).unwrap_err().contains("index 7"));
    }
}

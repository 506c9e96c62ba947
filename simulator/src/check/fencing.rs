//! Fencing: no cell accepts a write of a lease that has ended. Seen from outside: a description of a cell as of an index
//! lists the leases that are in force there, and an accepted write names the index at which it was applied.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bocage_protocol::{
    cell::Description,
    id::{CellId, InstanceId},
};

/// A lease: its instance's number and its generation.
type Lease = (u64, u64);

/// The checker's memory.
#[derive(Debug, Default)]
pub(crate) struct Fencing {
    cells: HashMap<(CellId, u64), BTreeMap<Lease, Span>>,
    accepted: u64,
}

/// Where a lease is known to have been in force, and from where on not any more.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    last: u64,
    ended: Option<u64>,
}

impl Fencing {
    /// A replica described its cell.
    pub(crate) fn described(&mut self, of: &Description) -> Result<(), String> {
        let spans = self.cells.entry((of.cell, of.line)).or_default();
        let in_force: BTreeSet<Lease> =
            of.leases.iter().map(|lease| (lease.instance.number, lease.generation)).collect();
        for lease in &in_force {
            seen(spans, *lease, of.applied).map_err(|ended| complaint(of.cell, *lease, of.applied, ended))?;
        }
        for (lease, span) in spans.iter_mut().filter(|(lease, _)| !in_force.contains(lease)) {
            if of.applied < span.first {
                continue;
            }
            if of.applied < span.last {
                return Err(complaint(of.cell, *lease, span.last, of.applied));
            }
            span.ended = Some(span.ended.map_or(of.applied, |ended| ended.min(of.applied)));
        }
        Ok(())
    }

    /// A cell accepted a write of an instance under a generation at an index.
    pub(crate) fn accepted(
        &mut self,
        cell: CellId,
        line: u64,
        instance: InstanceId,
        generation: u64,
        index: u64,
    ) -> Result<(), String> {
        self.accepted += 1;
        let lease = (instance.number, generation);
        let spans = self.cells.entry((cell, line)).or_default();
        seen(spans, lease, index).map_err(|ended| complaint(cell, lease, index, ended))
    }

    /// A lease of a cell that had ended before an index: what a planted bug takes for its lie.
    pub(crate) fn ended_before(&self, cell: CellId, line: u64, index: u64) -> Option<(u64, u64)> {
        let spans = self.cells.get(&(cell, line))?;
        spans.iter().find(|(_, span)| span.ended.is_some_and(|ended| ended < index)).map(|(lease, _)| *lease)
    }

    /// How many accepted writes were looked at.
    pub(crate) const fn looked_at(&self) -> u64 {
        self.accepted
    }
}

/// The lease is in force at `index`; fails with the index at which it had ended.
fn seen(spans: &mut BTreeMap<Lease, Span>, lease: Lease, index: u64) -> Result<(), u64> {
    let span = spans.entry(lease).or_insert(Span { first: index, last: index, ended: None });
    if let Some(ended) = span.ended
        && index >= ended
    {
        return Err(ended);
    }
    span.first = span.first.min(index);
    span.last = span.last.max(index);
    Ok(())
}

fn complaint(cell: CellId, (number, generation): Lease, index: u64, ended: u64) -> String {
    format!(
        "instance {number} of cell {cell:?} was in force at index {index} under generation {generation}, whose lease had \
         ended by index {ended}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u64) -> InstanceId {
        InstanceId { cell: CellId::of(b"cell"), number }
    }

    /// What `described` takes from a description, by hand.
    fn ended(fencing: &mut Fencing, lease: Lease, at: u64) {
        let spans = fencing.cells.get_mut(&(CellId::of(b"cell"), 1)).unwrap();
        spans.get_mut(&lease).unwrap().ended = Some(at);
    }

    #[test]
    fn a_write_behind_the_end_of_its_lease_is_found_and_one_before_it_is_not() {
        let (cell, mut fencing) = (CellId::of(b"cell"), Fencing::default());
        fencing.accepted(cell, 1, instance(1), 1, 10).unwrap();
        ended(&mut fencing, (1, 1), 20);
        fencing.accepted(cell, 1, instance(1), 1, 15).unwrap();
        fencing.accepted(cell, 1, instance(1), 2, 25).unwrap();
        fencing.accepted(cell, 2, instance(1), 1, 25).unwrap();
        assert!(fencing.accepted(cell, 1, instance(1), 1, 21).unwrap_err().contains("ended by index 20"));
        assert_eq!(fencing.looked_at(), 5);
    }
}

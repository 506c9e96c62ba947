//! Converging stores: once everything has healed and settled, all members that live hold the same; every acknowledged increment
//! is counted, and none twice; a register holds a value that somebody wrote, and none that its writer, or whoever had seen it,
//! wrote over; nothing that was deleted so comes back.
use std::collections::BTreeMap;

/// Keys of registers in a shared store.
pub(crate) const REGISTERS: u64 = 8;
/// What was written before the faults were over is known to all so long after.
const SEEN_WITHIN: u64 = 20 * crate::world::SECOND;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Adds to the counter.
    Add(i64),
    /// Sets this register to the number of the write.
    Set(u64),
    /// Takes this register away.
    Delete(u64),
}

#[derive(Clone, Copy, Debug)]
struct Written {
    kind: Kind,
    /// At which node.
    node: u32,
    began: u64,
    answered: bool,
}

/// What a member holds: the counter, then the registers.
pub(crate) type Held = Vec<Option<i64>>;

/// The checker's memory of one app.
#[derive(Debug, Default)]
pub(crate) struct Converge {
    /// By number, in the order in which they began.
    written: BTreeMap<i64, Written>,
    held: BTreeMap<u32, Held>,
}

impl Converge {
    /// A write begins at a node. Its number.
    pub(crate) fn begun(&mut self, node: u32, at: u64, kind: Kind) -> i64 {
        let number = i64::try_from(self.written.len()).unwrap_or(i64::MAX) + 1;
        self.written.insert(number, Written { kind, node, began: at, answered: false });
        number
    }

    /// It was acknowledged. It may be so more than once, if it was asked for more than once.
    pub(crate) fn answered(&mut self, number: i64) {
        if let Some(written) = self.written.get_mut(&number) {
            written.answered = true;
        }
    }

    /// What a member holds in the end.
    pub(crate) fn held(&mut self, node: u32, held: Held) {
        self.held.insert(node, held);
    }

    /// Writes begun, and acknowledged.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.written.len() as u64, self.written.values().filter(|it| it.answered).count() as u64)
    }

    /// Everything is over; the faults were at `healed`.
    pub(crate) fn ended(&self, healed: u64) -> Result<(), String> {
        let Some((first, held)) = self.held.first_key_value() else {
            return Err("no member could be asked in the end".into());
        };
        if let Some((other, theirs)) = self.held.iter().find(|(_, theirs)| *theirs != held) {
            return Err(format!("nodes {first} and {other} hold other values: {held:?} and {theirs:?}"));
        }
        let counter = held.first().copied().flatten().unwrap_or(0);
        let added = |only_answered: bool| -> i64 {
            let counted = self.written.values().filter(|it| it.answered || !only_answered);
            counted.filter_map(|it| if let Kind::Add(delta) = it.kind { Some(delta) } else { None }).sum()
        };
        let (least, most) = (added(true), added(false));
        if !(least..=most).contains(&counter) {
            return Err(format!("the counter says {counter}: {least} was acknowledged, and {most} was asked for"));
        }
        (0..REGISTERS)
            .zip(held.iter().skip(1))
            .try_for_each(|(register, value)| self.register(healed, register, *value))
    }

    fn register(&self, healed: u64, register: u64, value: Option<i64>) -> Result<(), String> {
        let of = |it: &&Written| it.kind == Kind::Set(register) || it.kind == Kind::Delete(register);
        let Some(number) = value else {
            let deleted = self.written.values().any(|it| it.kind == Kind::Delete(register));
            let set = self.written.values().any(|it| it.kind == Kind::Set(register) && it.answered);
            return if set && !deleted {
                Err(format!("register {register} was set, never deleted, and is gone"))
            } else {
                Ok(())
            };
        };
        let Some(winner) = self.written.get(&number).filter(|it| it.kind == Kind::Set(register)) else {
            return Err(format!("register {register} holds {number}, which nobody wrote there"));
        };
        let knew = |later: &Written| {
            later.node == winner.node || (winner.began < healed && later.began > healed + SEEN_WITHIN)
        };
        let over = self
            .written
            .iter()
            .filter(|(_, it)| of(it) && it.answered)
            .find(|(later, it)| **later > number && knew(it));
        over.map_or(Ok(()), |(later, it)| {
            Err(format!(
                "register {register} holds write {number}, which came before write {later} ({:?}) and was known to it",
                it.kind
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALED: u64 = 100 * crate::world::SECOND;

    fn registers(first: Option<i64>) -> Held {
        let rest = (1..REGISTERS).map(|_| None);
        [Some(3), first].into_iter().chain(rest).collect()
    }

    fn written() -> Converge {
        let mut checker = Converge::default();
        let adds = [checker.begun(0, 1, Kind::Add(1)), checker.begun(1, 2, Kind::Add(2))];
        for number in adds {
            checker.answered(number);
        }
        checker
    }

    #[test]
    fn members_that_agree_on_what_was_written_are_well() {
        let mut checker = written();
        let set = checker.begun(1, 3, Kind::Set(0));
        checker.answered(set);
        checker.held(0, registers(Some(set)));
        checker.held(1, registers(Some(set)));
        assert_eq!(checker.ended(HEALED), Ok(()));
        checker.held(1, registers(None));
        assert!(checker.ended(HEALED).unwrap_err().contains("nodes 0 and 1"));
    }

    #[test]
    fn a_lost_or_doubled_increment_shows() {
        for counter in [2, 4] {
            let mut checker = written();
            checker.held(0, [Some(counter)].into_iter().chain((0..REGISTERS).map(|_| None)).collect());
            assert!(checker.ended(HEALED).unwrap_err().contains("the counter"), "{counter}");
        }
    }

    #[test]
    fn what_was_written_over_or_deleted_never_comes_back() {
        for (node, began) in [(1, 9), (0, HEALED + SEEN_WITHIN + 1)] {
            for kind in [Kind::Set(0), Kind::Delete(0)] {
                let mut checker = written();
                let first = checker.begun(1, 3, Kind::Set(0));
                let later = checker.begun(node, began, kind);
                checker.answered(first);
                checker.held(0, registers(Some(first)));
                assert_eq!(checker.ended(HEALED), Ok(()), "the later one was perhaps never made");
                checker.answered(later);
                assert!(checker.ended(HEALED).unwrap_err().contains("was known to it"));
            }
        }
    }

    #[test]
    fn a_value_that_nobody_wrote_and_one_that_vanished_show() {
        let mut checker = written();
        let set = checker.begun(1, 3, Kind::Set(0));
        checker.answered(set);
        checker.held(0, registers(Some(77)));
        assert!(checker.ended(HEALED).unwrap_err().contains("nobody wrote"));
        checker.held(0, registers(None));
        assert!(checker.ended(HEALED).unwrap_err().contains("is gone"));
    }
}

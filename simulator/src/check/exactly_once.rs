//! Exactly once, and in order: every operation is "add one to the app's counter and leave an entry". So a counter's value
//! names one operation for ever; an operation answered before another began has the lower one; a read sees every write
//! answered before it began; and in the end there are as many entries as the counter says, each acknowledged one among
//! them. That is linearizability of a counter, checked in constant time per answer.
use std::collections::{BTreeMap, BTreeSet};

/// Which operation: the client's number and the client's count.
pub(crate) type Op = (u32, u64);

/// The checker's memory of one app.
#[derive(Debug, Default)]
pub(crate) struct ExactlyOnce {
    /// Begun, with the highest counter value answered before.
    begun: BTreeMap<Op, i64>,
    /// Counter values answered, to whom, and when.
    answered: BTreeMap<i64, (Op, u64)>,
    /// Answered, and then lost, perhaps, with the majority of the app's voters: their entries may be there or not.
    excused: BTreeSet<Op>,
    reads: u64,
}

impl ExactlyOnce {
    /// The key under which an operation leaves its entry.
    pub(crate) fn key((client, count): Op) -> String {
        format!("{client}/{count}")
    }

    fn read_key(key: &str) -> Option<Op> {
        let (client, count) = key.split_once('/')?;
        Some((client.parse().ok()?, count.parse().ok()?))
    }

    /// The highest counter value answered so far: what whoever begins now must exceed, or see.
    pub(crate) fn floor(&self) -> i64 {
        self.answered.last_key_value().map_or(0, |(value, _)| *value)
    }

    /// A client begins an operation. Its repetitions are not told.
    pub(crate) fn begun(&mut self, op: Op) {
        let floor = self.floor();
        self.begun.insert(op, floor);
    }

    /// A client was told that its operation made the counter `value`.
    pub(crate) fn answered(&mut self, op: Op, value: i64, at: u64) -> Result<(), String> {
        let key = Self::key(op);
        let Some(floor) = self.begun.get(&op) else {
            return Err(format!("operation {key} was answered and never begun"));
        };
        if value <= *floor {
            return Err(format!("operation {key} got {value}, though {floor} had been answered before it began"));
        }
        match self.answered.insert(value, (op, at)) {
            Some((other, _)) if other != op => {
                let other = Self::key(other);
                Err(format!("operations {other} and {key} both got {value}"))
            }
            _ => Ok(()),
        }
    }

    /// The app goes on from what one survivor holds, which holds all that was answered until then. What was answered later may be
    /// lost: how many operations that excuses, and the highest value that is not.
    pub(crate) fn recovered(&mut self, kept_until: u64) -> (i64, usize) {
        let lost: Vec<i64> =
            self.answered.iter().filter(|(_, (_, at))| *at > kept_until).map(|(value, _)| *value).collect();
        for value in &lost {
            self.excused.extend(self.answered.remove(value).map(|(op, _)| op));
        }
        let floor = self.floor();
        self.begun.values_mut().for_each(|begun| *begun = floor.min(*begun));
        (floor, lost.len())
    }

    /// A read that began when `floor` was the highest answered value saw `value`.
    pub(crate) fn read(&mut self, floor: i64, value: i64) -> Result<(), String> {
        self.reads += 1;
        if value < floor {
            return Err(format!("a read saw {value}, though {floor} had been answered before it began"));
        }
        if value > i64::try_from(self.begun.len()).unwrap_or(i64::MAX) {
            return Err(format!("a read saw {value}, though only {} operations had begun", self.begun.len()));
        }
        Ok(())
    }

    /// All that is there when everything is over.
    pub(crate) fn ended(&self, counter: i64, keys: &BTreeSet<String>) -> Result<(), String> {
        let lost: Vec<_> = self.answered.iter().filter(|(_, (op, _))| !keys.contains(&Self::key(*op))).collect();
        if let Some((value, (op, _))) = lost.first() {
            let (key, count, all, there) = (Self::key(*op), lost.len(), self.answered.len(), keys.len());
            return Err(format!(
                "{count} of {all} acknowledged entries are lost, that of operation {key}, acknowledged as {value}, first; \
                 {there} are there, and the counter says {counter}"
            ));
        }
        if let Some(key) = keys.iter().find(|key| Self::read_key(key).is_none_or(|op| !self.begun.contains_key(&op))) {
            return Err(format!("there is an entry {key:?} that no operation left"));
        }
        if i64::try_from(keys.len()).ok() != Some(counter) {
            let count = keys.len();
            return Err(format!(
                "the counter says {counter} and there are {count} entries: an effect was doubled or lost"
            ));
        }
        Ok(())
    }

    /// Operations acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.answered.len() + self.excused.len()
    }

    /// Operations begun.
    pub(crate) fn operations(&self) -> usize {
        self.begun.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ops: &[Op]) -> BTreeSet<String> {
        ops.iter().map(|op| ExactlyOnce::key(*op)).collect()
    }

    fn three_answered() -> ExactlyOnce {
        let mut checker = ExactlyOnce::default();
        for count in 1..=3 {
            checker.begun((0, count));
            checker.answered((0, count), i64::try_from(count).unwrap(), count).unwrap();
        }
        checker
    }

    #[test]
    fn what_went_well_passes_an_unanswered_operation_that_took_effect_included() {
        let mut checker = three_answered();
        checker.begun((1, 1));
        checker.begun((2, 1));
        checker.answered((2, 1), 5, 9).unwrap();
        checker.read(5, 5).unwrap();
        checker.ended(5, &keys(&[(0, 1), (0, 2), (0, 3), (1, 1), (2, 1)])).unwrap();
        assert_eq!((checker.acknowledged(), checker.operations()), (4, 5));
    }

    #[test]
    fn a_lost_a_doubled_and_an_invented_effect_are_found() {
        let checker = three_answered();
        assert!(checker.ended(2, &keys(&[(0, 1), (0, 3)])).unwrap_err().contains("0/2"));
        assert!(checker.ended(4, &keys(&[(0, 1), (0, 2), (0, 3)])).unwrap_err().contains("doubled"));
        assert!(checker.ended(4, &keys(&[(0, 1), (0, 2), (0, 3), (9, 9)])).unwrap_err().contains("9/9"));
    }

    #[test]
    fn answers_out_of_order_and_stale_reads_are_found() {
        let mut checker = three_answered();
        checker.begun((1, 1));
        assert!(checker.answered((1, 1), 2, 9).is_err(), "3 had been answered before it began");
        checker.begun((1, 2));
        checker.begun((1, 3));
        checker.answered((1, 2), 7, 9).unwrap();
        assert!(checker.answered((1, 3), 7, 9).unwrap_err().contains("both got 7"));
        assert!(checker.read(3, 2).is_err());
        assert!(checker.read(3, 99).is_err());
    }

    #[test]
    fn what_was_answered_after_a_survivors_newest_entry_may_be_lost_and_no_more() {
        let mut checker = three_answered();
        assert_eq!(checker.recovered(2), (2, 1));
        // Its counter goes on from what the survivor holds, so a value comes again.
        checker.begun((1, 1));
        checker.answered((1, 1), 3, 5).unwrap();
        checker.ended(3, &keys(&[(0, 1), (0, 2), (1, 1)])).unwrap();
        checker.ended(4, &keys(&[(0, 1), (0, 2), (0, 3), (1, 1)])).unwrap();
        assert!(checker.ended(2, &keys(&[(0, 1), (1, 1)])).unwrap_err().contains("0/2"));
        assert_eq!(checker.acknowledged(), 4);
    }
}

//! Merges: in any order, any number of times, and in part.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{
    clock::{Clock, Slot},
    stores::{Head, Name, Stores},
    value::Held,
    vector::Vector,
};
use crate::{
    cell::{Outcome, Write},
    codec::Blob,
    refusal::Code,
    time::Timestamp,
};

const STORE: &str = "s";
const KEYS: u8 = 3;

/// What happens to somebody's copy.
#[derive(Clone, Debug)]
enum Step {
    Add {
        at: usize,
        key: u8,
        delta: i8,
    },
    Set {
        at: usize,
        key: u8,
        value: i8,
    },
    Delete {
        at: usize,
        key: u8,
    },
    /// One takes over what it lacks of another.
    Take {
        to: usize,
        from: usize,
    },
    /// One forgets the tombstones that all have.
    Forget {
        at: usize,
    },
}

fn seen_by_all(stores: &[Stores]) -> Vector {
    let seen = stores.iter().map(|it| it.head.seen.clone());
    seen.reduce(|both, seen| both.meet(&seen)).expect("there are some")
}

fn step(members: usize) -> impl Strategy<Value = Step> {
    let (at, other, key) = (0..members, 0..members, 0..KEYS);
    prop_oneof![
        3 => (at.clone(), key.clone(), any::<i8>()).prop_map(|(at, key, delta)| Step::Add { at, key, delta }),
        2 => (at.clone(), key.clone(), any::<i8>()).prop_map(|(at, key, value)| Step::Set { at, key, value }),
        2 => (at.clone(), key).prop_map(|(at, key)| Step::Delete { at, key }),
        3 => (at.clone(), other).prop_map(|(to, from)| Step::Take { to, from }),
        1 => at.prop_map(|at| Step::Forget { at }),
    ]
}

/// Copies of an app's stores, each under a clock of its own.
struct Copies {
    stores: Vec<Stores>,
    clocks: Vec<Clock>,
    /// How far off each wall clock is.
    off: Vec<u64>,
    turn: u64,
}

impl Copies {
    fn new(off: Vec<u64>) -> Self {
        let slot = |number: usize| Slot([u8::try_from(number).unwrap() + 1; 16]);
        let head = |number| Head { slot: slot(number), filled: true, ..Head::default() };
        let stores = (0..off.len()).map(|number| Stores::recall(head(number), Vec::new())).collect();
        Self { stores, clocks: vec![Clock::default(); off.len()], off, turn: 0 }
    }

    fn wall(&self, at: usize) -> Timestamp {
        Timestamp(1_000_000_000 + self.turn * 7 + self.off[at])
    }

    fn write(&mut self, at: usize, write: Write) -> Result<Outcome, Code> {
        let wall = self.wall(at);
        let made = self.stores[at].write(&mut self.clocks[at], wall, &[write]);
        made.map(|(outcome, _)| outcome).map_err(|refusal| refusal.code)
    }

    fn take(&mut self, to: usize, from: usize) {
        if to == from {
            return;
        }
        let piece = self.stores[from].lacking(&self.stores[to].head.seen, None);
        let wall = self.wall(to);
        let taken = self.stores[to].merge(&mut self.clocks[to], wall, &piece.basis, piece.entries, &piece.upto);
        assert!(taken.is_some_and(|(_, follows)| follows), "it goes on from what was there");
    }

    fn run(&mut self, steps: &[Step]) {
        let key = |key: &u8| format!("k{key}");
        for step in steps {
            self.turn += 1;
            let store = STORE.to_owned();
            match step {
                Step::Add { at, key: of, delta } => {
                    let _ = self.write(*at, Write::Increment { store, key: key(of), delta: i64::from(*delta) });
                }
                Step::Set { at, key: of, value } => {
                    let value = value.to_string().as_str().into();
                    self.write(*at, Write::Set { store, key: key(of), value }).unwrap();
                }
                Step::Delete { at, key: of } => {
                    self.write(*at, Write::Delete { store, key: key(of) }).unwrap();
                }
                Step::Take { to, from } => self.take(*to, *from),
                Step::Forget { at } => {
                    let seen = seen_by_all(&self.stores);
                    self.stores[*at].forget(&seen);
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..2 {
            for to in 0..self.stores.len() {
                (0..self.stores.len()).for_each(|from| self.take(to, from));
            }
        }
    }

    fn values(&self, at: usize) -> BTreeMap<String, Blob> {
        self.stores[at].entries().filter_map(|(_, key, held)| Some((key.clone(), held.value()?))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever was written where, whoever had heard what, and however wrong the clocks are: once all have heard of all, all
    /// hold the same.
    #[test]
    fn members_that_have_heard_of_all_hold_the_same(
        steps in prop::collection::vec(step(4), 0..120),
        off in prop::collection::vec(0..200_000_u64, 4),
    ) {
        let mut copies = Copies::new(off);
        copies.run(&steps);
        copies.settle();
        let first = copies.values(0);
        for at in 1..4 {
            prop_assert_eq!(&copies.values(at), &first);
            prop_assert_eq!(&copies.stores[at].head.seen, &copies.stores[0].head.seen);
        }
    }

    /// Nothing but increments: the counter is their sum, wherever they were made and in whatever order they were heard of.
    #[test]
    fn every_increment_counts_once(steps in prop::collection::vec(step(4), 0..120)) {
        let steps: Vec<Step> =
            steps.into_iter().filter(|it| matches!(it, Step::Add { .. } | Step::Take { .. })).collect();
        let mut copies = Copies::new(vec![0, 90_000, 40_000, 3]);
        copies.run(&steps);
        copies.settle();
        let mut sums = BTreeMap::<String, i64>::new();
        for step in &steps {
            if let Step::Add { key, delta, .. } = step {
                *sums.entry(format!("k{key}")).or_default() += i64::from(*delta);
            }
        }
        let sums: BTreeMap<String, Blob> =
            sums.into_iter().map(|(key, sum)| (key, sum.to_string().as_str().into())).collect();
        prop_assert_eq!(copies.values(2), sums);
    }

    /// What one member wrote last is never lost to what it had seen, whose clock was ahead.
    #[test]
    fn a_write_outlives_what_its_writer_had_seen(
        steps in prop::collection::vec(step(3), 0..60),
        off in prop::collection::vec(0..10_000_000_u64, 3),
        deletes in any::<bool>(),
    ) {
        let mut copies = Copies::new(off);
        copies.run(&steps);
        copies.settle();
        let (store, key) = (STORE.to_owned(), "k0".to_owned());
        if deletes {
            copies.write(1, Write::Delete { store, key }).unwrap();
        } else {
            copies.write(1, Write::Set { store, key, value: "last".into() }).unwrap();
        }
        copies.settle();
        let expected = if deletes { None } else { Some(Blob::from("last")) };
        prop_assert_eq!(copies.values(0).get("k0").cloned(), expected);
    }

    /// Commutative, associative, idempotent: versions of a key, as anybody ever held them, come to one whatever the order.
    #[test]
    fn versions_merge_alike_in_any_order(
        steps in prop::collection::vec(step(3), 1..60),
        order in prop::collection::vec(any::<u32>(), 64),
    ) {
        // Tombstones stay, as they do until every member has them.
        let steps: Vec<Step> = steps.into_iter().filter(|it| !matches!(it, Step::Forget { .. })).collect();
        let mut copies = Copies::new(vec![0, 50_000, 9]);
        let mut versions: Vec<Held> = Vec::new();
        let name = Name { store: STORE.to_owned(), key: "k0".to_owned() };
        for step in &steps {
            copies.run(std::slice::from_ref(step));
            versions.extend(copies.stores.iter().filter_map(|it| it.get(&name)).cloned());
        }
        let merged = |versions: &[Held]| {
            versions.iter().fold(Held::default(), |mut all, one| {
                all.merge(one.clone());
                all
            })
        };
        let straight = merged(&versions);
        let mut shuffled: Vec<(u32, Held)> =
            versions.iter().cloned().enumerate().map(|(at, held)| (order[at % order.len()], held)).collect();
        shuffled.sort_by_key(|(at, _)| *at);
        let shuffled: Vec<Held> = shuffled.into_iter().map(|(_, held)| held).collect();
        prop_assert_eq!(&merged(&shuffled), &straight);
        let (left, right) = shuffled.split_at(shuffled.len() / 2);
        let mut grouped = merged(left);
        grouped.merge(merged(right));
        prop_assert_eq!(&grouped, &straight);
        grouped.merge(straight.clone());
        prop_assert_eq!(grouped, straight);
    }
}

fn set(value: &str) -> Write {
    Write::Set { store: STORE.to_owned(), key: "k".to_owned(), value: value.into() }
}

fn add(delta: i64) -> Write {
    Write::Increment { store: STORE.to_owned(), key: "k".to_owned(), delta }
}

fn delete() -> Write {
    Write::Delete { store: STORE.to_owned(), key: "k".to_owned() }
}

fn two() -> Copies {
    Copies::new(vec![0, 0])
}

fn value(copies: &Copies, at: usize) -> Option<String> {
    copies.values(at).get("k").map(|value| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn a_set_begins_a_counter_anew_and_increments_that_did_not_know_of_it_came_before() {
    let mut copies = two();
    copies.write(0, add(5)).unwrap();
    copies.settle();
    copies.write(0, set("100")).unwrap();
    copies.write(1, add(7)).unwrap();
    copies.settle();
    assert_eq!(value(&copies, 1).as_deref(), Some("100"));
    assert!(matches!(copies.write(1, add(1)), Ok(Outcome::Written { counters, .. }) if counters == [101]));
    copies.settle();
    assert_eq!(value(&copies, 0).as_deref(), Some("101"));
}

#[test]
fn a_deleted_counter_begins_at_nothing_again_also_when_its_tombstone_is_forgotten() {
    for forget in [false, true] {
        let mut copies = two();
        copies.write(0, add(5)).unwrap();
        copies.settle();
        copies.write(1, delete()).unwrap();
        copies.settle();
        assert_eq!(value(&copies, 0), None);
        if forget {
            // Only one of them has forgotten, and it goes on counting.
            let seen = seen_by_all(&copies.stores);
            assert_eq!(copies.stores[0].forget(&seen).len(), 1);
            assert!(copies.stores[0].is_empty());
        }
        copies.write(0, add(2)).unwrap();
        copies.write(1, add(3)).unwrap();
        copies.settle();
        assert_eq!((value(&copies, 0).as_deref(), value(&copies, 1).as_deref()), (Some("5"), Some("5")));
    }
}

#[test]
fn a_key_without_a_number_is_not_incremented_and_nothing_is_swapped() {
    let mut copies = two();
    copies.write(0, set("Amélie")).unwrap();
    assert_eq!(copies.write(0, add(1)), Err(Code::Invalid));
    let swap = Write::Swap { store: STORE.to_owned(), key: "k".to_owned(), expected: 0, value: None };
    assert_eq!(copies.write(0, swap), Err(Code::Unsupported));
    assert_eq!(value(&copies, 0).as_deref(), Some("Amélie"));
}

#[test]
fn a_delete_of_what_is_not_there_says_nothing_of_what_others_write() {
    let mut copies = two();
    copies.write(1, delete()).unwrap();
    copies.write(0, set("here")).unwrap();
    copies.settle();
    assert_eq!(value(&copies, 1).as_deref(), Some("here"));
    assert_eq!(copies.stores[1].head.seen.len(), 1, "it was no write");
}

#[test]
fn whoever_missed_a_forgotten_deletion_begins_anew_and_keeps_what_only_it_wrote() {
    let mut copies = Copies::new(vec![0, 0, 0]);
    copies.write(0, set("old")).unwrap();
    copies.settle();
    // The third is away, and writes something that nobody hears of.
    copies.write(0, delete()).unwrap();
    copies.take(1, 0);
    let other = Write::Set { store: STORE.to_owned(), key: "own".to_owned(), value: "kept".into() };
    copies.write(2, other).unwrap();
    let seen = seen_by_all(&copies.stores[..2]);
    for at in 0..2 {
        copies.stores[at].forget(&seen);
    }
    assert!(!copies.stores[2].head.seen.covers(&copies.stores[0].head.forgotten));
    let theirs = copies.stores[0].head.seen.clone();
    copies.stores[2].begin_anew(Slot([9; 16]), &theirs);
    copies.take(2, 0);
    copies.stores[2].fill();
    copies.settle();
    for at in 0..3 {
        assert_eq!(copies.values(at), BTreeMap::from([("own".to_owned(), "kept".into())]), "member {at}");
    }
}

#[test]
fn a_piece_is_bounded_and_the_next_goes_on_behind_it() {
    let mut copies = two();
    for number in 0..40 {
        let value = vec![7; 20_000].into();
        let write = Write::Set { store: STORE.to_owned(), key: format!("{number}"), value };
        copies.write(0, write).unwrap();
    }
    let first = copies.stores[0].lacking(&Vector::default(), None);
    assert!(first.more && first.entries.len() < 20, "{}", first.entries.len());
    let mut pieces = 0;
    while copies.stores[1].head.seen != copies.stores[0].head.seen {
        copies.take(1, 0);
        pieces += 1;
    }
    assert_eq!(pieces, 4);
    assert_eq!(copies.values(1).len(), 40);
}

#[test]
fn a_piece_that_came_without_the_one_before_it_counts_for_nothing_seen() {
    let mut copies = two();
    for number in 0..3 {
        copies.write(0, set(&number.to_string())).unwrap();
    }
    let mut known = Vector::default();
    known.see(copies.stores[0].head.slot, 2);
    let piece = copies.stores[0].lacking(&known, None);
    let wall = copies.wall(1);
    let (stores, clocks) = (&mut copies.stores, &mut copies.clocks);
    let (_, follows) = stores[1].merge(&mut clocks[1], wall, &piece.basis, piece.entries, &piece.upto).unwrap();
    assert!(!follows && copies.stores[1].head.seen.is_empty());
    assert_eq!(value(&copies, 1).as_deref(), Some("2"), "what came is there all the same");
}

//! What members of an app say to each other of its converging stores.
use std::collections::BTreeMap;

use super::NOW;
use crate::converge::{
    Message,
    clock::{Slot, Stamp},
    value::{Count, Held, Register},
    vector::{Dot, Vector},
    wire::Entry,
};

const ONE: Slot = Slot([1; 16]);
const OTHER: Slot = Slot([2; 16]);

fn seen(numbers: &[(Slot, u64)]) -> Vector {
    Vector::up_to(numbers.iter().map(|(slot, number)| Dot { slot: *slot, number: *number }))
}

pub(super) fn have() -> Message {
    Message::Have { seen: seen(&[(ONE, 7), (OTHER, 40)]), filled: true, ask: false }
}

pub(super) fn anew() -> Message {
    Message::Anew { seen: seen(&[(ONE, 7), (OTHER, 40)]) }
}

/// A value, a tombstone, and a counter over a value.
pub(super) fn delta() -> Message {
    let stamp = Stamp { ms: NOW.0, count: 3, slot: ONE };
    let register = |number, value: Option<&str>| Some(Register { stamp, number, value: value.map(Into::into) });
    let entry = |key: &str, held| Entry { store: "visits".into(), key: key.into(), held };
    let counts = BTreeMap::from([
        (ONE, Count { number: 7, base: None, sum: -3 }),
        (OTHER, Count { number: 40, base: Some(stamp), sum: 5 }),
    ]);
    Message::Delta {
        basis: seen(&[(OTHER, 39)]),
        entries: vec![
            entry("gone", Held { register: register(4, None), counts: BTreeMap::new() }),
            entry("name", Held { register: register(5, Some("Amélie")), counts: BTreeMap::new() }),
            entry("page", Held { register: register(6, Some("10")), counts }),
        ],
        upto: seen(&[(ONE, 7), (OTHER, 40)]),
        more: false,
    }
}

//! How an app's converging stores lie on a node's disk, in the store's keyed state: a head, a value for each key, and a ring of
//! the ops that were done last, so that a retry which reaches this node again is done once.
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::{
    clock::{Slot, Stamp},
    stores::{Head, Name, Stores},
    vector::Vector,
    wire::Entry,
};
use crate::{
    codec::{self, Blob},
    id::{CellId, NodeId, OpId},
    store::StoreOp,
    time::Timestamp,
};

const PREFIX: &[u8] = b"converge/";
/// Of each app so many ops are remembered, with what they answered; of more, the oldest is forgotten.
pub const OPS_MAX: u16 = 4_096;

/// What is kept of an app beside its keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct KeptHead {
    #[n(0)]
    slot: Slot,
    #[n(1)]
    seen: Vector,
    #[n(2)]
    filled: bool,
    #[n(3)]
    floor: Option<Stamp>,
    #[n(4)]
    forgotten: Vector,
    /// Who shares these stores, this node left out.
    #[n(5)]
    members: BTreeSet<NodeId>,
    /// Who did until then, and may bring what it wrote.
    #[n(6)]
    former: BTreeMap<NodeId, Timestamp>,
    #[n(7)]
    before: Vector,
}

/// An op that was done.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct KeptOp {
    #[n(0)]
    op: OpId,
    #[n(1)]
    counters: Vec<i64>,
    /// The later of two has the higher.
    #[n(2)]
    turn: u64,
}

/// Who shares an app's converging stores with this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Company {
    pub(super) members: BTreeSet<NodeId>,
    pub(super) former: BTreeMap<NodeId, Timestamp>,
}

/// The ops that were done last, and what increments among them answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Ops {
    done: BTreeMap<OpId, (Vec<i64>, u64)>,
    by_turn: BTreeMap<u64, OpId>,
    turn: u64,
}

impl Ops {
    pub(super) fn recall(&self, op: OpId) -> Option<&[i64]> {
        self.done.get(&op).map(|(counters, _)| counters.as_slice())
    }

    /// Remembers one, in place of the oldest.
    pub(super) fn remember(&mut self, cell: CellId, op: OpId, counters: Vec<i64>) -> StoreOp {
        self.turn += 1;
        let kept = KeptOp { op, counters, turn: self.turn };
        let place = u16::try_from(self.turn % u64::from(OPS_MAX)).unwrap_or(0);
        let key = [PREFIX, &cell.0, b"o", &place.to_be_bytes()].concat().into();
        let value = codec::encode(&kept);
        self.insert(kept);
        StoreOp::Put { key, value }
    }

    fn insert(&mut self, KeptOp { op, counters, turn }: KeptOp) {
        self.turn = self.turn.max(turn);
        self.done.insert(op, (counters, turn));
        self.by_turn.insert(turn, op);
        while self.by_turn.len() > usize::from(OPS_MAX) {
            let Some((turn, op)) = self.by_turn.pop_first() else { return };
            if self.done.get(&op).is_some_and(|(_, of)| *of == turn) {
                self.done.remove(&op);
            }
        }
    }
}

/// What one app's part of the disk held.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) stores: Stores,
    pub(super) company: Company,
    pub(super) ops: Ops,
    /// Something was there that cannot be read: what is here may lack what the head says is seen.
    pub(super) doubtful: bool,
}

/// All that a disk holds of converging stores, by app.
pub(super) fn found(keyed: &BTreeMap<Blob, Blob>, lost: &BTreeSet<Blob>) -> BTreeMap<CellId, Found> {
    let mut read: BTreeMap<CellId, (Option<KeptHead>, Vec<Entry>, Found)> = BTreeMap::new();
    for (key, value) in keyed.range(Blob::from(PREFIX)..).take_while(|(key, _)| key.starts_with(PREFIX)) {
        let Some((cell, kind)) = of(key) else { continue };
        let (head, entries, found) = read.entry(cell).or_default();
        match kind {
            b'h' => *head = codec::decode("kept head", value).ok(),
            b'k' => match codec::decode("kept key", value) {
                Ok(entry) => entries.push(entry),
                Err(_) => found.doubtful = true,
            },
            b'o' => {
                if let Ok(op) = codec::decode("kept op", value) {
                    found.ops.insert(op);
                }
            }
            _ => {}
        }
    }
    for (cell, _) in lost.iter().filter_map(of) {
        read.entry(cell).or_default().2.doubtful = true;
    }
    let whole = |(head, entries, mut found): (Option<KeptHead>, Vec<Entry>, Found)| {
        found.doubtful |= head.is_none();
        let head = head.map(|kept| {
            found.company = Company { members: kept.members, former: kept.former };
            let KeptHead { slot, seen, filled, floor, forgotten, before, .. } = kept;
            Head { slot, seen, filled, floor, forgotten, before }
        });
        found.stores = Stores::recall(head.unwrap_or_default(), entries);
        found
    };
    read.into_iter().map(|(cell, parts)| (cell, whole(parts))).collect()
}

/// The app of a key, and which kind it is of.
fn of(key: &Blob) -> Option<(CellId, u8)> {
    let rest = key.strip_prefix(PREFIX)?;
    let (cell, rest) = rest.split_first_chunk::<32>()?;
    Some((CellId(*cell), *rest.first()?))
}

/// What to write down of the keys that changed, and of the head.
pub(super) fn ops(cell: CellId, stores: &Stores, company: &Company, changed: &BTreeSet<Name>) -> Vec<StoreOp> {
    let Head { slot, seen, filled, floor, forgotten, before } = stores.head.clone();
    let Company { members, former } = company.clone();
    let head = KeptHead { slot, seen, filled, floor, forgotten, members, former, before };
    let mut ops = vec![StoreOp::Put { key: head_key(cell), value: codec::encode(&head) }];
    for name in changed {
        let key = value_key(cell, name);
        ops.push(match stores.get(name) {
            Some(held) => {
                let entry = Entry { store: name.store.clone(), key: name.key.clone(), held: held.clone() };
                StoreOp::Put { key, value: codec::encode(&entry) }
            }
            None => StoreOp::Delete { key },
        });
    }
    ops
}

/// Forgets all of an app.
pub(super) fn drop_all(cell: CellId, stores: &Stores, ops: &Ops) -> Vec<StoreOp> {
    let mut dropped = vec![StoreOp::Delete { key: head_key(cell) }];
    for (store, key, _) in stores.entries() {
        let name = Name { store: store.clone(), key: key.clone() };
        dropped.push(StoreOp::Delete { key: value_key(cell, &name) });
    }
    for turn in ops.by_turn.keys() {
        let place = u16::try_from(turn % u64::from(OPS_MAX)).unwrap_or(0);
        dropped.push(StoreOp::Delete { key: [PREFIX, &cell.0, b"o", &place.to_be_bytes()].concat().into() });
    }
    dropped
}

fn head_key(cell: CellId) -> Blob {
    [PREFIX, &cell.0, b"h"].concat().into()
}

/// A key may be longer than the disk's keys are: its hash stands for it.
fn value_key(cell: CellId, name: &Name) -> Blob {
    let hash = blake3::hash(&codec::encode(&(&name.store, &name.key)));
    [PREFIX, &cell.0, b"k", hash.as_bytes()].concat().into()
}

//! Records into the replicated set, signatures taken as valid: authority, order, expiry and shares.
use std::{sync::Arc, time::Duration};

use bocage_protocol::{
    capacity::{Offer, Summary},
    cell::fixture::{self, FOUNDED},
    codec,
    membership::{Presence, Verdict},
    record::{Keyring, Known, Record, RecordSet},
    route::Binding,
    time::Timestamp,
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "record",
    about: "records, one after the other, into the replicated set",
    run,
    seeds,
    bytes_max: 32 << 10,
    heap: Some((64, 64 << 10)),
};

fn run(bytes: &[u8]) {
    let Ok(records) = codec::decode::<Vec<Record>>("records", bytes) else { return };
    let mut set = RecordSet::new(fixture::mesh(), fixture::law("FR"), Keyring::default());
    for (nth, record) in records.into_iter().enumerate() {
        let Some(known) = Known::read(record) else { continue };
        let content = &known.body.content;
        let _ = codec::decode::<Offer>("offer", content);
        let _ = codec::decode::<Summary>("summary", content);
        let _ = codec::decode::<Verdict>("verdict", content);
        let _ = codec::decode::<Presence>("presence", content);
        let _ = codec::decode::<Binding>("binding", content);
        set.insert(&Arc::new(known), FOUNDED + Duration::from_millis(nth as u64));
        set.expire(FOUNDED + Duration::from_secs(30 * nth as u64));
    }
    set.expire(Timestamp(u64::MAX));
    assert!(set.is_empty() && set.next_expiry().is_none(), "every record expires, and leaves nothing behind");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let all = world::records();
    let mut seeds: Vec<_> =
        all.iter().map(|(name, record)| (name.clone(), codec::encode(&vec![record]).to_vec())).collect();
    let together: Vec<_> = all.iter().map(|(_, record)| record).collect();
    seeds.push(("together".into(), codec::encode(&together).to_vec()));
    seeds
}

//! How keys succeed each other, and who wins.
use serde_json::{Value, json};

use super::{NOW, encoded, forged, key, party, recovered, rotated};
use crate::identity::{Descent, Endorsed, Genesis, Lineage, Party};

/// Lineages, whole and spoilt, and how they stand to each other.
pub(super) fn lineages() -> Value {
    let mut list = Vec::new();
    let mut case = |what: &str, lineage: &Lineage, verdict: &str| {
        let descent = lineage.descent().ok().filter(|_| verdict == "valid").map(|descent| shown(&descent));
        list.push(json!({ "what": what, "bytes": encoded(lineage), "verdict": verdict, "descent": descent }));
    };
    let first = party();
    let second = rotated(&first, 1, 2);
    let stolen = rotated(&second, 2, 21);
    let back = recovered(&stolen, 1, 3);
    case("its first key", &first, "valid");
    case("key 1 gave way to key 2", &second, "valid");
    case("and key 2 to a thief's", &stolen, "valid");
    case("until two recovery keys undid that", &back, "valid");
    let tenant = Lineage::first(Genesis::new(Party::Tenant, "tess", key(1).public(), NOW));
    case("a tenant without recovery keys", &tenant, "valid");

    let with = |genesis: Genesis| Lineage { genesis, ..first.clone() };
    let wide = Genesis { name: "a".repeat(64), ..first.genesis.clone() };
    case("a name of 64 bytes", &with(wide), "Genesis");
    let high = Genesis { threshold: 4, ..first.genesis.clone() };
    case("four of three recovery keys", &with(high), "Genesis");
    let none = Genesis { threshold: 0, ..first.genesis.clone() };
    case("recovery keys of which none is needed", &with(none), "Genesis");
    let twice = Genesis { recovery: vec![key(11).public(); 2], ..first.genesis.clone() };
    case("a recovery key twice", &with(twice), "Genesis");
    let own = Genesis { recovery: vec![key(1).public(), key(2).public()], ..first.genesis.clone() };
    case("its key among the recovery keys", &with(own), "Genesis");

    let by = |to: u8, signers: &[u8]| {
        let statement = first.next(0, key(to).public(), NOW).unwrap();
        let signed = signers.iter().fold(Endorsed::draft(&statement), |draft, number| draft.with(&key(*number)));
        Lineage { successions: vec![signed], ..first.clone() }
    };
    case("the new key did not sign", &by(2, &[1]), "NotHeld");
    case("the key before did not sign", &by(2, &[2]), "Unauthorised");
    case("a stranger signed", &by(2, &[2, 9]), "Unauthorised");
    case("one of the two recovery keys signed", &by(2, &[2, 11]), "Unauthorised");
    case("back to the first key", &by(1, &[1]), "OldKey");
    case("to a recovery key", &by(12, &[12, 1]), "OldKey");
    let gap = Lineage { successions: vec![stolen.successions[1].clone()], ..first.clone() };
    case("the second succession without the first", &gap, "Gap");
    let others = Lineage { genesis: tenant.genesis, successions: second.successions.clone() };
    case("another party's succession", &others, "Gap");
    let long = (0..17).map(|_| second.successions[0].clone()).collect();
    case("seventeen successions", &Lineage { successions: long, ..first.clone() }, "TooLong");
    let spoilt = Lineage { successions: vec![forged(&second.successions[0])], ..first.clone() };
    case("a signature that does not hold", &spoilt, "signature");

    let forked = rotated(&first, 1, 22);
    let (one, other) = (recovered(&first, 0, 4), recovered(&first, 0, 5));
    let lower = one.successions[0].hash() < other.successions[0].hash();
    let standings = [
        ("the longer one", &second, &first, "Outranks"),
        ("the shorter one", &first, &second, "Outranked"),
        ("the same", &second, &second, "Same"),
        ("two successions of one serial", &second, &forked, "Forked"),
        ("a recovery against what it undoes", &back, &stolen, "Outranks"),
        ("a recovery against a longer line of successions", &one, &stolen, "Outranks"),
        ("two recoveries: the lower hash", &one, &other, if lower { "Outranks" } else { "Outranked" }),
    ];
    let standings = standings.map(|(what, one, other, standing)| {
        json!({ "what": what, "one": encoded(one), "other": encoded(other), "standing": standing })
    });
    json!({
        "about": "A lineage is a genesis and its successions, each [payload, [[key, signature], …]], signed under \
                  bocage/v1/succession as an envelope is. Read it and say: valid, and what it comes to (party, current key, \
                  serial, rank: the line and generation of its record); signature; or the first thing that is wrong with \
                  it: Genesis (its bounds), TooLong, Gap (of another party, serial or statement before), OldKey, NotHeld \
                  (the new key did not sign), Unauthorised. `standings`: how `one` stands to `other`.",
        "lineages": list,
        "standings": standings,
    })
}

pub(in super::super) fn shown(descent: &Descent) -> Value {
    let (line, generation) = descent.rank();
    json!({
        "party": super::hex(&descent.party.0),
        "key": super::hex(&descent.key().0),
        "serial": descent.serial(),
        // Beyond what a JSON reader of floats keeps: as text.
        "rank": [line.to_string(), generation.to_string()],
    })
}

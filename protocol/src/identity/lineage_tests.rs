//! Who wins when keys are lost, stolen and replaced.
use super::*;

const WHEN: Timestamp = Timestamp(1_800_000_000_000);

fn key(number: u8) -> Keypair {
    Keypair::from_secret(&[number; 32])
}

/// An operator with key 1 and recovery keys 11, 12, 13, of which two must agree.
fn party() -> Lineage {
    let mut genesis = Genesis::new(Party::Operator, "alder", key(1).public(), WHEN);
    genesis.recovery = [11, 12, 13].map(|number| key(number).public()).to_vec();
    genesis.threshold = 2;
    Lineage::first(genesis)
}

fn rotated(lineage: &Lineage, from: u8, to: u8) -> Lineage {
    lineage.succeed(&key(from), &key(to), WHEN).unwrap()
}

fn recovered(lineage: &Lineage, after: usize, to: u8) -> Lineage {
    lineage.recover(after, &[&key(11), &key(13)], &key(to), WHEN).unwrap()
}

fn against(one: &Lineage, other: &Lineage) -> Standing {
    one.verify().unwrap().against(&other.verify().unwrap())
}

#[test]
fn keys_succeed_each_other_and_the_party_stays_itself() {
    let twice = rotated(&rotated(&party(), 1, 2), 2, 3);
    let descent = twice.verify().unwrap();
    assert_eq!((descent.key(), descent.serial()), (key(3).public(), 2));
    assert_eq!(descent.party, party().genesis.party_id());
    assert!(descent.has_buried(key(1).public()) && descent.has_buried(key(2).public()));
    assert!(!descent.has_buried(key(3).public()));
    assert_eq!(against(&twice, &party()), Standing::Outranks);
    assert_eq!(against(&party(), &twice), Standing::Outranked);
}

#[test]
fn nobody_succeeds_to_a_key_that_he_does_not_hold() {
    let lineage = party();
    let statement = lineage.next(0, key(2).public(), WHEN).unwrap();
    let bare = Endorsed::draft(&statement).with(&key(1));
    let lineage = Lineage { successions: vec![bare], ..lineage };
    assert_eq!(lineage.descent(), Err(LineageError::NotHeld(1)));
}

#[test]
fn a_stranger_and_too_few_recovery_keys_take_over_nothing() {
    let refused = Err(LineageError::Unauthorised(1));
    assert_eq!(party().succeed(&key(9), &key(2), WHEN), refused);
    assert_eq!(party().recover(0, &[&key(11)], &key(2), WHEN), refused);
    assert_eq!(party().recover(0, &[&key(11), &key(11)], &key(2), WHEN), refused, "one key twice is one key");
    assert_eq!(party().recover(0, &[&key(11), &key(9)], &key(2), WHEN), refused);
    let alone = Lineage::first(Genesis::new(Party::Tenant, "t", key(1).public(), WHEN));
    assert_eq!(alone.recover(0, &[], &key(2), WHEN), refused, "no recovery keys, no recovery");
}

#[test]
fn a_dead_key_and_a_recovery_key_are_never_the_current_one() {
    let lineage = rotated(&party(), 1, 2);
    assert_eq!(lineage.succeed(&key(2), &key(1), WHEN), Err(LineageError::OldKey(2)));
    assert_eq!(lineage.succeed(&key(2), &key(12), WHEN), Err(LineageError::OldKey(2)));
}

#[test]
fn a_changed_byte_in_a_lineage_breaks_it() {
    let bytes = codec::encode(&rotated(&party(), 1, 2));
    let truth = party().genesis.party_id();
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let Ok(lineage) = codec::decode::<Lineage>("lineage", &changed) else { continue };
        let survives = lineage.verify().is_ok_and(|descent| descent.party == truth && descent.serial() == 1);
        assert!(!survives, "byte {at}");
    }
}

#[test]
fn a_thief_who_rotates_first_and_often_loses_to_a_recovery() {
    let thief = rotated(&rotated(&rotated(&party(), 1, 21), 21, 22), 22, 23);
    let owner = recovered(&party(), 0, 2);
    assert_eq!(against(&owner, &thief), Standing::Outranks);
    assert_eq!(against(&thief, &owner), Standing::Outranked);
    assert!(owner.descent().unwrap().rank() > thief.descent().unwrap().rank(), "records rank alike");
    // And what the thief makes of the owner's new lineage, without the owner's new key:
    assert_eq!(owner.succeed(&key(1), &key(24), WHEN), Err(LineageError::Unauthorised(2)));
}

#[test]
fn a_recovery_undoes_what_followed_and_no_more() {
    let honest = rotated(&party(), 1, 2);
    let thief = rotated(&honest, 2, 21);
    let owner = recovered(&thief, 1, 3);
    assert_eq!(owner.successions[0], honest.successions[0]);
    assert_eq!(against(&owner, &thief), Standing::Outranks);
    assert_eq!(against(&owner, &honest), Standing::Outranks);
}

#[test]
fn a_key_retired_long_ago_forks_a_lineage_and_never_outranks_it() {
    let honest = rotated(&rotated(&party(), 1, 2), 2, 3);
    for last in 21..24 {
        let forged = rotated(&party(), 1, last);
        assert_eq!(against(&forged, &honest), Standing::Forked);
        assert_eq!(against(&honest, &forged), Standing::Forked);
    }
}

#[test]
fn a_party_changes_its_key_so_often_and_no_more() {
    let mut lineage = party();
    for number in 1..=u8::try_from(SUCCESSIONS_MAX).unwrap() {
        let (from, to) = if number == 1 { (1, 31) } else { (29 + number, 30 + number) };
        lineage = rotated(&lineage, from, to);
    }
    assert_eq!(lineage.succeed(&key(46), &key(99), WHEN), Err(LineageError::TooLong));
}

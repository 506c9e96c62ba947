//! Whether an app's keys are linearizable: tenants read, write and compare-and-swap through any node while nodes are killed
//! and paused, and [Porcupine]'s search looks for an order of all they saw that one register for each key could have given.
//!
//! Read: what a register may answer (`register`), who asks (`asker`), what befalls the nodes (`trouble`).
//!
//! [Porcupine]: https://github.com/anishathalye/porcupine
mod register;
mod asker;
mod trouble;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use porcupine_rs::{CheckResult, Operation};

use self::{
    asker::Asker,
    register::{Op, Register},
    trouble::Trouble,
};
use crate::{
    demo::Bocage,
    table::{Figure, count},
};

/// Keys that are fought for: few, so that many ask for one at once.
const KEYS: u32 = 4;
/// Who asks at once.
const ASKERS: u32 = 4;
/// The search gives up on a history after so long, which counts as not kept.
const SEARCH_MAX: Duration = Duration::from_mins(2);

/// One operation on one key.
struct Seen {
    key: u32,
    operation: Operation<Register>,
}

pub(crate) fn measure(bocage: &Bocage, histories: usize, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let (mut wrong, mut operations, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..histories {
        let history = run(bocage, Duration::from_secs(seconds), u64::try_from(number)?)?;
        let verdicts: Vec<CheckResult> = (0..KEYS).map(|key| verdict(&history.seen, key)).collect();
        let unknown = verdicts.iter().filter(|verdict| **verdict == CheckResult::Unknown).count();
        let violations = verdicts.iter().filter(|verdict| **verdict != CheckResult::Ok).count();
        for (key, _) in (0..).zip(&verdicts).filter(|(_, verdict)| **verdict != CheckResult::Ok) {
            tell(&history.seen, key);
        }
        let open = history.seen.iter().filter(|seen| seen.operation.return_time == i64::MAX).count();
        eprintln!(
            "linearizability {}: {} operations, {open} of unknown fate, {} kills and pauses; {violations} of {KEYS} keys wrong, of which {unknown} could not be decided in time",
            number + 1,
            history.seen.len(),
            history.troubles
        );
        wrong.push(count(violations));
        operations.push(count(history.seen.len()));
        troubles.push(count(history.troubles));
    }
    Ok(vec![
        Figure::worst("linearizability: keys without a lawful order", "", 0.0, wrong),
        Figure::told("linearizability: operations of a history", "", operations),
        Figure::told("linearizability: kills and pauses in it", "", troubles),
    ])
}

struct History {
    seen: Vec<Seen>,
    troubles: usize,
}

fn run(bocage: &Bocage, lasts: Duration, seed: u64) -> anyhow::Result<History> {
    let demo = bocage.demo()?;
    let began = Instant::now();
    let mut first = Asker::new(&demo, 0, seed, began);
    let mut seen = (0..KEYS).map(|key| first.begin(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let over = AtomicBool::new(false);
    let over = &over;
    let (asked, troubles) = thread::scope(|scope| {
        let asking: Vec<_> = (1..=ASKERS)
            .map(|number| {
                let mut asker = Asker::new(&demo, number, seed, began);
                scope.spawn(move || asker.ask_until(over))
            })
            .collect();
        let mut trouble = Trouble::new(&demo, seed);
        let troubles = trouble.make_until(began + lasts);
        over.store(true, Ordering::Relaxed);
        let asked: Vec<Seen> =
            asking.into_iter().flat_map(|asker| asker.join().expect("an asker does not panic")).collect();
        (asked, troubles)
    });
    seen.extend(asked);
    Ok(History { seen, troubles: troubles? })
}

/// What was seen of a key for which no order was found, in the order of the calls, for who looks into it.
fn tell(seen: &[Seen], key: u32) {
    let mut of_key: Vec<&Operation<Register>> =
        seen.iter().filter(|seen| seen.key == key).map(|seen| &seen.operation).collect();
    of_key.sort_by_key(|operation| operation.call_time);
    for operation in of_key {
        let Operation { client_id, call_time, return_time, op, .. } = operation;
        eprintln!("key {key}: asker {} {call_time} to {return_time} ns: {op:?}", client_id.unwrap_or_default());
    }
}

fn verdict(seen: &[Seen], key: u32) -> CheckResult {
    let history: Vec<Operation<Register>> =
        seen.iter().filter(|seen| seen.key == key).map(|seen| seen.operation.clone()).collect();
    porcupine_rs::check_operations_timeout(&history, SEARCH_MAX)
}

/// An operation as one asker saw it; `returned`: `None` when its fate is unknown.
fn operation(client: u32, called_ns: i64, returned_ns: Option<i64>, op: Op) -> Operation<Register> {
    Operation {
        client_id: Some(client),
        call_time: called_ns,
        return_time: returned_ns.unwrap_or(i64::MAX),
        op,
        metadata: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_linearizable(seen: &[Seen], key: u32) -> bool {
        verdict(seen, key) == CheckResult::Ok
    }

    fn seen(called: i64, returned: Option<i64>, op: Op) -> Seen {
        Seen { key: 0, operation: operation(1, called, returned, op) }
    }

    #[test]
    fn a_stale_read_and_a_lost_write_are_wrong_and_a_write_of_unknown_fate_may_do_either() {
        let set = |value| Op::Set(value);
        let written = || vec![seen(0, Some(1), set(1)), seen(2, Some(3), set(2))];
        let with = |more: Vec<Seen>| is_linearizable(&written().into_iter().chain(more).collect::<Vec<_>>(), 0);
        assert!(with(vec![seen(4, Some(5), Op::Get(2))]));
        assert!(!with(vec![seen(4, Some(5), Op::Get(1))]), "stale");
        assert!(with(vec![seen(2, Some(5), Op::Get(1))]), "at the same time as the write");
        assert!(with(vec![seen(4, None, set(3)), seen(5, Some(6), Op::Get(3))]));
        assert!(with(vec![seen(4, None, set(3)), seen(5, Some(6), Op::Get(2))]));
        assert!(!with(vec![seen(4, None, set(3)), seen(5, Some(6), Op::Get(3)), seen(7, Some(8), Op::Get(2))]));
    }

    #[test]
    fn two_swaps_from_one_value_are_not_both_done() {
        let swap = |from, to, done| Op::Swap { from, to, done };
        let begun = || seen(0, Some(1), Op::Set(1));
        assert!(is_linearizable(
            &[begun(), seen(2, Some(5), swap(1, 2, Some(true))), seen(2, Some(5), swap(1, 3, Some(false)))],
            0
        ));
        assert!(!is_linearizable(
            &[begun(), seen(2, Some(5), swap(1, 2, Some(true))), seen(2, Some(5), swap(1, 3, Some(true)))],
            0
        ));
        assert!(!is_linearizable(&[begun(), seen(2, Some(5), swap(1, 2, Some(false)))], 0));
        assert!(is_linearizable(&[begun(), seen(2, None, swap(1, 2, None)), seen(6, Some(7), Op::Get(1))], 0));
    }
}

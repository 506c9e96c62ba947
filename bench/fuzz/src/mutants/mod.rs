//! Wrong statements made of right ones: forged, replayed, expired, truncated, re-scoped, re-signed. Each takes the way that
//! a peer's bytes take (decoded, signatures checked, then the rules), and none may change anything. In between go right
//! ones, which all must: a set that refuses everything proves nothing.
mod bytes;
mod record;
mod command;
mod door;

use std::{collections::BTreeMap, fmt};

use bocage_protocol::random::{Rng, Seed};

/// After so many mutants comes a right statement.
const HONEST_EVERY: u64 = 50;

/// Something that accepts statements.
trait Arena {
    /// Names it.
    const NAME: &'static str;

    /// Offers a right statement; whether it was accepted.
    fn honest(&mut self, rng: &mut Rng) -> bool;

    /// Offers a wrong one; of which kind, and whether anything came of it.
    fn mutant(&mut self, rng: &mut Rng) -> (&'static str, bool);
}

/// What was offered, and what was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Offered.
    pub offered: u64,
    /// Accepted.
    pub accepted: u64,
}

/// All that was offered, by where and of which kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Wrong ones.
    pub mutants: BTreeMap<(&'static str, &'static str), Row>,
    /// Right ones.
    pub honest: BTreeMap<&'static str, Row>,
}

/// Offers `count` mutants in all, drawn from `seed`.
#[must_use]
pub fn run(count: u64, seed: u64) -> Tally {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let seed = Seed(bytes);
    let mut tally = Tally::default();
    let share = count.div_ceil(20);
    fill(&mut tally, record::Records::new(), share * 9, seed);
    fill(&mut tally, command::Commands::new(), share * 9, seed);
    fill(&mut tally, door::Requests::new(), count.saturating_sub(share * 18), seed);
    tally
}

fn fill<A: Arena>(tally: &mut Tally, mut arena: A, count: u64, seed: Seed) {
    let mut rng = seed.split(A::NAME).rng();
    for n in 0..count {
        if n.is_multiple_of(HONEST_EVERY) {
            let row = tally.honest.entry(A::NAME).or_default();
            row.offered += 1;
            row.accepted += u64::from(arena.honest(&mut rng));
        }
        let (kind, accepted) = arena.mutant(&mut rng);
        let row = tally.mutants.entry((A::NAME, kind)).or_default();
        row.offered += 1;
        row.accepted += u64::from(accepted);
    }
}

impl Tally {
    /// No mutant was accepted, and every right statement was.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.mutants.values().all(|row| row.accepted == 0)
            && self.honest.values().all(|row| row.offered > 0 && row.accepted == row.offered)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:9} {:42} {:>9} {:>9}", "where", "what", "offered", "accepted")?;
        let mut sum = Row::default();
        for ((place, kind), row) in &self.mutants {
            writeln!(f, "{place:9} {kind:42} {:>9} {:>9}", row.offered, row.accepted)?;
            sum.offered += row.offered;
            sum.accepted += row.accepted;
        }
        writeln!(f, "{:9} {:42} {:>9} {:>9}", "all", "mutants", sum.offered, sum.accepted)?;
        for (place, row) in &self.honest {
            writeln!(f, "{place:9} {:42} {:>9} {:>9}", "right ones in between", row.offered, row.accepted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wrong_statement_is_accepted_and_every_right_one_is() {
        let tally = run(20_000, 7);
        assert!(tally.holds(), "\n{tally}");
        assert!(tally.mutants.len() > 40, "{} kinds", tally.mutants.len());
    }
}

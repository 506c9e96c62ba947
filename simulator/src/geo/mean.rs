//! Which tenth of all pairs a pair of cities belongs to. Nothing is known of most pairs, so chance decides, but once for all
//! runs: a line that is unsteady is so in every seed.
pub(super) fn tenth(ends: [&str; 2]) -> usize {
    let hash = blake3::hash(ends.join("\n").as_bytes());
    let [low, high, ..] = hash.as_bytes();
    (usize::from(u16::from_le_bytes([*low, *high])) * 10) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_has_about_as_many_pairs() {
        let mut counts = [0_u32; 10];
        (0..2_000).for_each(|number| counts[tenth(["Lyon", &number.to_string()])] += 1);
        assert!(counts.iter().all(|count| (140..260).contains(count)), "{counts:?}");
    }
}

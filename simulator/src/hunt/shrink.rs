//! Shrinking: as few of a failing run's faults as still fail it, by delta debugging (A. Zeller and R. Hildebrandt,
//! *Simplifying and Isolating Failure-Inducing Input*, 2002). Each fault draws from a stream of its own, so those that are
//! left befall the same nodes as before.
use std::time::{Duration, Instant};

/// One failing run is shrunk for no longer.
pub(crate) const SHRINK_MAX: Duration = Duration::from_secs(110);

/// The fewest items found that still fail, in their order. `fails` is asked for subsets; all of `items` fail.
pub(crate) fn shrink<T: Clone>(items: Vec<T>, at_most: Duration, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let until = Instant::now() + at_most;
    let mut left = items;
    if fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while left.len() >= 2 && Instant::now() < until {
        let size = left.len().div_ceil(parts);
        let found = (0..left.len()).step_by(size).find_map(|start| {
            let end = (start + size).min(left.len());
            let part = &left[start..end];
            if parts > 2 || part.len() < left.len() {
                let rest: Vec<T> = left[..start].iter().chain(&left[end..]).cloned().collect();
                if Instant::now() < until && fails(part) {
                    return Some((part.to_vec(), 2));
                }
                if Instant::now() < until && !rest.is_empty() && fails(&rest) {
                    return Some((rest, parts.saturating_sub(1).max(2)));
                }
            }
            None
        });
        match found {
            Some((fewer, into)) => (left, parts) = (fewer, into),
            None if parts >= left.len() => break,
            None => parts = (parts * 2).min(left.len()),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        for wanted in [vec![3], vec![0, 19], vec![4, 5, 11]] {
            let mut asked = 0;
            let left = shrink((0..20).collect(), SHRINK_MAX, |some| {
                asked += 1;
                wanted.iter().all(|item| some.contains(item))
            });
            assert_eq!(left, wanted);
            assert!(asked < 120, "{asked} runs for {wanted:?}");
        }
        assert_eq!(shrink(vec![1, 2], SHRINK_MAX, |_| true), Vec::<i32>::new(), "it fails without any fault");
    }

    #[test]
    fn without_time_all_is_left() {
        let all: Vec<i32> = (0..9).collect();
        assert_eq!(shrink(all.clone(), Duration::ZERO, |some| some.len() == 9), all);
    }
}

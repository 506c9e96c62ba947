//! How far two places are apart: along the great circle, in integers (30 binary digits behind the point), because a sine of
//! the system's library differs in its last digit from machine to machine, and with it a trace.
use super::city::Spot;

/// One.
const ONE: i64 = 1 << 30;

/// Of the earth, taken as a ball.
const RADIUS_M: u64 = 6_371_000;

/// A degree in radians.
const DEGREE: i64 = 18_740_330;

const QUARTER_TURN: i64 = 90 * DEGREE;

/// Metres from one place to another.
pub(super) fn metres(a: Spot, b: Spot) -> u64 {
    let radians = |millionths: i64| millionths * DEGREE / 1_000_000;
    let turn = (a.longitude - b.longitude).rem_euclid(360_000_000);
    let half_longitude = sine(radians(turn.min(360_000_000 - turn)) / 2);
    let half_latitude = sine(radians((a.latitude - b.latitude).abs()) / 2);
    let cosine = |spot: Spot| sine(QUARTER_TURN - radians(spot.latitude.abs()));
    // The haversine.
    let across = times(times(cosine(a), cosine(b)), times(half_longitude, half_longitude));
    let of_half = times(half_latitude, half_latitude) + across;
    let root = i64::try_from((of_half.clamp(0, ONE).unsigned_abs() << 30).isqrt()).unwrap_or(ONE);
    2 * RADIUS_M * arc_sine(root).unsigned_abs() / ONE.unsigned_abs()
}

fn times(a: i64, b: i64) -> i64 {
    a * b / ONE
}

/// Of an angle between nothing and a quarter turn, by its series: the first term that is left out is under 2⁻³⁰.
fn sine(angle: i64) -> i64 {
    let square = times(angle, angle);
    let (mut sum, mut term) = (angle, angle);
    for last in [3, 5, 7, 9, 11, 13] {
        term = -times(term, square) / (last * (last - 1));
        sum += term;
    }
    sum.clamp(0, ONE)
}

/// The angle of a sine, by halving.
fn arc_sine(sought: i64) -> i64 {
    let (mut low, mut high) = (0, QUARTER_TURN);
    while low < high {
        let middle = (low + high + 1) / 2;
        if sine(middle) <= sought { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::{
        super::city::{cities, find},
        *,
    };

    fn km(a: &str, b: &str) -> u64 {
        let at = |name| cities()[usize::from(find(name).unwrap())].at;
        assert_eq!(metres(at(a), at(b)), metres(at(b), at(a)));
        metres(at(a), at(b)) / 1_000
    }

    #[test]
    fn distances_are_those_of_an_atlas() {
        // By the haversine in floats from the same table.
        for (a, b, atlas) in [
            ("Paris", "New York", 5_837),
            ("London", "Sydney", 16_993),
            ("Paris", "Lyon", 391),
            ("Auckland", "San Francisco", 10_502),
        ] {
            let km = km(a, b);
            assert!(km.abs_diff(atlas) <= atlas / 100, "{a} to {b}: {km}");
        }
        assert_eq!(km("Lyon", "Lyon"), 0);
    }

    #[test]
    fn the_other_side_of_the_globe_is_half_its_girth_away() {
        let spot = |latitude, longitude| Spot { latitude, longitude };
        for (a, b) in [
            (spot(0, 0), spot(0, 180_000_000)),
            (spot(90_000_000, 0), spot(-90_000_000, 0)),
            (spot(45_000_000, -90_000_000), spot(-45_000_000, 90_000_000)),
        ] {
            assert!(metres(a, b).abs_diff(20_015_087) < 2_000, "{}", metres(a, b));
        }
        // Across the date line is near.
        assert!(metres(spot(0, 179_000_000), spot(0, -179_000_000)).abs_diff(222_390) < 100);
    }
}

//! Draws from skewed distributions, in integers: logarithms and powers of the system's library differ in their last digit
//! from machine to machine, and what decides in a run must not. 32 binary digits stand behind the point.
use bocage_protocol::random::Rng;

/// One.
const ONE: u64 = 1 << 32;

/// ln 2.
const LN_2: u64 = 2_977_044_472;

/// Exponentially distributed with this mean, from a uniform number.
pub(crate) fn exponential(uniform: u64, mean: u64) -> u64 {
    scaled(mean, minus_ln(uniform))
}

/// Weibull distributed; the shape in thousandths.
pub(crate) fn weibull(uniform: u64, shape_per_mille: u64, scale: u64) -> u64 {
    let log = log2(minus_ln(uniform).max(1));
    // x to the power of one by the shape, by its logarithm.
    let power = i128::from(log) * 1_000 / i128::from(shape_per_mille.max(1));
    scaled(scale, exp2(i64::try_from(power).unwrap_or(i64::MAX)))
}

/// Lognormally distributed around this median; sigma, of the natural logarithm, in thousandths.
pub(crate) fn lognormal(rng: &mut Rng, median: u64, sigma_per_mille: u64) -> u64 {
    // The sum of twelve uniform numbers is near enough to normal, and goes no further than six deviations.
    let sum: i128 = (0..12).map(|_| i128::from(rng.next() >> 32)).sum();
    let deviations = sum - 6 * i128::from(ONE);
    let power = deviations * i128::from(sigma_per_mille) * i128::from(ONE) / (1_000 * i128::from(LN_2));
    scaled(median, exp2(i64::try_from(power).unwrap_or(i64::MAX)))
}

/// `value` times a number with 32 binary digits.
fn scaled(value: u64, by: u64) -> u64 {
    u64::try_from((u128::from(value) * u128::from(by)) >> 32).unwrap_or(u64::MAX)
}

/// Minus the natural logarithm of a uniform number between nothing and one.
fn minus_ln(uniform: u64) -> u64 {
    // 64 binary digits behind the point: log2 of it as a whole number, less 64.
    let bits = 64 * i64::try_from(ONE).unwrap_or(i64::MAX) - log2_of_whole(uniform.max(1));
    scaled(LN_2, bits.max(0).unsigned_abs())
}

/// Of a number with 32 binary digits.
fn log2(value: u64) -> i64 {
    log2_of_whole(value) - 32 * ONE.cast_signed()
}

/// Of a whole number, digit by digit: squaring doubles a logarithm. 32 binary digits stand behind the point.
pub(crate) fn log2_of_whole(value: u64) -> i64 {
    let whole = value.max(1).ilog2();
    // Between one and two, with 63 binary digits.
    let mut rest = u128::from(value.max(1)) << (63 - whole);
    let mut part = 0_u64;
    for digit in (0..32).rev() {
        rest = (rest * rest) >> 63;
        if rest >= 1 << 64 {
            rest >>= 1;
            part |= 1 << digit;
        }
    }
    (u64::from(whole) << 32).cast_signed() + part.cast_signed()
}

/// Two to the power of a number with 32 binary digits, which may be negative.
fn exp2(power: i64) -> u64 {
    let whole = power >> 32;
    let part = power.cast_unsigned() & (ONE - 1);
    // Two to the power of each of the digits behind the point: roots of two.
    let (mut product, mut root) = (u128::from(ONE) << 28, (2_u128 << 120).isqrt());
    for digit in (0..32).rev() {
        if part >> digit & 1 == 1 {
            product = (product * root) >> 60;
        }
        root = (root << 60).isqrt();
    }
    match u32::try_from(whole.unsigned_abs()) {
        Ok(by @ 0..=30) if whole >= 0 => u64::try_from(product << by >> 28).unwrap_or(u64::MAX),
        Ok(by @ 0..=60) if whole < 0 => u64::try_from(product >> by >> 28).unwrap_or(u64::MAX),
        _ => {
            if whole < 0 {
                0
            } else {
                u64::MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    fn near(value: u64, of: u64) -> bool {
        value.abs_diff(of) <= of / 100_000 + 2
    }

    #[test]
    fn logarithms_and_powers_are_those_of_a_table() {
        assert_eq!((log2_of_whole(1), log2_of_whole(8)), (0, 3 << 32));
        assert!(near(log2_of_whole(10).unsigned_abs(), 14_267_572_527), "3.321928");
        assert!(near(minus_ln(u64::MAX / 2), LN_2));
        assert_eq!(exp2(0), ONE);
        assert!(near(exp2(1 << 31), 6_074_000_999), "the root of two");
        assert!(near(exp2(-(1 << 31)), 3_037_000_499), "one by the root of two");
        assert!(near(exp2(5 << 32), 32 * ONE));
        assert_eq!((exp2(-70 << 32), exp2(40 << 32)), (0, u64::MAX));
    }

    /// The median and the mean of many draws.
    fn drawn(mut draw: impl FnMut(&mut Rng) -> u64) -> (u64, u64) {
        let mut rng = Seed([3; 32]).rng();
        let mut all: Vec<u64> = (0..20_000).map(|_| draw(&mut rng)).collect();
        all.sort_unstable();
        (all[10_000], all.iter().sum::<u64>() / 20_000)
    }

    #[test]
    fn draws_have_the_medians_and_means_of_their_distributions() {
        let about = |value: u64, of: u64| assert!(value.abs_diff(of) <= of / 20, "{value} is not about {of}");
        let (median, mean) = drawn(|rng| exponential(rng.next(), 1_000_000));
        about(median, 693_147);
        about(mean, 1_000_000);
        // The median of a Weibull distribution is the scale times ln 2 to the power of one by the shape.
        let (median, mean) = drawn(|rng| weibull(rng.next(), 500, 1_000_000));
        about(median, 480_453);
        about(mean, 2_000_000);
        let (median, mean) = drawn(|rng| lognormal(rng, 1_000_000, 1_000));
        about(median, 1_000_000);
        about(mean, 1_648_721);
    }
}

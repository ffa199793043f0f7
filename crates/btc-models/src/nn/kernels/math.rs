//! Functions of one number that the compiler can turn into vector instructions.

/// a b + c, rounded once where the machine can.
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e to the power of x with a relative error below 3e-7; x is cut to [-87, 88].
///
/// Reduction to |r| <= ln(2)/2 in two parts and a polynomial of degree six, the coefficients of
/// which are those of Moshier's Cephes library.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds to an integer, which then is in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-n, 0.693_359_4, x);
    let r = fma::<FMA>(-n, -2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = fma::<FMA>(p, r, 1.398_199_9e-3);
    p = fma::<FMA>(p, r, 8.333_452e-3);
    p = fma::<FMA>(p, r, 4.166_579_6e-2);
    p = fma::<FMA>(p, r, 1.666_666_5e-1);
    p = fma::<FMA>(p, r, 0.5);
    let y = fma::<FMA>(p, r * r, r + 1.0);
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    f32::from_bits(exponent << 23) * y
}

#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    2.0 / (1.0 + exp::<FMA>(-2.0 * x)) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<const FMA: bool>() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp::<FMA>(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        for step in -2000..=2000 {
            let x = step as f32 / 100.0;
            assert!(
                (f64::from(tanh::<FMA>(x)) - f64::from(x).tanh()).abs() < 2.5e-7,
                "tanh({x})"
            );
            let expected = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!(
                (f64::from(sigmoid::<FMA>(x)) - expected).abs() < 2e-7,
                "sigmoid({x})"
            );
        }
    }

    #[test]
    fn functions_are_as_precise_as_single_numbers_are() {
        check::<true>();
        check::<false>();
    }

    #[test]
    fn extremes_neither_overflow_nor_hide_a_nan() {
        assert!(exp::<true>(1e9).is_finite() && exp::<true>(-1e9) > 0.0);
        assert_eq!(sigmoid::<true>(f32::INFINITY), 1.0);
        assert_eq!(tanh::<true>(f32::NEG_INFINITY), -1.0);
        assert!(exp::<true>(f32::NAN).is_nan() && tanh::<false>(f32::NAN).is_nan());
    }
}

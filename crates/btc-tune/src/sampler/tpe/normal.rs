//! The normal distribution cut to an interval, in logarithms, far into its tails.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// ½ ln 2π.
pub(crate) const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;

/// Φ(a).
pub(crate) fn cdf(a: f64) -> f64 {
    0.5 * libm::erfc(-a * FRAC_1_SQRT_2)
}

/// ln Φ(a).
pub(crate) fn log_cdf(a: f64) -> f64 {
    if a > 6.0 {
        -cdf(-a)
    } else if a > -20.0 {
        cdf(a).ln()
    } else {
        log_cdf_far(a)
    }
}

/// ln Φ(a) far to the left, by the asymptotic series of the complementary error function.
fn log_cdf_far(a: f64) -> f64 {
    let leading = -0.5 * a * a - (-a).ln() - HALF_LN_2PI;
    let (mut sum, mut last) = (1.0_f64, 0.0_f64);
    let mut numerator = 1.0;
    let mut denominator = 1.0;
    let mut sign = 1.0;
    let mut i = 0.0;
    while (last - sum).abs() > f64::EPSILON && i < 60.0 {
        last = sum;
        i += 1.0;
        sign = -sign;
        denominator /= a * a;
        numerator *= 2.0 * i - 1.0;
        sum += sign * numerator * denominator;
    }
    leading + sum.ln()
}

/// ln(Φ(b) − Φ(a)) for a ≤ b.
pub(crate) fn log_mass(a: f64, b: f64) -> f64 {
    if b <= 0.0 {
        log_difference(log_cdf(b), log_cdf(a))
    } else if a > 0.0 {
        log_difference(log_cdf(-a), log_cdf(-b))
    } else {
        (-cdf(a) - cdf(-b)).ln_1p()
    }
}

/// ln(eˣ − eʸ) for x ≥ y.
fn log_difference(x: f64, y: f64) -> f64 {
    if x <= y {
        f64::NEG_INFINITY
    } else {
        x + (-(y - x).exp()).ln_1p()
    }
}

/// The point below which a share `q` of the normal distribution cut to [a, b] lies.
pub(crate) fn quantile(q: f64, a: f64, b: f64) -> f64 {
    if q <= 0.0 {
        return a;
    }
    if q >= 1.0 {
        return b;
    }
    // Work in the left tail, where Φ is exact relative to its size.
    if a > 0.0 {
        return -quantile_left(1.0 - q, q, -b, -a);
    }
    if b <= 0.0 {
        return quantile_left(q, 1.0 - q, a, b);
    }
    let (below, above) = (cdf(a), cdf(-b));
    let mass = 1.0 - below - above;
    let left = below + q * mass;
    let x = if left < 0.5 {
        inverse(left)
    } else {
        -inverse(above + (1.0 - q) * mass)
    };
    x.clamp(a, b)
}

/// As [`quantile`] for b ≤ 0; `rest` is 1 − q, which is not always exact as a difference.
fn quantile_left(q: f64, rest: f64, a: f64, b: f64) -> f64 {
    let (low, high) = (cdf(a), cdf(b));
    let p = if q < 0.5 {
        low + q * (high - low)
    } else {
        high - rest * (high - low)
    };
    // Below this Φ loses digits and then vanishes.
    if high > 1e-290 {
        return inverse(p).clamp(a, b);
    }
    let log_mass = log_difference(log_cdf(b), log_cdf(a));
    inverse_log(log_add(log_cdf(a), q.ln() + log_mass)).clamp(a, b)
}

fn log_add(x: f64, y: f64) -> f64 {
    let (high, low) = if x > y { (x, y) } else { (y, x) };
    if high == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}

/// Φ⁻¹ of a probability given by its logarithm, for probabilities too small for a float.
fn inverse_log(y: f64) -> f64 {
    let mut x = -(-2.0 * (y + HALF_LN_2PI)).max(0.0).sqrt();
    for _ in 0..100 {
        let log_p = log_cdf(x);
        let log_density = -0.5 * x * x - HALF_LN_2PI;
        let step = (log_p - y) * (log_p - log_density).exp();
        x -= step;
        if step.abs() <= 1e-8 * x.abs() {
            break;
        }
    }
    x
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Φ⁻¹(p), to about 1e-16 relative.
///
/// Wichura (1988), algorithm AS 241, routine PPND16.
pub(crate) fn inverse(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ];
    const B: [f64; 8] = [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        0.000_774_545_014_278_341_4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        0.000_547_593_808_499_534_5,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        0.000_786_869_131_145_613_3,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_7e-15,
    ];
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return if q < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    let r = (-tail.ln()).sqrt();
    let x = if r <= 5.0 {
        polynomial(&C, r - 1.6) / polynomial(&D, r - 1.6)
    } else {
        polynomial(&E, r - 5.0) / polynomial(&F, r - 5.0)
    };
    if q < 0.0 { -x } else { x }
}

/// ln of the density of the standard normal distribution.
pub(crate) fn log_density(x: f64) -> f64 {
    -0.5 * x * x - 0.5 * (2.0 * PI).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(btc_testing::cases(256))]

        #[test]
        fn quantiles_are_undone_by_the_distribution(q in 1e-9..1.0_f64, a in -30.0..30.0_f64, width in 1e-3..20.0_f64) {
            let b = a + width;
            let x = quantile(q, a, b);
            prop_assert!(a <= x && x <= b);
            let back = (log_mass(a, x) - log_mass(a, b)).exp();
            prop_assert!((back - q).abs() < 1e-6, "{back} for {q} in [{a}, {b}]");
        }

        #[test]
        fn the_inverse_is_exact(x in -30.0..6.0_f64) {
            let back = inverse(cdf(x));
            // Near 1 the next number is one epsilon away, however little the distribution grows there:
            // of a quantile no more is left than that over the density.
            let lost = 4.0 * f64::EPSILON / log_density(x).exp();
            let bound = 1e-9 * x.abs().max(1.0) + if x > 0.0 { lost } else { 0.0 };
            prop_assert!((back - x).abs() < bound, "{back} for {x}");
        }
    }
}

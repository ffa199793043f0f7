//! The checks of what is made of columns and targets.

use super::{accepted, twice};
use crate::{ScalerSpec, TargetSpec, TransformSpec};

/// Series that a check goes over: a walk, a wave that crosses 0, small and large numbers.
fn series() -> Vec<Vec<f64>> {
    let wave = |size: f64, offset: f64| {
        (0..80)
            .map(|i| {
                offset + size * (f64::from(i) * 0.7).sin() + size * 0.01 * f64::from(i * 37 % 11)
            })
            .collect::<Vec<f64>>()
    };
    vec![
        wave(10.0, 100.0),
        wave(1.0, 0.0),
        wave(1e-6, 1e-5),
        wave(1e8, 1e9),
    ]
}

fn same(a: &[f64], b: &[f64]) -> bool {
    let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
    bits(a) == bits(b)
}

/// Checks a transform for the contract of [`TransformSpec`]: one number for each row, the same
/// each time and on every thread; finite or NaN; blind to later rows, and to rows before those it
/// says it looks back at; not falling with the row's value where it says so.
///
/// ```
/// use btc_models::{FeatureTransform, conformance};
///
/// conformance::check_transform(&FeatureTransform::ZScore { window: 5 });
/// ```
///
/// # Panics
///
/// Panics if the transform breaks the contract.
pub fn check_transform(transform: &dyn TransformSpec) {
    accepted(transform.validate());
    let back = transform.lookback();
    for mut values in series() {
        while values.len() < back + 20 {
            values.extend_from_within(..);
        }
        let whole = transform.apply(&values);
        assert_eq!(
            whole.len(),
            values.len(),
            "there is one number for each row"
        );
        for other in twice(|| transform.apply(&values)) {
            assert!(same(&other, &whole), "it is not the same each time");
        }
        assert!(whole.iter().all(|x| !x.is_infinite()), "it is infinite");
        let defined = whole.iter().skip(back).any(|x| x.is_finite());
        let negative = values.iter().any(|x| *x <= 0.0);
        assert!(defined || negative, "it has no value for positive numbers");
        for row in [back, back + 1, values.len() - 2] {
            let cut = transform.apply(&values[..=row]);
            assert!(
                same(&cut[row..], &whole[row..=row]),
                "row {row} depends on later rows"
            );
            let mut earlier = values.clone();
            earlier[..row - back]
                .iter_mut()
                .for_each(|x| *x = 2.0 * *x + 1.0);
            let found = transform.apply(&earlier);
            let near = (found[row] - whole[row]).abs() <= 1e-9 * whole[row].abs().max(1.0);
            let both_missing = found[row].is_nan() && whole[row].is_nan();
            assert!(
                near || both_missing,
                "row {row} depends on rows before the {back} it names"
            );
        }
        let row = values.len() - 1;
        values[row] = f64::NAN;
        assert!(
            transform.apply(&values)[row].is_nan(),
            "a missing value is no number"
        );
        if transform.is_monotone() {
            let at = |x: f64| {
                let mut changed = values.clone();
                changed[row] = x;
                transform.apply(&changed)[row]
            };
            let base = values[row - 1];
            let steps = (-20..=20).map(|i| at(base + 0.05 * f64::from(i) * base.abs()));
            let steps: Vec<f64> = steps.filter(|x| x.is_finite()).collect();
            let rises = |pair: &[f64]| pair[0] <= pair[1] + 1e-9 * pair[1].abs().max(1.0);
            assert!(steps.windows(2).all(rises), "it falls: {steps:?}");
        }
    }
}

/// Checks a scaler for the contract of [`ScalerSpec`]: what was fitted is finite, the same each
/// time and all that it needs; scaling is finite, never falls, and is taken back.
///
/// ```
/// use btc_models::{ScalerKind, conformance};
///
/// conformance::check_scaler(&ScalerKind::Robust);
/// ```
///
/// # Panics
///
/// Panics if the scaler breaks the contract.
pub fn check_scaler(scaler: &dyn ScalerSpec) {
    accepted(scaler.validate());
    let mut all = series();
    all.extend([vec![], vec![5.0], vec![5.0; 30]]);
    let fits: Vec<Vec<f64>> = all.iter().map(|values| scaler.fit(values)).collect();
    for (values, fitted) in all.iter().zip(&fits) {
        assert!(
            fitted.iter().all(|x| x.is_finite()),
            "it fits {fitted:?} to {values:?}"
        );
        // Other fits came in between, and must have left no trace.
        for other in twice(|| scaler.fit(values)) {
            assert!(same(&other, fitted), "it is not the same each time");
        }
        let mut sorted = match values.is_empty() {
            true => vec![-1.0, 0.0, 2.0],
            false => values.clone(),
        };
        sorted.sort_by(f64::total_cmp);
        let scaled: Vec<f64> = sorted.iter().map(|x| scaler.apply(fitted, *x)).collect();
        assert!(
            scaled.iter().all(|x| x.is_finite()),
            "it scales to {scaled:?}"
        );
        assert!(
            scaled.windows(2).all(|pair| pair[0] <= pair[1]),
            "it falls: {scaled:?}"
        );
        let size = sorted.iter().fold(0f64, |size, x| size.max(x.abs()));
        for (x, y) in sorted.iter().zip(&scaled) {
            let back = scaler.invert(fitted, *y);
            assert!(
                (back - x).abs() <= 1e-9 * size.max(1e-12),
                "{x} comes back as {back}"
            );
        }
    }
}

/// Checks a target for the contract of [`TargetSpec`]: what is predicted is finite or not there,
/// rises with the value, and means that value again; a change of nothing is 0 if it says that it
/// is a change.
///
/// ```
/// use btc_models::{Target, conformance};
///
/// conformance::check_target(&Target::LogReturn);
/// ```
///
/// # Panics
///
/// Panics if the target breaks the contract.
pub fn check_target(target: &dyn TargetSpec) {
    accepted(target.validate());
    let mut defined = false;
    for values in series() {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let size = sorted.iter().fold(0f64, |size, x| size.max(x.abs()));
        for last in values.iter().step_by(7).copied() {
            let mut before: Option<f64> = None;
            for value in sorted.iter().copied() {
                let Some(predicted) = target.forward(last, value) else {
                    continue;
                };
                defined = true;
                assert!(predicted.is_finite(), "{last} to {value} is {predicted}");
                let rises = before.is_none_or(|before| before <= predicted);
                assert!(rises, "from {last} it falls to {predicted} at {value}");
                before = Some(predicted);
                let Some(back) = target.inverse(last, predicted) else {
                    panic!("{predicted} after {last} means nothing");
                };
                let near = (back - value).abs() <= 1e-9 * size;
                assert!(near, "{value} after {last} comes back as {back}");
            }
            if target.is_change() {
                let nothing = target.forward(last, last);
                let zero = nothing.is_none_or(|change| change.abs() <= 1e-12);
                assert!(zero, "a change from {last} to itself is {nothing:?}");
            }
        }
    }
    assert!(defined, "it is not defined for any ordinary series");
}

//! The population stability index between two samples.

/// Bins that a reference sample is parted into.
const BINS: usize = 10;
/// The least share of a bin: an empty one would make the index infinite.
const FLOOR: f64 = 1e-4;

/// The population stability index of `current` against `reference`: the sum
/// of `(c - r) ln(c / r)` over bins with the shares `r` and `c`, whose borders
/// are deciles of the reference. Values below 0.1 are usually read as no
/// change, above 0.25 as a change that matters. `None` if a sample is empty.
///
/// The index and its reading: Siddiqi, Credit Risk Scorecards (2006).
pub(super) fn population_stability_index(reference: &mut [f64], current: &[f64]) -> Option<f64> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    reference.sort_unstable_by(f64::total_cmp);
    let mut borders: Vec<f64> = (1..BINS)
        .map(|bin| reference[bin * reference.len() / BINS])
        .collect();
    borders.dedup();
    let shares = |sample: &[f64]| -> Vec<f64> {
        let mut counts = vec![0_usize; borders.len() + 1];
        for value in sample {
            counts[borders.partition_point(|border| border <= value)] += 1;
        }
        counts
            .iter()
            .map(|count| (*count as f64 / sample.len() as f64).max(FLOOR))
            .collect()
    };
    let pairs = shares(reference).into_iter().zip(shares(current));
    Some(
        pairs
            .map(|(reference, current)| (current - reference) * (current / reference).ln())
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sample_has_not_drifted_and_a_shifted_one_has() {
        let sample: Vec<f64> = (0..1_000).map(|n| f64::from(n % 97)).collect();
        let index = |shift: f64| {
            let current: Vec<f64> = sample.iter().map(|value| value + shift).collect();
            population_stability_index(&mut sample.clone(), &current).unwrap()
        };
        assert!(index(0.0).abs() < 1e-12);
        assert!(index(2.0) < 0.1, "{}", index(2.0));
        assert!(0.25 < index(40.0), "{}", index(40.0));
        assert_eq!(population_stability_index(&mut [], &[1.0]), None);
    }

    #[test]
    fn two_bins_by_hand() {
        // Half of the reference is 0 and half 1, of the current a quarter and
        // three quarters: (0.25 - 0.5) ln 0.5 + (0.75 - 0.5) ln 1.5.
        let mut reference = [0.0, 1.0, 0.0, 1.0];
        let index = population_stability_index(&mut reference, &[0.0, 1.0, 1.0, 1.0]).unwrap();
        let by_hand = -0.25 * 0.5_f64.ln() + 0.25 * 1.5_f64.ln();
        assert!((index - by_hand).abs() < 1e-12, "{index} {by_hand}");
    }
}

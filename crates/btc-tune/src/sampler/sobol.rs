//! Sobol's sequence.

/// Dimensions this table serves; the first needs no row.
pub(crate) const DIMENSIONS: usize = ROWS.len() + 1;

/// Bits of a coordinate.
const BITS: usize = 32;

/// The directions of each coordinate.
#[derive(Debug, Clone)]
pub(crate) struct Sobol {
    directions: Vec<[u32; BITS]>,
}

impl Sobol {
    /// Prepares up to [`DIMENSIONS`] coordinates.
    pub(crate) fn new(dimensions: usize) -> Self {
        let mut directions = Vec::with_capacity(dimensions);
        let mut first = [0; BITS];
        for (k, direction) in first.iter_mut().enumerate() {
            *direction = 1 << (BITS - 1 - k);
        }
        directions.push(first);
        for (polynomial, initial) in ROWS.iter().take(dimensions.saturating_sub(1)) {
            directions.push(directions_of(*polynomial, initial));
        }
        directions.truncate(dimensions);
        Self { directions }
    }

    /// The point of an index, in [0, 1) with steps of 2^-32, in the order of the Gray code.
    pub(crate) fn point(&self, index: u32) -> Vec<u32> {
        let gray = index ^ (index >> 1);
        self.directions
            .iter()
            .map(|directions| {
                (0..BITS)
                    .filter(|k| gray >> k & 1 == 1)
                    .fold(0, |x, k| x ^ directions[k])
            })
            .collect()
    }
}

/// Extends the initial numbers of a coordinate by the recurrence of its polynomial.
///
/// Bratley and Fox (1988), algorithm 659.
fn directions_of(polynomial: u32, initial: &[u32]) -> [u32; BITS] {
    let degree = initial.len();
    let mut numbers = initial.to_vec();
    for k in degree..BITS {
        let mut next = numbers[k - degree] ^ (numbers[k - degree] << degree);
        for i in 1..degree {
            if polynomial >> (degree - i) & 1 == 1 {
                next ^= numbers[k - i] << i;
            }
        }
        numbers.push(next);
    }
    let mut directions = [0; BITS];
    for (k, direction) in directions.iter_mut().enumerate() {
        *direction = numbers[k] << (BITS - 1 - k);
    }
    directions
}

/// Primitive polynomials, all coefficients as bits, with the initial numbers of each coordinate from the
/// second on: S. Joe and F. Y. Kuo (2008), "new-joe-kuo-6.21201".
const ROWS: [(u32, &[u32]); 63] = [
    (3, &[1]),
    (7, &[1, 3]),
    (11, &[1, 3, 1]),
    (13, &[1, 1, 1]),
    (19, &[1, 1, 3, 3]),
    (25, &[1, 3, 5, 13]),
    (37, &[1, 1, 5, 5, 17]),
    (41, &[1, 1, 5, 5, 5]),
    (47, &[1, 1, 7, 11, 19]),
    (55, &[1, 1, 5, 1, 1]),
    (59, &[1, 1, 1, 3, 11]),
    (61, &[1, 3, 5, 5, 31]),
    (67, &[1, 3, 3, 9, 7, 49]),
    (91, &[1, 1, 1, 15, 21, 21]),
    (97, &[1, 3, 1, 13, 27, 49]),
    (103, &[1, 1, 1, 15, 7, 5]),
    (109, &[1, 3, 1, 15, 13, 25]),
    (115, &[1, 1, 5, 5, 19, 61]),
    (131, &[1, 3, 7, 11, 23, 15, 103]),
    (137, &[1, 3, 7, 13, 13, 15, 69]),
    (143, &[1, 1, 3, 13, 7, 35, 63]),
    (145, &[1, 3, 5, 9, 1, 25, 53]),
    (157, &[1, 3, 1, 13, 9, 35, 107]),
    (167, &[1, 3, 1, 5, 27, 61, 31]),
    (171, &[1, 1, 5, 11, 19, 41, 61]),
    (185, &[1, 3, 5, 3, 3, 13, 69]),
    (191, &[1, 1, 7, 13, 1, 19, 1]),
    (193, &[1, 3, 7, 5, 13, 19, 59]),
    (203, &[1, 1, 3, 9, 25, 29, 41]),
    (211, &[1, 3, 5, 13, 23, 1, 55]),
    (213, &[1, 3, 7, 3, 13, 59, 17]),
    (229, &[1, 3, 1, 3, 5, 53, 69]),
    (239, &[1, 1, 5, 5, 23, 33, 13]),
    (241, &[1, 1, 7, 7, 1, 61, 123]),
    (247, &[1, 1, 7, 9, 13, 61, 49]),
    (253, &[1, 3, 3, 5, 3, 55, 33]),
    (285, &[1, 3, 1, 15, 31, 13, 49, 245]),
    (299, &[1, 3, 5, 15, 31, 59, 63, 97]),
    (301, &[1, 3, 1, 11, 11, 11, 77, 249]),
    (333, &[1, 3, 1, 11, 27, 43, 71, 9]),
    (351, &[1, 1, 7, 15, 21, 11, 81, 45]),
    (355, &[1, 3, 7, 3, 25, 31, 65, 79]),
    (357, &[1, 3, 1, 1, 19, 11, 3, 205]),
    (361, &[1, 1, 5, 9, 19, 21, 29, 157]),
    (369, &[1, 3, 7, 11, 1, 33, 89, 185]),
    (391, &[1, 3, 3, 3, 15, 9, 79, 71]),
    (397, &[1, 3, 7, 11, 15, 39, 119, 27]),
    (425, &[1, 1, 3, 1, 11, 31, 97, 225]),
    (451, &[1, 1, 1, 3, 23, 43, 57, 177]),
    (463, &[1, 3, 7, 7, 17, 17, 37, 71]),
    (487, &[1, 3, 1, 5, 27, 63, 123, 213]),
    (501, &[1, 1, 3, 5, 11, 43, 53, 133]),
    (529, &[1, 3, 5, 5, 29, 17, 47, 173, 479]),
    (539, &[1, 3, 3, 11, 3, 1, 109, 9, 69]),
    (545, &[1, 1, 1, 5, 17, 39, 23, 5, 343]),
    (557, &[1, 3, 1, 5, 25, 15, 31, 103, 499]),
    (563, &[1, 1, 1, 11, 11, 17, 63, 105, 183]),
    (601, &[1, 1, 5, 11, 9, 29, 97, 231, 363]),
    (607, &[1, 1, 5, 15, 19, 45, 41, 7, 383]),
    (617, &[1, 3, 7, 7, 31, 19, 83, 137, 221]),
    (623, &[1, 1, 1, 3, 23, 15, 111, 223, 83]),
    (631, &[1, 1, 5, 13, 31, 15, 55, 25, 161]),
    (637, &[1, 1, 3, 13, 25, 47, 39, 87, 257]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.qmc.Sobol(d, scramble=False)`, SciPy 1.17.
    #[test]
    fn points_are_those_of_scipy() {
        let unit = |x: u32| f64::from(x) / 2_f64.powi(32);
        let eight = Sobol::new(8);
        let point: Vec<f64> = eight.point(13).into_iter().map(unit).collect();
        assert_eq!(
            point,
            [
                0.8125, 0.6875, 0.8125, 0.0625, 0.4375, 0.9375, 0.5625, 0.5625
            ]
        );
        let all = Sobol::new(DIMENSIONS);
        let point: Vec<f64> = all.point(1000).into_iter().map(unit).collect();
        assert_eq!(
            point[60..],
            [0.4462890625, 0.6025390625, 0.2587890625, 0.4462890625]
        );
        let point: Vec<f64> = all.point(777).into_iter().map(unit).collect();
        assert_eq!(
            point[..4],
            [0.6923828125, 0.9365234375, 0.1630859375, 0.2744140625]
        );
    }
}

//! The linear algebra of the baselines: small dense systems.

/// Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations.
pub(super) fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(i == j)).collect())
        .collect();
    let size: f64 = a.iter().flatten().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i][j].powi(2))
            .sum();
        if off <= 1e-22 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    let (x, y) = (row[p], row[q]);
                    (row[p], row[q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p][k], a[q][k]);
                    (a[p][k], a[q][k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[p][k], vectors[q][k]);
                    (vectors[p][k], vectors[q][k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a[i][i]).collect(), vectors)
}

/// Solves four equations by elimination with pivots; unknowns that nothing determines are 0.
pub(super) fn solve(mut rows: [[f64; 5]; 4]) -> [f64; 4] {
    let size = rows
        .iter()
        .flatten()
        .fold(0.0f64, |max, x| max.max(x.abs()));
    for column in 0..4 {
        let pivot = (column..4)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))
            .unwrap_or(column);
        rows.swap(column, pivot);
        let lead = rows[column];
        if lead[column].abs() <= 1e-18 * size {
            continue;
        }
        for row in rows.iter_mut().skip(column + 1) {
            let factor = row[column] / lead[column];
            for (x, lead) in row.iter_mut().zip(lead) {
                *x -= factor * lead;
            }
        }
    }
    let mut solution = [0.0; 4];
    for i in (0..4).rev() {
        let known: f64 = (i + 1..4).map(|j| rows[i][j] * solution[j]).sum();
        if 1e-18 * size < rows[i][i].abs() {
            solution[i] = (rows[i][4] - known) / rows[i][i];
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_equations_are_solved() {
        // x = 1, 2, 3, 4.
        let rows = [
            [0.0, 1.0, 1.0, 0.0, 5.0],
            [2.0, 0.0, 0.0, 1.0, 6.0],
            [1.0, 1.0, 1.0, 1.0, 10.0],
            [0.0, 0.0, 2.0, -1.0, 2.0],
        ];
        let found = solve(rows);
        assert!(
            found
                .iter()
                .zip([1.0, 2.0, 3.0, 4.0])
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }

    #[test]
    fn eigenvectors_make_the_matrix_diagonal() {
        let a = vec![
            vec![4.0, 1.0, -2.0],
            vec![1.0, 2.0, 0.5],
            vec![-2.0, 0.5, 3.0],
        ];
        let (values, vectors) = eigen(a.clone());
        for (value, vector) in values.iter().zip(&vectors) {
            for (i, row) in a.iter().enumerate() {
                let product: f64 = row.iter().zip(vector).map(|(a, v)| a * v).sum();
                assert!((product - value * vector[i]).abs() < 1e-10);
            }
        }
    }
}

//! A table of values in time, of which one column is forecast.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Tensor};
use chrono::{DateTime, Utc};

use crate::{Error, Result};

/// A table of daily values: one row per day, one column per feature.
///
/// Row `i` holds what is known at `known_at()[i]`. One of the columns is the price that is
/// forecast; it has no gaps. Elsewhere NaN means that a value is missing.
///
/// ```
/// use btc_models::SeriesFrame;
/// use candle_core::{Device, Tensor};
/// use chrono::{DateTime, Days};
///
/// let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
/// let known_at = (0..3).map(|day| start + Days::new(day)).collect();
/// let values = Tensor::new(&[[10.0, 1.0], [11.0, f64::NAN], [12.0, 3.0]], &Device::Cpu)?;
/// let frame = SeriesFrame::new(known_at, vec!["close".into(), "volume".into()], values, "close")?;
/// assert_eq!(frame.rows(), 3);
/// assert_eq!(frame.slice(1..3)?.price(), [11.0, 12.0]);
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SeriesFrame {
    known_at: Vec<DateTime<Utc>>,
    names: Vec<String>,
    values: Tensor,
    price: usize,
}

impl SeriesFrame {
    /// Checks and takes the columns.
    ///
    /// `values` has the shape (rows, features); its type is turned into f64. `price` is the name
    /// of the column that is forecast.
    ///
    /// # Errors
    ///
    /// `known_at` must be strictly increasing, the names distinct, the shape that of the names
    /// and times, and the price finite in every row.
    pub fn new(
        known_at: Vec<DateTime<Utc>>,
        names: Vec<String>,
        values: Tensor,
        price: &str,
    ) -> Result<Self> {
        let (rows, columns) = values.dims2().map_err(|_| {
            Error::series(format!(
                "its shape is {:?} instead of (rows, features)",
                values.dims()
            ))
        })?;
        if (rows, columns) != (known_at.len(), names.len()) {
            return Err(Error::series(format!(
                "{rows} rows of {columns} values do not fit {} times and {} names",
                known_at.len(),
                names.len()
            )));
        }
        if let Some(at) = known_at.windows(2).position(|pair| pair[1] <= pair[0]) {
            return Err(Error::series(format!(
                "row {} is known at {}, not after {} of the row before",
                at + 1,
                known_at[at + 1],
                known_at[at]
            )));
        }
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(Error::series(format!("two columns are called {name:?}")));
            }
        }
        let Some(price) = names.iter().position(|name| name == price) else {
            return Err(Error::series(format!(
                "no column is called {price:?}; there are {}",
                names.join(", ")
            )));
        };
        let values = values.to_dtype(DType::F64)?.contiguous()?;
        let frame = Self {
            known_at,
            names,
            values,
            price,
        };
        if let Some(row) = frame.price().iter().position(|price| !price.is_finite()) {
            return Err(Error::series(format!(
                "the price {:?} is missing in row {row} ({})",
                frame.price_name(),
                frame.known_at[row]
            )));
        }
        Ok(frame)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.known_at.len()
    }

    /// The rows of `range` alone.
    ///
    /// # Errors
    ///
    /// The range must lie inside the frame.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || self.rows() < range.end {
            return Err(Error::series(format!(
                "rows {}..{} are not inside its {} rows",
                range.start,
                range.end,
                self.rows()
            )));
        }
        Ok(Self {
            known_at: self.known_at[range.clone()].to_vec(),
            names: self.names.clone(),
            values: self.values.narrow(0, range.start, range.len())?,
            price: self.price,
        })
    }

    /// The frame with one more row, of which only the price is known.
    pub(crate) fn with_row(&self, known_at: DateTime<Utc>, price: f64) -> Result<Self> {
        let row: Vec<f64> = (0..self.names.len())
            .map(|at| if at == self.price { price } else { f64::NAN })
            .collect();
        let row = Tensor::from_vec(row, (1, self.names.len()), self.values.device())?;
        let times = self.known_at.iter().copied().chain([known_at]).collect();
        let values = Tensor::cat(&[&self.values, &row], 0)?;
        Self::new(times, self.names.clone(), values, self.price_name())
    }

    /// The columns' names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When each row is known.
    pub fn known_at(&self) -> &[DateTime<Utc>] {
        &self.known_at
    }

    /// The name of the column that is forecast.
    pub fn price_name(&self) -> &str {
        &self.names[self.price]
    }

    /// The column that is forecast.
    pub fn price(&self) -> Vec<f64> {
        self.column_at(self.price)
    }

    /// The column called `name`, NaN where a value is missing; `None` if there is none.
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        self.names
            .iter()
            .position(|other| other == name)
            .map(|at| self.column_at(at))
    }

    /// All values: (rows, features), f64.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// For each column, the rows since its last value, counted from the last row: 0 if the last
    /// row has one. `None` if the column has no value at all.
    pub fn staleness(&self) -> BTreeMap<String, Option<usize>> {
        let since = |at| {
            self.column_at(at)
                .iter()
                .rev()
                .position(|value| value.is_finite())
        };
        self.names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), since(at)))
            .collect()
    }

    fn column_at(&self, at: usize) -> Vec<f64> {
        self.values
            .narrow(1, at, 1)
            .and_then(|column| column.flatten_all()?.to_vec1())
            .expect("the shape and type are checked by `new`")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use candle_core::Device;
    use chrono::Days;

    use super::*;

    /// `rows` days from 2020-01-01 on, of the columns given.
    pub(crate) fn frame(columns: &[(&str, Vec<f64>)]) -> SeriesFrame {
        let start: DateTime<Utc> = "2020-01-01T00:00:00Z".parse().unwrap();
        let rows = columns[0].1.len();
        let values: Vec<f64> = (0..rows)
            .flat_map(|row| columns.iter().map(move |(_, column)| column[row]))
            .collect();
        SeriesFrame::new(
            (0..rows as u64).map(|day| start + Days::new(day)).collect(),
            columns.iter().map(|(name, _)| name.to_string()).collect(),
            Tensor::from_vec(values, (rows, columns.len()), &Device::Cpu).unwrap(),
            columns[0].0,
        )
        .unwrap()
    }

    fn refused(times: &[i64], names: &[&str], values: Vec<f64>, expected: &str) {
        let known_at = times
            .iter()
            .map(|&t| DateTime::from_timestamp(t, 0).unwrap())
            .collect();
        let shape = (values.len() / names.len(), names.len());
        let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let names = names.iter().map(|name| name.to_string()).collect();
        let error = SeriesFrame::new(known_at, names, values, "p")
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_frame_that_contradicts_itself_is_refused() {
        refused(&[0, 1], &["p"], vec![1.0], "do not fit");
        refused(&[1, 1], &["p"], vec![1.0, 2.0], "row 1 is known at");
        refused(&[0], &["p", "p"], vec![1.0, 2.0], "two columns");
        refused(&[0], &["q"], vec![1.0], "no column is called \"p\"");
        refused(&[0, 1], &["p"], vec![1.0, f64::NAN], "missing in row 1");
    }

    #[test]
    fn a_slice_outside_the_frame_is_refused() {
        let frame = frame(&[("p", vec![1.0, 2.0])]);
        assert!(frame.slice(1..3).is_err());
        assert_eq!(frame.slice(2..2).unwrap().rows(), 0);
    }
}

//! The matched rows of a source: which they are, and their values.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::concat;
use arrow::error::ArrowError;

use super::matching::NO_ROW;

/// The distinct matched rows, numbered in the order of the source.
#[derive(Debug)]
pub(crate) struct Matched {
    units: Vec<Option<UnitRows>>,
}

#[derive(Debug)]
struct UnitRows {
    words: Vec<u64>,
    /// The number of matched rows before each word, in all units.
    before: Vec<u32>,
    rows: usize,
}

impl Matched {
    /// Collects the rows at `addresses`; `unit_rows` is the number of rows of
    /// each unit.
    pub(crate) fn new(addresses: &[u64], unit_rows: &[usize]) -> Self {
        let mut units: Vec<Option<UnitRows>> = unit_rows.iter().map(|_| None).collect();
        for address in addresses.iter().filter(|address| **address != NO_ROW) {
            let (unit, row) = split(*address);
            let rows = unit_rows[unit];
            let bits = units[unit].get_or_insert_with(|| UnitRows {
                words: vec![0; rows.div_ceil(64)],
                before: Vec::new(),
                rows,
            });
            bits.words[row / 64] |= 1 << (row % 64);
        }
        let mut total = 0;
        for unit in units.iter_mut().flatten() {
            unit.before = unit
                .words
                .iter()
                .map(|word| {
                    let before = total;
                    total += word.count_ones();
                    before
                })
                .collect();
        }
        Self { units }
    }

    /// The units that hold a matched row.
    pub(crate) fn units(&self) -> impl Iterator<Item = usize> {
        self.units
            .iter()
            .enumerate()
            .filter_map(|(unit, rows)| rows.as_ref().map(|_| unit))
    }

    /// Whether the row at an address is matched.
    pub(crate) fn contains(&self, address: u64) -> bool {
        let (unit, row) = split(address);
        self.units[unit]
            .as_ref()
            .is_some_and(|unit| unit.words[row / 64] >> (row % 64) & 1 == 1)
    }

    /// Which rows of a unit are matched.
    pub(crate) fn mask(&self, unit: usize) -> Option<BooleanArray> {
        let unit = self.units[unit].as_ref()?;
        let buffer = Buffer::from_vec(unit.words.clone());
        Some(BooleanArray::new(
            BooleanBuffer::new(buffer, 0, unit.rows),
            None,
        ))
    }

    /// The number of the matched row at each address; null where none is.
    pub(crate) fn numbers(&self, addresses: &[u64]) -> UInt32Array {
        let number = |address: u64| {
            let (unit, row) = split(address);
            let unit = self.units[unit].as_ref()?;
            let word = unit.words[row / 64] & ((1 << (row % 64)) - 1);
            Some(unit.before[row / 64] + word.count_ones())
        };
        let valid: BooleanBuffer = addresses.iter().map(|address| *address != NO_ROW).collect();
        let numbers: Vec<u32> = addresses
            .iter()
            .map(|address| {
                if *address == NO_ROW {
                    0
                } else {
                    number(*address).unwrap_or(0)
                }
            })
            .collect();
        UInt32Array::new(numbers.into(), Some(NullBuffer::new(valid)))
    }
}

fn split(address: u64) -> (usize, usize) {
    ((address >> 32) as usize, (address & 0xffff_ffff) as usize)
}

/// Puts pieces of columns one after the other, letting go of each column's
/// pieces as soon as they are joined.
pub(crate) fn join_columns(
    mut pieces: Vec<Vec<ArrayRef>>,
    columns: usize,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut joined = Vec::with_capacity(columns);
    for column in (0..columns).rev() {
        let parts: Vec<ArrayRef> = pieces
            .iter_mut()
            .map(|piece| piece.remove(column))
            .collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        joined.push(concat(&parts)?);
    }
    joined.reverse();
    Ok(joined)
}

//! The matched rows of a source: which they are.

use arrow::array::{BooleanArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer};

use super::matching::NO_ROW;

/// The distinct matched rows, numbered in the order of the source.
#[derive(Debug)]
pub(crate) struct Matched {
    units: Vec<Option<UnitRows>>,
    total: u32,
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
        Self { units, total }
    }

    /// The number of matched rows.
    pub(crate) fn len(&self) -> usize {
        self.total as usize
    }

    /// The number of matched rows before the first of a unit.
    pub(crate) fn before(&self, unit: usize) -> usize {
        self.units[unit]
            .as_ref()
            .and_then(|unit| unit.before.first())
            .map_or(0, |before| *before as usize)
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

    /// The number of the matched row at each address; where there is none, the
    /// number after the last.
    pub(crate) fn numbers(&self, addresses: &[u64]) -> UInt32Array {
        let number = |address: u64| {
            let (unit, row) = split(address);
            let unit = self.units[unit].as_ref()?;
            let word = unit.words[row / 64] & ((1 << (row % 64)) - 1);
            Some(unit.before[row / 64] + word.count_ones())
        };
        UInt32Array::from_iter_values(addresses.iter().map(|address| {
            if *address == NO_ROW {
                self.total
            } else {
                number(*address).unwrap_or(self.total)
            }
        }))
    }
}

fn split(address: u64) -> (usize, usize) {
    ((address >> 32) as usize, (address & 0xffff_ffff) as usize)
}

//! Rows of a table that may yet be matched: such rows come once, so that
//! their features are kept until it is known.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion::execution::memory_pool::MemoryReservation;

use super::matched::Matched;
use super::matching::{Best, address};
use super::source::{FeatureColumn, SourceTable};
use crate::error::{Error, Result};

/// The kept rows of one partition of a table.
#[derive(Debug)]
pub(crate) struct Retained {
    partition: u32,
    /// The number of rows that have come.
    seen: u64,
    pieces: Vec<Piece>,
    kept: usize,
    /// Throw away beaten rows when more than this are kept.
    limit: usize,
    memory: Arc<MemoryReservation>,
}

#[derive(Debug)]
struct Piece {
    /// The rows' numbers in the partition, ascending.
    rows: Vec<u32>,
    columns: Vec<ArrayRef>,
    bytes: usize,
}

impl Retained {
    pub(crate) fn new(
        partition: usize,
        slots: usize,
        memory: Arc<MemoryReservation>,
    ) -> Result<Self> {
        let partition = u32::try_from(partition).map_err(|_| too_many())?;
        let limit = (2 * slots).max(1 << 16);
        Ok(Self {
            partition,
            seen: 0,
            pieces: Vec::new(),
            kept: 0,
            limit,
            memory,
        })
    }

    /// The number of rows that have come.
    pub(crate) fn rows(&self) -> usize {
        self.seen as usize
    }

    /// The address of the first of the next `rows` rows.
    pub(crate) fn next_address(&mut self, rows: usize) -> Result<u64> {
        let first = u32::try_from(self.seen).map_err(|_| too_many())?;
        self.seen += rows as u64;
        Ok(address(self.partition, first))
    }

    /// Keeps the features of rows at ascending addresses, in a batch whose
    /// first row is at `first`.
    pub(crate) fn keep(
        &mut self,
        addresses: Vec<u64>,
        first: u64,
        batch: &RecordBatch,
        source: &SourceTable,
        features: &[FeatureColumn],
        best: &Best,
    ) -> Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        let places: UInt32Array = addresses.iter().map(|row| (row - first) as u32).collect();
        let columns = source
            .features(batch, features)?
            .iter()
            .map(|column| Ok(take(column, &places, None)?))
            .collect::<Result<Vec<_>>>()?;
        let rows: Vec<u32> = addresses.iter().map(|row| *row as u32).collect();
        self.push(rows, columns)?;
        if self.kept > self.limit {
            self.throw_away_beaten(best)?;
            // Few were beaten: wait for as many again, so that the work stays
            // proportional to the rows.
            self.limit = self.limit.max(2 * self.kept);
        }
        Ok(())
    }

    fn push(&mut self, rows: Vec<u32>, columns: Vec<ArrayRef>) -> Result<()> {
        let bytes = rows.len() * 4
            + columns
                .iter()
                .map(|column| column.get_array_memory_size())
                .sum::<usize>();
        self.memory.try_grow(bytes)?;
        self.kept += rows.len();
        self.pieces.push(Piece {
            rows,
            columns,
            bytes,
        });
        Ok(())
    }

    fn throw_away_beaten(&mut self, best: &Best) -> Result<()> {
        let mut held: Vec<u32> = best
            .held()
            .filter(|row| row >> 32 == u64::from(self.partition))
            .map(|row| row as u32)
            .collect();
        held.sort_unstable();
        held.dedup();
        self.kept = 0;
        for piece in std::mem::take(&mut self.pieces) {
            self.memory.shrink(piece.bytes);
            let places: UInt32Array = (0..piece.rows.len() as u32)
                .filter(|place| held.binary_search(&piece.rows[*place as usize]).is_ok())
                .collect();
            if !places.is_empty() {
                let rows = places
                    .values()
                    .iter()
                    .map(|p| piece.rows[*p as usize])
                    .collect();
                let columns = piece
                    .columns
                    .iter()
                    .map(|column| take(column, &places, None))
                    .collect::<Result<Vec<_>, _>>()?;
                self.push(rows, columns)?;
            }
        }
        Ok(())
    }

    /// Gives out the features of the matched rows, piece by piece in their
    /// order.
    pub(crate) fn into_pieces(
        self,
        matched: &Matched,
        mut each: impl FnMut(Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        for piece in self.pieces {
            self.memory.shrink(piece.bytes);
            let places: UInt32Array = (0..piece.rows.len() as u32)
                .filter(|place| {
                    matched.contains(address(self.partition, piece.rows[*place as usize]))
                })
                .collect();
            if !places.is_empty() {
                let columns = piece
                    .columns
                    .iter()
                    .map(|column| take(column, &places, None))
                    .collect::<Result<Vec<_>, _>>()?;
                each(columns)?;
            }
        }
        Ok(())
    }
}

fn too_many() -> Error {
    Error::InvalidRequest(
        "a partition of the table has more than 4,294,967,295 rows; split it in partitions".into(),
    )
}

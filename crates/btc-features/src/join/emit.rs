//! The result of the join, put together while it is consumed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt as _;

use super::spec::{JoinSpec, Origin};

/// The features of one view, and which of the matched rows each entity row
/// gets, if there are such.
#[derive(Debug)]
pub(crate) struct ViewColumns {
    pub(crate) numbers: Option<UInt32Array>,
    pub(crate) columns: Vec<Option<ViewColumn>>,
}

/// One feature of a view.
#[derive(Debug)]
pub(crate) enum ViewColumn {
    /// Its values in the distinct matched rows, and a null.
    Matched(ArrayRef),
    /// Its value for each entity row.
    Computed(ArrayRef),
}

/// Everything that the result is put together from.
#[derive(Debug)]
pub(crate) struct Joined {
    spec: Arc<JoinSpec>,
    batches: Vec<RecordBatch>,
    views: Vec<Option<ViewColumns>>,
    batch_size: usize,
    threads: usize,
    /// Held until the result is consumed.
    _memory: Arc<MemoryReservation>,
}

impl Joined {
    pub(crate) fn new(
        spec: Arc<JoinSpec>,
        batches: Vec<RecordBatch>,
        views: Vec<Option<ViewColumns>>,
        (batch_size, threads): (usize, usize),
        memory: Arc<MemoryReservation>,
    ) -> Self {
        let (batch_size, threads) = (batch_size.max(1), threads.max(1));
        Self {
            spec,
            batches,
            views,
            batch_size,
            threads,
            _memory: memory,
        }
    }

    /// The result in the order of the entity rows.
    pub(crate) fn into_stream(self) -> impl futures::Stream<Item = DataFusionResult<RecordBatch>> {
        let mut pieces = Vec::new();
        let mut first = 0;
        for (number, batch) in self.batches.iter().enumerate() {
            for offset in (0..batch.num_rows()).step_by(self.batch_size) {
                let rows = self.batch_size.min(batch.num_rows() - offset);
                pieces.push((number, offset, first + offset, rows));
            }
            first += batch.num_rows();
        }
        let joined = Arc::new(self);
        let threads = joined.threads;
        // As many pieces as there are threads are put together ahead.
        futures::stream::iter(pieces)
            .map(move |(batch, offset, first, rows)| {
                let joined = Arc::clone(&joined);
                let task = SpawnedTask::spawn_blocking(move || {
                    joined.piece(&joined.batches[batch].slice(offset, rows), first)
                });
                async move {
                    task.await
                        .map_err(|error| DataFusionError::External(Box::new(error)))?
                }
            })
            .buffered(threads)
    }

    /// The rows of the result for some entity rows, the first of which has the
    /// number `first`.
    fn piece(&self, entity_rows: &RecordBatch, first: usize) -> DataFusionResult<RecordBatch> {
        let rows = entity_rows.num_rows();
        let numbers: Vec<Option<UInt32Array>> = self
            .views
            .iter()
            .map(|view| Some(view.as_ref()?.numbers.as_ref()?.slice(first, rows)))
            .collect();
        let mut columns = Vec::with_capacity(self.spec.columns.len());
        for (origin, field) in self.spec.columns.iter().zip(self.spec.schema.fields()) {
            columns.push(match origin {
                Origin::Entity(column) => Arc::clone(entity_rows.column(*column)),
                Origin::Feature { view, feature } => {
                    let column = self.views[*view]
                        .as_ref()
                        .and_then(|view| view.columns[*feature].as_ref());
                    match (column, numbers[*view].as_ref()) {
                        (Some(ViewColumn::Computed(column)), _) => column.slice(first, rows),
                        (Some(ViewColumn::Matched(column)), Some(numbers)) => {
                            take(column, numbers, None)?
                        }
                        _ => new_null_array(field.data_type(), rows),
                    }
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.spec.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

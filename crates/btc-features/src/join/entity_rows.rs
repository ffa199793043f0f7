//! The entity rows of a join: read, and sorted by key and time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Int64Type, Schema};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::{StreamExt as _, TryStreamExt as _};

use super::keys::KeyForm;
use super::run::Join;
use super::time::{beyond_nanos, to_nanos, to_utc};
use super::timeline::Timeline;
use crate::cast::Unfit;
use crate::error::{Error, Result};

/// The columns of entity rows that keys are in, and how they are compared.
type Keys = [(usize, KeyForm)];

impl Join {
    /// Reads the entity rows and brings their times to UTC.
    pub(super) async fn collect(
        &self,
        entity_rows: &Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<RecordBatch>> {
        let partitions = entity_rows.output_partitioning().partition_count();
        let streams = (0..partitions)
            .map(|partition| entity_rows.execute(partition, Arc::clone(&self.context)))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let parts = futures::future::try_join_all(streams.into_iter().map(|stream| {
            stream
                .map(|batch| {
                    let batch = batch?;
                    self.reserve(batch.get_array_memory_size())?;
                    Ok::<_, Error>(batch)
                })
                .try_collect::<Vec<_>>()
        }))
        .await?;
        let mut left = self.spec.fetch.unwrap_or(usize::MAX);
        let mut batches = Vec::new();
        let mut rows = 0;
        for batch in parts.into_iter().flatten() {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            if batch.num_rows() != 0 {
                batches.push(with_utc_times(&batch, self.spec.event_time, rows)?);
                rows += batch.num_rows();
            }
        }
        Ok(batches)
    }

    /// Sorts the entity rows once for all views that have the same keys.
    pub(super) async fn timelines(
        &self,
        batches: &[RecordBatch],
        needed: &[usize],
    ) -> Result<HashMap<usize, Arc<Timeline>>> {
        let mut built: Vec<(&Keys, Arc<Timeline>)> = Vec::new();
        let mut all = HashMap::new();
        for view in needed {
            let keys = self.spec.views[*view].keys.as_slice();
            let timeline = match built.iter().find(|(other, _)| *other == keys) {
                Some((_, timeline)) => Arc::clone(timeline),
                None => {
                    let timeline = self.timeline(batches.to_vec(), keys.to_vec()).await?;
                    built.push((keys, Arc::clone(&timeline)));
                    timeline
                }
            };
            all.insert(*view, timeline);
        }
        Ok(all)
    }

    async fn timeline(
        &self,
        batches: Vec<RecordBatch>,
        keys: Vec<(usize, KeyForm)>,
    ) -> Result<Arc<Timeline>> {
        let event_time = self.spec.event_time;
        let join = self.clone();
        // There is a batch: views are only joined to rows.
        self.blocking(move || {
            let _timer = join.metrics.sort_time.timer();
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            // Sorting holds numbers, pairs and columns at once.
            let sorting = rows * 40;
            join.reserve(sorting)?;
            let name = |column: usize| batches[0].schema_ref().field(column).name().clone();
            let unfit = |unfit: Unfit, column: usize| unfit.at(ENTITY_ROWS, &name(column));
            let times = per_batch(&batches, event_time, |column| {
                to_nanos(column).map(|nanos| Arc::new(nanos) as ArrayRef)
            })
            .map_err(|error| unfit(error, event_time))?;
            let times = concat_all(&times)?;
            let times = times.as_primitive::<Int64Type>();
            if let Some(row) = beyond_nanos(times) {
                let reason =
                    "it is outside the years 1677 to 2262, which is as far as nanoseconds \
                              reach"
                        .into();
                return Err(unfit(Unfit { row, reason }, event_time));
            }
            let columns = keys
                .iter()
                .map(|(column, form)| {
                    let parts = per_batch(&batches, *column, |part| form.canonical(part))
                        .map_err(|error| unfit(error, *column))?;
                    concat_all(&parts)
                })
                .collect::<Result<Vec<_>>>()?;
            let threads = join.context.session_config().target_partitions();
            let timeline = Timeline::build(&columns, times, threads)?;
            join.memory.shrink(sorting);
            join.reserve(timeline.size())?;
            Ok(Arc::new(timeline))
        })
        .await
    }
}

fn concat_all(parts: &[ArrayRef]) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(concat(&parts)?)
}

/// What errors call the entity rows.
const ENTITY_ROWS: &str = "the entity rows";

/// Converts a column batch by batch; a row is counted over all of them.
fn per_batch(
    batches: &[RecordBatch],
    column: usize,
    convert: impl Fn(&ArrayRef) -> Result<ArrayRef, Unfit>,
) -> Result<Vec<ArrayRef>, Unfit> {
    let mut rows = 0;
    batches
        .iter()
        .map(|batch| {
            let part = convert(batch.column(column)).map_err(|error| error.after(rows))?;
            rows += batch.num_rows();
            Ok(part)
        })
        .collect()
}

fn with_utc_times(batch: &RecordBatch, event_time: usize, before: usize) -> Result<RecordBatch> {
    let schema = batch.schema();
    let times = to_utc(batch.column(event_time)).map_err(|unfit| {
        unfit
            .after(before)
            .at(ENTITY_ROWS, schema.field(event_time).name())
    })?;
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields[event_time] = Arc::new(
        fields[event_time]
            .as_ref()
            .clone()
            .with_data_type(times.data_type().clone()),
    );
    let mut columns = batch.columns().to_vec();
    columns[event_time] = times;
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

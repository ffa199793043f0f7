//! The join as one physical operator.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::gather::{Matched, join_columns};
use super::keys::KeyForm;
use super::matching::{Best, Finder, Rules, address};
use super::scan::{FeatureColumn, FileScan};
use super::time::{fits_nanos, to_nanos, to_utc};
use super::timeline::Timeline;
use crate::error::{Error, Result};

/// The join of one view.
#[derive(Debug, Clone)]
pub(crate) struct ViewJoin {
    /// The view's name or alias.
    pub(crate) label: String,
    /// The keys: columns of the entity rows, and how they are compared.
    pub(crate) keys: Vec<(usize, KeyForm)>,
    /// The columns of the source that hold the keys.
    pub(crate) source_keys: Vec<String>,
    pub(crate) rules: Rules,
    pub(crate) features: Vec<FeatureColumn>,
    pub(crate) scan: Arc<FileScan>,
}

/// Where a column of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A column of the entity rows.
    Entity(usize),
    /// A feature of a view.
    Feature { view: usize, feature: usize },
}

/// Joins every view of a request to entity rows as of their times.
#[derive(Debug)]
pub(crate) struct PointInTimeJoinExec {
    entity_rows: Arc<dyn ExecutionPlan>,
    spec: Arc<JoinSpec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What is joined, apart from the entity rows' plan.
#[derive(Debug)]
pub(crate) struct JoinSpec {
    pub(crate) event_time: usize,
    pub(crate) views: Vec<ViewJoin>,
    pub(crate) columns: Vec<Origin>,
    pub(crate) schema: SchemaRef,
    /// Read no more entity rows than this.
    pub(crate) fetch: Option<usize>,
}

impl PointInTimeJoinExec {
    pub(crate) fn new(entity_rows: Arc<dyn ExecutionPlan>, spec: Arc<JoinSpec>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&spec.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            entity_rows,
            spec,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for PointInTimeJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointInTimeJoinExec: views=[")?;
        for (number, view) in self.spec.views.iter().enumerate() {
            if number != 0 {
                write!(f, ", ")?;
            }
            write!(f, "{}", view.label)?;
        }
        write!(f, "]")
    }
}

impl ExecutionPlan for PointInTimeJoinExec {
    fn name(&self) -> &str {
        "PointInTimeJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // The order of the entity rows is the order of the result.
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.entity_rows]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(
            &Arc<dyn datafusion::physical_plan::PhysicalExpr>,
        ) -> DataFusionResult<datafusion::common::tree_node::TreeNodeRecursion>,
    ) -> DataFusionResult<datafusion::common::tree_node::TreeNodeRecursion> {
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(entity_rows) if children.is_empty() => {
                Ok(Arc::new(Self::new(entity_rows, Arc::clone(&self.spec))))
            }
            _ => Err(DataFusionError::Internal("a point-in-time join has one input".into())),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a point-in-time join has one partition, not {partition}"
            )));
        }
        let output_rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let join = Join {
            spec: Arc::clone(&self.spec),
            memory: Arc::new(
                MemoryConsumer::new("PointInTimeJoinExec").register(context.memory_pool()),
            ),
            tasks: Arc::new(Semaphore::new(context.session_config().target_partitions().max(1))),
        };
        let batch_size = context.session_config().batch_size();
        let entity_rows = Arc::clone(&self.entity_rows);
        let stream = futures::stream::once(async move {
            let joined = join.run(entity_rows, context).await.map_err(DataFusionError::from)?;
            Ok::<_, DataFusionError>(joined.into_stream(batch_size))
        })
        .try_flatten()
        .inspect_ok(move |batch| output_rows.add(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.spec.schema), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One execution of the join.
#[derive(Debug, Clone)]
struct Join {
    spec: Arc<JoinSpec>,
    memory: Arc<MemoryReservation>,
    /// Permits for work that keeps a core busy.
    tasks: Arc<Semaphore>,
}

impl Join {
    async fn run(
        self,
        entity_rows: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<Joined> {
        let batches = self.collect(entity_rows, context).await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(rows).is_err() {
            return Err(Error::InvalidRequest(format!(
                "{rows} entity rows are too many for one request; ask in parts"
            )));
        }
        let needed: Vec<usize> = (0..self.spec.views.len())
            .filter(|view| {
                self.spec
                    .columns
                    .iter()
                    .any(|column| matches!(column, Origin::Feature { view: v, .. } if v == view))
            })
            .collect();
        let timelines = self.timelines(&batches, &needed).await?;
        let views = futures::future::try_join_all(
            needed.iter().map(|view| self.join_view(*view, Arc::clone(&timelines[view]), rows)),
        )
        .await?;
        drop(timelines);
        let mut columns: Vec<Option<ViewColumns>> = self.spec.views.iter().map(|_| None).collect();
        for (view, joined) in needed.into_iter().zip(views) {
            columns[view] = Some(joined);
        }
        Ok(Joined { spec: self.spec, batches, views: columns, _memory: self.memory })
    }

    /// Reads the entity rows and brings their times to UTC.
    async fn collect(
        &self,
        entity_rows: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<RecordBatch>> {
        let partitions = entity_rows.output_partitioning().partition_count();
        let streams = (0..partitions)
            .map(|partition| entity_rows.execute(partition, Arc::clone(&context)))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let memory = &self.memory;
        let parts = futures::future::try_join_all(streams.into_iter().map(|stream| {
            stream.map(|batch| {
                let batch = batch?;
                memory.try_grow(batch.get_array_memory_size())?;
                Ok::<_, Error>(batch)
            })
            .try_collect::<Vec<_>>()
        }))
        .await?;
        let mut left = self.spec.fetch.unwrap_or(usize::MAX);
        let mut batches = Vec::new();
        for batch in parts.into_iter().flatten() {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            if batch.num_rows() != 0 {
                batches.push(with_utc_times(&batch, self.spec.event_time)?);
            }
        }
        Ok(batches)
    }

    /// Sorts the entity rows once for all views that have the same keys.
    async fn timelines(
        &self,
        batches: &[RecordBatch],
        needed: &[usize],
    ) -> Result<std::collections::HashMap<usize, Arc<Timeline>>> {
        let mut built: Vec<(&[(usize, KeyForm)], Arc<Timeline>)> = Vec::new();
        let mut all = std::collections::HashMap::new();
        for view in needed {
            let keys = &self.spec.views[*view].keys;
            let known = built.iter().find(|(other, _)| *other == keys.as_slice());
            let timeline = match known {
                Some((_, timeline)) => Arc::clone(timeline),
                None => {
                    let timeline = self.timeline(batches, keys.clone()).await?;
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
        batches: &[RecordBatch],
        keys: Vec<(usize, KeyForm)>,
    ) -> Result<Arc<Timeline>> {
        let batches = batches.to_vec();
        let event_time = self.spec.event_time;
        let memory = Arc::clone(&self.memory);
        self.blocking(move || {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            // The sorting itself holds numbers, pairs and columns at once.
            memory.try_grow(rows * 32)?;
            let mut times = Vec::with_capacity(batches.len());
            let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); keys.len()];
            for batch in &batches {
                let nanos = to_nanos(batch.column(event_time))?;
                if !fits_nanos(&nanos) {
                    return Err(Error::InvalidRequest(
                        "an entity row's time is outside the years 1677 to 2262, which is what \
                         nanoseconds reach"
                            .into(),
                    ));
                }
                times.push(nanos);
                for ((column, form), canonical) in keys.iter().zip(&mut columns) {
                    canonical.push(form.canonical(batch.column(*column))?);
                }
            }
            let timeline = if batches.is_empty() {
                Timeline::build(&[], &Int64Array::from(Vec::<i64>::new()))?
            } else {
                let times: Vec<&dyn Array> = times.iter().map(|t| t as &dyn Array).collect();
                let times = arrow::compute::concat(&times)?;
                let columns = columns
                    .iter()
                    .map(|parts| {
                        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                        arrow::compute::concat(&parts)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                Timeline::build(
                    &columns,
                    arrow::array::AsArray::as_primitive(&times),
                )?
            };
            memory.shrink(rows * 32);
            memory.try_grow(timeline.size())?;
            Ok(Arc::new(timeline))
        })
        .await
    }

    /// Matches the rows of one view and reads their features.
    async fn join_view(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
    ) -> Result<ViewColumns> {
        let features: Arc<Vec<FeatureColumn>> = Arc::new(
            self.spec.views[view]
                .features
                .iter()
                .enumerate()
                .filter(|(feature, _)| {
                    let wanted = Origin::Feature { view, feature: *feature };
                    self.spec.columns.contains(&wanted)
                })
                .map(|(_, column)| column.clone())
                .collect(),
        );
        let matched = Arc::new(self.match_rows(view, timeline, rows).await?);
        let scan = Arc::clone(&self.spec.views[view].scan);
        let (rows_of_units, numbers) = {
            let (scan, matched) = (Arc::clone(&scan), Arc::clone(&matched));
            self.blocking(move || {
                let rows = Matched::new(&matched, &scan.unit_rows());
                let numbers = rows.numbers(&matched);
                Ok((Arc::new(rows), numbers))
            })
            .await?
        };
        drop(matched);
        let units: Vec<usize> = rows_of_units.units().collect();
        let pieces = futures::future::try_join_all(units.into_iter().map(|unit| {
            let (scan, rows, features) =
                (Arc::clone(&scan), Arc::clone(&rows_of_units), Arc::clone(&features));
            let memory = Arc::clone(&self.memory);
            self.blocking(move || {
                let mask = rows.mask(unit).unwrap_or_else(|| Vec::<bool>::new().into());
                let pieces = scan.read_features(unit, &features, mask)?;
                let size = pieces.iter().flatten().map(|a| a.get_array_memory_size()).sum();
                memory.try_grow(size)?;
                Ok(pieces)
            })
        }))
        .await?;
        let pieces: Vec<Vec<ArrayRef>> = pieces.into_iter().flatten().collect();
        let joined = if pieces.is_empty() {
            None
        } else {
            Some(self.blocking(move || Ok(join_columns(pieces, features.len())?)).await?)
        };
        // Columns that nobody asked for are not there; keep the places.
        let mut joined = joined.map(Vec::into_iter);
        let columns = (0..self.spec.views[view].features.len())
            .map(|feature| {
                let wanted = Origin::Feature { view, feature };
                if self.spec.columns.contains(&wanted) {
                    joined.as_mut().and_then(Iterator::next)
                } else {
                    None
                }
            })
            .collect();
        Ok(ViewColumns { numbers, columns })
    }

    /// The address of the match of each entity row.
    async fn match_rows(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
    ) -> Result<Vec<u64>> {
        let join = &self.spec.views[view];
        let (scan, rules) = (Arc::clone(&join.scan), join.rules);
        let has_created = scan.source.created_timestamp_column.is_some();
        let state = Best::size(timeline.len(), has_created);
        self.memory.try_grow(state)?;
        let best = Arc::new(Mutex::new(Best::new(timeline.len(), has_created)));
        let units = match timeline.range {
            None => Vec::new(),
            Some((min, max)) => {
                let from = rules.ttl.map_or(i64::MIN, |ttl| min.saturating_sub(ttl));
                scan.units_between(from, max)
            }
        };
        futures::future::try_join_all(units.into_iter().map(|unit| {
            let (spec, best, timeline) =
                (Arc::clone(&self.spec), Arc::clone(&best), Arc::clone(&timeline));
            self.blocking(move || match_unit(&spec.views[view], unit, &timeline, &best))
        }))
        .await?;
        let matched = self
            .blocking(move || {
                let best = Arc::into_inner(best)
                    .and_then(|best| best.into_inner().ok())
                    .ok_or_else(|| Error::InvalidRequest("a task of the join failed".into()))?;
                Ok(best.resolve(&timeline, rules, rows))
            })
            .await?;
        self.memory.shrink(state);
        Ok(matched)
    }

    /// Runs work that keeps a core busy, on as many threads as there are
    /// partitions.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.tasks.acquire().await;
        SpawnedTask::spawn_blocking(work)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
    }
}

/// Offers the rows of one row group to the slots.
fn match_unit(view: &ViewJoin, unit: usize, timeline: &Timeline, best: &Mutex<Best>) -> Result<()> {
    let mut finder = Finder::new(timeline, view.rules);
    let unit_number = unit as u32;
    view.scan.read_keys(unit, &view.source_keys, |first, rows| {
        let keys = view
            .keys
            .iter()
            .zip(&rows.keys)
            .map(|((_, form), column)| form.canonical(column))
            .collect::<Result<Vec<_>, _>>()?;
        let first = address(unit_number, first as u32);
        finder.find(&keys, &rows.times, rows.created.as_ref(), first)?;
        best.lock()
            .map_err(|_| Error::InvalidRequest("a task of the join failed".into()))?
            .offer(&finder.candidates);
        Ok(())
    })
}

fn with_utc_times(batch: &RecordBatch, event_time: usize) -> Result<RecordBatch> {
    let times = to_utc(batch.column(event_time)).map_err(|error| {
        Error::InvalidRequest(format!(
            "column {:?} of the entity rows holds no timestamps: {error}",
            batch.schema().field(event_time).name()
        ))
    })?;
    let schema = batch.schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields[event_time] =
        Arc::new(fields[event_time].as_ref().clone().with_data_type(times.data_type().clone()));
    let mut columns = batch.columns().to_vec();
    columns[event_time] = times;
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}

/// The features of one view: the distinct rows, and which of them each entity
/// row gets.
#[derive(Debug)]
struct ViewColumns {
    numbers: UInt32Array,
    columns: Vec<Option<ArrayRef>>,
}

/// Everything that the result is put together from.
#[derive(Debug)]
struct Joined {
    spec: Arc<JoinSpec>,
    batches: Vec<RecordBatch>,
    views: Vec<Option<ViewColumns>>,
    /// Held until the result is consumed.
    _memory: Arc<MemoryReservation>,
}

impl Joined {
    fn into_stream(
        self,
        batch_size: usize,
    ) -> impl futures::Stream<Item = DataFusionResult<RecordBatch>> {
        let mut pieces = Vec::new();
        let mut first = 0;
        for (number, batch) in self.batches.iter().enumerate() {
            for offset in (0..batch.num_rows()).step_by(batch_size) {
                let rows = batch_size.min(batch.num_rows() - offset);
                pieces.push((number, offset, first + offset, rows));
            }
            first += batch.num_rows();
        }
        futures::stream::iter(pieces).map(move |(batch, offset, first, rows)| {
            self.piece(&self.batches[batch].slice(offset, rows), first)
        })
    }

    /// The rows of the result for some entity rows, the first of which has the
    /// number `first`.
    fn piece(&self, entity_rows: &RecordBatch, first: usize) -> DataFusionResult<RecordBatch> {
        let rows = entity_rows.num_rows();
        let mut columns = Vec::with_capacity(self.spec.columns.len());
        for (origin, field) in self.spec.columns.iter().zip(self.spec.schema.fields()) {
            columns.push(match origin {
                Origin::Entity(column) => Arc::clone(entity_rows.column(*column)),
                Origin::Feature { view, feature } => {
                    match &self.views[*view] {
                        Some(ViewColumns { numbers, columns }) if columns[*feature].is_some() => {
                            let column = columns[*feature].as_ref().map_or_else(
                                || new_null_array(field.data_type(), 0),
                                Arc::clone,
                            );
                            take(&column, &numbers.slice(first, rows), None)?
                        }
                        _ => new_null_array(field.data_type(), rows),
                    }
                }
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.spec.schema),
            columns,
            &options,
        )?)
    }
}


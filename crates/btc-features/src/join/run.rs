//! One execution of the join, from inputs to what the result is made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, ArrayRef, RecordBatch, UInt32Array};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;
use tokio::sync::Semaphore;

use super::emit::{Joined, ViewColumn, ViewColumns};
use super::fill::FeatureRows;
use super::kept::Retained;
use super::matched::Matched;
use super::matching::{Best, Finder, address};
use super::metrics::JoinMetrics;
use super::source::{FeatureColumn, Input, SourceTable};
use super::source::{FileScan, KeyRows};
use super::spec::{JoinSpec, ViewJoin};
use super::timeline::Timeline;
use crate::error::{Error, Result};

/// One execution of the join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(super) spec: Arc<JoinSpec>,
    pub(super) metrics: JoinMetrics,
    pub(super) context: Arc<TaskContext>,
    pub(super) memory: Arc<MemoryReservation>,
    /// Permits for work that keeps a core busy.
    tasks: Arc<Semaphore>,
}

impl Join {
    pub(crate) fn new(
        spec: Arc<JoinSpec>,
        metrics: JoinMetrics,
        context: Arc<TaskContext>,
    ) -> Self {
        let memory = MemoryConsumer::new("PointInTimeJoinExec").register(context.memory_pool());
        let threads = context.session_config().target_partitions().max(1);
        Self {
            spec,
            metrics,
            memory: Arc::new(memory),
            tasks: Arc::new(Semaphore::new(threads)),
            context,
        }
    }

    pub(crate) async fn run(self, mut inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Joined> {
        let tables = inputs.split_off(1);
        let batches = self.collect(&inputs[0]).await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        self.metrics.entity_rows.add(rows);
        if u32::try_from(rows).is_err() {
            return Err(Error::InvalidRequest(format!(
                "{rows} entity rows are too many for one request; ask in parts"
            )));
        }
        let needed: Vec<usize> = (0..self.spec.views.len())
            .filter(|view| rows != 0 && !self.spec.wanted(*view).is_empty())
            .collect();
        let timelines = self.timelines(&batches, &needed).await?;
        let views = futures::future::try_join_all(needed.iter().map(|view| {
            let table = self.spec.table_inputs[*view].map(|input| Arc::clone(&tables[input]));
            self.join_view(*view, Arc::clone(&timelines[view]), rows, table)
        }))
        .await?;
        let mut columns: Vec<Option<ViewColumns>> = self.spec.views.iter().map(|_| None).collect();
        for (view, joined) in needed.into_iter().zip(views) {
            columns[view] = Some(joined);
        }
        for timeline in unique(timelines) {
            self.memory.shrink(timeline.size());
        }
        let config = self.context.session_config();
        let (batch_size, threads) = (config.batch_size(), config.target_partitions());
        Ok(Joined::new(
            self.spec,
            batches,
            columns,
            (batch_size, threads),
            self.memory,
        ))
    }

    /// Matches the rows of one view and reads their features, and computes its
    /// windowed aggregates.
    async fn join_view(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
        table: Option<Arc<dyn ExecutionPlan>>,
    ) -> Result<ViewColumns> {
        let all = &self.spec.views[view].features;
        let (windowed, plain): (Vec<usize>, Vec<usize>) = self
            .spec
            .wanted(view)
            .into_iter()
            .partition(|feature| all[*feature].window.is_some());
        // Columns that nobody asked for are not there; keep the places.
        let mut columns: Vec<Option<ViewColumn>> = all.iter().map(|_| None).collect();
        let mut numbers = None;
        if !plain.is_empty() {
            let features = plain.iter().map(|feature| all[*feature].clone());
            let features: Arc<Vec<FeatureColumn>> = Arc::new(features.collect());
            let timeline = Arc::clone(&timeline);
            let (matched_rows, matched) = match (&self.spec.views[view].input, table.clone()) {
                (Input::Table(source), Some(plan)) => {
                    self.join_table(view, timeline, rows, plan, source, &features)
                        .await?
                }
                (Input::Files(scan), _) => {
                    self.join_files(view, timeline, rows, scan, &features)
                        .await?
                }
                (Input::Table(_), None) => {
                    return Err(DataFusionError::Internal("a table has no plan".into()).into());
                }
            };
            numbers = Some(matched_rows);
            for (feature, column) in plain.into_iter().zip(matched) {
                columns[feature] = Some(ViewColumn::Matched(column));
            }
        }
        if !windowed.is_empty() {
            let features = windowed.iter().map(|feature| all[*feature].clone());
            let computed = self
                .join_windows(view, timeline, rows, table, features.collect())
                .await?;
            for (feature, column) in windowed.into_iter().zip(computed) {
                columns[feature] = Some(ViewColumn::Computed(column));
            }
        }
        Ok(ViewColumns { numbers, columns })
    }

    async fn join_files(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
        scan: &Arc<FileScan>,
        features: &Arc<Vec<FeatureColumn>>,
    ) -> Result<(UInt32Array, Vec<ArrayRef>)> {
        let rules = self.spec.views[view].rules;
        let best = self.best(view, &timeline)?;
        let units = match timeline.range {
            None => Vec::new(),
            Some((min, max)) => {
                let from = rules.ttl.map_or(i64::MIN, |ttl| min.saturating_sub(ttl));
                scan.units_between(from, max)
            }
        };
        self.metrics.row_groups_matched.add(units.len());
        self.metrics
            .row_groups_pruned
            .add(scan.unit_rows().len() - units.len());
        futures::future::try_join_all(units.into_iter().map(|unit| {
            let (join, scan) = (self.clone(), Arc::clone(scan));
            let (best, timeline) = (Arc::clone(&best), Arc::clone(&timeline));
            self.blocking(move || {
                let _timer = join.metrics.match_time.timer();
                let view = &join.spec.views[view];
                let mut finder = Finder::new(&timeline, view.rules);
                let number = u32::try_from(unit).map_err(|_| too_many_row_groups(&scan))?;
                scan.read_keys(unit, &view.source_keys, |first, rows| {
                    join.metrics.source_rows.add(rows.times.len());
                    find(view, &mut finder, &rows, address(number, first as u32))?;
                    lock(&best)?.offer(&finder.candidates);
                    Ok(())
                })
            })
        }))
        .await?;
        let (numbers, matched) = self
            .resolve(best, timeline, view, rows, scan.unit_rows())
            .await?;
        let filled = self.feature_rows(features, &matched)?;
        let units: Vec<usize> = matched.units().collect();
        futures::future::try_join_all(units.into_iter().map(|unit| {
            let (join, scan) = (self.clone(), Arc::clone(scan));
            let (matched, features) = (Arc::clone(&matched), Arc::clone(features));
            let filled = Arc::clone(&filled);
            self.blocking(move || {
                let _timer = join.metrics.gather_time.timer();
                let Some(mask) = matched.mask(unit) else {
                    return Ok(());
                };
                let before = matched.before(unit);
                scan.read_features(unit, &features, mask, |first, arrays| {
                    join.reserve(filled.put(before + first, &arrays))
                })
            })
        }))
        .await?;
        let columns = self.blocking_finish(filled).await?;
        Ok((numbers, columns))
    }

    async fn join_table(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
        plan: Arc<dyn ExecutionPlan>,
        source: &Arc<SourceTable>,
        features: &Arc<Vec<FeatureColumn>>,
    ) -> Result<(UInt32Array, Vec<ArrayRef>)> {
        let best = self.best(view, &timeline)?;
        let partitions = plan.output_partitioning().partition_count();
        let retained = futures::future::try_join_all((0..partitions).map(|partition| {
            let (join, source, features) = (self.clone(), Arc::clone(source), Arc::clone(features));
            let (best, timeline) = (Arc::clone(&best), Arc::clone(&timeline));
            let stream = plan.execute(partition, Arc::clone(&self.context));
            async move {
                let mut stream = stream?;
                SpawnedTask::spawn(async move {
                    let view = &join.spec.views[view];
                    let mut finder = Finder::new(&timeline, view.rules);
                    let mut retained =
                        Retained::new(partition, timeline.len(), Arc::clone(&join.memory))?;
                    while let Some(batch) = stream.next().await {
                        let batch = batch?;
                        let _timer = join.metrics.match_time.timer();
                        join.metrics.source_rows.add(batch.num_rows());
                        let before = retained.rows();
                        let first = retained.next_address(batch.num_rows())?;
                        let rows = source.keys(&batch, &view.source_keys, before)?;
                        find(view, &mut finder, &rows, first)?;
                        let mut best = lock(&best)?;
                        best.offer(&finder.candidates);
                        let kept = best.winners(&finder.candidates);
                        retained.keep(kept, first, &batch, &source, &features, &best)?;
                    }
                    Ok::<_, Error>(retained)
                })
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
            }
        }))
        .await?;
        let unit_rows = retained.iter().map(Retained::rows).collect();
        let (numbers, matched) = self.resolve(best, timeline, view, rows, unit_rows).await?;
        let filled = self.feature_rows(features, &matched)?;
        let (join, to_fill) = (self.clone(), Arc::clone(&filled));
        self.blocking(move || {
            let _timer = join.metrics.gather_time.timer();
            let mut first = 0;
            for retained in retained {
                retained.into_pieces(&matched, |arrays| {
                    join.reserve(to_fill.put(first, &arrays))?;
                    first += arrays.first().map_or(0, |array| array.len());
                    Ok(())
                })?;
            }
            Ok(())
        })
        .await?;
        let columns = self.blocking_finish(filled).await?;
        Ok((numbers, columns))
    }

    /// Room for the matched rows and one of nulls, with memory reserved for it.
    fn feature_rows(
        &self,
        features: &[FeatureColumn],
        matched: &Matched,
    ) -> Result<Arc<FeatureRows>> {
        let rows = matched.len() + 1;
        self.metrics.gathered_rows.add(matched.len());
        self.reserve(FeatureRows::size(features, rows))?;
        Ok(Arc::new(FeatureRows::new(features, rows)))
    }

    async fn blocking_finish(&self, filled: Arc<FeatureRows>) -> Result<Vec<ArrayRef>> {
        self.blocking(move || {
            let filled = Arc::into_inner(filled).ok_or_else(task_failed)?;
            Ok(filled.finish()?)
        })
        .await
    }

    /// Slots without rows, with memory reserved for them.
    fn best(&self, view: usize, timeline: &Timeline) -> Result<Arc<Mutex<Best>>> {
        let created = self.spec.views[view].has_created();
        self.reserve(Best::size(timeline.len(), created))?;
        Ok(Arc::new(Mutex::new(Best::new(timeline.len(), created))))
    }

    /// The match of each entity row, and the distinct rows that are matched.
    async fn resolve(
        &self,
        best: Arc<Mutex<Best>>,
        timeline: Arc<Timeline>,
        view: usize,
        rows: usize,
        unit_rows: Vec<usize>,
    ) -> Result<(UInt32Array, Arc<Matched>)> {
        let join = self.clone();
        self.blocking(move || {
            let best = Arc::into_inner(best)
                .and_then(|best| best.into_inner().ok())
                .ok_or_else(task_failed)?;
            let state = best.bytes();
            join.reserve(rows * 12)?;
            let addresses = best.resolve(&timeline, join.spec.views[view].rules, rows);
            join.memory.shrink(state);
            let matched = Matched::new(&addresses, &unit_rows);
            let numbers = matched.numbers(&addresses);
            drop(addresses);
            join.memory.shrink(rows * 8);
            Ok((numbers, Arc::new(matched)))
        })
        .await
    }

    pub(super) fn reserve(&self, bytes: usize) -> Result<()> {
        self.memory.try_grow(bytes)?;
        self.metrics.peak_memory.set_max(self.memory.size());
        Ok(())
    }

    /// Runs work that keeps a core busy, on as many threads as there are
    /// partitions.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.tasks.acquire().await;
        SpawnedTask::spawn_blocking(work)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
    }
}

/// Finds slots for some rows of a source, the first of which is at `first`.
fn find(view: &ViewJoin, finder: &mut Finder<'_>, rows: &KeyRows, first: u64) -> Result<()> {
    let keys = view.canonical_keys(rows)?;
    Ok(finder.find(&keys, &rows.times, rows.created.as_ref(), first)?)
}

fn lock(best: &Mutex<Best>) -> Result<std::sync::MutexGuard<'_, Best>> {
    best.lock().map_err(|_| task_failed())
}

fn task_failed() -> Error {
    DataFusionError::Internal("another task of the join failed".into()).into()
}

fn too_many_row_groups(scan: &FileScan) -> Error {
    Error::mismatch(
        format!("source {:?}", scan.source.name),
        "it has more row groups than can be numbered; write larger ones",
    )
}

fn unique(timelines: HashMap<usize, Arc<Timeline>>) -> Vec<Arc<Timeline>> {
    let mut all: Vec<Arc<Timeline>> = Vec::new();
    for timeline in timelines.into_values() {
        if !all.iter().any(|known| Arc::ptr_eq(known, &timeline)) {
            all.push(timeline);
        }
    }
    all
}

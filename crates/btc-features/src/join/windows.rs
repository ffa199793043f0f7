//! Windowed aggregates of a view for entity rows.
//!
//! Of the source, the rows that lie in the window of some entity row are held,
//! sorted by key and time. Along the slots of a key both ends of a window only
//! move forward, so that finding the windows takes one pass; each is then
//! computed from its own rows, in the order of their times: a value does not
//! depend on what else is asked for.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::{concat, filter, take};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;

use super::aggregate::Aggregator;
use super::keys::NO_KEY;
use super::matching::Rules;
use super::run::Join;
use super::source::{FeatureColumn, Input, SourceTable, Window};
use super::source::{FileScan, KeyRows};
use super::spec::ViewJoin;
use super::timeline::Timeline;
use crate::error::{Error, Result};

/// Rows of a source that some window holds, in the order of the source.
#[derive(Debug, Default)]
struct Held {
    keys: Vec<u32>,
    times: Vec<i64>,
    /// When each was written; the earliest instant if that is not known.
    created: Vec<i64>,
    /// The pieces of each input column.
    pieces: Vec<Vec<ArrayRef>>,
}

impl Held {
    fn append(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.times.extend(other.times);
        self.created.extend(other.created);
        self.pieces
            .resize(self.pieces.len().max(other.pieces.len()), Vec::new());
        for (pieces, more) in self.pieces.iter_mut().zip(other.pieces) {
            pieces.extend(more);
        }
    }

    fn push(&mut self, arrays: Vec<ArrayRef>) {
        self.pieces.resize(arrays.len(), Vec::new());
        for (pieces, array) in self.pieces.iter_mut().zip(arrays) {
            pieces.push(array);
        }
    }
}

/// What each row of a key, an instant and a time of writing takes.
const ROW_BYTES: usize = 4 + 8 + 8;

/// The columns that windows are computed from, each once, and which of them
/// each feature takes.
fn inputs_of(features: &[FeatureColumn]) -> (Vec<FeatureColumn>, Vec<usize>) {
    let mut inputs: Vec<FeatureColumn> = Vec::new();
    let numbers = features
        .iter()
        .map(|feature| {
            let input = feature.window_input();
            let known = inputs.iter().position(|known| *known == input);
            known.unwrap_or_else(|| {
                inputs.push(input);
                inputs.len() - 1
            })
        })
        .collect();
    (inputs, numbers)
}

/// Finds the rows that some window holds.
struct Holder<'a> {
    timeline: &'a Timeline,
    rules: Rules,
    longest: i64,
    hints: Vec<u32>,
    numbers: Vec<u32>,
}

impl<'a> Holder<'a> {
    fn new(timeline: &'a Timeline, rules: Rules, longest: i64) -> Self {
        Self {
            timeline,
            rules,
            longest,
            hints: timeline.starts[..timeline.keys()].to_vec(),
            numbers: Vec::new(),
        }
    }

    /// Adds keys and times of the rows that are held; returns which those are.
    fn hold(&mut self, view: &ViewJoin, rows: &KeyRows, held: &mut Held) -> Result<Vec<bool>> {
        let keys = view.canonical_keys(rows)?;
        let timeline = self.timeline;
        timeline
            .index
            .lookup(&keys, rows.times.len(), &mut self.numbers)?;
        let mut kept = vec![false; rows.times.len()];
        for (row, number) in self.numbers.iter().enumerate() {
            if *number == NO_KEY || rows.times.is_null(row) {
                continue;
            }
            let time = rows.times.value(row);
            let written = rows
                .created
                .as_ref()
                .filter(|created| created.is_valid(row));
            let written = written.map(|created| created.value(row));
            let usable = match (self.rules.filter_by_created, written) {
                (false, _) => time,
                (true, Some(written)) => time.max(written),
                (true, None) => continue,
            };
            let hint = &mut self.hints[*number as usize];
            let Some(slot) = timeline.slot(*number, usable, *hint) else {
                *hint = timeline.starts[*number as usize + 1];
                continue;
            };
            *hint = slot;
            if timeline.times[slot as usize] < time.saturating_add(self.longest) {
                kept[row] = true;
                held.keys.push(*number);
                held.times.push(time);
                held.created.push(written.unwrap_or(i64::MIN));
            }
        }
        Ok(kept)
    }
}

impl Join {
    /// Computes windowed aggregates of a view: a column each, with a value for
    /// each entity row.
    pub(super) async fn join_windows(
        &self,
        view: usize,
        timeline: Arc<Timeline>,
        rows: usize,
        table: Option<Arc<dyn ExecutionPlan>>,
        features: Vec<FeatureColumn>,
    ) -> Result<Vec<ArrayRef>> {
        let (inputs, numbers) = inputs_of(&features);
        let inputs = Arc::new(inputs);
        let windows: Vec<Window> = features.iter().filter_map(|f| f.window.clone()).collect();
        let longest = windows.iter().map(|window| window.nanos).max();
        let longest = longest.unwrap_or_default();
        let held = match (&self.spec.views[view].input, table) {
            (Input::Files(scan), _) => {
                self.hold_files(view, &timeline, longest, scan, &inputs)
                    .await?
            }
            (Input::Table(source), Some(plan)) => {
                self.hold_table(view, &timeline, longest, plan, source, &inputs)
                    .await?
            }
            (Input::Table(_), None) => {
                return Err(DataFusionError::Internal("a table has no plan".into()).into());
            }
        };
        let join = self.clone();
        let has_created = self.spec.views[view].has_created();
        let sorted = self
            .blocking(move || {
                // The order takes a number a row, the columns another copy of them.
                let bytes = held.keys.len() * 4;
                join.reserve(bytes)?;
                Sorted::new(
                    held,
                    &inputs,
                    &timeline,
                    has_created,
                    join.spec.views[view].rules,
                )
                .map(|sorted| (Arc::new(sorted), timeline))
            })
            .await?;
        let (sorted, timeline) = sorted;
        let threads = self.context.session_config().target_partitions().max(1);
        let slots = timeline.len();
        let parts = (0..threads).map(|part| slots * part / threads..slots * (part + 1) / threads);
        let features = Arc::new(features);
        let results = futures::future::try_join_all(parts.map(|part| {
            let (sorted, timeline) = (Arc::clone(&sorted), Arc::clone(&timeline));
            let (features, numbers) = (Arc::clone(&features), numbers.clone());
            self.blocking(move || {
                let numbers = features.iter().zip(numbers);
                numbers
                    .map(|(feature, input)| sorted.compute(feature, input, &timeline, part.clone()))
                    .collect::<Result<Vec<ArrayRef>>>()
            })
        }))
        .await?;
        let join = self.clone();
        self.blocking(move || {
            // Where each entity row's slot is; one without has no value.
            let mut places: Vec<Option<u32>> = vec![None; rows];
            for (slot, row) in timeline.rows.iter().enumerate() {
                places[*row as usize] = Some(slot as u32);
            }
            let places = UInt32Array::from(places);
            let columns = (0..features.len()).map(|number| {
                let parts: Vec<&dyn Array> =
                    results.iter().map(|part| part[number].as_ref()).collect();
                let column = take(&concat(&parts)?, &places, None)?;
                join.reserve(column.get_array_memory_size())?;
                Ok(column)
            });
            columns.collect()
        })
        .await
    }

    async fn hold_files(
        &self,
        view: usize,
        timeline: &Arc<Timeline>,
        longest: i64,
        scan: &Arc<FileScan>,
        inputs: &Arc<Vec<FeatureColumn>>,
    ) -> Result<Held> {
        let units = match timeline.range {
            None => Vec::new(),
            Some((min, max)) => scan.units_between(min.saturating_sub(longest), max),
        };
        let parts = futures::future::try_join_all(units.into_iter().map(|unit| {
            let (join, scan) = (self.clone(), Arc::clone(scan));
            let (inputs, timeline) = (Arc::clone(inputs), Arc::clone(timeline));
            self.blocking(move || {
                let view = &join.spec.views[view];
                let mut holder = Holder::new(&timeline, view.rules, longest);
                let (mut held, mut kept) = (Held::default(), Vec::new());
                scan.read_keys(unit, &view.source_keys, |_, rows| {
                    join.metrics.source_rows.add(rows.times.len());
                    kept.extend(holder.hold(view, &rows, &mut held)?);
                    Ok(())
                })?;
                join.reserve(held.keys.len() * ROW_BYTES)?;
                if held.keys.is_empty() {
                    return Ok(held);
                }
                scan.read_features(unit, &inputs, BooleanArray::from(kept), |_, arrays| {
                    join.reserve(memory(&arrays))?;
                    held.push(arrays);
                    Ok(())
                })?;
                Ok(held)
            })
        }))
        .await?;
        let mut all = Held::default();
        parts.into_iter().for_each(|part| all.append(part));
        Ok(all)
    }

    async fn hold_table(
        &self,
        view: usize,
        timeline: &Arc<Timeline>,
        longest: i64,
        plan: Arc<dyn ExecutionPlan>,
        source: &Arc<SourceTable>,
        inputs: &Arc<Vec<FeatureColumn>>,
    ) -> Result<Held> {
        let view = &self.spec.views[view];
        let mut all = Held::default();
        // One after the other: a later partition's rows are later ones.
        for partition in 0..plan.output_partitioning().partition_count() {
            let mut stream = plan.execute(partition, Arc::clone(&self.context))?;
            let mut holder = Holder::new(timeline, view.rules, longest);
            let mut before = 0;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let rows = source.keys(&batch, &view.source_keys, before)?;
                before += batch.num_rows();
                let mut held = Held::default();
                let kept = BooleanArray::from(holder.hold(view, &rows, &mut held)?);
                if held.keys.is_empty() {
                    continue;
                }
                let arrays = source
                    .features(&batch, inputs)?
                    .iter()
                    .map(|array| Ok(filter(array, &kept)?))
                    .collect::<Result<Vec<_>>>()?;
                self.reserve(held.keys.len() * ROW_BYTES + memory(&arrays))?;
                held.push(arrays);
                all.append(held);
            }
        }
        Ok(all)
    }
}

fn memory(arrays: &[ArrayRef]) -> usize {
    arrays
        .iter()
        .map(|array| array.get_array_memory_size())
        .sum()
}

/// Held rows by key and time.
#[derive(Debug)]
struct Sorted {
    /// The rows, sorted; of several versions of a row only the newest, if that
    /// is the same for every window.
    order: Vec<u32>,
    times: Vec<i64>,
    created: Vec<i64>,
    /// Where the rows of each key start in `order`, and where the last end.
    starts: Vec<u32>,
    inputs: Vec<ArrayRef>,
    /// Which of several versions counts depends on the window.
    choose: bool,
}

impl Sorted {
    fn new(
        held: Held,
        inputs: &[FeatureColumn],
        timeline: &Timeline,
        has_created: bool,
        rules: Rules,
    ) -> Result<Self> {
        let Held {
            keys,
            times,
            created,
            pieces,
        } = held;
        let row_count = u32::try_from(keys.len()).map_err(|_| {
            Error::InvalidRequest(format!(
                "{} rows lie in windows, which is more than one request can hold; ask in parts",
                keys.len()
            ))
        })?;
        let mut order: Vec<u32> = (0..row_count).collect();
        let place = |row: &u32| {
            let row = *row as usize;
            (keys[row], times[row], created[row], row)
        };
        order.sort_unstable_by_key(place);
        let choose = has_created && rules.filter_by_created;
        if has_created && !choose {
            // The last of the versions of a row is the newest.
            let same = |a: u32, b: u32| {
                let (a, b) = (a as usize, b as usize);
                (keys[a], times[a]) == (keys[b], times[b])
            };
            let mut next = order
                .iter()
                .copied()
                .skip(1)
                .collect::<Vec<_>>()
                .into_iter();
            order.retain(|row| next.next().is_none_or(|next| !same(*row, next)));
        }
        let starts = (0..=timeline.keys() as u32)
            .map(|key| order.partition_point(|row| keys[*row as usize] < key) as u32)
            .collect();
        let inputs = inputs
            .iter()
            .enumerate()
            .map(|(number, input)| match pieces.get(number) {
                None => Ok(new_empty_array(&input.data_type)),
                Some(pieces) => {
                    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                    Ok(concat(&pieces)?)
                }
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            order,
            times,
            created,
            starts,
            inputs,
            choose,
        })
    }

    /// The values of one aggregate for some slots.
    fn compute(
        &self,
        feature: &FeatureColumn,
        input: usize,
        timeline: &Timeline,
        slots: Range<usize>,
    ) -> Result<ArrayRef> {
        let Some(window) = &feature.window else {
            return Err(DataFusionError::Internal("a feature has no window".into()).into());
        };
        let place = |slot: usize| timeline.rows[slot] as usize;
        let unfit = |unfit: crate::cast::Unfit| {
            let row = place(slots.start + unfit.row);
            crate::cast::Unfit { row, ..unfit }
                .at("the windows of the entity rows", &feature.column)
        };
        let mut aggregator =
            Aggregator::new(window.function, &self.inputs[input]).map_err(unfit)?;
        let mut key = timeline
            .starts
            .partition_point(|start| *start as usize <= slots.start)
            .saturating_sub(1);
        let (mut low, mut high) = (self.starts[key] as usize, self.starts[key] as usize);
        let mut chosen = Vec::new();
        for slot in slots.clone() {
            while timeline.starts[key + 1] as usize <= slot {
                key += 1;
                low = self.starts[key] as usize;
                high = low;
            }
            let end = self.starts[key + 1] as usize;
            let now = timeline.times[slot];
            // In this order nothing wraps: a window may reach before all time.
            let from = now.saturating_sub(window.nanos);
            let time = |place: usize| self.times[self.order[place] as usize];
            while high < end && time(high) <= now {
                high += 1;
            }
            while low < high && time(low) <= from {
                low += 1;
            }
            let rows = &self.order[low..high];
            if self.choose {
                self.choose(rows, now, &mut chosen);
                aggregator.push(&chosen);
            } else {
                aggregator.push(rows);
            }
        }
        aggregator.finish(&feature.data_type).map_err(unfit)
    }

    /// Of the versions of each row, the newest that was written by `now`.
    fn choose(&self, rows: &[u32], now: i64, chosen: &mut Vec<u32>) {
        chosen.clear();
        let mut last = None;
        for row in rows {
            if self.created[*row as usize] > now {
                continue;
            }
            let time = self.times[*row as usize];
            if last == Some(time) {
                chosen.pop();
            }
            last = Some(time);
            chosen.push(*row);
        }
    }
}

//! Entity rows by key and time.

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::error::ArrowError;

use super::keys::{KeyIndex, NO_KEY};

/// Entity rows grouped by key, each group sorted by time. A place in it is a
/// *slot*.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) index: KeyIndex,
    /// Where the slots of each key start, and where those of the last end.
    pub(crate) starts: Vec<u32>,
    /// The time of each slot, in nanoseconds.
    pub(crate) times: Vec<i64>,
    /// The entity row of each slot.
    pub(crate) rows: Vec<u32>,
    /// The earliest and the latest time, if there is a slot.
    pub(crate) range: Option<(i64, i64)>,
}

impl Timeline {
    /// Sorts rows by canonical keys and by time. Rows without a key or a time
    /// have no slot.
    pub(crate) fn build(
        keys: &[ArrayRef],
        times: &Int64Array,
        threads: usize,
    ) -> Result<Self, ArrowError> {
        let (index, mut numbers, count) = KeyIndex::build(keys, times.len())?;
        if let Some(nulls) = times.nulls() {
            for (number, valid) in numbers.iter_mut().zip(nulls) {
                if !valid {
                    *number = NO_KEY;
                }
            }
        }
        let mut starts = vec![0_u32; count as usize + 1];
        for number in &numbers {
            if *number != NO_KEY {
                starts[*number as usize + 1] += 1;
            }
        }
        for group in 0..count as usize {
            starts[group + 1] += starts[group];
        }
        let slots = starts[count as usize] as usize;
        let mut next = starts.clone();
        let mut sorted = vec![(0_i64, 0_u32); slots];
        for (row, number) in numbers.iter().enumerate() {
            if *number != NO_KEY {
                let place = &mut next[*number as usize];
                sorted[*place as usize] = (times.value(row), row as u32);
                *place += 1;
            }
        }
        drop((numbers, next));
        sort_groups(&mut sorted, &starts, threads);
        let range =
            sorted
                .iter()
                .map(|(time, _)| *time)
                .fold(None, |range: Option<(i64, i64)>, time| {
                    Some(range.map_or((time, time), |(min, max)| (min.min(time), max.max(time))))
                });
        Ok(Self {
            index,
            starts,
            times: sorted.iter().map(|(time, _)| *time).collect(),
            rows: sorted.iter().map(|(_, row)| *row).collect(),
            range,
        })
    }

    /// The number of slots.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// The number of keys.
    pub(crate) fn keys(&self) -> usize {
        self.starts.len() - 1
    }

    /// The first slot of `key` at or after `time`, if there is one. `hint` is a
    /// slot near which it is likely to be, or the end of the key's slots.
    pub(crate) fn slot(&self, key: u32, time: i64, hint: u32) -> Option<u32> {
        let (start, end) = (self.starts[key as usize], self.starts[key as usize + 1]);
        let (mut low, mut high) = (start, end);
        // Slots before `low` are earlier than `time`; the one at `high` is not,
        // or is the end. Steps double until the answer is between the two.
        let hint = hint.clamp(start, end);
        let mut step = 1;
        if hint < end && self.times[hint as usize] < time {
            low = hint + 1;
            while low + step <= high && self.times[(low + step - 1) as usize] < time {
                low += step;
                step *= 2;
            }
            high = high.min(low + step - 1);
        } else {
            high = hint;
            while high >= low + step && self.times[(high - step) as usize] >= time {
                high -= step;
                step *= 2;
            }
            low = low.max(high.saturating_sub(step));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.times[middle as usize] < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < end).then_some(low)
    }

    /// Roughly how many bytes the timeline takes.
    pub(crate) fn size(&self) -> usize {
        self.index.size() + self.starts.len() * 4 + self.times.len() * 12
    }
}

/// Fewer rows are sorted before a thread has started.
const ROWS_WORTH_A_THREAD: usize = 50_000;

/// Sorts each group, as many at once as there are threads.
fn sort_groups(rows: &mut [(i64, u32)], starts: &[u32], threads: usize) {
    let threads = threads.min(rows.len() / ROWS_WORTH_A_THREAD).max(1);
    let total = rows.len();
    std::thread::scope(|scope| {
        let mut rest = rows;
        let (mut first, mut offset) = (0, 0);
        for part in 1..=threads {
            // Whole groups, up to this part's share of the rows.
            let last = starts.partition_point(|start| (*start as usize) < total * part / threads);
            let groups = &starts[first..=last];
            let (here, later) = rest.split_at_mut(starts[last] as usize - offset);
            let place = offset;
            let mut sort = move || {
                for group in groups.windows(2) {
                    let group = &mut here[group[0] as usize - place..group[1] as usize - place];
                    if !group.is_sorted() {
                        group.sort_unstable();
                    }
                }
            };
            if part == threads {
                sort();
            } else {
                scope.spawn(sort);
            }
            (rest, first, offset) = (later, last, starts[last] as usize);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_slot_is_found_from_any_hint() {
        let times = Int64Array::from(vec![50, 10, 10, 30, 30, 30, 70, 90]);
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![7; 8]));
        let timeline = Timeline::build(&[keys], &times, 1).unwrap();
        for time in 0..100 {
            let expected = timeline
                .times
                .iter()
                .position(|t| *t >= time)
                .map(|p| p as u32);
            for hint in 0..=9 {
                assert_eq!(timeline.slot(0, time, hint), expected, "{time} from {hint}");
            }
        }
    }

    #[test]
    fn threads_sort_as_one_does() {
        let rows = 300_000_i64;
        let times = Int64Array::from_iter_values((0..rows).map(|row| row * 7_919 % 10_007));
        for groups in [1, 3, 1_000] {
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(
                (0..rows).map(|row| row * row % groups),
            ));
            let one = Timeline::build(&[Arc::clone(&keys)], &times, 1).unwrap();
            let four = Timeline::build(&[keys], &times, 4).unwrap();
            assert_eq!(
                (one.times, one.rows),
                (four.times, four.rows),
                "{groups} groups"
            );
        }
    }
}

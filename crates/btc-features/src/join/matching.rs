//! Which feature row an entity row gets, from keys and timestamps alone.

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::error::ArrowError;

use super::keys::NO_KEY;
use super::timeline::Timeline;

/// The address of a row that is not there.
pub(crate) const NO_ROW: u64 = u64::MAX;

/// The address of a row: the number of its unit (a row group, or a partition)
/// and its number there. A later row of a source has a higher address.
pub(crate) fn address(unit: u32, row: u32) -> u64 {
    u64::from(unit) << 32 | u64::from(row)
}

/// A feature row that may be the match of an entity row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    slot: u32,
    time: i64,
    created: i64,
    row: u64,
}

/// The rules of one view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long a value may be used, in nanoseconds.
    pub(crate) ttl: Option<i64>,
    /// Whether rows count only from the time they were written.
    pub(crate) filter_by_created: bool,
}

impl Rules {
    /// Whether a value of `time` may no longer be used at `now`.
    fn expired(&self, time: i64, now: i64) -> bool {
        self.ttl.is_some_and(|ttl| time < now.saturating_sub(ttl))
    }
}

/// Finds slots for the rows of one unit, batch by batch.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    timeline: &'a Timeline,
    rules: Rules,
    /// The slot that the last row of each key went to.
    hints: Vec<u32>,
    numbers: Vec<u32>,
    pub(crate) candidates: Vec<Candidate>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(timeline: &'a Timeline, rules: Rules) -> Self {
        let hints = timeline.starts[..timeline.keys()].to_vec();
        Self {
            timeline,
            rules,
            hints,
            numbers: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// Leaves the candidates of a batch in `candidates`. The rows have the
    /// addresses from `first` on.
    pub(crate) fn find(
        &mut self,
        keys: &[ArrayRef],
        times: &Int64Array,
        created: Option<&Int64Array>,
        first: u64,
    ) -> Result<(), ArrowError> {
        self.candidates.clear();
        self.timeline
            .index
            .lookup(keys, times.len(), &mut self.numbers)?;
        let created_values = created.map(Int64Array::values);
        for (row, number) in self.numbers.iter().enumerate() {
            if *number == NO_KEY || times.is_null(row) {
                continue;
            }
            let time = times.values()[row];
            // Without a time of writing a row is the oldest of its event time.
            let written = match (created, created_values) {
                (Some(created), Some(values)) if created.is_valid(row) => Some(values[row]),
                _ => None,
            };
            let usable = if self.rules.filter_by_created {
                match written {
                    Some(written) => time.max(written),
                    None => continue,
                }
            } else {
                time
            };
            let hint = &mut self.hints[*number as usize];
            let Some(slot) = self.timeline.slot(*number, usable, *hint) else {
                *hint = self.timeline.starts[*number as usize + 1];
                continue;
            };
            *hint = slot;
            if !self.rules.expired(time, self.timeline.times[slot as usize]) {
                self.candidates.push(Candidate {
                    slot,
                    time,
                    created: written.unwrap_or(i64::MIN),
                    row: first + row as u64,
                });
            }
        }
        Ok(())
    }
}

/// The best row of each slot so far.
#[derive(Debug)]
pub(crate) struct Best {
    times: Vec<i64>,
    /// Empty if the source has no created timestamps.
    created: Vec<i64>,
    rows: Vec<u64>,
}

impl Best {
    pub(crate) fn new(slots: usize, has_created: bool) -> Self {
        Self {
            times: vec![0; slots],
            created: vec![0; if has_created { slots } else { 0 }],
            rows: vec![NO_ROW; slots],
        }
    }

    /// The bytes that [`Self::new`] takes.
    pub(crate) fn size(slots: usize, has_created: bool) -> usize {
        slots * if has_created { 24 } else { 16 }
    }

    /// Lets candidates replace rows that they beat: by event time, then by
    /// created time, then by place in the source.
    pub(crate) fn offer(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            let slot = candidate.slot as usize;
            let created = self.created.get(slot).copied().unwrap_or(i64::MIN);
            let better = self.rows[slot] == NO_ROW
                || (candidate.time, candidate.created, candidate.row)
                    > (self.times[slot], created, self.rows[slot]);
            if better {
                self.times[slot] = candidate.time;
                self.rows[slot] = candidate.row;
                if let Some(created) = self.created.get_mut(slot) {
                    *created = candidate.created;
                }
            }
        }
    }

    /// The rows that are the best of some slot.
    pub(crate) fn held(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().copied().filter(|row| *row != NO_ROW)
    }

    /// The candidates that are now the best of their slots; ascending.
    pub(crate) fn winners(&self, candidates: &[Candidate]) -> Vec<u64> {
        candidates
            .iter()
            .filter(|candidate| self.rows[candidate.slot as usize] == candidate.row)
            .map(|candidate| candidate.row)
            .collect()
    }

    /// The bytes that this takes.
    pub(crate) fn bytes(&self) -> usize {
        Self::size(self.rows.len(), !self.created.is_empty())
    }

    /// The address of the match of each of `rows` entity rows.
    pub(crate) fn resolve(self, timeline: &Timeline, rules: Rules, rows: usize) -> Vec<u64> {
        let mut matched = vec![NO_ROW; rows];
        for group in timeline.starts.windows(2) {
            let mut best: Option<(i64, i64, u64)> = None;
            for slot in group[0] as usize..group[1] as usize {
                if self.rows[slot] != NO_ROW {
                    let created = self.created.get(slot).copied().unwrap_or(i64::MIN);
                    let here = Some((self.times[slot], created, self.rows[slot]));
                    best = best.max(here);
                }
                if let Some((time, _, row)) = best
                    && !rules.expired(time, timeline.times[slot])
                {
                    matched[timeline.rows[slot] as usize] = row;
                }
            }
        }
        matched
    }
}

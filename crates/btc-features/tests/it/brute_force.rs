//! The join against one that looks at every pair of rows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use btc_features::arrow::compute::cast;
use btc_features::arrow::datatypes::{DataType, Float64Type, TimeUnit};
use btc_features::datafusion::datasource::MemTable;
use btc_features::{
    Definitions, Entity, FeatureSelection, FeatureStore, FeatureView, Field, FileSource, ValueType,
};
use proptest::prelude::*;

use crate::support::write_parquet;

/// A row of a source; times are ticks of the case's unit.
#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    place: Option<u8>,
    time: Option<i64>,
    created: Option<i64>,
    value: Option<i32>,
}

#[derive(Debug, Clone)]
struct EntityRow {
    key: Option<u8>,
    place: Option<u8>,
    time: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Keys {
    None,
    Integer,
    Text,
    /// Integers so far apart that no table holds them all.
    Sparse,
    Composite,
}

#[derive(Debug, Clone)]
struct Case {
    keys: Keys,
    unit: TimeUnit,
    entity_unit: TimeUnit,
    ttl: Option<i64>,
    has_created: bool,
    filter: bool,
    rows: Vec<Row>,
    /// Rows after which a new file (or partition) begins.
    cuts: Vec<usize>,
    row_group: usize,
    as_table: bool,
    partitions: usize,
    entity_rows: Vec<EntityRow>,
}

fn case() -> impl Strategy<Value = Case> {
    let units = prop_oneof![
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Nanosecond)
    ];
    let keys = prop_oneof![
        Just(Keys::None),
        Just(Keys::Integer),
        Just(Keys::Text),
        Just(Keys::Sparse),
        Just(Keys::Composite)
    ];
    let key = || prop::option::weighted(0.9, 0..4_u8);
    let tick = || prop::option::weighted(0.95, 0..40_i64);
    let row = (
        key(),
        key(),
        tick(),
        tick(),
        prop::option::weighted(0.8, any::<i32>()),
    )
        .prop_map(|(key, place, time, created, value)| Row {
            key,
            place,
            time,
            created,
            value,
        });
    let entity_row =
        (key(), key(), tick()).prop_map(|(key, place, time)| EntityRow { key, place, time });
    (
        (keys, units.clone(), units),
        (prop::option::of(1..20_i64), any::<bool>(), any::<bool>()),
        prop::collection::vec(row, 0..80),
        prop::collection::vec(0..80_usize, 0..3),
        (1..30_usize, any::<bool>(), 1..4_usize),
        prop::collection::vec(entity_row, 0..40),
    )
        .prop_map(
            |(
                (keys, unit, entity_unit),
                (ttl, has_created, filter),
                rows,
                cuts,
                (row_group, as_table, partitions),
                entity_rows,
            )| Case {
                keys,
                unit,
                entity_unit,
                ttl,
                has_created,
                filter,
                rows,
                cuts,
                row_group,
                as_table,
                partitions,
                entity_rows,
            },
        )
}

impl Case {
    fn nanos(&self, tick: i64) -> i64 {
        // A tick is a second or, in finer units, the smallest step there is.
        1_700_000_000_000_000_000 + tick * self.step()
    }

    fn step(&self) -> i64 {
        // Entity rows must be able to hold the ticks of the source.
        nanos_per(self.unit).max(nanos_per(self.entity_unit))
    }

    fn same_key(&self, row: &Row, entity_row: &EntityRow) -> bool {
        let same = |a: Option<u8>, b: Option<u8>| a.is_some() && a == b;
        match self.keys {
            Keys::None => true,
            Keys::Composite => same(row.key, entity_row.key) && same(row.place, entity_row.place),
            _ => same(row.key, entity_row.key),
        }
    }

    /// The value that an entity row gets, by looking at every row.
    fn expected(&self, entity_row: &EntityRow) -> Option<f64> {
        let now = entity_row.time?;
        let mut best: Option<(i64, Option<i64>, usize)> = None;
        for (number, row) in self.rows.iter().enumerate() {
            let Some(time) = row.time else { continue };
            let created = if self.has_created { row.created } else { None };
            let known = time <= now
                && (!self.filter || !self.has_created || created.is_some_and(|c| c <= now));
            if self.same_key(row, entity_row) && known {
                best = best.max(Some((time, created, number)));
            }
        }
        let (time, _, number) = best?;
        if self.ttl.is_some_and(|ttl| time < now - ttl) {
            return None;
        }
        self.rows[number].value.map(f64::from)
    }

    fn key_columns(
        &self,
        keys: &[Option<u8>],
        places: &[Option<u8>],
        wide: bool,
    ) -> Vec<(&'static str, ArrayRef)> {
        let integers = |values: &[Option<u8>], factor: i64| -> ArrayRef {
            Arc::new(
                values
                    .iter()
                    .map(|v| v.map(|v| i64::from(v) * factor))
                    .collect::<Int64Array>(),
            )
        };
        let text = |values: &[Option<u8>]| -> ArrayRef {
            Arc::new(
                values
                    .iter()
                    .map(|v| v.map(|v| format!("k{v}")))
                    .collect::<StringArray>(),
            )
        };
        match self.keys {
            Keys::None => vec![],
            // The two sides need not have the same integer type.
            Keys::Integer if wide => vec![("key", integers(keys, 1))],
            Keys::Integer => {
                let narrow: Int32Array = keys.iter().map(|v| v.map(i32::from)).collect();
                vec![("key", Arc::new(narrow))]
            }
            Keys::Sparse => vec![("key", integers(keys, i64::MAX / 5))],
            Keys::Text => vec![("key", text(keys))],
            Keys::Composite => vec![("key", text(keys)), ("place", integers(places, 1))],
        }
    }

    fn source(&self) -> RecordBatch {
        let keys: Vec<_> = self.rows.iter().map(|row| row.key).collect();
        let places: Vec<_> = self.rows.iter().map(|row| row.place).collect();
        let mut columns = self.key_columns(&keys, &places, true);
        let times = |values: Vec<Option<i64>>| {
            instants(
                values
                    .into_iter()
                    .map(|v| v.map(|v| self.nanos(v)))
                    .collect(),
                self.unit,
            )
        };
        columns.push((
            "event_timestamp",
            times(self.rows.iter().map(|r| r.time).collect()),
        ));
        if self.has_created {
            columns.push((
                "created",
                times(self.rows.iter().map(|r| r.created).collect()),
            ));
        }
        let values: Float64Array = self
            .rows
            .iter()
            .map(|row| row.value.map(f64::from))
            .collect();
        columns.push(("x", Arc::new(values)));
        batch(columns)
    }

    fn entity_batch(&self) -> RecordBatch {
        let keys: Vec<_> = self.entity_rows.iter().map(|row| row.key).collect();
        let places: Vec<_> = self.entity_rows.iter().map(|row| row.place).collect();
        let mut columns = self.key_columns(&keys, &places, false);
        let times = self
            .entity_rows
            .iter()
            .map(|r| r.time.map(|t| self.nanos(t)))
            .collect();
        columns.push(("event_timestamp", instants(times, self.entity_unit)));
        batch(columns)
    }

    fn definitions(&self) -> Definitions {
        let mut source = FileSource::new("s", "data", "event_timestamp");
        if self.has_created {
            source = source.with_created_timestamp_column("created");
        }
        let entities: &[&str] = match self.keys {
            Keys::None => &[],
            Keys::Composite => &["key", "place"],
            _ => &["key"],
        };
        let mut view = FeatureView::new("v", "s")
            .with_entities(entities.iter().copied())
            .with_features([Field::new("x", ValueType::Float64)]);
        if let Some(ttl) = self.ttl {
            view = view.with_ttl(Duration::from_nanos((ttl * self.step()) as u64));
        }
        Definitions::new()
            .with_entity(Entity::new("key"))
            .with_entity(Entity::new("place"))
            .with_source(source)
            .with_feature_view(view)
    }

    fn pieces(&self) -> Vec<RecordBatch> {
        let all = self.source();
        let mut cuts: Vec<usize> = self.cuts.iter().map(|c| c % (all.num_rows() + 1)).collect();
        cuts.extend([0, all.num_rows()]);
        cuts.sort_unstable();
        cuts.windows(2)
            .map(|cut| all.slice(cut[0], cut[1] - cut[0]))
            .collect()
    }

    fn run(&self, dir: &Path) -> Vec<Option<f64>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let mut store = FeatureStore::init(dir, "p")
            .unwrap()
            .with_target_partitions(self.partitions)
            .unwrap();
        let pieces = self.pieces();
        if self.as_table {
            let partitions = pieces
                .iter()
                .map(|piece| {
                    (0..piece.num_rows())
                        .step_by(self.row_group)
                        .map(|row| piece.slice(row, self.row_group.min(piece.num_rows() - row)))
                        .collect()
                })
                .collect();
            let table = MemTable::try_new(pieces[0].schema(), partitions).unwrap();
            store = store.with_table("s", Arc::new(table));
        } else {
            for (number, piece) in pieces.iter().enumerate() {
                let path = dir.join(format!("data/{number}.parquet"));
                write_parquet(&path, std::slice::from_ref(piece), self.row_group);
            }
        }
        store.apply(&self.definitions()).unwrap();
        let selection =
            FeatureSelection::features(["v:x"]).with_filter_by_created_timestamp(self.filter);
        let joined = runtime
            .block_on(store.get_historical_features(self.entity_batch(), &selection))
            .unwrap();
        joined["x"].as_primitive::<Float64Type>().iter().collect()
    }
}

fn nanos_per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn instants(nanos: Vec<Option<i64>>, unit: TimeUnit) -> ArrayRef {
    let nanos: ArrayRef = Arc::new(Int64Array::from(nanos));
    let nanos = cast(&nanos, &DataType::Timestamp(TimeUnit::Nanosecond, None)).unwrap();
    cast(&nanos, &DataType::Timestamp(unit, None)).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(btc_testing::cases(200))]

    #[test]
    fn the_join_gives_what_a_look_at_every_pair_gives(case in case()) {
        let dir = tempfile::tempdir().unwrap();
        let expected: Vec<_> = case.entity_rows.iter().map(|row| case.expected(row)).collect();
        prop_assert_eq!(case.run(dir.path()), expected);
    }

    #[test]
    fn what_was_not_known_yet_changes_nothing(
        case in case(),
        now in 0..40_i64,
        remove in any::<bool>(),
        wrong in any::<i32>(),
    ) {
        let mut case = case;
        case.entity_rows.retain(|row| row.time.is_none_or(|time| time <= now));
        let before = case.run(tempfile::tempdir().unwrap().path());
        let unknown = |row: &Row| {
            let created = if case.filter && case.has_created { row.created } else { None };
            row.time.max(created) > Some(now)
        };
        let mut later = case.clone();
        if remove {
            later.rows.retain(|row| !unknown(row));
        } else {
            for row in later.rows.iter_mut().filter(|row| unknown(row)) {
                row.value = Some(wrong);
            }
        }
        prop_assert_eq!(later.run(tempfile::tempdir().unwrap().path()), before);
    }
}

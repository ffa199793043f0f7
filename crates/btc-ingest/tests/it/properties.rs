//! What holds for any data.

use crate::service::{day, noon};
use btc_ingest::arrow::array::{ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch};
use btc_ingest::arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Schema, SchemaRef, TimestampNanosecondType,
};
use btc_ingest::{
    Fetched, Revisions, Source, SourceError, Table, Window, alpha_vantage, blockchain, pull_source,
    read_parquet, read_table, write_parquet,
};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A source that gives what it is told: for each day a price and a fee.
#[derive(Debug, Clone)]
struct Fixed(BTreeMap<u8, (Option<f64>, Option<f64>)>);

const FIRST: &str = "2021-12-01";

#[btc_ingest::async_trait]
impl Source for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("date", DataType::Date32, false),
            Field::new("close", DataType::Float64, true),
            Field::new("fees", DataType::Float64, true),
        ]))
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let days = window.days("close");
        let date = |offset: u8| day(FIRST) + Days::new(offset.into());
        let rows: Vec<_> = self
            .0
            .iter()
            .filter(|(offset, _)| days.contains(&date(**offset)))
            .collect();
        let epoch = NaiveDate::default();
        let dates = rows
            .iter()
            .map(|(offset, _)| (date(**offset) - epoch).num_days() as i32);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Date32Array::from_iter_values(dates)),
            Arc::new(rows.iter().map(|(_, row)| row.0).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|(_, row)| row.1).collect::<Float64Array>()),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?.into())
    }
}

type Days60 = BTreeMap<u8, (Option<f64>, Option<f64>)>;

fn rows() -> impl Strategy<Value = Days60> {
    let row = (prop::option::of(1.0..1e6), prop::option::of(0.0..1e6));
    prop::collection::btree_map(0..60u8, row, 0..40)
}

fn store(folder: &std::path::Path, rows: &Days60, range: RangeInclusive<u8>, now: DateTime<Utc>) {
    let date = |offset: u8| day(FIRST) + Days::new(offset.into());
    let days = date(*range.start())..=date(*range.end());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(pull_source(folder, &Fixed(rows.clone()), days, now))
        .unwrap();
}

/// Day, close and fees of every visible row; empty while there is no table.
fn visible(
    folder: &std::path::Path,
    table: Table,
    revisions: Revisions,
) -> Vec<(i32, i64, i64, Vec<Option<u64>>)> {
    let Ok(table) = read_table(folder, table, revisions) else {
        return Vec::new();
    };
    let instants = |column: usize| {
        table
            .column(column)
            .as_primitive::<TimestampNanosecondType>()
            .clone()
    };
    let (known, created) = (instants(1), instants(2));
    let days = table.column(0).as_primitive::<Date32Type>();
    let values = |row: usize| {
        let columns = table
            .columns()
            .iter()
            .filter(|column| *column.data_type() == DataType::Float64);
        columns
            .map(|column| {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row).to_bits())
            })
            .collect()
    };
    (0..table.num_rows())
        .map(|row| {
            (
                days.value(row),
                known.value(row),
                created.value(row),
                values(row),
            )
        })
        .collect()
}

use btc_ingest::arrow::array::Array;

proptest! {
    #![proptest_config(btc_testing::cases(48))]

    #[test]
    fn any_split_of_a_series_stores_what_the_whole_does(
        rows in rows(),
        mut cuts in prop::collection::vec(0..60u8, 0..4),
        shuffle in any::<u8>(),
    ) {
        let now = noon(day("2022-06-01"));
        let [parts, whole] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        store(whole.path(), &rows, 0..=59, now);
        cuts.sort_unstable();
        cuts.dedup();
        let mut ranges: Vec<RangeInclusive<u8>> = Vec::new();
        let mut start = 0;
        for cut in cuts {
            ranges.push(start..=cut);
            // The parts overlap by a day, as a re-check does.
            start = cut;
        }
        ranges.push(start..=59);
        let turn = usize::from(shuffle) % ranges.len();
        ranges.rotate_left(turn);
        for range in ranges {
            store(parts.path(), &rows, range, now);
        }
        for table in [Table::Ohlcv, Table::Blockchain] {
            let [parts, whole] = [&parts, &whole].map(|f| visible(f.path(), table, Revisions::All));
            prop_assert_eq!(parts, whole);
        }
    }

    #[test]
    fn nothing_is_visible_before_it_was_known_and_the_past_does_not_change(
        versions in prop::collection::vec(rows(), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Vec::new();
        for (index, rows) in versions.iter().enumerate() {
            let now = noon(day("2021-12-20")) + TimeDelta::days(20 * index as i64);
            store(folder.path(), rows, 0..=59, now);
            for table in [Table::Ohlcv, Table::Blockchain] {
                snapshots.push((table, now, visible(folder.path(), table, Revisions::AsOf(now))));
            }
        }
        for (table, now, snapshot) in snapshots {
            let instant = now.timestamp_nanos_opt().unwrap();
            // What was seen at an instant is what is told of it later.
            prop_assert_eq!(&visible(folder.path(), table, Revisions::AsOf(now)), &snapshot);
            for (_, known, created, _) in &snapshot {
                prop_assert!(*known <= instant && *created <= instant);
            }
            let days: Vec<i32> = snapshot.iter().map(|row| row.0).collect();
            prop_assert!(days.is_sorted_by(|a, b| a < b), "one row per day");
        }
    }

    #[test]
    fn a_table_that_is_written_is_read_back(values in prop::collection::vec(any::<f64>(), 0..50)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let schema = Schema::new(vec![Field::new("v", DataType::Float64, false)]);
        let column = Arc::new(Float64Array::from(values.clone()));
        write_parquet(&path, &RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()).unwrap();
        let read = read_parquet(&path).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(read.column(0).as_primitive::<Float64Type>().values()), bits(&values));
    }

    #[test]
    fn a_chart_that_is_written_out_is_read_back(
        points in prop::collection::vec((0..4_000_000_000i64, 0.0..1e300f64), 0..50),
    ) {
        let values: Vec<_> =
            points.iter().map(|(x, y)| serde_json::json!({"x": x, "y": y})).collect();
        let body = serde_json::json!({"status": "ok", "values": values}).to_string();
        let json = blockchain::parse_json(body.as_bytes(), "hash-rate").unwrap();
        let read: Vec<_> = json.points.iter().map(|p| (p.stamp.timestamp(), p.value)).collect();
        prop_assert_eq!(&read, &points);
        let body: String = json.points.iter()
            .map(|p| format!("{},{}\n", p.stamp.format("%Y-%m-%d %H:%M:%S"), p.value))
            .collect();
        prop_assert_eq!(blockchain::parse_csv(body.as_bytes(), "hash-rate").unwrap().points, json.points);
    }

    #[test]
    fn prices_that_are_written_out_are_read_back(
        rows in prop::collection::btree_map(0..20_000u64, (1.0..1e6f64, 0.0..0.5f64, 0.0..1e6f64), 0..40),
    ) {
        let mut series = serde_json::Map::new();
        for (offset, (close, spread, volume)) in rows.iter().rev() {
            let prices = [close * (1.0 + spread / 2.0), close * (1.0 + spread), close * (1.0 - spread), *close, *volume];
            let names = ["1. open", "2. high", "3. low", "4. close", "5. volume"];
            let row: serde_json::Map<_, _> = names.iter().zip(prices)
                .map(|(name, value)| ((*name).to_owned(), value.to_string().into()))
                .collect();
            series.insert((day("2009-01-03") + Days::new(*offset)).to_string(), row.into());
        }
        let body = serde_json::json!({"Time Series (Digital Currency Daily)": series}).to_string();
        let prices = alpha_vantage::parse(body.as_bytes(), "USD").unwrap();
        prop_assert_eq!(prices.rejected, []);
        let read: Vec<_> = prices.bars.iter().map(|bar| (bar.date, bar.close, bar.volume)).collect();
        let written: Vec<_> = rows.iter()
            .map(|(offset, (close, _, volume))| (day("2009-01-03") + Days::new(*offset), *close, Some(*volume)))
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = blockchain::parse_json(&text, "hash-rate");
        let _ = blockchain::parse_csv(&text, "hash-rate");
        let _ = alpha_vantage::parse(&text, "USD");
    }
}

//! One state after another: readers beside a writer, tampering, older layouts.

use crate::service::{contents, day, noon};
use btc_ingest::arrow::array::{ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch};
use btc_ingest::arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use btc_ingest::{
    DataFolder, Error, Fetched, FileProblemKind, Revisions, Snapshot, Source, SourceError, Table,
    Window, pull_source, read_parquet, read_table, verify,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DAYS: i32 = 24;

/// A source whose every value is the same number.
#[derive(Debug)]
struct Constant(f64);

#[btc_ingest::async_trait]
impl Source for Constant {
    fn name(&self) -> &str {
        "constant"
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("date", DataType::Date32, false),
            Field::new("close", DataType::Float64, true),
            Field::new("fees", DataType::Float64, true),
        ]))
    }

    async fn fetch(&self, _: &Window<'_>) -> Result<Fetched, SourceError> {
        // From December 2020 on, so that two years have tables.
        let days = Date32Array::from_iter_values(18_610..18_610 + DAYS);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![self.0; DAYS as usize]));
        let columns = vec![Arc::new(days) as ArrayRef, Arc::clone(&values), values];
        Ok(RecordBatch::try_new(self.schema(), columns)?.into())
    }
}

fn at(hours: i64) -> DateTime<Utc> {
    noon(day("2021-03-01")) + TimeDelta::hours(hours)
}

fn store(folder: &Path, value: f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let days = day("2009-01-01")..=day("2100-01-01");
    let now = at(value as i64);
    runtime
        .block_on(pull_source(folder, &Constant(value), days, now))
        .unwrap();
}

fn column(table: &RecordBatch, name: &str) -> BTreeSet<u64> {
    let values = table.column_by_name(name).unwrap();
    let values = values.as_primitive::<Float64Type>();
    assert_eq!(values.len(), DAYS as usize);
    values.values().iter().map(|value| *value as u64).collect()
}

/// The one number that a state is made of; fails if there are two.
fn number(snapshot: &Snapshot) -> u64 {
    let prices = snapshot.read(Table::Ohlcv, Revisions::Latest).unwrap();
    let charts = snapshot.read(Table::Blockchain, Revisions::Latest).unwrap();
    let mut values = column(&prices, "close");
    values.extend(column(&charts, "fees"));
    values.insert((snapshot.manifest().updated - at(0)).num_hours() as u64);
    assert_eq!(values.len(), 1, "a mixture of states: {values:?}");
    *values.first().unwrap()
}

/// The same for a reader that knows files alone, and resolves the folder once.
fn number_of_files(folder: &Path) -> Option<u64> {
    let place = fs::canonicalize(folder.join("processed")).unwrap();
    let mut values = BTreeSet::new();
    for (table, name) in [("ohlcv", "close"), ("blockchain", "fees")] {
        for year in ["2020", "2021"] {
            // Gone, if this reader was slower than two commits: an error, not a mixture.
            let table = read_parquet(place.join(table).join(format!("{year}.parquet"))).ok()?;
            let column = table
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Float64Type>();
            values.insert(column.values().iter().fold(0.0, |a: f64, b| a.max(*b)) as u64);
        }
    }
    assert_eq!(values.len(), 1, "a mixture of states: {values:?}");
    values.first().copied()
}

#[test]
fn a_thousand_reads_beside_a_hundred_pulls_see_no_mixture() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), 1.0);
    let done = AtomicBool::new(false);
    let data = DataFolder::new(folder.path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 2..=100 {
                store(folder.path(), f64::from(value));
            }
            done.store(true, Ordering::SeqCst);
        });
        for reader in 0..2 {
            let (data, done) = (&data, &done);
            scope.spawn(move || {
                let (mut reads, mut newest) = (0, 0);
                while reads < 500 || !done.load(Ordering::SeqCst) {
                    reads += 1;
                    let number = match reads % 5 {
                        0 => number_of_files(data.path()).unwrap_or(newest),
                        1 => data
                            .status(at(0))
                            .map(|s| (s.updated - at(0)).num_hours())
                            .unwrap() as u64,
                        _ => number(&data.snapshot().unwrap()),
                    };
                    assert!(newest <= number, "reader {reader} went back to {number}");
                    newest = number;
                }
                assert_eq!(number(&data.snapshot().unwrap()), 100);
            });
        }
    });
    assert!(verify(folder.path()).unwrap().is_ok());
    let snapshots = fs::read_dir(folder.path().join(".snapshots"))
        .unwrap()
        .count();
    assert!(snapshots <= 2, "{snapshots} states are left");
}

#[test]
fn a_state_stays_as_long_as_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataFolder::new(folder.path());
    store(folder.path(), 1.0);
    let held = data.snapshot().unwrap();
    for value in 2..6 {
        store(folder.path(), f64::from(value));
    }
    assert_eq!(number(&held), 1);
    assert!(held.path().join("processed/ohlcv/2021.parquet").exists());
    assert_eq!(number(&data.snapshot().unwrap()), 5);
    let place = held.path().to_owned();
    drop(held);
    store(folder.path(), 6.0);
    assert!(!place.exists());
}

#[test]
fn a_raw_file_that_somebody_changed_is_refused_and_never_taken_for_data() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), 7.0);
    let file = folder.path().join("raw/constant/2021.parquet");
    let other = tempfile::tempdir().unwrap();
    store(other.path(), 999.0);
    fs::write(
        &file,
        fs::read(other.path().join("raw/constant/2021.parquet")).unwrap(),
    )
    .unwrap();
    let found = verify(folder.path()).unwrap();
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].path, "raw/constant/2021.parquet");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let days = day("2009-01-01")..=day("2100-01-01");
    let error = runtime
        .block_on(pull_source(folder.path(), &Constant(8.0), days, at(8)))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Changed { path } if *path == file),
        "{error:?}"
    );
    assert_eq!(
        verify(folder.path()).unwrap(),
        found,
        "nothing was laundered"
    );
    let prices = read_table(folder.path(), Table::Ohlcv, Revisions::Latest).unwrap();
    assert_eq!(column(&prices, "close"), BTreeSet::from([7]));
    let status = DataFolder::new(folder.path()).status(at(9)).unwrap_err();
    assert!(matches!(status, Error::Changed { .. }), "{status:?}");
}

#[test]
fn a_processed_file_or_a_manifest_that_somebody_changed_is_no_data() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), 7.0);
    let file = folder.path().join("processed/ohlcv/2021.parquet");
    fs::copy(folder.path().join("processed/ohlcv/2020.parquet"), &file).unwrap();
    let error = read_table(folder.path(), Table::Ohlcv, Revisions::Latest).unwrap_err();
    assert!(
        matches!(&error, Error::Changed { path } if *path == file),
        "{error:?}"
    );
    // It is derived: the next write makes it again.
    store(folder.path(), 8.0);
    assert!(verify(folder.path()).unwrap().is_ok());

    // Whoever changes a file and the manifest with it is found out by the name of the state.
    let manifest = folder.path().join("manifest.json");
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("\"USD\"", "\"EUR\"");
    fs::write(&manifest, text).unwrap();
    let problems = verify(folder.path()).unwrap().problems;
    assert_eq!(problems[0].kind, FileProblemKind::WrongHash);
}

/// A folder as version 1 left it: plain files, and a manifest of bytes.
fn of_version_1(folder: &Path, value: f64) -> String {
    let new = tempfile::tempdir().unwrap();
    store(new.path(), value);
    let mut processed = String::new();
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(new.path().join("manifest.json")).unwrap()).unwrap();
    for (name, record) in manifest["tables"].as_object_mut().unwrap() {
        let to = folder.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(new.path().join(name), to).unwrap();
        record.as_object_mut().unwrap().remove("content");
        if name.starts_with("processed") {
            processed.push_str(&format!("{} {name}\n", record["sha256"].as_str().unwrap()));
        }
    }
    let hash = btc_files::sha256(&processed);
    manifest["format_version"] = 1.into();
    manifest["data_hash"] = hash.as_str().into();
    manifest["bodies"] = serde_json::json!([{
        "series": "blockchain/hash-rate",
        "url": "http://h/",
        "sha256": "00",
        "bytes": 3,
        "fetched": "2020-06-01T00:00:00Z",
    }]);
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    hash
}

#[test]
fn a_folder_of_version_1_is_read_and_moved_over_by_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let hash = of_version_1(folder.path(), 3.0);
    fs::write(folder.path().join("raw/constant/notes.txt"), "mine").unwrap();
    let data = DataFolder::new(folder.path());
    assert_eq!(number(&data.snapshot().unwrap()), 3);
    assert_eq!(data.snapshot().unwrap().manifest().data_hash, hash);
    assert_eq!(data.snapshot().unwrap().answers().unwrap().len(), 1);
    let problems = data.verify().unwrap().problems;
    assert_eq!(
        (problems.len(), problems[0].kind),
        (1, FileProblemKind::Unknown)
    );

    store(folder.path(), 4.0);
    assert_eq!(number(&data.snapshot().unwrap()), 4);
    assert_eq!(data.snapshot().unwrap().manifest().format_version, 2);
    let answers = data.snapshot().unwrap().answers().unwrap();
    assert_eq!((answers.len(), answers[0].bytes), (1, 3));
    assert!(
        folder
            .path()
            .join("raw/blockchain/answers-2020.parquet")
            .exists()
    );
    // Paths stay, and what is not ours stays as well.
    for name in ["raw", "processed", "manifest.json", "current"] {
        assert!(folder.path().join(name).is_symlink(), "{name}");
    }
    let notes = folder.path().join("raw/constant/notes.txt");
    store(folder.path(), 5.0);
    assert_eq!(fs::read_to_string(notes).unwrap(), "mine");
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            ".lock",
            ".snapshots",
            "current",
            "manifest.json",
            "processed",
            "raw"
        ]
    );
    assert_eq!(data.verify().unwrap().problems.len(), 1);
}

#[test]
fn a_write_of_version_1_that_was_cut_off_is_finished_by_whoever_reads() {
    let [folder, newer] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    of_version_1(folder.path(), 3.0);
    of_version_1(newer.path(), 4.0);
    // Half of the files moved, as after a kill between two renames.
    let staging = folder.path().join(".staging");
    fs::create_dir(&staging).unwrap();
    let moves: Vec<String> = contents(newer.path()).into_keys().collect();
    for (index, name) in moves.iter().enumerate() {
        let to = match index < moves.len() / 2 {
            true => folder.path().join(name),
            false => staging.join(index.to_string()),
        };
        fs::copy(newer.path().join(name), to).unwrap();
    }
    let plan = serde_json::json!({ "moves": moves, "deletes": [] });
    fs::write(staging.join("commit.json"), plan.to_string()).unwrap();

    let data = DataFolder::new(folder.path());
    assert!(data.verify().unwrap().interrupted);
    assert_eq!(number(&data.snapshot().unwrap()), 4);
    assert!(data.verify().unwrap().is_ok());
    assert!(!staging.exists());
}

#[test]
fn a_copy_that_followed_the_links_is_a_data_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), 3.0);
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(folder.path()) {
        for place in ["current", "."] {
            let to = copy.path().join(place).join(&name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, &bytes).unwrap();
        }
    }
    let data = DataFolder::new(copy.path());
    assert_eq!(number(&data.snapshot().unwrap()), 3);
    store(copy.path(), 4.0);
    assert_eq!(number(&data.snapshot().unwrap()), 4);
    assert!(data.verify().unwrap().is_ok());
    assert!(copy.path().join("current").is_symlink());
}

#[test]
fn a_folder_in_the_place_of_a_link_is_told_and_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), 3.0);
    fs::remove_file(folder.path().join("processed")).unwrap();
    fs::create_dir_all(folder.path().join("processed/ohlcv")).unwrap();
    fs::write(folder.path().join("processed/ohlcv/mine"), "mine").unwrap();
    let found = verify(folder.path()).unwrap();
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].kind, FileProblemKind::NotTheLink);
    store(folder.path(), 4.0);
    assert!(verify(folder.path()).unwrap().is_ok());
    let kept = folder.path().join("processed.replaced-1/ohlcv/mine");
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
}

#[test]
fn the_fingerprint_is_of_values_and_the_same_everywhere() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    store(one.path(), 3.0);
    store(two.path(), 2.0);
    let hash = |folder: &Path| btc_ingest::data_hash(folder).unwrap();
    assert_ne!(hash(one.path()), hash(two.path()));
    // A write that brings nothing new leaves the state as it is.
    let state = fs::read_link(one.path().join("current")).unwrap();
    store(one.path(), 3.0);
    assert_eq!(fs::read_link(one.path().join("current")).unwrap(), state);
    // Written down when format 2 was made; another one renames everybody's data.
    assert_eq!(hash(one.path()), FINGERPRINT);
}

const FINGERPRINT: &str = "528c1c7415e3878b84a9ed5e3e85bcbdde897c98f57f9474a10bb222757933d9";

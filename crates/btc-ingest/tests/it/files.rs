//! Files: what a sample and an import store, and what broken files lead to.

use crate::service::{Service, World, contents, day, noon};
use btc_ingest::arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use btc_ingest::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use btc_ingest::{
    ColumnMapping, DataFolder, Error, FileProblemKind, FileSource, Reason, Revisions, SAMPLE_DAYS,
    Source, Table, Window, data_hash, last_complete_day, pull_sample, pull_source, read_parquet,
    read_table, status, verify, write_parquet,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

fn sample(folder: &Path, seed: u64, days: usize) -> btc_ingest::PullReport {
    pull_sample(
        folder,
        seed,
        day("2024-01-01"),
        days,
        noon(day("2024-01-02")),
    )
    .unwrap()
}

#[test]
fn an_empty_folder_has_no_data() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(last_complete_day(folder.path()).unwrap(), None);
    for error in [
        data_hash(folder.path()).unwrap_err(),
        status(folder.path(), noon(day("2024-01-02"))).unwrap_err(),
        verify(folder.path()).unwrap_err(),
        read_table(folder.path(), Table::Ohlcv, Revisions::All).unwrap_err(),
    ] {
        assert!(error.to_string().contains("pull data first"), "{error}");
    }
}

#[test]
fn a_sample_is_marked_everywhere_and_the_same_every_time() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let report = sample(one.path(), 7, SAMPLE_DAYS);
    assert_eq!(
        report.data_hash,
        sample(two.path(), 7, SAMPLE_DAYS).data_hash
    );
    assert_eq!(contents(one.path()), contents(two.path()));
    assert_eq!(report.warnings, Vec::<String>::new());

    assert!(
        DataFolder::new(one.path())
            .snapshot()
            .unwrap()
            .manifest()
            .synthetic
    );
    let tables = contents(one.path());
    for name in tables.keys().filter(|name| name.ends_with(".parquet")) {
        let file = File::open(one.path().join(name)).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let pairs = builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        let value = |key: &str| {
            pairs
                .iter()
                .find(|pair| pair.key == key)
                .and_then(|pair| pair.value.clone())
        };
        assert_eq!(value("synthetic").as_deref(), Some("true"), "{name}");
        assert_eq!(value("format_version").as_deref(), Some("1"), "{name}");
        assert!(
            builder
                .metadata()
                .row_group(0)
                .column(0)
                .statistics()
                .is_some(),
            "{name}"
        );
    }
    let prices = read_table(one.path(), Table::Ohlcv, Revisions::Latest).unwrap();
    assert_eq!(prices.num_rows(), SAMPLE_DAYS);
    let sources = prices
        .column_by_name("price_source")
        .unwrap()
        .as_string::<i32>()
        .clone();
    assert!(sources.iter().all(|source| source == Some("synthetic")));
}

#[test]
fn a_new_sample_takes_the_place_of_the_old_one() {
    let [folder, fresh] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    sample(folder.path(), 1, 800);
    sample(folder.path(), 2, 30);
    sample(fresh.path(), 2, 30);
    assert_eq!(contents(folder.path()), contents(fresh.path()));
    assert!(
        pull_sample(
            folder.path(),
            1,
            day("2024-01-01"),
            0,
            noon(day("2024-01-02"))
        )
        .is_err()
    );
    let too_long = pull_sample(
        folder.path(),
        1,
        day("2024-01-01"),
        usize::MAX,
        noon(day("2024-01-02")),
    );
    assert!(too_long.is_err());
}

#[test]
fn verify_finds_every_kind_of_difference() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path(), 1, 400);
    let clean = verify(folder.path()).unwrap();
    assert!(clean.is_ok() && clean.checked == 9, "{clean:?}");
    let below = |name: &str| folder.path().join(name);
    let mut bytes = fs::read(below("processed/ohlcv/2023.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(below("processed/ohlcv/2023.parquet"), bytes).unwrap();
    fs::remove_file(below("raw/synthetic/2024.parquet")).unwrap();
    fs::write(below("processed/blockchain/2025.parquet"), "x").unwrap();
    let manifest = fs::read_to_string(below("manifest.json")).unwrap();
    let hash = data_hash(folder.path()).unwrap();
    fs::write(below("manifest.json"), manifest.replace(&hash, "0")).unwrap();
    let mut found = verify(folder.path()).unwrap();
    found.problems.sort_by(|a, b| a.path.cmp(&b.path));
    let found: Vec<_> = found
        .problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.kind))
        .collect();
    assert_eq!(
        found,
        [
            ("manifest.json", FileProblemKind::WrongHash),
            (
                "processed/blockchain/2025.parquet",
                FileProblemKind::Unknown
            ),
            ("processed/ohlcv/2023.parquet", FileProblemKind::Changed),
            ("raw/synthetic/2024.parquet", FileProblemKind::Missing),
        ]
    );
}

#[tokio::test]
async fn broken_files_are_errors_that_name_them() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let breaks: [(&str, &[u8]); 4] = [
        ("manifest.json", b"{"),
        ("manifest.json", br#"{"format_version": 3}"#),
        ("raw/blockchain/2021.parquet", b"PAR1"),
        ("raw/blockchain/2021.parquet", b""),
    ];
    for (name, text) in breaks {
        let folder = tempfile::tempdir().unwrap();
        service.pull(folder.path()).await.unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let error = service.pull(folder.path()).await.unwrap_err();
        assert!(!error.is_upstream());
        assert!(error.to_string().contains(name), "{error}");
    }
    // A processed table that is gone or cut is made again from the raw values.
    let folder = tempfile::tempdir().unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    let table = folder.path().join("processed/ohlcv/2021.parquet");
    for break_it in [fs::remove_file, |path| fs::write(path, "cut")] {
        break_it(table.clone()).unwrap();
        assert_eq!(
            service.pull(folder.path()).await.unwrap().data_hash,
            report.data_hash
        );
        assert!(verify(folder.path()).unwrap().is_ok());
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = pull_sample(&file, 0, day("2024-01-01"), 30, noon(day("2024-01-02"))).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
    let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let error = write_parquet(folder.path().join("none/x.parquet"), &batch).unwrap_err();
    assert!(error.to_string().contains("x.parquet"), "{error}");
}

#[tokio::test]
async fn an_import_fills_what_no_service_gave() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    service.pull(&data).await.unwrap();
    let file = folder.path().join("old.csv");
    fs::write(
        &file,
        "day,close,rate,trends\n2020-12-30,100,1,5\n2020-12-31,101,2,6\n2021-01-05,999,999,7\n\
         2021-01-06,0,-1,8\n2021-03-20,1,1,9\n",
    )
    .unwrap();
    let columns = ColumnMapping::new("day")
        .with("close", "close")
        .with("rate", "hash_rate")
        .with("trends", "search_interest");
    let source = FileSource::new("old", &file, columns).unwrap();
    let days = day("2009-01-01")..=day("2100-01-01");
    let now = noon(day("2021-03-20"));
    let report = pull_source(&data, &source, days.clone(), now)
        .await
        .unwrap();
    let rejected: usize = report.series.iter().map(|series| series.rejected).sum();
    assert_eq!(rejected, 5, "{report:?}");

    let table = read_table(&data, Table::Ohlcv, Revisions::Latest).unwrap();
    let close = table
        .column_by_name("close")
        .unwrap()
        .as_primitive::<Float64Type>()
        .clone();
    assert_eq!(close.values()[..2], [100.0, 101.0]);
    assert_ne!(close.value(6), 999.0, "the service's close of a day counts");
    let charts = read_table(&data, Table::Blockchain, Revisions::Latest).unwrap();
    let column = |name: &str| {
        charts
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(column("hash_rate")[..2], [Some(1.0), Some(2.0)]);
    assert_eq!(column("search_interest").iter().flatten().count(), 4);

    // The next pull leaves the import where it is, and a second import changes nothing.
    let again = pull_source(&data, &source, days, now).await.unwrap();
    assert_eq!(again.changes(), 0);
    let pulled = service.pull(&data).await.unwrap();
    assert_eq!(pulled.data_hash, report.data_hash);
    assert!(verify(&data).unwrap().is_ok());
}

#[tokio::test]
async fn a_parquet_file_is_imported_like_a_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.parquet");
    let schema = Schema::new(vec![
        Field::new("d", DataType::Utf8, false),
        Field::new("v", DataType::Float64, true),
    ]);
    let table = |days: [&str; 3]| {
        let days = StringArray::from(days.to_vec());
        let values = Float64Array::from(vec![Some(3.0), None, Some(1.0)]);
        RecordBatch::try_new(
            Arc::new(schema.clone()),
            vec![Arc::new(days), Arc::new(values)],
        )
        .unwrap()
    };
    write_parquet(&file, &table(["2020-01-03", "2020-01-02", "2020-01-01"])).unwrap();
    let source = FileSource::new("x", &file, ColumnMapping::new("d").with("v", "close")).unwrap();
    let days = day("2020-01-01")..=day("2020-12-31");
    let window = Window::of(days, noon(day("2021-01-01")));
    let batch = source.fetch(&window).await.unwrap().into_batch().unwrap();
    assert_eq!(batch.schema(), source.schema());
    assert_eq!(
        batch
            .column(1)
            .as_primitive::<Float64Type>()
            .values()
            .to_vec(),
        [1.0, 3.0]
    );

    write_parquet(&file, &table(["2020-01-03", "2020-01-03", "2020-01-01"])).unwrap();
    // A day given twice, once without a value.
    let again = source.fetch(&window).await.unwrap().into_batch().unwrap();
    assert_eq!(again, batch);
    // With two values, of which nobody knows which is right.
    write_parquet(&file, &table(["2020-01-03", "2020-01-02", "2020-01-03"])).unwrap();
    let error = source.fetch(&window).await.unwrap_err().to_string();
    assert!(
        error.contains("row 1") && error.contains("2020-01-03"),
        "{error}"
    );
    let other = FileSource::new("x", &file, ColumnMapping::new("d").with("w", "close")).unwrap();
    let error = other.fetch(&window).await.unwrap_err().to_string();
    assert!(error.contains("no column \"w\"; there are d, v"), "{error}");
}

#[tokio::test]
async fn a_source_cannot_pose_as_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.csv");
    fs::write(&file, "d,v\n2020-01-01,1\n").unwrap();
    for name in ["blockchain", "alpha-vantage", "synthetic", "", "../x", "A"] {
        let columns = ColumnMapping::new("d").with("v", "close");
        let source = FileSource::new(name, &file, columns).unwrap();
        let days = day("2020-01-01")..=day("2020-01-01");
        let now = noon(day("2021-01-01"));
        let result = pull_source(folder.path().join("data"), &source, days, now).await;
        assert!(matches!(result, Err(Error::Config { .. })), "{name}");
    }
}

#[test]
fn a_quarantine_file_says_what_and_why() {
    assert_eq!(Reason::NotMidnight.as_str(), "not-midnight");
    let text = serde_json::to_string(&Reason::NotMidnight).unwrap();
    assert_eq!(
        text, "\"not-midnight\"",
        "the report and the file use one name"
    );
    let missing = read_parquet(Path::new("no such file"));
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[tokio::test]
async fn a_profile_holds_every_series_and_shows_what_is_missing() {
    let service = Service::start(World::up_to("2021-06-20")).await;
    service.change(|world| {
        world.fault = "gap";
        world.unknown.push("hash-rate".to_owned());
    });
    let folder = tempfile::tempdir().unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    let profile = btc_ingest::profile(folder.path(), report.now).unwrap();
    assert_eq!(profile.columns.len(), 20);
    let column = |name: &str| profile.columns.iter().find(|c| c.name == name).unwrap();
    let missing = column("hash_rate");
    assert!(missing.values.is_empty() && missing.summary.is_none());
    let gaps = &column("difficulty").gaps;
    let gap = gaps.iter().find(|gap| gap.first == day("2021-05-11"));
    let gap = gap.map(|gap| (gap.last, gap.days()));
    assert_eq!(gap, Some((day("2021-05-12"), 2)));
    assert_eq!(profile.status.data_hash, report.data_hash);
    assert!(profile.is_intact && !profile.status.synthetic);
    let numbers = serde_json::to_value(&profile).unwrap();
    assert_eq!(numbers["correlations"]["values"][0][0], 1.0);
    service.change(|world| world.fault = "nulls");
    let mut config = service.config(folder.path());
    config.refresh = true;
    btc_ingest::pull(&config, &()).await.unwrap();
    let profile = btc_ingest::profile(folder.path(), report.now).unwrap();
    let open = profile.quarantine.iter().find(|one| one.series == "open");
    assert_eq!(
        open.unwrap().reason,
        "null",
        "what was set aside is counted"
    );
}

#[tokio::test]
async fn a_file_in_the_way_stops_a_pull_and_stays() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = service.pull(other.path()).await.unwrap();
    // A file where a folder has to be.
    fs::write(folder.path().join("processed"), "in the way").unwrap();
    let error = service.pull(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
    assert!(error.to_string().contains("processed"), "{error}");
    fs::remove_file(folder.path().join("processed")).unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    assert_eq!(report.data_hash, expected.data_hash);
    assert_eq!(contents(folder.path()), contents(other.path()));
}

#[tokio::test]
async fn a_chart_and_a_column_of_one_name_are_one_series() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("x.csv");
    fs::write(&file, "d,a\n2020-12-30,1\n2020-12-31,2\n").unwrap();
    let columns = ColumnMapping::new("d").with("a", "Hash_Rate");
    let source = FileSource::new("old", &file, columns).unwrap();
    let days = day("2009-01-01")..=day("2100-01-01");
    pull_source(&data, &source, days, noon(day("2021-03-20")))
        .await
        .unwrap();
    service.pull(&data).await.unwrap();
    let table = read_table(&data, Table::Blockchain, Revisions::Latest).unwrap();
    let named = |name: &str| {
        table
            .schema()
            .fields()
            .iter()
            .filter(|f| f.name() == name)
            .count()
    };
    assert_eq!(named("hash_rate"), 1);
    let mut names: Vec<String> = table
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "every column has a name of its own");
    let values = table
        .column_by_name("hash_rate")
        .unwrap()
        .as_primitive::<Float64Type>();
    assert_eq!(values.values()[..2], [1.0, 2.0]);

    // Two charts that would share a column, and one that would share it with a price.
    for charts in [&["n-tx", "n-tx", "hash-rate", "HASH-RATE"][..], &["close"]] {
        let mut config = service.config(&data);
        config.charts = charts.iter().map(|chart| (*chart).to_owned()).collect();
        let error = btc_ingest::pull(&config, &()).await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn days_and_times_that_cannot_be_stored_are_set_aside_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("x.csv");
    fs::write(&file, "d,a\n0001-01-01,1\n1500-01-01,2\n2012-01-01,3\n").unwrap();
    let source = || FileSource::new("old", &file, ColumnMapping::new("d").with("a", "a")).unwrap();
    let all = chrono::NaiveDate::MIN..=chrono::NaiveDate::MAX;
    let now = noon(day("2021-03-20"));
    let report = pull_source(&data, &source(), all.clone(), now)
        .await
        .unwrap();
    assert_eq!((report.series[0].rows, report.series[0].rejected), (1, 2));
    let mut names: Vec<_> = contents(&data).into_keys().collect();
    names.retain(|name| name.starts_with("raw"));
    assert_eq!(
        names,
        ["raw/old/2012.parquet", "raw/old/quarantine.parquet"]
    );
    // The next revision would have the time of this one.
    let late = noon(day("2300-01-01"));
    let error = pull_source(&data, &source(), all, late).await.unwrap_err();
    assert!(error.to_string().contains("2262"), "{error}");
}

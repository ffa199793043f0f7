//! What successive pulls ask for and keep.

use crate::service::{Service, World, day, noon};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, TimestampNanosecondType};
use btc_ingest::{
    AlphaVantage, ApiKey, BlockchainCharts, ChartFormat, DEFAULT_CHARTS, Error, HttpConfig,
    Progress, ProgressEvent, Revisions, SeriesStatus, Source, Table, Window, arrow,
    last_complete_day, pull, pull_sample, read_table,
};
use chrono::{DateTime, Days, NaiveDate};
use std::path::Path;
use std::sync::Mutex;

fn column(table: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    table
        .column_by_name(name)
        .unwrap()
        .as_primitive::<Float64Type>()
        .iter()
        .collect()
}

fn days(table: &RecordBatch) -> Vec<NaiveDate> {
    let days = table.column(0).as_primitive::<Date32Type>();
    (0..table.num_rows())
        .map(|row| days.value_as_date(row).unwrap())
        .collect()
}

fn instants(table: &RecordBatch, name: &str) -> Vec<i64> {
    let column = table.column_by_name(name).unwrap();
    column
        .as_primitive::<TimestampNanosecondType>()
        .values()
        .to_vec()
}

fn prices(folder: &Path, revisions: Revisions) -> RecordBatch {
    read_table(folder, Table::Ohlcv, revisions).unwrap()
}

#[tokio::test]
async fn the_first_pull_asks_once_for_everything_and_later_ones_for_what_is_new() {
    let service = Service::start(World::up_to("2021-03-19")).await;
    let folder = tempfile::tempdir().unwrap();
    service.pull(folder.path()).await.unwrap();
    let requests = service.requests().await;
    assert_eq!(requests.len(), 16);
    for chart in DEFAULT_CHARTS {
        let expected = format!("/charts/{chart}?timespan=all&format=json&sampled=false");
        assert!(requests.contains(&expected), "{requests:?}");
    }

    service.change(|world| world.today = day("2021-03-22"));
    let planned = btc_ingest::planned_requests(&service.config(folder.path())).unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    let requests = service.requests().await;
    assert_eq!(requests.len(), 16);
    // The last stored day is the 18th; seven days before it are looked at again.
    let window = "?timespan=12days&start=2021-03-11&format=json&sampled=false";
    assert!(
        requests.contains(&format!("/charts/hash-rate{window}")),
        "{requests:?}"
    );
    // The price of a day is stamped with the day after it.
    let window = "?timespan=12days&start=2021-03-12&format=json&sampled=false";
    assert!(
        requests.contains(&format!("/charts/market-price{window}")),
        "{requests:?}"
    );
    let paths = |url: &String| {
        url.split_once("//")
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .1
            .to_owned()
    };
    let mut planned: Vec<String> = planned.iter().map(|request| paths(&request.url)).collect();
    planned.sort();
    let asked: Vec<String> = requests
        .iter()
        .map(|request| request[1..].replace("S3CR3T%2BKEY", "REDACTED"))
        .collect();
    assert_eq!(planned, asked, "a dry run lists what a pull asks");

    assert!(
        report.series.iter().all(|series| series.new_rows == 3),
        "{report:?}"
    );
    assert_eq!(report.last_complete_day, Some(day("2021-03-21")));

    let again = service.pull(folder.path()).await.unwrap();
    assert_eq!(again.changes(), 0);
    assert_eq!(again.data_hash, report.data_hash);
    assert!(
        again
            .series
            .iter()
            .all(|series| series.status == SeriesStatus::Unchanged)
    );
}

#[tokio::test]
async fn many_small_pulls_store_what_one_large_one_does() {
    let service = Service::start(World::up_to("2021-01-20")).await;
    let [steps, whole] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for today in [
        "2021-01-20",
        "2021-01-21",
        "2021-02-10",
        "2021-02-11",
        "2021-04-01",
    ] {
        service.change(|world| world.today = day(today));
        service.pull(steps.path()).await.unwrap();
    }
    service.pull(whole.path()).await.unwrap();
    for table in [Table::Ohlcv, Table::Blockchain] {
        let [steps, whole] = [&steps, &whole].map(|folder| {
            let table = read_table(folder.path(), table, Revisions::All).unwrap();
            let created = table.schema().index_of("created_timestamp").unwrap();
            let others: Vec<usize> = (0..table.num_columns()).filter(|i| *i != created).collect();
            table.project(&others).unwrap()
        });
        assert_eq!(steps, whole);
    }
}

#[tokio::test]
async fn a_row_is_known_when_its_day_is_over_and_the_running_day_is_left_out() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    assert_eq!(
        last_complete_day(folder.path()).unwrap(),
        Some(day("2021-03-19"))
    );
    assert_eq!(report.series[0].running_days, 1);
    for table in [Table::Ohlcv, Table::Blockchain] {
        let table = read_table(folder.path(), table, Revisions::All).unwrap();
        for (date, known) in days(&table)
            .into_iter()
            .zip(instants(&table, "event_timestamp"))
        {
            let midnight = date
                .succ_opt()
                .unwrap()
                .and_hms_opt(0, 0, 0)
                .unwrap()
                .and_utc();
            assert_eq!(DateTime::from_timestamp_nanos(known), midnight);
            assert!(midnight <= report.now);
        }
    }
    // The price chart's last stamp is today: it is the close of yesterday.
    let charts = read_table(folder.path(), Table::Blockchain, Revisions::Latest).unwrap();
    let close = column(&prices(folder.path(), Revisions::Latest), "close");
    let price = column(&charts, "market_price");
    assert_eq!(price.last(), close.last());
    // The first stamp tells the close of the day before the first bar.
    assert_eq!(price[1..], close[..]);
}

#[tokio::test]
async fn the_running_day_comes_when_asked_for() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = service.config(folder.path());
    config.include_running_day = true;
    pull(&config, &()).await.unwrap();
    let table = prices(folder.path(), Revisions::Latest);
    assert_eq!(days(&table).last(), Some(&day("2021-03-20")));
    assert_eq!(
        last_complete_day(folder.path()).unwrap(),
        Some(day("2021-03-19"))
    );
}

#[tokio::test]
async fn without_a_key_the_price_chart_gives_the_close() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = service.config(folder.path());
    config.api_key = None;
    // The clock is years ahead of the service: its newest stamp tells which day is running.
    config.now = noon(day("2026-11-24"));
    let report = pull(&config, &()).await.unwrap();
    assert_eq!(report.today, day("2021-03-20"));
    assert_eq!(report.last_complete_day, Some(day("2021-03-19")));
    assert!(report.skipped[0].hint.contains("free key"), "{report:?}");
    let table = prices(folder.path(), Revisions::Latest);
    assert_eq!(
        table.column_by_name("open").unwrap().null_count(),
        table.num_rows()
    );
    let sources = table
        .column_by_name("price_source")
        .unwrap()
        .as_string::<i32>()
        .clone();
    assert!(
        sources
            .iter()
            .all(|source| source == Some("blockchain.com market-price"))
    );
    let charts = read_table(folder.path(), Table::Blockchain, Revisions::Latest).unwrap();
    assert_eq!(days(&charts).last(), Some(&day("2021-03-19")));

    // A key that comes later brings the other prices; they are revisions of the same days.
    config.api_key = ApiKey::new("k");
    config.now = noon(day("2026-11-25"));
    let report = pull(&config, &()).await.unwrap();
    let table = prices(folder.path(), Revisions::Latest);
    assert_eq!(report.last_complete_day, Some(day("2021-03-19")));
    assert_eq!(
        table.column_by_name("open").unwrap().null_count(),
        1,
        "the day before all bars"
    );
}

#[tokio::test]
async fn a_revision_is_a_new_row_and_the_old_table_can_be_read() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let first = service.pull(folder.path()).await.unwrap();
    let before = prices(folder.path(), Revisions::Latest);
    let charts_before = read_table(folder.path(), Table::Blockchain, Revisions::Latest).unwrap();

    service.change(|world| {
        world.today = day("2021-03-21");
        world
            .revised
            .insert(("close".to_owned(), day("2021-03-17")), 12_345.0);
        world
            .revised
            .insert(("hash-rate".to_owned(), day("2021-03-17")), 777.0);
        // Too long ago to be looked at again.
        world
            .revised
            .insert(("difficulty".to_owned(), day("2021-02-01")), 555.0);
    });
    let second = service.pull(folder.path()).await.unwrap();
    let changed = |name: &str| {
        second
            .series
            .iter()
            .find(|series| series.series == name)
            .unwrap()
            .changed_rows
    };
    assert_eq!(changed("hash-rate"), 1);
    assert_eq!(changed("market-price"), 1);
    assert_eq!(changed("difficulty"), 0);

    let all = prices(folder.path(), Revisions::All);
    let of_day: Vec<_> = days(&all)
        .into_iter()
        .zip(column(&all, "close"))
        .zip(instants(&all, "created_timestamp"))
        .filter(|((date, _), _)| *date == day("2021-03-17"))
        .map(|((_, close), created)| (close.unwrap(), DateTime::from_timestamp_nanos(created)))
        .collect();
    assert_eq!(of_day.len(), 2);
    assert_eq!(of_day[0].1, first.now);
    assert_eq!(of_day[1], (12_345.0, second.now));

    let as_of = Revisions::AsOf(first.now);
    assert_eq!(prices(folder.path(), as_of), before);
    assert_eq!(
        read_table(folder.path(), Table::Blockchain, as_of).unwrap(),
        charts_before
    );

    let mut config = service.config(folder.path());
    config.refresh = true;
    let third = pull(&config, &()).await.unwrap();
    let difficulty = third
        .series
        .iter()
        .find(|s| s.series == "difficulty")
        .unwrap();
    assert_eq!(difficulty.changed_rows, 1);
}

#[tokio::test]
async fn the_old_format_gives_the_same_table_and_names_the_dead_column() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let [new, old] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let report = service.pull(new.path()).await.unwrap();
    service.change(|world| world.old_format = true);
    let old_report = service.pull(old.path()).await.unwrap();
    assert_eq!(report.data_hash, old_report.data_hash);
    assert_eq!(old_report.warnings.len(), 1);
    assert!(
        old_report.warnings[0].contains("market capitalisation"),
        "{old_report:?}"
    );
}

#[tokio::test]
async fn a_source_works_alone() {
    let service = Service::start(World::up_to("2022-06-01")).await;
    let http = crate::service::fast();
    let charts = BlockchainCharts::new(&service.url(), &["hash-rate".into()], &http).unwrap();
    let days = day("2021-02-01")..=day("2022-05-30");
    let window = |days| Window::of(days, noon(day("2022-06-01")));
    let fetched = charts.fetch(&window(days.clone())).await.unwrap();
    let batch = fetched.into_batch().unwrap();
    assert_eq!(batch.schema(), charts.schema());
    assert_eq!(batch.num_rows(), 484);
    assert_eq!(
        service.requests().await.len(),
        2,
        "a range of more than a year is split"
    );
    let csv = BlockchainCharts::new(&service.url(), &["hash-rate".into()], &http).unwrap();
    let csv = csv.with_format(ChartFormat::Csv);
    assert_eq!(
        csv.fetch(&window(days.clone()))
            .await
            .unwrap()
            .into_batch()
            .unwrap(),
        batch,
        "CSV holds the same values"
    );
    let whole = charts
        .fetch(&window(day("2009-01-03")..=day("2022-05-30")))
        .await
        .unwrap()
        .into_batch()
        .unwrap();
    assert_eq!(whole.slice(31, 484), batch, "the parts are the whole");

    let key = ApiKey::new("k").unwrap();
    let source = AlphaVantage::new(&service.url(), key, "USD", &http).unwrap();
    let fetched = source.fetch(&window(days)).await.unwrap();
    assert_eq!(fetched.running_day, Some(day("2022-06-01")));
    assert_eq!(fetched.into_batch().unwrap().num_rows(), 484);
}

#[tokio::test]
async fn progress_tells_of_every_series() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<ProgressEvent>>);
    impl Progress for Heard {
        fn event(&self, event: &ProgressEvent) {
            self.0.lock().unwrap().push(event.clone());
        }
    }
    let service = Service::start(World::up_to("2021-03-20")).await;
    service.change(|world| world.fault = "503x2");
    let folder = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    pull(&service.config(folder.path()), &heard).await.unwrap();
    let heard = heard.0.into_inner().unwrap();
    let count = |wanted: fn(&ProgressEvent) -> bool| heard.iter().filter(|e| wanted(e)).count();
    assert_eq!(
        count(|event| matches!(event, ProgressEvent::Started { .. })),
        16
    );
    assert_eq!(
        count(|event| matches!(event, ProgressEvent::Finished { rows: 78.., .. })),
        16
    );
    assert_eq!(
        count(|event| matches!(event, ProgressEvent::Retrying { .. })),
        32
    );
}

#[tokio::test]
async fn data_of_another_kind_is_not_mixed_in() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let (last, now) = (day("2021-03-19"), noon(day("2021-03-20")));
    pull_sample(folder.path(), 0, last, 30, now).unwrap();
    let before = crate::service::contents(folder.path());
    let error = service.pull(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::OtherData { .. }), "{error:?}");
    assert!(!error.is_upstream());
    assert!(before == crate::service::contents(folder.path()));

    let folder = tempfile::tempdir().unwrap();
    service.pull(folder.path()).await.unwrap();
    assert!(pull_sample(folder.path(), 0, last, 30, now).is_err());
    let mut config = service.config(folder.path());
    config.market = "EUR".to_owned();
    assert!(matches!(
        pull(&config, &()).await,
        Err(Error::OtherData { .. })
    ));
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_before_any_request() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(World::up_to("2021-03-20")).await;
    let changes: [fn(&mut btc_ingest::PullConfig); 6] = [
        |config| config.charts = vec!["../etc".to_owned()],
        |config| config.blockchain_url = "ftp://host".to_owned(),
        |config| config.blockchain_url = "no address".to_owned(),
        |config| config.market = "usd".to_owned(),
        |config| config.http.proxy = Some("::".into()),
        |config| {
            config.market = "EUR".to_owned();
            config.api_key = None;
        },
    ];
    for change in changes {
        let mut config = service.config(folder.path());
        change(&mut config);
        let error = pull(&config, &()).await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(!error.is_upstream());
    }
    assert_eq!(service.requests().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_writer_at_a_time() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    service.change(|world| world.fault = "slow");
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = futures::join!(service.pull(folder.path()), service.pull(folder.path()));
    let locked = |result: &Result<_, Error>| matches!(result, Err(Error::Locked { .. }));
    assert!(first.is_ok() != second.is_ok());
    assert!(locked(&first) || locked(&second));
    service.pull(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_pull_through_a_proxy_reaches_the_service() {
    // A plain proxy gets the whole address in the request line; the mock does not mind.
    let service = Service::start(World::up_to("2021-03-20")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = service.config(folder.path());
    config.http = HttpConfig {
        proxy: Some(service.url().into()),
        ..crate::service::fast()
    };
    config.blockchain_url = "http://charts.invalid".to_owned();
    config.alpha_vantage_url = "http://prices.invalid".to_owned();
    let report = pull(&config, &()).await.unwrap();
    assert_eq!(
        report.last_complete_day,
        Some(day("2021-03-20") - Days::new(1))
    );
}

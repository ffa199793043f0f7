//! Every source takes one road: own ones, and the services that nobody pulls by default.

use crate::service::{Service, World, day, fast, noon};
use btc_ingest::arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch};
use btc_ingest::arrow::datatypes::{Float64Type, SchemaRef, TimestampNanosecondType};
use btc_ingest::{
    Answer, Binance, BlockchainCharts, COIN_METRICS_DEFAULT, CoinMetrics, DataFolder, Error,
    Fetched, Interval, Part, Progress, ProgressEvent, PullConfig, Revisions, SeriesStatus, Source,
    SourceError, Synthetic, Table, Window, async_trait, conformance, daily_schema, pull_sources,
};
use chrono::{DateTime, Days, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

fn config(folder: &Path, today: &str) -> PullConfig {
    let mut config = PullConfig::new(folder, noon(day(today)));
    config.http = fast();
    config
}

fn column(folder: &Path, table: Table, name: &str) -> Vec<Option<f64>> {
    let table = DataFolder::new(folder)
        .read(table, Revisions::Latest)
        .unwrap();
    let column = table.column_by_name(name).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

/// Daily values from a day on, with whatever else a source may say.
#[derive(Debug, Default)]
struct Own {
    values: Mutex<Vec<f64>>,
    asked: Mutex<Vec<NaiveDate>>,
    fails: bool,
    running_day: Option<NaiveDate>,
    extra_fails: bool,
}

#[derive(Debug)]
struct OwnError;

impl std::fmt::Display for OwnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the sensor is unplugged")
    }
}

impl std::error::Error for OwnError {}

fn own_values() -> Result<(), OwnError> {
    Err(OwnError)
}

#[async_trait]
impl Source for Own {
    fn name(&self) -> &str {
        "own"
    }

    fn schema(&self) -> SchemaRef {
        daily_schema(["fees", "extra"])
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        if self.fails {
            own_values()?;
        }
        self.asked
            .lock()
            .unwrap()
            .push(*window.days("fees").start());
        let values = self.values.lock().unwrap().clone();
        let first = (day("2021-03-01") - NaiveDate::default()).num_days() as i32;
        let days = (0..values.len() as i32).map(|index| first + index);
        let columns: Vec<ArrayRef> = vec![
            std::sync::Arc::new(Date32Array::from_iter_values(days)),
            std::sync::Arc::new(Float64Array::from(values)),
        ];
        let batch = RecordBatch::try_new(daily_schema(["fees"]), columns)?;
        let answer = Answer {
            url: "own://sensor".to_owned(),
            sha256: "00".to_owned(),
            bytes: 3,
        };
        let part = Part::new("fees", batch)
            .with_unit("BTC")
            .with_answer(answer);
        let mut fetched = Fetched::part(part);
        if self.extra_fails {
            fetched.parts.push(Part::failed("extra", OwnError));
        }
        fetched.notes.push("the sensor is old".to_owned());
        fetched.running_day = self.running_day;
        Ok(fetched)
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<ProgressEvent>>);

impl Progress for Heard {
    fn event(&self, event: &ProgressEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn an_own_source_gets_all_that_the_services_have() {
    let folder = tempfile::tempdir().unwrap();
    let source = Own {
        // The third is not fit for use, the fifth of a day that is not over, the sixth of none.
        values: Mutex::new(vec![1.0, 2.0, -3.0, 4.0, 5.0, 6.0]),
        extra_fails: true,
        ..Own::default()
    };
    let heard = Heard::default();
    let today = config(folder.path(), "2021-03-05");
    let report = pull_sources(&today, &[&source], &heard).await.unwrap();
    let fees = &report.series[0];
    assert_eq!((fees.new_rows, fees.rejected, fees.running_days), (3, 2, 1));
    assert_eq!(fees.missing_days, 1);
    let extra = &report.series[1];
    assert_eq!(extra.status, SeriesStatus::Failed);
    let told = report.warnings.join("\n");
    assert!(
        told.contains("own/extra is left out: source own failed: the sensor is unplugged"),
        "{told}"
    );
    assert!(told.contains("the sensor is old"), "{told}");
    let events = heard.0.lock().unwrap().clone();
    assert!(matches!(&events[0], ProgressEvent::Started { series } if series == "own"));
    assert!(matches!(
        &events[1],
        ProgressEvent::Finished { rows: 6, .. }
    ));
    assert_eq!(
        column(folder.path(), Table::Blockchain, "fees"),
        [1.0, 2.0, 4.0].map(Some)
    );
    let snapshot = DataFolder::new(folder.path()).snapshot().unwrap();
    assert_eq!(
        snapshot.manifest().series["own/fees"].unit.as_deref(),
        Some("BTC")
    );
    assert_eq!(snapshot.answers().unwrap()[0].url, "own://sensor");

    // The next pull asks for what is new and the last days; a revision is a row of its own.
    *source.values.lock().unwrap() = vec![1.0, 2.5, 3.0, 4.0, 5.0];
    let later = config(folder.path(), "2021-03-06");
    let report = pull_sources(&later, &[&source], &()).await.unwrap();
    assert_eq!(
        (report.series[0].new_rows, report.series[0].changed_rows),
        (2, 1)
    );
    assert_eq!(
        *source.asked.lock().unwrap(),
        [NaiveDate::MIN, day("2021-02-25")]
    );
    let all = DataFolder::new(folder.path())
        .read(Table::Blockchain, Revisions::All)
        .unwrap();
    assert_eq!(all.num_rows(), 6);

    let source = Own {
        fails: true,
        ..Own::default()
    };
    let error = pull_sources(&later, &[&source], &()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Source { name, .. } if name == "own"),
        "{error:?}"
    );
    assert_eq!(
        error.with_causes(),
        "source own failed: the sensor is unplugged"
    );
}

#[tokio::test]
async fn the_manifest_stays_small_however_many_answers_there_were() {
    let folder = tempfile::tempdir().unwrap();
    let source = Own::default();
    let mut sizes = Vec::new();
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    for pull in 1..=30 {
        *source.values.lock().unwrap() = vec![f64::from(pull); 3];
        let mut config = config(folder.path(), "2021-03-10");
        config.now += TimeDelta::minutes(pull.into());
        pull_sources(&config, &[&source], &()).await.unwrap();
        sizes.push(size("manifest.json"));
    }
    let answers = DataFolder::new(folder.path()).snapshot().unwrap().answers();
    assert_eq!(answers.unwrap().len(), 30);
    // Some digits more in its numbers; one record more would be as large.
    assert!(sizes[29] <= sizes[0] + 100, "{sizes:?}");
    assert!(size("raw/own/answers-2021.parquet") > 0);
}

#[tokio::test]
async fn the_first_source_that_tells_the_running_day_decides() {
    let folder = tempfile::tempdir().unwrap();
    let source = Own {
        values: Mutex::new(vec![1.0, 2.0, 3.0]),
        running_day: Some(day("2021-03-03")),
        ..Own::default()
    };
    let config = config(folder.path(), "2021-03-10");
    let report = pull_sources(&config, &[&source], &()).await.unwrap();
    assert_eq!(report.today, day("2021-03-03"));
    assert_eq!(
        (report.series[0].rows, report.series[0].running_days),
        (2, 1)
    );
}

#[tokio::test]
async fn names_of_sources_are_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "2021-03-10");
    let source = Own::default();
    let twice = pull_sources(&config, &[&source, &source], &())
        .await
        .unwrap_err();
    assert!(
        twice.to_string().contains("two sources are called \"own\""),
        "{twice}"
    );
    let made_up = Synthetic::new(0, day("2021-01-01"));
    let reserved = pull_sources(&config, &[&made_up], &()).await.unwrap_err();
    assert!(matches!(reserved, Error::Config { .. }), "{reserved:?}");
}

#[tokio::test]
async fn storing_leaves_the_runtime_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let source = Own {
        values: Mutex::new(vec![1.0; 20]),
        ..Own::default()
    };
    // On one thread: another task gets on only while this one waits.
    static TURNS: AtomicUsize = AtomicUsize::new(0);
    let other = tokio::spawn(async {
        loop {
            TURNS.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let before = TURNS.load(Ordering::SeqCst);
    let config = config(folder.path(), "2021-03-30");
    pull_sources(&config, &[&source], &()).await.unwrap();
    // The source itself never waits: opening and storing are what it was left for.
    assert!(TURNS.load(Ordering::SeqCst) >= before + 2);
    other.abort();
}

#[tokio::test]
async fn why_a_request_failed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let charts = BlockchainCharts::new(&url, &["hash-rate".to_owned()], &fast()).unwrap();
    let heard = Heard::default();
    let config = config(folder.path(), "2021-03-10");
    let error = pull_sources(&config, &[&charts], &heard).await.unwrap_err();
    assert!(
        error.with_causes().contains("refused"),
        "{}",
        error.with_causes()
    );
    let events = heard.0.lock().unwrap().clone();
    let whys = events.iter().filter_map(|event| match event {
        ProgressEvent::Retrying { why, .. } | ProgressEvent::Skipped { why, .. } => Some(why),
        _ => None,
    });
    let whys: Vec<_> = whys.collect();
    assert!(
        whys.len() > 1 && whys.iter().all(|why| why.contains("refused")),
        "{whys:?}"
    );
}

struct Answers<F>(F);

impl<F: Fn(&HashMap<String, String>) -> ResponseTemplate + Send + Sync> Respond for Answers<F> {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0(&request.url.query_pairs().into_owned().collect())
    }
}

async fn server(
    answer: impl Fn(&HashMap<String, String>) -> ResponseTemplate + Send + Sync + 'static,
) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(Answers(answer))
        .mount(&server)
        .await;
    server
}

/// Rows from 2021-01-01 on, in pages of 40, newest metrics late and one value broken.
fn coin_metrics(query: &HashMap<String, String>, today: NaiveDate) -> ResponseTemplate {
    if query["assets"] != "btc" {
        return ResponseTemplate::new(400)
            .set_body_json(json!({"error": {"type": "bad_parameter"}}));
    }
    let [start, end] = ["start_time", "end_time"].map(|name| day(&query[name]));
    let first = day("2021-01-01").max(start);
    let skip: usize = query
        .get("next_page_token")
        .map_or(0, |token| token.parse().unwrap());
    let all: Vec<NaiveDate> = first
        .iter_days()
        .take_while(|day| *day <= end && *day < today)
        .collect();
    let rows: Vec<Value> = all
        .iter()
        .skip(skip)
        .take(40)
        .map(|at| {
            let number = (*at - day("2021-01-01")).num_days() as f64;
            let mut row = json!({
                "asset": "btc",
                "time": format!("{at}T00:00:00.000000000Z"),
                "PriceUSD": format!("{}", 30_000.0 + number),
                "AdrActCnt": format!("{}", 900_000.0 + number),
                "TxCnt": if number == 3.0 { json!("n/a") } else { json!(format!("{number}")) },
            });
            if *at + Days::new(1) < today {
                row["FeeTotNtv"] = json!("50.5");
            }
            row
        })
        .collect();
    let mut page = json!({ "data": rows });
    if skip + 40 < all.len() {
        page["next_page_token"] = json!((skip + 40).to_string());
    }
    ResponseTemplate::new(200).set_body_json(page)
}

#[tokio::test]
async fn coin_metrics_comes_in_pages_and_by_the_end_of_its_days() {
    let server = server(|query| coin_metrics(query, day("2021-04-11"))).await;
    let folder = tempfile::tempdir().unwrap();
    let source = CoinMetrics::new(&server.uri(), "btc", COIN_METRICS_DEFAULT, &fast()).unwrap();
    let report = pull_sources(&config(folder.path(), "2021-04-11"), &[&source], &())
        .await
        .unwrap();
    let rows: Vec<_> = report
        .series
        .iter()
        .map(|s| (s.series.as_str(), s.rows, s.rejected))
        .collect();
    let expected = [
        ("close", 100, 0),
        ("active_addresses", 100, 0),
        ("transactions", 99, 1),
        ("fees_btc", 99, 0),
    ];
    assert_eq!(rows, expected);
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
    assert_eq!(
        column(folder.path(), Table::Ohlcv, "close")[0],
        Some(30_000.0)
    );
    // Known at the end of the day that it describes.
    let table = DataFolder::new(folder.path())
        .read(Table::Ohlcv, Revisions::Latest)
        .unwrap();
    let known = table
        .column(1)
        .as_primitive::<TimestampNanosecondType>()
        .value(0);
    assert_eq!(
        DateTime::from_timestamp_nanos(known).to_rfc3339(),
        "2021-01-02T00:00:00+00:00"
    );
    // Then what is new and the last days.
    pull_sources(&config(folder.path(), "2021-04-11"), &[&source], &())
        .await
        .unwrap();
    let last = server.received_requests().await.unwrap().pop().unwrap();
    assert!(
        last.url.query().unwrap().contains("start_time=2021-04-02"),
        "{}",
        last.url
    );

    let now = noon(day("2021-04-11"));
    conformance::check(&source, day("2021-01-01")..=day("2021-04-10"), now)
        .await
        .unwrap();
    let other = CoinMetrics::new(&server.uri(), "nothing", COIN_METRICS_DEFAULT, &fast()).unwrap();
    let error = pull_sources(&config(folder.path(), "2021-04-11"), &[&other], &())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 400, .. }),
        "{error:?}"
    );
    for (asset, metric) in [("", "PriceUSD"), ("btc", "a b"), ("btc/x", "PriceUSD")] {
        assert!(CoinMetrics::new("http://h", asset, [(metric, "close")], &fast()).is_err());
    }
    assert!(CoinMetrics::new("http://h", "btc", [("a", "x"), ("b", "X")], &fast()).is_err());
}

/// Candles that open from 2017-08-17 on, the newest of them running.
fn binance(query: &HashMap<String, String>, now: i64) -> ResponseTemplate {
    if query["symbol"] != "BTCUSDT" {
        return ResponseTemplate::new(400)
            .set_body_json(json!({"code": -1121, "msg": "Invalid symbol."}));
    }
    let number = |name: &str| -> i64 { query[name].parse().unwrap() };
    let length = match query["interval"].as_str() {
        "1d" => 86_400_000,
        _ => 3_600_000,
    };
    let opened = day("2017-08-17")
        .and_hms_opt(0, 0, 0)
        .unwrap()
        .and_utc()
        .timestamp_millis();
    let first = opened.max(number("startTime"));
    let first = first + (length - first.rem_euclid(length)) % length;
    let candles: Vec<Value> = (0..number("limit"))
        .map(|index| first + index * length)
        .take_while(|open| *open <= number("endTime") && *open < now)
        .map(|open| {
            let price = 4_000.0 + (open - opened) as f64 / length as f64;
            json!([
                open,
                format!("{price}"),
                format!("{}", price + 2.0),
                format!("{}", price - 2.0),
                format!("{}", price + 1.0),
                "12.5",
                open + length - 1,
                "1",
                5,
                "1",
                "1",
                "0"
            ])
        })
        .collect();
    ResponseTemplate::new(200).set_body_json(candles)
}

#[tokio::test]
async fn binance_gives_days_to_a_pull_and_hours_to_whoever_asks() {
    let now = noon(day("2021-03-10"));
    let millis = now.timestamp_millis();
    let server = server(move |query| binance(query, millis)).await;
    let folder = tempfile::tempdir().unwrap();
    let source = Binance::new(&server.uri(), "BTCUSDT", &fast()).unwrap();
    let config = config(folder.path(), "2021-03-10");
    let report = pull_sources(&config, &[&source], &()).await.unwrap();
    // The running candle told which day is not over.
    assert_eq!(report.today, day("2021-03-10"));
    assert_eq!(report.last_complete_day, Some(day("2021-03-09")));
    let days = (day("2021-03-10") - day("2017-08-17")).num_days() as usize;
    assert_eq!(
        (report.series[0].rows, report.series[0].missing_days),
        (days, 0)
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
    assert_eq!(
        column(folder.path(), Table::Ohlcv, "high")[0],
        Some(4_002.0)
    );
    conformance::check(&source, day("2020-01-01")..=day("2021-03-09"), now)
        .await
        .unwrap();

    let hours = source
        .candles(Interval::Hour, now - TimeDelta::hours(1500)..now, now, &())
        .await
        .unwrap();
    assert_eq!(hours.num_rows(), 1500);
    let known = hours.column(0).as_primitive::<TimestampNanosecondType>();
    let gap = known.value(1) - known.value(0);
    assert_eq!(
        (gap, known.value(1499)),
        (3_600_000_000_000, millis * 1_000_000)
    );
    assert_eq!(hours.column_by_name("close").unwrap().null_count(), 0);

    for symbol in ["", "btcusdt", "BTC/USDT", "A&B"] {
        assert!(
            Binance::new("http://h", symbol, &fast()).is_err(),
            "{symbol}"
        );
    }
    let other = Binance::new(&server.uri(), "ETHUSDT", &fast()).unwrap();
    let error = pull_sources(&config, &[&other], &()).await.unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 400, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_services_keep_what_sources_promise() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let charts = BlockchainCharts::new(&service.url(), &[], &fast()).unwrap();
    let days = day("2021-01-05")..=day("2021-03-19");
    let now = noon(day("2021-03-20"));
    conformance::check(&charts, days.clone(), now)
        .await
        .unwrap();
    let key = btc_ingest::ApiKey::new(crate::service::KEY).unwrap();
    let prices = btc_ingest::AlphaVantage::new(&service.url(), key, "USD", &fast()).unwrap();
    conformance::check(&prices, days.clone(), now)
        .await
        .unwrap();
    // And the suite finds what is wrong.
    let source = Own {
        values: Mutex::new(vec![1.0; 60]),
        ..Own::default()
    };
    let violation = conformance::check(&source, days, now).await.unwrap_err();
    assert!(
        violation.to_string().contains("which is not yet"),
        "{violation}"
    );
}

//! What happens when a service fails, and what is kept. `docs/data-faults.md` is this file as
//! a table.

use crate::service::{KEY, Service, World, contents, day, fast};
use btc_ingest::{
    ApiKey, Error, PullConfig, PullReport, Result, Revisions, SeriesStatus, Table, pull, read_table,
};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TODAY: &str = "2021-03-20";

struct Outcome {
    result: Result<PullReport>,
    folder: TempDir,
    /// The folder before the faulty pull.
    before: std::collections::BTreeMap<String, Vec<u8>>,
    /// What the faulty pull asked for.
    asked: Vec<String>,
    /// The fingerprint of a pull without the fault, at the same time.
    healthy: String,
}

/// Stores a good pull of the day before, then asks for everything again while the fault is on.
async fn refresh_during(fault: &'static str) -> Outcome {
    let service = Service::start(World::up_to("2021-03-19")).await;
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    service.pull(folder.path()).await.unwrap();
    service.pull(other.path()).await.unwrap();
    let before = contents(folder.path());
    service.change(|world| world.today = day(TODAY));
    let healthy = service.pull(other.path()).await.unwrap().data_hash;
    service.change(|world| world.fault = fault);
    let mut config = service.config(folder.path());
    config.refresh = true;
    if fault == "hang" {
        // Whatever the length, the service is silent for longer.
        config.http.idle_timeout = Duration::from_millis(300);
    }
    service.requests().await;
    let result = pull(&config, &()).await;
    let asked = service.requests().await;
    Outcome {
        asked,
        result,
        folder,
        before,
        healthy,
    }
}

#[track_caller]
fn assert_untouched(outcome: &Outcome) {
    assert!(
        outcome.before == contents(outcome.folder.path()),
        "the folder was changed"
    );
}

async fn check_survived(fault: &'static str) -> PullReport {
    let outcome = refresh_during(fault).await;
    let report = outcome.result.unwrap();
    assert_eq!(report.data_hash, outcome.healthy, "{fault}");
    assert!(btc_ingest::verify(outcome.folder.path()).unwrap().is_ok());
    report
}

async fn check_refused(fault: &'static str) -> Error {
    refusal_of(refresh_during(fault).await)
}

#[track_caller]
fn refusal_of(outcome: Outcome) -> Error {
    assert_untouched(&outcome);
    let error = outcome.result.unwrap_err();
    assert!(error.is_upstream(), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(KEY) && !text.contains("S3CR3T"), "{text}");
    error
}

#[tokio::test]
async fn passing_server_errors_are_ridden_out() {
    for fault in ["429x2", "500x2", "503x2"] {
        let report = check_survived(fault).await;
        assert_eq!(report.warnings, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_burst_limit_is_waited_out() {
    let start = Instant::now();
    check_survived("av-burst").await;
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "two waits of a second"
    );
}

#[tokio::test]
async fn the_daily_limit_stops_with_the_time_to_come_back() {
    let error = check_refused("av-daily-limit").await;
    assert!(
        matches!(
            error,
            Error::RateLimited {
                retry_after: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("REDACTED"), "{error}");
    assert!(error.to_string().ends_with("try again in 24 h"), "{error}");
}

#[tokio::test]
async fn a_bad_key_is_an_error_and_no_silent_change_of_source() {
    let error = check_refused("av-bad-key").await;
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_in_place_of_data_is_refused() {
    let error = check_refused("garbage").await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("<!DOCTYPE html>"), "{error}");
}

#[tokio::test]
async fn a_page_that_echoes_the_key_does_not_give_it_away() {
    let error = check_refused("echo").await;
    assert!(
        error.to_string().contains("<html>REDACTED is not here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wait_beyond_all_time_is_told_and_not_waited_for() {
    let error = check_refused("patience").await;
    assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    assert!(error.to_string().contains("try again in"), "{error}");
}

#[tokio::test]
async fn a_service_that_hangs_is_left_after_two_silences() {
    let outcome = refresh_during("hang").await;
    let asked = outcome.asked.clone();
    let error = refusal_of(outcome);
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    let mut times = std::collections::BTreeMap::<&String, usize>::new();
    for what in &asked {
        *times.entry(what).or_default() += 1;
    }
    assert!(times.values().all(|times| *times <= 2), "{times:?}");
}

#[tokio::test]
async fn a_slow_service_is_given_its_time() {
    check_survived("slow").await;
}

#[tokio::test]
async fn a_service_without_any_chart_has_failed() {
    let error = check_refused("notfound").await;
    // Alpha Vantage is asked as well, and its failure is the first one.
    assert!(
        matches!(error, Error::Status { status: 404, .. }),
        "{error:?}"
    );
    let service = Service::start(World::up_to(TODAY)).await;
    service.change(|world| world.fault = "notfound");
    let folder = tempfile::tempdir().unwrap();
    let mut config = service.config(folder.path());
    config.api_key = None;
    let error = pull(&config, &()).await.unwrap_err();
    assert!(matches!(error, Error::NoData { .. }), "{error:?}");
    assert!(error.is_upstream());
}

#[tokio::test]
async fn empty_answers_are_a_failure_and_no_data() {
    let error = check_refused("empty").await;
    assert!(matches!(error, Error::NoData { .. }), "{error:?}");
}

#[tokio::test]
async fn thinned_data_is_refused() {
    let error = check_refused("sampled").await;
    assert!(
        matches!(error, Error::Sampled { step_days: 3, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_few_thinned_days_are_refused_as_well() {
    let service = Service::start(World::up_to("2021-03-19")).await;
    let folder = tempfile::tempdir().unwrap();
    service.pull(folder.path()).await.unwrap();
    let before = contents(folder.path());
    service.change(|world| {
        world.today = day(TODAY);
        world.fault = "sampled";
    });
    let error = service.pull(folder.path()).await.unwrap_err();
    assert!(
        matches!(error, Error::Sampled { step_days: 3, .. }),
        "{error:?}"
    );
    assert!(before == contents(folder.path()));
}

#[tokio::test]
async fn duplicates_and_disorder_change_nothing_and_are_counted() {
    let report = check_survived("dup").await;
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!(chart.averaged_days, 8, "the days that end with 5");
    let report = check_survived("unordered").await;
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!(chart.unordered_points, 1);
}

#[tokio::test]
async fn numbers_in_strings_are_numbers() {
    check_survived("strings").await;
}

#[tokio::test]
async fn gaps_stay_gaps_and_are_counted() {
    let service = Service::start(World::up_to(TODAY)).await;
    service.change(|world| world.fault = "gap");
    let folder = tempfile::tempdir().unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!(
        (chart.rows, chart.missing_days),
        (72, 6),
        "the 11th and 12th of three months"
    );
    let prices = read_table(folder.path(), Table::Ohlcv, Revisions::Latest).unwrap();
    assert_eq!(prices.num_rows(), 72, "nothing is filled in");
    let status = btc_ingest::status(folder.path(), report.now).unwrap();
    let chart = status
        .series
        .iter()
        .find(|series| series.series == "hash_rate")
        .unwrap();
    assert_eq!(chart.gaps.len(), 3);
    assert_eq!(chart.gaps[0].first, day("2021-01-11"));
    // What a gap hides is not lost from what is stored.
    check_survived("gap").await;
}

#[tokio::test]
async fn nulls_are_set_aside_and_the_days_before_stay() {
    let report = check_survived("nulls").await;
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!(chart.rejected, 8, "the days that end with 7");
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("null 120")),
        "{report:?}"
    );
}

#[tokio::test]
async fn days_to_come_are_set_aside() {
    let report = check_survived("future").await;
    let prices = &report.series[0];
    assert_eq!(prices.rejected, 3);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("future")),
        "{report:?}"
    );
}

#[tokio::test]
async fn what_was_set_aside_can_be_read_and_is_kept_once() {
    let service = Service::start(World::up_to(TODAY)).await;
    service.change(|world| world.fault = "nulls");
    let folder = tempfile::tempdir().unwrap();
    let mut config = service.config(folder.path());
    config.refresh = true;
    for _ in 0..2 {
        pull(&config, &()).await.unwrap();
        let file = folder.path().join("raw/blockchain/quarantine.parquet");
        assert_eq!(btc_ingest::read_parquet(&file).unwrap().num_rows(), 8 * 15);
    }
    service.change(|world| world.fault = "");
    pull(&config, &()).await.unwrap();
    let status = btc_ingest::status(folder.path(), config.now).unwrap();
    assert_eq!(status.quarantined, 8 * 16);
    assert!(btc_ingest::verify(folder.path()).unwrap().is_ok());
}

#[tokio::test]
async fn one_missing_chart_is_named_and_its_column_is_empty() {
    let service = Service::start(World::up_to(TODAY)).await;
    service.change(|world| world.unknown.push("hash-rate".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let report = service.pull(folder.path()).await.unwrap();
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!(chart.status, SeriesStatus::Missing);
    assert_eq!(report.warnings.len(), 1);
    assert!(
        report.warnings[0].contains("hash-rate"),
        "{:?}",
        report.warnings
    );
    let table = read_table(folder.path(), Table::Blockchain, Revisions::Latest).unwrap();
    let column = table.column_by_name("hash_rate").unwrap();
    assert_eq!(column.null_count(), table.num_rows());
}

#[tokio::test]
async fn one_broken_chart_keeps_what_is_stored_of_it() {
    let service = Service::start(World::up_to("2021-03-19")).await;
    let folder = tempfile::tempdir().unwrap();
    service.pull(folder.path()).await.unwrap();
    service.change(|world| {
        world.today = day(TODAY);
        world.broken.push("hash-rate".to_owned());
    });
    let report = service.pull(folder.path()).await.unwrap();
    let chart = report
        .series
        .iter()
        .find(|series| series.series == "hash-rate")
        .unwrap();
    assert_eq!((chart.status, chart.rows), (SeriesStatus::Failed, 77));
    let other = report
        .series
        .iter()
        .find(|series| series.series == "difficulty")
        .unwrap();
    assert_eq!((other.status, other.rows), (SeriesStatus::Updated, 78));
}

/// Answers every request with the same bytes, then with `filler` up to `length`, and closes.
async fn raw_server(head: String, filler: u8, length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let head = head.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(head.as_bytes()).await;
                let block = vec![filler; 64 << 10];
                let mut left = length;
                while left > 0 {
                    let part = left.min(block.len());
                    if socket.write_all(&block[..part]).await.is_err() {
                        return;
                    }
                    left -= part;
                }
                let _ = socket.shutdown().await;
            });
        }
    });
    format!("http://{address}")
}

async fn pull_charts(url: &str, data_dir: &Path) -> Result<PullReport> {
    let mut config = PullConfig::new(data_dir, crate::service::noon(day(TODAY)));
    config.blockchain_url = url.to_owned();
    config.http = fast();
    config.http.max_retries = 1;
    pull(&config, &()).await
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure_of_the_connection() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n\
                {\"status\":\"ok\",\"values\":[";
    let url = raw_server(head.to_owned(), b' ', 100).await;
    let folder = tempfile::tempdir().unwrap();
    let error = pull_charts(&url, folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(contents(folder.path()).is_empty());
}

#[tokio::test]
async fn a_huge_body_is_refused_by_its_announced_length() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{", 300 << 20);
    let url = raw_server(head, b' ', 300 << 20).await;
    let folder = tempfile::tempdir().unwrap();
    let error = pull_charts(&url, folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert!(error.is_upstream());
}

#[tokio::test]
async fn a_huge_body_without_a_length_is_refused_when_it_has_grown_too_large() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{".to_owned();
    let url = raw_server(head, b' ', 30 << 20).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = PullConfig::new(folder.path(), crate::service::noon(day(TODAY)));
    config.blockchain_url = url;
    config.charts = vec!["market-price".to_owned()];
    config.http = fast();
    config.http.max_body_bytes = 8 << 20;
    let error = pull(&config, &()).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit, .. } if limit == 8 << 20),
        "{error:?}"
    );
}

#[tokio::test]
async fn no_server_is_a_failure_of_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let error = pull_charts(btc_testing::NO_SERVER, folder.path())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn the_key_shows_up_nowhere() {
    let service = Service::start(World::up_to(TODAY)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = service.config(folder.path());
    let report = pull(&config, &()).await.unwrap();
    let planned = btc_ingest::planned_requests(&config).unwrap();
    let requests = service.requests().await;
    assert!(
        requests
            .iter()
            .any(|request| request.contains("apikey=S3CR3T%2BKEY"))
    );
    let mut texts = vec![format!("{config:?} {report:?} {planned:?}").into_bytes()];
    texts.extend(contents(folder.path()).into_values());
    let key = b"S3CR3T";
    for text in texts {
        assert!(!text.windows(key.len()).any(|part| part == key));
    }
    // A proxy or a server in between that reports the whole address does not give it away.
    let key = ApiKey::new(KEY).unwrap();
    assert_eq!(
        key.redact("GET /query?apikey=S3CR3T%2BKEY"),
        "GET /query?apikey=REDACTED"
    );
}

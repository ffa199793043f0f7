//! Both services on loopback, with the shapes and the faults of the real ones.

use btc_ingest::{ApiKey, DEFAULT_CHARTS, HttpConfig, PullConfig, PullReport, Result, pull};
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub(crate) const KEY: &str = "S3CR3T+KEY";

pub(crate) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(crate) fn noon(day: NaiveDate) -> DateTime<Utc> {
    day.and_hms_opt(12, 0, 0).unwrap().and_utc()
}

/// What the services know and how they misbehave.
#[derive(Debug)]
pub(crate) struct World {
    /// The first day of every series.
    pub(crate) first: NaiveDate,
    /// The running day: the newest one served.
    pub(crate) today: NaiveDate,
    /// Values that are not what the formula says: chart or `close`, and stamp.
    pub(crate) revised: BTreeMap<(String, NaiveDate), f64>,
    /// Charts that the service does not have.
    pub(crate) unknown: Vec<String>,
    /// Charts that answer with HTTP status 500.
    pub(crate) broken: Vec<String>,
    pub(crate) fault: &'static str,
    pub(crate) old_format: bool,
}

impl World {
    pub(crate) fn up_to(today: &str) -> Self {
        let today = day(today);
        Self {
            first: day("2021-01-01"),
            today,
            revised: BTreeMap::new(),
            unknown: Vec::new(),
            broken: Vec::new(),
            fault: "",
            old_format: false,
        }
    }

    fn days(&self) -> Vec<NaiveDate> {
        self.first
            .iter_days()
            .take_while(|day| *day <= self.today)
            .collect()
    }

    fn index(&self, day: NaiveDate) -> f64 {
        (day - self.first).num_days() as f64
    }

    pub(crate) fn close(&self, day: NaiveDate) -> f64 {
        let index = self.index(day);
        let close = (20_000.0 + 10.0 * index + 100.0 * (index * 0.7).sin()).round();
        self.revised
            .get(&("close".to_owned(), day))
            .copied()
            .unwrap_or(close)
    }

    /// The value of a chart at its stamp.
    pub(crate) fn chart(&self, chart: &str, stamp: NaiveDate) -> f64 {
        if let Some(value) = self.revised.get(&(chart.to_owned(), stamp)) {
            return *value;
        }
        if chart == "market-price" {
            return self.close(stamp.pred_opt().unwrap());
        }
        let place = DEFAULT_CHARTS
            .iter()
            .position(|name| *name == chart)
            .unwrap() as f64;
        1000.0 * (place + 1.0) + self.index(stamp) * (place + 0.5)
    }

    fn faulty<T: Clone>(&self, rows: Vec<(NaiveDate, T)>) -> Vec<(NaiveDate, T)> {
        let ends = |row: &(NaiveDate, T), ends: &[&str]| {
            ends.iter().any(|end| row.0.to_string().ends_with(end))
        };
        match self.fault {
            "dup" => {
                let copies = |row: &(NaiveDate, T)| if ends(row, &["5"]) { 2 } else { 1 };
                rows.iter()
                    .flat_map(|row| vec![row.clone(); copies(row)])
                    .collect()
            }
            "gap" => rows
                .into_iter()
                .filter(|row| !ends(row, &["-11", "-12"]))
                .collect(),
            "unordered" => {
                let part = |rest| rows.iter().skip(rest).step_by(2).cloned();
                part(0).chain(part(1)).collect()
            }
            "empty" => Vec::new(),
            "future" => {
                let (last, value) = rows.last().unwrap().clone();
                let later = (1..4).map(|days| (last + Days::new(days), value.clone()));
                rows.into_iter().chain(later).collect()
            }
            _ => rows,
        }
    }

    fn prices(&self, query: &HashMap<String, String>) -> Value {
        let key = query.get("apikey").cloned().unwrap_or_default();
        let refusal = match self.fault {
            "av-bad-key" => Some(
                json!({"Error Message": "the parameter apikey is invalid or \
                missing. Please claim your free API key."}),
            ),
            "av-daily-limit" => Some(
                json!({"Information": format!("We have detected your API key \
                as {key} and our standard API rate limit is 25 requests per day.")}),
            ),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return refusal;
        }
        let mut series = serde_json::Map::new();
        let rows = self.days().into_iter().map(|day| (day, ())).collect();
        for (date, ()) in self.faulty(rows).into_iter().rev() {
            let close = self.close(date.min(self.today));
            let values = [
                close - 5.0,
                close + 50.0,
                close - 50.0,
                close,
                100.0 + self.index(date),
            ];
            let values = values.map(|value| match self.fault {
                "nulls" if date.to_string().ends_with('7') => Value::Null,
                _ => json!(format!("{value:.8}")),
            });
            let mut row = serde_json::Map::new();
            let names = ["1. open", "2. high", "3. low", "4. close", "5. volume"];
            for (name, value) in names.into_iter().zip(values) {
                if self.old_format && name != "5. volume" {
                    let (place, name) = name.split_once(". ").unwrap();
                    row.insert(format!("{place}a. {name} (USD)"), value.clone());
                    row.insert(format!("{place}b. {name} (USD)"), value);
                } else {
                    row.insert(name.to_owned(), value);
                }
            }
            if self.old_format {
                row.insert("6. market cap (USD)".to_owned(), row["5. volume"].clone());
            }
            series.insert(date.to_string(), row.into());
        }
        json!({
            "Meta Data": {
                "2. Digital Currency Code": "BTC",
                "4. Market Code": "USD",
                "6. Last Refreshed": format!("{} 00:00:00", self.today),
            },
            "Time Series (Digital Currency Daily)": series,
        })
    }

    fn points(&self, chart: &str, query: &HashMap<String, String>) -> Value {
        let span = query["timespan"]
            .strip_suffix("days")
            .map(|days| days.parse().unwrap());
        let first = query.get("start").map_or(self.first, |start| day(start));
        let last = span.map_or(NaiveDate::MAX, |span: u64| first + Days::new(span));
        let rows = self
            .days()
            .into_iter()
            .map(|stamp| (stamp, self.chart(chart, stamp)))
            .collect();
        let mut rows = self.faulty(rows);
        rows.retain(|(stamp, _)| (first..=last).contains(stamp));
        if self.fault == "sampled" || query["sampled"] != "false" {
            rows = rows.into_iter().step_by(3).collect();
        }
        let value = |(stamp, value): (NaiveDate, f64)| {
            let y = match self.fault {
                "nulls" if stamp.to_string().ends_with('7') => Value::Null,
                "strings" => json!(value.to_string()),
                _ => json!(value),
            };
            json!({"x": stamp.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp(), "y": y})
        };
        let values: Vec<Value> = rows.into_iter().map(value).collect();
        json!({"status": "ok", "name": chart, "unit": "u", "period": "day", "values": values})
    }
}

/// The services, their world, and what they were asked.
pub(crate) struct Service {
    server: MockServer,
    pub(crate) world: Arc<Mutex<World>>,
    reported: Mutex<usize>,
}

struct Answers {
    world: Arc<Mutex<World>>,
    seen: Mutex<HashMap<String, u32>>,
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let world = self.world.lock().unwrap();
        let path = request.url.path().to_owned();
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let mut seen = self.seen.lock().unwrap();
        let nth = seen.entry(format!("{} {path}", world.fault)).or_default();
        *nth += 1;
        let text = |text: &str| ResponseTemplate::new(200).set_body_string(text);
        match world.fault {
            "429x2" | "500x2" | "503x2" if *nth <= 2 => {
                let status: u16 = world.fault[..3].parse().unwrap();
                return ResponseTemplate::new(status).insert_header("Retry-After", "0");
            }
            "notfound" => return ResponseTemplate::new(404).set_body_string("Not Found"),
            "garbage" => return text("<!DOCTYPE html><html><body>Just a moment...</body></html>"),
            "echo" => {
                let key = query.get("apikey").cloned().unwrap_or_default();
                return text(&format!("<html>{key} is not here</html>"));
            }
            "patience" => {
                return ResponseTemplate::new(429).insert_header("Retry-After", u64::MAX);
            }
            "hang" => return text("{}").set_delay(Duration::from_secs(3600)),
            "av-burst" if path == "/query" && *nth <= 2 => {
                return ResponseTemplate::new(200).set_body_json(json!({
                    "Information": "Please consider spreading out your free API requests more \
                    sparingly (1 request per second). (25 requests per day)"}));
            }
            _ => {}
        }
        let body = match path.strip_prefix("/charts/") {
            Some(chart) if world.unknown.iter().any(|unknown| unknown == chart) => {
                return ResponseTemplate::new(404);
            }
            Some(chart) if world.broken.iter().any(|broken| broken == chart) => {
                return ResponseTemplate::new(500);
            }
            Some(chart) if query["format"] == "csv" => {
                let body = world.points(chart, &query);
                let line = |point: &Value| {
                    let stamp = DateTime::from_timestamp(point["x"].as_i64().unwrap(), 0).unwrap();
                    format!("{},{}\n", stamp.format("%Y-%m-%d %H:%M:%S"), point["y"])
                };
                let lines: String = body["values"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(line)
                    .collect();
                return text(&lines);
            }
            Some(chart) => world.points(chart, &query),
            None => world.prices(&query),
        };
        let response = ResponseTemplate::new(200).set_body_json(body);
        match world.fault {
            "slow" => response.set_delay(Duration::from_millis(120)),
            _ => response,
        }
    }
}

impl Service {
    pub(crate) async fn start(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let server = MockServer::start().await;
        let answers = Answers {
            world: world.clone(),
            seen: Mutex::default(),
        };
        Mock::given(any())
            .respond_with(answers)
            .mount(&server)
            .await;
        Self {
            server,
            world,
            reported: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// Puts the world in another state.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    /// A pull at noon of the world's running day.
    pub(crate) fn config(&self, data_dir: &Path) -> PullConfig {
        let today = self.world.lock().unwrap().today;
        let mut config = PullConfig::new(data_dir, noon(today));
        config.blockchain_url = self.url();
        config.alpha_vantage_url = self.url();
        config.api_key = ApiKey::new(KEY);
        config.http = fast();
        config
    }

    pub(crate) async fn pull(&self, data_dir: &Path) -> Result<PullReport> {
        pull(&self.config(data_dir), &()).await
    }

    /// The paths and queries of all requests since the last call.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let mut reported = self.reported.lock().unwrap();
        let show = |request: &Request| {
            format!(
                "{}?{}",
                request.url.path(),
                request.url.query().unwrap_or_default()
            )
        };
        let mut list: Vec<String> = requests[*reported..].iter().map(show).collect();
        *reported = requests.len();
        list.sort();
        list
    }
}

/// Short waits between attempts, and limits that only a hang meets, however busy the machine is.
pub(crate) fn fast() -> HttpConfig {
    HttpConfig {
        first_backoff: Duration::from_millis(5),
        connect_timeout: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(300),
        total_timeout: Duration::from_secs(600),
        ..HttpConfig::default()
    }
}

/// Every file below a folder with its contents, the lock apart.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    // All of the state that counts: what lies beside it depends on what came before.
    let current = folder.join("current");
    let folder = if current.exists() { &current } else { folder };
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != ".lock" {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

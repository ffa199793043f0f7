//! A source of one's own: an index out of a text, with an error type of its own.
//!
//! `cargo run -p btc-ingest --example own_source`

use btc_ingest::arrow::datatypes::SchemaRef;
use btc_ingest::chrono::{DateTime, NaiveDate, Utc};
use btc_ingest::{
    ColumnMapping, DataFolder, Fetched, PullConfig, Revisions, Source, SourceError, Table, Window,
    async_trait, conformance, daily_schema, pull_sources,
};

/// Where the answer of a service would be.
const ANSWER: &str = "day,index\n2024-01-01,65\n2024-01-02,71\n2024-01-03,68\n";

#[derive(Debug)]
struct FearAndGreed;

/// Any error type will do.
#[derive(Debug)]
struct Closed(NaiveDate);

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the service was closed on {}", self.0)
    }
}

impl std::error::Error for Closed {}

fn get(last: NaiveDate) -> Result<&'static str, Closed> {
    match last < NaiveDate::from_ymd_opt(2018, 2, 1).unwrap_or_default() {
        true => Err(Closed(last)),
        false => Ok(ANSWER),
    }
}

#[async_trait]
impl Source for FearAndGreed {
    fn name(&self) -> &str {
        "fear-and-greed"
    }

    fn schema(&self) -> SchemaRef {
        daily_schema(["fear_and_greed"])
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let answer = get(window.last_day())?;
        let columns = ColumnMapping::new("day").with("index", "fear_and_greed");
        Ok(columns.read_csv(answer.as_bytes())?.into())
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now: DateTime<Utc> = "2024-01-04T06:00:00Z".parse()?;
    let days = "2024-01-01".parse()?..="2024-01-03".parse()?;
    let folder = std::env::temp_dir().join(format!("own-source-{}", std::process::id()));
    let config = PullConfig::new(&folder, now);
    let report = pull_sources(&config, &[&FearAndGreed], &()).await?;
    println!("{} new days", report.changes());
    let table = DataFolder::new(&folder).read(Table::Blockchain, Revisions::Latest)?;
    println!("{} rows are stored", table.num_rows());
    std::fs::remove_dir_all(folder)?;

    println!("{:?}", conformance::check(&FearAndGreed, days, now).await);
    let error = FearAndGreed
        .fetch(&Window::of(
            "2017-01-01".parse()?..="2017-01-02".parse()?,
            "2017-01-03T00:00:00Z".parse()?,
        ))
        .await;
    println!(
        "{}",
        error
            .err()
            .map_or_else(String::new, |error| error.to_string())
    );
    Ok(())
}

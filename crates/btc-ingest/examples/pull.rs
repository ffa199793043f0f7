//! Pulls market data to a folder and prints what came.
//!
//! `cargo run -p btc-ingest --example pull -- DATA_DIR [BLOCKCHAIN_URL [ALPHA_VANTAGE_URL KEY_FILE [NOW]]]`
//!
//! Without arguments it stays off the network.

use btc_ingest::{ApiKey, Progress, ProgressEvent, PullConfig, pull};
use std::process::ExitCode;

struct Lines;

impl Progress for Lines {
    #[expect(clippy::print_stderr, reason = "an example shows what it does")]
    fn event(&self, event: &ProgressEvent) {
        eprintln!("{event:?}");
    }
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows what it does"
)]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let upstream = error
                .downcast_ref::<btc_ingest::Error>()
                .is_some_and(|e| e.is_upstream());
            eprintln!("error: {error}");
            ExitCode::from(if upstream { 4 } else { 1 })
        }
    }
}

async fn run(args: Vec<String>) -> Result<String, Box<dyn std::error::Error>> {
    let Some(data_dir) = args.first() else {
        return Ok("give a folder to pull data to".to_owned());
    };
    let mut config = PullConfig::new(data_dir, chrono::Utc::now());
    if let Some(url) = args.get(1) {
        config.blockchain_url.clone_from(url);
    }
    if let (Some(url), Some(key_file)) = (args.get(2), args.get(3)) {
        config.alpha_vantage_url.clone_from(url);
        config.api_key = ApiKey::new(std::fs::read_to_string(key_file)?);
    }
    if let Some(now) = args.get(4) {
        config.now = now.parse()?;
    }
    let report = pull(&config, &Lines).await?;
    Ok(serde_json::to_string_pretty(&report)?)
}

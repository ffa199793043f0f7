//! A workflow of one's own, of hourly electricity load: `workflow.rs` is all it takes.
//!
//! `cargo run -p btc-examples --example electricity`

mod workflow;

use std::error::Error;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let prediction = workflow::forecast(folder.path()).await?;
    for step in &prediction.steps {
        let quantile = |level| step.quantiles.get(level).unwrap_or(f64::NAN);
        println!(
            "in {:2} hours {:6.2}, from {:6.2} to {:6.2}",
            step.ahead,
            step.point,
            quantile(0.1),
            quantile(0.9)
        );
    }
    Ok(())
}

//! Copies runs and models between folders and MLflow servers.
//!
//! ```text
//! cargo run -p btc-track --features rest --example copy -- FOLDER http://127.0.0.1:5000
//! ```

use std::path::Path;

use btc_track::{CopySelection, RestConfig, TrackingClient, copy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let places: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = places.as_slice() else {
        return Err("usage: copy FROM TO".into());
    };
    let copied = copy(&open(from)?, &open(to)?, &CopySelection::default())?;
    let text = format!(
        "{} runs, {} of them known; {} files; {} versions; skipped: {:?}\n",
        copied.runs.len(),
        copied.known_runs,
        copied.files,
        copied.versions.len(),
        copied.skipped_versions,
    );
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(())
}

fn open(place: &str) -> btc_track::Result<TrackingClient> {
    if place.starts_with("http") {
        return TrackingClient::rest(place, &RestConfig::default());
    }
    let folder = Path::new(place);
    TrackingClient::open(&folder.join("track.db"), &folder.join("artifacts"))
}

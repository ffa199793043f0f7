//! The features that come with the workflow.

use std::path::Path;
use std::time::Duration;

use btc_features::{
    Definitions, FeatureService, FeatureStore, FeatureView, Field, FileSource, StoreConfig,
    ValueType,
};
use btc_ingest::{DEFAULT_CHARTS, DataFolder, Table};

use crate::{Error, Project, Result};

/// The service whose features the networks are fitted on.
pub const SERVICE: &str = "daily_bitcoin_v1";
/// The view of daily prices.
pub const OHLCV_VIEW: &str = "ohlcv";
/// The view of on-chain metrics.
pub const BLOCKCHAIN_VIEW: &str = "blockchain";

/// How long a daily value stands in for a missing later one.
const TTL: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The name of a feature store that is not there yet.
const FEATURE_PROJECT: &str = "btc";
/// The file that makes a folder a feature store.
const SETTINGS_FILE: &str = "feature_store.toml";
/// The file the built-in definitions are written to.
const BUILTIN_FILE: &str = "daily_bitcoin.toml";

/// The built-in definitions: two views over the processed tables, and the
/// service `daily_bitcoin_v1` over both.
///
/// ```
/// let definitions = btc_pipeline::builtin_definitions();
/// let blockchain = definitions.feature_view(btc_pipeline::BLOCKCHAIN_VIEW).unwrap();
/// assert_eq!(blockchain.features.len(), 15);
/// ```
pub fn builtin_definitions() -> Definitions {
    definitions_over(&DEFAULT_CHARTS.map(|chart| chart.replace('-', "_")))
}

/// The built-in definitions over the data that are there: the view of
/// on-chain metrics has the columns of its table, and is left out where there
/// is no such table. Without data they are [`builtin_definitions`].
///
/// # Errors
///
/// [`Error::Ingest`] if the data cannot be read.
pub fn definitions_of(data_dir: &Path) -> Result<Definitions> {
    let folder = DataFolder::new(data_dir);
    let snapshot = match folder.snapshot() {
        Ok(snapshot) => snapshot,
        Err(btc_ingest::Error::NotPulled { .. }) => return Ok(builtin_definitions()),
        Err(error) => return Err(error.into()),
    };
    let manifest = snapshot.manifest();
    let table = format!("{}/", Table::Blockchain.folder());
    if !manifest.tables.keys().any(|name| name.starts_with(&table)) {
        return Ok(definitions_over(&[]));
    }
    let name = |chart: &str| chart.to_lowercase().replace('-', "_");
    let there: Vec<String> = manifest.charts.iter().map(|chart| name(chart)).collect();
    // In the usual order, whatever the order in which they came.
    let usual = DEFAULT_CHARTS.map(name);
    let mut charts: Vec<String> = usual
        .iter()
        .filter(|chart| there.contains(chart))
        .cloned()
        .collect();
    charts.extend(there.into_iter().filter(|chart| !usual.contains(chart)));
    Ok(definitions_over(&charts))
}

/// Views over prices and, if there are any, charts, with the service over them.
fn definitions_over(charts: &[String]) -> Definitions {
    let source = |name: &str| {
        FileSource::new(name, format!("../data/processed/{name}"), "event_timestamp")
            .with_created_timestamp_column("created_timestamp")
    };
    let view = |name: &str, description: &str, features: &[String]| {
        FeatureView::new(name, name)
            .with_features(
                features
                    .iter()
                    .map(|feature| Field::new(feature, ValueType::Float64)),
            )
            .with_ttl(TTL)
            .with_description(description)
    };
    let prices = ["open", "high", "low", "close", "volume"].map(str::to_owned);
    let ohlcv = view(
        OHLCV_VIEW,
        "Daily price and volume, known when the day has closed",
        &prices,
    );
    let mut definitions = Definitions::new()
        .with_source(source(OHLCV_VIEW))
        .with_feature_view(ohlcv);
    let mut views = vec![OHLCV_VIEW];
    if !charts.is_empty() {
        let blockchain = view(
            BLOCKCHAIN_VIEW,
            "Daily on-chain metrics, known when the day has closed",
            charts,
        );
        views.push(BLOCKCHAIN_VIEW);
        definitions = definitions
            .with_source(source(BLOCKCHAIN_VIEW))
            .with_feature_view(blockchain);
    }
    let service = FeatureService::new(SERVICE, views)
        .with_description("What a daily price model is fitted on");
    definitions.with_feature_service(service)
}

/// What the file of the built-in definitions begins with, before the hash of
/// the rest: as long as that is right, nobody has changed it.
const MARK: &str = "# Follows the data as long as nobody changes it; SHA-256 ";

/// Definitions as the file that is written for them.
fn marked(definitions: &Definitions) -> String {
    let text = definitions.to_toml();
    format!("{MARK}{}\n{text}", btc_files::sha256(text.as_bytes()))
}

/// Whether a file of definitions is as it was written.
fn is_untouched(text: &str) -> bool {
    let Some((first, rest)) = text.split_once('\n') else {
        return false;
    };
    match first.strip_prefix(MARK) {
        Some(hash) => hash.trim_end() == btc_files::sha256(rest.as_bytes()),
        // As it was written before it followed the data.
        None => text == builtin_definitions().to_toml(),
    }
}

/// Reads the project's definitions, writing the built-in ones first where
/// there are none.
///
/// The built-in ones are those of [`definitions_of`]; they are written anew
/// when the data change, unless somebody has changed their file.
///
/// # Errors
///
/// [`Error::Io`] if they cannot be written, [`Error::Features`] if they
/// cannot be read, [`Error::Ingest`] if the data cannot be.
pub fn definitions(project: &Project) -> Result<Definitions> {
    let folder = project.features_dir();
    let file = folder.join(BUILTIN_FILE);
    if !folder.join(SETTINGS_FILE).exists() {
        let io = |source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(io)?;
        // The settings come last: a folder without them is begun again.
        let builtin = definitions_of(&project.data_dir())?;
        write_atomic(&file, marked(&builtin).as_bytes())?;
        StoreConfig::new(FEATURE_PROJECT).write(&folder)?;
    } else if let Ok(text) = std::fs::read_to_string(&file)
        && is_untouched(&text)
    {
        let now = definitions_of(&project.data_dir())?;
        if !text.ends_with(&now.to_toml()) {
            write_atomic(&file, marked(&now).as_bytes())?;
        }
    }
    Ok(Definitions::from_dir(&folder)?)
}

/// Opens the project's feature store with everything declared applied to it.
///
/// # Errors
///
/// As [`definitions`], and [`Error::Features`] if a definition does not fit
/// its source.
pub fn feature_store(project: &Project) -> Result<FeatureStore> {
    let definitions = definitions(project)?;
    let mut store = FeatureStore::open(project.features_dir())?;
    store.apply(&definitions)?;
    Ok(store)
}

/// What the project's files declare; the built-in features where there are none. Nothing is
/// written.
///
/// # Errors
///
/// [`Error::Features`] if the files cannot be read, [`Error::Ingest`] if the data cannot be.
pub fn declared(project: &Project) -> Result<Definitions> {
    let folder = project.features_dir();
    Ok(match folder.join(SETTINGS_FILE).exists() {
        true => Definitions::from_dir(&folder)?,
        false => definitions_of(&project.data_dir())?,
    })
}

/// The project's feature store as it would be with `definitions` applied, to read from. Nothing is
/// written; a folder that is not there counts as an empty one.
///
/// # Errors
///
/// [`Error::Features`] if a definition does not fit its source.
pub fn preview_store(project: &Project, definitions: &Definitions) -> Result<FeatureStore> {
    let folder = project.features_dir();
    Ok(FeatureStore::preview(
        &folder,
        FEATURE_PROJECT,
        definitions,
    )?)
}

fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    btc_files::replace(path, content).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_untouched_until_somebody_changes_it() {
        let text = marked(&definitions_over(&["hash_rate".to_owned()]));
        assert!(is_untouched(&text));
        assert!(!is_untouched(&text.replace("hash_rate", "difficulty")));
        assert!(is_untouched(&builtin_definitions().to_toml()));
        assert!(!is_untouched("[[source]]\n"));
        assert!(!is_untouched(""));
    }

    #[test]
    fn prices_alone_are_a_service_of_one_view() {
        let definitions = definitions_over(&[]);
        assert!(definitions.feature_view(BLOCKCHAIN_VIEW).is_err());
        assert!(definitions.feature_view(OHLCV_VIEW).is_ok());
    }
}

//! The features that come with the workflow.

use std::path::Path;
use std::time::Duration;

use btc_features::{
    Definitions, FeatureService, FeatureStore, FeatureView, Field, FileSource, StoreConfig,
    ValueType,
};
use btc_ingest::DEFAULT_CHARTS;

use crate::{Error, Project, Result};

/// The service whose features the networks are fitted on.
pub const SERVICE: &str = "daily_bitcoin_v1";
/// The view of daily prices.
pub const OHLCV_VIEW: &str = "ohlcv";
/// The view of on-chain metrics.
pub const BLOCKCHAIN_VIEW: &str = "blockchain";

/// How long a daily value stands in for a missing later one.
const TTL: Duration = Duration::from_secs(3 * 24 * 60 * 60);

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
    let charts = DEFAULT_CHARTS.map(|chart| chart.replace('-', "_"));
    let ohlcv = view(
        OHLCV_VIEW,
        "Daily price and volume, known when the day has closed",
        &prices,
    );
    let blockchain = view(
        BLOCKCHAIN_VIEW,
        "Daily on-chain metrics, known when the day has closed",
        &charts,
    );
    let service = FeatureService::new(SERVICE, [OHLCV_VIEW, BLOCKCHAIN_VIEW])
        .with_description("What a daily price model is fitted on");
    Definitions::new()
        .with_source(source(OHLCV_VIEW))
        .with_source(source(BLOCKCHAIN_VIEW))
        .with_feature_view(ohlcv)
        .with_feature_view(blockchain)
        .with_feature_service(service)
}

/// Reads the project's definitions, writing the built-in ones first where
/// there are none.
///
/// # Errors
///
/// [`Error::Io`] if they cannot be written, [`Error::Features`] if they
/// cannot be read.
pub fn definitions(project: &Project) -> Result<Definitions> {
    let folder = project.features_dir();
    if !folder.join("feature_store.toml").exists() {
        let io = |source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(io)?;
        // The settings come last: a folder without them is begun again.
        write_atomic(
            &folder.join(BUILTIN_FILE),
            builtin_definitions().to_toml().as_bytes(),
        )?;
        StoreConfig::new("btc").write(&folder)?;
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

fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    btc_files::replace(path, content).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

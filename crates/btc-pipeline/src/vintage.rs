//! The training table as it was known at an instant: with the revisions that had been fetched by
//! then, not with those that came later.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use btc_features::FeatureStore;
use btc_features::datafusion::datasource::MemTable;
use btc_ingest::{DataFolder, Revisions, Table};
use chrono::{DateTime, Utc};

use crate::table::{join_at, price_instants_of};
use crate::{BLOCKCHAIN_VIEW, Error, OHLCV_VIEW, Project, Result};

/// The tables that keep revisions, by the name of the source that reads them.
const TABLES: [(&str, Table); 2] = [
    (OHLCV_VIEW, Table::Ohlcv),
    (BLOCKCHAIN_VIEW, Table::Blockchain),
];

/// Joins the features of `service` as they were known at `at`, the close of a day: every row, the
/// earlier ones too, has the values that had been fetched by then. The last row is that of `at`.
///
/// Columns are those of [`training_table`](crate::training_table).
///
/// # Errors
///
/// [`Error::NoVintage`] if the day that closed at `at` had not been fetched by then,
/// [`Error::NoRevisions`] if a source of the service does not keep what it replaced, and as
/// [`training_table`](crate::training_table).
pub async fn vintage_table(
    project: &Project,
    mut store: FeatureStore,
    service: &str,
    at: DateTime<Utc>,
) -> Result<RecordBatch> {
    require_revisions(&store, service)?;
    let data_dir = project.data_dir();
    let mut instants = Vec::new();
    // Both tables of one state, whatever is pulled beside.
    let snapshot = DataFolder::new(&data_dir).snapshot()?;
    for (source, table) in TABLES {
        let rows = match snapshot.read(table, Revisions::AsOf(at)) {
            Err(btc_ingest::Error::NotPulled { .. }) if table != Table::Ohlcv => continue,
            rows => rows?,
        };
        if table == Table::Ohlcv {
            instants = price_instants_of(&rows)?;
        }
        let memory = MemTable::try_new(rows.schema(), vec![vec![rows]])
            .map_err(btc_features::Error::from)?;
        store = store.with_table(source, Arc::new(memory));
    }
    if instants.last().copied() != at.timestamp_nanos_opt() {
        return Err(no_vintage(&data_dir, at)?);
    }
    join_at(&store, service, instants).await
}

/// Refuses a service that reads a source of which only the newest state is kept: what it said then
/// cannot be told.
fn require_revisions(store: &FeatureStore, service: &str) -> Result<()> {
    let definitions = &store.registry().definitions;
    let Some(service) = definitions.feature_services.get(service) else {
        // The join says what there is.
        return Ok(());
    };
    for projection in &service.views {
        let Some(view) = definitions.feature_views.get(&projection.view) else {
            continue;
        };
        if !TABLES.iter().any(|(source, _)| *source == view.source) {
            return Err(Error::NoRevisions {
                source_name: view.source.clone(),
            });
        }
    }
    Ok(())
}

/// The error for an instant whose day had not been fetched by then, with what there is.
fn no_vintage(data_dir: &Path, at: DateTime<Utc>) -> Result<Error> {
    let all = btc_ingest::read_table(data_dir, Table::Ohlcv, Revisions::All)?;
    let created = all
        .column_by_name("created_timestamp")
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let instants = || created.into_iter().flatten().flatten();
    Ok(Error::NoVintage {
        at,
        first: instants().min().map(DateTime::from_timestamp_nanos),
        last: instants().max().map(DateTime::from_timestamp_nanos),
    })
}

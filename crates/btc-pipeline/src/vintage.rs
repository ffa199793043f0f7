//! The training table as it was known at an instant: with the revisions that had been fetched by
//! then, not with those that came later.

use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use btc_features::datafusion::datasource::MemTable;
use btc_features::{Definitions, FeatureStore};
use btc_ingest::{DataFolder, Revisions, Table};
use chrono::{DateTime, Utc};
use tokio::runtime::{Builder, Runtime};

use crate::definitions::{BLOCKCHAIN_VIEW, OHLCV_VIEW, preview_store};
use crate::project::Project;
use crate::table::{join_at, price_instants_of};
use crate::{Error, Result};

/// The tables that keep revisions, by the name of the source that reads them.
const TABLES: [(&str, Table); 2] = [
    (OHLCV_VIEW, Table::Ohlcv),
    (BLOCKCHAIN_VIEW, Table::Blockchain),
];

/// Joins the features of `service` as they were known at `at`, the close of a day: every row, the
/// earlier ones too, has the values that had been fetched by then. The last row is that of `at`.
///
/// Columns are those of [`training_table`](crate::training_table). For many instants
/// [`ServiceTables`](crate::ServiceTables) reads the revisions once.
///
/// # Errors
///
/// [`Error::NoVintage`] if the day that closed at `at` had not been fetched by then,
/// [`Error::NoRevisions`] if a source of the service does not keep what it replaced, and as
/// [`training_table`](crate::training_table).
pub async fn vintage_table(
    project: &Project,
    store: FeatureStore,
    service: &str,
    at: DateTime<Utc>,
) -> Result<RecordBatch> {
    require_revisions(&store, service)?;
    Fetched::read(project)?.join(store, service, at).await
}

/// Every row that was ever fetched, read once.
struct Fetched {
    /// By the name of the source.
    tables: Vec<(&'static str, RecordBatch)>,
}

impl Fetched {
    fn read(project: &Project) -> Result<Self> {
        let snapshot = DataFolder::new(project.data_dir()).snapshot()?;
        let mut tables = Vec::with_capacity(TABLES.len());
        for (source, table) in TABLES {
            match snapshot.read(table, Revisions::All) {
                // On-chain metrics may never have been fetched.
                Err(btc_ingest::Error::NotPulled { .. }) if table != Table::Ohlcv => {}
                rows => tables.push((source, rows?)),
            }
        }
        Ok(Self { tables })
    }

    async fn join(
        &self,
        mut store: FeatureStore,
        service: &str,
        at: DateTime<Utc>,
    ) -> Result<RecordBatch> {
        let mut instants = Vec::new();
        for (source, all) in &self.tables {
            let rows = btc_ingest::rows_as_of(all, at)?;
            if *source == OHLCV_VIEW {
                instants = price_instants_of(&rows)?;
            }
            let memory = MemTable::try_new(rows.schema(), vec![vec![rows]])
                .map_err(btc_features::Error::from)?;
            store = store.with_table(*source, Arc::new(memory));
        }
        if instants.last().copied() != at.timestamp_nanos_opt() {
            return Err(self.no_vintage(at));
        }
        join_at(&store, service, instants).await
    }

    /// The error for an instant whose day had not been fetched by then, with what there is.
    fn no_vintage(&self, at: DateTime<Utc>) -> Error {
        let prices = self.tables.iter().find(|(source, _)| *source == OHLCV_VIEW);
        let created = prices
            .and_then(|(_, all)| all.column_by_name("created_timestamp"))
            .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        let instants = || created.into_iter().flatten().flatten();
        Error::NoVintage {
            at,
            first: instants().min().map(DateTime::from_timestamp_nanos),
            last: instants().max().map(DateTime::from_timestamp_nanos),
        }
    }
}

/// The tables of a service as they were known in the past. The revisions are read once, and each
/// table is made of those that had been fetched by its instant.
pub(crate) struct Vintages {
    project: Project,
    definitions: Definitions,
    service: String,
    fetched: Arc<Fetched>,
}

impl Vintages {
    /// Reads what there is of the tables of `service`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRevisions`] if a source of the service does not keep what it replaced.
    pub(crate) fn read(project: &Project, definitions: Definitions, service: &str) -> Result<Self> {
        require_revisions(&preview_store(project, &definitions)?, service)?;
        Ok(Self {
            project: project.clone(),
            definitions,
            service: service.to_owned(),
            fetched: Arc::new(Fetched::read(project)?),
        })
    }

    /// The table as it was known at `at`. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// As [`vintage_table`].
    pub(crate) fn table(&self, at: DateTime<Utc>) -> Result<RecordBatch> {
        let store = preview_store(&self.project, &self.definitions)?;
        let (fetched, service) = (self.fetched.clone(), self.service.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        joins()?.spawn(async move {
            // Whoever asked may be gone.
            let _ = sender.send(fetched.join(store, &service, at).await);
        });
        let lost = |error| Error::Source(Box::new(error));
        receiver.recv().map_err(lost)?
    }
}

/// Where joins run that are waited for on any thread, one of another runtime included.
fn joins() -> Result<&'static Runtime> {
    static JOINS: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let runtime = JOINS.get_or_init(|| Builder::new_multi_thread().worker_threads(1).build());
    runtime.as_ref().map_err(|error| Error::Io {
        action: "start",
        path: "a thread for joins".into(),
        source: error.kind().into(),
    })
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

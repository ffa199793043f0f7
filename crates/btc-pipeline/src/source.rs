//! Where the tables of a workflow come from.

use std::fmt;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use btc_ingest::PullConfig;
use chrono::{DateTime, NaiveDate, Utc};

use crate::columns::{content_hash, rows_until};
use crate::definitions::{SERVICE, declared, preview_store};
use crate::observer::{Event, Observer};
use crate::project::Project;
use crate::sample::retrieve_sample;
use crate::table::training_table;
use crate::vintage::Vintages;
use crate::{Error, Result};

/// Where training tables come from.
///
/// A table has a column [`EVENT_TIMESTAMP`](crate::EVENT_TIMESTAMP) of strictly ascending instants
/// at which each row was known, and the columns of that row.
#[async_trait]
pub trait TableSource: fmt::Debug + Send + Sync {
    /// Brings the newest data in, as it is at `now`. Sources that have theirs do nothing.
    ///
    /// # Errors
    ///
    /// What keeps the data away.
    async fn retrieve(&self, now: DateTime<Utc>, observer: &dyn Observer) -> Result<()> {
        let _ = (now, observer);
        Ok(())
    }

    /// The table up to and with `last_day`, or as far as it goes.
    ///
    /// # Errors
    ///
    /// [`Error::DayNotThere`] if no row is as early as that, or what else keeps the table away.
    async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch>;

    /// What identifies the data that `table` was made from.
    ///
    /// # Errors
    ///
    /// What keeps the data from being read.
    fn data_hash(&self, table: &RecordBatch) -> Result<String> {
        Ok(content_hash(table))
    }

    /// What makes the table as it was known at an instant, for comparisons in which models see
    /// nothing that was revised later. The last row of such a table is that of the instant.
    ///
    /// # Errors
    ///
    /// [`Error::NoRevisions`] if the source does not keep what it replaced.
    fn past(&self) -> Result<PastTables> {
        Err(Error::NoRevisions {
            source_name: format!("{self:?}"),
        })
    }
}

/// Makes the table as it was known at an instant, from several threads at once.
pub type PastTables = Box<dyn Fn(DateTime<Utc>) -> Result<RecordBatch> + Send + Sync>;

/// How a project's market data is brought in.
#[derive(Debug, Clone, Default)]
pub enum Retrieval {
    /// What is saved is used.
    #[default]
    Saved,
    /// A synthetic market.
    Sample,
    /// The services that publish it are asked. The time of the pull is the workflow's.
    Pull(Box<PullConfig>),
}

/// The tables of a project's feature service, with the features that its files declare. Reading them
/// writes nothing.
#[derive(Debug, Clone)]
pub struct ServiceTables {
    project: Project,
    service: String,
    retrieval: Retrieval,
}

impl ServiceTables {
    /// The tables of [`SERVICE`], from saved data.
    pub fn new(project: Project) -> Self {
        Self {
            project,
            service: SERVICE.to_owned(),
            retrieval: Retrieval::Saved,
        }
    }

    /// Takes another service.
    #[must_use]
    pub fn with_service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }

    /// Says how data is brought in.
    #[must_use]
    pub fn with_retrieval(mut self, retrieval: Retrieval) -> Self {
        self.retrieval = retrieval;
        self
    }
}

#[async_trait]
impl TableSource for ServiceTables {
    async fn retrieve(&self, now: DateTime<Utc>, observer: &dyn Observer) -> Result<()> {
        match &self.retrieval {
            Retrieval::Saved => {}
            Retrieval::Sample => {
                retrieve_sample(&self.project)?;
            }
            Retrieval::Pull(config) => {
                self.project.create()?;
                let config = PullConfig {
                    now,
                    ..PullConfig::clone(config)
                };
                btc_ingest::pull(&config, &Heard(observer)).await?;
            }
        }
        Ok(())
    }

    async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
        let store = preview_store(&self.project, &declared(&self.project)?)?;
        training_table(&self.project, &store, &self.service, last_day).await
    }

    fn data_hash(&self, _: &RecordBatch) -> Result<String> {
        Ok(btc_ingest::data_hash(self.project.data_dir())?)
    }

    fn past(&self) -> Result<PastTables> {
        let definitions = declared(&self.project)?;
        let vintages = Vintages::read(&self.project, definitions, &self.service)?;
        Ok(Box::new(move |at| vintages.table(at)))
    }
}

/// Tells the workflow's observer what a pull has to say.
struct Heard<'a>(&'a dyn Observer);

impl btc_ingest::Progress for Heard<'_> {
    fn event(&self, event: &btc_ingest::ProgressEvent) {
        self.0.event(&Event::Retrieval(event));
    }
}

/// Tables made by a function.
pub struct TableFn<F>(F);

impl<F> TableFn<F>
where
    F: Fn() -> Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>> + Send + Sync,
{
    /// The tables that `make` returns, whole; they are cut to the day that is asked for.
    pub fn new(make: F) -> Self {
        Self(make)
    }
}

impl<F> fmt::Debug for TableFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableFn")
    }
}

#[async_trait]
impl<F> TableSource for TableFn<F>
where
    F: Fn() -> Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>> + Send + Sync,
{
    async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
        let table = (self.0)().map_err(Error::Source)?;
        rows_until(&table, last_day)
    }
}

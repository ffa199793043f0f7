//! The whole life of a model as one value: own tables, column, horizon, search space and stores.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
//! use btc_models::ModelType;
//! use btc_pipeline::{EVENT_TIMESTAMP, SearchSpace, TableFn, Workflow};
//! use btc_track::TrackingClient;
//! use btc_tune::InMemoryStorage;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Daily electricity load with a week in it.
//! let source = TableFn::new(|| {
//!     let times = TimestampSecondArray::from_iter_values((1..=300).map(|day| 86_400 * day));
//!     let load = (0..300).map(|day| 50.0 + f64::from(day % 7) + f64::from(day * 37 % 11) / 10.0);
//!     let columns: [(&str, ArrayRef); 2] = [
//!         (EVENT_TIMESTAMP, Arc::new(times)),
//!         ("load", Arc::new(Float64Array::from_iter_values(load))),
//!     ];
//!     Ok(RecordBatch::try_from_iter(columns)?)
//! });
//! let folder = tempfile::tempdir()?;
//! let client = TrackingClient::in_memory(folder.path())?;
//! let mut workflow = Workflow::new("load", source, client, Arc::new(InMemoryStorage::new()))
//!     .with_target_column("load");
//! workflow.search.space = Arc::new(SearchSpace {
//!     model_types: vec![ModelType::NLinear],
//!     timesteps: Some(10),
//! });
//! workflow.search.prediction_length = 20;
//! workflow.register.allow_worse_than_naive = true;
//! let runtime = tokio::runtime::Runtime::new()?;
//! let table = runtime.block_on(workflow.table(None))?;
//! let found = workflow.search(&table, &())?;
//! let registered = workflow.register(&table)?;
//! assert_eq!(registered.run_name, found.best_trial.to_string());
//! let prediction = workflow.predict(&table, None)?;
//! assert!(prediction.forecast > 0.0);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use btc_models::{Frequency, Model, backtest};
use btc_track::TrackingClient;
use btc_tune::Storage;
use chrono::{DateTime, NaiveDate, Utc};

use crate::columns::{content_hash, rows_until};
use crate::predict::load_bundle;
use crate::{
    CHAMPION, Error, Observer, PRICE, PredictConfig, Prediction, Project, RegisterConfig,
    Registration, Result, SERVICE, SearchConfig, SearchOutcome, StudyConfig, TrainingFrame,
    feature_store, frame_for, open_study, predict, register_best, retrieve_sample, search,
    training_table, with_frequency,
};

/// Where training tables come from.
///
/// A table has a column [`EVENT_TIMESTAMP`](crate::EVENT_TIMESTAMP) of strictly ascending instants
/// at which each row was known, and the columns of that row.
#[async_trait]
pub trait TableSource: fmt::Debug + Send + Sync {
    /// Brings the newest data in. Sources that have theirs do nothing.
    ///
    /// # Errors
    ///
    /// What keeps the data away.
    async fn retrieve(&self) -> Result<()> {
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
}

/// How a project's market data is brought in.
#[derive(Debug, Clone, Default)]
pub enum Retrieval {
    /// What is saved is used.
    #[default]
    Saved,
    /// A synthetic market.
    Sample,
    /// The services that publish it are asked.
    Pull(Box<btc_ingest::PullConfig>),
}

/// The tables of a project's feature service.
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
    async fn retrieve(&self) -> Result<()> {
        match &self.retrieval {
            Retrieval::Saved => {}
            Retrieval::Sample => {
                retrieve_sample(&self.project)?;
            }
            Retrieval::Pull(config) => {
                self.project.create()?;
                btc_ingest::pull(config, &()).await?;
            }
        }
        Ok(())
    }

    async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
        let store = feature_store(&self.project)?;
        training_table(&self.project, &store, &self.service, last_day).await
    }

    fn data_hash(&self, _: &RecordBatch) -> Result<String> {
        Ok(btc_ingest::data_hash(&self.project.data_dir())?)
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

/// The stages of a model's life over one source of tables and one pair of stores.
///
/// The settings of each stage are public; what the stages share, such as names, the column and the
/// data's hash, is filled in by the workflow.
#[derive(Debug, Clone)]
pub struct Workflow {
    name: String,
    source: Arc<dyn TableSource>,
    client: TrackingClient,
    storage: Arc<dyn Storage>,
    target_column: String,
    frequency: Option<Frequency>,
    /// How the study samples and prunes.
    pub study: StudyConfig,
    /// The search. Its hash of the data is that of the table.
    pub search: SearchConfig,
    /// The registration. Its experiment and hash are those of the workflow.
    pub register: RegisterConfig,
    /// Whether a forecast across holes is refused.
    pub refuse_holes: bool,
}

impl Workflow {
    /// A workflow whose study, experiment and model are called `name`, to forecast [`PRICE`].
    pub fn new(
        name: impl Into<String>,
        source: impl TableSource + 'static,
        client: TrackingClient,
        storage: Arc<dyn Storage>,
    ) -> Self {
        let name = name.into();
        Self {
            source: Arc::new(source),
            client,
            storage,
            target_column: PRICE.to_owned(),
            frequency: None,
            study: StudyConfig::default(),
            search: SearchConfig::default(),
            register: RegisterConfig {
                experiment: name.clone(),
                model_name: name.clone(),
                ..RegisterConfig::default()
            },
            refuse_holes: false,
            name,
        }
    }

    /// Forecasts another column.
    #[must_use]
    pub fn with_target_column(mut self, column: impl Into<String>) -> Self {
        self.target_column = column.into();
        self
    }

    /// Takes the rows to lie on the grid of `frequency`, whatever the tables say of themselves;
    /// a row that is not there is a hole. Tables that say nothing are otherwise taken to be of the
    /// commonest step between their rows (see [`with_frequency`](crate::with_frequency())).
    #[must_use]
    pub fn with_frequency(mut self, frequency: Frequency) -> Self {
        self.frequency = Some(frequency);
        self
    }

    /// The table with the frequency of the workflow, if it has one.
    fn of_frequency(&self, table: &RecordBatch) -> RecordBatch {
        match self.frequency {
            Some(frequency) => with_frequency(table.clone(), frequency),
            None => table.clone(),
        }
    }

    /// The stores of runs and models.
    pub fn client(&self) -> &TrackingClient {
        &self.client
    }

    /// Brings the newest data in.
    ///
    /// # Errors
    ///
    /// As [`TableSource::retrieve`].
    pub async fn retrieve(&self) -> Result<()> {
        self.source.retrieve().await
    }

    /// The training table up to and with `last_day`.
    ///
    /// # Errors
    ///
    /// As [`TableSource::table`].
    pub async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
        self.source.table(last_day).await
    }

    /// The numbers that networks are fitted on.
    ///
    /// # Errors
    ///
    /// As [`frame_for`].
    pub fn frame(&self, table: &RecordBatch) -> Result<TrainingFrame> {
        let SearchConfig {
            holdout,
            prediction_length,
            ..
        } = self.search;
        let unseen = holdout.saturating_add(prediction_length);
        frame_for(&self.of_frequency(table), &self.target_column, unseen)
    }

    /// Adds trials to the study, and names the best.
    ///
    /// # Errors
    ///
    /// As [`search`](crate::search()).
    pub fn search(&self, table: &RecordBatch, observer: &dyn Observer) -> Result<SearchOutcome> {
        let frame = self.frame(table)?;
        let experiment = self.client.get_or_create_experiment(&self.name)?;
        let study = open_study(self.storage.clone(), &self.name, &self.study)?;
        let config = SearchConfig {
            data_hash: self.source.data_hash(table)?,
            ..self.search.clone()
        };
        search(
            &study,
            &self.client,
            &experiment.experiment_id,
            &frame,
            &config,
            observer,
        )
    }

    /// Registers the best run, with the verdict of the hold-out.
    ///
    /// # Errors
    ///
    /// As [`register_best`].
    pub fn register(&self, table: &RecordBatch) -> Result<Registration> {
        let config = RegisterConfig {
            data_hash: self.source.data_hash(table)?,
            ..self.register.clone()
        };
        register_best(&self.client, &config, &self.of_frequency(table))
    }

    /// The forecast of a version, or of the latest.
    ///
    /// # Errors
    ///
    /// As [`predict`](crate::predict()).
    pub fn predict(&self, table: &RecordBatch, version: Option<u64>) -> Result<Prediction> {
        let config = PredictConfig {
            version,
            refuse_holes: self.refuse_holes,
            data_hash: self.source.data_hash(table)?,
            ..PredictConfig::new(&self.register.model_name)
        };
        predict(&self.client, &config, &self.of_frequency(table))
    }

    /// Compares models over the last rows of the table.
    ///
    /// # Errors
    ///
    /// As [`backtest::run`].
    pub fn backtest(
        &self,
        models: &[Box<dyn Model>],
        table: &RecordBatch,
        config: &backtest::Config,
        on_progress: &(dyn Fn(backtest::Progress<'_>) -> std::ops::ControlFlow<()> + Sync),
    ) -> Result<backtest::Report> {
        let table = self.of_frequency(table);
        let frame = frame_for(&table, &self.target_column, config.origins)?.series;
        Ok(backtest::run(models, &frame, config, on_progress)?)
    }

    /// The champion's network and training, to be fitted anew, with the days that chose it.
    ///
    /// # Errors
    ///
    /// The stores' own, and those of a bundle that is not sound.
    pub fn champion(&self) -> Result<Option<ChampionModel>> {
        champion_model(&self.client, &self.register.model_name)
    }
}

/// The configuration of a champion.
#[derive(Debug)]
pub struct ChampionModel {
    /// Its version.
    pub version: u64,
    /// Its network and training, fitted anew wherever it is compared: as it was registered, it has
    /// seen days that are forecast there.
    pub model: btc_models::NetworkModel,
    /// The ranges of target instants on which its configuration was chosen, its selection window
    /// and its hold-out: what it forecasts there proves nothing.
    pub chosen_on: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// The champion of a registered model, if there is one.
///
/// # Errors
///
/// The stores' own, and those of a bundle that is not sound.
pub fn champion_model(client: &TrackingClient, model_name: &str) -> Result<Option<ChampionModel>> {
    let version = match client.model_version_by_alias(model_name, CHAMPION) {
        Ok(version) => version,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let forecaster = load_bundle(client, &version)?;
    let instant = |key: &str| version.tag(key)?.parse::<DateTime<Utc>>().ok();
    let range = |part: &str| {
        let first = instant(&format!("{part}_first_target"))?;
        Some((first, instant(&format!("{part}_last_target"))?))
    };
    Ok(Some(ChampionModel {
        version: version.version,
        model: btc_models::NetworkModel::new(
            CHAMPION,
            forecaster.network().clone(),
            forecaster.train_config().clone(),
        ),
        chosen_on: ["selection", "holdout"]
            .into_iter()
            .filter_map(range)
            .collect(),
    }))
}

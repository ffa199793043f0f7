//! The whole life of a model as one value: own tables, column, frequency, horizon, search space,
//! device, clock and stores.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
//! use btc_models::ModelType;
//! use btc_pipeline::{EVENT_TIMESTAMP, SearchSpace, TableFn, Workflow};
//! use btc_track::TrackingClient;
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
//! let mut workflow = Workflow::new("load", source, client).with_target_column("load");
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
//! let prediction = workflow.predict(&table)?;
//! assert!(prediction.forecast > 0.0);
//! # Ok(())
//! # }
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_models::{Frequency, Model, backtest};
use btc_track::{Clock, TrackingClient};
use btc_tune::{InMemoryStorage, Storage};
use chrono::{DateTime, NaiveDate, Utc};

use crate::Result;
use crate::backtest::{BacktestConfig, OnProgress, PastData, PastFrames, compare};
use crate::champion::{ChampionModel, champion_model};
use crate::columns::{PRICE, with_frequency};
use crate::frame::{TrainingFrame, frame_for};
use crate::observer::Observer;
use crate::predict::{PredictConfig, Prediction, predict};
use crate::register::{RegisterConfig, register_best};
use crate::registration::Registration;
use crate::search::{SearchOutcome, search};
use crate::search_config::SearchConfig;
use crate::source::TableSource;
use crate::study::{StudyConfig, open_study};

/// The stages of a model's life over one source of tables and one pair of stores.
///
/// The settings of each stage are public. What the stages share, which is the names, the column, the
/// frequency, the horizon, the device and the data's hash, is the workflow's: it is filled in
/// whatever the settings of a stage say of it.
#[derive(Debug, Clone)]
pub struct Workflow {
    name: String,
    model_name: String,
    source: Arc<dyn TableSource>,
    client: TrackingClient,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    device: Device,
    target_column: Option<String>,
    frequency: Option<Frequency>,
    horizon: Option<NonZeroUsize>,
    /// How the study samples and prunes.
    pub study: StudyConfig,
    /// The search.
    pub search: SearchConfig,
    /// The registration.
    pub register: RegisterConfig,
    /// The forecast.
    pub predict: PredictConfig,
    /// The comparison over past rows.
    pub backtest: BacktestConfig,
}

impl Workflow {
    /// A workflow whose study, experiment and model are called `name`, to forecast the next
    /// [`PRICE`]. The study is in memory unless [`with_storage`](Self::with_storage) says where
    /// else.
    pub fn new(
        name: impl Into<String>,
        source: impl TableSource + 'static,
        client: TrackingClient,
    ) -> Self {
        let name = name.into();
        Self {
            source: Arc::new(source),
            clock: client.clock.clone(),
            client,
            storage: Arc::new(InMemoryStorage::new()),
            device: Device::Cpu,
            target_column: None,
            frequency: None,
            horizon: None,
            study: StudyConfig::default(),
            search: SearchConfig::default(),
            register: RegisterConfig::default(),
            predict: PredictConfig::new(&name),
            backtest: BacktestConfig::default(),
            model_name: name.clone(),
            name,
        }
    }

    /// Keeps the study there, so that it can be gone on with.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Gives the registered model another name than the experiment.
    #[must_use]
    pub fn with_model_name(mut self, name: impl Into<String>) -> Self {
        self.model_name = name.into();
        self
    }

    /// Forecasts another column. A model of any other is refused.
    #[must_use]
    pub fn with_target_column(mut self, column: impl Into<String>) -> Self {
        self.target_column = Some(column.into());
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

    /// Forecasts `horizon` rows ahead, instead of the next row. A model of any other horizon is
    /// refused.
    #[must_use]
    pub fn with_horizon(mut self, horizon: NonZeroUsize) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// Fits and applies networks there, in every stage.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Takes the time from another clock than the client's when data is brought in. Runs have
    /// their times from the client.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the workflow takes for now.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default()
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
    pub async fn retrieve(&self, observer: &dyn Observer) -> Result<()> {
        self.source.retrieve(self.now(), observer).await
    }

    /// The training table up to and with `last_day`.
    ///
    /// # Errors
    ///
    /// As [`TableSource::table`].
    pub async fn table(&self, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
        Ok(self.of_frequency(&self.source.table(last_day).await?))
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
        frame_for(&self.of_frequency(table), self.target_column(), unseen)
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
            device: self.device.clone(),
            horizon: self.horizon.unwrap_or(self.search.horizon),
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
            experiment: self.name.clone(),
            model_name: self.model_name.clone(),
            data_hash: self.source.data_hash(table)?,
            device: self.device.clone(),
            horizon: self.horizon,
            target_column: self.target_column.clone(),
            ..self.register.clone()
        };
        register_best(&self.client, &config, &self.of_frequency(table))
    }

    /// The forecast of the latest version, or of the one that is asked for.
    ///
    /// # Errors
    ///
    /// As [`predict`](crate::predict()).
    pub fn predict(&self, table: &RecordBatch) -> Result<Prediction> {
        let config = PredictConfig {
            model_name: self.model_name.clone(),
            data_hash: self.source.data_hash(table)?,
            device: self.device.clone(),
            horizon: self.horizon,
            target_column: self.target_column.clone(),
            ..self.predict.clone()
        };
        predict(&self.client, &config, &self.of_frequency(table))
    }

    /// Compares models over the last rows of the table, the champion beside them.
    ///
    /// Origins on which the champion's configuration was chosen are left out of every test. With
    /// [`PastData::AsKnown`] models see of each origin what was known then.
    ///
    /// # Errors
    ///
    /// As [`backtest::run`], the stores' own, and as [`TableSource::past`] where that is needed.
    pub fn backtest(
        &self,
        models: Vec<Box<dyn Model>>,
        table: &RecordBatch,
        on_progress: OnProgress<'_>,
    ) -> Result<backtest::Report> {
        let BacktestConfig { comparison, data } = &self.backtest;
        let frame_of = |table: &RecordBatch, unseen: usize| {
            let frame = frame_for(&self.of_frequency(table), self.target_column(), unseen)?;
            Ok::<_, crate::Error>(frame.series)
        };
        let frame = frame_of(table, comparison.origins)?;
        let past_frame = |table: &RecordBatch| frame_of(table, 0);
        let past = match data {
            PastData::Newest => None,
            PastData::AsKnown => Some(PastFrames {
                tables: self.source.past()?,
                frame: &past_frame,
            }),
        };
        let horizon = self.horizon.map_or(comparison.horizon, NonZeroUsize::get);
        let config = comparison
            .clone()
            .with_horizon(horizon)
            .with_device(self.device.clone());
        let champion = self.champion()?;
        compare(models, champion, &frame, past.as_ref(), config, on_progress)
    }

    /// The champion's network and training, to be fitted anew, with the days that chose it.
    ///
    /// # Errors
    ///
    /// The stores' own, and those of a bundle that is not sound.
    pub fn champion(&self) -> Result<Option<ChampionModel>> {
        champion_model(&self.client, &self.model_name)
    }

    /// The column that is forecast.
    pub fn target_column(&self) -> &str {
        self.target_column.as_deref().unwrap_or(PRICE)
    }

    /// The table with the frequency of the workflow, if it has one.
    fn of_frequency(&self, table: &RecordBatch) -> RecordBatch {
        match self.frequency {
            Some(frequency) => with_frequency(table.clone(), frequency),
            None => table.clone(),
        }
    }
}

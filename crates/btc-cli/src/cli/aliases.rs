//! The command names of the original project, with its flags and defaults.

use std::num::NonZeroUsize;

use clap::Subcommand;
use clap::builder::BoolishValueParser;

use crate::cli::command::Command;
use crate::cli::values::parse_day;
use crate::cli::{data, features, model, predict, tune};

/// The days that the original compares trials on.
const PREDICTION_LENGTH: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");

/// The original's commands. They are hidden from the help, which shows ours.
#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Old name of `btc data pull`
    #[command(name = "price-data-retrieve", hide = true)]
    PriceDataRetrieve {
        /// Whether to ask the services although something is saved
        #[arg(
            long,
            alias = "pull_data",
            value_name = "BOOL",
            value_parser = BoolishValueParser::new(),
            action = clap::ArgAction::Set,
            default_value = "false"
        )]
        pull_data: bool,
        #[command(flatten)]
        endpoints: data::Endpoints,
    },
    /// Old name of `btc features build`
    #[command(name = "price-training-data-create", hide = true)]
    PriceTrainingDataCreate,
    /// Old name of `btc tune run`
    #[command(name = "price-regression-optimize", hide = true)]
    PriceRegressionOptimize(tune::RunArgs),
    /// Old name of `btc model register-best`
    #[command(name = "register-best-model", hide = true)]
    RegisterBestModel {
        /// The registered model's name [default: bitcoin-regression]
        #[arg(long, alias = "model_name", value_name = "NAME")]
        model_name: Option<String>,
        /// The experiment, by id or name
        #[arg(long, alias = "experiment_id", value_name = "ID")]
        experiment_id: Option<String>,
    },
    /// Old name of `btc predict`
    #[command(name = "price-predict", hide = true)]
    PricePredict {
        /// The last day whose data may be used
        #[arg(long, alias = "date_end", value_name = "YYYY-MM-DD", value_parser = parse_day)]
        date_end: Option<chrono::NaiveDate>,
        /// The registered model's name [default: bitcoin-regression]
        #[arg(long, alias = "registered_model_name", value_name = "NAME")]
        registered_model_name: Option<String>,
        /// The model's timesteps; another number than the model's is an error
        #[arg(long, value_name = "N")]
        timesteps: Option<usize>,
    },
}

impl AliasCommand {
    /// The command of today that does the same.
    pub(crate) fn translate(self) -> Command {
        match self {
            Self::PriceDataRetrieve {
                pull_data,
                endpoints,
            } => Command::Data(data::DataCommand::Pull(data::PullArgs {
                endpoints,
                saved_first: !pull_data,
                ..Default::default()
            })),
            Self::PriceTrainingDataCreate => {
                Command::Features(features::FeaturesCommand::Build(Default::default()))
            }
            Self::PriceRegressionOptimize(mut args) => {
                args.prediction_length.get_or_insert(PREDICTION_LENGTH);
                Command::Tune(tune::TuneCommand::Run(args))
            }
            Self::RegisterBestModel {
                model_name,
                experiment_id,
            } => Command::Model(model::ModelCommand::RegisterBest(model::RegisterBestArgs {
                experiment: experiment_id,
                model_name,
                metric: btc_pipeline::METRIC.into(),
                maximize: false,
                allow_worse_than_naive: false,
                champion: false,
                forecast: Default::default(),
            })),
            Self::PricePredict {
                date_end,
                registered_model_name,
                timesteps,
            } => Command::Predict(predict::PredictArgs {
                date_end,
                model_name: registered_model_name,
                timesteps,
                ..Default::default()
            }),
        }
    }
}

//! `btc backtest`: models compared over rolling origins.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use btc_models::backtest::{self, Config, ModelScore, Report};
use btc_models::{
    Baseline, Hyperparameters, Model, ModelType, NetworkConfig, NetworkModel, TrainConfig,
};
use btc_track::TrackingClient;
use clap::Args;

use crate::commands::predict::MODEL_NAME;
use crate::commands::tune::stop_on_interrupt;
use crate::exit::UsageError;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::tracking_client;

/// How long to be silent about progress.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc backtest\n  btc backtest --models LSTM,CNN --seeds 3 --jobs 2 --html report.html"
)]
pub(crate) struct BacktestArgs {
    /// Networks to compare besides the baselines and the champion, such as LSTM,CNN; or `all`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Forecasts per model; the last one is of the last complete day
    #[arg(long, value_name = "N", default_value_t = 200)]
    origins: usize,
    /// Forecasts between two fits
    #[arg(long, value_name = "N", default_value_t = 20)]
    refit: usize,
    /// Days ahead
    #[arg(long, value_name = "DAYS", default_value_t = 1)]
    horizon: usize,
    /// Seeds per network
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: usize,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Fits at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// Epochs of the networks of --models
    #[arg(long, value_name = "N", default_value_t = 20)]
    epochs: usize,
    /// Also report every network shrunk towards the naive forecast
    #[arg(long)]
    combine: bool,
    /// The registered model whose champion is compared
    #[arg(long, value_name = "NAME", default_value = MODEL_NAME)]
    model_name: String,
    /// Where to note finished parts, and to go on from [default: backtest.jsonl in reports]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write the report with charts as one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) async fn run(
    args: BacktestArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let mut models = baselines();
    models.extend(networks(&args)?);
    let client = tracking_client(settings)?;
    models.extend(champion(&client, &args)?);
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, btc_pipeline::SERVICE, None)
            .await?;
    let frame = btc_pipeline::frame(&table, args.origins)?;

    let reports = settings.project.reports();
    std::fs::create_dir_all(&reports)?;
    let checkpoint = args
        .checkpoint
        .clone()
        .unwrap_or_else(|| reports.join("backtest.jsonl"));
    let mut config = Config::default()
        .with_origins(args.origins)
        .with_refit_every(args.refit)
        .with_horizon(args.horizon)
        .with_seeds(args.seed, args.seeds)
        .with_jobs(args.jobs)
        .with_checkpoint(checkpoint);
    if args.combine {
        config = config.with_combinations();
    }
    printer.note(format!(
        "backtest: {} models, {} origins, refit every {}, horizon {}, seed {}",
        models.len(),
        args.origins,
        args.refit,
        args.horizon,
        args.seed
    ));
    let stop = stop_on_interrupt();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        backtest::run(&models, &frame, &config, &|progress| {
            // If nobody listens any more, the command is being ended.
            let _ = sender.send((progress.model.to_owned(), progress.done, progress.total));
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    let mut told = Instant::now();
    while let Some((model, done, total)) = receiver.recv().await {
        if QUIET_INTERVAL <= told.elapsed() {
            printer.note(format!(
                "  {done} of {total} parts, the last one of {model}"
            ));
            told = Instant::now();
        }
    }
    let report = work.await??;
    if let Some(path) = &args.html {
        report.save_html(path)?;
        printer.note(format!("wrote {}", path.display()));
    }
    print(&report, printer)?;
    Ok(ExitCode::SUCCESS)
}

fn baselines() -> Vec<Box<dyn Model>> {
    Baseline::ALL
        .into_iter()
        .map(|baseline| Box::new(baseline) as Box<dyn Model>)
        .collect()
}

/// The networks of `--models`; baselines are compared anyway.
fn networks(args: &BacktestArgs) -> anyhow::Result<Vec<Box<dyn Model>>> {
    let hyperparameters = Hyperparameters::default().with_epochs(args.epochs);
    let mut models: Vec<Box<dyn Model>> = Vec::new();
    for name in &args.models {
        let types = match name.parse::<ModelType>() {
            Ok(model_type) => vec![model_type],
            Err(_) if name.eq_ignore_ascii_case("all") => ModelType::ALL.to_vec(),
            Err(_) if name.parse::<Baseline>().is_ok() => continue,
            Err(error) => return Err(UsageError(format!("--models: {error}")).into()),
        };
        for model_type in types {
            if models.iter().any(|model| model.name() == model_type.name()) {
                continue;
            }
            let network = NetworkConfig::new(model_type, &hyperparameters);
            let config = TrainConfig::new(&hyperparameters);
            models.push(Box::new(NetworkModel::new(
                model_type.name(),
                network,
                config,
            )));
        }
    }
    Ok(models)
}

/// The champion's network and training, fitted anew at each refit: as it was registered, it has
/// seen days that are forecast here.
fn champion(
    client: &TrackingClient,
    args: &BacktestArgs,
) -> anyhow::Result<Option<Box<dyn Model>>> {
    let version = match client.model_version_by_alias(&args.model_name, btc_pipeline::CHAMPION) {
        Ok(version) => version.version,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (_, forecaster) = btc_pipeline::load_version(client, &args.model_name, Some(version))?;
    let (network, config) = (
        forecaster.network().clone(),
        forecaster.train_config().clone(),
    );
    Ok(Some(Box::new(NetworkModel::new(
        btc_pipeline::CHAMPION,
        network,
        config,
    ))))
}

fn print(report: &Report, printer: &mut Printer) -> anyhow::Result<()> {
    for alarm in &report.alarms {
        printer.warn(alarm);
    }
    if report.too_small {
        printer.warn("too few forecasts to say which model is better; take 60 or more");
    }
    if printer.is_json() {
        return printer.json(report);
    }
    let day = "%Y-%m-%d %H:%M UTC";
    printer.line(format!(
        "{} forecasts of {}, known from {} to {}",
        report.origins,
        report.price,
        report.first_target.format(day),
        report.last_target.format(day)
    ))?;
    let header = [
        "model",
        "MAPE",
        "MAE",
        "RMSE",
        "relative",
        "R2",
        "direction",
        "p",
        "DM",
        "p",
        "p (Holm)",
        "held 90",
        "width",
        "Winkler",
    ];
    let rows: Vec<Vec<String>> = report.models.iter().map(row).collect();
    printer.table(&header, &rows)?;
    if !report.variance.is_empty() {
        printer.line("")?;
        let rows: Vec<Vec<String>> = report
            .variance
            .iter()
            .map(|score| vec![score.name.clone(), format!("{:.4}", score.qlike)])
            .collect();
        printer.table(&["variance", "QLIKE"], &rows)?;
    }
    Ok(())
}

fn row(model: &ModelScore) -> Vec<String> {
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let interval = model
        .intervals
        .iter()
        .find(|score| (score.level - 0.9).abs() < 1e-9);
    vec![
        model.name.clone(),
        format!("{:.4}", model.mape),
        format!("{:.2}", model.mae),
        format!("{:.2}", model.rmse),
        format!("{:.4}", model.relative_mae),
        format!("{:.4}", model.r2),
        optional(model.direction_accuracy.map(|share| 100.0 * share), 1),
        optional(model.direction_p, 3),
        optional(model.dm_absolute, 2),
        optional(model.dm_absolute_p, 3),
        optional(model.dm_absolute_p_holm, 3),
        optional(interval.map(|score| 100.0 * score.coverage), 1),
        optional(interval.map(|score| score.width), 2),
        optional(interval.map(|score| score.winkler), 2),
    ]
}

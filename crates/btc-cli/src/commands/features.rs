//! `btc features`: declare features and join them as of a time.

use std::process::ExitCode;

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use crate::args::parse_day;
use crate::printer::Printer;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// Show what apply would change
    #[command(after_help = "Examples:\n  btc features plan\n  btc features plan --json")]
    Plan,
    /// Bring the registry in line with the definitions
    #[command(after_help = "Examples:\n  btc features apply\n  btc --root demo features apply")]
    Apply,
    /// Join every complete day's features and save them as Parquet
    Build(BuildArgs),
}

#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:\n  btc features build\n  btc features build --date-end 2022-12-31 --output train.parquet")]
pub(crate) struct BuildArgs {
    /// The feature service to join
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The last day to join
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    date_end: Option<NaiveDate>,
    /// Where to write [default: data/training/SERVICE.parquet under the root]
    #[arg(long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
}

pub(crate) async fn run(
    command: FeaturesCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        FeaturesCommand::Plan => {
            let definitions = btc_pipeline::definitions(&settings.project)?;
            let store = btc_features::FeatureStore::open(&settings.project.features_dir())?;
            print_plan(&store.plan(&definitions)?, printer)?;
        }
        FeaturesCommand::Apply => {
            settings.project.create()?;
            let definitions = btc_pipeline::definitions(&settings.project)?;
            let mut store = btc_features::FeatureStore::open(&settings.project.features_dir())?;
            print_plan(&store.apply(&definitions)?, printer)?;
        }
        FeaturesCommand::Build(args) => build(args, settings, printer).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_plan(plan: &btc_features::Plan, printer: &mut Printer) -> anyhow::Result<()> {
    match printer.is_json() {
        true => printer.json(plan),
        false => printer.line(plan.to_string().trim_end()),
    }
}

async fn build(
    args: BuildArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let service = args.service.as_deref().unwrap_or(btc_pipeline::SERVICE);
    let output = args.output.unwrap_or_else(|| {
        settings.project.data_dir().join("training").join(format!("{service}.parquet"))
    });
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, service, args.date_end).await?;
    btc_ingest::write_parquet(&output, &table)?;
    if printer.is_json() {
        printer.json(&serde_json::json!({
            "rows": table.num_rows(),
            "columns": table.num_columns(),
            "output": output,
        }))
    } else {
        printer.line(format!(
            "{} rows of {} columns in {}",
            table.num_rows(),
            table.num_columns(),
            output.display()
        ))
    }
}

//! What is asked of the feature store.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use btc_features::{EntityRows, FeatureSelection, OnlineRequest, OnlineSelection, PushTo};
use chrono::{DateTime, NaiveDate, Utc};

use crate::cli::features::{
    BuildArgs, FeastArgs, HistoricalArgs, ImportArgs, OnlineArgs, PushArgs, PushPlace, StatsArgs,
};
use crate::errors::{NotFoundError, UsageError};
use crate::settings::resolve::Settings;

/// A Feast registry to be read.
#[derive(Debug)]
pub(crate) struct FeastImport {
    pub(crate) file: PathBuf,
    pub(crate) project: Option<String>,
    pub(crate) dry_run: bool,
}

impl FeastImport {
    /// The file of `--feast`, if there is one.
    pub(crate) fn of(args: FeastArgs, dry_run: bool) -> Option<Self> {
        Some(Self {
            file: args.feast?,
            project: args.project,
            dry_run,
        })
    }
}

impl From<ImportArgs> for FeastImport {
    fn from(args: ImportArgs) -> Self {
        Self {
            file: args.feast,
            project: args.project,
            dry_run: args.dry_run,
        }
    }
}

/// Rows to be pushed to a view.
#[derive(Debug)]
pub(crate) struct PushRequest {
    pub(crate) view: String,
    pub(crate) file: PathBuf,
    pub(crate) to: PushTo,
}

impl From<PushArgs> for PushRequest {
    fn from(args: PushArgs) -> Self {
        Self {
            view: args.view,
            file: args.file,
            to: match args.to {
                PushPlace::Online => PushTo::Online,
                PushPlace::Offline => PushTo::Offline,
                PushPlace::Both => PushTo::OnlineAndOffline,
            },
        }
    }
}

/// Features to be joined to entity rows.
#[derive(Debug)]
pub(crate) struct HistoricalRequest {
    pub(crate) entity_rows: EntityRows,
    pub(crate) selection: FeatureSelection,
    pub(crate) output: PathBuf,
    pub(crate) save: Option<String>,
    /// Bytes.
    pub(crate) memory_limit: Option<usize>,
    pub(crate) explain: bool,
}

impl HistoricalRequest {
    pub(crate) fn new(args: HistoricalArgs) -> anyhow::Result<Self> {
        let entity_rows = match (args.entities, args.end) {
            (Some(path), _) if !path.is_file() => {
                return Err(NotFoundError(format!("there is no file {}", path.display())).into());
            }
            (Some(path), _) => EntityRows::from(path),
            (None, Some(end)) => {
                EntityRows::between(args.start.unwrap_or(DateTime::<Utc>::UNIX_EPOCH), end)
            }
            (None, None) => return Err(UsageError("give --entities, or --end".into()).into()),
        };
        let selection = match args.wanted.service {
            Some(service) => FeatureSelection::service(service),
            None => FeatureSelection::features(args.wanted.features),
        };
        Ok(Self {
            entity_rows,
            selection: selection
                .with_full_feature_names(args.full_feature_names)
                .with_filter_by_created_timestamp(args.filter_by_created_timestamp),
            output: args.output,
            save: args.save,
            memory_limit: args.memory_limit.map(|mib| mib.saturating_mul(1 << 20)),
            explain: args.explain,
        })
    }
}

/// The newest values of features.
pub(crate) fn online(args: OnlineArgs) -> OnlineRequest {
    let selection = match args.wanted.service {
        Some(service) => OnlineSelection::Service(service),
        None => OnlineSelection::Features(args.wanted.features),
    };
    let mut request = OnlineRequest::new(selection, args.entities.into_iter().collect());
    request.full_feature_names = args.full_feature_names;
    request
}

/// A period of a feature's values.
pub(crate) type Period = RangeInclusive<DateTime<Utc>>;

/// Features whose values are described, beside a reference if there is one.
#[derive(Debug)]
pub(crate) struct StatsRequest {
    pub(crate) views: Vec<String>,
    pub(crate) period: Period,
    pub(crate) reference: Option<Period>,
}

impl StatsRequest {
    pub(crate) fn new(args: StatsArgs, settings: &Settings) -> Self {
        let first = DateTime::from_timestamp_nanos(i64::MIN + 1);
        let period = args.start.unwrap_or(first)..=args.end.unwrap_or(settings.now);
        let reference = match (args.reference_start, args.reference_end) {
            (None, None) => None,
            (start, end) => {
                // Without an end, the reference is what was before the period.
                let before = *period.start() - chrono::TimeDelta::nanoseconds(1);
                Some(start.unwrap_or(first)..=end.unwrap_or(before))
            }
        };
        Self {
            views: args.views,
            period,
            reference,
        }
    }
}

/// The table of complete days to be built.
#[derive(Debug)]
pub(crate) struct BuildRequest {
    pub(crate) service: String,
    pub(crate) last_day: Option<NaiveDate>,
    pub(crate) output: PathBuf,
}

impl BuildRequest {
    pub(crate) fn new(args: BuildArgs, settings: &Settings) -> Self {
        let service = settings.service.value.clone();
        let default = || {
            let training = settings.project.data_dir().join("training");
            training.join(format!("{service}.parquet"))
        };
        Self {
            output: args.output.unwrap_or_else(default),
            service,
            last_day: args.date_end,
        }
    }
}

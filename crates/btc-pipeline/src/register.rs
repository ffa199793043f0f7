//! The best run becomes a registered version, with a verdict on the days held out.

use std::num::NonZeroUsize;

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_track::{
    Direction, ModelVersion, RegisterRun, Run, Tag, TrackingClient, WORSE_THAN_NAIVE_TAG,
    register_run,
};

use crate::bundles::{BUNDLE, load_bundle};
use crate::comparable::{Candidate, Comparison, Frames, Ranked, SELECTION_DAYS_TAG};
use crate::exclusion::LeftOut;
use crate::holdout::{Counts, Days, Judged, TableFrames, holdout_outcomes, judge};
use crate::instants::instant_text;
use crate::registration::Registration;
use crate::scores::{METRIC, Scores};
use crate::tags::{CHAMPION, FREQUENCY_TAG, VERDICT_TAG};
use crate::verdict::{Finding, Look, Verdict, look};
use crate::window::Window;
use crate::{Error, Result};

/// Tag of a version that says who made it champion.
pub const CHAMPION_BY_TAG: &str = "champion_by";
/// Which run to register, and under which name.
///
/// ```
/// use btc_pipeline::RegisterConfig;
///
/// let config = RegisterConfig { experiment: "search".into(), ..RegisterConfig::default() };
/// assert_eq!(config.metric, "MAPE");
/// ```
#[derive(Debug, Clone)]
pub struct RegisterConfig {
    /// The experiment, by name or id.
    pub experiment: String,
    /// The run metric to choose by.
    pub metric: String,
    /// Whether the largest value is the best.
    pub maximize: bool,
    /// The registered model's name.
    pub model_name: String,
    /// Whether to register a model that is worse than the naive forecast.
    pub allow_worse_than_naive: bool,
    /// Whether the version becomes champion whatever the verdict.
    pub champion: bool,
    /// Forecasts in the selection set; none takes those of the newest run.
    pub prediction_length: Option<usize>,
    /// Rows between an origin and its target; none takes the horizon of the newest run.
    pub horizon: Option<NonZeroUsize>,
    /// The column that is forecast; none takes that of the newest run.
    pub target_column: Option<String>,
    /// Rows held out; none takes those of the newest run.
    pub holdout: Option<usize>,
    /// What the data is: the hash of its tables.
    pub data_hash: String,
    /// Where models are applied.
    pub device: Device,
}

impl Default for RegisterConfig {
    fn default() -> Self {
        Self {
            experiment: String::new(),
            metric: METRIC.into(),
            maximize: false,
            model_name: String::new(),
            allow_worse_than_naive: false,
            champion: false,
            prediction_length: None,
            horizon: None,
            target_column: None,
            holdout: None,
            data_hash: String::new(),
            device: Device::Cpu,
        }
    }
}

/// Registers the best run of an experiment whose bundle is there and sound.
///
/// Only finished runs of completed trials count, and all are compared on one window: today's
/// selection set, which ends before the hold-out. Runs that were judged on other days are judged
/// anew from their bundles. A metric that only runs carry compares the runs of exactly this window
/// alone.
///
/// The hold-out, the rows that lie after everything the model was chosen by, then gives the
/// verdict: Diebold and Mariano's test of the absolute errors against those of the naive forecast,
/// two-sided at [`SIGNIFICANCE_LEVEL`](crate::SIGNIFICANCE_LEVEL), adjusted after Holm for every
/// look that was ever taken at these days. The look is recorded before the verdict is used, and
/// counts even when nothing is registered. A version that beats the naive forecast becomes
/// champion; one that is undecided is registered without the alias; one that is worse is refused
/// unless that is allowed. A run that was registered before keeps its version.
///
/// # Errors
///
/// [`Error::UnknownExperiment`], [`Error::NothingToRegister`], [`Error::TooShort`] if the table has
/// no room for the window, [`Error::WorseThanNaive`], and the stores' own errors.
pub fn register_best(
    client: &TrackingClient,
    config: &RegisterConfig,
    table: &RecordBatch,
) -> Result<Registration> {
    let experiment = find_experiment(client, &config.experiment)?;
    let mut runs = btc_track::finished_runs(client, &experiment.experiment_id)?;
    // The order in which equals rank must not be the store's.
    runs.sort_by_key(|run| (run.info.start_time, number_of(run), run.info.run_id.clone()));
    let nothing = |left_out| Error::NothingToRegister {
        experiment: experiment.name.clone(),
        metric: config.metric.clone(),
        left_out,
    };
    if runs.is_empty() {
        return Err(nothing(Vec::new()));
    }
    let counts = Counts {
        prediction_length: config.prediction_length,
        horizon: config.horizon,
        target_column: config.target_column.as_deref(),
        holdout: config.holdout,
        data_hash: &config.data_hash,
    };
    let days = Days::of(&counts, &runs, table)?;
    let tables = TableFrames {
        table,
        target_column: &days.window.target_column,
    };
    let comparison = Comparison {
        client,
        device: &config.device,
        frames: &tables,
        window: &days.window,
        metric: &config.metric,
        direction: match config.maximize {
            true => Direction::Maximize,
            false => Direction::Minimize,
        },
    };
    let candidates: Vec<Candidate> = runs
        .iter()
        .map(|run| candidate(run, &config.metric))
        .collect();
    let mut ranking = comparison.rank(&candidates)?;
    let mut chosen = None;
    for best in &ranking.ranked {
        let run = &runs[best.index];
        match judge(client, &config.device, run, &tables, &days)? {
            Ok(judged) => {
                chosen = Some((best, run, judged));
                break;
            }
            Err(reason) => ranking.left_out.push(LeftOut {
                name: run.info.run_name.clone(),
                run_id: Some(run.info.run_id.clone()),
                reason,
            }),
        }
    }
    match chosen {
        None => Err(nothing(ranking.left_out)),
        Some((best, run, judged)) => {
            let registrar = Registrar {
                client,
                config,
                days: &days,
                tables: &tables,
            };
            registrar.register(best, run, judged, ranking.left_out)
        }
    }
}

fn find_experiment(client: &TrackingClient, name: &str) -> Result<btc_track::Experiment> {
    client.experiment(name).map_err(|error| {
        if !error.is_not_found() {
            return error.into();
        }
        let known = client.experiments().unwrap_or_default();
        Error::UnknownExperiment {
            name: name.to_owned(),
            known: known.into_iter().map(|one| one.name).collect(),
        }
    })
}

fn is_champion(version: &ModelVersion) -> bool {
    version.aliases.iter().any(|alias| alias == CHAMPION)
}

fn number_of(run: &Run) -> Option<usize> {
    run.tag("number")?.parse().ok()
}

/// A finished run as its tags and metrics tell of it.
fn candidate(run: &Run, metric: &str) -> Candidate {
    let days = run
        .tag(SELECTION_DAYS_TAG)
        .and_then(|text| text.parse().ok());
    Candidate {
        name: run.info.run_name.clone(),
        run_id: Some(run.info.run_id.clone()),
        window: Window::from_tags(|key| run.tag(key)),
        scores: days.and_then(|n| Scores::from_metrics(n, |name| run.metric(name))),
        value: run.metric(metric),
    }
}

/// Registers a run that was chosen.
struct Registrar<'a> {
    client: &'a TrackingClient,
    config: &'a RegisterConfig,
    days: &'a Days,
    tables: &'a TableFrames<'a>,
}

impl Registrar<'_> {
    fn register(
        &self,
        best: &Ranked,
        run: &Run,
        judged: Judged,
        left_out: Vec<LeftOut>,
    ) -> Result<Registration> {
        let holdout = judged.outcomes.scores();
        let finding = self.look(run, &judged)?;
        let relative = holdout.map_or(f64::NAN, |scores| scores.relative_mae);
        if finding.verdict == Verdict::Worse && !self.config.allow_worse_than_naive {
            return Err(Error::WorseThanNaive {
                run: run.info.run_name.clone(),
                relative_mae: relative,
                p: finding.p,
            });
        }
        // Where nothing was held out there is nothing to say.
        let worse_than_naive = holdout.is_some() && (relative.is_nan() || 1.0 <= relative);
        let becomes_champion = finding.verdict == Verdict::Beats || self.config.champion;
        let previous = self.champion()?;
        let request = RegisterRun {
            model_name: self.config.model_name.clone(),
            artifact_path: BUNDLE.to_owned(),
            description: String::new(),
            tags: self.tags(best, run, &judged, holdout, &finding, worse_than_naive),
            aliases: becomes_champion
                .then(|| CHAMPION.to_owned())
                .into_iter()
                .collect(),
        };
        let (version, already_registered) = register_run(self.client, run, &request)?;
        // A run that is registered again must not keep what no longer holds.
        if !worse_than_naive && version.tag(WORSE_THAN_NAIVE_TAG) == Some("true") {
            let (name, number) = (&version.name, version.version);
            self.client
                .set_model_version_tag(name, number, WORSE_THAN_NAIVE_TAG, "false")?;
        }
        let previous = previous.filter(|champion| champion.version != version.version);
        let previous_scores = previous.as_ref().and_then(|old| self.scores_of(old));
        Ok(Registration {
            champion: is_champion(&version),
            model: version.name,
            version: version.version,
            already_registered,
            run_id: run.info.run_id.clone(),
            run_name: run.info.run_name.clone(),
            model_type: judged.model_type,
            metric: self.config.metric.clone(),
            value: best.value,
            window: self.days.window.clone(),
            selection: best.scores,
            left_out: left_out.len(),
            left_out_runs: left_out,
            holdout,
            verdict: finding.verdict,
            p: finding.p,
            p_single: finding.p_single,
            looks: finding.looks,
            worse_than_naive,
            previous_champion: previous.map(|old| old.version),
            previous_champion_holdout: previous_scores,
            champion_relative_mae: previous_scores.map(|scores| scores.relative_mae),
        })
    }

    /// Takes the look that the verdict rests on; without days held out there is none.
    fn look(&self, run: &Run, judged: &Judged) -> Result<Finding> {
        let (Some((first_target, last_target)), true) =
            (self.days.holdout, judged.outcomes.scores().is_some())
        else {
            return Ok(Finding {
                verdict: Verdict::Undecided,
                p: 1.0,
                p_single: 1.0,
                looks: 0,
            });
        };
        let taken = Look {
            run_id: run.info.run_id.clone(),
            bundle_hash: judged.bundle_hash.clone(),
            first_target,
            last_target,
            data_hash: self.config.data_hash.clone(),
            test: judged.outcomes.test(self.days.window.horizon),
        };
        look(self.client, &self.days.window.target_column, &taken)
    }

    /// The champion of the model, if model and alias exist.
    fn champion(&self) -> Result<Option<ModelVersion>> {
        let name = &self.config.model_name;
        match self.client.model_version_by_alias(name, CHAMPION) {
            Ok(version) => Ok(Some(version)),
            // Stores answer a missing alias in different ways; a model without it has none.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => match self.client.model_versions(name) {
                Err(missing) if missing.is_not_found() => Ok(None),
                Ok(versions) if !versions.iter().any(is_champion) => Ok(None),
                _ => Err(error.into()),
            },
        }
    }

    /// The scores of another version over the same days; none if it was trained on them or cannot
    /// forecast them.
    fn scores_of(&self, version: &ModelVersion) -> Option<Scores> {
        let forecaster = load_bundle(self.client, version, &self.config.device).ok()?;
        let frame = self.tables.frame_for(&forecaster).ok()?;
        let first = self.days.holdout_origins(&frame).start;
        let is_fair = forecaster.training_range().end <= *frame.known_at().get(first)?
            && forecaster.horizon() == self.days.window.horizon;
        let outcomes = is_fair.then(|| holdout_outcomes(&forecaster, self.tables, self.days));
        outcomes?.ok()?.scores()
    }

    fn tags(
        &self,
        best: &Ranked,
        run: &Run,
        judged: &Judged,
        holdout: Option<Scores>,
        finding: &Finding,
        worse_than_naive: bool,
    ) -> Vec<Tag> {
        let window = &self.days.window;
        let mut tags = vec![
            Tag::new("model_type", &judged.model_type),
            Tag::new("metric", &self.config.metric),
            Tag::new("metric_value", best.value.to_string()),
            Tag::new("data_hash", &window.data_hash),
            Tag::new("target_column", &window.target_column),
            Tag::new(
                FREQUENCY_TAG,
                run.tag(FREQUENCY_TAG)
                    .map_or_else(|| self.days.frequency.to_string(), str::to_owned),
            ),
            Tag::new("selection_first_target", instant_text(&window.first_target)),
            Tag::new("selection_last_target", instant_text(&window.last_target)),
            Tag::new(VERDICT_TAG, finding.verdict.name()),
            Tag::new("p", finding.p.to_string()),
            Tag::new("p_single", finding.p_single.to_string()),
            Tag::new("looks", finding.looks.to_string()),
        ];
        for key in ["study", "number"] {
            tags.extend(run.tag(key).map(|value| Tag::new(key, value)));
        }
        for (key, value) in best
            .scores
            .iter()
            .flat_map(|scores| scores.metrics("selection_"))
        {
            tags.push(Tag::new(key, value.to_string()));
        }
        if let (Some(scores), Some((first, last))) = (holdout, self.days.holdout) {
            tags.push(Tag::new("holdout_days", scores.n.to_string()));
            tags.push(Tag::new("holdout_first_target", instant_text(&first)));
            tags.push(Tag::new("holdout_last_target", instant_text(&last)));
            let metrics = scores.metrics("holdout_").into_iter();
            tags.extend(metrics.map(|(name, value)| Tag::new(name, value.to_string())));
        }
        if worse_than_naive {
            tags.push(Tag::new(WORSE_THAN_NAIVE_TAG, "true"));
        }
        if self.config.champion && finding.verdict != Verdict::Beats {
            tags.push(Tag::new(CHAMPION_BY_TAG, "hand"));
        }
        tags
    }
}

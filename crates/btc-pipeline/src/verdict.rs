//! Whether a model beats the naive forecast: a test over the hold-out, adjusted for every look that
//! was ever taken at those days.
//!
//! Each look is a run in an experiment of its own, so that every tracking store keeps the list.
//! It is recorded before its outcome is used: who looks twice and registers once has looked twice.

use std::fmt;

use btc_models::stats::{TestResult, holm};
use btc_track::{ActiveRun, Run, RunQuery, RunSpec, RunStatus, TrackingClient};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::instants::instant_text;

/// The two-sided level at which a difference counts, that of most uses of the test.
pub const SIGNIFICANCE_LEVEL: f64 = 0.05;

/// What the hold-out says of a model beside repeating the last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Its absolute errors are smaller, beyond chance.
    Beats,
    /// The two cannot be told apart.
    Undecided,
    /// Its absolute errors are larger, beyond chance.
    Worse,
}

impl Verdict {
    /// The verdict on a statistic, negative if the model is better, with its adjusted p-value.
    pub fn of(statistic: f64, p: f64) -> Self {
        match p < SIGNIFICANCE_LEVEL {
            true if statistic < 0.0 => Self::Beats,
            true if 0.0 < statistic => Self::Worse,
            _ => Self::Undecided,
        }
    }

    /// The name, as tags and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beats => "beats",
            Self::Undecided => "undecided",
            Self::Worse => "worse",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A look at the hold-out: one bundle, judged on some days.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    /// The run whose bundle was judged.
    pub(crate) run_id: String,
    /// The bundle's content.
    pub(crate) bundle_hash: String,
    /// The first instant that was forecast.
    pub(crate) first_target: DateTime<Utc>,
    /// The last instant that was forecast.
    pub(crate) last_target: DateTime<Utc>,
    /// The data's hash at the time.
    pub(crate) data_hash: String,
    /// The test; none where the two forecasts differ nowhere, which is a p-value of 1.
    pub(crate) test: Option<TestResult>,
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// The p-value, adjusted for all looks.
    pub(crate) p: f64,
    /// The p-value of this look alone.
    pub(crate) p_single: f64,
    /// Looks at these days, this one included.
    pub(crate) looks: usize,
}

/// The experiment that keeps the looks at hold-outs of a column.
pub(crate) fn looks_experiment(target_column: &str) -> String {
    format!("{target_column}-holdout-looks")
}

impl Look {
    fn p(&self) -> f64 {
        // A p-value that is no number says nothing, which is what 1 says.
        let p = self.test.map_or(1.0, |test| test.p_value);
        if p.is_finite() { p } else { 1.0 }
    }

    fn statistic(&self) -> f64 {
        self.test.map_or(0.0, |test| test.statistic)
    }

    /// Whether both are one bundle on one set of days.
    fn is_same(&self, other: &Self) -> bool {
        (&self.bundle_hash, self.first_target, self.last_target)
            == (&other.bundle_hash, other.first_target, other.last_target)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first_target <= other.last_target && other.first_target <= self.last_target
    }

    fn from_run(run: &Run) -> Option<Self> {
        let tag = |key| run.tag(key);
        Some(Self {
            run_id: tag("judged_run")?.to_owned(),
            bundle_hash: tag("bundle_hash")?.to_owned(),
            first_target: tag("first_target")?.parse().ok()?,
            last_target: tag("last_target")?.parse().ok()?,
            data_hash: tag("data_hash")?.to_owned(),
            test: Some(TestResult {
                statistic: tag("statistic")?.parse().ok()?,
                p_value: tag("p")?.parse().ok()?,
            }),
        })
    }
}

/// Records a look and gives the verdict, adjusted for every look at days that overlap its own.
///
/// The same bundle on the same days is one look. What stands when this fails is the record.
///
/// # Errors
///
/// The tracking store's own.
pub(crate) fn look(client: &TrackingClient, target_column: &str, look: &Look) -> Result<Finding> {
    let experiment = client.get_or_create_experiment(&looks_experiment(target_column))?;
    let id = &experiment.experiment_id;
    let earlier = looks_at(client, id)?;
    if !earlier.iter().any(|other| other.is_same(look)) {
        record(client, id, look)?;
    }
    // Read after the record, so that two who look at once see each other.
    Ok(finding(look, &looks_at(client, id)?))
}

/// The verdict on a look among all that are on record.
fn finding(look: &Look, recorded: &[Look]) -> Finding {
    let mut p_values = vec![look.p()];
    let mut counted: Vec<&Look> = vec![look];
    for other in recorded.iter().filter(|other| other.overlaps(look)) {
        if !counted.iter().any(|known| known.is_same(other)) {
            counted.push(other);
            p_values.push(other.p());
        }
    }
    let p = holm(&p_values)[0];
    Finding {
        verdict: Verdict::of(look.statistic(), p),
        p,
        p_single: look.p(),
        looks: counted.len(),
    }
}

fn looks_at(client: &TrackingClient, experiment_id: &str) -> Result<Vec<Look>> {
    let mut query = RunQuery::new([experiment_id]);
    let mut looks = Vec::new();
    loop {
        let page = client.tracking.search_runs(&query)?;
        looks.extend(page.items.iter().filter_map(Look::from_run));
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return Ok(looks),
        }
    }
}

fn record(client: &TrackingClient, experiment_id: &str, look: &Look) -> Result<()> {
    let day = "%Y-%m-%d";
    let name = format!(
        "look {} to {}",
        look.first_target.format(day),
        look.last_target.format(day)
    );
    let spec = RunSpec::named(name).with_tags([
        ("kind", "holdout-look".to_owned()),
        ("judged_run", look.run_id.clone()),
        ("bundle_hash", look.bundle_hash.clone()),
        ("first_target", instant_text(&look.first_target)),
        ("last_target", instant_text(&look.last_target)),
        ("data_hash", look.data_hash.clone()),
        ("statistic", look.statistic().to_string()),
        ("p", look.p().to_string()),
    ]);
    let run = ActiveRun::start(client, experiment_id, spec)?;
    Ok(run.end(RunStatus::Finished)?)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// A look at ten days from day `first` on.
    fn at(bundle: &str, first: i64, statistic: f64, p_value: f64) -> Look {
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(first);
        Look {
            run_id: format!("run of {bundle}"),
            bundle_hash: bundle.to_owned(),
            first_target: start,
            last_target: start + TimeDelta::days(9),
            data_hash: "hash".to_owned(),
            test: Some(TestResult { statistic, p_value }),
        }
    }

    #[test]
    fn every_look_at_overlapping_days_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let client = TrackingClient::in_memory(folder.path()).unwrap();
        let first = look(&client, "close", &at("a", 0, -2.5, 0.03)).unwrap();
        assert_eq!((first.verdict, first.looks), (Verdict::Beats, 1));
        // The second of two looks needs half the p-value.
        let second = look(&client, "close", &at("b", 9, -2.5, 0.03)).unwrap();
        assert_eq!((second.verdict, second.looks), (Verdict::Undecided, 2));
        assert_eq!((second.p, second.p_single), (0.06, 0.03));
        // The same again is no other look; that at other days never met it.
        assert_eq!(
            look(&client, "close", &at("b", 9, -2.5, 0.03)).unwrap(),
            second
        );
        assert_eq!(
            look(&client, "close", &at("c", 19, 2.5, 0.03))
                .unwrap()
                .looks,
            1
        );
        assert_eq!(
            look(&client, "load", &at("b", 0, 2.5, 0.03))
                .unwrap()
                .verdict,
            Verdict::Worse
        );
    }

    #[test]
    fn two_forecasts_that_differ_nowhere_are_undecided() {
        let folder = tempfile::tempdir().unwrap();
        let client = TrackingClient::in_memory(folder.path()).unwrap();
        let same = Look {
            test: None,
            ..at("a", 0, 0.0, 0.0)
        };
        let finding = look(&client, "close", &same).unwrap();
        assert_eq!((finding.verdict, finding.p), (Verdict::Undecided, 1.0));
        // It still counts among the looks.
        assert_eq!(
            look(&client, "close", &at("b", 0, -9.0, 0.001))
                .unwrap()
                .looks,
            2
        );
    }

    #[test]
    fn the_verdict_is_the_sign_of_a_difference_beyond_chance() {
        for (statistic, p, expected) in [
            (-3.0, 0.049, Verdict::Beats),
            (3.0, 0.049, Verdict::Worse),
            (-3.0, 0.05, Verdict::Undecided),
            (3.0, 0.2, Verdict::Undecided),
            (0.0, 0.0, Verdict::Undecided),
            (f64::NAN, 0.0, Verdict::Undecided),
        ] {
            assert_eq!(Verdict::of(statistic, p), expected, "{statistic} {p}");
        }
    }
}

//! The one page: forecast, models, experiments, runs, studies, features.

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use btc_features::FeatureStore;
use btc_track::server::Failure;
use btc_track::{Experiment, ModelVersion, Run, RunQuery, WORSE_THAN_NAIVE_TAG};
use btc_tune::{StudyDirection, StudySummary};
use chrono::DateTime;
use maud::{Markup, html};

use super::layout::{number, page, price, problem, time};
use crate::State;

/// Runs that the page lists.
const RUNS: usize = 50;

/// Answers with the page.
pub(crate) async fn overview(Extract(state): Extract<State>) -> Response {
    // The stores are synchronous: they must not hold up other requests.
    let rendered = tokio::task::spawn_blocking(move || render(&state)).await;
    let failure = match rendered {
        Ok(Ok((page, left_out))) => {
            let mut response = page.into_response();
            if let Some(failure) = left_out {
                response.extensions_mut().insert(failure);
            }
            return response;
        }
        Ok(Err(error)) => Failure::of(&error),
        Err(panic) => Failure::of(&panic),
    };
    let mut response = problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Cannot be shown",
        "A store could not be read; the command `btc config show` names the files.",
    );
    response.extensions_mut().insert(failure);
    response
}

/// The page, and the first failure of a store that only a part of it shows.
fn render(state: &State) -> Result<(Markup, Option<Failure>), btc_track::Error> {
    let experiments = state.client.experiments()?;
    let ids: Vec<String> = experiments
        .iter()
        .map(|one| one.experiment_id.clone())
        .collect();
    let query = RunQuery::new(ids).with_max_results(RUNS);
    let runs = state.client.tracking.search_runs(&query)?.items;
    let mut versions = Vec::new();
    for model in state.client.registered_models()? {
        versions.extend(state.client.model_versions(&model.name)?);
    }
    let summaries = state.studies.studies();
    let store = FeatureStore::open(state.features_dir());
    let left_out = match (&summaries, &store) {
        (Err(error), _) => Some(Failure::of(error)),
        (_, Err(error)) if !is_missing(error) => Some(Failure::of(error)),
        _ => None,
    };
    let content = html! {
        h1 { "Overview" }
        (forecast(&runs))
        (models(&versions))
        (experiment_list(&experiments))
        (run_list(&runs, &experiments))
        (studies(&summaries))
        (features(&store))
    };
    Ok((page("Overview", &content), left_out))
}

fn forecast(runs: &[Run]) -> Markup {
    let latest = runs.iter().find(|run| run.tag("kind") == Some("forecast"));
    html! {
        section #forecast {
            h2 { "Latest forecast" }
            @match latest {
                Some(run) => {
                    @let point = run.metric("forecast").unwrap_or(f64::NAN);
                    @let naive = run.metric("naive").unwrap_or(f64::NAN);
                    p {
                        span.figure { (price(point)) }
                        "at " (instant(run.tag("target_time")))
                        ", from data known at " (instant(run.tag("known_until")))
                    }
                    p.muted {
                        "Naive forecast, the last close: " (price(naive))
                        @if let (Some(low), Some(high)) = (run.metric("low_90"), run.metric("high_90")) {
                            "; 90 % interval " (price(low)) " to " (price(high))
                        }
                        "; model " (run.tag("model").unwrap_or("-"))
                        " version " (run.tag("version").unwrap_or("-")) "."
                    }
                }
                None => p.muted { "None yet: " code { "btc predict" } " makes one." }
            }
        }
    }
}

/// An instant of a tag, to the minute.
fn instant(tag: Option<&str>) -> String {
    tag.and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map_or_else(
            || "-".into(),
            |time| time.format("%Y-%m-%d %H:%M UTC").to_string(),
        )
}

fn models(versions: &[ModelVersion]) -> Markup {
    html! {
        section #models {
            h2 { "Registered models" }
            @if versions.is_empty() {
                p.muted { "None yet: " code { "btc model register-best" } " registers one." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Registered models" {
                    table {
                        thead { tr {
                            th { "Model" } th.number { "Version" } th { "Network" } th { "Aliases" }
                            th.number { "MAPE %" } th.number { "Hold-out MAPE %" }
                            th.number { "Naive MAPE %" } th { "Against naive" } th { "Registered" }
                        } }
                        tbody {
                            @for version in versions {
                                tr {
                                    td { (version.name) }
                                    td.number { (version.version) }
                                    td { (version.tag("model_type").unwrap_or("-")) }
                                    td { @for alias in &version.aliases { span.chip { (alias) } } }
                                    td.number { (tag_number(version, "selection_MAPE")) }
                                    td.number { (tag_number(version, "holdout_MAPE")) }
                                    td.number { (tag_number(version, "holdout_naive_MAPE")) }
                                    td { (verdict(version)) }
                                    td { (time(version.creation_timestamp)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tag_number(version: &ModelVersion, key: &str) -> String {
    let value = version.tag(key).and_then(|text| text.parse().ok());
    value.map_or_else(|| "-".into(), number)
}

fn verdict(version: &ModelVersion) -> Markup {
    let relative: Option<f64> = version
        .tag("holdout_relative_MAE")
        .and_then(|text| text.parse().ok());
    match (version.tag(WORSE_THAN_NAIVE_TAG), relative) {
        (Some("true"), _) => html! { span.bad { "no better" } },
        (_, Some(relative)) if relative < 1.0 => html! { span.good { "better" } },
        _ => html! { "-" },
    }
}

fn experiment_list(experiments: &[Experiment]) -> Markup {
    html! {
        section #experiments {
            h2 { "Experiments" }
            @if experiments.is_empty() {
                p.muted { "None yet." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Experiments" {
                    table {
                        thead { tr { th { "Name" } th { "Id" } th { "Created" } } }
                        tbody {
                            @for experiment in experiments {
                                tr {
                                    td { (experiment.name) }
                                    td { code { (experiment.experiment_id) } }
                                    td { (time(experiment.creation_time)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn run_list(runs: &[Run], experiments: &[Experiment]) -> Markup {
    let name = |id: &str| {
        let found = experiments.iter().find(|one| one.experiment_id == id);
        found.map_or("-", |one| one.name.as_str()).to_owned()
    };
    let metric = |run: &Run, key: &str| run.metric(key).map_or_else(|| "-".into(), number);
    html! {
        section #runs {
            h2 { "Runs" }
            @if runs.is_empty() {
                p.muted { "None yet: " code { "btc tune run" } " makes one per trial." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Runs" {
                    table {
                        caption { "The newest " (runs.len()) }
                        thead { tr {
                            th { "Run" } th { "Experiment" } th { "State" }
                            th { "Network" } th.number { "MAPE %" } th.number { "Naive %" }
                            th.number { "Loss" } th.number { "Validation loss" }
                            th.number { "Learning rate" } th.number { "Epochs" } th { "Started" }
                        } }
                        tbody {
                            @for run in runs {
                                tr {
                                    td { (run.info.run_name) }
                                    td { (name(&run.info.experiment_id)) }
                                    td { (run.tag("state").unwrap_or(run.info.status.as_str())) }
                                    td { (run.param("model_type").unwrap_or("-")) }
                                    td.number { (metric(run, "MAPE")) }
                                    td.number { (metric(run, "naive_MAPE")) }
                                    td.number { (metric(run, "loss")) }
                                    td.number { (metric(run, "val_loss")) }
                                    td.number { (parameter_number(run, "adam_lr")) }
                                    td.number { (run.param("epochs").unwrap_or("-")) }
                                    td { (time(run.info.start_time)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn parameter_number(run: &Run, key: &str) -> String {
    let value = run.param(key).and_then(|text| text.parse().ok());
    value.map_or_else(|| "-".into(), number)
}

fn studies(summaries: &btc_tune::Result<Vec<StudySummary>>) -> Markup {
    html! {
        section #studies {
            h2 { "Studies" }
            @match summaries {
                Ok(summaries) if summaries.is_empty() => p.muted { "None yet." },
                Ok(summaries) => (study_table(summaries)),
                Err(_) => p.bad { "The studies cannot be read." },
            }
        }
    }
}

fn study_table(summaries: &[StudySummary]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Studies" {
            table {
                thead { tr {
                    th { "Study" } th { "Direction" } th.number { "Trials" }
                    th.number { "Best value" } th { "Begun" }
                } }
                tbody {
                    @for study in summaries {
                        tr {
                            td { (study.name) }
                            td {
                                @for direction in &study.directions { (direction_name(*direction)) " " }
                            }
                            td.number {
                                @match study.unreadable {
                                    Some(_) => span.bad { "cannot be read" },
                                    None => (study.n_trials),
                                }
                            }
                            td.number { (study.best_value.map_or_else(|| "-".into(), number)) }
                            td {
                                @match study.datetime_start {
                                    Some(start) => (time(start.timestamp_millis())),
                                    None => "-",
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn direction_name(direction: StudyDirection) -> &'static str {
    match direction {
        StudyDirection::Minimize => "minimise",
        StudyDirection::Maximize => "maximise",
    }
}

/// Whether there is no feature store yet.
fn is_missing(error: &btc_features::Error) -> bool {
    match error {
        btc_features::Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn features(store: &btc_features::Result<FeatureStore>) -> Markup {
    html! {
        section #features {
            h2 { "Features" }
            @match store {
                Ok(store) => {
                    @let applied = &store.registry().definitions;
                    @for service in applied.feature_services.values() {
                        p {
                            "Service " strong { (service.name) } " over "
                            @for projection in &service.views { span.chip { (projection.label()) } " " }
                        }
                    }
                    @for view in applied.feature_views.values() {
                        details {
                            summary {
                                "View " strong { (view.name) } ": " (view.features.len()) " features"
                            }
                            @if !view.description.is_empty() { p { (view.description) } }
                            p.muted {
                                @for feature in &view.features { code { (feature.name) } " " }
                            }
                        }
                    }
                    @if applied.is_empty() { p.muted { "Nothing is applied yet." } }
                }
                Err(error) if is_missing(error) => {
                    p.muted { "None yet: " code { "btc features apply" } " declares them." }
                }
                Err(_) => p.bad { "The features cannot be read." }
            }
        }
    }
}

//! The words and values that can be typed, and how they are read.

use std::error::Error;
use std::str::FromStr;

use btc_ingest::{Duplicates, Preset, Stamp};
use btc_models::{Baseline, Model, ModelType};
use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// When to colour messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The bare values, one line each
    Value,
    /// JSON
    Json,
    /// A table with a header
    Table,
}

/// The kinds of objects of the feature registry, as they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Entities
    #[value(alias = "entities")]
    Entity,
    /// Sources
    #[value(alias = "sources", alias = "data-sources")]
    Source,
    /// Feature views
    #[value(alias = "views", alias = "feature-view", alias = "feature-views")]
    View,
    /// On-demand feature views
    #[value(alias = "on-demand-feature-views", alias = "on-demand-views")]
    OnDemand,
    /// Feature services
    #[value(
        alias = "services",
        alias = "feature-service",
        alias = "feature-services"
    )]
    Service,
    /// Saved data sets
    #[value(alias = "datasets", alias = "saved-datasets")]
    Dataset,
}

/// The tables of the market data.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TableName {
    /// Open, high, low, close and volume
    Ohlcv,
    /// One column per chart
    Blockchain,
}

/// What an answered request survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityLevel {
    /// The death of the process
    Process,
    /// The loss of power too: every commit waits for the disk
    Full,
}

/// How a trial that was asked for ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TellState {
    Complete,
    Pruned,
    Fail,
}

/// How the importance of a parameter is measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum EvaluatorKind {
    PedAnova,
    Fanova,
    Mdi,
}

/// What a study is drawn as.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PlotKind {
    History,
    Intermediate,
    Slice,
    Contour,
    Parallel,
    Edf,
    Rank,
    Timeline,
    Pareto,
    Importance,
}

/// One of the names that a library knows; the help lists them, and a wrong one is told the next.
pub(crate) fn one_of<T>(
    names: impl IntoIterator<Item: ToString>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// The models of a back-test: `all`, a network, or a baseline, which is compared anyway.
pub(crate) fn model_names() -> PossibleValuesParser {
    let mut names = vec!["all".to_owned()];
    names.extend(ModelType::ALL.iter().map(ToString::to_string));
    names.extend(Baseline::ALL.iter().map(|one| Model::name(one).to_owned()));
    PossibleValuesParser::new(names)
}

/// Parses a day (its start, in UTC) or a time with its zone.
pub(crate) fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    text.parse::<NaiveDate>()
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map(|time| time.and_utc())
        .ok_or_else(|| {
            "expected a day such as 2023-01-11 or a time such as 2023-01-11T08:00:00Z".into()
        })
}

/// Parses a day given as `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| "expected a day such as 2023-01-10".to_owned())
}

/// Parses `NAME=VALUE`; the value may hold further equals signs.
pub(crate) fn parse_param(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Parses `COLUMN=SERIES`; the column may hold further equals signs.
pub(crate) fn parse_column(text: &str) -> Result<(String, String), String> {
    let (from, to) = text
        .rsplit_once('=')
        .ok_or("expected COLUMN=SERIES, as Close=close")?;
    Ok((from.to_owned(), to.to_owned()))
}

/// Parses a value of the library, with its own words for what is wrong.
pub(crate) fn parse_as<T: FromStr<Err = btc_ingest::Error>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: btc_ingest::Error| error.to_string())
}

/// Parses what stands between cells.
pub(crate) fn parse_delimiter(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (text, chars.next(), chars.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(one), None) if one.is_ascii() => Ok(one),
        _ => Err("expected one ASCII character, or tab".to_owned()),
    }
}

/// A parser of the names of a library's values, which are listed in the help.
fn names_parser<T>(
    names: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = btc_ingest::Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// The services whose files are known.
pub(crate) fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    names_parser(Preset::ALL.map(Preset::name))
}

/// The rules for times given twice.
pub(crate) fn rule_parser() -> impl TypedValueParser<Value = Duplicates> {
    names_parser(Duplicates::NAMES)
}

/// The kinds of stamps.
pub(crate) fn stamp_parser() -> impl TypedValueParser<Value = Stamp> {
    names_parser(Stamp::NAMES)
}

/// Parses `key=1,2`. The values stay text, which the key's declared type reads:
/// an id such as `007` is no number because it looks like one.
pub(crate) fn parse_entity(text: &str) -> Result<(String, Vec<serde_json::Value>), String> {
    let (name, values) = text
        .split_once('=')
        .ok_or("expected key=value,value, as driver_id=1001,1002")?;
    let values = values
        .split(',')
        .map(|value| match value {
            "null" => serde_json::Value::Null,
            text => serde_json::Value::from(text),
        })
        .collect();
    Ok((name.to_owned(), values))
}

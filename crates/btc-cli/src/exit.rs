//! From an error to its one line and its exit code.
//!
//! Every variant of every library's error has its code here, and nowhere else.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::errors::{InterruptedError, NotFoundError, UsageError, hint};
use crate::output::printer::Printer;

/// Exit code of a failure that is none of the others.
pub(crate) const FAILURE: u8 = 1;
/// Exit code of a wrong command line or setting.
pub(crate) const USAGE: u8 = 2;
/// Exit code when something asked for by name does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Exit code when an upstream service failed.
pub(crate) const UPSTREAM: u8 = 4;
/// Exit code after Ctrl-C or SIGTERM: 128 and the number of SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints `error` as one line and returns its exit code.
pub(crate) fn report(error: &anyhow::Error, printer: &mut Printer) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output went away, as `head` does: not a failure.
        return ExitCode::SUCCESS;
    }
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A transparent wrapper says what its source says: once is enough.
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    if let Some(hint) = hint(error) {
        line.push_str("; ");
        line.push_str(hint);
    }
    printer.error(&line);
    ExitCode::from(code(error))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILURE)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<UsageError>() {
        Some(USAGE)
    } else if cause.is::<NotFoundError>() {
        Some(NOT_FOUND)
    } else if cause.is::<InterruptedError>() {
        Some(INTERRUPTED)
    } else if let Some(error) = cause.downcast_ref() {
        Some(pipeline(error))
    } else if let Some(error) = cause.downcast_ref() {
        models(error)
    } else if let Some(error) = cause.downcast_ref() {
        Some(tune(error))
    } else if let Some(error) = cause.downcast_ref() {
        Some(features(error))
    } else if let Some(error) = cause.downcast_ref() {
        Some(track(error))
    } else {
        cause.downcast_ref().map(ingest)
    }
}

/// The code of a cause, or of the first of its own causes that has one.
fn code_below(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    code_of(cause).or_else(|| cause.source().and_then(code_below))
}

// The libraries' errors may grow a variant at any time, which the compiler does not tell: the
// test below compares the arms with the libraries' own lists.

fn pipeline(error: &btc_pipeline::Error) -> u8 {
    use btc_pipeline::Error;
    match error {
        Error::Ingest(error) => ingest(error),
        Error::Features(error) => features(error),
        Error::Models(error) => models(error)
            .or_else(|| std::error::Error::source(error).and_then(code_below))
            .unwrap_or(FAILURE),
        Error::Tune(error) => tune(error),
        Error::Track(error) => track(error),
        Error::NoData { .. }
        | Error::DayNotThere { .. }
        | Error::NoVintage { .. }
        | Error::NoRevisions { .. }
        | Error::UnknownModel { .. }
        | Error::UnknownVersion { .. }
        | Error::UnknownExperiment { .. }
        | Error::NothingToRegister { .. } => NOT_FOUND,
        Error::OtherWindow { .. }
        | Error::OtherFrequency { .. }
        | Error::OtherHorizon { .. }
        | Error::OtherColumn { .. }
        | Error::MissingColumn { .. }
        | Error::NotNumeric { .. }
        | Error::Folds { .. }
        | Error::OtherMeasure { .. }
        | Error::TooShort { .. } => USAGE,
        Error::Interrupted => INTERRUPTED,
        Error::Source(_)
        | Error::Arrow(_)
        | Error::Holes { .. }
        | Error::WorseThanNaive { .. }
        | Error::EmptyColumn { .. }
        | Error::NoInstants { .. }
        | Error::MissingInstant { .. }
        | Error::Io { .. }
        | Error::NoCompleteTrial { .. }
        | Error::NothingToForecast { .. } => FAILURE,
        _ => FAILURE,
    }
}

/// None where the cause says more.
fn models(error: &btc_models::Error) -> Option<u8> {
    use btc_models::Error;
    match error {
        Error::SeriesTooShort { .. }
        | Error::InvalidConfig { .. }
        | Error::NameTaken { .. }
        | Error::CustomSettings { .. }
        | Error::NotRegistered { .. }
        | Error::NotExportable { .. }
        | Error::UnknownName { .. } => Some(USAGE),
        Error::InPanel { source, .. } => models(source),
        Error::Stopped { .. } => Some(INTERRUPTED),
        Error::Callback(_) | Error::Vintage { .. } => None,
        Error::InvalidSeries { .. }
        | Error::MissingFeature { .. }
        | Error::OtherTarget { .. }
        | Error::OffGrid { .. }
        | Error::Holes { .. }
        | Error::NotPositive { .. }
        | Error::TargetInDisguise { .. }
        | Error::Diverged { .. }
        | Error::LookAhead { .. }
        | Error::Bundle { .. }
        | Error::Io { .. }
        | Error::Tensor(_) => Some(FAILURE),
        _ => Some(FAILURE),
    }
}

fn tune(error: &btc_tune::Error) -> u8 {
    use btc_tune::Error;
    match error {
        Error::UnknownStudy { .. }
        | Error::UnknownTrial { .. }
        | Error::NoCompleteTrial { .. }
        | Error::NoFeasibleTrial { .. } => NOT_FOUND,
        Error::InvalidUrl { .. }
        | Error::IncompatibleDistribution { .. }
        | Error::InvalidDistribution { .. }
        | Error::EmptyChoices
        | Error::InvalidParameter { .. }
        | Error::InvalidOutcome { .. }
        | Error::InvalidSetting { .. }
        | Error::UnknownName { .. }
        | Error::SeveralObjectives { .. } => USAGE,
        Error::DuplicatedStudy { .. }
        | Error::TrialFinished { .. }
        | Error::Objective { .. }
        | Error::SchemaVersion { .. }
        | Error::Malformed { .. }
        | Error::Storage { .. } => FAILURE,
        _ => FAILURE,
    }
}

fn features(error: &btc_features::Error) -> u8 {
    use btc_features::Error;
    match error {
        Error::UnknownObject { .. } | Error::SourceMissing { .. } => NOT_FOUND,
        Error::InvalidRequest(_) | Error::Collision { .. } => USAGE,
        Error::Io {
            action: "read" | "open",
            source,
            ..
        } if source.kind() == ErrorKind::NotFound => NOT_FOUND,
        Error::Conflict(_)
        | Error::InvalidDefinition { .. }
        | Error::SchemaMismatch { .. }
        | Error::SourceChanged { .. }
        | Error::InvalidValue { .. }
        | Error::Locked { .. }
        | Error::Corrupt { .. }
        | Error::MemoryLimit(_)
        | Error::Io { .. }
        | Error::Parquet { .. }
        | Error::OnlineStore { .. }
        | Error::Arrow(_)
        | Error::DataFusion(_) => FAILURE,
        _ => FAILURE,
    }
}

fn track(error: &btc_track::Error) -> u8 {
    use btc_track::Error;
    match error {
        Error::NotFound { .. } | Error::NoCandidate { .. } => NOT_FOUND,
        Error::InvalidParameter { .. } | Error::InvalidFilter { .. } => USAGE,
        Error::Artifact {
            action: "read" | "open" | "list",
            source,
            ..
        } if source.kind() == ErrorKind::NotFound => NOT_FOUND,
        Error::Unreachable { .. } => UPSTREAM,
        Error::Remote { error_code, .. } => match error_code.as_str() {
            "RESOURCE_DOES_NOT_EXIST" => NOT_FOUND,
            "INVALID_PARAMETER_VALUE" => USAGE,
            "RESOURCE_ALREADY_EXISTS" => FAILURE,
            _ => UPSTREAM,
        },
        Error::AlreadyExists { .. }
        | Error::ParamChanged { .. }
        | Error::Inactive { .. }
        | Error::ContentChanged { .. }
        | Error::ContentPinned { .. }
        | Error::Busy { .. }
        | Error::Artifact { .. }
        | Error::Store { .. }
        | Error::Malformed { .. } => FAILURE,
        _ => FAILURE,
    }
}

fn ingest(error: &btc_ingest::Error) -> u8 {
    use btc_ingest::Error;
    match error {
        Error::RateLimited { .. }
        | Error::Unauthorized { .. }
        | Error::Malformed { .. }
        | Error::Status { .. }
        | Error::Transport { .. }
        | Error::Timeout { .. }
        | Error::TooLarge { .. }
        | Error::Sampled { .. }
        | Error::NoData { .. }
        | Error::Source { .. } => UPSTREAM,
        Error::NotPulled { .. } => NOT_FOUND,
        Error::Config { .. } | Error::Unclear { .. } => USAGE,
        Error::Read { source, .. } if source.kind() == ErrorKind::NotFound => NOT_FOUND,
        Error::Locked { .. }
        | Error::OtherData { .. }
        | Error::Read { .. }
        | Error::Write { .. }
        | Error::InvalidFile { .. }
        | Error::Changed { .. }
        | Error::Link { .. }
        | Error::Parquet { .. }
        | Error::Arrow(_) => FAILURE,
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The variants of the enum `Error` in a library's source.
    fn variants(source: &str) -> Vec<String> {
        let body = source
            .split_once("pub enum Error {")
            .map_or("", |(_, rest)| rest);
        let body = body.split_once("\n}").map_or("", |(body, _)| body);
        let line = |line: &str| {
            let name = line.strip_prefix("    ")?;
            name.starts_with(|first: char| first.is_ascii_uppercase())
                .then(|| name.split(|c: char| !c.is_alphanumeric()).next())?
                .map(str::to_owned)
        };
        body.lines().filter_map(line).collect()
    }

    #[test]
    fn every_error_of_every_library_has_its_code() {
        let here = include_str!("exit.rs");
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["pipeline", "models", "tune", "features", "track", "ingest"] {
            let path = crates.join(format!("btc-{name}/src/error.rs"));
            let variants = variants(&std::fs::read_to_string(path).unwrap());
            assert!(variants.len() > 5, "{name}: {variants:?}");
            let start = here.find(&format!("fn {name}(error: &btc_{name}::Error)"));
            let function = &here[start.expect("each library has its function")..];
            let function = &function[..function.find("\n}").expect("it ends")];
            for variant in variants {
                let arm = format!("Error::{variant}");
                let named = function
                    .match_indices(&arm)
                    .any(|(at, _)| function[at + arm.len()..].starts_with([' ', '(', ',', '\n']));
                assert!(named, "exit code of btc_{name}::{arm}");
            }
        }
    }
}

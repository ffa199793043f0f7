//! From an error to its one line and its exit code.

use std::process::ExitCode;

use crate::printer::Printer;

/// Exit code of a failure that is none of the others.
pub(crate) const FAILURE: u8 = 1;
/// Exit code of a wrong command line or setting.
pub(crate) const USAGE: u8 = 2;
/// Exit code when something asked for by name does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Exit code when an upstream service failed.
pub(crate) const UPSTREAM: u8 = 4;

/// A wrong argument or setting that clap could not see.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Something asked for by name that is not there.
#[derive(Debug)]
pub(crate) struct NotFoundError(pub(crate) String);

impl std::fmt::Display for NotFoundError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFoundError {}

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
    printer.error(&line);
    ExitCode::from(code(error))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILURE)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<UsageError>() {
        return Some(USAGE);
    }
    if cause.is::<NotFoundError>() {
        return Some(NOT_FOUND);
    }
    if let Some(error) = cause.downcast_ref::<btc_pipeline::Error>() {
        use btc_pipeline::ErrorKind;
        return match error.kind() {
            ErrorKind::Upstream => Some(UPSTREAM),
            ErrorKind::NotFound => Some(NOT_FOUND),
            ErrorKind::Usage => Some(USAGE),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<btc_track::Error>() {
        return match error {
            _ if error.is_not_found() => Some(NOT_FOUND),
            _ if error.code() == "INVALID_PARAMETER_VALUE" => Some(USAGE),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<btc_ingest::Error>() {
        return match error {
            _ if error.is_upstream() => Some(UPSTREAM),
            btc_ingest::Error::NotPulled { .. } => Some(NOT_FOUND),
            btc_ingest::Error::Config { .. } => Some(USAGE),
            _ => None,
        };
    }
    None
}

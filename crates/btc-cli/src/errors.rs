//! The errors that arise in the command itself.

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

/// The user ended the work.
#[derive(Debug)]
pub(crate) struct InterruptedError;

impl std::fmt::Display for InterruptedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for InterruptedError {}

/// What helps against an error, in the words of the command line: the
/// libraries know nothing of its flags and commands.
pub(crate) fn hint(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(hint_of)
}

fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use btc_pipeline::Error as Workflow;
    if let Some(error) = cause.downcast_ref::<Workflow>() {
        return match error {
            Workflow::Ingest(error) => hint_of(error),
            Workflow::Features(error) => hint_of(error),
            Workflow::Models(error) => hint_of(error),
            Workflow::Tune(error) => hint_of(error),
            Workflow::Track(error) => hint_of(error),
            Workflow::NoData { .. } => {
                Some("run `btc data pull`, or `btc pipeline run --sample` for synthetic data")
            }
            Workflow::DayNotThere { .. } => {
                Some("choose another --date-end, or run `btc data pull`")
            }
            Workflow::TooShort { .. } => {
                Some("lower --holdout, --prediction-length or --timesteps, or pull more data")
            }
            Workflow::Folds { .. } => Some("lower --folds, or raise --prediction-length"),
            Workflow::Holes { .. } => Some("run `btc data pull`, or leave --refuse-holes out"),
            Workflow::OtherWindow { .. } => Some("leave --timesteps out"),
            Workflow::OtherHorizon { .. } => Some("leave --horizon out, or search with it"),
            Workflow::OtherColumn { .. } => Some("leave --target-column out, or search with it"),
            Workflow::UnknownModel { .. } => Some("`btc model register-best` registers one"),
            Workflow::UnknownExperiment { .. } => Some("`btc tune run` begins one"),
            Workflow::NothingToRegister { .. } => {
                Some("run `btc tune run` first, or name another --metric")
            }
            Workflow::WorseThanNaive { .. } => {
                Some("--allow-worse-than-naive registers it all the same")
            }
            Workflow::MissingColumn { .. } | Workflow::NotNumeric { .. } => {
                Some("name another --target-column, or add it to the --service")
            }
            Workflow::OtherMeasure { .. } => {
                Some("give the search another --experiment-name, or a new --version")
            }
            other => other.hint(),
        };
    }
    if let Some(error) = cause.downcast_ref() {
        return match error {
            btc_features::Error::SourceMissing { .. } => Some("`btc data pull` writes it"),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref() {
        return match error {
            btc_ingest::Error::NotPulled { .. } => {
                Some("`btc data pull` does, `btc data sample` makes data up")
            }
            btc_ingest::Error::Unclear { option, .. } => match *option {
                "date-format" => Some("give --date-format"),
                "decimal" => Some("give --decimal"),
                _ => None,
            },
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref() {
        return match error {
            btc_tune::Error::UnknownStudy { .. } => {
                Some("`btc tune studies` lists those there are")
            }
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref() {
        return match error {
            btc_track::Error::NotFound {
                what: "experiment", ..
            } => Some("`btc track experiments` lists those there are"),
            btc_track::Error::NotFound {
                what: "registered model",
                ..
            } => Some("`btc model list` lists those there are"),
            _ => None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use clap::CommandFactory as _;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The lines of a source that are no comment and no test.
    fn code(text: &str) -> String {
        let code = text.split("#[cfg(test)]").next().unwrap_or(text);
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// The flags that a text names.
    fn flags(text: &str) -> Vec<String> {
        let mut flags = Vec::new();
        for (at, _) in text.match_indices("--") {
            let before = text[..at].chars().next_back();
            let rest = &text[at + 2..];
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
            let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
            // `--name:` is a variable of a style sheet.
            let is_flag = !name.is_empty() && !rest[name.len()..].starts_with(':');
            if is_flag && before.is_none_or(|c| " \"`\n".contains(c)) {
                flags.push(name.to_owned());
            }
        }
        flags
    }

    fn known(command: &clap::Command, flags: &mut Vec<String>) {
        for argument in command.get_arguments() {
            flags.extend(argument.get_long().map(str::to_owned));
            let aliases = argument.get_all_aliases().unwrap_or_default();
            flags.extend(aliases.into_iter().map(str::to_owned));
        }
        command.get_subcommands().for_each(|sub| known(sub, flags));
    }

    #[test]
    fn every_flag_that_a_message_names_is_known() {
        let mut known_flags = vec!["help".to_owned(), "version".to_owned()];
        known(&crate::cli::Cli::command(), &mut known_flags);
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        for path in files {
            let text = code(&std::fs::read_to_string(&path).unwrap());
            for flag in flags(&text) {
                assert!(known_flags.contains(&flag), "{}: --{flag}", path.display());
            }
        }
    }

    #[test]
    fn every_command_that_a_message_names_is_known() {
        let command = crate::cli::Cli::command();
        let mut files = Vec::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["cli", "server"] {
            sources(&crates.join(format!("btc-{name}/src")), &mut files);
        }
        for path in files {
            let text = code(&std::fs::read_to_string(&path).unwrap());
            for (at, _) in text.match_indices("`btc ") {
                let rest = &text[at + "`btc ".len()..];
                let words = rest.split(['`', '\n']).next().unwrap_or(rest);
                let mut command = &command;
                for word in words.split_whitespace().take(2) {
                    if command.has_subcommands() {
                        let found = command.find_subcommand(word);
                        command =
                            found.unwrap_or_else(|| panic!("{}: btc {words}", path.display()));
                    }
                }
            }
        }
    }

    #[test]
    fn no_library_names_a_flag_or_a_command() {
        // `git` and Optuna have flags too.
        let foreign = ["verify", "quiet", "storage"];
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["ingest", "features", "models", "tune", "track", "pipeline"] {
            let mut files = Vec::new();
            sources(&crates.join(format!("btc-{name}/src")), &mut files);
            for path in files {
                let text = code(&std::fs::read_to_string(&path).unwrap());
                assert!(
                    !text.contains("`btc "),
                    "{} names a command",
                    path.display()
                );
                for flag in flags(&text) {
                    assert!(foreign.contains(&&*flag), "{}: --{flag}", path.display());
                }
            }
        }
    }
}

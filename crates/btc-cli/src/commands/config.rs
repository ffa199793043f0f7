//! `btc config` and `btc completions`.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::output::printer::Printer;
use crate::settings::file::Section;
use crate::settings::resolve::Settings;

/// Shows every setting with its value and origin; then says what is wrong in the file.
pub(crate) fn show(settings: &Settings, printer: &mut Printer) -> anyhow::Result<ExitCode> {
    let rows = settings.rows();
    if printer.is_json() {
        let map: serde_json::Map<String, serde_json::Value> = rows
            .into_iter()
            .map(|(name, value, origin)| {
                let shown = serde_json::json!({ "value": value, "origin": origin });
                (name.to_owned(), shown)
            })
            .collect();
        printer.json(&map)?;
    } else {
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(name, value, origin)| vec![name.to_owned(), value, origin])
            .collect();
        printer.table(&["setting", "value", "origin"], &rows)?;
    }
    settings.file.check(&Section::ALL)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a completion script.
pub(crate) fn completions(
    shell: Shell,
    mut command: clap::Command,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "btc", &mut script);
    printer.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

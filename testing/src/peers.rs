//! The Python programs that some tests compare with.

use std::process::{Command, Stdio};

/// Starts the Python that has `module`: `BTC_PYTHON`, or else `python3`.
///
/// Without it the caller skips its test, and the reason is printed here.
///
/// # Panics
///
/// Panics without it if `BTC_REQUIRE` names the module.
#[must_use]
#[track_caller]
pub fn python_with(module: &str) -> Option<Command> {
    let python = crate::variable("BTC_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let found = Command::new(&python)
        .args([
            "-c",
            &format!("import importlib.util as u; exit(u.find_spec('{module}') is None)"),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found {
        return Some(Command::new(python));
    }
    let required = crate::variable("BTC_REQUIRE").unwrap_or_default();
    let is_required = required.split([',', ' ']).any(|name| name == module);
    assert!(
        !is_required,
        "{python} cannot import {module}, which BTC_REQUIRE names"
    );
    skipped(&format!("{python} cannot import {module}"));
    None
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skipped(reason: &str) {
    println!("skipped: {reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_nobody_has_is_skipped() {
        assert!(python_with("no_such_module_anywhere").is_none());
    }
}

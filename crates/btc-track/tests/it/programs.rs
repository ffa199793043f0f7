//! The programs of others that some tests need.

use std::path::PathBuf;
use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "tests find Python through the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The Python to use, if it can import `module`.
///
/// Without it the test is skipped with a note, or fails if `BTC_REQUIRE`
/// lists the module.
pub(crate) fn python_with(module: &str) -> Option<PathBuf> {
    let python = PathBuf::from(variable("BTC_PYTHON").unwrap_or_else(|| "python3".into()));
    let found = Command::new(&python)
        .args([
            "-c",
            &format!("import importlib.util as u; exit(u.find_spec('{module}') is None)"),
        ])
        .status()
        .is_ok_and(|status| status.success());
    if found {
        return Some(python);
    }
    let required = variable("BTC_REQUIRE").unwrap_or_default();
    let is_required = required.split([',', ' ']).any(|name| name == module);
    assert!(!is_required, "{} cannot import {module}", python.display());
    println!("skipped: {} cannot import {module}", python.display());
    None
}

#[test]
fn a_module_that_nobody_has_is_skipped() {
    assert_eq!(python_with("no_such_module_anywhere"), None);
}

//! Golden files: answers of other programs, recorded under `tests/fixtures` of a crate.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The text of a golden file: of the folder `BTC_VECTORS` if it is set and has the file, else of
/// `tests/fixtures` of the crate whose folder (`env!("CARGO_MANIFEST_DIR")`) is given.
///
/// # Panics
///
/// Panics if the file cannot be read.
#[must_use]
#[track_caller]
pub fn golden(crate_folder: &str, file: &str) -> String {
    let given = crate::variable("BTC_VECTORS").map(PathBuf::from);
    read(given.as_deref(), crate_folder, file)
}

#[track_caller]
fn read(given: Option<&Path>, crate_folder: &str, file: &str) -> String {
    let given = given
        .map(|folder| folder.join(file))
        .filter(|path| path.is_file());
    let committed = || Path::new(crate_folder).join("tests/fixtures").join(file);
    let path = given.unwrap_or_else(committed);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Refuses an object with a member that the reader of a case does not know: what it sets would be
/// left out in silence.
///
/// # Panics
///
/// Panics if `value` has a member that `keys` does not name.
#[track_caller]
pub fn known(value: &Value, keys: &[&str]) {
    for key in value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys())
    {
        assert!(
            keys.contains(&key.as_str()),
            "nobody reads {key} of {value}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_folder_comes_first_where_it_has_the_file() {
        let [here, given] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let fixtures = here.path().join("tests/fixtures");
        std::fs::create_dir_all(&fixtures).unwrap();
        std::fs::write(fixtures.join("both.json"), "committed").unwrap();
        std::fs::write(fixtures.join("one.json"), "committed").unwrap();
        std::fs::write(given.path().join("both.json"), "given").unwrap();
        let crate_folder = here.path().to_str().unwrap();
        let text = |given, file| read(given, crate_folder, file);
        assert_eq!(text(Some(given.path()), "both.json"), "given");
        assert_eq!(text(Some(given.path()), "one.json"), "committed");
        assert_eq!(text(None, "both.json"), "committed");
    }

    #[test]
    #[should_panic(expected = "nobody reads n_warmup_steps")]
    fn an_unknown_key_is_refused() {
        let case = serde_json::json!({ "lower": 0.5, "n_warmup_steps": 3 });
        known(&case, &["lower", "upper"]);
    }
}

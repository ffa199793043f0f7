//! Things that are chosen by name: how a name is read, and what is said about a wrong one.

use crate::error::{Error, Result};

/// The item of this name, capital or small letters; `-` and `_` are the same.
///
/// # Errors
///
/// [`Error::UnknownName`] with every name there is, and the nearest.
pub(crate) fn find<T: Copy>(
    what: &'static str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T> {
    let wanted = text.to_lowercase().replace('_', "-");
    let found = all.iter().find(|item| name_of(**item) == wanted);
    found.copied().ok_or_else(|| {
        let known: Vec<&'static str> = all.iter().map(|item| name_of(*item)).collect();
        let nearest = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(&wanted, name), *name))
            .min()
            .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
        Error::UnknownName {
            what,
            name: text.to_owned(),
            suggestion: nearest.map(|(_, name)| name),
            known,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: std::result::Result<&'static str, &str>) {
        let all = ["tpe", "cmaes", "successive-halving"];
        let found = find("sampler", &all, |name| name, text);
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_name_is_read_however_it_is_written_and_a_wrong_one_is_told_the_next() {
        check("tpe", Ok("tpe"));
        check("TPE", Ok("tpe"));
        check("Successive_Halving", Ok("successive-halving"));
        check(
            "cmase",
            Err(
                "there is no sampler \"cmase\" (did you mean \"cmaes\"?); there are: tpe, cmaes, \
                 successive-halving",
            ),
        );
        check(
            "",
            Err("there is no sampler \"\"; there are: tpe, cmaes, successive-halving"),
        );
    }
}

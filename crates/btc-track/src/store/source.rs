//! What the source of a model version points to, and what may therefore not be
//! removed.

use std::collections::BTreeSet;

use crate::artifact::ArtifactUri;
use crate::client::{is_model_id, join_uri};
use crate::entity::Tag;
use crate::error::{Error, Result};
use crate::store::NewModelVersion;

/// MLflow's mark of prompts among registered models and their versions.
pub(crate) const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";
/// Versions can name versions; a few steps are enough for honest ones.
const MAX_STEPS: usize = 8;

/// A version of a registered model, as a URI names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    Number(u64),
    Alias(&'a str),
    Latest,
}

impl<'a> Which<'a> {
    /// The version with an alias; `latest`, which no version can have, is the
    /// one with the highest number.
    pub(crate) fn alias(alias: &'a str) -> Self {
        if alias.eq_ignore_ascii_case("latest") {
            Self::Latest
        } else {
            Self::Alias(alias)
        }
    }
}

/// Tells where the things lie that a source can name.
pub(crate) trait Sources {
    /// The artifact URI of a run.
    fn run_folder(&self, id: &str) -> Result<String>;
    /// The artifact URI of a logged model.
    fn model_folder(&self, id: &str) -> Result<String>;
    /// Where the files of a version lie, or its source.
    fn version_source(&self, name: &str, which: Which<'_>) -> Result<String>;
}

/// The URI of the files that a source names: `runs:/RUN/path`, `models:/m-ID`,
/// `models:/NAME/VERSION` and `models:/NAME@ALIAS` lead to others, any other
/// URI is its own.
///
/// # Errors
///
/// `NotFound` if what the source names is missing; `InvalidParameter` if it is
/// no URI or leads to itself.
pub(crate) fn resolve(source: &str, sources: &impl Sources) -> Result<String> {
    let mut uri = source.trim_end_matches('/').to_owned();
    for _ in 0..MAX_STEPS {
        let parsed = ArtifactUri::parse(&uri)?;
        let path = parsed.path.as_str();
        uri = match parsed.scheme.as_str() {
            "runs" => {
                let (id, path) = path.split_once('/').unwrap_or((path, ""));
                join_uri(&sources.run_folder(id)?, path)
            }
            "models" => {
                let (name, rest) = path.split_once('/').unwrap_or((path, ""));
                if is_model_id(name) {
                    return Ok(join_uri(&sources.model_folder(name)?, rest));
                }
                sources.version_source(name_of(name), which(name, rest)?)?
            }
            _ => return Ok(uri),
        };
    }
    Err(Error::invalid(format!(
        "the artifact URI {source:?} leads to itself"
    )))
}

fn name_of(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn which<'a>(name: &'a str, rest: &str) -> Result<Which<'a>> {
    if let Some((_, alias)) = name.split_once('@') {
        return Ok(Which::alias(alias));
    }
    match rest.parse() {
        Ok(version) => Ok(Which::Number(version)),
        Err(_) if rest.eq_ignore_ascii_case("latest") => Ok(Which::Latest),
        Err(_) => Err(Error::not_found("model version", format!("{name}/{rest}"))),
    }
}

/// Where the files of a new version lie; none for a prompt, which has no files
/// and whose source is any text.
///
/// # Errors
///
/// As [`resolve`], but a missing run is an `InvalidParameter`, as in MLflow.
pub(crate) fn location_of(new: &NewModelVersion, sources: &impl Sources) -> Result<Option<String>> {
    if is_prompt(&new.tags) {
        return Ok(None);
    }
    match resolve(&new.source, sources) {
        Err(Error::NotFound { what: "run", id }) => Err(Error::invalid(format!(
            "the source {:?} names the run {id:?}, which does not exist",
            new.source
        ))),
        found => found.map(|uri| Some(place(&uri))),
    }
}

/// Whether tags mark a prompt, which MLflow keeps among the registered models.
pub(crate) fn is_prompt(tags: &[Tag]) -> bool {
    tags.iter()
        .any(|tag| tag.key == PROMPT_TAG && tag.value.eq_ignore_ascii_case("true"))
}

/// One spelling for each folder: hosts of the artifact proxy do not matter.
pub(crate) fn place(uri: &str) -> String {
    match ArtifactUri::parse(uri) {
        Ok(parsed) if parsed.scheme == "mlflow-artifacts" => {
            format!("mlflow-artifacts:/{}", parsed.path.as_str())
        }
        _ => uri.trim_end_matches('/').to_owned(),
    }
}

/// A place and every place above it.
pub(crate) fn with_parents(place: &str) -> Vec<&str> {
    let parents = place.match_indices('/').map(|(i, _)| &place[..i]);
    parents.chain([place]).collect()
}

/// The folders that registered versions point to.
#[derive(Debug, Default)]
pub(crate) struct InUse(BTreeSet<String>);

impl InUse {
    pub(crate) fn add(&mut self, uri: &str) {
        self.0.insert(place(uri));
    }

    /// Whether a version points to `folder`, to something below it, or to
    /// something above it.
    pub(crate) fn needs(&self, folder: &str) -> bool {
        let folder = place(folder);
        let below = format!("{folder}/");
        let inside = self.0.range(below.clone()..).next();
        inside.is_some_and(|uri| uri.starts_with(&below))
            || with_parents(&folder)
                .iter()
                .any(|uri| self.0.contains(*uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_in_use_in_every_spelling() {
        let mut used = InUse::default();
        used.add("mlflow-artifacts://host:80/1/a/artifacts/model/");
        for folder in [
            "mlflow-artifacts:/1/a/artifacts/model",
            "mlflow-artifacts:/1/a/artifacts",
            "mlflow-artifacts:/1/a",
            "mlflow-artifacts://other/1/a/artifacts/model/data",
        ] {
            assert!(used.needs(folder), "{folder}");
        }
        for folder in [
            "mlflow-artifacts:/1/a/artifacts/model2",
            "mlflow-artifacts:/1/a/artifacts/mode",
            "mlflow-artifacts:/1/ab/artifacts",
            "gs://bucket/1/a/artifacts",
        ] {
            assert!(!used.needs(folder), "{folder}");
        }
    }
}

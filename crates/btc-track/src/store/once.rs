//! One run becomes one version, in a store that has no transaction for it.

use super::{
    ModelVersionChange, NewModelVersion, RegisteredModelChange, RegistryStore, SearchQuery,
};
use crate::client::{all_pages, quote};
use crate::entity::ModelVersion;
use crate::error::Result;

/// Creates a version, and goes back to an older one of the same run and source if there is one.
pub(super) fn register<S: RegistryStore + ?Sized>(
    store: &S,
    new: &NewModelVersion,
) -> Result<(ModelVersion, bool)> {
    if let Some(version) = oldest(store, new)? {
        return Ok((complete(store, new, &version, true)?, true));
    }
    // Aliases come last: a version that is deleted again must not take one with it.
    let bare = NewModelVersion {
        aliases: Vec::new(),
        ..new.clone()
    };
    let created = store.create_model_version(&bare)?;
    match oldest(store, new)? {
        Some(older) if older.version < created.version => {
            store.delete_model_version(&created.name, created.version)?;
            Ok((complete(store, new, &older, true)?, true))
        }
        _ => Ok((complete(store, new, &created, false)?, false)),
    }
}

/// The oldest version of the run and the source.
fn oldest<S: RegistryStore + ?Sized>(
    store: &S,
    new: &NewModelVersion,
) -> Result<Option<ModelVersion>> {
    match store.registered_model(&new.name) {
        Err(error) if error.is_not_found() => return Ok(None),
        found => found?,
    };
    let mut query = SearchQuery::filtered(format!("name = {}", quote(&new.name)?));
    let versions = all_pages(|token| {
        query.page_token = token;
        store.search_model_versions(&query)
    })?;
    let same = versions
        .into_iter()
        .filter(|version| version.run_id == new.run_id && version.source == new.source);
    Ok(same.min_by_key(|version| version.version))
}

/// Gives a version the aliases, and the tags where it does not have them yet.
fn complete<S: RegistryStore + ?Sized>(
    store: &S,
    new: &NewModelVersion,
    version: &ModelVersion,
    with_tags: bool,
) -> Result<ModelVersion> {
    let (name, number) = (&version.name, version.version);
    for tag in new.tags.iter().filter(|_| with_tags) {
        store.change_model_version(name, number, &ModelVersionChange::SetTag(tag.clone()))?;
    }
    for alias in &new.aliases {
        let change = RegisteredModelChange::SetAlias(alias.clone(), number);
        store.change_registered_model(name, &change)?;
    }
    store.model_version(name, number)
}

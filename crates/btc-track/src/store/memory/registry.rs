//! Registered models in memory.

use super::{MemoryStore, Registered, State, set_tag};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

impl RegistryStore for MemoryStore {
    fn create_registered_model(&self, new: &NewRegisteredModel) -> Result<RegisteredModel> {
        check_new_model(new)?;
        self.write(|state, now| {
            state.insert_model(new, now)?;
            Ok(state.registered(&new.name)?.complete())
        })
    }

    fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        Ok(self.lock().registered(name)?.complete())
    }

    fn change_registered_model(
        &self,
        name: &str,
        change: &RegisteredModelChange,
    ) -> Result<RegisteredModel> {
        check_model_change(change)?;
        self.write(|state, now| {
            state.registered(name)?;
            if let RegisteredModelChange::Rename(new) = change {
                if new != name {
                    state.free_model_name(new)?;
                }
                if let Some(mut entry) = state.registered.remove(name) {
                    entry.model.name.clone_from(new);
                    entry
                        .versions
                        .values_mut()
                        .for_each(|version| version.name.clone_from(new));
                    state.registered.insert(new.clone(), entry);
                }
            }
            let name = match change {
                RegisteredModelChange::Rename(new) => new,
                _ => name,
            };
            let entry = state.registered_mut(name)?;
            match change {
                RegisteredModelChange::Rename(_) => {}
                RegisteredModelChange::Description(text) => {
                    entry.model.description.clone_from(text);
                }
                RegisteredModelChange::SetTag(tag) => set_tag(&mut entry.model.tags, tag),
                RegisteredModelChange::DeleteTag(key) => {
                    entry.model.tags.retain(|tag| tag.key != *key);
                }
                RegisteredModelChange::SetAlias(alias, version) => {
                    entry.version(*version)?;
                    entry.set_alias(alias, *version);
                }
                RegisteredModelChange::DeleteAlias(alias) => {
                    entry.model.aliases.retain(|(old, _)| old != alias);
                }
            }
            entry.model.last_updated_timestamp = now;
            Ok(entry.complete())
        })
    }

    fn delete_registered_model(&self, name: &str) -> Result<()> {
        self.write(|state, _| {
            state.registered(name)?;
            state.registered.remove(name);
            Ok(())
        })
    }

    fn search_registered_models(&self, query: &SearchQuery) -> Result<Page<RegisteredModel>> {
        let models = self
            .lock()
            .registered
            .values()
            .map(Registered::complete)
            .collect();
        page_registered_models(models, query)
    }

    fn create_model_version(&self, new: &NewModelVersion) -> Result<ModelVersion> {
        check_new_version(new)?;
        self.write(|state, now| insert_version(state, new, now))
    }

    fn register_model_version(&self, new: &NewModelVersion) -> Result<(ModelVersion, bool)> {
        check_new_version(new)?;
        self.write(|state, now| {
            let Some(entry) = state.registered.get_mut(&new.name) else {
                return Ok((insert_version(state, new, now)?, false));
            };
            let same = |version: &&mut ModelVersion| {
                version.run_id == new.run_id && version.source == new.source
            };
            let Some(found) = entry.versions.values_mut().find(same) else {
                return Ok((insert_version(state, new, now)?, false));
            };
            let number = found.version;
            new.tags
                .iter()
                .for_each(|tag| set_tag(&mut found.tags, tag));
            found.last_updated_timestamp = now;
            new.aliases
                .iter()
                .for_each(|alias| entry.set_alias(alias, number));
            entry.model.last_updated_timestamp = now;
            Ok((entry.version(number)?, true))
        })
    }

    fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion> {
        self.lock().registered(name)?.version(version)
    }

    fn model_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        let state = self.lock();
        let number = state.number(name, Which::alias(alias))?;
        state.registered(name)?.version(number)
    }

    fn change_model_version(
        &self,
        name: &str,
        version: u64,
        change: &ModelVersionChange,
    ) -> Result<ModelVersion> {
        check_version_change(change)?;
        self.write(|state, now| {
            let entry = state.registered_mut(name)?;
            entry.version(version)?;
            if let ModelVersionChange::Stage {
                stage,
                archive_existing: true,
            } = change
            {
                let staged = entry
                    .versions
                    .values_mut()
                    .filter(|v| v.current_stage == *stage);
                for old in staged {
                    old.current_stage = Stage::Archived;
                    old.last_updated_timestamp = now;
                }
            }
            let missing = || Error::not_found("model version", format!("{name}/{version}"));
            let found = entry.versions.get_mut(&version).ok_or_else(missing)?;
            match change {
                ModelVersionChange::Description(text) => found.description.clone_from(text),
                ModelVersionChange::Stage { stage, .. } => found.current_stage = *stage,
                ModelVersionChange::SetTag(tag) => set_tag(&mut found.tags, tag),
                ModelVersionChange::DeleteTag(key) => found.tags.retain(|tag| tag.key != *key),
            }
            found.last_updated_timestamp = now;
            entry.model.last_updated_timestamp = now;
            entry.version(version)
        })
    }

    fn delete_model_version(&self, name: &str, version: u64) -> Result<()> {
        self.write(|state, now| {
            let entry = state.registered_mut(name)?;
            entry.version(version)?;
            entry.versions.remove(&version);
            entry.model.aliases.retain(|(_, old)| *old != version);
            entry.model.last_updated_timestamp = now;
            Ok(())
        })
    }

    fn pinned_at(&self, uri: &str) -> Result<Option<(String, u64)>> {
        let state = self.lock();
        let uri = place(uri);
        let mut pinned = InUse::default();
        pinned.add(&uri);
        let versions = state
            .registered
            .values()
            .flat_map(|entry| entry.versions.values());
        let found = versions
            .filter(|version| version.content.is_some())
            .find(|version| {
                version
                    .location
                    .as_deref()
                    .is_some_and(|location| pinned.needs(location))
            });
        Ok(found.map(|version| (version.name.clone(), version.version)))
    }

    fn search_model_versions(&self, query: &SearchQuery) -> Result<Page<ModelVersion>> {
        let state = self.lock();
        let versions = state
            .registered
            .values()
            .flat_map(Registered::all_versions)
            .collect();
        page_model_versions(versions, query)
    }
}

/// Inserts a version, numbered one higher than any before it.
fn insert_version(state: &mut State, new: &NewModelVersion, now: i64) -> Result<ModelVersion> {
    let location = location_of(new, state)?;
    if new.create_model && !state.registered.contains_key(&new.name) {
        let model = NewRegisteredModel {
            name: new.name.clone(),
            ..Default::default()
        };
        state.insert_model(&model, now)?;
    }
    let entry = state.registered_mut(&new.name)?;
    entry.last_version += 1;
    let number = entry.last_version;
    let version = ModelVersion {
        name: new.name.clone(),
        version: number,
        creation_timestamp: now,
        last_updated_timestamp: now,
        description: new.description.clone(),
        current_stage: Stage::None,
        source: new.source.clone(),
        run_id: new.run_id.clone(),
        model_id: new.model_id.clone(),
        run_link: new.run_link.clone(),
        content: new.content.clone().filter(|_| location.is_some()),
        location,
        tags: distinct_tags(&new.tags),
        aliases: Vec::new(),
    };
    entry.versions.insert(number, version);
    new.aliases
        .iter()
        .for_each(|alias| entry.set_alias(alias, number));
    entry.model.last_updated_timestamp = now;
    entry.version(number)
}

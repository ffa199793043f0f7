//! Registered models of a server.

use serde::Deserialize;
use serde_json::{Value, json};

use super::RestStore;
use super::http::Repeat;
use super::tracking::{BASE, token};
use crate::entity::*;
use crate::error::Result;
use crate::proto::*;
use crate::store::*;

#[derive(Deserialize)]
struct OneModel {
    registered_model: RegisteredModelMessage,
}

#[derive(Deserialize)]
struct OneVersion {
    model_version: ModelVersionMessage,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Models {
    registered_models: Vec<RegisteredModelMessage>,
    next_page_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Versions {
    model_versions: Vec<ModelVersionMessage>,
    next_page_token: Option<String>,
}

impl RestStore {
    fn registry<R: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<R> {
        self.http
            .send(method, &format!("{BASE}/{path}"), body, Repeat::Never)
    }

    fn search<R: serde::de::DeserializeOwned>(&self, path: &str, query: &SearchQuery) -> Result<R> {
        let max_results = query.max_results.to_string();
        let mut fields = vec![
            ("filter", query.filter.as_str()),
            ("max_results", max_results.as_str()),
        ];
        fields.extend(query.order_by.iter().map(|key| ("order_by", key.as_str())));
        fields.extend(
            query
                .page_token
                .as_deref()
                .map(|token| ("page_token", token)),
        );
        self.http.get(&format!("{BASE}/{path}"), &fields)
    }
}

fn tags(tags: &[Tag]) -> Vec<KeyValue> {
    tags.iter().cloned().map(Into::into).collect()
}

impl RegistryStore for RestStore {
    fn create_registered_model(&self, new: &NewRegisteredModel) -> Result<RegisteredModel> {
        check_new_model(new)?;
        let body = json!({
            "name": new.name,
            "description": new.description,
            "tags": tags(&new.tags),
        });
        let created: OneModel = self.registry("POST", "registered-models/create", &body)?;
        created.registered_model.into_model()
    }

    fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        let path = format!("{BASE}/registered-models/get");
        let found: OneModel = self.http.get(&path, &[("name", name)])?;
        found.registered_model.into_model()
    }

    fn change_registered_model(
        &self,
        name: &str,
        change: &RegisteredModelChange,
    ) -> Result<RegisteredModel> {
        check_model_change(change)?;
        let (method, path, mut body) = match change {
            RegisteredModelChange::Rename(new) => (
                "POST",
                "registered-models/rename",
                json!({ "new_name": new }),
            ),
            RegisteredModelChange::Description(text) => (
                "PATCH",
                "registered-models/update",
                json!({ "description": text }),
            ),
            RegisteredModelChange::SetTag(tag) => (
                "POST",
                "registered-models/set-tag",
                json!({ "key": tag.key, "value": tag.value }),
            ),
            RegisteredModelChange::DeleteTag(key) => (
                "DELETE",
                "registered-models/delete-tag",
                json!({ "key": key }),
            ),
            RegisteredModelChange::SetAlias(alias, version) => (
                "POST",
                "registered-models/alias",
                json!({ "alias": alias, "version": version.to_string() }),
            ),
            RegisteredModelChange::DeleteAlias(alias) => (
                "DELETE",
                "registered-models/alias",
                json!({ "alias": alias }),
            ),
        };
        body["name"] = json!(name);
        self.registry::<Value>(method, path, &body)?;
        match change {
            RegisteredModelChange::Rename(new) => self.registered_model(new),
            _ => self.registered_model(name),
        }
    }

    fn delete_registered_model(&self, name: &str) -> Result<()> {
        let body = json!({ "name": name });
        self.registry::<Value>("DELETE", "registered-models/delete", &body)
            .map(|_| ())
    }

    fn search_registered_models(&self, query: &SearchQuery) -> Result<Page<RegisteredModel>> {
        let found: Models = self.search("registered-models/search", query)?;
        let items = found
            .registered_models
            .into_iter()
            .map(RegisteredModelMessage::into_model);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_page_token: token(found.next_page_token),
        })
    }

    fn create_model_version(&self, new: &NewModelVersion) -> Result<ModelVersion> {
        check_new_version(new)?;
        let mut made_model = false;
        if new.create_model {
            let model = NewRegisteredModel {
                name: new.name.clone(),
                ..Default::default()
            };
            match self.create_registered_model(&model) {
                Ok(_) => made_model = true,
                Err(error) if error.code() == "RESOURCE_ALREADY_EXISTS" => {}
                Err(error) => return Err(error),
            }
        }
        let mut body = json!({
            "name": new.name,
            "source": new.source,
            "run_link": new.run_link,
            "description": new.description,
            "tags": tags(&new.tags),
        });
        for (key, value) in [("run_id", &new.run_id), ("model_id", &new.model_id)] {
            if let Some(value) = value {
                body[key] = json!(value);
            }
        }
        let created: Result<OneVersion> = self.registry("POST", "model-versions/create", &body);
        let version = match created {
            Ok(created) => created.model_version.into_version()?,
            Err(error) => {
                // Nothing of ours is left behind; the first error is the one to tell.
                if made_model {
                    let _ = self.delete_registered_model(&new.name);
                }
                return Err(error);
            }
        };
        for alias in &new.aliases {
            let change = RegisteredModelChange::SetAlias(alias.clone(), version.version);
            if let Err(error) = self.change_registered_model(&new.name, &change) {
                let _ = match made_model {
                    true => self.delete_registered_model(&new.name),
                    false => self.delete_model_version(&new.name, version.version),
                };
                return Err(error);
            }
        }
        self.model_version(&new.name, version.version)
    }

    fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion> {
        let version = version.to_string();
        let path = format!("{BASE}/model-versions/get");
        let found: OneVersion = self
            .http
            .get(&path, &[("name", name), ("version", &version)])?;
        found.model_version.into_version()
    }

    fn model_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        let path = format!("{BASE}/registered-models/alias");
        let found: OneVersion = self.http.get(&path, &[("name", name), ("alias", alias)])?;
        found.model_version.into_version()
    }

    fn change_model_version(
        &self,
        name: &str,
        version: u64,
        change: &ModelVersionChange,
    ) -> Result<ModelVersion> {
        check_version_change(change)?;
        let (method, path, mut body) = match change {
            ModelVersionChange::Description(text) => (
                "PATCH",
                "model-versions/update",
                json!({ "description": text }),
            ),
            ModelVersionChange::Stage {
                stage,
                archive_existing,
            } => (
                "POST",
                "model-versions/transition-stage",
                json!({ "stage": stage.as_str(), "archive_existing_versions": archive_existing }),
            ),
            ModelVersionChange::SetTag(tag) => (
                "POST",
                "model-versions/set-tag",
                json!({ "key": tag.key, "value": tag.value }),
            ),
            ModelVersionChange::DeleteTag(key) => {
                ("DELETE", "model-versions/delete-tag", json!({ "key": key }))
            }
        };
        body["name"] = json!(name);
        body["version"] = json!(version.to_string());
        self.registry::<Value>(method, path, &body)?;
        self.model_version(name, version)
    }

    fn delete_model_version(&self, name: &str, version: u64) -> Result<()> {
        let body = json!({ "name": name, "version": version.to_string() });
        self.registry::<Value>("DELETE", "model-versions/delete", &body)
            .map(|_| ())
    }

    fn pinned_at(&self, _uri: &str) -> Result<Option<(String, u64)>> {
        // The server itself refuses what would change a version's files.
        Ok(None)
    }

    fn search_model_versions(&self, query: &SearchQuery) -> Result<Page<ModelVersion>> {
        let found: Versions = self.search("model-versions/search", query)?;
        let items = found
            .model_versions
            .into_iter()
            .map(ModelVersionMessage::into_version);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_page_token: token(found.next_page_token),
        })
    }
}

//! From MLflow's messages to our entities, for the `rest` store.

use crate::entity::*;
use crate::error::Result;
use crate::proto::*;

fn millis(time: Option<Int64>) -> i64 {
    time.map_or(0, |time| time.0)
}

fn sorted<A: Into<B>, B: Ord>(items: Vec<A>) -> Vec<B> {
    let mut items: Vec<B> = items.into_iter().map(Into::into).collect();
    items.sort();
    items
}

/// An id that may be missing or empty.
fn id(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl ExperimentMessage {
    pub(crate) fn into_experiment(self) -> Result<Experiment> {
        Ok(Experiment {
            experiment_id: self.experiment_id,
            name: self.name,
            artifact_location: self.artifact_location,
            lifecycle_stage: self.lifecycle_stage.parse()?,
            creation_time: millis(self.creation_time),
            last_update_time: millis(self.last_update_time),
            tags: sorted(self.tags),
        })
    }
}

impl RunInfoMessage {
    pub(crate) fn into_info(self) -> Result<RunInfo> {
        Ok(RunInfo {
            run_id: if self.run_id.is_empty() {
                self.run_uuid
            } else {
                self.run_id
            },
            experiment_id: self.experiment_id,
            run_name: self.run_name.unwrap_or_default(),
            user_id: self.user_id,
            status: self.status.parse()?,
            start_time: millis(self.start_time),
            end_time: self.end_time.map(|time| time.0),
            artifact_uri: self.artifact_uri,
            lifecycle_stage: self.lifecycle_stage.parse()?,
        })
    }
}

impl RunMessage {
    pub(crate) fn into_run(self) -> Result<Run> {
        let metrics = self.data.metrics.iter().map(MetricMessage::metric);
        let mut metrics: Vec<Metric> = metrics.collect::<Result<_>>()?;
        metrics.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Run {
            info: self.info.into_info()?,
            data: RunData {
                metrics,
                params: sorted(self.data.params),
                tags: sorted(self.data.tags),
            },
            inputs: all(self.inputs.dataset_inputs),
            model_inputs: self
                .inputs
                .model_inputs
                .into_iter()
                .filter_map(|model| id(model.model_id))
                .collect(),
            outputs: all(self.outputs.model_outputs),
        })
    }
}

impl LoggedModelMessage {
    pub(crate) fn into_model(self) -> Result<LoggedModel> {
        let info = self.info;
        let mut metrics = Vec::new();
        for message in self.data.metrics {
            let metric = message.metric()?;
            metrics.push(ModelMetric {
                model_id: info.model_id.clone(),
                metric,
                dataset_name: message.dataset_name.unwrap_or_default(),
                dataset_digest: message.dataset_digest.unwrap_or_default(),
                run_id: id(message.run_id),
            });
        }
        Ok(LoggedModel {
            model_id: info.model_id,
            experiment_id: info.experiment_id,
            name: info.name,
            creation_timestamp: millis(info.creation_timestamp_ms),
            last_updated_timestamp: millis(info.last_updated_timestamp_ms),
            artifact_uri: info.artifact_uri,
            status: info.status.parse()?,
            model_type: info.model_type.unwrap_or_default(),
            source_run_id: id(info.source_run_id),
            params: sorted(self.data.params),
            tags: sorted(info.tags),
            metrics,
        })
    }
}

/// A version number, which travels as a text.
fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        crate::Error::invalid(format!(
            "the server gave the version {text:?}, not a number"
        ))
    })
}

impl ModelVersionMessage {
    pub(crate) fn into_version(self) -> Result<ModelVersion> {
        let mut aliases = self.aliases;
        aliases.sort();
        let stage = if self.current_stage.is_empty() {
            "None"
        } else {
            &self.current_stage
        };
        Ok(ModelVersion {
            name: self.name,
            version: number(&self.version)?,
            creation_timestamp: millis(self.creation_timestamp),
            last_updated_timestamp: millis(self.last_updated_timestamp),
            description: self.description.unwrap_or_default(),
            current_stage: stage.parse()?,
            source: self.source,
            run_id: id(self.run_id),
            model_id: id(self.model_id),
            run_link: self.run_link.unwrap_or_default(),
            location: None,
            content: id(self.content_sha256),
            tags: sorted(self.tags),
            aliases,
        })
    }
}

impl RegisteredModelMessage {
    pub(crate) fn into_model(self) -> Result<RegisteredModel> {
        let aliases = self
            .aliases
            .into_iter()
            .map(|a| Ok((a.alias, number(&a.version)?)));
        let mut aliases: Vec<(String, u64)> = aliases.collect::<Result<_>>()?;
        aliases.sort();
        let versions = self
            .latest_versions
            .into_iter()
            .map(ModelVersionMessage::into_version);
        let versions: Vec<ModelVersion> = versions.collect::<Result<_>>()?;
        Ok(RegisteredModel {
            name: self.name,
            creation_timestamp: millis(self.creation_timestamp),
            last_updated_timestamp: millis(self.last_updated_timestamp),
            description: self.description.unwrap_or_default(),
            tags: sorted(self.tags),
            aliases,
            latest_versions: crate::store::latest_per_stage(&versions),
        })
    }
}

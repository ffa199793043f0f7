//! MLflow's JSON messages, for the server and for the `rest` store.
//!
//! Empty lists and unset fields are left out; 64-bit integers are written as
//! numbers and read as numbers or texts, as protocol buffers have it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::entity::*;
use crate::error::{Error, Result};

/// A 64-bit integer that may arrive as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int64(pub(crate) i64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Int64;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit integer")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Int64, E> {
                Ok(Int64(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Int64, E> {
                i64::try_from(value)
                    .map(Int64)
                    .map_err(|_| E::custom(format_args!("{value} is too large")))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Int64, E> {
                // Up to 2^53 a double holds every integer.
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
                    return Ok(Int64(value as i64));
                }
                Err(E::custom(format_args!("{value} is not a 64-bit integer")))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
                text.parse()
                    .map(Int64)
                    .map_err(|_| E::custom(format_args!("{text:?} is not a 64-bit integer")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A number that is written as a text if JSON has no number for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Double(pub(crate) f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_str(if self.0 > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        }
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Double;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Double, E> {
                Ok(Double(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Double, E> {
                let number = match text {
                    "NaN" => Some(f64::NAN),
                    "Infinity" => Some(f64::INFINITY),
                    "-Infinity" => Some(f64::NEG_INFINITY),
                    // Rust also reads words such as "inf"; numbers have digits.
                    // Those beyond the largest are no infinity that somebody meant.
                    _ if text.bytes().any(|b| b.is_ascii_digit()) => {
                        text.parse().ok().filter(|number: &f64| number.is_finite())
                    }
                    _ => None,
                };
                number
                    .map(Double)
                    .ok_or_else(|| E::custom(format_args!("{text:?} is not a number")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A list that may be `null` or missing.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A message: every field may be missing, and empty ones are left out.
macro_rules! message {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name { $($fields)* }
    )+};
}

message! {
    KeyValue {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) value: Option<String>,
    }

    MetricMessage {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) value: Option<Double>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) timestamp: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) step: Option<Int64>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) model_id: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) dataset_name: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) dataset_digest: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) run_id: Option<String>,
    }

    ExperimentMessage {
        pub(crate) experiment_id: String,
        pub(crate) name: String,
        pub(crate) artifact_location: String,
        pub(crate) lifecycle_stage: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) last_update_time: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) creation_time: Option<Int64>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) workspace: Option<String>,
    }

    RunInfoMessage {
        pub(crate) run_uuid: String,
        pub(crate) experiment_id: String,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) run_name: Option<String>,
        pub(crate) user_id: String,
        pub(crate) status: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) start_time: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) end_time: Option<Int64>,
        pub(crate) artifact_uri: String,
        pub(crate) lifecycle_stage: String,
        pub(crate) run_id: String,
    }

    RunDataMessage {
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) metrics: Vec<MetricMessage>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) params: Vec<KeyValue>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
    }

    DatasetMessage {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) digest: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) source_type: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) source: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) schema: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) profile: Option<String>,
    }

    DatasetInputMessage {
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
        pub(crate) dataset: DatasetMessage,
    }

    RunInputsMessage {
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) dataset_inputs: Vec<DatasetInputMessage>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) model_inputs: Vec<ModelInputMessage>,
    }

    ModelInputMessage {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) model_id: Option<String>,
    }

    ModelOutputMessage {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) model_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) step: Option<Int64>,
    }

    RunOutputsMessage {
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) model_outputs: Vec<ModelOutputMessage>,
    }

    RunMessage {
        pub(crate) info: RunInfoMessage,
        pub(crate) data: RunDataMessage,
        pub(crate) inputs: RunInputsMessage,
        pub(crate) outputs: RunOutputsMessage,
    }

    LoggedModelInfoMessage {
        pub(crate) model_id: String,
        pub(crate) experiment_id: String,
        pub(crate) name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) creation_timestamp_ms: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) last_updated_timestamp_ms: Option<Int64>,
        pub(crate) artifact_uri: String,
        pub(crate) status: String,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) model_type: Option<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) source_run_id: Option<String>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
    }

    LoggedModelDataMessage {
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) params: Vec<KeyValue>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) metrics: Vec<MetricMessage>,
    }

    LoggedModelMessage {
        pub(crate) info: LoggedModelInfoMessage,
        pub(crate) data: LoggedModelDataMessage,
    }

    AliasMessage {
        pub(crate) alias: String,
        pub(crate) version: String,
    }

    ModelVersionMessage {
        pub(crate) name: String,
        pub(crate) version: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) creation_timestamp: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) last_updated_timestamp: Option<Int64>,
        pub(crate) current_stage: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) description: Option<String>,
        pub(crate) source: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) run_id: Option<String>,
        pub(crate) status: String,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) run_link: Option<String>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) aliases: Vec<String>,
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) model_id: Option<String>,
        /// Ours alone; MLflow's clients pass over it.
        #[serde(skip_serializing_if = "is_empty")]
        pub(crate) content_sha256: Option<String>,
    }

    RegisteredModelMessage {
        pub(crate) name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) creation_timestamp: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) last_updated_timestamp: Option<Int64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) description: Option<String>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) latest_versions: Vec<ModelVersionMessage>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) tags: Vec<KeyValue>,
        #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        pub(crate) aliases: Vec<AliasMessage>,
    }

    FileInfoMessage {
        pub(crate) path: String,
        pub(crate) is_dir: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) file_size: Option<Int64>,
    }
}

impl From<Tag> for KeyValue {
    fn from(tag: Tag) -> Self {
        Self {
            key: Some(tag.key),
            value: Some(tag.value),
        }
    }
}

impl From<Param> for KeyValue {
    fn from(param: Param) -> Self {
        Self {
            key: Some(param.key),
            value: Some(param.value),
        }
    }
}

impl From<KeyValue> for Tag {
    fn from(pair: KeyValue) -> Self {
        Self {
            key: pair.key.unwrap_or_default(),
            value: pair.value.unwrap_or_default(),
        }
    }
}

impl From<KeyValue> for Param {
    fn from(pair: KeyValue) -> Self {
        Self {
            key: pair.key.unwrap_or_default(),
            value: pair.value.unwrap_or_default(),
        }
    }
}

/// Converts a list.
pub(crate) fn all<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

impl From<Metric> for MetricMessage {
    fn from(metric: Metric) -> Self {
        Self {
            key: Some(metric.key),
            value: Some(Double(metric.value)),
            timestamp: Some(Int64(metric.timestamp)),
            step: Some(Int64(metric.step)),
            ..Self::default()
        }
    }
}

impl From<ModelMetric> for MetricMessage {
    fn from(metric: ModelMetric) -> Self {
        Self {
            model_id: Some(metric.model_id),
            dataset_name: some(metric.dataset_name),
            dataset_digest: some(metric.dataset_digest),
            run_id: metric.run_id,
            ..Self::from(metric.metric)
        }
    }
}

impl MetricMessage {
    /// The metric, of which name, value and time are required.
    pub(crate) fn metric(&self) -> Result<Metric> {
        let missing = |name: &str| Error::invalid(format!("a metric has no {name:?}"));
        Ok(Metric {
            key: self.key.clone().ok_or_else(|| missing("key"))?,
            value: self.value.ok_or_else(|| missing("value"))?.0,
            timestamp: self.timestamp.ok_or_else(|| missing("timestamp"))?.0,
            step: self.step.map_or(0, |step| step.0),
        })
    }

    /// The metric of a logged model, if it belongs to one.
    #[cfg(feature = "server")]
    pub(crate) fn model_metric(&self, metric: &Metric) -> Option<ModelMetric> {
        let model_id = self.model_id.clone().filter(|id| !id.is_empty())?;
        Some(ModelMetric {
            model_id,
            metric: metric.clone(),
            dataset_name: self.dataset_name.clone().unwrap_or_default(),
            dataset_digest: self.dataset_digest.clone().unwrap_or_default(),
            run_id: self.run_id.clone(),
        })
    }
}

impl From<Experiment> for ExperimentMessage {
    fn from(experiment: Experiment) -> Self {
        Self {
            experiment_id: experiment.experiment_id,
            name: experiment.name,
            artifact_location: experiment.artifact_location,
            lifecycle_stage: experiment.lifecycle_stage.to_string(),
            last_update_time: Some(Int64(experiment.last_update_time)),
            creation_time: Some(Int64(experiment.creation_time)),
            tags: all(experiment.tags),
            workspace: Some("default".into()),
        }
    }
}

impl From<RunInfo> for RunInfoMessage {
    fn from(info: RunInfo) -> Self {
        Self {
            run_uuid: info.run_id.clone(),
            experiment_id: info.experiment_id,
            run_name: Some(info.run_name),
            user_id: info.user_id,
            status: info.status.to_string(),
            start_time: Some(Int64(info.start_time)),
            end_time: info.end_time.map(Int64),
            artifact_uri: info.artifact_uri,
            lifecycle_stage: info.lifecycle_stage.to_string(),
            run_id: info.run_id,
        }
    }
}

impl From<DatasetInput> for DatasetInputMessage {
    fn from(input: DatasetInput) -> Self {
        let dataset = input.dataset;
        let dataset = DatasetMessage {
            name: Some(dataset.name),
            digest: Some(dataset.digest),
            source_type: Some(dataset.source_type),
            source: Some(dataset.source),
            schema: some(dataset.schema),
            profile: some(dataset.profile),
        };
        Self {
            tags: all(input.tags),
            dataset,
        }
    }
}

impl From<DatasetInputMessage> for DatasetInput {
    fn from(input: DatasetInputMessage) -> Self {
        let dataset = input.dataset;
        let dataset = Dataset {
            name: dataset.name.unwrap_or_default(),
            digest: dataset.digest.unwrap_or_default(),
            source_type: dataset.source_type.unwrap_or_default(),
            source: dataset.source.unwrap_or_default(),
            schema: dataset.schema.unwrap_or_default(),
            profile: dataset.profile.unwrap_or_default(),
        };
        Self {
            tags: all(input.tags),
            dataset,
        }
    }
}

impl From<ModelOutput> for ModelOutputMessage {
    fn from(output: ModelOutput) -> Self {
        Self {
            model_id: Some(output.model_id),
            step: Some(Int64(output.step)),
        }
    }
}

impl From<ModelOutputMessage> for ModelOutput {
    fn from(output: ModelOutputMessage) -> Self {
        Self {
            model_id: output.model_id.unwrap_or_default(),
            step: output.step.map_or(0, |step| step.0),
        }
    }
}

impl From<Run> for RunMessage {
    fn from(run: Run) -> Self {
        Self {
            info: run.info.into(),
            data: RunDataMessage {
                metrics: all(run.data.metrics),
                params: all(run.data.params),
                tags: all(run.data.tags),
            },
            inputs: RunInputsMessage {
                dataset_inputs: all(run.inputs),
                model_inputs: run
                    .model_inputs
                    .into_iter()
                    .map(|id| ModelInputMessage { model_id: Some(id) })
                    .collect(),
            },
            outputs: RunOutputsMessage {
                model_outputs: all(run.outputs),
            },
        }
    }
}

impl From<LoggedModel> for LoggedModelMessage {
    fn from(model: LoggedModel) -> Self {
        Self {
            info: LoggedModelInfoMessage {
                model_id: model.model_id,
                experiment_id: model.experiment_id,
                name: model.name,
                creation_timestamp_ms: Some(Int64(model.creation_timestamp)),
                last_updated_timestamp_ms: Some(Int64(model.last_updated_timestamp)),
                artifact_uri: model.artifact_uri,
                status: model.status.to_string(),
                model_type: some(model.model_type),
                source_run_id: model.source_run_id,
                tags: all(model.tags),
            },
            data: LoggedModelDataMessage {
                params: all(model.params),
                metrics: all(model.metrics),
            },
        }
    }
}

impl From<ModelVersion> for ModelVersionMessage {
    fn from(version: ModelVersion) -> Self {
        Self {
            name: version.name,
            version: version.version.to_string(),
            creation_timestamp: Some(Int64(version.creation_timestamp)),
            last_updated_timestamp: Some(Int64(version.last_updated_timestamp)),
            current_stage: version.current_stage.to_string(),
            description: Some(version.description),
            source: version.source,
            run_id: Some(version.run_id.unwrap_or_default()),
            status: "READY".into(),
            tags: all(version.tags),
            run_link: Some(version.run_link),
            aliases: version.aliases,
            model_id: version.model_id,
            content_sha256: version.content,
        }
    }
}

impl From<RegisteredModel> for RegisteredModelMessage {
    fn from(model: RegisteredModel) -> Self {
        let alias = |(alias, version): (String, u64)| AliasMessage {
            alias,
            version: version.to_string(),
        };
        Self {
            name: model.name,
            creation_timestamp: Some(Int64(model.creation_timestamp)),
            last_updated_timestamp: Some(Int64(model.last_updated_timestamp)),
            description: Some(model.description),
            latest_versions: all(model.latest_versions),
            tags: all(model.tags),
            aliases: model.aliases.into_iter().map(alias).collect(),
        }
    }
}

impl From<FileInfo> for FileInfoMessage {
    fn from(file: FileInfo) -> Self {
        let file_size = file
            .file_size
            .map(|size| Int64(i64::try_from(size).unwrap_or(i64::MAX)));
        Self {
            path: file.path,
            is_dir: file.is_dir,
            file_size,
        }
    }
}

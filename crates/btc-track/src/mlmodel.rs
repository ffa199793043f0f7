//! `MLmodel` files, by which MLflow knows a folder as a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The name of the file in a model's folder.
pub const FILE_NAME: &str = "MLmodel";
/// The flavor of a bundle of btc-models.
pub const BTC_FLAVOR: &str = "btc_models";
/// The MLflow whose file format is written.
const MLFLOW_VERSION: &str = "3.17.2";

/// The ONNX that graphs are checked with, and the Python whose MLflow loads them.
const ONNX_VERSION: &str = "1.23.2";
const PYTHON_VERSION: &str = "3.11.7";
/// Files of a model with a graph of ONNX that say what Python needs to apply it, with their
/// content.
pub const PYTHON_FILES: [(&str, &str); 2] = [
    (
        "requirements.txt",
        "mlflow>=3\nnumpy\nonnx>=1.16\nonnxruntime>=1.18\n",
    ),
    (
        "python_env.yaml",
        "python: 3.11.7\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n",
    ),
];

/// The type of a column, as MLflow names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the type it is named after")]
pub enum DataType {
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    String,
    Binary,
    Datetime,
}

impl DataType {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Boolean, "boolean"),
        (Self::Integer, "integer"),
        (Self::Long, "long"),
        (Self::Float, "float"),
        (Self::Double, "double"),
        (Self::String, "string"),
        (Self::Binary, "binary"),
        (Self::Datetime, "datetime"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("double", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| *kind)
    }
}

/// A column that a model reads or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it must be there.
    pub required: bool,
}

impl Column {
    /// A column that must be there.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            required: true,
        }
    }
}

/// An array that a model reads or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name; one that is the only input needs none, and takes an array as it is.
    pub name: Option<String>,
    /// The type of its numbers, as NumPy names it.
    pub data_type: String,
    /// Its sizes; -1 for one that may be any.
    pub shape: Vec<i64>,
}

impl Tensor {
    /// An array of f64 numbers without a name.
    pub fn float64(shape: impl Into<Vec<i64>>) -> Self {
        Self {
            name: None,
            data_type: "float64".to_owned(),
            shape: shape.into(),
        }
    }

    /// The same with a name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// What a model reads and gives: columns of a table, or arrays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Signature {
    /// The columns it reads.
    pub inputs: Vec<Column>,
    /// The columns it gives.
    pub outputs: Vec<Column>,
    /// The arrays it reads; columns do not count if there are any.
    pub input_tensors: Vec<Tensor>,
    /// The arrays it gives; columns do not count if there are any.
    pub output_tensors: Vec<Tensor>,
}

impl Signature {
    /// That of a model of tables.
    pub fn of_columns(inputs: Vec<Column>, outputs: Vec<Column>) -> Self {
        Self {
            inputs,
            outputs,
            ..Self::default()
        }
    }

    /// That of a model of arrays.
    pub fn of_tensors(inputs: Vec<Tensor>, outputs: Vec<Tensor>) -> Self {
        Self {
            input_tensors: inputs,
            output_tensors: outputs,
            ..Self::default()
        }
    }
}

/// What an `MLmodel` file says.
///
/// ```
/// use btc_track::mlmodel::{Column, DataType, ModelFile, Signature};
///
/// # let folder = tempfile::tempdir()?;
/// let model = ModelFile::new("model", 1_700_000_000_000)
///     .with_btc_flavor(1, "weights.safetensors", "forecaster.json")
///     .with_signature(Signature::of_columns(
///         vec![Column::new("close", DataType::Double)],
///         vec![Column::new("forecast", DataType::Double)],
///     ));
/// model.write(folder.path())?;
/// assert_eq!(ModelFile::read(folder.path())?, model);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Where the folder lies among the artifacts of its run.
    pub artifact_path: String,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The logged model it belongs to.
    pub model_id: Option<String>,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created: i64,
    /// How it can be loaded: flavor and settings.
    pub flavors: BTreeMap<String, Map<String, Value>>,
    /// What it reads and gives.
    pub signature: Option<Signature>,
    /// The size of the files beside it.
    pub model_size_bytes: Option<u64>,
    /// Anything else worth keeping.
    pub metadata: Map<String, Value>,
}

impl ModelFile {
    /// A model made at `created` (milliseconds since 1970 UTC), without flavors.
    pub fn new(artifact_path: impl Into<String>, created: i64) -> Self {
        Self {
            artifact_path: artifact_path.into(),
            run_id: None,
            model_id: None,
            created,
            flavors: BTreeMap::new(),
            signature: None,
            model_size_bytes: None,
            metadata: Map::new(),
        }
    }

    /// Says which run made it.
    #[must_use]
    pub fn with_run(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Adds a way to load it.
    #[must_use]
    pub fn with_flavor(mut self, name: impl Into<String>, settings: Map<String, Value>) -> Self {
        self.flavors.insert(name.into(), settings);
        self
    }

    /// Adds the flavor of a bundle of btc-models.
    #[must_use]
    pub fn with_btc_flavor(self, format_version: u32, weights: &str, config: &str) -> Self {
        let settings = json!({
            "loader": "btc_models::Forecaster::load",
            "format_version": format_version,
            "weights": weights,
            "config": config,
        });
        match settings {
            Value::Object(settings) => self.with_flavor(BTC_FLAVOR, settings),
            _ => self,
        }
    }

    /// Adds the flavors by which MLflow's clients load a graph of ONNX and forecast with it:
    /// `onnx` and `python_function`. [`PYTHON_FILES`] belong into the folder, too.
    #[must_use]
    pub fn with_onnx_flavor(self, graph: &str) -> Self {
        let onnx = json!({
            "code": null,
            "data": graph,
            "onnx_version": ONNX_VERSION,
            "providers": ["CPUExecutionProvider"],
        });
        let function = json!({
            "data": graph,
            "env": { "virtualenv": "python_env.yaml" },
            "loader_module": "mlflow.onnx",
            "python_version": PYTHON_VERSION,
        });
        [("onnx", onnx), ("python_function", function)]
            .into_iter()
            .fold(self, |file, (name, settings)| match settings {
                Value::Object(settings) => file.with_flavor(name, settings),
                _ => file,
            })
    }

    /// Says what it reads and gives.
    #[must_use]
    pub fn with_signature(mut self, signature: Signature) -> Self {
        self.signature = Some(signature);
        self
    }

    /// Writes the file into a model's folder; it appears whole or not at all.
    ///
    /// # Errors
    ///
    /// `Artifact` if the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let text = serde_saphyr::to_string(&self.to_yaml()).map_err(|error| Error::Store {
            action: format!("write {}", path.display()),
            source: error.to_string().into(),
        })?;
        btc_files::replace(&path, text.as_bytes()).map_err(Error::artifact("write", &path))
    }

    /// Reads the file of a model's folder.
    ///
    /// # Errors
    ///
    /// `Artifact` if there is none, `Malformed` if it cannot be understood.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let text = fs::read_to_string(&path).map_err(Error::artifact("read", &path))?;
        let malformed = |message: String| Error::Malformed {
            file: path.display().to_string(),
            message,
        };
        let yaml: Yaml =
            serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        yaml.model().map_err(malformed)
    }

    fn to_yaml(&self) -> Yaml {
        let time = DateTime::from_timestamp_millis(self.created).unwrap_or_default();
        Yaml {
            artifact_path: self.artifact_path.clone(),
            flavors: self.flavors.clone(),
            metadata: Some(self.metadata.clone()).filter(|metadata| !metadata.is_empty()),
            mlflow_version: Some(MLFLOW_VERSION.into()),
            model_id: self.model_id.clone(),
            model_size_bytes: self.model_size_bytes,
            model_uuid: self
                .model_id
                .as_ref()
                .map(|id| id.trim_start_matches("m-").to_owned()),
            run_id: self.run_id.clone(),
            signature: self.signature.as_ref().map(YamlSignature::of),
            utc_time_created: time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        }
    }
}

/// The size of all files in a folder, in bytes.
pub(crate) fn folder_size(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder).map_err(Error::artifact("read", folder))? {
        let entry = entry.map_err(Error::artifact("read", folder))?;
        // Of a link itself, so that a circle of links ends.
        let metadata = entry
            .metadata()
            .map_err(Error::artifact("read", entry.path()))?;
        size += match metadata.is_dir() {
            true => folder_size(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(size)
}

/// The file as MLflow lays it out, keys sorted.
#[derive(Debug, Serialize, Deserialize)]
struct Yaml {
    #[serde(default)]
    artifact_path: String,
    #[serde(default)]
    flavors: BTreeMap<String, Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mlflow_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<YamlSignature>,
    utc_time_created: String,
}

/// Both schemas are JSON in a text.
#[derive(Debug, Serialize, Deserialize)]
struct YamlSignature {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
    #[serde(default)]
    params: Option<String>,
}

impl YamlSignature {
    fn of(signature: &Signature) -> Self {
        let schema = |columns: &[Column], tensors: &[Tensor]| {
            let column = |c: &Column| json!({ "type": c.data_type.as_str(), "name": c.name, "required": c.required });
            let tensor = |t: &Tensor| {
                let spec = json!({ "dtype": t.data_type, "shape": t.shape });
                let mut tensor = json!({ "type": "tensor", "tensor-spec": spec });
                if let Some(name) = &t.name {
                    tensor["name"] = json!(name);
                }
                tensor
            };
            let fields: Vec<Value> = match tensors {
                [] => columns.iter().map(column).collect(),
                tensors => tensors.iter().map(tensor).collect(),
            };
            Some(Value::from(fields).to_string())
        };
        Self {
            inputs: schema(&signature.inputs, &signature.input_tensors),
            outputs: schema(&signature.outputs, &signature.output_tensors),
            params: None,
        }
    }

    fn signature(&self) -> Result<Signature, String> {
        let (inputs, outputs) = (schema(&self.inputs)?, schema(&self.outputs)?);
        Ok(Signature {
            inputs: columns(&inputs),
            outputs: columns(&outputs),
            input_tensors: tensors(&inputs),
            output_tensors: tensors(&outputs),
        })
    }
}

fn schema(text: &Option<String>) -> Result<Vec<Value>, String> {
    let Some(text) = text.as_deref().filter(|text| *text != "null") else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|error| format!("the signature is not JSON: {error}"))
}

fn tensors(schema: &[Value]) -> Vec<Tensor> {
    let tensor = |value: &Value| {
        let spec = value.get("tensor-spec")?;
        let shape = spec["shape"].as_array()?.iter();
        Some(Tensor {
            name: value["name"].as_str().map(str::to_owned),
            data_type: spec["dtype"].as_str()?.to_owned(),
            shape: shape.map(Value::as_i64).collect::<Option<_>>()?,
        })
    };
    schema.iter().filter_map(tensor).collect()
}

/// Columns that have a plain type; nested types are passed over.
fn columns(schema: &[Value]) -> Vec<Column> {
    let column = |value: &Value| {
        Some(Column {
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            data_type: DataType::parse(value["type"].as_str()?)?,
            required: value["required"].as_bool().unwrap_or(true),
        })
    };
    schema.iter().filter_map(column).collect()
}

impl Yaml {
    fn model(self) -> Result<ModelFile, String> {
        let time =
            chrono::NaiveDateTime::parse_from_str(&self.utc_time_created, "%Y-%m-%d %H:%M:%S%.f")
                .map_err(|_| {
                format!(
                    "utc_time_created is {:?}, not a time",
                    self.utc_time_created
                )
            })?;
        Ok(ModelFile {
            artifact_path: self.artifact_path,
            run_id: self.run_id,
            model_id: self.model_id,
            created: time.and_utc().timestamp_millis(),
            flavors: self.flavors,
            signature: self
                .signature
                .map(|signature| signature.signature())
                .transpose()?,
            model_size_bytes: self.model_size_bytes,
            metadata: self.metadata.unwrap_or_default(),
        })
    }
}

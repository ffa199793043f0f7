//! Models on disk: files in one directory.
//!
//! [`MANIFEST_FILE`] says what the model is, [`WEIGHTS_FILE`] holds its weights. With the feature
//! `onnx` there is [`ONNX_FILE`] too, which other programs forecast with; a model that cannot be
//! written so has none. What was written
//! by any release of this crate is read by every later one; `tests/fixtures/bundles` holds the
//! formats that there were.

mod json;
mod panel;
mod v1;
mod v2;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use btc_files::sha256;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use panel::PANEL_FILE;

use crate::files;
use crate::fit::{Forecaster, Manifest, TrainingRange};
use crate::nn::network::Network;
use crate::nn::parameters::Parameters;
use crate::transform::Target;
use crate::{Error, Result};

/// The file of a bundle that says what the model is.
pub const MANIFEST_FILE: &str = "forecaster.json";
/// The file of a bundle that holds the weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// The file of a bundle that any runtime of ONNX forecasts with.
pub const ONNX_FILE: &str = "model.onnx";
/// No file of a bundle is larger; a larger one is not read.
const FILE_LIMIT_BYTES: u64 = 1 << 30;

/// What a bundle is, as its description says and its files confirm.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BundleInfo {
    /// The version of its format: major and minor.
    pub format: (u64, u64),
    /// The name of its network.
    pub model_type: String,
    /// The column that it forecasts.
    pub price: String,
    /// The features that it needs, in order.
    pub features: Vec<String>,
    /// Rows in a window.
    pub timesteps: usize,
    /// Rows between the end of a window and its target.
    pub horizon: usize,
    /// What the network predicts.
    pub target: Target,
    /// The rows that it was trained on.
    pub training_range: TrainingRange,
    /// Figures about it.
    pub metrics: BTreeMap<String, f64>,
    /// The fingerprint of its training data.
    pub data_hash: Option<String>,
    /// The number of its weights.
    pub parameters: usize,
    /// The model's identity: SHA-256 over the hashes of its weights and its description. Two
    /// trainings with one seed on one kind of CPU have the same.
    pub content_hash: String,
}

/// Checks a bundle completely, and tells what it is.
///
/// # Errors
///
/// Files that cannot be read, do not belong together, are damaged or of a newer format; a network
/// or loss that is not registered.
pub fn validate_bundle(dir: &Path) -> Result<BundleInfo> {
    let stored = Stored::read(dir, &Device::Cpu)?;
    let forecaster = &stored.forecaster;
    let manifest = &forecaster.manifest;
    Ok(BundleInfo {
        format: stored.format,
        model_type: forecaster.model_type().to_owned(),
        price: manifest.price.clone(),
        features: forecaster
            .feature_names()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        timesteps: forecaster.timesteps(),
        horizon: forecaster.horizon(),
        target: manifest.target.target.clone(),
        training_range: manifest.training_range,
        metrics: manifest.metrics.clone(),
        data_hash: manifest.data_hash.clone(),
        parameters: forecaster.parameter_count(),
        content_hash: stored.content_hash,
    })
}

impl Forecaster {
    /// Writes the model into the directory `dir`, creating it if needed.
    ///
    /// A new or empty directory appears whole or not at all. In one that holds other files, each
    /// file is replaced at once, the description last; a bundle whose files do not belong
    /// together is refused by [`load`](Self::load). Files and directories have the permissions
    /// that the process's umask gives any other.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let weights = weights::to_bytes(&self.parameters)?;
        let graph = self.onnx_file()?;
        let graph_sha256 = graph.as_deref().map(sha256);
        let weights_sha256 = sha256(&weights);
        let description = v2::write(
            &self.manifest,
            &self.newer,
            &weights_sha256,
            graph_sha256.as_deref(),
        )
        .map_err(|error| refused(dir, error.to_string()))?;
        // The description last: it says what the others must be.
        let mut contents = vec![(WEIGHTS_FILE, weights.as_slice())];
        match &graph {
            Some(graph) => contents.push((ONNX_FILE, graph)),
            // One of another model would stay.
            None => match fs::remove_file(dir.join(ONNX_FILE)) {
                Err(source) if dir.join(ONNX_FILE).exists() => {
                    return Err(Error::Io {
                        action: "replace",
                        path: dir.to_owned(),
                        source,
                    });
                }
                _ => {}
            },
        }
        contents.push((MANIFEST_FILE, description.as_bytes()));
        write_dir(dir, &contents)
    }

    /// The content of [`ONNX_FILE`]; none for a model that cannot be written so.
    #[cfg(feature = "onnx")]
    fn onnx_file(&self) -> Result<Option<Vec<u8>>> {
        match self.to_onnx() {
            Ok(graph) => Ok(Some(graph)),
            Err(Error::NotExportable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[cfg(not(feature = "onnx"))]
    fn onnx_file(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Reads a model that [`save`](Self::save) of this or any earlier release wrote.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, do not belong together, are damaged or of a newer format; a
    /// network or loss that is not registered.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        Ok(Stored::read(dir, device)?.forecaster)
    }
}

/// Writes files into a directory: a new or empty one appears whole, in another each file is
/// replaced at once, in order.
fn write_dir(dir: &Path, contents: &[(&str, &[u8])]) -> Result<()> {
    let io = |action, source| Error::Io {
        action,
        path: dir.to_owned(),
        source,
    };
    let parent = btc_files::parent(dir);
    btc_files::create_dirs(parent).map_err(|source| io("create", source))?;
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => return Err(io("read", source)),
    };
    if occupied {
        let mut contents = contents.iter();
        return contents.try_for_each(|(name, bytes)| files::write(&dir.join(name), bytes));
    }
    let staging =
        btc_files::temporary_dir(parent, ".bundle-").map_err(|source| io("create", source))?;
    for (name, bytes) in contents {
        files::write(&staging.path().join(name), bytes)?;
    }
    // An empty directory is replaced by the rename; where the system refuses that, it goes first.
    if fs::rename(staging.path(), dir).is_err() {
        if dir.exists() {
            fs::remove_dir(dir).map_err(|source| io("replace", source))?;
        }
        fs::rename(staging.path(), dir).map_err(|source| io("write", source))?;
    }
    let _moved = staging.keep();
    btc_files::sync_dir(parent).map_err(|source| io("write", source))
}

/// `forecaster.json` of any version, brought to today's fields.
#[derive(Debug)]
struct Description {
    minor: u64,
    /// Whether fields that are not known are kept instead of refused.
    accepts_unknown: bool,
    model_type: String,
    weights_sha256: String,
    onnx_sha256: Option<String>,
    model_sha256: String,
    /// The model as it stands in the file, which the hash is taken of.
    model_text: String,
    model: Value,
    /// Fields outside the model that are not known, by JSON Pointers.
    unknown: BTreeMap<String, Value>,
}

/// What a bundle of a newer minor version holds beyond what is known, to be written again.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewerFields {
    minor: u64,
    /// By JSON Pointers into `forecaster.json`.
    fields: BTreeMap<String, Value>,
}

impl NewerFields {
    /// The fields below `prefix`, by pointers from there.
    fn below(&self, prefix: &str) -> BTreeMap<String, Value> {
        let inside = self.fields.iter().filter_map(|(pointer, value)| {
            let rest = pointer.strip_prefix(prefix)?;
            rest.starts_with('/')
                .then(|| (rest.to_owned(), value.clone()))
        });
        inside.collect()
    }

    /// The fields of the document itself, by their names.
    fn at_top(&self) -> BTreeMap<String, Value> {
        let mut top = Value::Object(serde_json::Map::new());
        let single = |pointer: &&String| pointer.matches('/').count() == 1;
        let fields = self.fields.iter().filter(|(pointer, _)| single(pointer));
        let fields = fields.map(|(pointer, value)| (pointer.clone(), value.clone()));
        json::restore_fields(&mut top, &fields.collect());
        match top {
            Value::Object(top) => top.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }
}

fn refused(dir: &Path, reason: impl Into<String>) -> Error {
    Error::Bundle {
        path: dir.to_owned(),
        reason: reason.into(),
    }
}

/// The error for a file whose hash is another than the one that the description names.
fn other_file(dir: &Path, file: &str) -> Error {
    refused(
        dir,
        format!(
            "{file} is not the file that {MANIFEST_FILE} describes: the hash of its content differs"
        ),
    )
}

/// A bundle that was read and found right.
struct Stored {
    forecaster: Forecaster,
    content_hash: String,
    format: (u64, u64),
}

impl Stored {
    fn read(dir: &Path, device: &Device) -> Result<Self> {
        let text = files::read(&dir.join(MANIFEST_FILE), FILE_LIMIT_BYTES)?;
        let weights = files::read(&dir.join(WEIGHTS_FILE), FILE_LIMIT_BYTES)?;
        let read = Read::new(dir, text, &sha256(&weights))?;
        let (network, parameters) = build(dir, &read.manifest, &weights, device)?;
        Ok(Self {
            content_hash: read.content_hash.clone(),
            format: read.format,
            forecaster: read.forecaster(network, parameters, device),
        })
    }
}

/// A description that was read and found right, of weights that have the hash it gives.
struct Read {
    manifest: Manifest,
    newer: NewerFields,
    content_hash: String,
    format: (u64, u64),
}

impl Read {
    fn new(dir: &Path, text: Vec<u8>, weights_sha256: &str) -> Result<Self> {
        // The version first: another format may have any other fields.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let parse = |error: serde_json::Error| refused(dir, format!("{MANIFEST_FILE}: {error}"));
        let Version { format_version } = serde_json::from_slice(&text).map_err(parse)?;
        let text = String::from_utf8(text)
            .map_err(|error| refused(dir, format!("{MANIFEST_FILE}: {error}")))?;
        let description = match format_version {
            v1::MAJOR => v1::read(&text),
            v2::MAJOR => v2::read(&text),
            other => {
                let newest = v2::MAJOR;
                let reason = format!(
                    "its format is version {other}, and this program reads versions 1 to {newest}"
                );
                return Err(refused(dir, reason));
            }
        };
        let description = description.map_err(parse)?;
        if weights_sha256 != description.weights_sha256 {
            return Err(other_file(dir, WEIGHTS_FILE));
        }
        if let Some(expected) = &description.onnx_sha256 {
            let graph = files::read(&dir.join(ONNX_FILE), FILE_LIMIT_BYTES)?;
            if sha256(&graph) != *expected {
                return Err(other_file(dir, ONNX_FILE));
            }
        }
        if sha256(json::compact(&description.model_text).as_bytes()) != description.model_sha256 {
            let reason = format!(
                "{MANIFEST_FILE} was changed after it was written: the hash of its content differs"
            );
            return Err(refused(dir, reason));
        }
        let mut model = description.model.clone();
        before_calibration(&mut model);
        let manifest = Manifest::deserialize(&model).map_err(parse)?;
        let known: Value = serde_json::to_string(&manifest)
            .and_then(|text| serde_json::from_str(&text))
            .map_err(parse)?;
        let mut unknown = description.unknown;
        let of_model = json::unknown_fields(&description.model, &known);
        unknown.extend(
            of_model
                .into_iter()
                .map(|(pointer, field)| (format!("/model{pointer}"), field)),
        );
        if !description.accepts_unknown && !unknown.is_empty() {
            let names: Vec<String> = unknown.into_keys().collect();
            let reason = format!(
                "{MANIFEST_FILE} has fields that version {format_version}.{} does not know: {}",
                description.minor,
                names.join(", ")
            );
            return Err(refused(dir, reason));
        }
        if description.model_type != manifest.network.name() {
            return Err(refused(dir, "its model type is not that of its network"));
        }
        let newer = NewerFields {
            minor: description.minor,
            fields: unknown,
        };
        let content = format!("{}{}", description.weights_sha256, description.model_sha256);
        manifest.validate().map_err(|error| match error {
            // What is missing is in the program, not in the bundle.
            error @ (Error::UnknownName { .. } | Error::NotRegistered { .. }) => error,
            error => refused(dir, error.to_string()),
        })?;
        Ok(Self {
            manifest,
            newer,
            content_hash: sha256(content.as_bytes()),
            format: (format_version, description.minor),
        })
    }

    fn forecaster(
        self,
        network: Arc<dyn Network>,
        parameters: Arc<Parameters>,
        device: &Device,
    ) -> Forecaster {
        let mut forecaster = Forecaster::new(self.manifest, network, parameters, device.clone());
        forecaster.newer = self.newer;
        forecaster
    }
}

/// Says of a model that was written before there were windows for calibration that it had none.
fn before_calibration(model: &mut Value) {
    if let Some(config) = model.get_mut("config").and_then(Value::as_object_mut) {
        config
            .entry("calibration_fraction")
            .or_insert(Value::from(0.0));
    }
}

/// Builds the network and gives it its weights.
fn build(
    dir: &Path,
    manifest: &Manifest,
    weights: &[u8],
    device: &Device,
) -> Result<(Arc<dyn Network>, Arc<Parameters>)> {
    let input = manifest.input();
    let broken = |error: candle_core::Error| refused(dir, error.to_string());
    let tensors = weights::from_bytes(weights).map_err(broken)?;
    let mut parameters = Parameters::stored(tensors, device);
    let network = manifest
        .network
        .build(input, &mut parameters)
        .map_err(|error| refused(dir, error.to_string()))?;
    let unused = parameters.unused();
    if !unused.is_empty() {
        let reason = format!("it has weights of no use: {}", unused.join(", "));
        return Err(refused(dir, reason));
    }
    Ok((Arc::from(network), Arc::new(parameters)))
}

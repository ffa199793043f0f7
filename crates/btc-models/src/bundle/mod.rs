//! Models on disk: `forecaster.json` and `weights.safetensors` in one directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::write;
use crate::fit::{Forecaster, Manifest, TrainingRange};
use crate::network::{InputShape, ModelType};
use crate::nn::parameters::{Array, Parameters};
use crate::transform::Target;
use crate::{Error, Result};

/// The version of the format that is written, and the newest that is read.
const FORMAT_VERSION: u32 = 1;
const MANIFEST: &str = "forecaster.json";
const WEIGHTS: &str = "weights.safetensors";
/// No file of a bundle is larger; a larger one is not read.
const MAX_BYTES: u64 = 1 << 30;

/// `forecaster.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format_version: u32,
    model_type: ModelType,
    /// SHA-256 of `weights.safetensors`.
    weights_sha256: String,
    /// SHA-256 of `model` as compact JSON.
    model_sha256: String,
    model: Manifest,
}

/// What a bundle is, as its description says and its files confirm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BundleInfo {
    /// Which network it is.
    pub model_type: ModelType,
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
    /// SHA-256 over both files' contents: the model's identity.
    pub content_hash: String,
}

/// Checks a bundle completely, and tells what it is.
///
/// # Errors
///
/// Files that cannot be read, do not belong together, are damaged or of a newer format.
pub fn validate_bundle(dir: &Path) -> Result<BundleInfo> {
    let (forecaster, content_hash) = read(dir, &Device::Cpu)?;
    let manifest = &forecaster.manifest;
    Ok(BundleInfo {
        model_type: forecaster.model_type(),
        price: manifest.price.clone(),
        features: forecaster
            .feature_names()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        timesteps: forecaster.timesteps(),
        horizon: forecaster.horizon(),
        target: manifest.target.target,
        training_range: manifest.training_range,
        metrics: manifest.metrics.clone(),
        data_hash: manifest.data_hash.clone(),
        parameters: forecaster.parameter_count(),
        content_hash,
    })
}

impl Forecaster {
    /// Writes the model into the directory `dir`, creating it if needed.
    ///
    /// A new or empty directory appears whole or not at all. In one that holds other files, each
    /// file is replaced at once, the description last; a bundle whose files do not belong
    /// together is refused by [`load`](Self::load).
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let weights = self.weights()?;
        let model = to_json(&self.manifest, dir)?;
        let document = Document {
            format_version: FORMAT_VERSION,
            model_type: self.model_type(),
            weights_sha256: sha256(&weights),
            model_sha256: sha256(model.as_bytes()),
            model: self.manifest.clone(),
        };
        let mut description = serde_json::to_string_pretty(&document)
            .map_err(|error| bundle(dir, error.to_string()))?;
        description.push('\n');

        let io = |action, source| Error::Io {
            action,
            path: dir.to_owned(),
            source,
        };
        let parent = match dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(|source| io("create", source))?;
        let occupied = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(source) => return Err(io("read", source)),
        };
        if occupied {
            write(&dir.join(WEIGHTS), &weights)?;
            write(&dir.join(MANIFEST), description.as_bytes())?;
            return sync_dir(dir);
        }
        let staging = tempfile::Builder::new()
            .prefix(".bundle-")
            .tempdir_in(parent)
            .map_err(|source| io("create", source))?;
        write(&staging.path().join(WEIGHTS), &weights)?;
        write(&staging.path().join(MANIFEST), description.as_bytes())?;
        make_readable(staging.path()).map_err(|source| io("write", source))?;
        sync_dir(staging.path())?;
        // An empty directory is replaced by the rename; where the system refuses that, it goes
        // first.
        if fs::rename(staging.path(), dir).is_err() {
            if dir.exists() {
                fs::remove_dir(dir).map_err(|source| io("replace", source))?;
            }
            fs::rename(staging.path(), dir).map_err(|source| io("write", source))?;
        }
        let _moved = staging.keep();
        sync_dir(parent)
    }

    /// Reads a model that [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, do not belong together, are damaged or of a newer format.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        read(dir, device).map(|(forecaster, _)| forecaster)
    }

    /// The weights as the bytes of a safetensors file, in the order of their names.
    fn weights(&self) -> Result<Vec<u8>> {
        let tensors = self.parameters.tensors()?;
        let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                (
                    name,
                    (shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
                )
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, (shape, bytes))| {
                let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
                    .map_err(candle_core::Error::from)?;
                Ok((name.as_str(), view))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(safetensors::serialize(views, None).map_err(candle_core::Error::from)?)
    }
}

fn bundle(dir: &Path, reason: impl Into<String>) -> Error {
    Error::Bundle {
        path: dir.to_owned(),
        reason: reason.into(),
    }
}

fn to_json(manifest: &Manifest, dir: &Path) -> Result<String> {
    serde_json::to_string(manifest).map_err(|error| bundle(dir, error.to_string()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(dir: &Path, device: &Device) -> Result<(Forecaster, String)> {
    let description = read_file(&dir.join(MANIFEST))?;
    let weights = read_file(&dir.join(WEIGHTS))?;
    // The version first: another format may have any other fields.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let parse = |error: serde_json::Error| bundle(dir, format!("{MANIFEST}: {error}"));
    let Version { format_version } = serde_json::from_slice(&description).map_err(parse)?;
    if format_version != FORMAT_VERSION {
        let reason = format!(
            "its format is version {format_version}, and this program reads version {FORMAT_VERSION}"
        );
        return Err(bundle(dir, reason));
    }
    let document: Document = serde_json::from_slice(&description).map_err(parse)?;
    if sha256(&weights) != document.weights_sha256 {
        return Err(bundle(
            dir,
            format!("{WEIGHTS} is not the file that {MANIFEST} describes"),
        ));
    }
    let manifest = document.model;
    if sha256(to_json(&manifest, dir)?.as_bytes()) != document.model_sha256 {
        return Err(bundle(
            dir,
            format!("{MANIFEST} was changed after it was written"),
        ));
    }
    if document.model_type != manifest.network.model_type() {
        return Err(bundle(dir, "its model type is not that of its network"));
    }
    manifest
        .config
        .validate()
        .map_err(|error| bundle(dir, error.to_string()))?;
    manifest
        .network
        .validate()
        .map_err(|error| bundle(dir, error.to_string()))?;
    manifest
        .loss
        .validate()
        .map_err(|error| bundle(dir, error.to_string()))?;
    let valid = manifest.preprocessor.is_valid()
        && manifest.conformal.is_valid()
        && manifest.target.is_valid();
    if !valid {
        return Err(bundle(
            dir,
            "its features, their scalers or its scores cannot be used",
        ));
    }
    let input = InputShape {
        timesteps: manifest.config.timesteps,
        features: manifest.preprocessor.features.len(),
        outputs: manifest.loss.outputs(),
    };
    let tensors = parse_weights(&weights).map_err(|error| bundle(dir, error.to_string()))?;
    let mut parameters = Parameters::stored(tensors, device);
    let network = manifest
        .network
        .build(input, &mut parameters)
        .map_err(|error| bundle(dir, error.to_string()))?;
    let unused = parameters.unused();
    if !unused.is_empty() {
        return Err(bundle(
            dir,
            format!("it has weights of no use: {}", unused.join(", ")),
        ));
    }
    let content = format!("{}{}", document.weights_sha256, document.model_sha256);
    let forecaster = Forecaster::new(manifest, network, parameters, device.clone());
    Ok((forecaster, sha256(content.as_bytes())))
}

fn parse_weights(bytes: &[u8]) -> candle_core::Result<BTreeMap<String, Array>> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            candle_core::bail!("the weight {name} is not of type f32");
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if values.iter().any(|x| !x.is_finite()) {
            candle_core::bail!("the weight {name} is not finite");
        }
        tensors.insert(name, (view.shape().to_vec(), values));
    }
    Ok(tensors)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if MAX_BYTES < bytes.len() as u64 {
        return Err(bundle(path, format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Temporary files are for their owner alone; a bundle is as readable as other files.
#[cfg(unix)]
fn make_readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<()> {
    // Other systems cannot open a directory as a file.
    if cfg!(unix) {
        let path: PathBuf = dir.to_owned();
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| Error::Io {
                action: "write",
                path,
                source,
            })?;
    }
    Ok(())
}

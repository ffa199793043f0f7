//! A model of several series on disk: its weights once, and a description for each series.
//!
//! `panel.json` holds, in this order:
//!
//! | field | content |
//! |---|---|
//! | `panel_version` | 1. Another version may mean anything, and is refused. |
//! | `series` | By the series' names, for each what `forecaster.json` is for a single model, with hashes of its own. All have the network and the weights in common. |

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use btc_files::sha256;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{FILE_LIMIT_BYTES, Read, WEIGHTS_FILE, build, refused, v2, weights, write_dir};
use crate::fit::PanelForecaster;
use crate::nn::network::Network;
use crate::nn::parameters::Parameters;
use crate::{Error, Result, files};

/// The file of a panel's bundle that says what the model is for each series.
pub const PANEL_FILE: &str = "panel.json";

const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    panel_version: u64,
    series: BTreeMap<String, Box<RawValue>>,
}

impl PanelForecaster {
    /// Writes the model into the directory `dir`, as [`Forecaster::save`](crate::Forecaster::save)
    /// does: [`WEIGHTS_FILE`] and [`PANEL_FILE`].
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let Some((_, first)) = self.iter().next() else {
            return Err(refused(dir, "it has no series"));
        };
        let unwritten = |error: serde_json::Error| refused(dir, error.to_string());
        let weights = weights::to_bytes(&first.parameters)?;
        let hash = sha256(&weights);
        let mut series = BTreeMap::new();
        for (name, forecaster) in self.iter() {
            let text = v2::write(&forecaster.manifest, &forecaster.newer, &hash, None);
            let text = text.and_then(|text| RawValue::from_string(text.trim_end().to_owned()));
            series.insert(name.to_owned(), text.map_err(unwritten)?);
        }
        let document = Document {
            panel_version: VERSION,
            series,
        };
        let mut text = serde_json::to_string_pretty(&document).map_err(unwritten)?;
        text.push('\n');
        write_dir(
            dir,
            &[(WEIGHTS_FILE, &weights), (PANEL_FILE, text.as_bytes())],
        )
    }

    /// Reads a model that [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, do not belong together, are damaged or of a newer format; a part
    /// that is not registered; what is wrong with one series is the source of [`Error::InPanel`].
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        let text = files::read(&dir.join(PANEL_FILE), FILE_LIMIT_BYTES)?;
        let weights = files::read(&dir.join(WEIGHTS_FILE), FILE_LIMIT_BYTES)?;
        let unread = |error: serde_json::Error| refused(dir, format!("{PANEL_FILE}: {error}"));
        // The version first: another format may have any other fields.
        #[derive(Deserialize)]
        struct Version {
            panel_version: u64,
        }
        let Version { panel_version } = serde_json::from_slice(&text).map_err(unread)?;
        if panel_version != VERSION {
            let reason = format!(
                "its format is version {panel_version}, and this program reads version {VERSION}"
            );
            return Err(refused(dir, reason));
        }
        let Document { series, .. } = serde_json::from_slice(&text).map_err(unread)?;
        let hash = sha256(&weights);
        let mut shared: Option<Shared> = None;
        let mut forecasters = BTreeMap::new();
        for (name, text) in series {
            let read = Read::new(dir, text.get().as_bytes().to_vec(), &hash);
            let read = read.map_err(|error| Error::in_panel(&name, error))?;
            let sizes = (read.manifest.network.clone(), read.manifest.input());
            let same = match shared.take() {
                Some(shared) if shared.sizes == sizes => shared,
                Some(_) => {
                    let error = refused(dir, "its network is not that of the other series");
                    return Err(Error::in_panel(&name, error));
                }
                None => {
                    let (network, parameters) = build(dir, &read.manifest, &weights, device)?;
                    Shared {
                        sizes,
                        network,
                        parameters,
                    }
                }
            };
            let (network, parameters) = (same.network.clone(), same.parameters.clone());
            shared = Some(same);
            forecasters.insert(name, read.forecaster(network, parameters, device));
        }
        if forecasters.is_empty() {
            return Err(refused(dir, "it has no series"));
        }
        Ok(Self::new(forecasters))
    }
}

/// What all series have in common.
struct Shared {
    sizes: (crate::NetworkConfig, crate::nn::InputShape),
    network: Arc<dyn Network>,
    parameters: Arc<Parameters>,
}

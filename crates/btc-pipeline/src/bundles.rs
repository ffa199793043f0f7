//! The models that runs and registered versions hold.

use std::path::Path;

use btc_models::Forecaster;
use btc_models::candle_core::Device;
use btc_track::{ModelVersion, TrackingClient};

use crate::error::describe;
use crate::exclusion::Exclusion;
use crate::{Error, Result};

/// The artifact folder of a run that holds the model bundle: that of the newest fit.
pub const BUNDLE: &str = "model";
/// The artifact folder of a run that holds the bundles of its earlier fits, by number from 0.
pub const FOLDS: &str = "folds";

/// Loads a version's bundle from where it lies, or from a copy if its store is
/// not on this computer.
pub(crate) fn load_bundle(
    client: &TrackingClient,
    version: &ModelVersion,
    device: &Device,
) -> Result<Forecaster> {
    if let Some(folder) = client.model_path(version)? {
        return Ok(Forecaster::load(&folder, device)?);
    }
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        action: "create",
        path: "a temporary folder".into(),
        source,
    })?;
    client.download_version(version, folder.path())?;
    Ok(Forecaster::load(folder.path(), device)?)
}

/// What judging a candidate came to.
pub(crate) type Outcome<T> = Result<T, Unjudged>;

/// Why a candidate was not judged.
pub(crate) enum Unjudged {
    /// It does not count.
    LeftOut(Exclusion),
    /// The store failed, which says nothing of the candidate.
    Store(btc_track::Error),
}

impl From<Exclusion> for Unjudged {
    fn from(reason: Exclusion) -> Self {
        Self::LeftOut(reason)
    }
}

impl From<btc_track::Error> for Unjudged {
    fn from(error: btc_track::Error) -> Self {
        Self::Store(error)
    }
}

/// The models that a run holds, the newest fit first. Each bundle is read once.
pub(crate) fn stored_bundles(
    client: &TrackingClient,
    run_id: &str,
    device: &Device,
) -> Outcome<Vec<Forecaster>> {
    let run = match client.run(run_id) {
        Err(error) if error.is_not_found() => return Err(Exclusion::NoRun.into()),
        run => run?,
    };
    let load = |folder: &Path| {
        Forecaster::load(folder, device).map_err(|error| Exclusion::Unsound {
            problem: describe(&error),
        })
    };
    let main = btc_track::open_artifacts(client, &run, BUNDLE)?.ok_or(Exclusion::NoBundle)?;
    let mut bundles = vec![load(main.path())?];
    if let Some(folds) = btc_track::open_artifacts(client, &run, FOLDS)? {
        for fold in 0.. {
            let folder = folds.path().join(fold.to_string());
            if !folder.is_dir() {
                break;
            }
            bundles.push(load(&folder)?);
        }
    }
    bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.training_range().end));
    Ok(bundles)
}

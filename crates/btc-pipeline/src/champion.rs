//! The champion of a registered model, to be fitted anew and compared.

use btc_models::NetworkModel;
use btc_models::candle_core::Device;
use btc_track::{ModelVersion, TrackingClient};
use chrono::{DateTime, Utc};

use crate::Result;
use crate::bundles::load_bundle;
use crate::tags::CHAMPION;

/// The first and the last instant of a range of targets.
type Targets = (DateTime<Utc>, DateTime<Utc>);

/// The configuration of a champion.
#[derive(Debug)]
pub struct ChampionModel {
    /// Its version.
    pub version: u64,
    /// Its network and training, fitted anew wherever it is compared: as it was registered, it has
    /// seen days that are forecast there.
    pub model: NetworkModel,
    /// The ranges of target instants on which its configuration was chosen, its selection window
    /// and its hold-out: what it forecasts there proves nothing.
    pub chosen_on: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// What the version does not say of those ranges, or says so that it cannot be read, one
    /// sentence each.
    pub unknown: Vec<String>,
}

/// The champion of a registered model, if there is one.
///
/// # Errors
///
/// The stores' own, and those of a bundle that is not sound.
pub fn champion_model(client: &TrackingClient, model_name: &str) -> Result<Option<ChampionModel>> {
    let version = match client.model_version_by_alias(model_name, CHAMPION) {
        Ok(version) => version,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Only its settings are wanted.
    let forecaster = load_bundle(client, &version, &Device::Cpu)?;
    let (mut chosen_on, mut unknown) = (Vec::new(), Vec::new());
    for (part, days) in [
        ("selection", "selected"),
        ("holdout", "judged at registration"),
    ] {
        match range_of(&version, part) {
            Ok(Some(range)) => chosen_on.push(range),
            // Nothing has to be held out.
            Ok(None) if part == "holdout" => {}
            Ok(None) => unknown.push(format!(
                "version {} of the champion does not say on which days it was {days}: the \
                 p-values may stand on those",
                version.version
            )),
            Err(tag) => unknown.push(format!(
                "version {} of the champion was {days} on days that its tag {tag} does not tell: \
                 the p-values may stand on those",
                version.version
            )),
        }
    }
    Ok(Some(ChampionModel {
        version: version.version,
        model: NetworkModel::new(
            CHAMPION,
            forecaster.network().clone(),
            forecaster.train_config().clone(),
        ),
        chosen_on,
        unknown,
    }))
}

/// The first and the last target of a part; none if the version has no tags of it, and the tag
/// that is missing or cannot be read.
fn range_of(version: &ModelVersion, part: &str) -> Result<Option<Targets>, String> {
    let [first, last] = ["first", "last"].map(|end| format!("{part}_{end}_target"));
    if version.tag(&first).is_none() && version.tag(&last).is_none() {
        return Ok(None);
    }
    let instant = |key: &str| {
        let text = version.tag(key).unwrap_or_default();
        text.parse().map_err(|_| format!("{key} ({text:?})"))
    };
    let range = (instant(&first)?, instant(&last)?);
    match range.0 <= range.1 {
        true => Ok(Some(range)),
        false => Err(format!("{last} ({})", range.1)),
    }
}

//! Models on disk.

use std::fs;

use btc_models::{Error, Forecaster, ModelType, TrainConfig, validate_bundle};
use candle_core::Device;

use crate::support::{network, random_walk, train};

#[test]
fn every_model_comes_back_as_it_was() {
    let frame = random_walk(4, 90);
    let dir = tempfile::tempdir().unwrap();
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(2);
        let forecaster = train(&network(model, true), &frame, &config)
            .with_metric("MAPE", 1.5)
            .with_metric("nonsense", f64::NAN)
            .with_data_hash("abc");
        let at = dir.path().join(model.name());
        forecaster.save(&at).unwrap();
        let loaded = Forecaster::load(&at, &Device::Cpu).unwrap();
        assert_eq!(
            loaded.forecast(&frame).unwrap(),
            forecaster.forecast(&frame).unwrap()
        );
        let info = validate_bundle(&at).unwrap();
        assert_eq!(
            (info.model_type, info.parameters),
            (model, forecaster.parameter_count())
        );
        assert_eq!(info.features, ["close", "volume"]);
        assert_eq!(
            (info.metrics["MAPE"], info.data_hash.as_deref()),
            (1.5, Some("abc"))
        );
        assert!(!info.metrics.contains_key("nonsense"));
        // Writing again replaces, and nothing else is left in the directory.
        forecaster.save(&at).unwrap();
        assert_eq!(validate_bundle(&at).unwrap(), info);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        ModelType::ALL.len()
    );
}

#[test]
fn a_damaged_bundle_is_an_error() {
    let frame = random_walk(4, 90);
    let forecaster = train(
        &network(ModelType::Gru, true),
        &frame,
        &TrainConfig::default(),
    );
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("model");
    let (manifest, weights) = (at.join("forecaster.json"), at.join("weights.safetensors"));
    forecaster.save(&at).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    let bytes = fs::read(&weights).unwrap();
    let check = |reason: &str| {
        let error = Forecaster::load(&at, &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::Bundle { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    };

    for length in [0, 8, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&weights, &bytes[..length]).unwrap();
        check("is not the file that");
    }
    fs::write(&weights, &bytes).unwrap();
    fs::write(
        &manifest,
        text.replacen("\"timesteps\": 10", "\"timesteps\": 11", 1),
    )
    .unwrap();
    check("was changed");
    fs::write(
        &manifest,
        text.replacen("\"format_version\": 1", "\"format_version\": 2", 1),
    )
    .unwrap();
    check("version 2");
    for length in [0, 1, text.len() / 2] {
        fs::write(&manifest, &text[..length]).unwrap();
        check("forecaster.json");
    }
    fs::remove_file(&manifest).unwrap();
    assert!(matches!(validate_bundle(&at), Err(Error::Io { .. })));
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let frame = random_walk(4, 60);
    let config = TrainConfig::default().with_epochs(1);
    let forecaster = train(&network(ModelType::NLinear, true), &frame, &config);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    assert!(matches!(
        forecaster.save(&file.join("model")),
        Err(Error::Io { .. })
    ));
    assert!(matches!(forecaster.save(&file), Err(Error::Io { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
}

/// A description that fits its hash but makes no sense.
#[test]
fn a_description_that_makes_no_sense_is_an_error() {
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    let frame = random_walk(4, 90);
    let config = TrainConfig::default().with_epochs(1);
    let forecaster = train(&network(ModelType::Gru, true), &frame, &config);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("model");
    forecaster.save(&at).unwrap();
    let manifest = at.join("forecaster.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let change = |path: &[&str], value: Value| {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let mut place = &mut document["model"];
        for key in path {
            place = match key.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[*key],
            };
        }
        *place = value;
        let hash = Sha256::digest(document["model"].to_string());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        document["model_sha256"] = hash.into();
        fs::write(&manifest, document.to_string()).unwrap();
        Forecaster::load(&at, &Device::Cpu)
    };
    let same = change(&["config", "timesteps"], json!(10));
    assert!(
        same.is_ok(),
        "the hash is taken as the crate takes it: {same:?}"
    );
    let features = ["preprocessor", "features"];
    let first = |key| [&features[..], &["0", key]].concat();
    for (path, value) in [
        (vec!["config", "timesteps"], json!(1_000_000_000_u64)),
        (vec!["config", "timesteps"], json!(0)),
        (vec!["config", "horizon"], json!(0)),
        (vec!["network", "units"], json!(4096)),
        (vec!["network", "units"], json!(0)),
        (vec!["network", "dropout"], json!(1.5)),
        (vec!["network", "type"], json!("LSTM")),
        (features.to_vec(), json!([])),
        (first("scaler"), json!({"offset": 0.0, "scale": 0.0})),
        (first("transform"), json!({"type": "z_score", "window": 0})),
        (vec!["conformal", "scores"], json!([2.0, 1.0])),
        (vec!["loss"], json!({"type": "pinball", "quantiles": []})),
    ] {
        let result = change(&path, value.clone());
        assert!(
            matches!(result, Err(Error::Bundle { .. })),
            "{path:?} {value}: {result:?}"
        );
    }
}

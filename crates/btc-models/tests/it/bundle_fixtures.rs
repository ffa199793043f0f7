//! Bundles that were written in the past: they load and forecast for ever.

use std::fs;
use std::path::{Path, PathBuf};

use btc_models::{
    CnnConfig, Error, FeatureTransform, Forecaster, Interval, Loss, LstmConfig, NetworkConfig,
    Optimizer, PatchTstConfig, Quantiles, ScalerKind, Schedule, SeriesFrame, TrainConfig,
    validate_bundle,
};
use candle_core::Device;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::train;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundles")
}

/// The series that the bundles were trained on, as it was written beside them.
fn stored_series() -> SeriesFrame {
    let text = fs::read_to_string(folder().join("series.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let columns = document["columns"].as_object().unwrap();
    let known_at: Vec<DateTime<Utc>> =
        serde_json::from_value(document["known_at"].clone()).unwrap();
    let columns = columns.iter().map(|(name, values)| {
        let values = values.as_array().unwrap().iter();
        let values: Vec<f64> = values.map(|x| x.as_f64().unwrap_or(f64::NAN)).collect();
        (name.clone(), values)
    });
    SeriesFrame::new(known_at, columns, document["price"].as_str().unwrap()).unwrap()
}

/// Another kind of CPU may round the last digits otherwise.
#[track_caller]
fn near(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found / expected - 1.0).abs() < 1e-5,
        "{what}: {found} instead of {expected}"
    );
}

fn bundles(format: &str) -> Vec<PathBuf> {
    let mut bundles: Vec<PathBuf> = fs::read_dir(folder().join(format))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    bundles.sort();
    bundles
}

#[test]
fn bundles_of_every_format_load_and_forecast_as_they_did() {
    let frame = stored_series();
    let mut seen = Vec::new();
    for (format, version) in [("v1", (1, 0)), ("v2", (2, 0)), ("v2.1", (2, 1))] {
        for bundle in bundles(format) {
            let info = validate_bundle(&bundle).unwrap();
            assert_eq!(info.format, version);
            assert_eq!(
                (info.metrics["MAPE"], info.data_hash.as_deref()),
                (1.25, Some("1f0e"))
            );
            let forecaster = Forecaster::load(&bundle, &Device::Cpu).unwrap();
            let text = fs::read_to_string(bundle.join("expected.json")).unwrap();
            let expected: Vec<Value> = serde_json::from_str(&text).unwrap();
            let forecasts = forecaster.forecast_at(&frame, 78..83).unwrap();
            assert_eq!(forecasts.len(), expected.len());
            for (forecast, expected) in forecasts.iter().zip(&expected) {
                let what = format!("{} at {}", bundle.display(), forecast.known_until());
                near(forecast.point(), &expected["point"], &what);
                near(forecast.naive(), &expected["naive"], &what);
                assert_eq!(
                    json!(forecast.target_time()),
                    expected["target_time"],
                    "{what}"
                );
                // The first releases let the quantiles of one network cross. They come back in
                // order, which moves no value but to another level.
                let stored: Vec<Interval> =
                    serde_json::from_value(expected["intervals"].clone()).unwrap();
                let intervals = expected["intervals"].as_array().unwrap().iter();
                let ends = intervals.flat_map(|interval| {
                    let number = |name: &str| interval[name].as_f64().unwrap();
                    let tail = 0.5 * (1.0 - number("level"));
                    [(tail, number("low")), (1.0 - tail, number("high"))]
                });
                let median = (0.5, expected["point"].as_f64().unwrap());
                let expected = match format {
                    "v1" | "v2" => Quantiles::new(ends.chain([median])).intervals(),
                    _ => stored,
                };
                for expected in expected {
                    let intervals = forecast.intervals();
                    let found = intervals.iter().find(|found| found.level == expected.level);
                    near(found.unwrap().low, &json!(expected.low), &what);
                    near(found.unwrap().high, &json!(expected.high), &what);
                }
            }
            seen.push(info.model_type);
        }
    }
    assert_eq!(seen, ["CNN", "LSTM", "PatchTST"].repeat(3));
}

/// The identity of a bundle is stored in registries, so it must not change with the program.
#[test]
fn bundles_of_the_first_format_keep_their_identity() {
    let identities = bundles("v1").into_iter().map(|bundle| {
        let text = fs::read_to_string(bundle.join("forecaster.json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let hashes = [&document["weights_sha256"], &document["model_sha256"]];
        let hashes = hashes.map(|hash| hash.as_str().unwrap()).concat();
        (
            validate_bundle(&bundle).unwrap().content_hash,
            format!("{:x}", Sha256::digest(hashes)),
        )
    });
    for (found, expected) in identities {
        assert_eq!(found, expected);
    }
}

/// Reads a fixture, changes it and writes it elsewhere with the hash of what was changed.
fn changed(bundle: &Path, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(bundle.join("forecaster.json")).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    change(&mut document);
    let hash = Sha256::digest(document["model"].to_string());
    document["model_sha256"] = format!("{hash:x}").into();
    fs::write(dir.path().join("forecaster.json"), format!("{document:#}")).unwrap();
    for file in ["weights.safetensors", "model.onnx"] {
        if bundle.join(file).exists() {
            fs::copy(bundle.join(file), dir.path().join(file)).unwrap();
        }
    }
    dir
}

/// A writer of another release has other fields; its bundle is judged by its own bytes.
#[test]
fn a_field_that_its_writer_did_not_know_is_no_damage() {
    for bundle in ["v1", "v2", "v2.1"].into_iter().flat_map(bundles) {
        let older = changed(&bundle, |document| {
            let config = document["model"]["config"].as_object_mut().unwrap();
            assert!(config.shift_remove("clip_norm").is_some());
        });
        let loaded = Forecaster::load(older.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.train_config().clip_norm, None);
    }
}

/// How the bundle is laid out is no part of what it says.
#[test]
fn whitespace_between_tokens_changes_nothing() {
    for bundle in ["v1", "v2", "v2.1"].into_iter().flat_map(bundles) {
        let dir = changed(&bundle, |_| ());
        let path = dir.path().join("forecaster.json");
        let identity = validate_bundle(dir.path()).unwrap().content_hash;
        let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::write(&path, document.to_string()).unwrap();
        assert_eq!(validate_bundle(dir.path()).unwrap().content_hash, identity);
        assert_eq!(validate_bundle(&bundle).unwrap().content_hash, identity);
    }
}

#[test]
fn unknown_fields_are_kept_of_a_newer_minor_version_and_refused_by_name_of_any_other() {
    let newer = folder().join("v2-newer-minor");
    let forecaster = Forecaster::load(&newer, &Device::Cpu).unwrap();
    assert_eq!(validate_bundle(&newer).unwrap().format, (2, 2));
    let dir = tempfile::tempdir().unwrap();
    forecaster.save(dir.path()).unwrap();
    let read = |dir: &Path| -> Value {
        serde_json::from_slice(&fs::read(dir.join("forecaster.json")).unwrap()).unwrap()
    };
    let (was, mut is) = (read(&newer), read(dir.path()));
    // The graph is written anew, which the fixture has none of.
    let graph = is.as_object_mut().unwrap().shift_remove("onnx_sha256");
    assert_eq!(graph.is_some(), dir.path().join("model.onnx").exists());
    assert_eq!(is, was);
    assert_eq!(
        is["model"]["config"]["weather"],
        json!({"station": "north/~1", "lags": [1, 2]})
    );
    assert_eq!(is["signature"], json!(["a", "b"]));
    assert_eq!(is["timings"]["load_seconds"], json!(0.25));
    assert_eq!(
        validate_bundle(dir.path()).unwrap().content_hash,
        validate_bundle(&newer).unwrap().content_hash
    );

    let refused = |bundle: &Path, change: &dyn Fn(&mut Value), name: &str| {
        let dir = changed(bundle, change);
        let error = Forecaster::load(dir.path(), &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::Bundle { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    };
    for bundle in ["v1", "v2", "v2.1"].into_iter().flat_map(bundles) {
        refused(
            &bundle,
            &|document| document["model"]["network"]["glue"] = json!(1),
            "/model/network/glue",
        );
        refused(&bundle, &|document| document["glue"] = json!(1), "glue");
    }
    let same = |document: &mut Value| document["format_minor"] = json!(0);
    refused(
        &newer,
        &same,
        "/model/config/weather, /signature, /timings/load_seconds",
    );
}

#[test]
#[ignore = "writes the bundles of today's format and what they forecast"]
fn write() {
    let frame = stored_series();
    let config = TrainConfig::default()
        .with_epochs(3)
        .with_timesteps(5)
        .with_seed(11);
    let cases = [
        (
            "lstm",
            NetworkConfig::Lstm(LstmConfig::default().with_units(4)),
            config.clone(),
        ),
        (
            "cnn",
            NetworkConfig::Cnn(
                CnnConfig::default()
                    .with_filters(4)
                    .with_kernel(3)
                    .with_activation(btc_models::Activation::Relu),
            ),
            config
                .clone()
                .with_loss(Loss::Pinball {
                    quantiles: vec![0.05, 0.1, 0.5, 0.9, 0.95],
                })
                .with_transform("flow", FeatureTransform::ZScore { window: 4 })
                .with_target(btc_models::Target::Difference)
                .with_scaler(ScalerKind::Robust)
                .with_optimizer(Optimizer::AdamW { weight_decay: 0.01 }, 3e-3)
                .with_schedule(Schedule::Cosine { final_share: 0.1 })
                .with_clip_norm(1.0)
                .with_patience(5),
        ),
        (
            "patch_tst",
            NetworkConfig::PatchTst(
                PatchTstConfig::default()
                    .with_patch(3)
                    .with_stride(2)
                    .with_width(4)
                    .with_heads(2)
                    .with_layers(1)
                    .with_dropout(0.1),
            ),
            config
                .clone()
                .with_loss(Loss::GaussianNll)
                .with_horizon(3)
                .with_optimizer(
                    Optimizer::Sgd {
                        momentum: 0.9,
                        nesterov: true,
                    },
                    1e-2,
                )
                .with_schedule(Schedule::Plateau {
                    factor: 0.5,
                    patience: 1,
                }),
        ),
    ];
    for (name, network, config) in cases {
        let forecaster = train(&network, &frame.slice(0..80).unwrap(), &config)
            .with_metric("MAPE", 1.25)
            .with_data_hash("1f0e");
        let at = folder().join("v2.1").join(name);
        forecaster.save(&at).unwrap();
        let forecasts = forecaster.forecast_at(&frame, 78..83).unwrap();
        let expected: Vec<Value> = forecasts
            .iter()
            .map(|forecast| {
                json!({
                    "point": forecast.point(),
                    "naive": forecast.naive(),
                    "intervals": forecast.intervals(),
                    "known_until": forecast.known_until(),
                    "target_time": forecast.target_time(),
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&expected).unwrap();
        fs::write(at.join("expected.json"), text + "\n").unwrap();
    }
    let dir = changed(&folder().join("v2.1/lstm"), |document| {
        document["format_minor"] = json!(2);
        document["model"]["config"]["weather"] = json!({"station": "north/~1", "lags": [1, 2]});
        document["timings"]["load_seconds"] = json!(0.25);
        document["signature"] = json!(["a", "b"]);
        document
            .as_object_mut()
            .unwrap()
            .shift_remove("onnx_sha256");
    });
    let newer = folder().join("v2-newer-minor");
    fs::create_dir_all(&newer).unwrap();
    for file in ["forecaster.json", "weights.safetensors"] {
        fs::copy(dir.path().join(file), newer.join(file)).unwrap();
    }
}

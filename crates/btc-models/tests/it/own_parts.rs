//! Parts of the caller's own, and the crate's own as implementations of the same traits.

use btc_models::backtest::Metric;
use btc_models::{
    Callback, Error, FeatureTransform, Forecaster, Loss, ModelType, Optimizer, ScalerKind,
    Schedule, Target, TrainConfig, conformance, validate_bundle,
};
use candle_core::Device;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{network, random_walk, train};

#[path = "../../examples/own_parts.rs"]
#[allow(dead_code, reason = "its main function is the test below")]
mod example;

#[test]
fn the_example_beats_naive_with_parts_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (forecaster, report) = example::run(&dir.path().join("m")).unwrap();
    let [naive, own] = &report.models[..] else {
        panic!("{:?}", report.models);
    };
    assert!(own.metrics["WithinPercent"] > naive.metrics["WithinPercent"]);
    assert!(own.relative_mae < 0.5, "{}", own.relative_mae);
    // The callback ended training, and its goal was met.
    let epochs = forecaster.history();
    assert!(epochs.len() < 30, "{epochs:?}");
    assert!(epochs[epochs.len() - 1].score() < 0.02);
}

#[test]
fn parts_travel_in_the_bundle_with_their_settings() {
    let dir = tempfile::tempdir().unwrap();
    let frame = example::frame().unwrap();
    let config = example::config().unwrap().with_epochs(2);
    let forecaster = train(&network(ModelType::NLinear, true), &frame, &config);
    forecaster.save(dir.path()).unwrap();
    let loaded = Forecaster::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(loaded.train_config(), &config);
    assert_eq!(
        loaded.forecast(&frame).unwrap(),
        forecaster.forecast(&frame).unwrap()
    );
    let text = std::fs::read_to_string(dir.path().join("forecaster.json")).unwrap();
    let model = &serde_json::from_str::<Value>(&text).unwrap()["model"];
    assert_eq!(model["loss"]["type"], "Asymmetric");
    assert_eq!(model["loss"]["weight"], 2.0);
    let config = &model["config"];
    for (field, name) in [
        ("optimizer", "Lion"),
        ("schedule", "Warmup"),
        ("scaler", "Asinh"),
        ("target", "Ratio"),
    ] {
        assert_eq!(config[field]["type"], name, "{field}");
    }
    assert_eq!(config["transforms"]["volume"]["type"], "Root");
    assert_eq!(config["callbacks"][0]["type"], "Goal");
}

/// A bundle is of no use where a part of it is not known, and says which and what to call.
#[test]
fn a_part_that_is_not_registered_is_named_with_what_registers_it() {
    let frame = random_walk(4, 90);
    let forecaster = train(
        &network(ModelType::NLinear, true),
        &frame,
        &TrainConfig::default().with_epochs(1),
    );
    let unknown = |field: &str, register: &str| {
        let dir = tempfile::tempdir().unwrap();
        forecaster.save(dir.path()).unwrap();
        let path = dir.path().join("forecaster.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let own = serde_json::json!({"type": "Unheard", "size": 3});
        let model = &mut document["model"];
        match field {
            "network" => {
                model["network"] = own;
                document["model_type"] = "Unheard".into();
            }
            "loss" => model["loss"] = own,
            "callbacks" => model["config"]["callbacks"] = Value::Array(vec![own]),
            _ => model["config"][field] = own,
        }
        let hash = Sha256::digest(document["model"].to_string());
        document["model_sha256"] = format!("{hash:x}").into();
        std::fs::write(&path, document.to_string()).unwrap();
        for error in [
            Forecaster::load(dir.path(), &Device::Cpu).err().unwrap(),
            validate_bundle(dir.path()).err().unwrap(),
        ] {
            let message = error.to_string();
            let Error::NotRegistered {
                name,
                register: found,
                ..
            } = error
            else {
                panic!("{field}: {message}");
            };
            assert_eq!((name.as_str(), found), ("Unheard", register), "{field}");
            assert!(message.contains(register), "{message}");
        }
    };
    unknown("network", "register_network");
    unknown("loss", "register_loss");
    unknown("transform", "register_transform");
    unknown("target", "register_target");
    unknown("scaler", "register_scaler");
    unknown("optimizer", "register_optimizer");
    unknown("schedule", "register_schedule");
    unknown("callbacks", "register_callback");
}

/// Settings that were read where their names are not known are refused before any work.
#[test]
fn a_training_with_a_part_that_is_not_registered_is_refused() {
    let frame = random_walk(4, 90);
    for text in [
        r#"{"loss": {"type": "Unheard"}}"#,
        r#"{"optimizer": {"type": "Unheard"}}"#,
        r#"{"target": {"type": "Unheard"}}"#,
    ] {
        let config: TrainConfig = serde_json::from_str(text).unwrap();
        let fitted = btc_models::fit(
            &network(ModelType::NLinear, true),
            &frame,
            &config,
            &Device::Cpu,
            |_| panic!("no epoch may run"),
        );
        assert!(matches!(fitted, Err(Error::NotRegistered { .. })), "{text}");
    }
}

#[test]
fn the_crates_own_parts_keep_the_contracts() {
    for target in Target::ALL {
        conformance::check_target(&target);
    }
    for scaler in [ScalerKind::MinMax, ScalerKind::Standard, ScalerKind::Robust] {
        conformance::check_scaler(&scaler);
    }
    for transform in [
        FeatureTransform::Auto,
        FeatureTransform::Level,
        FeatureTransform::Log,
        FeatureTransform::Difference,
        FeatureTransform::LogDifference,
        FeatureTransform::ZScore { window: 2 },
        FeatureTransform::ZScore { window: 30 },
    ] {
        conformance::check_transform(&transform);
    }
    for loss in [
        Loss::LogCosh,
        Loss::Mse,
        Loss::Mae,
        Loss::Huber { delta: 0.7 },
        Loss::Pinball {
            quantiles: vec![0.1, 0.5, 0.9],
        },
        Loss::GaussianNll,
    ] {
        conformance::check_loss(&loss);
    }
    let sgd = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    for optimizer in [
        Optimizer::Adam,
        Optimizer::AdamW { weight_decay: 0.01 },
        sgd(0.0, false),
        sgd(0.9, false),
        sgd(0.9, true),
    ] {
        conformance::check_optimizer(&optimizer);
    }
    for schedule in [
        Schedule::Constant,
        Schedule::Cosine { final_share: 0.1 },
        Schedule::OneCycle { rise: 0.3 },
        Schedule::Plateau {
            factor: 0.5,
            patience: 1,
        },
    ] {
        conformance::check_schedule(&schedule);
    }
    conformance::check_callback(&Callback::EarlyStopping {
        patience: 3,
        least: 0.0,
    });
    for name in [
        "mae",
        "rmse",
        "mape",
        "relative_mae",
        "r2",
        "direction_accuracy",
    ] {
        conformance::check_metric(&name.parse::<Metric>().unwrap());
    }
}

#[test]
fn own_parts_keep_the_contracts() {
    let config = example::config().unwrap();
    conformance::check_loss(&config.loss.unwrap());
    conformance::check_transform(&config.transforms["volume"]);
    conformance::check_scaler(&config.scaler);
    conformance::check_target(&config.target);
    conformance::check_optimizer(&config.optimizer);
    conformance::check_schedule(&config.schedule);
    conformance::check_callback(&config.callbacks[0]);
    conformance::check_metric(&example::WithinPercent { percent: 1.0 });
}

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
            (info.model_type.as_str(), info.parameters),
            (model.name(), forecaster.parameter_count())
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
        assert_eq!(fs::read_dir(&at).unwrap().count(), 3);
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
    let graph = at.join("model.onnx");
    let written = fs::read(&graph).unwrap();
    fs::write(&graph, &written[1..]).unwrap();
    check("the hash of its content differs");
    fs::remove_file(&graph).unwrap();
    assert!(matches!(validate_bundle(&at), Err(Error::Io { .. })));
    fs::write(&graph, written).unwrap();
    fs::write(
        &manifest,
        text.replacen("\"timesteps\": 10", "\"timesteps\": 11", 1),
    )
    .unwrap();
    check("was changed");
    fs::write(
        &manifest,
        text.replacen("\"format_version\": 2", "\"format_version\": 3", 1),
    )
    .unwrap();
    check("version 3");
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
        (vec!["config", "horizon"], json!(1_000_000)),
        (vec!["config", "horizon"], json!(85)),
        (vec!["training_range", "end"], json!("2019-01-01T00:00:00Z")),
        (vec!["target", "scaler", "scale"], json!(0.0)),
        (vec!["target", "scaler", "scale"], json!(-1.0)),
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

/// Nothing that makes a model knows the time.
#[test]
fn two_trainings_with_one_seed_are_one_model() {
    let frame = random_walk(4, 90);
    let dir = tempfile::tempdir().unwrap();
    let identity = |name: &str, seed| {
        let config = TrainConfig::default().with_epochs(3).with_seed(seed);
        let at = dir.path().join(name);
        let forecaster = train(&network(ModelType::Lstm, true), &frame, &config);
        forecaster.save(&at).unwrap();
        let loaded = Forecaster::load(&at, &Device::Cpu).unwrap();
        assert_eq!(loaded.history(), forecaster.history());
        assert!(0.0 < loaded.history()[2].seconds);
        validate_bundle(&at).unwrap().content_hash
    };
    let first = identity("first", 1);
    assert_eq!(first, identity("second", 1));
    assert_ne!(first, identity("third", 2));
}

/// Run by the test below under another umask, which is a process's own.
#[test]
#[cfg(unix)]
fn permissions_are_those_of_ordinary_files() {
    use std::os::unix::fs::PermissionsExt;
    let frame = random_walk(4, 60);
    let config = TrainConfig::default().with_epochs(1);
    let forecaster = train(&network(ModelType::NLinear, true), &frame, &config);
    let dir = tempfile::tempdir().unwrap();
    let ordinary = dir.path().join("ordinary");
    fs::create_dir(&ordinary).unwrap();
    fs::write(ordinary.join("file"), "").unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    let at = dir.path().join("model");
    for _ in 0..2 {
        forecaster.save(&at).unwrap();
        assert_eq!(mode(&at), mode(&ordinary));
        for file in [btc_models::MANIFEST_FILE, btc_models::WEIGHTS_FILE] {
            assert_eq!(mode(&at.join(file)), mode(&ordinary.join("file")));
        }
    }
    println!(
        "file {:o}.",
        mode(&at.join(btc_models::WEIGHTS_FILE)) & 0o777
    );
}

#[test]
#[cfg(unix)]
fn permissions_follow_the_umask() {
    for (umask, expected) in [
        ("077", "file 600."),
        ("027", "file 640."),
        ("002", "file 664."),
    ] {
        let script = format!(
            "umask {umask}; exec \"$0\" --exact bundles::permissions_are_those_of_ordinary_files --nocapture"
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(expected),
            "umask {umask}: {text}"
        );
    }
}

//! Luck makes no champion, and a signal does.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use btc_models::{Hyperparameters, ModelType, NetworkConfig, Optimizer, TrainConfig};
use btc_pipeline::{
    EVENT_TIMESTAMP, PRICE, Proposal, RegisterConfig, Registration, SearchConfig, SpaceFn,
    StudyConfig, Verdict, frame, open_study, register_best, search,
};
use btc_track::TrackingClient;
use btc_tune::InMemoryStorage;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const DAYS: usize = 400;

fn table(close: Vec<f64>) -> RecordBatch {
    let day = 24 * 60 * 60 * 1_000_000_000_i64;
    let times = TimestampNanosecondArray::from_iter_values(
        (0..close.len() as i64).map(|row| day * (row + 1)),
    );
    let columns: [(&str, ArrayRef); 2] = [
        (EVENT_TIMESTAMP, Arc::new(times.with_timezone("UTC"))),
        (PRICE, Arc::new(Float64Array::from(close))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Noise of a standard deviation near 1: a sum of uniform numbers.
fn noise(random: &mut Xoshiro256PlusPlus) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// A price whose changes nothing foretells.
fn martingale(seed: u64) -> Vec<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut price = 100.0;
    (0..DAYS)
        .map(|_| {
            price *= 1.0 + 0.02 * noise(&mut random);
            price
        })
        .collect()
}

/// A price with a week in it.
fn weekly(seed: u64) -> Vec<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..DAYS)
        .map(|day| {
            let angle = std::f64::consts::TAU * day as f64 / 7.0;
            100.0 + 10.0 * angle.sin() + noise(&mut random)
        })
        .collect()
}

fn register(close: Vec<f64>, model_type: ModelType, client: &TrackingClient) -> Registration {
    let table = table(close);
    let name = format!("search-{model_type}");
    let experiment = client.get_or_create_experiment(&name).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    let study = open_study(storage, &name, &StudyConfig::default()).unwrap();
    let space = SpaceFn::new(7, move |_| {
        let sizes = Hyperparameters::default()
            .with_timesteps(7)
            .with_epochs(15)
            .with_batch_size(16)
            .with_optimizer(Optimizer::Adam, 0.01);
        Ok(Proposal {
            network: NetworkConfig::new(model_type, &sizes),
            training: TrainConfig::new(&sizes),
        })
    });
    let config = SearchConfig {
        space: Arc::new(space),
        prediction_length: 20,
        ..SearchConfig::default()
    };
    let frame = frame(&table, 80).unwrap();
    search(
        &study,
        client,
        &experiment.experiment_id,
        &frame,
        &config,
        &(),
    )
    .unwrap();
    let config = RegisterConfig {
        experiment: name,
        model_name: "model".into(),
        allow_worse_than_naive: true,
        ..RegisterConfig::default()
    };
    register_best(client, &config, &table).unwrap()
}

#[test]
fn no_model_of_a_martingale_becomes_champion_by_itself() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let client = TrackingClient::in_memory(folder.path()).unwrap();
        for (at, model_type) in [ModelType::NLinear, ModelType::Cnn].into_iter().enumerate() {
            let registered = register(martingale(seed), model_type, &client);
            assert!(
                !registered.champion,
                "seed {seed}, {model_type}: p {}",
                registered.p
            );
            assert_ne!(registered.verdict, Verdict::Beats);
            // Both networks looked at the same days.
            assert_eq!(registered.looks, at + 1);
            assert!(registered.p_single <= registered.p);
        }
    }
}

#[test]
fn a_model_of_a_series_with_a_week_becomes_champion_and_the_next_is_judged_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let first = register(weekly(1), ModelType::NLinear, &client);
    assert_eq!(first.verdict, Verdict::Beats, "p {}", first.p);
    assert!(first.champion && first.p < 0.05 && !first.worse_than_naive);
    let version = client.model_version_by_alias("model", "champion").unwrap();
    assert_eq!(version.version, first.version);
    assert_eq!(version.tag("verdict"), Some("beats"));
    assert_eq!(version.tag("champion_by"), None);
    let second = register(weekly(1), ModelType::Cnn, &client);
    assert_eq!(second.previous_champion, Some(first.version));
    // The same days as its own: so are the scores.
    assert_eq!(second.previous_champion_holdout, first.holdout);
    assert_eq!(second.looks, 2);
}

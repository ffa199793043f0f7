//! One epoch of each network on 700 windows of 10 rows and 21 features, and one forecast.

use std::hint::black_box;
use std::ops::ControlFlow;

use btc_models::candle_core::Device;
use btc_models::{Hyperparameters, Loss, ModelType, NetworkConfig, SeriesFrame, TrainConfig, fit};
use chrono::{DateTime, Days};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

fn series() -> SeriesFrame {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let start = DateTime::from_timestamp(1_600_000_000, 0).expect("a valid time");
    let values: Vec<f64> = (0..711 * 21)
        .map(|_| 1.0 + random.random::<f64>())
        .collect();
    let days = (0..711).map(|day| start + Days::new(day)).collect();
    let column = |at: usize| values.iter().skip(at).step_by(21).copied().collect();
    let columns = (0..21).map(|at| (format!("x{at}"), column(at)));
    SeriesFrame::new(days, columns, "x0").expect("a valid series")
}

fn benches(criterion: &mut Criterion) {
    let frame = series();
    let config = TrainConfig::default()
        .with_validation_fraction(0.0)
        .with_loss(Loss::Mse)
        .with_epochs(1);
    let hyperparameters = Hyperparameters::default().with_units(64);
    let mut group = criterion.benchmark_group("epoch");
    group.sample_size(10);
    for model in ModelType::ALL {
        let network = NetworkConfig::new(model, &hyperparameters);
        let train = || {
            fit(&network, &frame, &config, &Device::Cpu, |_| {
                Ok(ControlFlow::Continue(()))
            })
            .expect("the series is long enough")
        };
        group.bench_function(model.name(), |bencher| bencher.iter(|| black_box(train())));
    }
    group.finish();
    let network = NetworkConfig::new(ModelType::Lstm, &hyperparameters);
    let forecaster = fit(&network, &frame, &config, &Device::Cpu, |_| {
        Ok(ControlFlow::Continue(()))
    })
    .expect("the series is long enough");
    criterion.bench_function("forecast", |bencher| {
        bencher.iter(|| black_box(forecaster.forecast(&frame)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);

//! Training on every device of this build.

use btc_models::{Forecaster, Loss, ModelType, Optimizer, TrainConfig, fit};
use candle_core::Device;

use crate::support::{network, random_walk};

/// The CPU, and what the build has beside it.
fn devices() -> Vec<Device> {
    vec![
        Device::Cpu,
        #[cfg(feature = "cuda")]
        Device::new_cuda(0).unwrap(),
    ]
}

fn trained(device: &Device, model: ModelType, config: &TrainConfig) -> Forecaster {
    // Random numbers are drawn on the host, so that dropout is the same everywhere.
    let frame = random_walk(3, 120);
    fit(&network(model, true), &frame, config, device, |_| {
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap()
}

#[test]
fn every_device_trains_to_the_same_forecasts() {
    let frame = random_walk(3, 120);
    let sgd = Optimizer::Sgd {
        momentum: 0.9,
        nesterov: true,
    };
    let quantiles = Loss::Pinball {
        quantiles: vec![0.1, 0.5, 0.9],
    };
    let base = TrainConfig::default().with_epochs(3);
    let configs = [
        base.clone().with_clip_norm(0.5),
        base.clone().with_optimizer(sgd, 1e-3).with_loss(quantiles),
        base.with_loss(Loss::GaussianNll),
    ];
    for model in ModelType::ALL {
        for config in &configs {
            let expected = trained(&Device::Cpu, model, config);
            for device in devices() {
                let found = trained(&device, model, config);
                let pairs = expected.history().iter().zip(found.history());
                for (a, b) in pairs {
                    let near = (a.loss - b.loss).abs() < 1e-2 * a.loss.abs().max(0.1);
                    assert!(near, "{model} on {device:?}: {a:?} {b:?}");
                }
                let point = |own: &Forecaster| own.forecast(&frame).unwrap().point();
                let ratio = point(&expected) / point(&found);
                assert!((ratio - 1.0).abs() < 1e-3, "{model} on {device:?}: {ratio}");
            }
        }
    }
}

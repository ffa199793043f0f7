//! The checks of what a network is trained with.

use candle_core::{Device, Tensor, Var};

use super::{accepted, twice};
use crate::{
    CallbackSpec, EpochLogs, LossSpec, OptimizerSpec, OptimizerStep, ScheduleSpec, TrainingProgress,
};

/// Panics if a tensor operation failed.
fn done<T>(result: candle_core::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("a tensor operation failed: {error}"),
    }
}

/// Predictions and targets that a loss is evaluated at; none of them is at a kink.
fn pairs(outputs: usize, windows: usize) -> (Vec<f32>, Vec<f32>) {
    let wave = |at: usize, frequency: f64| (2.0 * (at as f64 * frequency).sin()) as f32;
    let predictions = (0..windows * outputs).map(|at| wave(at, 1.7)).collect();
    let targets = (0..windows).map(|at| wave(at, 2.3) + 0.013).collect();
    (predictions, targets)
}

/// Checks a loss for the contract of [`LossSpec`]: finite, the same each time and on every thread;
/// the mean of the losses of the windows; with the gradient that differences have; as a tensor, if
/// it is one, of the same value and gradient; with a finite point, and quantiles that have levels
/// between 0 and 1.
///
/// ```
/// use btc_models::{Loss, conformance};
///
/// conformance::check_loss(&Loss::Huber { delta: 0.5 });
/// ```
///
/// # Panics
///
/// Panics if the loss breaks the contract.
pub fn check_loss(loss: &dyn LossSpec) {
    accepted(loss.validate());
    let outputs = loss.outputs();
    assert!(0 < outputs, "it needs no output");
    let (predictions, targets) = pairs(outputs, 7);
    let (value, gradient) = loss.evaluate(&predictions, &targets);
    assert!(value.is_finite(), "it is {value}");
    assert_eq!(
        gradient.len(),
        predictions.len(),
        "one slope for each prediction"
    );
    for (other, slopes) in twice(|| loss.evaluate(&predictions, &targets)) {
        assert_eq!(
            other.to_bits(),
            value.to_bits(),
            "it is not the same each time"
        );
        assert_eq!(slopes, gradient, "it is not the same each time");
    }
    let each = predictions.chunks(outputs).zip(&targets);
    let each = each.map(|(prediction, target)| loss.evaluate(prediction, &[*target]).0);
    let mean = each.sum::<f64>() / targets.len() as f64;
    assert!(
        (mean - value).abs() <= 1e-6 * value.abs().max(1.0),
        "the mean over the windows is {mean}, and the loss {value}"
    );
    for at in 0..predictions.len() {
        let moved = |by: f32| {
            let mut predictions = predictions.clone();
            predictions[at] += by;
            let taken = f64::from(predictions[at]);
            (taken, loss.evaluate(&predictions, &targets).0)
        };
        let ((low, below), (high, above)) = (moved(-1e-3), moved(1e-3));
        let slope = (above - below) / (high - low);
        let found = f64::from(gradient[at]);
        assert!(
            (slope - found).abs() <= 1e-3 * slope.abs().max(1.0),
            "the slope of prediction {at} is {found}, by differences {slope}"
        );
    }
    let shape = (targets.len(), outputs);
    let var = done(Var::from_slice(&predictions, shape, &Device::Cpu));
    let expected = done(Tensor::new(targets.as_slice(), &Device::Cpu));
    if let Some(tensor) = done(loss.tensor(var.as_tensor(), &expected)) {
        let found = f64::from(done(tensor.to_scalar::<f32>()));
        let near = (found - value).abs() <= 1e-4 * value.abs().max(1.0);
        assert!(near, "as a tensor it is {found}, and {value} otherwise");
        let gradients = done(tensor.backward());
        let Some(slopes) = gradients.get(&var) else {
            panic!("as a tensor it has no gradient");
        };
        let slopes: Vec<f32> = done(slopes.flatten_all().and_then(|slopes| slopes.to_vec1()));
        for (found, expected) in slopes.iter().zip(&gradient) {
            let near = (found - expected).abs() <= 1e-4 * expected.abs().max(1.0);
            assert!(
                near,
                "as a tensor its slopes are {slopes:?}, and {gradient:?} otherwise"
            );
        }
    }
    for outputs in predictions.chunks(outputs) {
        assert!(loss.point(outputs).is_finite(), "the point is not finite");
        for (level, value) in loss.quantiles(outputs) {
            assert!(
                0.0 < level && level < 1.0 && value.is_finite(),
                "{value} at {level}"
            );
        }
    }
}

/// Checks an optimiser for the contract of [`OptimizerSpec`]: it declares all that it remembers,
/// so that two trainings from one state go the same way bit for bit, whatever else it was used
/// for; it keeps shapes; it stays finite, and finds the lowest point of a bowl.
///
/// ```
/// use btc_models::{Optimizer, conformance};
///
/// conformance::check_optimizer(&Optimizer::Adam);
/// ```
///
/// # Panics
///
/// Panics if the optimiser breaks the contract.
pub fn check_optimizer(optimizer: &dyn OptimizerSpec) {
    accepted(optimizer.validate());
    let names = optimizer.state();
    let repeated = names
        .iter()
        .enumerate()
        .any(|(at, name)| names[..at].contains(name));
    assert!(!repeated, "two of its tensors have one name: {names:?}");
    let goal = done(Tensor::new(&[0.5f32, -0.25, 0.125, 0.0], &Device::Cpu));
    let steps = |weight: &mut Tensor, state: &mut [Tensor], numbers: std::ops::Range<usize>| {
        for number in numbers {
            let gradient = done(weight.sub(&goal));
            let step = OptimizerStep::new(number, 0.01);
            let next = done(optimizer.step(step, weight, &gradient, state));
            assert_eq!(next.dims(), weight.dims(), "a weight has another shape");
            let kept = state.iter().all(|kept| kept.dims() == weight.dims());
            assert!(kept, "a tensor that it keeps has another shape");
            *weight = next.detach();
        }
    };
    let values = |tensor: &Tensor| done(tensor.to_vec1::<f32>());
    let distance = |weight: &Tensor| {
        let pairs = values(weight).into_iter().zip(values(&goal));
        pairs.map(|(x, goal)| (x - goal).abs()).fold(0f32, f32::max)
    };
    let mut weight = done(Tensor::new(&[1.0f32, 1.0, -1.0, 2.0], &Device::Cpu));
    let zeros = names.iter().map(|_| done(weight.zeros_like()));
    let mut state: Vec<Tensor> = zeros.collect();
    let far = distance(&weight);
    steps(&mut weight, &mut state, 1..40);
    // What is stored is values, not the tensors that the optimiser made.
    let stored = |tensor: &Tensor| done(Tensor::new(values(tensor).as_slice(), &Device::Cpu));
    let continued = || {
        let (mut weight, mut state) = (
            stored(&weight),
            state.iter().map(stored).collect::<Vec<_>>(),
        );
        steps(&mut weight, &mut state, 40..60);
        values(&weight)
    };
    let others = twice(continued);
    steps(&mut weight, &mut state, 40..60);
    for other in others {
        assert_eq!(other, values(&weight), "it remembers more than it declares");
    }
    steps(&mut weight, &mut state, 60..2000);
    let near = distance(&weight);
    assert!(
        near.is_finite() && near < 0.25 * far,
        "after 2000 steps it is {near} off, of {far}"
    );
}

/// Logs of an epoch with this loss over the validation windows.
fn logs(epoch: usize, val_loss: f64) -> EpochLogs {
    EpochLogs {
        epoch,
        loss: 1.0,
        val_loss: Some(val_loss),
        val_relative_mae: None,
        seconds: 0.0,
    }
}

/// Checks a schedule for the contract of [`ScheduleSpec`]: rates are finite, not negative, and the
/// same each time.
///
/// ```
/// use btc_models::{Schedule, conformance};
///
/// conformance::check_schedule(&Schedule::Cosine { final_share: 0.1 });
/// ```
///
/// # Panics
///
/// Panics if the schedule breaks the contract.
pub fn check_schedule(schedule: &dyn ScheduleSpec) {
    accepted(schedule.validate());
    let losses = [1.0, 0.7, 0.8, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7];
    let history: Vec<EpochLogs> = (0..10).map(|epoch| logs(epoch, losses[epoch])).collect();
    let rates = || -> Vec<f64> {
        let at = |step: usize| TrainingProgress::new(step, 100, &history[..step / 10]);
        (0..100)
            .map(|step| schedule.rate(0.01, &at(step)))
            .collect()
    };
    let once = rates();
    let valid = once.iter().all(|rate| rate.is_finite() && 0.0 <= *rate);
    assert!(valid, "a rate is not finite or negative: {once:?}");
    for other in twice(rates) {
        assert_eq!(other, once, "it is not the same each time");
    }
}

/// Checks a callback for the contract of [`CallbackSpec`]: each training gets one of its own, which
/// does the same whatever others did.
///
/// # Panics
///
/// Panics if the callback breaks the contract.
pub fn check_callback(callback: &dyn CallbackSpec) {
    accepted(callback.validate());
    let run = || -> Vec<Option<bool>> {
        let mut started = callback.start();
        let epochs = (0..50).map(|epoch| logs(epoch, 1.0 / (1.0 + epoch.min(20) as f64)));
        let told = epochs.map(|logs| started.on_epoch_end(&logs).ok());
        told.map(|flow| flow.map(|flow| flow.is_break())).collect()
    };
    let once = run();
    for other in twice(run) {
        assert_eq!(other, once, "it is not the same in each training");
    }
}

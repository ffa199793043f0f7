//! All windows of a training where its network is, so that no step waits for the host.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use super::windows::{End, Windows};
use crate::{Loss, Result};

/// The scaled rows and targets of a training, moved to its device once.
pub(super) struct Resident {
    /// The rows of all series: (rows, features).
    rows: Tensor,
    /// The first row of each window.
    starts: Tensor,
    /// 0 to the number of rows in a window: (1, timesteps).
    offsets: Tensor,
    /// (windows, steps).
    targets: Tensor,
}

impl Resident {
    pub(super) fn new(windows: &Windows<'_>, ends: &[End]) -> Result<Self> {
        let (device, timesteps) = (windows.device, windows.timesteps);
        let width = windows.parts.first().map_or(0, |part| part.series.width);
        let mut rows: Vec<f32> = Vec::new();
        let mut first_rows = Vec::with_capacity(windows.parts.len());
        for part in &windows.parts {
            first_rows.push(rows.len() / width.max(1));
            rows.extend_from_slice(&part.series.data);
        }
        let start = |end: &End| (first_rows[end.part] + end.row + 1 - timesteps) as u32;
        let count = rows.len() / width.max(1);
        let steps = windows.steps.len();
        Ok(Self {
            rows: Tensor::from_vec(rows, (count, width), device)?,
            starts: Tensor::from_iter(ends.iter().map(start), device)?,
            offsets: Tensor::arange(0, timesteps as u32, device)?.unsqueeze(0)?,
            targets: Tensor::from_vec(windows.targets(ends)?, (ends.len(), steps), device)?,
        })
    }

    /// The batches of an epoch that takes the windows in this order.
    pub(super) fn epoch(&self, order: &[usize], batch_size: usize) -> Result<Epoch<'_>> {
        let device = self.rows.device();
        let order = Tensor::from_iter(order.iter().map(|at| *at as u32), device)?;
        Ok(Epoch {
            resident: self,
            order,
            batch_size,
            sum: Tensor::zeros((), DType::F32, device)?,
        })
    }
}

/// One epoch, with the sum of its losses so far.
pub(super) struct Epoch<'a> {
    resident: &'a Resident,
    order: Tensor,
    batch_size: usize,
    sum: Tensor,
}

impl Epoch<'_> {
    /// A batch: (windows, timesteps, features) and (windows, steps).
    pub(super) fn batch(&self, batch: usize) -> Result<(Tensor, Tensor)> {
        let Resident {
            rows,
            starts,
            offsets,
            targets,
        } = self.resident;
        let start = batch * self.batch_size;
        let length = self.batch_size.min(self.order.dim(0)? - start);
        let chosen = self.order.narrow(0, start, length)?;
        let first = starts.index_select(&chosen, 0)?.unsqueeze(1)?;
        let wanted = first.broadcast_add(offsets)?;
        let shape = (length, offsets.dim(1)?, rows.dim(1)?);
        let x = rows
            .index_select(&wanted.flatten_all()?, 0)?
            .reshape(shape)?;
        Ok((x, targets.index_select(&chosen, 0)?))
    }

    /// The gradients of the mean loss of a batch, which is added to the sum.
    pub(super) fn gradients(
        &mut self,
        output: &Tensor,
        targets: &Tensor,
        loss: &Loss,
    ) -> Result<GradStore> {
        let windows = output.dim(0)? as f64;
        let expected = targets.flatten_all()?;
        let predictions = output.reshape((expected.elem_count(), loss.outputs()))?;
        if let Some(mean) = loss.tensor(&predictions, &expected)? {
            self.sum = (&self.sum + (mean.detach() * windows)?)?;
            return Ok(mean.backward()?);
        }
        // A loss that is not a tensor comes by way of the host.
        let values: Vec<f32> = output.flatten_all()?.to_vec1()?;
        let (mean, slope) = loss.evaluate(&values, &expected.to_vec1::<f32>()?);
        self.sum = (&self.sum + mean * windows)?;
        let slope = Tensor::from_vec(slope, output.shape(), output.device())?;
        Ok(output.mul(&slope)?.sum_all()?.backward()?)
    }

    /// The sum of the losses of all windows; not finite if training diverged.
    pub(super) fn loss(self) -> Result<f64> {
        Ok(f64::from(self.sum.to_scalar::<f32>()?))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use candle_core::Device;

    use super::super::assemble::train_where;
    use super::super::windows::{PanelSeries, PartWindows};
    use super::*;
    use crate::series::SeriesFrame;
    use crate::series::frame::tests::frame;
    use crate::transform::{FeatureTransform, ScalerKind, TargetScaler};
    use crate::transform::{PanelScaling, PreprocessConfig, Preprocessor, Target, TrainingPart};
    use crate::{Hyperparameters, ModelType, NetworkConfig, TrainConfig};

    fn wave(size: f64, speed: f64, rows: i32) -> SeriesFrame {
        let values = (0..rows).map(|row| size * (2.0 + (f64::from(row) * speed).sin()));
        frame(&[("y", values.collect())])
    }

    #[test]
    fn a_window_has_the_rows_of_its_own_series_alone() {
        let config = PreprocessConfig::default()
            .with_target(Target::Level)
            .with_scaler(ScalerKind::MinMax)
            .with_default_transform(FeatureTransform::Level);
        let frames = [wave(1.0, 0.3, 12), wave(100.0, 0.7, 20)];
        let device = Device::Cpu;
        let parts = frames.iter().map(|frame| {
            let own = [TrainingPart::rows(frame, frame.rows())];
            let (fitted, _) = Preprocessor::fit(&own, &config, PanelScaling::default()).unwrap();
            PartWindows {
                series: fitted.apply(frame).unwrap(),
                frame,
                scalers: vec![TargetScaler::fit(&own, 1, &config).unwrap(); 2],
            }
        });
        let windows = Windows {
            parts: parts.collect(),
            steps: 1..3,
            timesteps: 3,
            device: &device,
        };
        let end = |part, row| End { part, row };
        let ends = [end(0, 2), end(1, 2), end(0, 9), end(1, 17), end(1, 5)];
        let resident = Resident::new(&windows, &ends).unwrap();
        let order = [4, 0, 3, 1, 2];
        let epoch = resident.epoch(&order, 2).unwrap();
        let double = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (batch, chosen) in order.chunks(2).enumerate() {
            let chosen: Vec<End> = chosen.iter().map(|at| ends[*at]).collect();
            let (x, targets) = epoch.batch(batch).unwrap();
            let (expected, expected_targets) = windows.batch(&chosen).unwrap();
            assert_eq!(x.dims(), expected.dims());
            assert_eq!(double(&x), double(&expected));
            assert_eq!(double(&targets), expected_targets);
            for (window, end) in double(&x).chunks(3).zip(&chosen) {
                let own = &windows.parts[end.part].series.data;
                assert_eq!(window, &own[end.row - 2..=end.row]);
            }
        }
    }

    /// The way that training takes on other devices: the windows stay where they are, and the
    /// loss is a tensor.
    #[test]
    fn resident_training_comes_to_what_training_by_batches_comes_to() {
        let frames = [wave(1.0, 0.3, 60), wave(100.0, 0.7, 80)];
        let named: Vec<PanelSeries<'_>> = frames
            .iter()
            .map(|frame| PanelSeries {
                name: Some("one"),
                frame,
            })
            .collect();
        let losses = [
            Loss::LogCosh,
            Loss::Mse,
            Loss::Mae,
            Loss::Huber { delta: 0.5 },
            Loss::Pinball {
                quantiles: vec![0.1, 0.5, 0.9],
            },
            Loss::GaussianNll,
        ];
        for loss in losses {
            let network = NetworkConfig::new(ModelType::Lstm, &Hyperparameters::default());
            let config = TrainConfig::default()
                .with_epochs(3)
                .with_steps(2)
                .with_clip_norm(0.5)
                .with_loss(loss.clone());
            let run = |resident: bool| {
                let place = (&Device::Cpu, resident);
                let go_on = &mut |_: &_| Ok(ControlFlow::Continue(()));
                train_where(&network, &named, &config, place, go_on).unwrap()
            };
            let (host, resident) = (run(false), run(true));
            for ((host, resident), frame) in host.iter().zip(&resident).zip(&frames) {
                let pairs = host.history().iter().zip(resident.history());
                for (a, b) in pairs {
                    let near = (a.loss - b.loss).abs() < 1e-4 * a.loss.abs().max(1.0);
                    assert!(near, "{loss:?}: {a:?} {b:?}");
                }
                let point = |own: &crate::Forecaster| own.forecast(frame).unwrap().point();
                let ratio = point(host) / point(resident);
                assert!((ratio - 1.0).abs() < 1e-4, "{loss:?}: {ratio}");
            }
        }
    }
}

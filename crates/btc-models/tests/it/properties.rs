//! What holds for every series.

use btc_models::{Baseline, FitContext, Forecaster, Model, ModelType, SeriesFrame, TrainConfig};
use proptest::prelude::*;

use crate::support::{frame, network, normals, prices, train};

const ROWS: usize = 130;
const TRAINING: usize = 90;

/// A walk with two features, values of which are missing here and there.
fn series() -> impl Strategy<Value = SeriesFrame> {
    (
        any::<u64>(),
        0.001..0.2f64,
        prop::collection::vec(any::<bool>(), ROWS),
        0..ROWS,
    )
        .prop_map(|(seed, spread, missing, from)| {
            let returns: Vec<f64> = normals(seed, ROWS - 1).iter().map(|x| spread * x).collect();
            let hole = |values: Vec<f64>, missing: &dyn Fn(usize) -> bool| -> Vec<f64> {
                let holes = values.into_iter().enumerate();
                holes
                    .map(|(row, x)| if missing(row) { f64::NAN } else { x })
                    .collect()
            };
            let level: Vec<f64> = normals(seed ^ 1, ROWS).iter().map(|x| 50.0 + x).collect();
            frame(&[
                ("close", prices(&returns)),
                ("with holes", hole(level.clone(), &|row| missing[row])),
                ("late", hole(normals(seed ^ 2, ROWS), &|row| row < from)),
            ])
        })
}

fn forecaster(model: ModelType, frame: &SeriesFrame) -> Forecaster {
    let config = TrainConfig::default().with_timesteps(5).with_epochs(1);
    train(
        &network(model, true),
        &frame.slice(0..TRAINING).unwrap(),
        &config,
    )
}

/// Other values in the rows after `row`.
fn corrupted(whole: &SeriesFrame, row: usize, factor: f64) -> SeriesFrame {
    let columns: Vec<(&str, Vec<f64>)> = whole
        .names()
        .iter()
        .map(|name| {
            let mut values = whole.column(name).unwrap().to_vec();
            values[row + 1..]
                .iter_mut()
                .for_each(|x| *x = if x.is_nan() { 1.0 } else { factor * *x });
            (name.as_str(), values)
        })
        .collect();
    frame(&columns)
}

proptest! {
    #![proptest_config(btc_testing::cases(24))]

    #[test]
    fn no_forecast_depends_on_rows_after_its_origin(
        whole in series(),
        model in prop::sample::select(ModelType::ALL.to_vec()),
        row in TRAINING..ROWS - 1,
        factor in prop::sample::select(vec![0.1, 0.9, 3.0]),
    ) {
        let forecaster = forecaster(model, &whole);
        let expected = forecaster.forecast_at(&whole, row..row + 1).unwrap();
        prop_assert_eq!(&forecaster.forecast(&whole.slice(0..row + 1).unwrap()).unwrap(), &expected[0]);
        let changed = corrupted(&whole, row, factor);
        prop_assert_eq!(forecaster.forecast_at(&changed, row..row + 1).unwrap(), expected);
        for baseline in Baseline::ALL {
            let fitted = baseline.fit(&whole.slice(0..TRAINING).unwrap(), &FitContext::new(1, 0)).unwrap();
            let expected = fitted.forecast_at(&whole, row..row + 1).unwrap();
            let truncated = whole.slice(0..row + 1).unwrap();
            prop_assert_eq!(&fitted.forecast_at(&truncated, row..row + 1).unwrap(), &expected);
            prop_assert_eq!(fitted.forecast_at(&changed, row..row + 1).unwrap(), expected);
        }
    }

    #[test]
    fn training_depends_on_its_rows_alone(whole in series(), factor in 0.5..2.0f64) {
        let a = forecaster(ModelType::Cnn, &whole);
        let b = forecaster(ModelType::Cnn, &corrupted(&whole, TRAINING - 1, factor));
        prop_assert_eq!(a.history()[0].loss, b.history()[0].loss);
        prop_assert_eq!(a.forecast_at(&whole, 100..110).unwrap(), b.forecast_at(&whole, 100..110).unwrap());
    }

    #[test]
    fn intervals_are_around_the_point_and_nested(whole in series()) {
        let forecasts = forecaster(ModelType::NLinear, &whole).forecast_at(&whole, TRAINING..ROWS).unwrap();
        for forecast in forecasts {
            prop_assert!(forecast.point().is_finite() && 0.0 < forecast.point());
            for interval in forecast.intervals() {
                prop_assert!(interval.low <= forecast.point() && forecast.point() <= interval.high);
            }
            for pair in forecast.intervals().windows(2) {
                prop_assert!(pair[1].low <= pair[0].low && pair[0].high <= pair[1].high);
            }
        }
    }
}

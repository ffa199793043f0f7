//! What networks see beside the past: values known ahead, and what never changes.

use btc_models::{Error, Forecaster, HolePolicy, ModelType, SeriesFrame, Target, TrainConfig, fit};
use candle_core::Device;
use chrono::{DateTime, Days, Utc};

use crate::support::{network, normals, train};

fn day(n: usize) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2022-01-01T00:00:00Z".parse().unwrap();
    start + Days::new(n as u64)
}

/// Sales that rise by 20 on days of promotion, which no past value tells; the promotions of
/// `later` days after the last one are known.
fn sales(rows: usize, later: usize) -> SeriesFrame {
    let random = normals(12, 2000);
    let promotion: Vec<f64> = random.iter().map(|x| f64::from(0.5 < *x)).collect();
    let noise = normals(13, rows);
    let sales = (0..rows)
        .map(|n| 100.0 + 20.0 * promotion[n] + noise[n])
        .collect();
    let past = ("promotion", promotion[..rows].to_vec());
    let ahead = ("promotion", promotion[rows..rows + later].to_vec());
    SeriesFrame::new(
        (0..rows).map(day).collect(),
        [("sales", sales), past],
        "sales",
    )
    .unwrap()
    .with_known_future(["promotion"])
    .unwrap()
    .with_future((rows..rows + later).map(day).collect(), [ahead])
    .unwrap()
}

fn config() -> TrainConfig {
    TrainConfig::default()
        .with_target(Target::Difference)
        .with_optimizer(btc_models::Optimizer::Adam, 1e-2)
        .with_epochs(40)
        .with_seed(4)
}

#[test]
fn networks_use_what_is_known_ahead_at_each_step() {
    let whole = sales(600, 3);
    let training = whole.slice(0..500).unwrap();
    let forecaster = train(
        &network(ModelType::Cnn, true),
        &training,
        &config().with_steps(3),
    );
    let forecasts = forecaster.forecast_at(&whole, 500..597).unwrap();
    for ahead in 1..=3 {
        let (mut error, mut naive) = (0.0, 0.0);
        for (row, forecast) in (500..597).zip(&forecasts) {
            let actual = whole.target()[row + ahead];
            error += (forecast.step(ahead).unwrap().point - actual).abs();
            naive += (forecast.naive() - actual).abs();
            assert!(forecast.missing().is_empty());
        }
        assert!(error < 0.5 * naive, "step {ahead}: {error} of {naive}");
    }
    let dir = tempfile::tempdir().unwrap();
    forecaster.save(dir.path()).unwrap();
    let loaded = Forecaster::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(loaded.forecast_at(&whole, 500..597).unwrap(), forecasts);
}

#[test]
fn only_what_is_known_ahead_is_read_ahead() {
    let whole = sales(300, 3);
    let others = |at: usize| {
        let mut sales = whole.target().to_vec();
        sales[at + 1..].iter_mut().for_each(|x| *x = 3.0 * *x + 7.0);
        let promotion = whole.column("promotion").unwrap().to_vec();
        let later = (300..303).map(day).collect();
        let values = (0..3).map(|n| whole.covariate_at("promotion", 299, n + 1).unwrap());
        let columns = [("sales", sales), ("promotion", promotion)];
        SeriesFrame::new(whole.known_at().to_vec(), columns, "sales")
            .unwrap()
            .with_known_future(["promotion"])
            .unwrap()
            .with_future(later, [("promotion", values.collect::<Vec<f64>>())])
            .unwrap()
    };
    for model in [ModelType::NLinear, ModelType::Lstm] {
        let training = whole.slice(0..200).unwrap();
        let config = config().with_steps(3).with_epochs(1);
        let forecaster = train(&network(model, true), &training, &config);
        let all = forecaster.forecast_at(&whole, 200..300).unwrap();
        for row in [200, 250, 299] {
            let cut = whole.slice(0..row + 1).unwrap();
            assert_eq!(forecaster.forecast(&cut).unwrap(), all[row - 200]);
            let changed = forecaster.forecast_at(&others(row), row..row + 1).unwrap();
            assert_eq!(changed[0], all[row - 200]);
        }
        // What is known ahead does count, up to the last step and no further.
        let mut other = whole.column("promotion").unwrap().to_vec();
        other[223] = 1.0 - other[223];
        let columns = [("sales", whole.target().to_vec()), ("promotion", other)];
        let other = SeriesFrame::new(whole.known_at().to_vec(), columns, "sales").unwrap();
        let other = other.with_known_future(["promotion"]).unwrap();
        let forecast = |row| {
            forecaster
                .forecast_at(&other, row..row + 1)
                .unwrap()
                .remove(0)
        };
        assert_ne!(forecast(220), all[20]);
        assert_eq!(forecast(219), all[19]);
    }
}

#[test]
fn a_path_goes_on_with_what_is_known_ahead() {
    let whole = sales(400, 5);
    let forecaster = train(&network(ModelType::Cnn, true), &whole, &config());
    let path = forecaster.forecast_path(&whole, 5).unwrap();
    for (ahead, forecast) in (1..).zip(&path) {
        let promoted = whole.covariate_at("promotion", 399, ahead).unwrap();
        let expected = 100.0 + 20.0 * promoted;
        assert!(
            (forecast.point() - expected).abs() < 8.0,
            "{ahead}: {forecast:?}"
        );
        assert!(forecast.missing().is_empty());
    }
    // Of the sixth day nothing is known, and the forecast says so.
    let longer = forecaster.forecast_path(&whole, 6).unwrap();
    assert_eq!(longer[..5], path);
    assert_eq!(longer[5].missing(), [day(405)]);
    let unknown = sales(400, 0);
    assert_eq!(forecaster.forecast(&unknown).unwrap().missing(), [day(400)]);
    let strict = config().with_epochs(1).with_holes(HolePolicy::Refuse);
    let strict = train(&network(ModelType::Cnn, true), &whole, &strict);
    assert!(
        matches!(strict.forecast(&unknown), Err(Error::Holes { missing, .. }) if missing == [day(400)])
    );
}

#[test]
fn what_never_changes_and_categories_are_channels() {
    let words = || vec!["dry".to_owned(), "wet".to_owned()];
    // Sales rise by 20 on the day after a wet one.
    let wet: Vec<bool> = normals(14, 400).iter().map(|x| 0.0 < *x).collect();
    let noise = normals(15, 400);
    let load = |n: usize| 100.0 + noise[n] + if 0 < n && wet[n - 1] { 20.0 } else { 0.0 };
    let load: Vec<f64> = (0..400).map(load).collect();
    let plain = SeriesFrame::new((0..400).map(day).collect(), [("load", load)], "load").unwrap();
    let codes = wet.iter().map(|wet| Some(u32::from(*wet))).collect();
    let whole = plain
        .clone()
        .with_static("size", 250.0)
        .unwrap()
        .with_static_category("place", 1, vec!["sea".into(), "hill".into()])
        .unwrap()
        .with_category("weather", codes, words())
        .unwrap();
    let training = whole.slice(0..350).unwrap();
    let cnn = network(ModelType::Cnn, true);
    let forecaster = train(&cnn, &training, &config());
    let forecasts = forecaster.forecast_at(&whole, 350..399).unwrap();
    let error = (350..399)
        .zip(&forecasts)
        .map(|(row, forecast)| (forecast.point() - whole.target()[row + 1]).abs());
    assert!(error.sum::<f64>() / 49.0 < 4.0);
    assert_eq!(forecaster.forecast_path(&whole, 3).unwrap().len(), 3);
    let missing = forecaster.forecast(&plain).unwrap_err();
    assert!(matches!(missing, Error::MissingFeature { .. }), "{missing}");
    let without = fit(&cnn, &plain, &config(), &Device::Cpu, |_| {
        Ok(std::ops::ControlFlow::Continue(()))
    });
    assert!(without.unwrap().parameter_count() < forecaster.parameter_count());
}

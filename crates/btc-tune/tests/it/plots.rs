//! What plots show, and that they are drawn for any study.

use std::num::NonZeroUsize;
use std::sync::Arc;

use btc_tune::{
    FloatDistribution, ImportanceEvaluator, InMemoryStorage, NewTrial, ObjectiveError,
    OptimizeOptions, RandomSampler, Study, StudyDirection, Terminator, TrialState, plot,
};

fn study(directions: &[StudyDirection]) -> Study {
    Study::builder("<plots> & \"more\"", Arc::new(InMemoryStorage::new()))
        .sampler(RandomSampler::new(1))
        .directions(directions)
        .create()
        .unwrap()
}

fn filled() -> Study {
    let study = study(&[StudyDirection::Maximize]);
    study
        .optimize(NonZeroUsize::new(25).unwrap(), |trial| {
            let x = trial.suggest_float("x <&>", FloatDistribution::log(1e-4, 1.0)?)?;
            let n = trial.suggest_int("n", 1..=5)? as f64;
            trial.suggest_categorical("c", &["a", "b\u{1}<"])?;
            trial.report(0, x)?;
            trial.report(1, f64::NAN)?;
            trial.report(2, n)?;
            match trial.number() {
                3 => Err(ObjectiveError::Pruned),
                4 => Ok(f64::INFINITY),
                _ => Ok(n - x),
            }
        })
        .unwrap();
    study
}

/// Well-formed: every element closed, nothing but escaped text between.
fn check_svg(svg: &str) {
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    assert!(!svg.contains(" style=") && !svg.contains("<script"));
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        assert!(!text.contains('\u{1}'));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn history_shows_values_and_the_best_so_far() {
    let study = study(&[StudyDirection::Maximize]);
    for value in [1.0, 3.0, 2.0] {
        study
            .add_trial(NewTrial::complete(Vec::new(), [value]))
            .unwrap();
    }
    let chart = plot::optimization_history(&study.trials().unwrap(), study.directions(), 0);
    assert_eq!(chart.series[0].points, [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]);
    assert_eq!(chart.series[1].points, [(0.0, 1.0), (1.0, 3.0), (2.0, 3.0)]);
    let chart = plot::edf(&[("s", &study.trials().unwrap())], 0);
    assert_eq!(chart.series[0].points[2], (3.0, 1.0));
}

#[test]
fn every_plot_is_drawn_for_full_and_empty_studies() {
    let empty = study(&[StudyDirection::Minimize]);
    for study in [filled(), empty] {
        let (trials, directions) = (study.trials().unwrap(), study.directions().to_vec());
        check_svg(&plot::optimization_history(&trials, &directions, 0).to_svg());
        check_svg(&plot::intermediate_values(&trials).to_svg());
        check_svg(&plot::edf(&[("a <b>", &trials)], 0).to_svg());
        check_svg(&plot::timeline(&trials).to_svg());
        let names = ["x <&>", "n", "c"];
        check_svg(&plot::parallel_coordinates(&trials, &directions, 0, &names).to_svg());
        for a in names {
            let slice = plot::slice(&trials, &directions, 0, a);
            assert_eq!(slice.is_some(), !trials.is_empty());
            slice.iter().for_each(|chart| check_svg(&chart.to_svg()));
            for b in names {
                plot::rank(&trials, &directions, 0, (a, b))
                    .iter()
                    .for_each(|c| check_svg(&c.to_svg()));
                plot::contour(&trials, &directions, 0, (a, b))
                    .iter()
                    .for_each(|c| check_svg(&c.to_svg()));
            }
        }
    }
    let importances = filled()
        .param_importances(ImportanceEvaluator::default(), None)
        .unwrap();
    assert!((importances.iter().map(|(_, v)| v).sum::<f64>() - 1.0).abs() < 1e-12);
    check_svg(&plot::importances(&importances).to_svg());
}

#[test]
fn the_front_is_drawn_apart() {
    let study = study(&[StudyDirection::Minimize, StudyDirection::Minimize]);
    for values in [[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]] {
        study
            .add_trial(NewTrial::complete(Vec::new(), values))
            .unwrap();
    }
    let chart = plot::pareto_front(&study.trials().unwrap(), study.directions(), (0, 1));
    assert_eq!(chart.series[0].points, [(2.0, 2.0)]);
    assert_eq!(chart.series[1].points.len(), 2);
    check_svg(&chart.to_svg());
}

#[test]
fn a_table_has_a_column_for_everything() {
    let table = filled().trial_table().unwrap();
    assert_eq!(
        table.columns,
        [
            "number",
            "state",
            "value",
            "datetime_start",
            "datetime_complete",
            "duration",
            "params_x <&>",
            "params_n",
            "params_c",
            "last_step"
        ]
    );
    let csv = table.to_csv();
    assert_eq!(csv.lines().count(), 26);
    assert!(csv.lines().nth(4).unwrap().starts_with("3,PRUNED,"));
    assert_eq!(table.rows[4][2], "Infinity");
}

#[test]
fn a_study_ends_when_little_is_left_to_gain() {
    for terminator in [
        Terminator::Stagnation { trials: 15 },
        Terminator::RegretBound {
            error: 0.05,
            min_trials: 20,
        },
    ] {
        let study = Study::builder("t", Arc::new(InMemoryStorage::new()))
            .sampler(btc_tune::AutoSampler::new(1))
            .create()
            .unwrap();
        let options = OptimizeOptions {
            n_trials: Some(120),
            callbacks: vec![terminator.callback()],
            ..Default::default()
        };
        study
            .optimize_with(options, |trial| {
                Ok((trial.suggest_float("x", -1.0..=1.0)? - 0.3).powi(2))
            })
            .unwrap();
        let trials = study.trials().unwrap();
        assert!(
            (15..120).contains(&trials.len()),
            "{terminator:?}: {}",
            trials.len()
        );
        assert!(trials.iter().all(|t| t.state == TrialState::Complete));
        assert!(study.best_value().unwrap() < 0.05);
    }
}

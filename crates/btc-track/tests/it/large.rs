//! Sizes at which a store that reads everything is too slow.

use btc_track::{Batch, Metric, NewRun, TrackingClient};

#[test]
fn a_long_curve_is_summarised_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::open(&folder.path().join("track.db"), folder.path()).unwrap();
    let new = NewRun {
        experiment_id: "0".into(),
        ..Default::default()
    };
    let run = client.tracking.create_run(&new).unwrap().info.run_id;
    let n: i64 = 120_000;
    let value = |i: i64| match i {
        70_001 => f64::NAN,
        70_002 => -5.0,
        99_999 => 5.0,
        _ => ((i * 7919) % 1000) as f64 / 1000.0,
    };
    // In two passes, so that summaries are merged and not only written.
    for parity in 0..2 {
        let all: Vec<i64> = (0..n).filter(|i| i % 2 == parity).collect();
        for chunk in all.chunks(10_000) {
            let metrics = chunk
                .iter()
                .map(|&i| Metric::new("m", value(i), i, i))
                .collect();
            client
                .tracking
                .log_batch(
                    &run,
                    &Batch {
                        metrics,
                        ..Default::default()
                    },
                )
                .unwrap();
        }
    }
    // Duplicates change nothing.
    let metrics = (0..100).map(|i| Metric::new("m", value(i), i, i)).collect();
    client
        .tracking
        .log_batch(
            &run,
            &Batch {
                metrics,
                ..Default::default()
            },
        )
        .unwrap();

    let buckets = client.tracking.metric_buckets(&run, "m", 200).unwrap();
    assert!((50..=200).contains(&buckets.len()), "{}", buckets.len());
    assert_eq!(
        buckets.iter().map(|bucket| bucket.count).sum::<u64>(),
        n as u64
    );
    let mut next = 0;
    for bucket in &buckets {
        let steps = next..next + bucket.count as i64;
        next = steps.end;
        assert_eq!(
            (bucket.first.step, bucket.last.step),
            (steps.start, steps.end - 1)
        );
        assert_eq!(bucket.first.value.to_bits(), value(steps.start).to_bits());
        let numbers = || steps.clone().map(value).filter(|value| !value.is_nan());
        assert_eq!(bucket.min.value, numbers().fold(f64::INFINITY, f64::min));
        assert_eq!(
            bucket.max.value,
            numbers().fold(f64::NEG_INFINITY, f64::max)
        );
        assert_eq!(bucket.min.value, value(bucket.min.step));
    }
    assert!(client.tracking.metric_buckets(&run, "m", 3).unwrap().len() <= 3);
}

#[test]
fn values_without_steps_are_downsampled_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::open(&folder.path().join("track.db"), folder.path()).unwrap();
    let new = NewRun {
        experiment_id: "0".into(),
        ..Default::default()
    };
    let run = client.tracking.create_run(&new).unwrap().info.run_id;
    let metrics = (0..60_000)
        .map(|i| Metric::new("m", i as f64, i, 0))
        .collect();
    client
        .tracking
        .log_batch(
            &run,
            &Batch {
                metrics,
                ..Default::default()
            },
        )
        .unwrap();
    let buckets = client.tracking.metric_buckets(&run, "m", 100).unwrap();
    assert_eq!(buckets.len(), 100);
    assert_eq!(
        (buckets[3].min.value, buckets[3].max.value),
        (1800.0, 2399.0)
    );
}

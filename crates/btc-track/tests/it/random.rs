//! Inputs nobody would type: nothing panics, and every refusal says where.

use btc_track::search::{Filter, OrderBy, Subject};
use btc_track::{ArtifactPath, ArtifactUri, Error, TrackingClient};
use proptest::prelude::*;

use crate::http::Server;

const SUBJECTS: [Subject; 5] = [
    Subject::Run,
    Subject::Experiment,
    Subject::RegisteredModel,
    Subject::ModelVersion,
    Subject::LoggedModel,
];

/// Texts made of the words and signs of the filter language, and of anything.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "metrics.",
            "params.",
            "tag.",
            "attributes.",
            "status",
            "name",
            "m",
            " ",
            "  ",
            "=",
            "!=",
            "<",
            ">=",
            "LIKE",
            "ilike",
            "IN",
            "NOT",
            "IS",
            "NULL",
            "AND",
            "or",
            "(",
            ")",
            ",",
            "'",
            "\"",
            "`",
            "1",
            "-1e5",
            "1e999",
            ".",
            ";",
            "%",
            "_",
            "DESC",
            "asc",
            "\u{0}",
            "ü",
            "dataset.name",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(|c| c.to_string()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// JSON that is nearly what an endpoint wants.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::sample::select(vec![
        "null",
        "1",
        "-1",
        "0.5",
        "1e400",
        "\"\"",
        "\"0\"",
        "\"x\"",
        "\"NaN\"",
        "true",
        "[]",
        "[1]",
        "[{}]",
        "{}",
        "[{\"key\":\"a\",\"value\":\"b\"}]",
        "[[[]]]",
        "9223372036854775807",
        "\"\\ud800\"",
    ]);
    let key = prop::sample::select(vec![
        "run_id",
        "experiment_id",
        "key",
        "value",
        "timestamp",
        "step",
        "metrics",
        "params",
        "tags",
        "name",
        "filter",
        "max_results",
        "order_by",
        "experiment_ids",
        "status",
        "version",
        "source",
        "page_token",
        "datasets",
        "models",
        "start_time",
        "artifact_location",
        "alias",
        "stage",
    ]);
    let object = prop::collection::vec((key, value), 0..6).prop_map(|fields| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    });
    prop_oneof![4 => object, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #![proptest_config(btc_testing::cases(1000))]

    #[test]
    fn any_filter_is_read_or_refused_with_a_position(text in text()) {
        for subject in SUBJECTS {
            let errors = [
                Filter::parse(subject, &text).err(),
                OrderBy::parse(subject, &text).err(),
            ];
            for error in errors.into_iter().flatten() {
                match error {
                    Error::InvalidFilter { position, .. } => prop_assert!(position <= text.len()),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn any_artifact_path_stays_below_its_root_or_is_refused(text in "[./%2efF5cC\\\\#a:;ü\u{0}-]{0,24}") {
        let _ = ArtifactUri::parse(&text);
        if let Ok(path) = ArtifactPath::parse(&text) {
            let plain = |c: std::path::Component| matches!(c, std::path::Component::Normal(_));
            prop_assert!(std::path::Path::new(path.as_str()).components().all(plain), "{text:?}");
            prop_assert_eq!(ArtifactPath::parse(path.as_str()).unwrap(), path);
        }
    }
}

#[test]
fn any_body_is_answered_without_an_internal_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(TrackingClient::in_memory(folder.path()).unwrap());
    let endpoint = prop::sample::select(vec![
        "experiments/create",
        "experiments/search",
        "experiments/update",
        "runs/create",
        "runs/update",
        "runs/log-metric",
        "runs/log-batch",
        "runs/log-inputs",
        "runs/outputs",
        "runs/search",
        "runs/set-tag",
        "runs/log-model",
        "logged-models",
        "logged-models/search",
        "registered-models/create",
        "registered-models/alias",
        "registered-models/get-latest-versions",
        "model-versions/create",
        "model-versions/transition-stage",
        "model-versions/search",
    ]);
    let mut connection = server.connect();
    let mut runner = proptest::test_runner::TestRunner::new(btc_testing::cases(2000));
    let connection = std::cell::RefCell::new(&mut connection);
    runner
        .run(&(endpoint, body()), |(endpoint, body)| {
            let path = format!("/api/2.0/mlflow/{endpoint}");
            let answer = connection
                .borrow_mut()
                .request("POST", &path, "application/json", &body);
            let answer = answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(
                answer.status < 500,
                "{endpoint}: {} {}",
                answer.status,
                answer.json()
            );
            Ok(())
        })
        .unwrap();
}

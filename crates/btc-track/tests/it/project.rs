//! Projects and model files, as MLflow has them.

use std::fs;

use btc_testing::python_with;
use btc_track::mlmodel::{Column, DataType, ModelFile, Signature};
use btc_track::mlproject::{Project, ProjectRunConfig, run_project};
use btc_track::{ActiveRun, Error, RunSpec, RunStatus, TrackingClient};

const PROJECT: &str = r#"
name: prices
python_env: python_env.yaml
entry_points:
  price-predict:
    parameters:
      date-end: {type: string, default: "2023-01-10"}
      n_trials: {type: float, default: 2}
      pull-data: {default: True}
      required: string
    command: "echo {date-end} {n-trials} {pull_data} {required} > out.txt; echo $MLFLOW_RUN_ID >> out.txt"
  fails:
    command: "exit 7"
  braces:
    parameters: {x: path}
    command: "echo '{{}}' {x}"
"#;

fn project() -> (tempfile::TempDir, TrackingClient) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("MLproject"), PROJECT).unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    (folder, client)
}

fn config(entry_point: &str, parameters: &[(&str, &str)]) -> ProjectRunConfig {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ProjectRunConfig {
        entry_point: entry_point.into(),
        parameters: parameters.iter().map(pair).collect(),
        experiment_id: "0".into(),
        ..Default::default()
    }
}

#[test]
fn an_entry_point_runs_with_quoted_values_and_is_recorded() {
    let (folder, client) = project();
    let project = Project::load(folder.path()).unwrap();
    let nasty = "it's $(touch hacked); `true`";
    let config = config(
        "price_predict",
        &[("date_end", "2022-12-31"), ("required", nasty)],
    );
    let done = run_project(&client, &project, &config).unwrap();
    assert_eq!(done.exit_code, Some(0));
    let out = fs::read_to_string(folder.path().join("out.txt")).unwrap();
    assert_eq!(out, format!("2022-12-31 2 True {nasty}\n{}\n", done.run_id));
    assert!(!folder.path().join("hacked").exists());
    let run = client.run(&done.run_id).unwrap();
    assert_eq!(run.info.status, RunStatus::Finished);
    assert_eq!(run.param("required"), Some(nasty));
    assert_eq!(run.param("n_trials"), Some("2"));
    assert_eq!(run.tag("mlflow.project.entryPoint"), Some("price-predict"));
    assert_eq!(run.tag("exit_code"), Some("0"));
}

#[test]
fn a_failing_command_is_a_failed_run() {
    let (folder, client) = project();
    let project = Project::load(folder.path()).unwrap();
    let done = run_project(&client, &project, &config("fails", &[])).unwrap();
    assert_eq!(done.exit_code, Some(7));
    assert_eq!(
        client.run(&done.run_id).unwrap().info.status,
        RunStatus::Failed
    );
}

#[test]
fn wrong_parameters_start_nothing() {
    let (folder, client) = project();
    let project = Project::load(folder.path()).unwrap();
    for (entry, parameters, expected) in [
        ("price-predict", &[][..], "required"),
        (
            "price-predict",
            &[("required", "x"), ("n_trials", "two")],
            "expected a number",
        ),
        (
            "braces",
            &[("x", "/no/such/file")],
            "expected a file that exists",
        ),
        ("fails", &[("a b", "1")], "not the name of a parameter"),
    ] {
        let error = run_project(&client, &project, &config(entry, parameters)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = run_project(&client, &project, &config("nothing", &[])).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let runs = client
        .search_runs::<_, &str>(&["0"], "", &[], 10, None)
        .unwrap();
    assert!(runs.items.is_empty());
}

#[test]
fn braces_and_further_parameters_reach_the_command() {
    let (folder, _) = project();
    let project = Project::load(folder.path()).unwrap();
    let path = folder.path().display().to_string();
    let given = [
        ("x".to_owned(), path.clone()),
        ("more".to_owned(), "a b".to_owned()),
    ];
    let (command, values) = project.entry_points["braces"].command_line(&given).unwrap();
    // The folder for temporary files may have a name that a shell has to be told in quotes.
    let quoted = format!("echo '{{}}' '{path}' --more 'a b'");
    let plain = format!("echo '{{}}' {path} --more 'a b'");
    assert!(
        command == quoted || command == plain && !path.contains(' '),
        "{command}"
    );
    assert_eq!(values.len(), 2);
}

#[test]
fn broken_project_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Project::load(folder.path()).unwrap_err().is_not_found());
    for text in [
        "entry_points: [",
        "entry_points: {a: {}}",
        "entry_points: {a: {command: x, parameters: {p: 5}}}",
    ] {
        fs::write(folder.path().join("MLproject"), text).unwrap();
        let error = Project::load(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{text}: {error}");
    }
}

#[test]
fn mlflow_reads_our_model_file() {
    let Some(mut python) = python_with("mlflow") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let model = ModelFile::new("model", 1_700_000_000_123)
        .with_run("0123456789abcdef0123456789abcdef")
        .with_btc_flavor(1, "weights.safetensors", "forecaster.json")
        .with_signature(Signature::of_columns(
            vec![
                Column::new("close", DataType::Double),
                Column::new("n", DataType::Long),
            ],
            vec![Column::new("forecast", DataType::Double)],
        ));
    model.write(folder.path()).unwrap();
    let script = "
import sys, mlflow
info = mlflow.models.get_model_info(sys.argv[1])
assert info.run_id == '0123456789abcdef0123456789abcdef', info.run_id
assert info.flavors['btc_models']['weights'] == 'weights.safetensors', info.flavors
assert info.utc_time_created == '2023-11-14 22:13:20.123000', info.utc_time_created
assert [c.name for c in info.signature.inputs] == ['close', 'n'], info.signature
assert str(info.signature.outputs.inputs[0].type) == 'DataType.double', info.signature
";
    let output = python
        .args(["-c", script])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_logged_model_says_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    let bundle = folder.path().join("bundle");
    fs::create_dir_all(bundle.join("deep")).unwrap();
    fs::write(bundle.join("deep/weights"), [1; 100]).unwrap();
    let run = ActiveRun::start(&client, "0", RunSpec::default()).unwrap();
    run.log_model(
        &bundle,
        "model",
        ModelFile::new("", 0).with_btc_flavor(1, "w", "c"),
    )
    .unwrap();
    let uri = format!("{}/model", run.info().artifact_uri);
    let file = ModelFile::read(&client.artifacts.local_path(&uri).unwrap()).unwrap();
    assert_eq!(
        (file.run_id.as_deref(), file.artifact_path.as_str()),
        (Some(run.id()), "model")
    );
    assert_eq!(file.model_size_bytes, Some(100));
    assert!(file.created >= run.info().start_time);
}

#[test]
fn a_model_file_of_mlflow_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
artifact_path: mlflow-artifacts:/1/models/m-0123456789abcdef0123456789abcdef/artifacts
flavors:
  python_function:
    cloudpickle_version: 3.1.1
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.pyfunc.model
mlflow_version: 3.17.2
model_id: m-0123456789abcdef0123456789abcdef
model_size_bytes: 1234
model_uuid: m-0123456789abcdef0123456789abcdef
prompts: null
run_id: 0123456789abcdef0123456789abcdef
signature:
  inputs: '[{\"type\": \"double\", \"name\": \"x\", \"required\": true}]'
  outputs: '[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", \"shape\": [-1]}}]'
  params: null
utc_time_created: '2026-11-24 07:48:31.123456'
";
    fs::write(folder.path().join("MLmodel"), text).unwrap();
    let model = ModelFile::read(folder.path()).unwrap();
    assert_eq!(model.model_size_bytes, Some(1234));
    assert_eq!(
        model.signature.unwrap().inputs,
        [Column::new("x", DataType::Double)]
    );
    assert!(model.flavors.contains_key("python_function"));
    fs::write(folder.path().join("MLmodel"), "utc_time_created: yesterday").unwrap();
    assert!(matches!(
        ModelFile::read(folder.path()),
        Err(Error::Malformed { .. })
    ));
}

/// A value is itself wherever the command puts it.
#[test]
fn values_are_no_code_inside_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let command =
        r#"printf '%s\n' {v} "{v}" '{v}' "a $(printf '%s' {v}) b" "$(printf '%s' "{v}")" > out"#;
    let project = serde_json::json!({
        "name": "p",
        "entry_points": {
            "main": {"parameters": {"v": "string"}, "command": command},
            "ticks": {"parameters": {"v": "string"}, "command": "echo `echo {v}`"},
        },
    });
    fs::write(folder.path().join("MLproject"), project.to_string()).unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    let project = Project::load(folder.path()).unwrap();
    let nasty = r#"it's "$(touch hacked)" `touch hacked` \ $HOME; touch hacked #"#;
    let done = run_project(&client, &project, &config("main", &[("v", nasty)])).unwrap();
    assert_eq!(done.exit_code, Some(0));
    let out = fs::read_to_string(folder.path().join("out")).unwrap();
    let expected = [nasty, nasty, nasty, &format!("a {nasty} b"), nasty, ""].join("\n");
    assert_eq!(out, expected);
    assert!(!folder.path().join("hacked").exists());
    let error = run_project(&client, &project, &config("ticks", &[("v", nasty)])).unwrap_err();
    assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
}

/// Variables that hold secrets are named by the caller; one of cargo stands for them here.
#[test]
fn secrets_do_not_reach_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "name: p\nentry_points:\n  main:\n    command: 'echo \"[$CARGO_MANIFEST_DIR]\" > out'\n";
    fs::write(folder.path().join("MLproject"), text).unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    let project = Project::load(folder.path()).unwrap();
    let mut config = config("main", &[]);
    run_project(&client, &project, &config).unwrap();
    let out = || fs::read_to_string(folder.path().join("out")).unwrap();
    assert_ne!(out(), "[]\n");
    config.secrets = vec!["CARGO_MANIFEST_DIR".into()];
    run_project(&client, &project, &config).unwrap();
    assert_eq!(out(), "[]\n");
}

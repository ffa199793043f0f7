//! A registered version is what it was when it was registered.

use btc_track::{Error, ModelVersion, NewModelVersion, NewRun, TrackingClient};
use serde_json::json;

use crate::http::{Connection, Server};

const ARTIFACTS: &str = "/api/2.0/mlflow-artifacts/artifacts";

struct Site {
    folder: tempfile::TempDir,
    client: TrackingClient,
    run: String,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("track.db");
        let client = TrackingClient::open(&path, &folder.path().join("files")).unwrap();
        let new = NewRun {
            experiment_id: "0".into(),
            ..Default::default()
        };
        let info = client.tracking.create_run(&new).unwrap().info;
        for (path, content) in [
            ("model/MLmodel", "a"),
            ("model/data/w", "1"),
            ("notes", "n"),
        ] {
            let uri = &info.artifact_uri;
            client
                .artifacts
                .write(uri, path, &mut content.as_bytes())
                .unwrap();
        }
        Self {
            folder,
            client,
            run: info.run_id,
        }
    }

    fn register(&self, source: &str) -> ModelVersion {
        let new = NewModelVersion {
            name: "price".into(),
            create_model: true,
            source: source.into(),
            ..Default::default()
        };
        self.client.create_model_version(&new).unwrap()
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.folder
            .path()
            .join(format!("files/0/{}/artifacts/{path}", self.run))
    }
}

fn is_changed<T: std::fmt::Debug>(result: btc_track::Result<T>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::ContentChanged { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("content") && text.contains("hash"), "{text}");
}

#[test]
fn every_change_of_the_files_is_noticed() {
    let changes: [fn(&Site); 5] = [
        |site| std::fs::write(site.file("model/data/w"), "2").unwrap(),
        |site| std::fs::write(site.file("model/new"), "").unwrap(),
        |site| std::fs::remove_file(site.file("model/MLmodel")).unwrap(),
        |site| std::fs::rename(site.file("model/MLmodel"), site.file("model/mlmodel")).unwrap(),
        |site| std::fs::remove_dir_all(site.file("model")).unwrap(),
    ];
    for change in changes {
        let site = Site::new();
        let version = site.register(&format!("runs:/{}/model", site.run));
        let alias = site.register("models:/price/1");
        assert!(version.content.is_some());
        assert_eq!(version.content, alias.content);
        for version in [&version, &alias] {
            site.client.verify_version(version).unwrap();
            assert!(site.client.model_path(version).unwrap().is_some());
            let copy = tempfile::tempdir().unwrap();
            site.client.download_version(version, copy.path()).unwrap();
            assert!(copy.path().join("data/w").exists());
        }
        std::fs::write(site.file("notes"), "are no part of it").unwrap();
        site.client.verify_version(&version).unwrap();
        change(&site);
        for version in [&version, &alias] {
            is_changed(site.client.verify_version(version));
            is_changed(site.client.model_path(version));
            let copy = tempfile::tempdir().unwrap();
            is_changed(site.client.download_version(version, copy.path()));
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_refused_and_not_waited_for() {
    let site = Site::new();
    let uri = site.client.run(&site.run).unwrap().info.artifact_uri;
    let version = site.register(&format!("{uri}/model"));
    let pipe = site.file("model/MLmodel");
    std::fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    is_changed(site.client.verify_version(&version));
    is_changed(site.client.model_path(&version));
    // A version whose content was never pinned is not read from a pipe either.
    let mut unpinned = version.clone();
    unpinned.content = None;
    is_changed(site.client.model_path(&unpinned));
    let new = NewModelVersion {
        name: "price".into(),
        source: format!("{uri}/model"),
        ..Default::default()
    };
    assert!(site.client.create_model_version(&new).is_err());
    let error = site
        .client
        .artifacts
        .open(&uri, "model/MLmodel")
        .err()
        .unwrap();
    assert_eq!(error.code(), "INVALID_PARAMETER_VALUE");
    let folder = pipe.parent().unwrap();
    assert!(
        site.client
            .artifacts
            .log_artifacts(&uri, folder, "copy")
            .is_err()
    );
}

#[test]
fn the_artifact_api_leaves_registered_files_alone() {
    let site = Site::new();
    site.register(&format!("runs:/{}/model", site.run));
    let server = Server::start(site.client.clone());
    let base = format!("{ARTIFACTS}/0/{}", site.run);
    for (method, path) in [
        ("PUT", "artifacts/model/MLmodel"),
        ("PUT", "artifacts/model/new"),
        ("PUT", "artifacts/model"),
        ("DELETE", "artifacts/model/MLmodel"),
        ("DELETE", "artifacts/model"),
        ("DELETE", "artifacts"),
        ("DELETE", ""),
    ] {
        let path = format!("{base}/{path}");
        let path = path.trim_end_matches('/');
        let body: &[u8] = if method == "PUT" { b"evil" } else { b"" };
        let mut c = Connection::open(server.address).unwrap();
        let answer = c.request(method, path, "", body).unwrap();
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.json());
        assert!(answer.json()["message"].as_str().unwrap().contains("price"));
    }
    let mut c = server.connect();
    let other = format!("{base}/artifacts/model2/MLmodel");
    assert_eq!(c.request("PUT", &other, "", b"fine").unwrap().status, 200);
    // Experiments are not emptied by one call.
    for path in ["0", "0/models"] {
        let answer = c.request("DELETE", &format!("{ARTIFACTS}/{path}"), "", b"");
        assert_eq!(answer.unwrap().status, 400);
    }
    let uri = "/api/2.0/mlflow/model-versions/get-download-uri?name=price&version=1";
    assert_eq!(c.get(uri).status, 200);
    std::fs::write(site.file("model/MLmodel"), "changed on the disk").unwrap();
    let answer = c.get(uri);
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("hash"));
    // Without the version the files are free again.
    let body = json!({ "name": "price", "version": "1" }).to_string();
    let path = "/api/2.0/mlflow/model-versions/delete";
    let answer = c.request("DELETE", path, "application/json", body.as_bytes());
    assert_eq!(answer.unwrap().status, 200);
    let path = format!("{base}/artifacts/model/MLmodel");
    assert_eq!(c.request("PUT", &path, "", b"new").unwrap().status, 200);
    assert_eq!(c.request("DELETE", &path, "", b"").unwrap().status, 200);
}

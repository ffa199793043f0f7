//! What is removed for good, and what never is.

use btc_track::{
    ExperimentChange, LifecycleStage, NewExperiment, NewLoggedModel, NewModelVersion, NewRun,
    TrackingClient,
};

fn clients(folder: &std::path::Path) -> [TrackingClient; 2] {
    [
        TrackingClient::in_memory(&folder.join("memory")).unwrap(),
        TrackingClient::open(&folder.join("track.db"), &folder.join("files")).unwrap(),
    ]
}

fn run(client: &TrackingClient, experiment: &str) -> (String, String) {
    let new = NewRun {
        experiment_id: experiment.into(),
        ..Default::default()
    };
    let info = client.tracking.create_run(&new).unwrap().info;
    let weights = &mut info.run_id.as_bytes();
    client
        .artifacts
        .write(&info.artifact_uri, "model/weights", weights)
        .unwrap();
    (info.run_id, info.artifact_uri)
}

fn version(client: &TrackingClient, source: &str) -> u64 {
    let new = NewModelVersion {
        name: "price".into(),
        create_model: true,
        source: source.into(),
        ..Default::default()
    };
    client.create_model_version(&new).unwrap().version
}

fn later(client: &TrackingClient) -> i64 {
    client.clock.now_ms() + 1
}

#[test]
fn versions_keep_their_files_whatever_their_source_is_called() {
    let folder = tempfile::tempdir().unwrap();
    for client in clients(folder.path()) {
        let new = NewExperiment {
            name: "e".into(),
            ..Default::default()
        };
        let experiment = client
            .tracking
            .create_experiment(&new)
            .unwrap()
            .experiment_id;
        let (first, _) = run(&client, &experiment);
        let (_, second_uri) = run(&client, &experiment);
        let (spare, _) = run(&client, &experiment);
        let new = NewLoggedModel {
            experiment_id: experiment.clone(),
            ..Default::default()
        };
        let logged = client.tracking.create_logged_model(&new).unwrap();
        let uri = &logged.artifact_uri;
        client
            .artifacts
            .write(uri, "weights", &mut &b"m"[..])
            .unwrap();
        version(&client, &format!("runs:/{first}/model"));
        version(&client, &format!("{second_uri}/model"));
        version(&client, &format!("models:/{}", logged.model_id));
        client.set_alias("price", "champion", 3).unwrap();
        version(&client, "models:/price@champion");
        client
            .tracking
            .change_experiment(&experiment, &ExperimentChange::Delete)
            .unwrap();
        let purged = client.gc(later(&client)).unwrap();
        assert_eq!(purged.run_ids, [spare]);
        assert_eq!(purged.artifact_uris.len(), 1);
        assert_eq!(purged.kept.len(), 2, "{purged:?}");
        assert!(purged.experiment_ids.is_empty());
        for version in client.model_versions("price").unwrap() {
            let uri = client.verify_version(&version).unwrap();
            assert!(
                client.artifacts.open(&uri, "weights").is_ok(),
                "{version:?}"
            );
            assert!(client.download_uri(&version.source).is_ok());
        }
        // Without versions nothing is orphaned.
        client.registry.delete_registered_model("price").unwrap();
        let purged = client.gc(later(&client)).unwrap();
        assert_eq!((purged.run_ids.len(), purged.artifact_uris.len()), (2, 3));
        assert_eq!(purged.experiment_ids, [experiment]);
    }
}

#[test]
fn a_folder_elsewhere_does_not_orphan_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for client in clients(folder.path()) {
        let new = NewExperiment {
            name: "elsewhere".into(),
            artifact_location: Some("gs://bucket/x".into()),
            ..Default::default()
        };
        let elsewhere = client
            .tracking
            .create_experiment(&new)
            .unwrap()
            .experiment_id;
        let new = NewRun {
            experiment_id: elsewhere,
            ..Default::default()
        };
        let remote = client.tracking.create_run(&new).unwrap().info.run_id;
        let (local, uri) = run(&client, "0");
        for id in [&remote, &local] {
            client
                .tracking
                .set_run_lifecycle(id, LifecycleStage::Deleted)
                .unwrap();
        }
        let purged = client.gc(later(&client)).unwrap();
        assert_eq!(purged.run_ids.len(), 2);
        assert_eq!(purged.left.len(), 1);
        assert!(purged.left[0].0.starts_with("gs://bucket/x/"), "{purged:?}");
        assert_eq!(purged.artifact_uris, [uri.clone()]);
        assert!(client.artifacts.list(&uri, "").unwrap().is_empty());
        assert_eq!(client.gc(later(&client)).unwrap().left, []);
    }
}

#[test]
fn files_that_cannot_be_deleted_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    for client in clients(folder.path()) {
        let (id, uri) = run(&client, "0");
        client
            .tracking
            .set_run_lifecycle(&id, LifecycleStage::Deleted)
            .unwrap();
        // A file where the run's folder should be makes the deletion fail.
        let place = client.artifacts.local_path(&uri).unwrap();
        let run_folder = place.parent().unwrap();
        std::fs::remove_dir_all(run_folder).unwrap();
        std::fs::write(run_folder, "in the way").unwrap();
        let purged = client.gc(later(&client)).unwrap();
        assert_eq!(purged.left.len(), 1, "{purged:?}");
        std::fs::remove_file(run_folder).unwrap();
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("weights"), "w").unwrap();
        let purged = client.gc(later(&client)).unwrap();
        assert_eq!(purged.artifact_uris, [uri]);
        assert!(!place.exists());
    }
}

/// Asking what would be removed takes no lock, so writers do not mind.
#[test]
fn a_dry_run_only_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.db");
    let client = TrackingClient::open(&path, folder.path()).unwrap();
    let (id, _) = run(&client, "0");
    client
        .tracking
        .set_run_lifecycle(&id, LifecycleStage::Deleted)
        .unwrap();
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer
        .execute_batch("BEGIN IMMEDIATE; UPDATE experiment SET name = 'x'")
        .unwrap();
    let started = client.purgeable(later(&client)).unwrap();
    assert_eq!(started.run_ids, [id]);
    writer.execute_batch("ROLLBACK").unwrap();
}

//! Holds the workspace to its architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which crate of the workspace may depend on which, dev-dependencies included.
const EDGES: &[(&str, &[&str])] = &[
    ("btc-ingest", &[]),
    ("btc-features", &[]),
    ("btc-models", &[]),
    ("btc-tune", &[]),
    ("btc-track", &[]),
    (
        "btc-pipeline",
        &[
            "btc-ingest",
            "btc-features",
            "btc-models",
            "btc-tune",
            "btc-track",
        ],
    ),
    ("btc-server", &["btc-track", "btc-tune", "btc-features"]),
    (
        "btc-cli",
        &[
            "btc-ingest",
            "btc-features",
            "btc-models",
            "btc-tune",
            "btc-track",
            "btc-pipeline",
            "btc-server",
        ],
    ),
];

/// Packages that show everything together and are never published.
const LEAVES: &[&str] = &["btc-examples", "btc-benches"];

/// The packages of the workspace, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .output()
        .expect("cargo starts");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"]
        .as_array()
        .expect("a workspace has packages")
        .clone()
}

fn name(value: &Value) -> &str {
    value["name"]
        .as_str()
        .expect("everything in the metadata has a name")
}

fn dependencies(package: &Value) -> &[Value] {
    package["dependencies"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

#[test]
fn no_crate_depends_on_a_sibling() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = EDGES
        .iter()
        .map(|(name, edges)| (*name, edges.iter().copied().collect()))
        .collect();
    let packages = packages();
    for package in packages
        .iter()
        .filter(|package| !LEAVES.contains(&name(package)))
    {
        let Some(allowed) = allowed.get(name(package)) else {
            panic!(
                "{} is not in the table of edges; add it on purpose",
                name(package)
            );
        };
        let edges = dependencies(package).iter().map(name);
        // A crate may ask itself for a feature in its own tests.
        for edge in edges.filter(|edge| edge.starts_with("btc-") && *edge != name(package)) {
            assert!(
                allowed.contains(edge),
                "{} must not depend on {edge}",
                name(package)
            );
        }
    }
    for (expected, _) in EDGES {
        let found = packages.iter().any(|package| name(package) == *expected);
        assert!(
            found,
            "{expected} is in the table of edges and not in the workspace"
        );
    }
}

#[test]
fn every_crate_can_be_read_and_tried_alone() {
    for package in packages()
        .iter()
        .filter(|package| !LEAVES.contains(&name(package)))
    {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path is text"));
        let folder = manifest.parent().expect("a manifest lies in a folder");
        for file in ["README.md", "CHANGELOG.md"] {
            assert!(
                folder.join(file).exists(),
                "{} has no {file}",
                name(package)
            );
        }
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let example = targets.iter().any(|target| target["kind"][0] == "example");
        assert!(
            example || name(package) == "btc-cli",
            "{} has no example",
            name(package)
        );
        assert_eq!(package["license"], "MIT OR Apache-2.0", "{}", name(package));
    }
}

#[test]
fn arrow_is_in_the_tree_once() {
    // Two majors of arrow are two incompatible `RecordBatch` types.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("the lock file is committed");
    for name in [
        "arrow",
        "parquet",
        "datafusion",
        "object_store",
        "rusqlite",
        "candle-core",
    ] {
        let versions = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(versions, 1, "{name} is locked in {versions} versions");
    }
}

#[test]
fn only_two_crates_open_connections() {
    for package in packages() {
        let network = dependencies(&package).iter().any(|dependency| {
            dependency["kind"].is_null() && ["reqwest", "hyper", "ureq"].contains(&name(dependency))
        });
        assert!(
            !network || ["btc-ingest", "btc-track"].contains(&name(&package)),
            "{} must not open connections",
            name(&package)
        );
    }
}

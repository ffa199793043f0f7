//! Holds the workspace to its architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which crate of the workspace may depend on which, dev-dependencies included.
const EDGES: &[(&str, &[&str])] = &[
    ("btc-ingest", &[]),
    ("btc-features", &[]),
    ("btc-models", &[]),
    ("btc-tune", &[]),
    ("btc-track", &[]),
    ("btc-pipeline", &["btc-ingest", "btc-features", "btc-models", "btc-tune", "btc-track"]),
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

fn metadata() -> cargo_metadata::Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata describes the workspace")
}

#[test]
fn no_crate_depends_on_a_sibling() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, edges)| (*name, edges.iter().copied().collect())).collect();
    let mut seen = BTreeSet::new();
    for package in metadata().packages {
        let name = package.name.to_string();
        seen.insert(name.clone());
        if LEAVES.contains(&name.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(name.as_str()) else {
            panic!("{name} is not in the table of edges; add it on purpose");
        };
        for dependency in &package.dependencies {
            let edge = dependency.name.as_str();
            if edge.starts_with("btc-") {
                assert!(
                    allowed.contains(edge),
                    "{name} must not depend on {edge} ({:?})",
                    dependency.kind
                );
            }
        }
    }
    for (name, _) in EDGES {
        assert!(seen.contains(*name), "{name} is in the table of edges and not in the workspace");
    }
}

#[test]
fn every_crate_can_be_read_and_tried_alone() {
    for package in metadata().packages {
        if LEAVES.contains(&package.name.as_str()) {
            continue;
        }
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
        for file in ["README.md", "CHANGELOG.md"] {
            assert!(folder.join(file).exists(), "{} has no {file}", package.name);
        }
        let library = package.name.as_str() != "btc-cli";
        let examples = package.targets.iter().any(|target| target.is_example());
        assert!(examples || !library, "{} has no example", package.name);
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "{}", package.name);
    }
}

#[test]
fn arrow_is_in_the_tree_once() {
    // Two majors of arrow are two incompatible `RecordBatch` types.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("the lock file is committed");
    for name in ["arrow", "parquet", "datafusion", "object_store", "rusqlite", "candle-core"] {
        let versions = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(versions, 1, "{name} is locked in {versions} versions");
    }
}

#[test]
fn libraries_take_the_network_from_the_two_crates_that_may() {
    for package in metadata().packages {
        let network = package
            .dependencies
            .iter()
            .any(|dependency| {
                dependency.kind == DependencyKind::Normal
                    && ["reqwest", "hyper", "ureq"].contains(&dependency.name.as_str())
            });
        if network {
            assert!(
                ["btc-ingest", "btc-track"].contains(&package.name.as_str()),
                "{} must not open connections",
                package.name
            );
        }
    }
}

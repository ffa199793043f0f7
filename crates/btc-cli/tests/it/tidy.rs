//! Holds the workspace to its architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which crate of the workspace may depend on which, dev-dependencies included.
const EDGES: &[(&str, &[&str])] = &[
    // The foundation: it knows nothing of the domain, and may be used everywhere.
    ("btc-files", &[]),
    ("btc-ingest", &["btc-files"]),
    ("btc-features", &["btc-files"]),
    ("btc-models", &["btc-files"]),
    ("btc-tune", &["btc-files"]),
    ("btc-track", &["btc-files"]),
    (
        "btc-pipeline",
        &[
            "btc-files",
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
            "btc-files",
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
const LEAVES: &[&str] = &["btc-examples", "btc-benches", TESTING];

/// What the tests of all crates share: never published, and no part of what a crate does.
const TESTING: &str = "btc-testing";

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
        let edges = dependencies(package)
            .iter()
            .filter(|edge| name(edge) != TESTING || edge["kind"] != "dev")
            .map(name);
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

/// The files of this crate, by module path, with the modules of this crate that each uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let names: BTreeMap<String, String> = files
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).expect("it lies below");
            let module = relative.with_extension("").display().to_string();
            let module = module.trim_end_matches("/mod").replace('/', "::");
            let text = std::fs::read_to_string(path).expect("a file of text");
            (module, text)
        })
        .collect();
    names
        .iter()
        .map(|(module, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or(text);
            let used = code
                .match_indices("crate::")
                .flat_map(|(at, _)| paths(&code[at + "crate::".len()..]))
                .filter_map(|path| deepest(&path, &names))
                .filter(|used| used != module)
                .collect();
            (module.clone(), used)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The paths that a use line names: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<String> {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let Some(list) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        return vec![path.trim_end_matches("::").to_owned()];
    };
    let list = list.split('}').next().unwrap_or(list);
    list.split(',')
        .map(|item| format!("{path}{}", item.split_whitespace().next().unwrap_or("")))
        .collect()
}

/// The file that a path leads to: its longest beginning that is a module.
fn deepest(path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let path = path.trim_end_matches("::self");
    let mut parts: Vec<&str> = path.split("::").collect();
    while !parts.is_empty() {
        let name = parts.join("::");
        if modules.contains_key(&name) {
            return Some(name);
        }
        parts.pop();
    }
    None
}

#[test]
fn every_file_of_the_workspace_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for crates in std::fs::read_dir(root.join("crates")).expect("a folder") {
        let folder = crates.expect("an entry").path();
        for part in ["src", "tests", "examples", "benches"] {
            let part = folder.join(part);
            if part.is_dir() {
                collect(&part, &mut files);
            }
        }
    }
    collect(&root.join("testing/src"), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 300, "only {} files are found", files.len());
    let silent: Vec<_> = files
        .iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).expect("a file of text");
            // Attributes of the whole file may stand before it.
            let first = text
                .lines()
                .find(|line| !line.is_empty() && !line.starts_with("#!["));
            !first.is_some_and(|line| line.starts_with("//! "))
        })
        .collect();
    assert!(silent.is_empty(), "without a `//!` line: {silent:#?}");
}

#[test]
fn no_two_files_of_the_command_need_each_other() {
    let uses = uses();
    assert!(uses.len() > 30 && uses["commands::tune"].contains("stores"));
    // Files that need nothing any more are taken away until nothing is left, or a circle.
    let mut left = uses.clone();
    loop {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, used)| used.iter().all(|used| !left.contains_key(used)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| drop(left.remove(module)));
    }
    assert!(
        left.is_empty(),
        "these files use each other in a circle: {left:#?}"
    );
}

#[test]
fn each_floor_of_the_command_uses_the_floors_below() {
    // From the ground up. Commands know the words that can be typed, and no flag.
    let floors: &[(&str, &[&str])] = &[
        ("errors", &[]),
        ("cli", &["cli"]),
        ("settings", &["settings", "cli", "errors"]),
        ("output", &["output", "errors", "cli::values"]),
        ("exit", &["errors", "output::printer"]),
        ("interrupt", &["exit", "errors"]),
        ("stores", &["settings", "errors"]),
        (
            "commands",
            &[
                "commands",
                "stores",
                "interrupt",
                "exit",
                "output",
                "settings",
                "errors",
                "cli::values",
            ],
        ),
    ];
    for (module, used) in uses() {
        if module == "main" || module == "commands" {
            continue;
        }
        let floor = module.split("::").next().unwrap_or(&module);
        let allowed = floors.iter().find(|(name, _)| *name == floor);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{module} is on no floor"));
        for used in used {
            let below = allowed
                .iter()
                .any(|name| used == *name || used.starts_with(&format!("{name}::")));
            assert!(below, "{module} must not use {used}");
        }
    }
}

#[test]
fn the_bodies_of_the_commands_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands");
    let mut files = Vec::new();
    collect(&root, &mut files);
    // The dispatcher is a list of the commands.
    for path in files.iter().filter(|path| !path.ends_with("mod.rs")) {
        let text = std::fs::read_to_string(path).expect("a file of text");
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            if !line.starts_with("fn ") && !line.starts_with("pub(crate) ") {
                continue;
            }
            let Some(open) = lines[start..].iter().position(|line| line.ends_with('{')) else {
                continue;
            };
            let body = lines[start + open..].iter().position(|line| *line == "}");
            let body = body.unwrap_or(0);
            assert!(body <= 40, "{}: {line} has {body} lines", path.display());
        }
    }
}

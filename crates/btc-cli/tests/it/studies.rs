//! Studies from scripts: create, ask, tell, look, draw, export, delete.

use crate::{fail, succeed};

#[test]
fn a_script_can_run_a_whole_study() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let study = ["--study", "script"];
    let tune = |arguments: &[&str]| succeed(root, &[&["tune"], arguments].concat());
    tune(&[
        "create-study",
        "--study",
        "script",
        "--direction",
        "maximize",
    ]);
    fail(
        root,
        &["tune", "create-study", "--study", "script"],
        1,
        "exists already",
    );
    tune(&["create-study", "--study", "script", "--skip-if-exists"]);
    let space = r#"{"x":{"type":"float","low":0,"high":1},"c":{"type":"categorical","choices":["a",null]}}"#;
    for i in 0..12 {
        let asked = tune(&[&["ask", "--search-space", space], &study[..]].concat());
        let asked: serde_json::Value = serde_json::from_str(&asked).expect("JSON");
        assert_eq!(asked["number"], i);
        let x = asked["params"]["x"].as_f64().expect("a number").to_string();
        let number = i.to_string();
        tune(&[&["tell", "--trial", &number, "--values", &x], &study[..]].concat());
    }
    fail(
        root,
        &[
            "tune", "tell", "--study", "script", "--trial", "0", "--values", "1",
        ],
        1,
        "can no longer change",
    );
    fail(
        root,
        &["tune", "ask", "--study", "script", "--search-space", "[]"],
        2,
        "search-space",
    );
    tune(&[&["ask", "--search-space", "{}"], &study[..]].concat());
    tune(&[&["tell", "--trial", "12", "--state", "fail"], &study[..]].concat());

    let trials = tune(&[&["trials", "--format", "value"], &study[..]].concat());
    assert_eq!(trials.lines().count(), 13);
    let best = tune(&[&["best-trial", "--format", "json"], &study[..]].concat());
    let best: serde_json::Value = serde_json::from_str(&best).expect("JSON");
    assert_eq!(best[0]["values"][0], best[0]["params"]["x"]);
    let list = tune(&["studies"]);
    assert!(
        list.contains("script") && list.contains("maximize"),
        "{list}"
    );
    let importance = tune(&[&["importance"], &study[..]].concat());
    assert!(
        importance
            .lines()
            .any(|line| line.trim_start().starts_with('x')),
        "{importance}"
    );
    assert!(tune(&[&["plot", "history"], &study[..]].concat()).starts_with("<svg "));
    fail(
        root,
        &[
            "tune", "plot", "contour", "--study", "script", "--param", "x",
        ],
        2,
        "--param twice",
    );

    for name in ["trials.csv", "trials.parquet"] {
        let file = root.join(name);
        let path = file.to_str().expect("a path in UTF-8");
        tune(&[&["export", "--output", path], &study[..]].concat());
        assert!(file.metadata().expect("the file").len() > 100);
    }
    let csv = std::fs::read_to_string(root.join("trials.csv")).expect("the file");
    assert!(csv.starts_with("number,state,value,"), "{csv}");

    tune(&[&["delete-study"], &study[..]].concat());
    fail(
        root,
        &["tune", "trials", "--study", "script"],
        3,
        "no study is called",
    );
    fail(
        root,
        &["tune", "studies", "--storage", "oracle://x"],
        2,
        "oracle://x",
    );
}

//! Proxies, as the environment names them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use crate::{command, stderr, stdout};

/// A proxy that refuses everything, and the first line of each request to it.
fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let mut first = String::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if first.is_empty() {
                    first.clone_from(&line);
                }
                line.clear();
            }
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            if sender.send(first.trim().to_owned()).is_err() {
                break;
            }
        }
    });
    (address, lines)
}

/// Pulls one chart from `url`, and says whether the proxy was asked and for what.
fn pull(url: &str, environment: &[(&str, &str)], lines: &mpsc::Receiver<String>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pull = [
        "data",
        "pull",
        "--chart",
        "hash-rate",
        "--blockchain-url",
        url,
    ];
    let output = command(folder.path(), &pull)
        .envs(environment.iter().copied())
        .output()
        .expect("the command starts");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    lines.try_iter().collect()
}

#[test]
fn each_scheme_asks_its_proxy_and_exempt_hosts_are_asked_directly() {
    let (address, lines) = proxy();
    // Names that no resolver knows: without the proxy they cannot be reached.
    let (http, https) = ("http://charts.invalid", "https://charts.invalid");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let asked = pull(http, &[(name, &address)], &lines);
        assert!(
            asked[0].starts_with("GET http://charts.invalid/charts/"),
            "{name}: {asked:?}"
        );
    }
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let asked = pull(https, &[(name, &address)], &lines);
        assert_eq!(asked[0], "CONNECT charts.invalid:443 HTTP/1.1", "{name}");
    }
    assert!(pull(http, &[("HTTPS_PROXY", &address)], &lines).is_empty());
    let environment = [("HTTP_PROXY", &*address), ("NO_PROXY", ".invalid")];
    assert!(pull(http, &environment, &lines).is_empty());
    let elsewhere = [("HTTP_PROXY", &*address), ("NO_PROXY", "charts.invalid:81")];
    assert!(!pull(http, &elsewhere, &lines).is_empty());
}

#[test]
fn a_tracking_server_is_asked_through_the_proxy_too() {
    let (address, lines) = proxy();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = |no_proxy: &str| {
        command(folder.path(), &["model", "list"])
            .env("MLFLOW_TRACKING_URI", "https://mlflow.invalid")
            .env("https_proxy", &address)
            .env("no_proxy", no_proxy)
            .output()
            .expect("the command starts")
    };
    let output = list("");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let asked: Vec<String> = lines.try_iter().collect();
    assert!(
        asked[0].starts_with("CONNECT mlflow.invalid:443 "),
        "{asked:?}"
    );
    assert_eq!(list("mlflow.invalid").status.code(), Some(4));
    assert!(lines.try_iter().next().is_none());
}

#[test]
fn the_settings_show_the_proxies_without_a_password() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = command(folder.path(), &["config", "show"])
        .env("https_proxy", "http://user:topsecret@proxy.example:3128")
        .env("NO_PROXY", "10.0.0.0/8")
        .output()
        .expect("the command starts");
    let text = stdout(&output);
    assert!(!text.contains("topsecret"), "{text}");
    for line in [
        "proxy.example:3128",
        "environment https_proxy",
        "environment NO_PROXY",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

//! A pull that is killed, and the memory that a pull takes, seen from outside.
//!
//! Both run the example `pull` as a process of its own.

use crate::service::{KEY, Service, World, contents, day};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The example beside this test's own binary; `cargo test` builds it.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/pull");
    assert!(
        path.exists(),
        "{} is missing: build the examples first",
        path.display()
    );
    path
}

fn start(data_dir: &Path, url: &str, key_file: &Path) -> Child {
    let mut command = Command::new(example());
    command
        .arg(data_dir)
        .args([url, url])
        .arg(key_file)
        .arg("2021-03-20T12:00:00Z");
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How often a pull is killed; a longer run sets it higher.
fn rounds() -> u32 {
    btc_testing::variable("BTC_KILL_ROUNDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(8)
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_killed_at_any_moment_leaves_nothing_half_done() {
    let service = Service::start(World::up_to("2021-03-20")).await;
    let keys = tempfile::tempdir().unwrap();
    let key_file = keys.path().join("key");
    std::fs::write(&key_file, KEY).unwrap();
    let pull = |folder: &Path| start(folder, &service.url(), &key_file);

    let undisturbed = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let status = tokio::task::block_in_place(|| pull(undisturbed.path()).wait()).unwrap();
    assert!(status.success());
    let mut length = begin.elapsed();
    let expected = contents(undisturbed.path());

    let rounds = rounds();
    let (mut killed, mut half_way, mut attempts) = (0, 0, 0);
    while killed < rounds {
        attempts += 1;
        assert!(attempts <= 100 * rounds, "pulls are faster than kills");
        let folder = tempfile::tempdir().unwrap();
        let mut child = pull(folder.path());
        // Spread over the whole length, most of them near the end, where files are written.
        let part = f64::from(attempts % rounds + 1) / f64::from(rounds);
        tokio::time::sleep(length.mul_f64(part.sqrt())).await;
        if child.kill().is_ok() && !child.wait().unwrap().success() {
            killed += 1;
        } else {
            // It was done before: pulls are faster than the first one was. However fast they get, some
            // kill soon comes in time.
            length = length.mul_f64(0.8);
        }
        let half_done = std::fs::read_dir(folder.path().join(".snapshots"))
            .into_iter()
            .flatten()
            .any(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.')
            });
        half_way += u32::from(half_done);
        let status = tokio::task::block_in_place(|| pull(folder.path()).wait()).unwrap();
        assert!(status.success(), "attempt {attempts}");
        assert!(
            contents(folder.path()) == expected,
            "attempt {attempts}: the tables differ"
        );
    }
    println!("{killed} pulls were killed, {half_way} of them while files were written");
    assert_eq!(service.world.lock().unwrap().today, day("2021-03-20"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_answer_takes_little_memory() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request);
                // No length is announced: the client has to count for itself.
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{");
                let block = vec![b' '; 1 << 20];
                while socket.write_all(&block).is_ok() {}
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, KEY).unwrap();
    let mut child = start(&folder.path().join("data"), &url, &key_file);
    let mut peak = 0;
    let begin = Instant::now();
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let kilobytes = status.ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        peak = peak.max(kilobytes.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < Duration::from_secs(600), "a hang");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(status.code(), Some(4));
    println!("the peak was {} MiB", peak / 1024);
    assert!(peak > 0 && peak < 100 << 10, "{} MiB", peak / 1024);
}

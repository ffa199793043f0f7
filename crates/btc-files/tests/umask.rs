//! Modes under several umasks, each in a process of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "BTC_FILES_TEST_FOLDER";

#[test]
fn modes_follow_the_umask_and_then_stay() {
    for (umask, file, folder) in [
        ("022", 0o644, 0o755),
        ("077", 0o600, 0o700),
        ("002", 0o664, 0o775),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args(["-c", "umask $0; exec \"$1\" --exact --ignored child"])
            .arg(umask)
            .arg(std::env::current_exe().unwrap())
            .env(FOLDER, dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "{umask}");
        let mode = |name: &str| {
            let metadata = std::fs::metadata(dir.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(
            (mode("a/new"), mode("a"), mode("staged")),
            (file, folder, folder),
            "{umask}"
        );
        assert_eq!(mode("kept"), 0o640, "{umask}");
    }
}

/// What the test above runs below a umask.
#[test]
#[ignore = "a part of the other test"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test tells its own child where to write"
)]
fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let dir = Path::new(&dir);
    btc_files::create_dirs(dir.join("a")).unwrap();
    btc_files::replace(dir.join("a/new"), b"x").unwrap();
    let staged = btc_files::temporary_dir(dir, ".new-").unwrap().keep();
    std::fs::rename(staged, dir.join("staged")).unwrap();
    std::fs::write(dir.join("kept"), b"old").unwrap();
    std::fs::set_permissions(dir.join("kept"), std::fs::Permissions::from_mode(0o640)).unwrap();
    btc_files::replace(dir.join("kept"), b"new").unwrap();
}

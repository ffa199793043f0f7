//! Every storage keeps the same promises.

use btc_tune::{InMemoryStorage, JournalStorage, Storage, conformance};

#[test]
fn memory_conforms() {
    let open = || -> Box<dyn Storage> { Box::new(InMemoryStorage::new()) };
    conformance::check(open);
    conformance::check_heartbeats(open);
}

/// A new file for each case.
fn files() -> impl Fn(&str) -> std::path::PathBuf {
    let dir = tempfile::tempdir().unwrap().keep();
    let count = std::cell::Cell::new(0);
    move |ending| {
        count.set(count.get() + 1);
        dir.join(format!("{}.{ending}", count.get()))
    }
}

#[test]
fn the_journal_conforms() {
    let file = files();
    conformance::check(|| Box::new(JournalStorage::open(file("log")).unwrap()));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_conforms() {
    use btc_tune::SqliteStorage;
    let file = files();
    let open = || -> Box<dyn Storage> { Box::new(SqliteStorage::open(file("db")).unwrap()) };
    conformance::check(open);
    conformance::check_heartbeats(open);
}

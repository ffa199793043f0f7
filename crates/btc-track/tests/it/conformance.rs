use btc_track::{TrackingClient, conformance};

#[test]
fn the_memory_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check(|clock| TrackingClient::in_memory_with(folder.path(), clock));
}

#[cfg(feature = "sqlite")]
#[test]
fn the_sqlite_store_conforms() {
    use std::cell::Cell;

    let folder = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    conformance::check(|clock| {
        count.set(count.get() + 1);
        let database = folder.path().join(format!("{}.db", count.get()));
        TrackingClient::open_with(&database, folder.path(), Default::default(), clock).unwrap()
    });
}

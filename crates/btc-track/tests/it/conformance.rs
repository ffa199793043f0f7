//! Every store passes the same cases.

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

#[cfg(all(feature = "rest", feature = "server"))]
#[test]
fn the_rest_store_on_our_server_conforms() {
    use std::cell::RefCell;

    use btc_track::RestConfig;

    use crate::http::Server;

    let folder = tempfile::tempdir().unwrap();
    let servers = RefCell::new(Vec::new());
    conformance::check(|clock| {
        let inner = TrackingClient::in_memory_with(folder.path(), clock.clone());
        let server = Server::start(inner);
        let uri = format!("http://{}/", server.address);
        servers.borrow_mut().push(server);
        TrackingClient {
            clock,
            ..TrackingClient::rest(&uri, &RestConfig::default()).unwrap()
        }
    });
}

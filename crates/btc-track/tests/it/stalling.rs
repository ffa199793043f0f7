//! Clients that say nothing, or read nothing, while others want to be served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use btc_track::TrackingClient;
use btc_track::server::Limits;

use crate::http::{Connection, Server};

const ARTIFACTS: &str = "/api/2.0/mlflow-artifacts/artifacts";

fn server(folder: &std::path::Path, limits: Limits) -> Server {
    let client = TrackingClient::in_memory(folder).unwrap();
    let zeros = std::io::repeat(0).take(8 << 20);
    client
        .artifacts
        .write("mlflow-artifacts:/0", "large", &mut { zeros })
        .unwrap();
    Server::start_with(client, limits)
}

fn half_a_head(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: lo")
        .unwrap();
    stream
}

fn half_a_body(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = "POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"name\":";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn half_an_upload(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "PUT {ARTIFACTS}/0/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn an_answer_unread(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!("GET {ARTIFACTS}/0/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn silence(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).unwrap()
}

const BAD: [fn(&Server) -> TcpStream; 5] = [
    half_a_head,
    half_a_body,
    half_an_upload,
    an_answer_unread,
    silence,
];

/// A few of the many requests a good client makes.
fn is_served(server: &Server, name: &str) {
    let mut c = Connection::open(server.address).unwrap();
    assert_eq!(c.get("/health").status, 200);
    let body = serde_json::json!({ "name": name }).to_string();
    assert_eq!(c.post("experiments/create", &body).status, 200);
    let search = "/api/2.0/mlflow/experiments/search?max_results=1000";
    assert_eq!(c.get(search).status, 200);
    let answer = c
        .request(
            "PUT",
            &format!("{ARTIFACTS}/0/small-{name}"),
            "",
            name.as_bytes(),
        )
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        c.get(&format!("{ARTIFACTS}/0/small-{name}")).body,
        name.as_bytes()
    );
}

/// Far more bad clients than connections, of each kind and of all together:
/// whoever keeps the server waiting gives way, long before any time limit.
#[test]
fn bad_clients_do_not_keep_good_ones_out() {
    let folder = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let limits = Limits::default()
        .with_connections(32)
        .with_head_timeout(hour)
        .with_stall_timeout(hour);
    let server = server(folder.path(), limits);
    let mut open = Vec::new();
    for (kind, bad) in BAD.iter().enumerate() {
        open.extend((0..100).map(|_| bad(&server)));
        is_served(&server, &format!("kind-{kind}"));
    }
    for i in 0..100 {
        open.push(BAD[i % BAD.len()](&server));
    }
    is_served(&server, "all-kinds");
}

/// Without a rush nobody has to give way, and still nobody waits for ever.
#[test]
fn stalled_connections_end_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::default()
        .with_head_timeout(Duration::from_millis(300))
        .with_stall_timeout(Duration::from_millis(300));
    let server = server(folder.path(), limits);
    for bad in BAD {
        let mut stream = bad(&server);
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        // What is in flight is read slowly enough for the server to notice.
        std::thread::sleep(Duration::from_secs(1));
        let mut rest = Vec::new();
        // The end comes, as an error or not, but not as a time limit of ours.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(rest.len() < 8 << 20, "the whole file was sent");
    }
}

/// Slow is not stalled: a transfer may take many times the limit.
#[test]
fn a_slow_transfer_that_moves_is_not_ended() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::default().with_stall_timeout(Duration::from_secs(2));
    let server = server(folder.path(), limits);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let piece = vec![7; 32 * 1024];
    let head = format!(
        "PUT {ARTIFACTS}/0/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        piece.len() * 12
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(250));
        stream.write_all(&piece).unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// A name that an upload accepts is listed, downloaded and deleted.
#[test]
fn names_that_cannot_escape_are_names_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), Limits::default());
    let mut c = server.connect();
    let names = [
        "r_10:00.txt",
        "100%.txt",
        "100%25.txt",
        "a+b c.txt",
        "#1?.txt",
        "images#loss%step%1%timestamp%1702571934123%uuid.png",
        "日本語 ü 😀",
        "..hidden",
        "a%2fb",
        "semi;colon&amp='\"<>",
    ];
    for name in names {
        let path: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("{ARTIFACTS}/0/odd/{path}");
        let answer = c.request("PUT", &url, "", name.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{name}");
        let found = c.get(&url);
        assert_eq!((found.status, found.body), (200, name.as_bytes().to_vec()));
    }
    let listed = c.get(&format!("{ARTIFACTS}?path=0/odd")).json();
    let mut found: Vec<_> = listed["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    for name in names {
        let path: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("{ARTIFACTS}/0/odd/{path}");
        assert_eq!(c.request("DELETE", &url, "", b"").unwrap().status, 200);
        assert_eq!(c.get(&url).status, 404);
    }
}

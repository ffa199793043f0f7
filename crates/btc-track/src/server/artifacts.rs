//! The artifact proxy, streaming both ways.

use std::io::{self, Read};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::endpoint::{answer, blocking, on, refuse};
use crate::artifact::ArtifactPath;
use crate::client::TrackingClient;
use crate::entity::FileInfo;
use crate::error::{Error, Result};
use crate::proto::FileInfoMessage;

/// Below this URI lies everything that the proxy serves.
const ROOT: &str = "mlflow-artifacts:/";
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait between the network and the disk.
const QUEUE: usize = 8;
/// How long either side may keep the other waiting.
const STALLED: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<TrackingClient> {
    let one = get(download).put(upload).delete(delete);
    Router::new()
        .route("/artifacts", on(&[Method::GET], list))
        .route("/artifacts/", any(no_path))
        .route("/artifacts/{*path}", one.layer(DefaultBodyLimit::disable()))
}

async fn no_path() -> Response {
    refuse(
        StatusCode::BAD_REQUEST,
        "INVALID_PARAMETER_VALUE",
        "the artifact path is empty",
    )
}

#[derive(Deserialize)]
struct List {
    path: Option<String>,
}

fn list(client: &TrackingClient, request: List) -> Result<Value> {
    let files = client
        .artifacts
        .list(ROOT, &request.path.unwrap_or_default())?;
    if files.is_empty() {
        return Ok(json!({}));
    }
    // Here paths are names in the folder, unlike in the listing of a run.
    let name = |file: FileInfo| FileInfoMessage {
        path: file.path.rsplit('/').next().unwrap_or_default().to_owned(),
        ..file.into()
    };
    Ok(json!({ "files": files.into_iter().map(name).collect::<Vec<_>>() }))
}

async fn download(State(client): State<TrackingClient>, Path(path): Path<String>) -> Response {
    let name = path.clone();
    let opened = blocking(move || client.artifacts.open(ROOT, &path)).await;
    let (file, size) = match opened {
        Ok(opened) => opened,
        Err(error) => return error.into_response(),
    };
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    tokio::task::spawn_blocking(move || send_file(file, &sender));
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    // Never shown as a page of this server, whatever it contains.
    headers.insert(header::CONTENT_TYPE, content_type(&name));
    headers.insert(
        header::CONTENT_DISPOSITION,
        header::HeaderValue::from_static("attachment"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    if let Some(size) = size {
        headers.insert(header::CONTENT_LENGTH, size.into());
    }
    response
}

fn content_type(path: &str) -> header::HeaderValue {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    header::HeaderValue::from_static(match extension {
        "txt" | "log" | "yaml" | "yml" | "md" | "csv" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => "application/octet-stream",
    })
}

fn send_file(mut file: Box<dyn Read + Send>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = vec![0; CHUNK];
        let chunk = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                buffer.truncate(n);
                Ok(Bytes::from(buffer))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        // An error means that nobody reads any more.
        if sender.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

async fn upload(
    State(client): State<TrackingClient>,
    Path(path): Path<String>,
    body: Body,
) -> Response {
    // A bad name is refused before the body is read.
    if let Err(error) = ArtifactPath::parse(&path) {
        return error.into_response();
    }
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let writer = tokio::spawn(blocking(move || {
        let mut content = ChannelReader {
            receiver,
            chunk: Bytes::new(),
            done: false,
        };
        client.artifacts.write(ROOT, &path, &mut content)
    }));
    let mut stream = body.into_data_stream();
    loop {
        let chunk = match tokio::time::timeout(STALLED, stream.next()).await {
            Ok(None) => {
                // An empty chunk is the end; a closed channel is a broken upload.
                let _ = sender.send(Ok(Bytes::new())).await;
                break;
            }
            Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
            Ok(Some(Ok(chunk))) => Ok(chunk),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let failed = chunk.is_err();
        // The writer has given up; its error is the answer.
        if sender.send(chunk).await.is_err() || failed {
            break;
        }
    }
    drop(sender);
    match writer.await {
        Ok(Ok(_)) => StatusCode::OK.into_response(),
        Ok(Err(error)) => error.into_response(),
        Err(error) => Error::Store {
            action: "finish the upload".into(),
            source: Box::new(error),
        }
        .into_response(),
    }
}

/// The chunks of an upload as a file; it ends well only with an empty chunk.
struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    done: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.done {
            match self.receiver.blocking_recv() {
                Some(Ok(chunk)) if chunk.is_empty() => self.done = true,
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = self.chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}

async fn delete(
    State(client): State<TrackingClient>,
    Path(path): Path<String>,
    RawQuery(_): RawQuery,
) -> Response {
    let deleted = blocking(move || {
        // Folders of whole experiments are purged, not deleted by hand.
        if ArtifactPath::parse(&path)?.is_root() {
            return Err(Error::invalid(
                "the root of all artifacts cannot be deleted",
            ));
        }
        client.artifacts.delete(ROOT, &path)
    })
    .await;
    answer(deleted.map(|()| json!({})))
}

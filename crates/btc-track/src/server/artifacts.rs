//! The artifact proxy, streaming both ways.

use std::io::{self, Read};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::BytesMut;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::{answer, blocking, on, refuse};
use crate::artifact::ArtifactPath;
use crate::client::TrackingClient;
use crate::entity::FileInfo;
use crate::error::{Error, Result};
use crate::proto::FileInfoMessage;
use crate::store::RegistryStore;

/// Below this URI lies everything that the proxy serves.
const ROOT: &str = "mlflow-artifacts:/";
const CHUNK: usize = 256 * 1024;
/// How long a client may keep an upload waiting for its next piece.
const STALLED: Duration = Duration::from_secs(30);

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
    let opened = blocking(move || {
        let (file, size) = client.artifacts.open(ROOT, &path)?;
        Ok((
            next_chunk(file).map_err(Error::artifact("read", path))?,
            size,
        ))
    })
    .await;
    let (first, size) = match opened {
        Ok(opened) => opened,
        Err(error) => return error.into_response(),
    };
    // A thread is taken for each chunk only, so a client that does not read
    // holds none.
    let stream = futures::stream::try_unfold(Next::Chunk(first), |next| async {
        let chunk = match next {
            Next::Chunk(chunk) => chunk,
            Next::Read(file) => tokio::task::spawn_blocking(|| next_chunk(file))
                .await
                .map_err(io::Error::other)??,
        };
        Ok::<_, io::Error>(chunk.map(|(bytes, file)| (bytes, Next::Read(file))))
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

type File = Box<dyn Read + Send>;
/// A chunk and the file behind it; none at the end.
type Chunk = Option<(Bytes, File)>;

enum Next {
    Chunk(Chunk),
    Read(File),
}

fn next_chunk(mut file: File) -> io::Result<Chunk> {
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    while filled < CHUNK {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok((filled > 0).then(|| (Bytes::from(buffer), file)))
}

async fn upload(
    State(client): State<TrackingClient>,
    Path(path): Path<String>,
    body: Body,
) -> Response {
    // A bad name is refused before the body is read.
    let (registry, name) = (client.registry.clone(), path.clone());
    if let Err(error) = blocking(move || writable(&*registry, &name)).await {
        return error.into_response();
    }
    match receive(client, path, body).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Writes a body to a file that appears whole or not at all.
async fn receive(client: TrackingClient, path: String, body: Body) -> Result<()> {
    let (artifacts, name) = (client.artifacts.clone(), path.clone());
    let mut upload = blocking(move || artifacts.begin(ROOT, &name)).await?;
    let failed = |error| Error::artifact("write", path.clone())(error);
    let mut stream = body.into_data_stream();
    let mut waiting = BytesMut::new();
    loop {
        let chunk = match tokio::time::timeout(STALLED, stream.next()).await {
            Ok(chunk) => chunk
                .transpose()
                .map_err(|error| failed(io::Error::other(error)))?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let last = chunk.is_none();
        waiting.extend_from_slice(&chunk.unwrap_or_default());
        // As with downloads, a thread is taken only for what is there.
        if waiting.len() >= CHUNK || (last && !waiting.is_empty()) {
            let bytes = waiting.split().freeze();
            let (returned, written) = tokio::task::spawn_blocking(move || {
                let written = upload.write_all(&bytes);
                (upload, written)
            })
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
            upload = returned;
            written.map_err(&failed)?;
        }
        if last {
            break;
        }
    }
    blocking(move || {
        // A version may have been registered meanwhile.
        writable(&*client.registry, &path)?;
        upload.finish().map(|_| ())
    })
    .await
}

/// Refuses a path whose files a registered version needs as they are.
fn writable(registry: &dyn RegistryStore, path: &str) -> Result<()> {
    let path = ArtifactPath::parse(path)?;
    let uri = format!("{ROOT}{}", path.as_str());
    match registry.pinned_at(&uri)? {
        None => Ok(()),
        Some((model, version)) => Err(Error::ContentPinned {
            path: path.as_str().to_owned(),
            model,
            version,
        }),
    }
}

async fn delete(
    State(client): State<TrackingClient>,
    Path(path): Path<String>,
    RawQuery(_): RawQuery,
) -> Response {
    let deleted = blocking(move || {
        // Folders of whole experiments are purged, not deleted by hand.
        let parts = ArtifactPath::parse(&path)?;
        let parts: Vec<&str> = parts.as_str().split('/').collect();
        if matches!(parts[..], [_] | [_, "models"]) {
            return Err(Error::invalid(format!(
                "{path:?} holds the artifacts of many runs; delete those of one run or model"
            )));
        }
        writable(&*client.registry, &path)?;
        client.artifacts.delete(ROOT, &path)
    })
    .await;
    answer(deleted.map(|()| json!({})))
}

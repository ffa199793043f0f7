//! From a request to a function of the client and back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::MAX_BODY;
use crate::client::TrackingClient;
use crate::error::{Error, Result};
use crate::store::deadline;

/// Deeper JSON is refused before anything recurses into it.
const MAX_DEPTH: usize = 64;
/// How long a request waits for its turn at the store.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Query keys whose values are lists, even if there is one value only.
const LISTS: [&str; 4] = ["order_by", "experiment_ids", "stages", "run_ids"];

/// The methods that serve one function.
pub(super) fn on<F, T, R>(methods: &[Method], function: F) -> MethodRouter<TrackingClient>
where
    F: Fn(&TrackingClient, T) -> Result<R> + Copy + Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let handler = move |State(client): State<TrackingClient>,
                        method: Method,
                        RawQuery(query): RawQuery,
                        headers: HeaderMap,
                        body: Body| async move {
        let request = match read(&method, query, &headers, whole(body).await) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        answer(blocking(move || function(&client, request)).await)
    };
    let mut router = MethodRouter::new();
    for method in methods {
        let filter = axum::routing::MethodFilter::try_from(method.clone())
            .expect("only ordinary HTTP methods are routed");
        router = router.on(filter, handler);
    }
    router
}

/// The method that serves one function whose path has parameters.
pub(super) fn on_path<F, P, T, R>(method: Method, function: F) -> MethodRouter<TrackingClient>
where
    F: Fn(&TrackingClient, Path<P>, T) -> Result<R> + Copy + Send + Sync + 'static,
    P: DeserializeOwned + Send + 'static,
    T: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let handler = move |State(client): State<TrackingClient>,
                        path: Path<P>,
                        method: Method,
                        RawQuery(query): RawQuery,
                        headers: HeaderMap,
                        body: Body| async move {
        let request = match read(&method, query, &headers, whole(body).await) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        answer(blocking(move || function(&client, path, request)).await)
    };
    let filter = axum::routing::MethodFilter::try_from(method)
        .expect("only ordinary HTTP methods are routed");
    MethodRouter::new().on(filter, handler)
}

/// Runs a function that may wait for the disk.
///
/// What it writes begins within [`PATIENCE`] or not at all, so the answer tells
/// what has happened; nobody stops waiting for it before.
pub(super) async fn blocking<R: Send + 'static>(
    function: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let failed = |error: tokio::task::JoinError| Error::Store {
        action: "finish the request".into(),
        source: Box::new(error),
    };
    let until = Instant::now() + PATIENCE;
    let function = move || {
        // All threads may have been busy until now.
        if until <= Instant::now() {
            return Err(Error::Busy {
                action: "begin the request",
            });
        }
        deadline::until(until, function)
    };
    tokio::task::spawn_blocking(function)
        .await
        .map_err(failed)?
}

/// A body once it has arrived.
async fn whole(body: Body) -> Result<Bytes, Box<Response>> {
    let refuse = |status, code, message| Err(Box::new(refuse(status, code, message)));
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let too_long = error.into_inner().is::<http_body_util::LengthLimitError>();
            let status = if too_long {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            refuse(
                status,
                "INVALID_PARAMETER_VALUE",
                "the body is too long or broken off",
            )
        }
        Err(_) => refuse(
            StatusCode::REQUEST_TIMEOUT,
            "REQUEST_LIMIT_EXCEEDED",
            "the body took too long to arrive",
        ),
    }
}

fn read<T: DeserializeOwned>(
    method: &Method,
    query: Option<String>,
    headers: &HeaderMap,
    body: Result<Bytes, Box<Response>>,
) -> Result<T, Box<Response>> {
    let body = body?;
    let query = query.unwrap_or_default();
    let result = match *method {
        // As MLflow has it: export tools send the parameters of a GET as a body.
        Method::GET if query.is_empty() && !body.is_empty() => read_json(&body),
        Method::GET => read_query(&query),
        Method::DELETE if body.is_empty() => read_query(&query),
        _ => read_body(headers, &body),
    };
    result.map_err(|error| Box::new(error.into_response()))
}

fn read_query<T: DeserializeOwned>(query: &str) -> Result<T> {
    let mut fields = Map::new();
    for (key, value) in pairs(query)? {
        let is_list = LISTS.contains(&key.as_str());
        match fields.get_mut(&key) {
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(_) => {
                return Err(Error::invalid(format!(
                    "the parameter {key:?} is given twice"
                )));
            }
            None if is_list => {
                fields.insert(key, json!([value]));
            }
            None => {
                fields.insert(key, Value::String(value));
            }
        }
    }
    read_fields(Value::Object(fields))
}

/// Fields of MLflow's requests that have no meaning here: a job of Databricks,
/// what the path of the request says already, and the next page of lists that
/// have one page.
const WITHOUT_MEANING: [&str; 4] = ["deployment_job_id", "model_id", "tag_key", "page_token"];

/// Reads a request; a field that nobody reads is refused, so that nothing a
/// client says gets lost.
fn read_fields<'de, T, D>(deserializer: D) -> Result<T>
where
    T: DeserializeOwned,
    D: serde::Deserializer<'de, Error = serde_json::Error>,
{
    let mut unknown = None;
    let request = serde_ignored::deserialize(deserializer, |path| {
        // Optional things have a question mark in their paths.
        let path = path.to_string().replace(".?", "").replace("?.", "");
        if !WITHOUT_MEANING.contains(&path.as_str()) {
            unknown.get_or_insert(path);
        }
    });
    match (request, unknown) {
        (Err(error), _) => Err(wrong(error)),
        (Ok(_), Some(path)) => Err(Error::invalid(format!(
            "the request has the field {path:?}, which this endpoint does not know"
        ))),
        (Ok(request), None) => Ok(request),
    }
}

/// Decodes a query.
fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    let uri = format!("/?{query}")
        .parse()
        .map_err(|_| Error::invalid("the query is broken"))?;
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map(|query| query.0)
        .map_err(|_| Error::invalid("the query is not valid UTF-8"))
}

fn read_body<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T> {
    // A form or a script of another site can send any type but this one
    // without asking first.
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Error::invalid(
            "the request needs the Content-Type application/json",
        ));
    }
    read_json(body)
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid("the body is not a JSON object"));
    }
    if depth(body) > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "the body is nested deeper than {MAX_DEPTH}"
        )));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let request = read_fields(&mut deserializer)?;
    deserializer.end().map_err(wrong)?;
    Ok(request)
}

fn wrong(error: serde_json::Error) -> Error {
    Error::invalid(format!("the request cannot be read: {error}"))
}

/// How deeply brackets are nested outside texts.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

pub(super) fn answer<R: Serialize>(result: Result<R>) -> Response {
    let body = result.map(|value| serde_json::to_vec(&value));
    match body {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(error)) => {
            let action = "write the answer".into();
            Error::Store {
                action,
                source: Box::new(error),
            }
            .into_response()
        }
        Err(error) => error.into_response(),
    }
}

pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (
        status,
        axum::Json(json!({ "error_code": code, "message": message })),
    )
        .into_response()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let code = self.code();
        let status = match code {
            "RESOURCE_DOES_NOT_EXIST" => StatusCode::NOT_FOUND,
            "TEMPORARILY_UNAVAILABLE" => StatusCode::SERVICE_UNAVAILABLE,
            "INTERNAL_ERROR" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut response = refuse(status, code, &self.to_string());
        if status.is_server_error() {
            // The causes can name files and SQL: they are not for the client.
            let failure = Failure::of(&self);
            response.extensions_mut().insert(failure);
        }
        response
    }
}

/// What an answer of status 500 leaves out, for the log of whoever runs the
/// server: an error and its causes. It is among the answer's extensions.
#[derive(Debug, Clone)]
pub struct Failure(Arc<str>);

impl Failure {
    /// The error and its causes as one line.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a field that must be given.
pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(format!("the required parameter {name:?} is missing")))
}

/// A text that must be given and not empty.
pub(super) fn required_text(name: &str, value: Option<String>) -> Result<String> {
    required(name, value.filter(|text| !text.is_empty()))
}

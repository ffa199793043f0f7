//! Requests to an MLflow server: what is sent again, and what an answer means.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderValue, Response, header};
use ureq::{Agent, Body, Proxy, SendBody};

use super::RestConfig;
use crate::error::{Error, Result};

/// How long one request may take, transfers of files aside.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read into memory.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
/// Requests that may be repeated are sent so often.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Whether a request may be sent again if it is not known to have arrived.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Repeat {
    Never,
    Allowed,
}

/// One server.
pub(super) struct Http {
    agent: Agent,
    uri: String,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the authorization.
        f.debug_struct("Http")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(uri: &str, config: &RestConfig) -> Result<Self> {
        let uri = uri.trim_end_matches('/').to_owned();
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(Error::invalid(format!(
                "the server {uri:?} does not start with http:// or https://"
            )));
        }
        let proxy = config.proxy.as_deref().map(Proxy::new).transpose();
        let proxy = proxy.map_err(|error| Error::invalid(format!("the proxy: {error}")))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .proxy(proxy)
            .user_agent(concat!("btc-track/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let authorization = match (&config.basic, &config.token) {
            (Some((user, password)), _) => Some(format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("{user}:{password}"))
            )),
            (None, Some(token)) => Some(format!("Bearer {token}")),
            (None, None) => None,
        };
        let authorization = authorization.map(|text| {
            let value = HeaderValue::from_str(&text);
            let mut value =
                value.map_err(|_| Error::invalid("the token has characters of no header"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self {
            agent,
            uri,
            authorization: authorization.transpose()?,
        })
    }

    /// Asks for something by its query parameters.
    pub(super) fn get<R: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<R> {
        let url = self.url(path);
        let send = || {
            let mut request = self.agent.get(&url);
            for (name, value) in query {
                request = request.query(name, value);
            }
            if let Some(value) = &self.authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.call()
        };
        self.answer(self.repeated(Repeat::Allowed, send)?)
    }

    /// Sends a JSON body by POST, PATCH or DELETE.
    pub(super) fn send<B: Serialize, R: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &B,
        repeat: Repeat,
    ) -> Result<R> {
        let url = self.url(path);
        let body = serde_json::to_vec(body).map_err(|error| self.failed(error))?;
        let send = || {
            // A DELETE with a body is unusual, but what the protocol wants.
            let request = match method {
                "POST" => self.agent.post(&url),
                "PATCH" => self.agent.patch(&url),
                _ => self.agent.delete(&url).force_send_body(),
            };
            let mut request = request.header(header::CONTENT_TYPE, "application/json");
            if let Some(value) = &self.authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.send(&body)
        };
        self.answer(self.repeated(repeat, send)?)
    }

    pub(super) fn post<B: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<R> {
        self.send("POST", path, body, Repeat::Never)
    }

    /// Streams a file to the server.
    pub(super) fn put(&self, path: &str, content: &mut dyn Read) -> Result<()> {
        let mut request = self
            .agent
            .put(self.url(path))
            .header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let mut content = content;
        let response = request.send(SendBody::from_reader(&mut content));
        let response = response.map_err(|error| self.failed(error))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refused(response)?)
    }

    /// Streams a file from the server.
    pub(super) fn open(&self, path: &str) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        let url = self.url(path);
        let send = || {
            let mut request = self.agent.get(&url);
            if let Some(value) = &self.authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.call()
        };
        let response = self.repeated(Repeat::Allowed, send)?;
        if !response.status().is_success() {
            return Err(self.refused(response)?);
        }
        let body = response.into_body();
        let size = body.content_length();
        Ok((Box::new(body.into_reader()), size))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.uri)
    }

    fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Unreachable {
            uri: self.uri.clone(),
            source: Box::new(source),
        }
    }

    /// Sends until there is an answer, waiting longer each time.
    fn repeated(
        &self,
        repeat: Repeat,
        send: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let last = repeat == Repeat::Never || attempt == ATTEMPTS;
            match send() {
                Ok(response) if last || !is_busy(response.status().as_u16()) => {
                    return Ok(response);
                }
                Err(error) if last => return Err(self.failed(error)),
                _ => {}
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(Error::invalid("no request was sent"))
    }

    fn answer<R: DeserializeOwned>(&self, response: Response<Body>) -> Result<R> {
        if !response.status().is_success() {
            return Err(self.refused(response)?);
        }
        let body = self.read(response)?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body).map_err(|error| self.failed(error))
    }

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>> {
        let body = response
            .into_body()
            .into_with_config()
            .limit(MAX_ANSWER)
            .read_to_vec();
        body.map_err(|error| self.failed(error))
    }

    /// The error that an answer tells of.
    fn refused(&self, response: Response<Body>) -> Result<Error> {
        let status = response.status();
        let answer: Value = serde_json::from_slice(&self.read(response)?).unwrap_or_default();
        let text = |key: &str, otherwise: &str| {
            answer[key]
                .as_str()
                .unwrap_or(otherwise)
                .chars()
                .take(2000)
                .collect::<String>()
        };
        // A body that is no JSON comes from something between us and MLflow.
        let code = match status.as_u16() {
            404 => "RESOURCE_DOES_NOT_EXIST",
            401 | 403 => "PERMISSION_DENIED",
            _ => "INTERNAL_ERROR",
        };
        Ok(Error::Remote {
            uri: self.uri.clone(),
            status: status.as_u16(),
            error_code: text("error_code", code),
            message: text(
                "message",
                status.canonical_reason().unwrap_or("no reason given"),
            ),
        })
    }
}

fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// A text as one part of a path.
pub(super) fn escape(text: &str) -> String {
    /// What stays of a path: the unreserved characters of RFC 3986, section 2.3, and the slash.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~')
        .remove(b'/');
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_byte_by_byte() {
        assert_eq!(escape("a b/ü%.txt"), "a%20b/%C3%BC%25.txt");
    }
}

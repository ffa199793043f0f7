//! What stands before every page: who may ask, how much, and what a browser
//! may do with the answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The policy of every page: no inline script or style, nothing from elsewhere.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// Who may talk to the server.
///
/// Loopback names are always allowed. A page on another site can make a
/// browser send requests here under a name of its own (DNS rebinding), so
/// every other name has to be listed.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed_hosts: Vec<String>,
    token: Option<String>,
}

impl Guard {
    /// Allows loopback names only and asks for no token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also answers under `host`, an exact name or address without a port.
    #[must_use]
    pub fn with_allowed_host(mut self, host: impl Into<String>) -> Self {
        self.allowed_hosts.push(host.into().to_ascii_lowercase());
        self
    }

    /// Asks every request but `/health` for `Authorization: Bearer TOKEN`, or
    /// for the token as the password of HTTP basic authentication.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    fn allows_host(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else {
            return false;
        };
        let loopback = host.eq_ignore_ascii_case("localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        loopback
            || self
                .allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    fn refuses(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let headers = request.headers();
        let authority = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .or_else(|| {
                request
                    .uri()
                    .authority()
                    .map(|authority| authority.as_str())
            });
        if !authority.is_some_and(|authority| self.allows_host(authority)) {
            return Some((StatusCode::FORBIDDEN, "this host name is not allowed"));
        }
        if !is_read(request.method()) && !same_origin(headers, authority) {
            return Some((
                StatusCode::FORBIDDEN,
                "requests from another origin are not allowed",
            ));
        }
        if let Some(token) = &self.token
            && request.uri().path() != "/health"
            && !authorised(headers, token)
        {
            return Some((StatusCode::UNAUTHORIZED, "a token is needed"));
        }
        None
    }
}

/// The middleware that applies a [`Guard`].
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.refuses(&request) {
        Some((status, message)) => {
            let mut response = (
                status,
                axum::Json(serde_json::json!({
                    "error_code": "PERMISSION_DENIED",
                    "message": message,
                })),
            )
                .into_response();
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"btc\""),
                );
            }
            response
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A request without `Origin` does not come from a page of another site.
fn same_origin(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let stripped = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (stripped, authority) {
        (Some(origin), Some(authority)) => origin.eq_ignore_ascii_case(authority),
        _ => false,
    }
}

fn authorised(headers: &HeaderMap, token: &str) -> bool {
    let Some(value) = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    if let Some(given) = value.strip_prefix("Bearer ") {
        return equal_in_constant_time(given.as_bytes(), token.as_bytes());
    }
    let Some(decoded) = value
        .strip_prefix("Basic ")
        .and_then(|text| STANDARD.decode(text).ok())
    else {
        return false;
    };
    let password = decoded
        .iter()
        .position(|&byte| byte == b':')
        .map(|colon| &decoded[colon + 1..]);
    password.is_some_and(|password| equal_in_constant_time(password, token.as_bytes()))
}

/// Compares without telling by its duration where two tokens differ.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |differing, (left, right)| differing | (left ^ right))
            == 0
}

/// The name or address in `host[:port]`, `[v6]:port` or a bare IPv6 address.
fn host_of(authority: &str) -> Option<&str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_ok.then_some(host);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => (is_port(port) && !host.contains(':')).then_some(host),
        None => Some(authority),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, allowed: bool) {
        let guard = Guard::new().with_allowed_host("forecast.example");
        assert_eq!(guard.allows_host(host), allowed, "{host:?}");
    }

    #[test]
    fn loopback_and_listed_names_are_allowed() {
        for host in [
            "localhost",
            "LOCALHOST:5000",
            "127.0.0.1:80",
            "127.8.9.1",
            "[::1]:5000",
        ] {
            check(host, true);
        }
        check("forecast.example:443", true);
    }

    #[test]
    fn names_that_only_look_like_loopback_are_refused() {
        for host in [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example",
            "forecast.example.evil.example",
            "localhost:x",
            "localhost:1:2",
            "",
            "10.0.0.1",
            "0x7f000001",
        ] {
            check(host, false);
        }
    }
}

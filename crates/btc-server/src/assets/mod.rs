//! Files that pages refer to, embedded in the binary.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const STYLE: &str = include_str!("style.css");

/// Answers with an asset by its name.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "style.css" => (
            [
                (header::CONTENT_TYPE, "text/css; charset=utf-8"),
                (header::CACHE_CONTROL, "max-age=3600"),
            ],
            STYLE,
        )
            .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

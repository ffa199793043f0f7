//! What every page shares.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use maud::{DOCTYPE, Markup, html};

/// A whole page around `content`.
pub(crate) fn page(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – btc" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="data:,";
            }
            body {
                header.site {
                    div {
                        strong { "btc" }
                        nav aria-label="Sections" {
                            a href="/#forecast" { "Forecast" }
                            a href="/#models" { "Models" }
                            a href="/#experiments" { "Experiments" }
                            a href="/#runs" { "Runs" }
                            a href="/#studies" { "Studies" }
                            a href="/#features" { "Features" }
                        }
                    }
                }
                main { (content) }
            }
        }
    }
}

/// A page that says what went wrong, without internals.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str) -> Response {
    let content = html! { h1 { (title) } p { (text) } p { a href="/" { "Overview" } } };
    (status, page(title, &content)).into_response()
}

/// The answer to an unknown address.
pub(crate) async fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "Not found",
        "There is nothing at this address.",
    )
}

/// A number as short as it can be read: six significant digits.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = (5.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A price with two decimals.
pub(crate) fn price(value: f64) -> String {
    format!("{value:.2}")
}

/// A time in milliseconds since 1970, to the second, in UTC.
pub(crate) fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || "-".into(),
        |time| time.format("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_digits_and_their_exponent() {
        for (value, expected) in [
            (0.0, "0"),
            (1.827_312_4, "1.82731"),
            (17440.66, "17440.7"),
            (0.000_020_3, "2.0300e-5"),
            (-0.5, "-0.5"),
            (123_456_789.0, "123456789"),
            (1e12, "1.0000e12"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}

//! The API key, which is never shown.

use std::fmt;

/// An API key that shows itself to nobody but the service.
///
/// ```
/// let key = btc_ingest::ApiKey::new("secret").unwrap();
/// assert_eq!(format!("{key} {key:?}"), "REDACTED ApiKey(REDACTED)");
/// assert_eq!(key.redact("the key secret is over its limit"), "the key REDACTED is over its limit");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

pub(crate) const REDACTED: &str = "REDACTED";

impl ApiKey {
    /// Takes a key, or returns `None` if it is blank.
    ///
    /// White space around it, as a file's line end, is left out.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Option<Self> {
        let key = key.into().trim().to_owned();
        (!key.is_empty()).then_some(Self(key))
    }

    /// Returns `text` with every occurrence of the key replaced by `REDACTED`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(&self.0, REDACTED);
        let encoded: String = reqwest::Url::parse_with_params("http://h/", [("k", &self.0)])
            .ok()
            .and_then(|url| url.query().map(|query| query["k=".len()..].to_owned()))
            .unwrap_or_default();
        if !encoded.is_empty() {
            text = text.replace(&encoded, REDACTED);
        }
        text
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({REDACTED})")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_key_is_no_key() {
        assert_eq!(ApiKey::new(" \n"), None);
        assert_eq!(ApiKey::new("a\n").unwrap().secret(), "a");
    }

    #[test]
    fn the_encoded_key_is_redacted_too() {
        let key = ApiKey::new("a+b/c").unwrap();
        assert_eq!(
            key.redact("?apikey=a%2Bb%2Fc&x=a+b/c"),
            "?apikey=REDACTED&x=REDACTED"
        );
    }
}

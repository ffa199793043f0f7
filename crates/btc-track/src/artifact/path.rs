//! Paths and URIs of artifacts, which never leave their root.

use percent_encoding::percent_decode;

use crate::error::{Error, Result};

/// How deep and long a path may be; file systems have limits of their own.
const MAX_DEPTH: usize = 64;
const MAX_PATH_LENGTH: usize = 3072;
const MAX_PART_LENGTH: usize = 255;

/// A relative path with `/` that stays below its root, in every spelling.
///
/// ```
/// use btc_track::ArtifactPath;
///
/// assert_eq!(ArtifactPath::parse("model/MLmodel")?.as_str(), "model/MLmodel");
/// assert!(ArtifactPath::parse("../secret").is_err());
/// assert!(ArtifactPath::parse("a/%252e%252e/b").is_err());
/// assert!(ArtifactPath::parse("r_10:00 50%+ #1.txt").is_ok());
/// # Ok::<(), btc_track::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// Checks a path; the empty path is the root itself.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` for anything that could name a place outside, also
    /// after decoding percent signs again.
    pub fn parse(path: &str) -> Result<Self> {
        check(path)?;
        // Whoever decodes the name later must not find a way out in it. Each
        // round makes the text shorter.
        let mut text = path.as_bytes().to_vec();
        while let Some(decoded) = decode(&text) {
            let climbs = |part: &[u8]| part == b".." || part.starts_with(b"..;");
            let separators = |byte: &u8| matches!(byte, b'/' | b'\\');
            if decoded.split(separators).any(climbs) || decoded.first().is_some_and(separators) {
                return Err(refuse(path, "does not stay below its root"));
            }
            text = decoded;
        }
        Ok(Self(path.trim_end_matches('/').to_owned()))
    }

    /// The path, without a slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path with another below it.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, other.0)),
        }
    }
}

fn refuse(path: &str, why: &str) -> Error {
    let shown: String = path.chars().take(100).collect();
    Error::invalid(format!("the artifact path {shown:?} {why}"))
}

/// Only what can escape is refused, and what no file system can keep.
fn check(path: &str) -> Result<()> {
    // One slash at the end names a folder.
    let text = path
        .strip_suffix('/')
        .filter(|text| !text.is_empty())
        .unwrap_or(path);
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > MAX_PATH_LENGTH {
        return Err(refuse(path, "is too long"));
    }
    // A backslash separates folders elsewhere.
    if text.contains('\\') || text.contains(char::is_control) {
        return Err(refuse(
            path,
            "has a backslash or a control character, which no file name here may have",
        ));
    }
    if text.split('/').count() > MAX_DEPTH {
        return Err(refuse(path, "is too deep"));
    }
    if cfg!(windows) && text.contains(':') {
        return Err(refuse(path, "has a colon, which names a drive here"));
    }
    for part in text.split('/') {
        if part.is_empty() || matches!(part, "." | "..") || part.starts_with("..;") {
            return Err(refuse(path, "does not stay below its root"));
        }
        if part.len() > MAX_PART_LENGTH {
            return Err(refuse(path, "has a name that is too long"));
        }
    }
    Ok(())
}

/// Decodes percent escapes once; none if there are none. A percent sign that
/// starts none stays.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(text).collect();
    (decoded.len() < text.len()).then_some(decoded)
}

/// A URI below which artifacts lie, or that names a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUri {
    /// Such as `mlflow-artifacts`.
    pub scheme: String,
    /// The host, or empty.
    pub authority: String,
    /// The path, relative.
    pub path: ArtifactPath,
}

/// Schemes that never name a file of this computer.
const SCHEMES: [&str; 11] = [
    "mlflow-artifacts",
    "runs",
    "models",
    "s3",
    "gs",
    "wasbs",
    "abfss",
    "hdfs",
    "dbfs",
    "http",
    "https",
];

impl ArtifactUri {
    /// Checks a URI.
    ///
    /// ```
    /// use btc_track::ArtifactUri;
    ///
    /// assert_eq!(ArtifactUri::parse("runs:/abc/model")?.path.as_str(), "abc/model");
    /// assert!(ArtifactUri::parse("file:///etc").is_err());
    /// # Ok::<(), btc_track::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidParameter` for local paths, unknown schemes, paths that climb,
    /// queries and fragments.
    pub fn parse(uri: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let shown: String = uri.chars().take(100).collect();
            Error::invalid(format!("the artifact URI {shown:?} {why}"))
        };
        let (scheme, rest) = uri
            .split_once(":/")
            .ok_or_else(|| refuse("has no scheme, such as mlflow-artifacts:/ or runs:/"))?;
        if !SCHEMES.contains(&scheme) {
            return Err(refuse("has a scheme that is not allowed here"));
        }
        if rest.contains(['?', '#']) {
            return Err(refuse("has a query or a fragment"));
        }
        let (authority, path) = match rest.strip_prefix('/') {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => ("", rest),
        };
        if authority.contains("..") || authority.contains(['\\', '%', '@']) {
            return Err(refuse("has a host that is not allowed here"));
        }
        let path = ArtifactPath::parse(path)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_are_accepted_as_they_are() {
        for name in [
            "r_10:00.txt",
            "C:x",
            "100%",
            "100%25",
            "a%20b",
            "a%2fb",
            "a+b #1?.txt",
            "images/loss#train%step%1%timestamp%1702571934123%uuid.png",
            "..hidden",
            "...",
            "a..b/c..",
            " leading and trailing ",
            "日本語/ünï/😀",
            "%",
            "%zz",
            "%ff",
        ] {
            assert_eq!(ArtifactPath::parse(name).unwrap().as_str(), name);
        }
        let longest = "ü".repeat(127);
        assert!(ArtifactPath::parse(&longest).is_ok());
        assert!(ArtifactPath::parse(&format!("{longest}üü")).is_err());
    }

    #[test]
    fn ways_out_are_refused_in_every_spelling() {
        for name in [
            "..",
            "../x",
            "a/../b",
            "a/..",
            "/x",
            "//x",
            "a//b",
            ".",
            "a/./b",
            "%2e%2e",
            "%2e%2e/x",
            "%252e%252e%252fx",
            "%25252e%25252e/x",
            "..%2fx",
            "a%2f..%2f..%2fx",
            "%2fetc",
            "..%5cx",
            "a\\b",
            "..;/x",
            "%2e.;/x",
            "a\0b",
            "a\nb",
        ] {
            assert!(ArtifactPath::parse(name).is_err(), "{name:?}");
        }
    }
}

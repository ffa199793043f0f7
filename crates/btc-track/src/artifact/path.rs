//! Paths and URIs of artifacts, which never leave their root.

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// How deep and long a path may be; file systems have limits of their own.
const MAX_DEPTH: usize = 64;
const MAX_PATH_LENGTH: usize = 1024;
const MAX_PART_LENGTH: usize = 200;

/// A relative path with `/` that stays below its root, in every spelling.
///
/// ```
/// use btc_track::ArtifactPath;
///
/// assert_eq!(ArtifactPath::parse("model/MLmodel")?.as_str(), "model/MLmodel");
/// assert!(ArtifactPath::parse("../secret").is_err());
/// assert!(ArtifactPath::parse("a/%252e%252e/b").is_err());
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
        // Whoever decodes the name later must not find another path in it.
        let mut text = path.to_owned();
        for _ in 0..8 {
            check(&text, path)?;
            let decoded = decode(&text).ok_or_else(|| refuse(path, "has a broken escape"))?;
            if decoded == text {
                return Ok(Self(path.trim_end_matches('/').to_owned()));
            }
            text = decoded;
        }
        Err(refuse(path, "is escaped too often"))
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

fn check(text: &str, path: &str) -> Result<()> {
    // One slash at the end names a folder.
    let text = text
        .strip_suffix('/')
        .filter(|text| !text.is_empty())
        .unwrap_or(text);
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > MAX_PATH_LENGTH {
        return Err(refuse(path, "is too long"));
    }
    if text.contains(['\\', '#']) || text.contains(char::is_control) {
        return Err(refuse(
            path,
            "has a character that is not allowed in a file name",
        ));
    }
    let mut parts = text.split('/');
    if parts.clone().count() > MAX_DEPTH {
        return Err(refuse(path, "is too deep"));
    }
    // A drive letter or a scheme is absolute for some programs.
    if parts.next().is_some_and(|first| first.contains(':')) {
        return Err(refuse(path, "is not relative"));
    }
    for part in text.split('/') {
        if part.is_empty() || part == "." || part.starts_with("..") {
            return Err(refuse(path, "does not stay below its root"));
        }
        if part.len() > MAX_PART_LENGTH {
            return Err(refuse(path, "has a name that is too long"));
        }
    }
    Ok(())
}

/// Decodes percent escapes once; a percent sign that starts none stays.
fn decode(text: &str) -> Option<String> {
    // Overlong UTF-8 is not valid UTF-8.
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
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

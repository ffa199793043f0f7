//! What `btc.toml` says.
//!
//! Each section is read by itself, so that a mistake in one stops only the
//! commands that need it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::errors::UsageError;
use crate::settings::layer::Layer;

/// A section of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Data,
    Tracking,
    Studies,
    Model,
    Serve,
}

/// A mistake in the file: the section it is in, or none if the whole file
/// cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Mistake {
    pub(crate) section: Option<Section>,
    pub(crate) message: String,
}

/// The file as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct SettingsFile {
    pub(crate) path: PathBuf,
    pub(crate) layer: Layer,
    pub(crate) mistakes: Vec<Mistake>,
}

/// The names of the sections; another one is a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for the names alone")]
struct Sections {
    data: Option<IgnoredAny>,
    tracking: Option<IgnoredAny>,
    studies: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    serve: Option<IgnoredAny>,
}

impl Section {
    /// Every section.
    pub(crate) const ALL: [Self; 5] = [
        Self::Data,
        Self::Tracking,
        Self::Studies,
        Self::Model,
        Self::Serve,
    ];
}

impl SettingsFile {
    /// Reads the file; without one, nothing is said.
    pub(crate) fn read(path: &Path) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        match std::fs::read_to_string(path) {
            Ok(text) => file.parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => file.mistakes.push(Mistake {
                section: None,
                message: format!("cannot read {}: {error}", path.display()),
            }),
        }
        file
    }

    fn parse(&mut self, text: &str) {
        /// Reads one section and passes over the others; errors keep their line.
        macro_rules! read {
            ($key:ident, $section:expr) => {{
                #[derive(Default, Deserialize)]
                #[serde(default)]
                struct Only<T> {
                    $key: T,
                }
                match toml::from_str::<Only<_>>(text) {
                    Ok(only) => self.layer.$key = only.$key,
                    Err(error) => self.wrong(Some($section), text, &error),
                }
            }};
        }
        if let Err(error) = toml::from_str::<toml::Table>(text) {
            return self.wrong(None, text, &error);
        }
        if let Err(error) = toml::from_str::<Sections>(text) {
            self.wrong(None, text, &error);
        }
        read!(data, Section::Data);
        read!(tracking, Section::Tracking);
        read!(studies, Section::Studies);
        read!(model, Section::Model);
        read!(serve, Section::Serve);
    }

    fn wrong(&mut self, section: Option<Section>, text: &str, error: &toml::de::Error) {
        // The parser's own text quotes the offending line, which may hold the key.
        let line = error
            .span()
            .map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map(|line| format!(" line {line}")).unwrap_or_default();
        let message = format!("{}{line}: {}", self.path.display(), error.message());
        self.mistakes.push(Mistake { section, message });
    }

    /// Refuses the file if a mistake in it concerns one of `needed`.
    pub(crate) fn check(&self, needed: &[Section]) -> Result<(), UsageError> {
        let concerns = |mistake: &&Mistake| {
            !needed.is_empty() && mistake.section.is_none_or(|found| needed.contains(&found))
        };
        match self.mistakes.iter().find(concerns) {
            Some(mistake) => Err(UsageError(mistake.message.clone())),
            None => Ok(()),
        }
    }
}

//! Finished parts on disk, one JSON line each, so that a comparison can go on.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::part::Outcome;
use crate::{Error, Result};

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug)]
pub(super) struct Checkpoint {
    finished: HashMap<String, Outcome>,
    file: Option<(PathBuf, File)>,
}

impl Checkpoint {
    /// Reads what is there. A line that was not written to its end is as if it were not there.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let mut finished = HashMap::new();
        let Some(path) = path else {
            return Ok(Self {
                finished,
                file: None,
            });
        };
        let io = |action, source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        };
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(source) => return Err(io("read", source)),
        };
        for line in text.lines() {
            if let Ok(line) = serde_json::from_str::<Line>(line) {
                finished.insert(line.key, line.outcome);
            }
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| io("write", source))?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")
                .map_err(|source| io("write", source))?;
        }
        Ok(Self {
            finished,
            file: Some((path.to_owned(), file)),
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Outcome> {
        self.finished.get(key)
    }

    /// Notes a finished part; it is on disk when this returns.
    pub(super) fn add(&mut self, key: &str, outcome: &Outcome) -> Result<()> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        let io = |source| Error::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        let line = Line {
            key: key.to_owned(),
            outcome: outcome.clone(),
        };
        let mut text =
            serde_json::to_string(&line).map_err(|error| io(std::io::Error::other(error)))?;
        text.push('\n');
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(io)
    }
}

//! `MLproject` files: named entry points with typed parameters.

mod run;
mod shell;

pub use run::{ProjectRun, ProjectRunConfig, run_project};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use shell::Shell;

/// The name of the file in a project's folder.
pub const FILE_NAME: &str = "MLproject";

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParameterType {
    /// Any text.
    #[default]
    String,
    /// A number.
    Float,
    /// A file that exists; it is passed as an absolute path.
    Path,
    /// A URI.
    Uri,
}

/// A parameter of an entry point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameter {
    /// Its type.
    pub kind: ParameterType,
    /// Its value unless another is given; none if one must be given.
    pub default: Option<String>,
}

/// Something that a project can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, Parameter>,
    /// A shell command with `{parameter}` for each value.
    pub command: String,
}

/// A project: a folder with an `MLproject` file.
///
/// ```
/// use btc_track::mlproject::Project;
///
/// # let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("MLproject"), "
/// name: prices
/// entry_points:
///   predict:
///     parameters:
///       date-end: string
///       timesteps: {type: float, default: 5}
///     command: \"btc predict --date-end {date-end} --timesteps {timesteps}\"
/// ")?;
/// let project = Project::load(folder.path())?;
/// let given = [("date_end".to_owned(), "2023-01-10".to_owned())];
/// let (command, _) = project.entry_point("predict")?.command_line(&given)?;
/// assert_eq!(command, "btc predict --date-end 2023-01-10 --timesteps 5");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name; may be empty.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it can run.
    pub entry_points: BTreeMap<String, EntryPoint>,
}

#[derive(Debug, Deserialize)]
struct Yaml {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    entry_points: Option<BTreeMap<String, YamlEntryPoint>>,
}

#[derive(Debug, Deserialize)]
struct YamlEntryPoint {
    #[serde(default)]
    parameters: Option<BTreeMap<String, Value>>,
    command: String,
}

impl Project {
    /// Reads the `MLproject` file of a folder.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none, `Malformed` if it cannot be understood.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(
                    "MLproject file",
                    path.display().to_string(),
                ));
            }
            Err(source) => {
                return Err(Error::Artifact {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let malformed = |message: String| Error::Malformed {
            file: path.display().to_string(),
            message,
        };
        let yaml: Yaml =
            serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let mut entry_points = BTreeMap::new();
        for (name, entry) in yaml.entry_points.unwrap_or_default() {
            let mut parameters = BTreeMap::new();
            for (key, value) in entry.parameters.unwrap_or_default() {
                let parameter = parameter(&value).map_err(|message| {
                    malformed(format!(
                        "parameter {key:?} of entry point {name:?} {message}"
                    ))
                })?;
                parameters.insert(key, parameter);
            }
            let entry = EntryPoint {
                name: name.clone(),
                parameters,
                command: entry.command,
            };
            entry_points.insert(name, entry);
        }
        let name = yaml.name.unwrap_or_default();
        Ok(Self {
            name,
            folder: folder.to_owned(),
            entry_points,
        })
    }

    /// The entry point with a name; `-` and `_` are the same.
    ///
    /// # Errors
    ///
    /// `NotFound` if the project has no such entry point.
    pub fn entry_point(&self, name: &str) -> Result<&EntryPoint> {
        let found = self.entry_points.get(name);
        let found = found.or_else(|| {
            self.entry_points
                .values()
                .find(|entry| same_name(&entry.name, name))
        });
        found.ok_or_else(|| Error::not_found("entry point", name))
    }
}

/// A type by itself, or a type and a default.
fn parameter(value: &Value) -> Result<Parameter, String> {
    let (kind, default) = match value {
        Value::String(kind) => (Some(kind.as_str()), None),
        Value::Object(fields) => (
            fields.get("type").and_then(Value::as_str),
            fields.get("default").and_then(plain),
        ),
        Value::Null => (None, None),
        _ => return Err("is neither a type nor a type with a default".into()),
    };
    let kind = match kind.unwrap_or("string") {
        "string" => ParameterType::String,
        "float" | "int" | "integer" | "number" => ParameterType::Float,
        "path" => ParameterType::Path,
        "uri" => ParameterType::Uri,
        other => {
            return Err(format!(
                "has the type {other:?}, expected string, float, path or uri"
            ));
        }
    };
    Ok(Parameter { kind, default })
}

/// A default as Python prints it.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

fn same_name(left: &str, right: &str) -> bool {
    left.replace('-', "_") == right.replace('-', "_")
}

impl EntryPoint {
    /// The shell command for some parameters, and the value of every
    /// parameter that was used.
    ///
    /// Values are quoted for the shell. Parameters that the entry point does
    /// not declare are appended as `--name value`.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` if a value is missing or has the wrong type.
    pub fn command_line(
        &self,
        given: &[(String, String)],
    ) -> Result<(String, BTreeMap<String, String>)> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let mut extra = Vec::new();
        for (name, value) in given {
            match self.parameters.keys().find(|known| same_name(known, name)) {
                Some(known) => values.insert(known.clone(), value.clone()),
                None => {
                    check_name(name)?;
                    extra.push((name.clone(), value.clone()));
                    None
                }
            };
        }
        let mut missing = Vec::new();
        for (name, parameter) in &self.parameters {
            match (values.get(name), &parameter.default) {
                (Some(_), _) => {}
                (None, Some(default)) => {
                    values.insert(name.clone(), default.clone());
                }
                (None, None) => missing.push(name.as_str()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::invalid(format!(
                "entry point {:?} needs a value for {}; give it with -P NAME=VALUE",
                self.name,
                missing.join(", ")
            )));
        }
        for (name, parameter) in &self.parameters {
            if let Some(value) = values.get_mut(name) {
                *value = convert(name, parameter.kind, value)?;
            }
        }
        let mut command = self.substitute(&values)?;
        for (name, value) in extra {
            command += &format!(" --{name} {}", quote(&value));
            values.insert(name, value);
        }
        Ok((command, values))
    }

    /// Replaces each `{name}`; `{{` and `}}` are braces.
    ///
    /// A value is one literal piece of text for the shell wherever its
    /// placeholder stands, inside quotes too.
    fn substitute(&self, values: &BTreeMap<String, String>) -> Result<String> {
        let mut command = String::new();
        let mut shell = Shell::default();
        let mut rest = self.command.as_str();
        while let Some(i) = rest.find(['{', '}']) {
            command += &rest[..i];
            shell.read(&rest[..i]);
            let brace = &rest[i..];
            if let Some(after) = brace
                .strip_prefix("{{")
                .or_else(|| brace.strip_prefix("}}"))
            {
                command += &brace[..1];
                shell.read(&brace[..1]);
                rest = after;
                continue;
            }
            let inside = brace
                .strip_prefix('{')
                .and_then(|text| text.split_once('}'));
            let Some((name, after)) = inside else {
                return Err(Error::invalid(format!(
                    "the command of entry point {:?} has a brace without a partner",
                    self.name
                )));
            };
            let value = values.iter().find(|(known, _)| same_name(known, name));
            let (_, value) = value.ok_or_else(|| {
                Error::invalid(format!(
                    "the command of entry point {:?} uses {name:?}, which is no parameter of it",
                    self.name
                ))
            })?;
            command += &shell.quote(value).ok_or_else(|| {
                Error::invalid(format!(
                    "the command of entry point {:?} uses {{{name}}} where the shell would read \
                     its value as code: in backticks, arithmetic, $'...' or a here-document; \
                     put it into quotes or $(...)",
                    self.name
                ))
            })?;
            shell.word();
            rest = after;
        }
        Ok(command + rest)
    }
}

/// Undeclared parameters become flags, so their names must look like it.
fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name:?} is not the name of a parameter"
    )))
}

fn convert(name: &str, kind: ParameterType, value: &str) -> Result<String> {
    let refuse = |what: &str| {
        Err(Error::invalid(format!(
            "parameter {name:?} is {value:?}, expected {what}"
        )))
    };
    match kind {
        ParameterType::String => Ok(value.to_owned()),
        ParameterType::Float if value.trim().parse::<f64>().is_ok() => Ok(value.to_owned()),
        ParameterType::Float => refuse("a number"),
        ParameterType::Uri if is_uri(value) => Ok(value.to_owned()),
        ParameterType::Uri => refuse("a URI such as s3://bucket/file"),
        ParameterType::Path => match std::path::absolute(value) {
            Ok(path) if path.exists() => Ok(path.display().to_string()),
            _ => refuse("a file that exists"),
        },
    }
}

fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let mut chars = scheme.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
    })
}

/// A text as one word of the shell.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

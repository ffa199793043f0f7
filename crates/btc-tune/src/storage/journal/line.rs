//! One line of a log: an operation as JSON.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::choice::float_from_json;
use crate::frozen::{Param, StudyDirection, StudyId, TrialId, TrialState};
use crate::storage::codec::{
    bare_float, decode_distribution, decode_json, encode_distribution, own_text,
};
use crate::storage::records::Records;
use crate::storage::{AttrScope, NewTrial, TrialUpdate, codec};

/// What a line does.
#[derive(Debug)]
pub(super) enum Operation {
    CreateStudy {
        name: String,
        directions: Vec<StudyDirection>,
    },
    DeleteStudy {
        study: StudyId,
    },
    StudyAttr {
        study: StudyId,
        scope: AttrScope,
        key: String,
        value: Value,
    },
    CreateTrial {
        study: StudyId,
        trial: Box<NewTrial>,
    },
    UpdateTrial {
        trial: TrialId,
        update: TrialUpdate,
    },
    ClaimTrial {
        trial: TrialId,
        at: DateTime<Utc>,
    },
}

/// A line that cannot be read: what it would have changed, if it says so, and
/// what is wrong with it.
#[derive(Debug)]
pub(super) struct Unreadable {
    place: Option<Place>,
    pub(super) reason: String,
}

#[derive(Debug)]
enum Place {
    Study(StudyId),
    NewTrial(StudyId),
    Trial(TrialId),
}

impl Unreadable {
    /// Spoils the study that the line belongs to; `false` if there is none.
    pub(super) fn spoil(&self, records: &mut Records) -> bool {
        let reason = self.reason.clone();
        match self.place {
            None => false,
            Some(Place::Study(study)) => records.spoil(study, reason).is_ok(),
            Some(Place::NewTrial(study)) => records.spoil_trial(study, reason).is_ok(),
            Some(Place::Trial(trial)) => records
                .locate(trial)
                .and_then(|(study, _)| records.spoil(study, reason))
                .is_ok(),
        }
    }
}

/// Names this writer among those of the file.
pub(super) fn worker_id(path: &Path) -> String {
    // It only has to differ from others; it decides nothing. Optuna tells its own lines by it.
    let hash = |part: u8| RandomState::new().hash_one((std::process::id(), path, part));
    let (a, b) = (hash(0), hash(1));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}-{}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0xfff,
        b & 0xffff_ffff_ffff,
        std::process::id()
    )
}

fn state_code(state: TrialState) -> u8 {
    match state {
        TrialState::Running => 0,
        TrialState::Complete => 1,
        TrialState::Pruned => 2,
        TrialState::Fail => 3,
        TrialState::Waiting => 4,
    }
}

fn time(at: DateTime<Utc>) -> Value {
    // Python reads `+00:00` in every version and writes it so.
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, false))
}

fn values(values: &[f64]) -> Value {
    if values.is_empty() {
        Value::Null
    } else {
        values.iter().map(|value| bare_float(*value)).collect()
    }
}

fn scope_key(scope: AttrScope) -> &'static str {
    match scope {
        AttrScope::User => "user_attr",
        AttrScope::System => "system_attr",
    }
}

impl Operation {
    /// Appends the line, its end included.
    pub(super) fn write(&self, worker: &str, out: &mut String) {
        let (code, fields) = self.fields();
        let mut line = Map::new();
        line.insert("op_code".to_owned(), Value::from(code));
        line.insert("worker_id".to_owned(), Value::from(worker));
        line.extend(fields);
        codec::write_compact(&Value::Object(line), out);
        out.push('\n');
    }

    fn fields(&self) -> (u8, Map<String, Value>) {
        let (code, fields) = match self {
            Self::CreateStudy { name, directions } => {
                let directions: Vec<u8> = directions
                    .iter()
                    .map(|direction| match direction {
                        StudyDirection::Minimize => 1,
                        StudyDirection::Maximize => 2,
                    })
                    .collect();
                (0, json!({"study_name": name, "directions": directions}))
            }
            Self::DeleteStudy { study } => (1, json!({"study_id": study.0})),
            Self::StudyAttr {
                study,
                scope,
                key,
                value,
            } => (
                if *scope == AttrScope::User { 2 } else { 3 },
                json!({"study_id": study.0, scope_key(*scope): {key: own_text(value)}}),
            ),
            Self::CreateTrial { study, trial } => (4, new_trial(*study, trial)),
            Self::ClaimTrial { trial, at } => (
                6,
                json!({"trial_id": trial.0, "state": 0, "values": null, "datetime_start": time(*at)}),
            ),
            Self::UpdateTrial { trial, update } => match update {
                TrialUpdate::Param(param) => (
                    5,
                    json!({
                        "trial_id": trial.0,
                        "param_name": &*param.name,
                        "param_value_internal": param.internal,
                        "distribution": encode_distribution(&param.distribution),
                    }),
                ),
                TrialUpdate::Finish {
                    state,
                    values: v,
                    at,
                } => (
                    6,
                    json!({
                        "trial_id": trial.0,
                        "state": state_code(*state),
                        "values": values(v),
                        "datetime_complete": time(*at),
                    }),
                ),
                TrialUpdate::Intermediate { step, value } => (
                    7,
                    json!({
                        "trial_id": trial.0,
                        "step": step,
                        "intermediate_value": bare_float(*value),
                    }),
                ),
                TrialUpdate::Attr { scope, key, value } => (
                    if *scope == AttrScope::User { 8 } else { 9 },
                    json!({"trial_id": trial.0, scope_key(*scope): {key: own_text(value)}}),
                ),
            },
        };
        match fields {
            Value::Object(fields) => (code, fields),
            _ => (code, Map::new()),
        }
    }

    /// Replays the operation. What the rules forbid has no effect, as every reader agrees.
    pub(super) fn apply(self, records: &mut Records) {
        let _ = match self {
            Self::CreateStudy { name, directions } => {
                records.create_study(&name, &directions).map(drop)
            }
            Self::DeleteStudy { study } => records.delete_study(study),
            Self::StudyAttr {
                study,
                scope,
                key,
                value,
            } => records.set_study_attr(study, scope, &key, &value),
            Self::CreateTrial { study, trial } => records.replay_trial(study, *trial),
            Self::UpdateTrial { trial, update } => records.replay_update(trial, update),
            Self::ClaimTrial { trial, at } => records.claim_trial(trial, at, &[]).map(drop),
        };
    }
}

fn new_trial(study: StudyId, trial: &NewTrial) -> Value {
    let mut fields = json!({
        "study_id": study.0,
        "datetime_start": trial.datetime_start.map_or(Value::Null, time),
        "state": state_code(trial.state),
        "value": match trial.values[..] {
            [value] => bare_float(value),
            _ => Value::Null,
        },
        "values": if trial.values.len() > 1 { values(&trial.values) } else { Value::Null },
    });
    if let Some(at) = trial.datetime_complete {
        fields["datetime_complete"] = time(at);
    }
    let params = &trial.parameters;
    fields["distributions"] = params
        .iter()
        .map(|p| {
            (
                p.name.to_string(),
                Value::from(encode_distribution(&p.distribution)),
            )
        })
        .collect::<Map<_, _>>()
        .into();
    fields["params"] = params
        .iter()
        .map(|p| (p.name.to_string(), Value::from(p.internal)))
        .collect::<Map<_, _>>()
        .into();
    fields["user_attrs"] = own_text(&Value::Object(trial.user_attrs.clone()));
    fields["system_attrs"] = own_text(&Value::Object(trial.system_attrs.clone()));
    fields["intermediate_values"] = trial
        .intermediate_values
        .iter()
        .map(|(step, value)| (step.to_string(), bare_float(*value)))
        .collect::<Map<_, _>>()
        .into();
    fields
}

/// Reads a line; `None` for an operation that changes nothing here.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Operation>, Unreadable> {
    let read = || {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        decode_json(text).map_err(|error| error.to_string())
    };
    let line = read().map_err(|reason| Unreadable {
        place: None,
        reason,
    })?;
    parse_operation(&line).map_err(|reason| {
        let fields = Fields(&line);
        let place = match (line["op_code"].as_u64(), fields.study(), fields.trial()) {
            (Some(4), Ok(study), _) => Some(Place::NewTrial(study)),
            (Some(_), Ok(study), _) => Some(Place::Study(study)),
            (Some(_), _, Ok(trial)) => Some(Place::Trial(trial)),
            _ => None,
        };
        Unreadable { place, reason }
    })
}

fn parse_operation(line: &Value) -> Result<Option<Operation>, String> {
    let fields = Fields(line);
    let code = line["op_code"].as_u64().ok_or("it has no op_code")?;
    Ok(Some(match code {
        0 => Operation::CreateStudy {
            name: fields.text("study_name")?.to_owned(),
            directions: fields
                .list("directions")?
                .iter()
                .map(|code| match code.as_u64() {
                    Some(2) => StudyDirection::Maximize,
                    _ => StudyDirection::Minimize,
                })
                .collect(),
        },
        1 => Operation::DeleteStudy {
            study: fields.study()?,
        },
        2 | 3 => {
            let scope = if code == 2 {
                AttrScope::User
            } else {
                AttrScope::System
            };
            let (key, value) = fields.attr(scope)?;
            Operation::StudyAttr {
                study: fields.study()?,
                scope,
                key,
                value,
            }
        }
        4 => Operation::CreateTrial {
            study: fields.study()?,
            trial: Box::new(fields.new_trial()?),
        },
        5 => Operation::UpdateTrial {
            trial: fields.trial()?,
            update: TrialUpdate::Param(Param {
                name: fields.text("param_name")?.into(),
                internal: fields.float("param_value_internal")?,
                distribution: Arc::new(
                    decode_distribution(fields.text("distribution")?)
                        .map_err(|error| error.to_string())?,
                ),
            }),
        },
        6 => match fields.state()? {
            TrialState::Running => Operation::ClaimTrial {
                trial: fields.trial()?,
                at: fields
                    .time("datetime_start")?
                    .ok_or("it has no datetime_start")?,
            },
            TrialState::Waiting => return Ok(None),
            state => Operation::UpdateTrial {
                trial: fields.trial()?,
                update: TrialUpdate::Finish {
                    state,
                    values: fields.values("values")?,
                    at: fields
                        .time("datetime_complete")?
                        .ok_or("it has no datetime_complete")?,
                },
            },
        },
        7 => Operation::UpdateTrial {
            trial: fields.trial()?,
            update: TrialUpdate::Intermediate {
                step: line["step"].as_u64().ok_or("its step is no number")?,
                value: fields.float("intermediate_value")?,
            },
        },
        8 | 9 => {
            let scope = if code == 8 {
                AttrScope::User
            } else {
                AttrScope::System
            };
            let (key, value) = fields.attr(scope)?;
            Operation::UpdateTrial {
                trial: fields.trial()?,
                update: TrialUpdate::Attr { scope, key, value },
            }
        }
        10 => return Ok(None),
        other => return Err(format!("operation {other} is unknown")),
    }))
}

/// The fields of a line, with errors that name what is missing.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.0[key]
            .as_str()
            .ok_or_else(|| format!("its {key} is no text"))
    }

    fn list(&self, key: &str) -> Result<&'a [Value], String> {
        self.0[key]
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| format!("its {key} is no list"))
    }

    fn float(&self, key: &str) -> Result<f64, String> {
        float_from_json(&self.0[key]).ok_or_else(|| format!("its {key} is no number"))
    }

    fn id(&self, key: &str) -> Result<i64, String> {
        self.0[key]
            .as_i64()
            .ok_or_else(|| format!("its {key} is no number"))
    }

    fn study(&self) -> Result<StudyId, String> {
        self.id("study_id").map(StudyId)
    }

    fn trial(&self) -> Result<TrialId, String> {
        self.id("trial_id").map(TrialId)
    }

    fn state(&self) -> Result<TrialState, String> {
        match self.0.get("state").map(Value::as_u64) {
            None | Some(Some(0)) => Ok(TrialState::Running),
            Some(Some(1)) => Ok(TrialState::Complete),
            Some(Some(2)) => Ok(TrialState::Pruned),
            Some(Some(3)) => Ok(TrialState::Fail),
            Some(Some(4)) => Ok(TrialState::Waiting),
            Some(_) => Err("its state is none".to_owned()),
        }
    }

    fn attr(&self, scope: AttrScope) -> Result<(String, Value), String> {
        let attr = self.0[scope_key(scope)]
            .as_object()
            .and_then(|attr| attr.iter().next());
        let (key, value) = attr.ok_or("it has no attribute")?;
        Ok((key.clone(), value.clone()))
    }

    fn time(&self, key: &str) -> Result<Option<DateTime<Utc>>, String> {
        match &self.0[key] {
            Value::Null => Ok(None),
            Value::String(text) => DateTime::parse_from_rfc3339(text)
                .map(|time| Some(time.to_utc()))
                .or_else(|_| codec::decode_time(text).map(Some))
                .map_err(|error| error.to_string()),
            _ => Err(format!("its {key} is no time")),
        }
    }

    fn values(&self, key: &str) -> Result<Vec<f64>, String> {
        match &self.0[key] {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => list
                .iter()
                .map(|value| {
                    float_from_json(value).ok_or_else(|| format!("its {key} are no numbers"))
                })
                .collect(),
            _ => Err(format!("its {key} are no list")),
        }
    }

    fn map(&self, key: &str) -> Map<String, Value> {
        self.0[key].as_object().cloned().unwrap_or_default()
    }

    fn new_trial(&self) -> Result<NewTrial, String> {
        let mut values = self.values("values")?;
        if values.is_empty() && !self.0["value"].is_null() {
            values.push(self.float("value")?);
        }
        let distributions = self.map("distributions");
        let mut parameters = Vec::new();
        for (name, internal) in self.map("params") {
            let text = distributions.get(&name).and_then(Value::as_str);
            let text = text.ok_or_else(|| format!("parameter {name} has no distribution"))?;
            parameters.push(Param {
                name: name.into(),
                internal: float_from_json(&internal).ok_or("a parameter is no number")?,
                distribution: Arc::new(
                    decode_distribution(text).map_err(|error| error.to_string())?,
                ),
            });
        }
        let mut intermediate_values = Vec::new();
        for (step, value) in self.map("intermediate_values") {
            let step = step
                .parse()
                .map_err(|_| format!("the step {step} is no number"))?;
            let value = float_from_json(&value).ok_or("a report is no number")?;
            intermediate_values.push((step, value));
        }
        Ok(NewTrial {
            state: self.state()?,
            values,
            parameters,
            intermediate_values,
            user_attrs: self.map("user_attrs"),
            system_attrs: self.map("system_attrs"),
            datetime_start: self.time("datetime_start")?,
            datetime_complete: self.time("datetime_complete")?,
            heartbeat: None,
        })
    }
}

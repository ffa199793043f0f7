//! The difference between what is applied and what is declared.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::definition::{Definitions, ObjectKind};

/// What applying definitions does, or did.
///
/// Printed, it is one line an object and one line a changed setting:
///
/// ```text
/// + feature view "ohlcv"
/// ~ feature service "daily_bitcoin_v1"
///     views: [{"view":"ohlcv"}] -> [{"view":"ohlcv"},{"view":"blockchain"}]
/// - entity "driver"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The changes, by kind and name.
    pub changes: Vec<Change>,
    /// What to know besides, as that a source has no files yet.
    pub notes: Vec<String>,
}

/// The change of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The settings that change, if it stays.
    pub fields: Vec<FieldChange>,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It comes into being.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
}

/// The change of one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FieldChange {
    /// The setting.
    pub field: String,
    /// Its value before; null if it was not set.
    pub before: Value,
    /// Its value after; null if it is no longer set.
    pub after: Value,
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn between(old: &Definitions, new: &Definitions) -> Self {
        let mut changes = Vec::new();
        compare(
            &mut changes,
            ObjectKind::Entity,
            &old.entities,
            &new.entities,
        );
        compare(&mut changes, ObjectKind::Source, &old.sources, &new.sources);
        compare(
            &mut changes,
            ObjectKind::FeatureView,
            &old.feature_views,
            &new.feature_views,
        );
        compare(
            &mut changes,
            ObjectKind::OnDemandFeatureView,
            &old.on_demand_feature_views,
            &new.on_demand_feature_views,
        );
        compare(
            &mut changes,
            ObjectKind::FeatureService,
            &old.feature_services,
            &new.feature_services,
        );
        Self {
            changes,
            notes: Vec::new(),
        }
    }
}

fn compare<T: PartialEq + Serialize>(
    changes: &mut Vec<Change>,
    kind: ObjectKind,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (action, fields) = match (old.get(name), new.get(name)) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(before), Some(after)) => (Action::Update, field_changes(before, after)),
            (None, _) => (Action::Create, Vec::new()),
            (_, None) => (Action::Delete, Vec::new()),
        };
        changes.push(Change {
            action,
            kind,
            name: name.clone(),
            fields,
        });
    }
}

fn field_changes<T: Serialize>(before: &T, after: &T) -> Vec<FieldChange> {
    let object = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        other => unreachable!("a definition is a table, not {other:?}"),
    };
    let (before, after) = (object(before), object(after));
    let mut fields: Vec<&String> = before.keys().collect();
    fields.extend(after.keys().filter(|key| !before.contains_key(*key)));
    fields
        .into_iter()
        .map(|field| FieldChange {
            field: field.clone(),
            before: before.get(field).cloned().unwrap_or_default(),
            after: after.get(field).cloned().unwrap_or_default(),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "nothing changes")?;
        }
        for change in &self.changes {
            let sign = match change.action {
                Action::Create => '+',
                Action::Update => '~',
                Action::Delete => '-',
            };
            writeln!(f, "{sign} {} {:?}", change.kind, change.name)?;
            for field in &change.fields {
                writeln!(
                    f,
                    "    {}: {} -> {}",
                    field.field, field.before, field.after
                )?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

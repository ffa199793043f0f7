//! Pushed rows into the online store.

use arrow::array::Array as _;

use super::materialize::Rows;
use super::sqlite::{NewRow, OnlineDatabase};
use super::value::{from_column, to_text};
use super::windows::{Complete, NewWindowRows, new_window_rows, value_at};
use crate::blocking::blocking;
use crate::definition::FeatureView;
use crate::error::{Error, Result};
use crate::push::PushedRows;
use crate::retrieve::WindowRows;
use crate::store::FeatureStore;

impl FeatureStore {
    /// Writes pushed rows to the online store; returns the number of keys. They
    /// may be in the files of the source already.
    pub(crate) async fn push_online(
        &self,
        view: &FeatureView,
        pushed: PushedRows,
        in_files: bool,
        now: i64,
    ) -> Result<usize> {
        let newest = pushed.times.values().iter().copied().max();
        let before = self.windows_before(view, newest.unwrap_or(now)).await?;
        let definitions = self.registry().definitions.clone();
        let (path, project) = (self.online_path(), self.config().project.clone());
        let view = view.clone();
        let source = definitions.source(&view.source)?;
        let versions = source.created_timestamp_column.is_some();
        blocking(move || {
            let place = "the pushed rows";
            let mut keys = Vec::new();
            for (entity, column) in definitions.join_keys(&view)?.into_iter().zip(&pushed.keys) {
                let value_type = super::materialize::key_type(entity, column.data_type());
                let values = from_column(column, value_type);
                let values = values.map_err(|unfit| unfit.at(place, &entity.join_key))?;
                keys.push((entity.join_key.clone(), values));
            }
            let mut features = Vec::new();
            for (feature, column) in view.plain_features().zip(&pushed.features) {
                let values = from_column(column, feature.value_type);
                let values = values.map_err(|unfit| unfit.at(place, &feature.name))?;
                features.push((feature.name.clone(), values));
            }
            let created = |row: usize| {
                let created = pushed.created.as_ref()?;
                created.is_valid(row).then(|| created.value(row))
            };
            let count = pushed.len();
            // As in a join: the newest event time counts, then the newest
            // created time, then the last row.
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by_key(|row| (pushed.times.value(*row), created(*row)));
            let windows = match &before {
                Before::NoWindows => None,
                // The rows came with the files.
                Before::Read if in_files => None,
                Before::Read | Before::Kept | Before::NoFiles(_) => {
                    let rows = WindowRows {
                        keys: pushed.keys.clone(),
                        times: pushed.times.values().to_vec(),
                        created: (0..count).map(created).collect(),
                        inputs: pushed.inputs.clone(),
                        _memory: None,
                    };
                    Some(NewWindowRows {
                        rows: new_window_rows(&definitions, &view, &rows)?,
                        versions,
                        complete: match before {
                            Before::NoFiles(complete) => Some(complete),
                            _ => None,
                        },
                    })
                }
            };
            let rows = Rows {
                keys,
                features,
                event_times: pushed.times,
                created: pushed.created,
            };
            let rows = order
                .into_iter()
                .map(|row| rows.row(row))
                .collect::<Result<Vec<NewRow>>>()?;
            let mut latest = std::collections::BTreeMap::new();
            for row in &rows {
                latest.insert(row.key.clone(), (row.event_time, row.created));
            }
            let mut database = OnlineDatabase::open(&path, &project)?;
            database.write(&view.name, rows.into_iter().map(Ok), None, windows.as_ref())?;
            if let Some(longest) = view.longest_window()
                && let Some(state) = database.window_state(&view.name)?
            {
                // What Feast reads: the aggregates as of now.
                let instant = now.max(state.until);
                let mut rows = Vec::with_capacity(latest.len());
                for (key, (event_time, created)) in &latest {
                    let between = (instant.saturating_sub(longest), instant);
                    let kept = database.window_rows(&view.name, key, between)?;
                    let mut values = Vec::new();
                    for (field, aggregate) in view.aggregates() {
                        let value = value_at(field, aggregate, &kept, state, instant)?;
                        values.extend(value.map(|value| {
                            let text = to_text(&value);
                            (field.name.clone(), value, text)
                        }));
                    }
                    rows.push(Ok(NewRow {
                        key: key.clone(),
                        values,
                        event_time: *event_time,
                        created: *created,
                    }));
                }
                database.write(&view.name, rows, None, None)?;
            }
            Ok(latest.len())
        })
        .await
    }

    /// Sees to it that the rows before those which are pushed are in the windows
    /// of a view, up to an instant.
    async fn windows_before(&self, view: &FeatureView, until: i64) -> Result<Before> {
        if view.longest_window().is_none() {
            return Ok(Before::NoWindows);
        }
        let (path, project) = (self.online_path(), self.config().project.clone());
        let name = view.name.clone();
        let known = blocking(
            move || match OnlineDatabase::open_existing(&path, &project)? {
                Some(database) => database.window_state(&name),
                None => Ok(None),
            },
        )
        .await?;
        if known.is_some() {
            return Ok(Before::Kept);
        }
        let end = chrono::DateTime::from_timestamp_nanos(until);
        match self.materialize_view(view, None, end).await {
            Ok(_) => Ok(Before::Read),
            Err(Error::SourceMissing { .. }) => Ok(Before::NoFiles(Complete {
                after: i64::MIN,
                until,
                seen: 0,
            })),
            Err(error) => Err(error),
        }
    }
}

/// What windows hold before rows are pushed.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// The view has none.
    NoWindows,
    /// What was kept before.
    Kept,
    /// What the files hold: it was read just now.
    Read,
    /// Nothing: the source has no files, so that the pushed rows are all.
    NoFiles(Complete),
}

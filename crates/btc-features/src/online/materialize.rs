//! Writing the newest values of a period to the online store.

use std::ops::RangeInclusive;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use serde::Serialize;

use super::key;
use super::proto::Value;
use super::sqlite::{NewRow, OnlineDatabase};
use super::value::{from_column, to_text};
use super::windows::{Complete, NewWindowRows, new_window_rows};
use crate::blocking::blocking;
use crate::definition::{Definitions, Entity, FeatureView, ValueType};
use crate::error::{Error, Result};
use crate::retrieve::nanos;
use crate::retrieve::window_rows;
use crate::store::FeatureStore;

/// What materializing one view did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MaterializeReport {
    /// The view.
    pub view: String,
    /// The number of keys whose values were written.
    pub keys: usize,
    /// The period that was looked at.
    pub start: Option<DateTime<Utc>>,
    /// The end of that period, included.
    pub end: DateTime<Utc>,
    /// Why nothing was written, if nothing was.
    pub skipped: Option<String>,
}

impl FeatureStore {
    /// Writes, for every key, the newest values of a period (both ends
    /// included) to the online store: of the named views, or of all. Values
    /// that are newer already stay.
    ///
    /// Of a view with windowed aggregates the rows that windows hold are kept as
    /// well: all of the longest window up to the end of the period, also those
    /// that came late. A request then gets the value of its own instant.
    ///
    /// Each view is written in one transaction.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] for a view that is not applied,
    /// [`Error::SourceMissing`] or the errors of reading for one whose files
    /// cannot be read, [`Error::OnlineStore`] if the database refuses.
    pub async fn materialize(
        &self,
        views: &[&str],
        period: RangeInclusive<DateTime<Utc>>,
    ) -> Result<Vec<MaterializeReport>> {
        let mut reports = Vec::new();
        for view in self.chosen(views)? {
            let (start, end) = (*period.start(), *period.end());
            reports.push(self.materialize_view(view, Some(start), end).await?);
        }
        Ok(reports)
    }

    /// The same up to `end`, from where each view was last materialized. A
    /// view that never was starts at `end` less its time to live, or with its
    /// first row.
    ///
    /// # Errors
    ///
    /// As [`Self::materialize`].
    pub async fn materialize_incremental(
        &self,
        views: &[&str],
        end: DateTime<Utc>,
    ) -> Result<Vec<MaterializeReport>> {
        let mut reports = Vec::new();
        for view in self.chosen(views)? {
            let (path, project) = (self.online_path(), self.config().project.clone());
            let name = view.name.clone();
            let known = blocking(
                move || match OnlineDatabase::open_existing(&path, &project)? {
                    Some(database) => database.progress(&name),
                    None => Ok(None),
                },
            )
            .await?;
            let start = match known {
                Some((_, last)) => Some(DateTime::from_timestamp_nanos(last)),
                None => view
                    .ttl
                    .and_then(|ttl| end.checked_sub_signed(chrono::TimeDelta::from_std(ttl).ok()?)),
            };
            reports.push(self.materialize_view(view, start, end).await?);
        }
        Ok(reports)
    }

    fn chosen(&self, views: &[&str]) -> Result<Vec<&FeatureView>> {
        let definitions = &self.registry().definitions;
        if views.is_empty() {
            return Ok(definitions.feature_views.values().collect());
        }
        views
            .iter()
            .map(|view| definitions.feature_view(view))
            .collect()
    }

    pub(super) async fn materialize_view(
        &self,
        view: &FeatureView,
        start: Option<DateTime<Utc>>,
        end: DateTime<Utc>,
    ) -> Result<MaterializeReport> {
        let mut report = MaterializeReport {
            view: view.name.clone(),
            keys: 0,
            start,
            end,
            skipped: None,
        };
        if !view.online {
            report.skipped = Some("the view is not for the online store (online = false)".into());
            return Ok(report);
        }
        if start.is_some_and(|start| start > end) {
            report.skipped = Some("it is materialized beyond that time already".into());
            return Ok(report);
        }
        let from = start.as_ref().map_or(Ok(i64::MIN + 1), nanos)?;
        let period = (from, nanos(&end)?);
        let windows = self.windows_until(view, period.1).await?;
        let newest = self.newest(view, period).await?;
        let rows = Rows::new(&self.registry().definitions, view, newest)?;
        let (path, project) = (self.online_path(), self.config().project.clone());
        let name = view.name.clone();
        report.keys = blocking(move || {
            let mut database = OnlineDatabase::open(&path, &project)?;
            let rows = (0..rows.len()).map(|row| rows.row(row));
            database.write(&name, rows, Some(period), windows.as_ref())
        })
        .await?;
        Ok(report)
    }

    /// All rows that windows of a view hold which end at an instant or later:
    /// those of before are read again, for some may have come late.
    async fn windows_until(&self, view: &FeatureView, until: i64) -> Result<Option<NewWindowRows>> {
        let Some(longest) = view.longest_window() else {
            return Ok(None);
        };
        let after = until.saturating_sub(longest);
        let (path, project) = (self.online_path(), self.config().project.clone());
        let name = view.name.clone();
        let state = blocking(
            move || match OnlineDatabase::open_existing(&path, &project)? {
                Some(database) => database.window_state(&name),
                None => Ok(None),
            },
        )
        .await?;
        let definitions = &self.registry().definitions;
        let rows = window_rows(
            self.context(),
            definitions,
            self.repo_dir(),
            self.tables(),
            view,
            (after, until),
        )
        .await?;
        let source = definitions.source(&view.source)?;
        Ok(Some(NewWindowRows {
            rows: new_window_rows(definitions, view, &rows)?,
            versions: source.created_timestamp_column.is_some(),
            complete: Some(Complete {
                after,
                until,
                seen: state.map_or(0, |state| state.writes),
            }),
        }))
    }
}

/// The rows to be written of a view.
pub(super) struct Rows {
    pub(super) keys: Vec<(String, Vec<Value>)>,
    pub(super) features: Vec<(String, Vec<Value>)>,
    pub(super) event_times: arrow::array::Int64Array,
    pub(super) created: Option<arrow::array::Int64Array>,
}

/// The type of a key: as it is declared, or as its column says.
pub(super) fn key_type(entity: &Entity, column: &DataType) -> ValueType {
    entity
        .value_type
        .or_else(|| ValueType::from_data_type(column))
        .unwrap_or(ValueType::String)
}

impl Rows {
    /// Takes apart a batch with the columns of keys, features, the event time
    /// and, if the source has one, the created time; times in nanoseconds.
    fn new(definitions: &Definitions, view: &FeatureView, batch: RecordBatch) -> Result<Self> {
        let entities = definitions.join_keys(view)?;
        let mut columns = batch.columns().iter();
        let missing = || {
            Error::from(DataFusionError::Internal(
                "the newest rows lack a column".into(),
            ))
        };
        let place = format!("the newest rows of feature view {:?}", view.name);
        let mut keys = Vec::new();
        for entity in entities {
            let column = columns.next().ok_or_else(missing)?;
            keys.push((
                entity.join_key.clone(),
                from_column(column, key_type(entity, column.data_type()))
                    .map_err(|unfit| unfit.at(&place, &entity.join_key))?,
            ));
        }
        let mut features = Vec::new();
        for feature in &view.features {
            let column = columns.next().ok_or_else(missing)?;
            features.push((
                feature.name.clone(),
                from_column(column, feature.value_type)
                    .map_err(|unfit| unfit.at(&place, &feature.name))?,
            ));
        }
        let event_times = columns
            .next()
            .ok_or_else(missing)?
            .as_primitive::<Int64Type>()
            .clone();
        let created = columns
            .next()
            .map(|column| column.as_primitive::<Int64Type>().clone());
        Ok(Self {
            keys,
            features,
            event_times,
            created,
        })
    }

    fn len(&self) -> usize {
        self.event_times.len()
    }

    pub(super) fn row(&self, row: usize) -> Result<NewRow> {
        let keys = self
            .keys
            .iter()
            .filter_map(|(name, values)| Some((name.as_str(), values[row].val.clone()?)))
            .collect::<Vec<_>>();
        let seconds = |nanos: i64| nanos.div_euclid(1_000_000_000);
        Ok(NewRow {
            key: key::encode(&keys)?,
            values: self
                .features
                .iter()
                .map(|(name, values)| (name.clone(), values[row].clone(), to_text(&values[row])))
                .collect(),
            event_time: self.event_times.value(row),
            created: self
                .created
                .as_ref()
                .filter(|created| created.is_valid(row))
                .map(|created| seconds(created.value(row))),
        })
    }
}

//! Pushed rows, checked against a view and its source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
#[cfg(feature = "sqlite")]
use serde_json::Value as Json;

use crate::cast::{Unfit, cast_exact};
#[cfg(feature = "sqlite")]
use crate::definition::ValueType;
use crate::definition::{Definitions, FeatureView, FileSource};
use crate::error::{Error, Result};
use crate::join::source::{Input, SourceTable, Tables};
use crate::join::time::{beyond_nanos, to_nanos};
use crate::retrieve::{check_type, feature_columns, key_type};

/// What errors call the rows.
const PLACE: &str = "the pushed rows";

/// Rows that fit a view.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "the online store alone asks for it")
)]
pub(crate) struct PushedRows {
    /// As the files of the source have them.
    pub(crate) stored: RecordBatch,
    /// The keys, as their entities declare them.
    pub(crate) keys: Vec<ArrayRef>,
    /// Event times in nanoseconds, all there.
    pub(crate) times: Int64Array,
    /// When they were written, if the source says so.
    pub(crate) created: Option<Int64Array>,
    /// The features that are columns, in the order of the view.
    pub(crate) features: Vec<ArrayRef>,
    /// For each aggregate, in the order of the view, its input column.
    pub(crate) inputs: Vec<ArrayRef>,
}

impl PushedRows {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Checks rows against a view and the files that its source has; `now` is
    /// when they are written.
    pub(crate) fn new(
        definitions: &Definitions,
        view: &FeatureView,
        repo_dir: &Path,
        tables: &Tables,
        rows: RecordBatch,
        now: i64,
    ) -> Result<Self> {
        let source = definitions.source(&view.source)?;
        let present = present(source, repo_dir, tables)?;
        let rows = with_created(rows, source, now)?;
        let known = known_columns(definitions, source, present.as_ref())?;
        let object = format!("feature view {:?}", view.name);
        let names = rows.schema();
        let mut seen = BTreeSet::new();
        for field in names.fields() {
            if !known.contains(field.name()) {
                let error =
                    Error::unknown("column", field.name(), known.iter().map(String::as_str));
                return Err(Error::mismatch(
                    &object,
                    format!("in {PLACE}, {error}; leave it out"),
                ));
            }
            if !seen.insert(field.name()) {
                return Err(Error::mismatch(
                    &object,
                    format!("{PLACE} have two columns {:?}; leave one out", field.name()),
                ));
            }
        }
        // From here on the rows are looked at as a table of the source would be.
        let table = Arc::new(SourceTable::of_rows(source.clone(), rows.schema(), PLACE));
        let input = Input::Table(Arc::clone(&table));
        let entities = definitions.join_keys(view)?;
        let key_names: Vec<String> = entities
            .iter()
            .map(|entity| source.column_of(&entity.join_key).to_owned())
            .collect();
        input.check(&key_names)?;
        let typed = present.as_ref().unwrap_or(&input);
        let mut keys = Vec::with_capacity(entities.len());
        for (entity, name) in entities.iter().zip(&key_names) {
            let value_type = key_type(typed, entity, name);
            check_type(&object, name, value_type, name, &input)?;
            let column = column(&rows, name)?;
            let key = cast_exact(column, &value_type.data_type())
                .map_err(|unfit| unfit.at(PLACE, name))?;
            refuse_nulls(&key, name, "a key")?;
            keys.push(key);
        }
        let key_rows = table.keys(&rows, &key_names, 0)?;
        let time_column = column(&rows, &source.timestamp_field)?;
        refuse_nulls(time_column, &source.timestamp_field, "an event time")?;
        let times = key_rows.times;
        if let Some(row) = beyond_nanos(&times) {
            let why = "is outside the years 1677 to 2262";
            return Err(Unfit::new(time_column, row, why).at(PLACE, &source.timestamp_field));
        }
        let of = |names: Vec<String>| {
            let columns = feature_columns(view, &names, &input)?;
            let inputs: Vec<_> = columns.iter().map(|column| column.window_input()).collect();
            table.features(&rows, &inputs)
        };
        for feature in view.plain_features() {
            column(&rows, source.column_of(&feature.name))?;
        }
        for (_, aggregate) in view.aggregates() {
            if let Some(name) = &aggregate.column {
                column(&rows, source.column_of(name))?;
            }
        }
        let features = of(view.plain_features().map(|f| f.name.clone()).collect())?;
        let inputs = of(view.aggregates().map(|(f, _)| f.name.clone()).collect())?;
        let mut types: BTreeMap<&str, DataType> = BTreeMap::new();
        for (name, key) in key_names.iter().zip(&keys) {
            types.insert(name, key.data_type().clone());
        }
        for (feature, column) in view.plain_features().zip(&features) {
            types.insert(source.column_of(&feature.name), column.data_type().clone());
        }
        let stored = stored(&rows, source, present.as_ref(), &types)?;
        Ok(Self {
            stored,
            keys,
            times,
            created: key_rows.created,
            features,
            inputs,
        })
    }
}

/// The files of a source, if it has any.
fn present(source: &FileSource, repo_dir: &Path, tables: &Tables) -> Result<Option<Input>> {
    match Input::open(source, repo_dir, tables) {
        Ok(input) => Ok(Some(input)),
        Err(Error::SourceMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The columns that rows of a source may have: those of its files, and those
/// that definitions name.
fn known_columns(
    definitions: &Definitions,
    source: &FileSource,
    present: Option<&Input>,
) -> Result<BTreeSet<String>> {
    let mut known: BTreeSet<String> = source.created_timestamp_column.iter().cloned().collect();
    known.insert(source.timestamp_field.clone());
    if let Some(input) = present {
        known.extend(input.schema().fields().iter().map(|f| f.name().clone()));
    }
    let views = definitions.feature_views.values();
    for view in views.filter(|view| view.source == source.name) {
        for entity in definitions.join_keys(view)? {
            known.insert(source.column_of(&entity.join_key).to_owned());
        }
        for feature in view.plain_features() {
            known.insert(source.column_of(&feature.name).to_owned());
        }
        for (_, aggregate) in view.aggregates() {
            let column = aggregate.column.as_ref();
            known.extend(column.map(|column| source.column_of(column).to_owned()));
        }
    }
    Ok(known)
}

/// The rows with a time of writing, if the source has one and they do not.
fn with_created(rows: RecordBatch, source: &FileSource, now: i64) -> Result<RecordBatch> {
    let Some(name) = &source.created_timestamp_column else {
        return Ok(rows);
    };
    if rows.schema().column_with_name(name).is_some() {
        return Ok(rows);
    }
    let created = TimestampNanosecondArray::from(vec![now; rows.num_rows()]).with_timezone("UTC");
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(
        name,
        created.data_type().clone(),
        true,
    )));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(created));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| {
        Error::mismatch(
            PLACE,
            format!("they have no column {name:?}; bring it along"),
        )
    })
}

fn refuse_nulls(column: &ArrayRef, name: &str, what: &str) -> Result<()> {
    match (0..column.len()).find(|row| column.is_null(*row)) {
        None => Ok(()),
        Some(row) => Err(Unfit {
            row,
            reason: format!("it is null, and a row needs {what}"),
        }
        .at(PLACE, name)),
    }
}

/// The rows with the columns and types of the source's files; without files,
/// with the types that are declared.
fn stored(
    rows: &RecordBatch,
    source: &FileSource,
    present: Option<&Input>,
    declared: &BTreeMap<&str, DataType>,
) -> Result<RecordBatch> {
    let instants = [
        Some(&source.timestamp_field),
        source.created_timestamp_column.as_ref(),
    ];
    let is_instant = |name: &str| instants.iter().flatten().any(|known| *known == name);
    let schema: Vec<(String, DataType)> = match present {
        Some(input) => input
            .schema()
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .chain(
                // A column that definitions name and the first file has not.
                rows.schema()
                    .fields()
                    .iter()
                    .filter(|field| input.schema().column_with_name(field.name()).is_none())
                    .map(|field| (field.name().clone(), field.data_type().clone())),
            )
            .collect(),
        None => rows
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let own = field.data_type();
                let data_type = match declared.get(field.name().as_str()) {
                    Some(declared) => declared.clone(),
                    None if is_instant(field.name()) => crate::join::time::utc_type(own),
                    None => own.clone(),
                };
                (field.name().clone(), data_type)
            })
            .collect(),
    };
    let mut fields = Vec::with_capacity(schema.len());
    let mut columns = Vec::with_capacity(schema.len());
    for (name, data_type) in schema {
        let column = match rows.column_by_name(&name) {
            None => new_null_array(&data_type, rows.num_rows()),
            Some(column) if column.data_type() == &data_type => Arc::clone(column),
            Some(column) => in_type(column, &data_type).map_err(|unfit| unfit.at(PLACE, &name))?,
        };
        fields.push(ArrowField::new(name, data_type, true));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Brings a column to a type; an instant that the type would round is refused.
fn in_type(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Unfit> {
    if !matches!(data_type, DataType::Timestamp(..)) {
        return cast_exact(column, data_type);
    }
    let nanos = to_nanos(column)?;
    let instants: ArrayRef = Arc::new(
        nanos
            .reinterpret_cast::<arrow::datatypes::TimestampNanosecondType>()
            .with_timezone("UTC"),
    );
    let stored = cast_exact(&instants, data_type)?;
    let back = to_nanos(&stored)?;
    match (0..nanos.len()).find(|row| nanos.is_valid(*row) && nanos.value(*row) != back.value(*row))
    {
        None => Ok(stored),
        Some(row) => Err(Unfit::new(
            column,
            row,
            &format!("is no {data_type}, which is what the files hold"),
        )),
    }
}

#[cfg(feature = "sqlite")]
/// Reads rows from JSON, by the types of the source's files or, where those
/// have none, of the definitions.
pub(crate) fn from_json(
    definitions: &Definitions,
    view: &str,
    repo_dir: &Path,
    tables: &Tables,
    columns: &serde_json::Map<String, Json>,
) -> Result<RecordBatch> {
    let view = definitions.feature_view(view)?;
    let source = definitions.source(&view.source)?;
    let present = present(source, repo_dir, tables)?;
    let mut declared: BTreeMap<String, ValueType> = BTreeMap::new();
    for (feature, aggregate) in view.aggregates() {
        if let (Some(column), Some(values)) =
            (&aggregate.column, aggregate.values(feature.value_type))
        {
            declared.insert(source.column_of(column).to_owned(), values);
        }
    }
    for feature in view.plain_features() {
        let column = source.column_of(&feature.name).to_owned();
        declared.insert(column, feature.value_type);
    }
    for entity in definitions.join_keys(view)? {
        let column = source.column_of(&entity.join_key).to_owned();
        declared.extend(entity.value_type.map(|value_type| (column, value_type)));
    }
    let instants = [
        Some(&source.timestamp_field),
        source.created_timestamp_column.as_ref(),
    ];
    for column in instants.into_iter().flatten() {
        declared.insert(column.clone(), ValueType::UnixTimestamp);
    }
    let known = known_columns(definitions, source, present.as_ref())?;
    let mut rows = None;
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, values) in columns {
        let Json::Array(values) = values else {
            return Err(Error::InvalidRequest(format!(
                "column {name:?} of {PLACE} is no list of values"
            )));
        };
        if *rows.get_or_insert(values.len()) != values.len() {
            return Err(Error::InvalidRequest(format!(
                "the columns of {PLACE} differ in length; give as many values of each"
            )));
        }
        let of_file = present
            .as_ref()
            .and_then(|input| ValueType::from_data_type(input.column_type(name)?));
        let Some(value_type) = declared.get(name).copied().or(of_file) else {
            let error = Error::unknown("column", name, known.iter().map(String::as_str));
            return Err(Error::mismatch(
                format!("feature view {:?}", view.name),
                format!("in {PLACE}, {error}; leave it out"),
            ));
        };
        let column = crate::online::json_column(name, values, value_type)?;
        fields.push(ArrowField::new(name, column.data_type().clone(), true));
        arrays.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

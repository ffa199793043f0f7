//! The search of runs, as SQL whose every value is bound.

use std::fmt::Write;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::json;

use super::{SqliteStore, runs};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Clause, Comparator, Filter, Key, Literal, OrderBy, Subject};
use crate::store::*;

/// SQL text and the values of its placeholders.
#[derive(Debug, Clone, Default)]
struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let _ = write!(self.text, "?{}", self.values.len());
        self
    }
}

/// One key of the ordering in SQL.
#[derive(Debug, Clone)]
struct Term {
    /// 0 for values, 1 for NaN, 2 for missing; none if it is always 0.
    rank: Option<String>,
    value: String,
    descending: bool,
}

/// Where a page ended: rank and value of each term, and the run id.
type Position = (Vec<(i64, Value)>, String);

impl SqliteStore {
    pub(super) fn page_runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        check_max_results(query.max_results)?;
        let filter = Filter::parse(Subject::Run, &query.filter)?;
        let order = run_order(&query.order_by)?;
        let after = query
            .page_token
            .as_deref()
            .map(|t| position(t, order.len()))
            .transpose()?;
        // Ids that are no numbers name no experiment, so nothing is in them.
        let experiments: Vec<i64> = query
            .experiment_ids
            .iter()
            .filter_map(|id| id.parse().ok())
            .collect();
        if experiments.is_empty() {
            return Ok(Page::default());
        }
        self.read(|connection| {
            let search = Search {
                connection,
                filter: &filter,
                order: &order,
                query,
                experiments,
            };
            search.page(after)
        })
    }
}

struct Search<'a> {
    connection: &'a Connection,
    filter: &'a Filter,
    order: &'a [OrderBy],
    query: &'a RunQuery,
    experiments: Vec<i64>,
}

/// What the query starts from.
#[derive(Clone, Copy, PartialEq)]
enum Segment {
    /// All runs, sorted.
    All,
    /// Runs with a value of the first key, in the order of its index.
    Indexed(i64),
    /// The runs that `Indexed` leaves out.
    Rest,
}

type Row = ((i64, RunInfo), Vec<(i64, Value)>);

impl Search<'_> {
    fn page(&self, after: Option<Position>) -> Result<Page<Run>> {
        let wanted = self.query.max_results + 1;
        let mut rows = Vec::new();
        match self.indexed_key()? {
            None => rows = self.rows(Segment::All, after.as_ref(), wanted)?,
            Some(key) => {
                // A page that ended among NaN or missing values is past the index.
                let past = after.as_ref().is_some_and(|(terms, _)| terms[0].0 > 0);
                if !past {
                    rows = self.rows(Segment::Indexed(key), after.as_ref(), wanted)?;
                }
                if rows.len() < wanted {
                    let after = after.as_ref().filter(|_| past);
                    let wanted = wanted - rows.len();
                    rows.extend(self.rows(Segment::Rest, after, wanted)?);
                }
            }
        }
        let more = rows.len() > self.query.max_results;
        rows.truncate(self.query.max_results);
        let next_page_token = match rows.last() {
            Some(((_, info), terms)) if more => Some(token(terms, &info.run_id)),
            _ => None,
        };
        let runs = rows.into_iter().map(|(run, _)| run).collect();
        let items = super::complete::complete_all(self.connection, runs)?;
        Ok(Page {
            items,
            next_page_token,
        })
    }

    /// The metric whose index gives the order, if the first key is a metric
    /// and there is one experiment.
    fn indexed_key(&self) -> Result<Option<i64>> {
        match (&self.order[0].key, self.experiments.as_slice()) {
            (Key::Metric(name), [_]) => metric_key(self.connection, name),
            _ => Ok(None),
        }
    }

    fn rows(&self, segment: Segment, after: Option<&Position>, limit: usize) -> Result<Vec<Row>> {
        let mut sql = Sql::default();
        let mut joins = Sql::default();
        let terms = self.terms(segment, &mut joins)?;
        sql.values = joins.values;
        sql.push("SELECT ").push(runs::COLUMNS);
        for term in &terms {
            sql.push(", ")
                .push(term.rank.as_deref().unwrap_or("0"))
                .push(", ")
                .push(&term.value);
        }
        sql.push(" FROM ").push(&joins.text).push(" WHERE ");
        match self.experiments.as_slice() {
            [experiment] => sql.push("r.experiment = ").bind(*experiment),
            experiments => {
                // One bound text keeps the number of placeholders small.
                sql.push("r.experiment IN (SELECT value FROM json_each(")
                    .bind(json!(experiments).to_string())
                    .push("))")
            }
        };
        match self.query.view {
            ViewType::ActiveOnly => sql.push(" AND r.deleted = 0"),
            ViewType::DeletedOnly => sql.push(" AND r.deleted = 1"),
            ViewType::All => &mut sql,
        };
        match segment {
            Segment::All => {}
            Segment::Indexed(key) => {
                sql.push(" AND o0.key = ").bind(key);
                sql.push(" AND o0.experiment = ").bind(self.experiments[0]);
                sql.push(" AND o0.value > -9e999");
                if let Some((values, _)) = after {
                    // Lets the index be entered where the last page ended.
                    let edge = if terms[0].descending {
                        " AND o0.value <= "
                    } else {
                        " AND o0.value >= "
                    };
                    sql.push(edge).bind(values[0].1.clone());
                }
            }
            Segment::Rest => {
                sql.push(" AND (o0.value IS NULL OR o0.value = -9e999)");
            }
        }
        for clause in &self.filter.clauses {
            sql.push(" AND ");
            self.clause(&mut sql, clause)?;
        }
        if let Some((values, run_id)) = after {
            sql.push(" AND ");
            after_position(&mut sql, &terms, values, run_id);
        }
        sql.push(" ORDER BY ");
        for term in &terms {
            if let Some(rank) = &term.rank {
                sql.push(rank).push(", ");
            }
            sql.push(&term.value)
                .push(if term.descending { " DESC, " } else { ", " });
        }
        sql.push("r.uuid LIMIT ").bind(limit as i64);

        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let rows = statement.query_map(params_from_iter(sql.values), |row| {
            let values = (0..terms.len())
                .map(|i| Ok((row.get(10 + 2 * i)?, row.get(11 + 2 * i)?)))
                .collect::<rusqlite::Result<_>>()?;
            Ok((runs::from_row(row)?, values))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The ordering, and the tables it needs.
    fn terms(&self, segment: Segment, joins: &mut Sql) -> Result<Vec<Term>> {
        // CROSS JOIN keeps SQLite from turning the order of the tables round.
        joins.push(match segment {
            Segment::Indexed(_) => "latest_metric o0 CROSS JOIN run r ON r.id = o0.run",
            _ => "run r",
        });
        let mut terms = Vec::new();
        for (i, order) in self.order.iter().enumerate() {
            let mut term = Term {
                rank: None,
                value: format!("o{i}.value"),
                descending: order.descending,
            };
            let mut join = |table: &str| {
                let on = format!(" LEFT JOIN {table} o{i} ON o{i}.run = r.id AND o{i}.key = ");
                joins.push(&on);
            };
            match &order.key {
                Key::Metric(_) if i == 0 && matches!(segment, Segment::Indexed(_)) => {}
                Key::Metric(name) => {
                    join("latest_metric");
                    joins.bind(metric_key(self.connection, name)?.unwrap_or(-1));
                    term.rank = Some(format!(
                        "CASE WHEN o{i}.value IS NULL THEN 2 WHEN o{i}.value = -9e999 THEN 1 ELSE 0 END"
                    ));
                }
                Key::Param(name) => {
                    join("param");
                    joins.bind(name.clone());
                    term.rank = Some(format!("2 * (o{i}.value IS NULL)"));
                }
                Key::Tag(name) => {
                    join("tag");
                    joins.bind(name.clone());
                    term.rank = Some(format!("2 * (o{i}.value IS NULL)"));
                }
                Key::Attribute(name) => {
                    column(name).clone_into(&mut term.value);
                    if *name == "end_time" {
                        term.rank = Some("2 * (r.end_time IS NULL)".into());
                    }
                }
                Key::Dataset(_) => return Err(Error::invalid("cannot order by a data set")),
            }
            terms.push(term);
        }
        Ok(terms)
    }

    fn clause(&self, sql: &mut Sql, clause: &Clause) -> Result<()> {
        match &clause.key {
            Key::Attribute(name) => {
                compare(sql, column(name), clause);
            }
            Key::Dataset(name) => {
                sql.push("EXISTS(SELECT 1 FROM run_dataset d WHERE d.run = r.id AND ");
                compare(sql, &format!("d.{name}"), clause);
                sql.push(")");
            }
            Key::Metric(name) => {
                let Some(key) = metric_key(self.connection, name)? else {
                    sql.push("0");
                    return Ok(());
                };
                sql.push("EXISTS(SELECT 1 FROM latest_metric m WHERE m.run = r.id AND m.key = ");
                sql.bind(key).push(" AND ");
                if matches!(clause.comparator, Comparator::Lt | Comparator::Le) {
                    sql.push("m.value > -9e999 AND ");
                }
                compare(sql, "m.value", clause);
                sql.push(")");
            }
            Key::Param(name) => exists(sql, "param", name, clause),
            Key::Tag(name) => exists(sql, "tag", name, clause),
        }
        Ok(())
    }
}

fn exists(sql: &mut Sql, table: &str, name: &str, clause: &Clause) {
    if clause.comparator == Comparator::IsNull {
        sql.push("NOT ");
    }
    sql.push("EXISTS(SELECT 1 FROM ")
        .push(table)
        .push(" t WHERE t.run = r.id AND t.key = ");
    sql.bind(name.to_owned());
    if !matches!(
        clause.comparator,
        Comparator::IsNull | Comparator::IsNotNull
    ) {
        sql.push(" AND ");
        compare(sql, "t.value", clause);
    }
    sql.push(")");
}

/// The column of an attribute, from a fixed list.
fn column(name: &str) -> &'static str {
    match name {
        "run_id" => "r.uuid",
        "run_name" => "r.name",
        "status" => "r.status",
        "user_id" => "r.user_id",
        "artifact_uri" => "r.artifact_uri",
        "end_time" => "r.end_time",
        _ => "r.start_time",
    }
}

fn compare(sql: &mut Sql, left: &str, clause: &Clause) {
    sql.push(left).push(match clause.comparator {
        Comparator::Eq => " = ",
        Comparator::Ne => " <> ",
        Comparator::Lt => " < ",
        Comparator::Le => " <= ",
        Comparator::Gt => " > ",
        Comparator::Ge => " >= ",
        Comparator::Like => " GLOB ",
        Comparator::ILike => " LIKE ",
        Comparator::In => " IN ",
        Comparator::NotIn => " NOT IN ",
        Comparator::IsNull => " IS NULL",
        Comparator::IsNotNull => " IS NOT NULL",
    });
    match &clause.literal {
        Literal::Nothing => {}
        Literal::Number(number) => {
            sql.bind(*number);
        }
        // SQLite's LIKE ignores ASCII case, its GLOB does not.
        Literal::Text(text) if clause.comparator == Comparator::Like => {
            sql.bind(glob(text));
        }
        Literal::Text(text) => {
            sql.bind(text.clone());
        }
        Literal::List(items) => {
            sql.push("(SELECT value FROM json_each(")
                .bind(json!(items).to_string())
                .push("))");
        }
    }
}

/// A LIKE pattern as a GLOB pattern.
fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => {
                glob.push('[');
                glob.push(c);
                glob.push(']');
            }
            c => glob.push(c),
        }
    }
    glob
}

/// Only rows behind a position: greater in the first term that differs.
fn after_position(sql: &mut Sql, terms: &[Term], values: &[(i64, Value)], run_id: &str) {
    let Some((term, (rank, value))) = terms.first().zip(values.first()) else {
        sql.push("r.uuid > ").bind(run_id.to_owned());
        return;
    };
    sql.push("(");
    if let Some(expression) = &term.rank {
        sql.push(expression)
            .push(" > ")
            .bind(*rank)
            .push(" OR (")
            .push(expression);
        sql.push(" = ").bind(*rank).push(" AND ");
    }
    if *rank == 0 {
        sql.push("(")
            .push(&term.value)
            .push(if term.descending { " < " } else { " > " });
        sql.bind(value.clone())
            .push(" OR (")
            .push(&term.value)
            .push(" = ")
            .bind(value.clone());
        sql.push(" AND ");
        after_position(sql, &terms[1..], &values[1..], run_id);
        sql.push("))");
    } else {
        // All NaN are equal, and so are all missing values.
        after_position(sql, &terms[1..], &values[1..], run_id);
    }
    if term.rank.is_some() {
        sql.push(")");
    }
    sql.push(")");
}

pub(super) fn metric_key(connection: &Connection, name: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM metric_key WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

fn token(terms: &[(i64, Value)], run_id: &str) -> String {
    let terms: Vec<_> = terms
        .iter()
        .map(|(rank, value)| match value {
            Value::Integer(n) => json!([rank, "i", n]),
            // As bits: the position must be exact.
            Value::Real(x) => json!([rank, "r", x.to_bits()]),
            Value::Text(text) => json!([rank, "t", text]),
            Value::Null | Value::Blob(_) => json!([rank, "n", 0]),
        })
        .collect();
    encode_token(&json!([terms, run_id]).to_string())
}

fn position(token: &str, terms: usize) -> Result<Position> {
    let wrong = || Error::invalid("the page token does not belong to this search");
    let text = decode_token(token)?;
    let (values, run_id): (Vec<(i64, String, serde_json::Value)>, String) =
        serde_json::from_str(&text).map_err(|_| wrong())?;
    if values.len() != terms {
        return Err(wrong());
    }
    let value = |(rank, kind, value): (i64, String, serde_json::Value)| {
        let value = match kind.as_str() {
            "i" => Value::Integer(value.as_i64()?),
            "r" => Value::Real(f64::from_bits(value.as_u64()?)),
            "t" => Value::Text(value.as_str()?.to_owned()),
            _ => Value::Null,
        };
        Some((rank, value))
    };
    let values: Option<Vec<_>> = values.into_iter().map(value).collect();
    Ok((values.ok_or_else(wrong)?, run_id))
}

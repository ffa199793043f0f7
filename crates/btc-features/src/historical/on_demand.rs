//! Features that a request computes: SQL expressions over its other columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::SessionContext;

use super::exec::Origin;
use super::request::{Output, Request};
use crate::definition::{Definitions, FeatureViewProjection, OnDemandFeature, OnDemandFeatureView};
use crate::error::{Error, Result};

/// Reads the expression of a feature; columns of views come out qualified by
/// the view's name, columns of the request bare.
pub(crate) fn parse(
    context: &SessionContext,
    definitions: &Definitions,
    view: &OnDemandFeatureView,
    feature: &OnDemandFeature,
) -> Result<Expr> {
    let mut fields: Vec<(Option<TableReference>, Arc<ArrowField>)> = Vec::new();
    for name in &view.sources {
        for source in &definitions.feature_view(name)?.features {
            let field = ArrowField::new(&source.name, source.value_type.data_type(), true);
            fields.push((Some(TableReference::bare(name.as_str())), Arc::new(field)));
        }
    }
    for field in &view.request {
        let field = ArrowField::new(&field.name, field.value_type.data_type(), true);
        fields.push((None, Arc::new(field)));
    }
    let wrong = |error: DataFusionError| {
        Error::invalid(
            format!("on-demand feature view {:?}", view.name),
            format!(
                "the expression of {:?} cannot be used: {}",
                feature.name,
                error.strip_backtrace()
            ),
        )
    };
    let schema = DFSchema::new_with_metadata(fields, HashMap::new()).map_err(wrong)?;
    let expression = context
        .parse_sql_expr(&feature.expression, &schema)
        .map_err(wrong)?;
    if expression
        .exists(|part| Ok(part.is_volatile_node() || is_aggregate(part)))
        .map_err(wrong)?
    {
        return Err(Error::invalid(
            format!("on-demand feature view {:?}", view.name),
            format!(
                "the expression of {:?} must give the same value for the same row; leave out \
                 aggregates, windows and random values",
                feature.name
            ),
        ));
    }
    Ok(cast(expression, feature.value_type.data_type()))
}

fn is_aggregate(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
    )
}

/// The expressions of a request, by the number of their output.
pub(crate) type Expressions = HashMap<usize, Expr>;

impl Request {
    /// Parses the on-demand features and adds the features that they need.
    pub(crate) fn parse_on_demand(
        &mut self,
        context: &SessionContext,
        definitions: &Definitions,
        entity_columns: &[(String, DataType)],
    ) -> Result<Expressions> {
        let mut expressions = Expressions::new();
        let wanted: Vec<(usize, OnDemandFeatureView, String)> = self
            .outputs
            .iter()
            .enumerate()
            .filter_map(|(number, output)| match output {
                Output::OnDemand { view, feature, .. } => {
                    Some((number, view.clone(), feature.clone()))
                }
                Output::Feature { .. } => None,
            })
            .collect();
        for (number, view, feature) in wanted {
            let Some(feature) = view.feature(&feature) else {
                continue;
            };
            let expression = parse(context, definitions, &view, feature)?;
            for column in expression.column_refs() {
                match &column.relation {
                    Some(source) => {
                        let position = self.source_view(definitions, source.table())?;
                        self.feature(definitions, position, &column.name)?;
                    }
                    None if !entity_columns.iter().any(|(name, _)| *name == column.name) => {
                        return Err(Error::InvalidRequest(format!(
                            "the entity rows have no column {:?}, which the on-demand feature \
                             view {:?} needs",
                            column.name, view.name
                        )));
                    }
                    None => {}
                }
            }
            expressions.insert(number, expression);
        }
        Ok(expressions)
    }

    /// Adds the views that on-demand features may be computed from.
    pub(crate) fn add_on_demand_sources(&mut self, definitions: &Definitions) -> Result<()> {
        let sources: Vec<String> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::OnDemand { view, .. } => Some(view.sources.clone()),
                Output::Feature { .. } => None,
            })
            .flatten()
            .collect();
        for source in sources {
            self.source_view(definitions, &source)?;
        }
        Ok(())
    }

    /// The projection of `view` that the request has already, or a plain one.
    fn source_view(&mut self, definitions: &Definitions, view: &str) -> Result<usize> {
        match self.views.iter().position(|known| known.view.name == view) {
            Some(number) => Ok(number),
            None => self.view(definitions, &FeatureViewProjection::new(view)),
        }
    }

    /// Turns qualified columns into columns called `label:feature`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn bind_labels(&self, expression: Expr) -> Result<Expr> {
        let bound = expression.transform(|part| {
            let Expr::Column(Column {
                relation: Some(source),
                name,
                ..
            }) = &part
            else {
                return Ok(Transformed::no(part));
            };
            let label = self
                .views
                .iter()
                .find(|view| view.view.name == source.table())
                .map_or(source.table(), |view| view.label.as_str());
            let name = format!("{label}:{name}");
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                name,
            ))))
        })?;
        Ok(bound.data)
    }

    /// Turns qualified columns into those of the joined table.
    pub(crate) fn bind(
        &self,
        expression: Expr,
        columns: &[Origin],
        names: &[&str],
    ) -> Result<Expr> {
        let bound = expression.transform(|part| {
            let Expr::Column(Column { relation, name, .. }) = &part else {
                return Ok(Transformed::no(part));
            };
            let bare = match relation {
                None => name.as_str(),
                Some(source) => {
                    let place = self
                        .views
                        .iter()
                        .position(|view| view.view.name == source.table())
                        .and_then(|view| {
                            let feature =
                                self.views[view].features.iter().position(|f| f == name)?;
                            let origin = Origin::Feature { view, feature };
                            columns.iter().position(|column| *column == origin)
                        })
                        .ok_or_else(|| {
                            DataFusionError::Internal(format!("{source}.{name} is not joined"))
                        })?;
                    names[place]
                }
            };
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                bare,
            ))))
        })?;
        Ok(bound.data)
    }
}

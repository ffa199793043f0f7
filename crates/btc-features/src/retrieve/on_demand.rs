//! Features that a request computes: SQL expressions over its other columns.

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField};
#[cfg(feature = "sqlite")]
use datafusion::common::ToDFSchema as _;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema as _, TableReference};
use datafusion::error::DataFusionError;
#[cfg(feature = "sqlite")]
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Volatility, cast};
#[cfg(feature = "sqlite")]
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionContext;

use super::request::{Output, Request};
use crate::definition::{Definitions, FeatureViewProjection, OnDemandFeature, OnDemandFeatureView};
use crate::error::{Error, Result};
use crate::join::spec::Origin;

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
    let mut refused = None;
    expression
        .apply(|part| {
            refused = match part {
                Expr::ScalarFunction(call) => (call.func.signature().volatility
                    != Volatility::Immutable)
                    .then(|| format!("{}()", call.func.name())),
                Expr::AggregateFunction(_) => Some("an aggregate".into()),
                Expr::WindowFunction(_) => Some("a window".into()),
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) => {
                    Some("a subquery".into())
                }
                _ => None,
            };
            Ok(match refused {
                Some(_) => TreeNodeRecursion::Stop,
                None => TreeNodeRecursion::Continue,
            })
        })
        .map_err(wrong)?;
    if let Some(refused) = refused {
        return Err(Error::invalid(
            format!("on-demand feature view {:?}", view.name),
            format!(
                "the expression of {:?} must give the same value for the same row at any time, \
                 and {refused} does not; bring what it needs along as a column of the request",
                feature.name
            ),
        ));
    }
    // Offline a column may have another type than it is declared with, online
    // it never has: the expression sees the declared one both times.
    let expression = expression
        .transform_up(|part| {
            let Expr::Column(column) = &part else {
                return Ok(Transformed::no(part));
            };
            let data_type = schema.field_from_column(column)?.data_type().clone();
            Ok(Transformed::yes(cast(part, data_type)))
        })
        .map_err(wrong)?
        .data;
    Ok(cast(expression, feature.value_type.data_type()))
}

/// The values of a bound expression for the rows of a batch. Simplified first,
/// as it is in a query: some functions exist only as what they stand for.
#[cfg(feature = "sqlite")]
pub(crate) fn evaluate(
    context: &SessionContext,
    expression: Expr,
    batch: &RecordBatch,
) -> Result<ArrayRef> {
    let schema = Arc::new(batch.schema().to_dfschema()?);
    let state = context.state();
    let simplify = SimplifyContext::builder()
        .with_schema(Arc::clone(&schema))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplifier = ExprSimplifier::new(simplify);
    let expression = simplifier.coerce(expression, &schema)?;
    let expression = simplifier.simplify(expression)?;
    let physical = state.create_physical_expr(expression, &schema)?;
    Ok(physical.evaluate(batch)?.into_array(batch.num_rows())?)
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
        let found: Vec<(usize, &str)> = self
            .views
            .iter()
            .enumerate()
            .filter(|(_, known)| known.view.name == view)
            .map(|(number, known)| (number, known.label.as_str()))
            .collect();
        match found[..] {
            [] => self.view(definitions, &FeatureViewProjection::new(view)),
            [(number, _)] => Ok(number),
            _ => found
                .iter()
                .find_map(|(number, label)| (*label == view).then_some(*number))
                .ok_or_else(|| {
                    let labels: Vec<&str> = found.iter().map(|(_, label)| *label).collect();
                    Error::InvalidRequest(format!(
                        "an on-demand feature is computed from {view:?}, which is asked for \
                         several times, as {}; ask for it under its own name as well, or for the \
                         on-demand feature apart",
                        labels.join(" and ")
                    ))
                }),
        }
    }

    /// The number of the projection that stands for `view` in expressions.
    fn bound_view(&self, view: &str) -> Option<usize> {
        let own = self.views.iter().position(|known| known.label == view);
        own.filter(|number| self.views[*number].view.name == view)
            .or_else(|| self.views.iter().position(|known| known.view.name == view))
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
                .bound_view(source.table())
                .map_or(source.table(), |view| self.views[view].label.as_str());
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
                        .bound_view(source.table())
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

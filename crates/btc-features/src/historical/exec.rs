//! The join as one physical operator.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricsSet, Time,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::TryStreamExt as _;

use super::input::{FeatureColumn, Input};
use super::join::Join;
use super::keys::KeyForm;
use super::matching::Rules;
use super::scan::KeyRows;
use crate::definition::duration::format_duration;
use crate::error::Result;

/// The join of one view.
#[derive(Debug, Clone)]
pub(crate) struct ViewJoin {
    /// The view's name or alias.
    pub(crate) label: String,
    /// The keys: columns of the entity rows, and how they are compared.
    pub(crate) keys: Vec<(usize, KeyForm)>,
    /// The columns of the source that hold the keys.
    pub(crate) source_keys: Vec<String>,
    pub(crate) rules: Rules,
    pub(crate) features: Vec<FeatureColumn>,
    pub(crate) input: Input,
}

impl ViewJoin {
    /// Whether the source says when rows were written.
    pub(crate) fn has_created(&self) -> bool {
        self.input.source().created_timestamp_column.is_some()
    }

    /// The longest window of its aggregates, in nanoseconds, if it has any.
    pub(crate) fn longest_window(&self) -> Option<i64> {
        let windows = self.features.iter().filter_map(|f| f.window.as_ref());
        windows.map(|window| window.nanos).max()
    }

    /// The keys of some rows of the source in the form they are compared in.
    pub(crate) fn canonical_keys(&self, rows: &KeyRows) -> Result<Vec<ArrayRef>> {
        self.keys
            .iter()
            .zip(&rows.keys)
            .zip(&self.source_keys)
            .map(|(((_, form), column), name)| {
                form.canonical(column)
                    .map_err(|unfit| unfit.after(rows.before).at(&rows.place, name))
            })
            .collect()
    }
}

/// Where a column of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A column of the entity rows.
    Entity(usize),
    /// A feature of a view.
    Feature { view: usize, feature: usize },
}

/// What is joined, apart from the inputs' plans.
#[derive(Debug)]
pub(crate) struct JoinSpec {
    pub(crate) event_time: usize,
    pub(crate) views: Vec<ViewJoin>,
    pub(crate) columns: Vec<Origin>,
    pub(crate) schema: SchemaRef,
    /// Read no more entity rows than this.
    pub(crate) fetch: Option<usize>,
    /// The input plan of each view whose rows come from a table.
    pub(crate) table_inputs: Vec<Option<usize>>,
}

impl JoinSpec {
    /// The features of a view that the result has, by their number.
    pub(crate) fn wanted(&self, view: usize) -> Vec<usize> {
        (0..self.views[view].features.len())
            .filter(|feature| {
                self.columns.contains(&Origin::Feature {
                    view,
                    feature: *feature,
                })
            })
            .collect()
    }
}

/// Joins every view of a request to entity rows as of their times.
///
/// The first input is the entity rows. Files are read by the operator itself,
/// by address; tables are its other inputs.
#[derive(Debug)]
pub(crate) struct PointInTimeJoinExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    spec: Arc<JoinSpec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PointInTimeJoinExec {
    pub(crate) fn new(inputs: Vec<Arc<dyn ExecutionPlan>>, spec: Arc<JoinSpec>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&spec.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            inputs,
            spec,
            properties: Arc::new(properties),
            metrics: Default::default(),
        }
    }
}

/// What the operator counts and times.
#[derive(Debug, Clone)]
pub(crate) struct JoinMetrics {
    pub(crate) entity_rows: Count,
    pub(crate) row_groups_pruned: Count,
    pub(crate) row_groups_matched: Count,
    pub(crate) source_rows: Count,
    pub(crate) gathered_rows: Count,
    pub(crate) sort_time: Time,
    pub(crate) match_time: Time,
    pub(crate) gather_time: Time,
    pub(crate) peak_memory: Gauge,
}

impl JoinMetrics {
    fn new(set: &ExecutionPlanMetricsSet) -> Self {
        let count = |name: &'static str| MetricBuilder::new(set).global_counter(name);
        let time = |name: &'static str| MetricBuilder::new(set).subset_time(name, 0);
        Self {
            entity_rows: count("entity_rows"),
            row_groups_pruned: count("row_groups_pruned"),
            row_groups_matched: count("row_groups_matched"),
            source_rows: count("source_rows"),
            gathered_rows: count("gathered_rows"),
            sort_time: time("sort_time"),
            match_time: time("match_time"),
            gather_time: time("gather_time"),
            peak_memory: MetricBuilder::new(set).global_gauge("peak_reserved_bytes"),
        }
    }
}

impl DisplayAs for PointInTimeJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointInTimeJoinExec: views=[")?;
        for (number, view) in self.spec.views.iter().enumerate() {
            if number != 0 {
                write!(f, ", ")?;
            }
            let features: Vec<String> = self
                .spec
                .wanted(number)
                .into_iter()
                .map(|feature| view.features[feature].label())
                .collect();
            write!(f, "{}(keys=[{}]", view.label, view.source_keys.join(", "))?;
            if let Some(ttl) = view.rules.ttl {
                let ttl = std::time::Duration::from_nanos(ttl.unsigned_abs());
                write!(f, ", ttl={}", format_duration(ttl))?;
            }
            if view.rules.filter_by_created {
                write!(f, ", filter_by_created_timestamp")?;
            }
            write!(f, ", columns=[{}]", features.join(", "))?;
            match &view.input {
                Input::Files(scan) => write!(f, ", {} files)", scan.files())?,
                Input::Table(_) => write!(f, ")")?,
            }
        }
        write!(f, "]")
    }
}

impl ExecutionPlan for PointInTimeJoinExec {
    fn name(&self) -> &str {
        "PointInTimeJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // The order of the inputs counts: of the entity rows for the result,
        // of a source for ties.
        vec![false; self.inputs.len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if children.len() != self.inputs.len() {
            return Err(DataFusionError::Internal(format!(
                "this point-in-time join has {} inputs, not {}",
                self.inputs.len(),
                children.len()
            )));
        }
        Ok(Arc::new(Self::new(children, Arc::clone(&self.spec))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a point-in-time join has one partition, not {partition}"
            )));
        }
        let output_rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let join = Join::new(
            Arc::clone(&self.spec),
            JoinMetrics::new(&self.metrics),
            context,
        );
        let inputs = self.inputs.clone();
        let stream = futures::stream::once(async move {
            Ok::<_, DataFusionError>(join.run(inputs).await?.into_stream())
        })
        .try_flatten()
        .inspect_ok(move |batch| output_rows.add(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.spec.schema),
            stream,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

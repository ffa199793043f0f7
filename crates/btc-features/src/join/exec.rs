//! The join as one physical operator.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::TryStreamExt as _;

use super::metrics::JoinMetrics;
use super::run::Join;
use super::source::Input;
use super::spec::JoinSpec;
use crate::definition::duration::format_duration;

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

//! What the operator counts and times.

use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, Time,
};

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
    pub(crate) fn new(set: &ExecutionPlanMetricsSet) -> Self {
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

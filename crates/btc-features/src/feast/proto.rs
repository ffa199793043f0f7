//! The messages of Feast 0.67 that its registry is made of, by field number. Fields that this crate neither reads nor writes are
//! left out; protobuf skips them.

use std::collections::BTreeMap;

/// `google.protobuf.Timestamp`, and of the same form `Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Seconds {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Registry {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entities: Vec<Entity>,
    #[prost(string, tag = "3")]
    pub(crate) registry_schema_version: String,
    #[prost(string, tag = "4")]
    pub(crate) version_id: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) last_updated: Option<Seconds>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) feature_views: Vec<FeatureView>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) feature_services: Vec<FeatureService>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) on_demand_feature_views: Vec<Named>,
    #[prost(message, optional, tag = "10")]
    pub(crate) infra: Option<Empty>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) data_sources: Vec<DataSource>,
    #[prost(message, repeated, tag = "14")]
    pub(crate) stream_feature_views: Vec<StreamFeatureView>,
    #[prost(message, repeated, tag = "17")]
    pub(crate) projects: Vec<Project>,
    #[prost(message, repeated, tag = "19")]
    pub(crate) label_views: Vec<Named>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamFeatureView {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<StreamFeatureViewSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamFeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) project: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) features: Vec<Feature>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) entity_columns: Vec<Feature>,
    #[prost(string, tag = "6")]
    pub(crate) description: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(string, tag = "8")]
    pub(crate) owner: String,
    #[prost(message, optional, tag = "9")]
    pub(crate) ttl: Option<Seconds>,
    #[prost(message, optional, tag = "10")]
    pub(crate) batch_source: Option<DataSource>,
    #[prost(bool, tag = "12")]
    pub(crate) online: bool,
    /// A Python function, of which only matters that it is there.
    #[prost(message, optional, tag = "13")]
    pub(crate) user_defined_function: Option<Empty>,
    #[prost(message, repeated, tag = "15")]
    pub(crate) aggregations: Vec<Aggregation>,
    /// Another form of the same.
    #[prost(message, optional, tag = "17")]
    pub(crate) feature_transformation: Option<Empty>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Aggregation {
    #[prost(string, tag = "1")]
    pub(crate) column: String,
    #[prost(string, tag = "2")]
    pub(crate) function: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) time_window: Option<Seconds>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
}

/// An object of which only the name and the project matter.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Named {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<NamedSpec>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct NamedSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) project: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Project {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<ProjectSpec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) meta: Option<Meta>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProjectSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// When an object was made and last changed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Meta {
    #[prost(message, optional, tag = "1")]
    pub(crate) created_timestamp: Option<Seconds>,
    #[prost(message, optional, tag = "2")]
    pub(crate) last_updated_timestamp: Option<Seconds>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entity {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<EntitySpec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) meta: Option<Meta>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EntitySpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "2")]
    pub(crate) value_type: i32,
    #[prost(string, tag = "3")]
    pub(crate) description: String,
    #[prost(string, tag = "4")]
    pub(crate) join_key: String,
    #[prost(btree_map = "string, string", tag = "8")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(string, tag = "9")]
    pub(crate) project: String,
    #[prost(string, tag = "10")]
    pub(crate) owner: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Feature {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "2")]
    pub(crate) value_type: i32,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(string, tag = "4")]
    pub(crate) description: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DataSource {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) field_mapping: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(crate) timestamp_field: String,
    #[prost(string, tag = "5")]
    pub(crate) created_timestamp_column: String,
    #[prost(message, optional, tag = "11")]
    pub(crate) file_options: Option<FileOptions>,
    #[prost(string, tag = "17")]
    pub(crate) data_source_class_type: String,
    #[prost(string, tag = "20")]
    pub(crate) name: String,
    #[prost(string, tag = "21")]
    pub(crate) project: String,
    #[prost(string, tag = "23")]
    pub(crate) description: String,
    #[prost(btree_map = "string, string", tag = "24")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(string, tag = "25")]
    pub(crate) owner: String,
    /// Of a push source: the files it is backed by.
    #[prost(message, optional, boxed, tag = "26")]
    pub(crate) batch_source: Option<Box<DataSource>>,
}

/// `DataSource.SourceType.BATCH_FILE`.
pub(crate) const BATCH_FILE: i32 = 1;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FileOptions {
    #[prost(message, optional, tag = "1")]
    pub(crate) file_format: Option<FileFormat>,
    #[prost(string, tag = "2")]
    pub(crate) uri: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FileFormat {
    #[prost(message, optional, tag = "1")]
    pub(crate) parquet_format: Option<Empty>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureView {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<FeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) meta: Option<FeatureViewMeta>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) project: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) features: Vec<Feature>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "6")]
    pub(crate) ttl: Option<Seconds>,
    #[prost(message, optional, tag = "7")]
    pub(crate) batch_source: Option<DataSource>,
    #[prost(bool, tag = "8")]
    pub(crate) online: bool,
    #[prost(string, tag = "10")]
    pub(crate) description: String,
    #[prost(string, tag = "11")]
    pub(crate) owner: String,
    #[prost(message, repeated, tag = "12")]
    pub(crate) entity_columns: Vec<Feature>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FeatureViewMeta {
    #[prost(message, optional, tag = "1")]
    pub(crate) created_timestamp: Option<Seconds>,
    #[prost(message, optional, tag = "2")]
    pub(crate) last_updated_timestamp: Option<Seconds>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) materialization_intervals: Vec<Interval>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Interval {
    #[prost(message, optional, tag = "1")]
    pub(crate) start_time: Option<Seconds>,
    #[prost(message, optional, tag = "2")]
    pub(crate) end_time: Option<Seconds>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureService {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<FeatureServiceSpec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) meta: Option<Meta>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureServiceSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) project: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) features: Vec<FeatureViewProjection>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(string, tag = "5")]
    pub(crate) description: String,
    #[prost(string, tag = "6")]
    pub(crate) owner: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeatureViewProjection {
    #[prost(string, tag = "1")]
    pub(crate) feature_view_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) feature_columns: Vec<Feature>,
    #[prost(string, tag = "3")]
    pub(crate) feature_view_name_alias: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) join_key_map: BTreeMap<String, String>,
    #[prost(string, tag = "5")]
    pub(crate) timestamp_field: String,
    #[prost(string, tag = "7")]
    pub(crate) created_timestamp_column: String,
    #[prost(message, optional, tag = "8")]
    pub(crate) batch_source: Option<DataSource>,
    #[prost(string, tag = "11")]
    pub(crate) view_type: String,
}

/// The key that rows without entities are stored under.
pub(crate) const DUMMY_ENTITY: &str = "__dummy";
/// The join key of [`DUMMY_ENTITY`], whose value is empty text.
pub(crate) const DUMMY_KEY: &str = "__dummy_id";

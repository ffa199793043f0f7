//! The messages of Feast 0.67 that its online store is made of.

/// `feast.types.Value`: one value, or none.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Value {
    #[prost(
        oneof = "Val",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18"
    )]
    pub(crate) val: Option<Val>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Val {
    #[prost(bytes, tag = "1")]
    Bytes(Vec<u8>),
    #[prost(string, tag = "2")]
    String(String),
    #[prost(int32, tag = "3")]
    Int32(i32),
    #[prost(int64, tag = "4")]
    Int64(i64),
    #[prost(double, tag = "5")]
    Double(f64),
    #[prost(float, tag = "6")]
    Float(f32),
    #[prost(bool, tag = "7")]
    Bool(bool),
    /// Seconds since 1970.
    #[prost(int64, tag = "8")]
    UnixTimestamp(i64),
    #[prost(message, tag = "11")]
    BytesList(BytesList),
    #[prost(message, tag = "12")]
    StringList(StringList),
    #[prost(message, tag = "13")]
    Int32List(Int32List),
    #[prost(message, tag = "14")]
    Int64List(Int64List),
    #[prost(message, tag = "15")]
    DoubleList(DoubleList),
    #[prost(message, tag = "16")]
    FloatList(FloatList),
    #[prost(message, tag = "17")]
    BoolList(BoolList),
    #[prost(message, tag = "18")]
    UnixTimestampList(Int64List),
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BytesList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StringList {
    #[prost(string, repeated, tag = "1")]
    pub(crate) val: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Int32List {
    #[prost(int32, repeated, tag = "1")]
    pub(crate) val: Vec<i32>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) val: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DoubleList {
    #[prost(double, repeated, tag = "1")]
    pub(crate) val: Vec<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FloatList {
    #[prost(float, repeated, tag = "1")]
    pub(crate) val: Vec<f32>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BoolList {
    #[prost(bool, repeated, tag = "1")]
    pub(crate) val: Vec<bool>,
}

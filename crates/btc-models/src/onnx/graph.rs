//! A graph that is being written: values by name, operators one after the other.

use candle_core::Tensor;

use super::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionProto, GraphProto, NodeProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::nn::layers::Map;
use crate::{Error, Result};

/// A value of a graph: f32 numbers of each window of a batch.
#[derive(Debug, Clone)]
pub struct Value {
    pub(super) name: String,
    /// The sizes after that of the batch.
    dims: Vec<usize>,
}

impl Value {
    pub(super) fn new(name: String, dims: &[usize]) -> Self {
        Self {
            name,
            dims: dims.to_vec(),
        }
    }

    /// The sizes after that of the batch, which is not known.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
}

/// A setting of an operator.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Attribute {
    /// A whole number.
    Int(&'static str, i64),
    /// Whole numbers.
    Ints(&'static str, Vec<i64>),
    /// A number.
    Float(&'static str, f32),
    /// Words.
    Strings(&'static str, Vec<&'static str>),
}

impl From<Attribute> for AttributeProto {
    fn from(attribute: Attribute) -> Self {
        let named = |name: &str, r#type: AttributeType| Self {
            name: name.to_owned(),
            r#type: r#type as i32,
            ..Self::default()
        };
        match attribute {
            Attribute::Int(name, i) => Self {
                i,
                ..named(name, AttributeType::Int)
            },
            Attribute::Ints(name, ints) => Self {
                ints,
                ..named(name, AttributeType::Ints)
            },
            Attribute::Float(name, f) => Self {
                f,
                ..named(name, AttributeType::Float)
            },
            Attribute::Strings(name, words) => Self {
                strings: words
                    .into_iter()
                    .map(|word| word.as_bytes().to_vec())
                    .collect(),
                ..named(name, AttributeType::Strings)
            },
        }
    }
}

/// A graph of ONNX's operators (opset 17) that a network writes itself into.
///
/// Operators of networks work on [`Value`]s, whose first axis is the batch. What there is no
/// method for, [`apply`](Self::apply) does by the operator's name.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    /// What the names of this graph's values begin with, so that those inside another are none
    /// of its own.
    prefix: String,
    count: usize,
}

impl Graph {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn finish(mut self, name: &str) -> GraphProto {
        self.proto.name = name.to_owned();
        self.proto
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("{}{}", self.prefix, self.count)
    }

    fn constant(&mut self, data_type: DataType, dims: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.name();
        let dims = dims.iter().map(|dim| *dim as i64).collect();
        self.proto.initializer.push(TensorProto {
            dims,
            data_type: data_type as i32,
            name: name.clone(),
            raw_data,
        });
        name
    }

    pub(super) fn f32s(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(DataType::Float, dims, bytes)
    }

    pub(super) fn f64s(&mut self, dims: &[usize], values: &[f64]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(DataType::Double, dims, bytes)
    }

    pub(super) fn f64(&mut self, value: f64) -> String {
        self.f64s(&[], &[value])
    }

    pub(super) fn i64s(&mut self, dims: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(DataType::Int64, dims, bytes)
    }

    /// The whole numbers of a list, as operators take axes, sizes and places.
    pub(super) fn list(&mut self, values: &[i64]) -> String {
        self.i64s(&[values.len()], values)
    }

    pub(super) fn input(&mut self, name: &str, data_type: DataType, dims: Vec<Dimension>) {
        let info = value_info(name, data_type, dims);
        self.proto.input.push(info);
    }

    pub(super) fn output(&mut self, name: &str, data_type: DataType, dims: Vec<Dimension>) {
        let info = value_info(name, data_type, dims);
        self.proto.output.push(info);
    }

    /// Gives a value the name that a user knows it by.
    pub(super) fn rename(&mut self, value: &str, name: &str) {
        self.proto.node.push(NodeProto {
            input: vec![value.to_owned()],
            output: vec![name.to_owned()],
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
    }

    /// An operator by its name, with the names of its outputs.
    pub(super) fn outputs(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        outputs: usize,
    ) -> Vec<String> {
        let output: Vec<String> = (0..outputs).map(|_| self.name()).collect();
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: output.clone(),
            op_type: op_type.to_owned(),
            attribute: attributes,
        });
        output
    }

    /// An operator by its name.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let attributes = attributes.into_iter().map(AttributeProto::from).collect();
        self.outputs(op, inputs, attributes, 1).remove(0)
    }

    /// Runs `body` over the first axis of `scanned`, carrying `states` from each to the next; the
    /// final states, then what the body returned for each.
    pub(super) fn scan(&mut self, body: GraphProto, states: &[&str], scanned: &str) -> Vec<String> {
        let outputs = body.output.len();
        let attributes = vec![
            AttributeProto {
                name: "body".to_owned(),
                g: Some(body),
                r#type: AttributeType::Graph as i32,
                ..AttributeProto::default()
            },
            Attribute::Int("num_scan_inputs", 1).into(),
        ];
        let inputs: Vec<&str> = states.iter().copied().chain([scanned]).collect();
        self.outputs("Scan", &inputs, attributes, outputs)
    }

    /// `x[.., start..end, ..]` along `axis`, which counts the batch; a negative `start` counts
    /// from the end.
    pub(super) fn range(&mut self, x: &str, axis: i64, start: i64, end: i64) -> String {
        let [start, end, axis] = [start, end, axis].map(|at| self.list(&[at]));
        self.node("Slice", &[x, &start, &end, &axis], vec![])
    }

    /// The column `at` of rows (batch, rows, columns): (batch, rows).
    pub(super) fn column(&mut self, rows: &str, at: usize) -> String {
        let column = self.range(rows, 2, at as i64, at as i64 + 1);
        let axis = self.list(&[2]);
        self.node("Squeeze", &[&column, &axis], vec![])
    }

    /// The first of what stands along the first axis, and its shape.
    pub(super) fn first(&mut self, x: &str) -> (String, String) {
        let first = self.range(x, 0, 0, 1);
        let axis = self.list(&[0]);
        let first = self.node("Squeeze", &[&first, &axis], vec![]);
        let shape = self.node("Shape", &[&first], vec![]);
        (first, shape)
    }

    /// The weights of a network.
    ///
    /// # Errors
    ///
    /// They are no f32 numbers, or cannot be read from their device.
    pub fn weight(&mut self, weight: &Tensor) -> Result<Weight> {
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        Ok(self.weights(weight.dims(), &values))
    }

    /// Numbers that do not depend on the windows.
    pub fn weights(&mut self, dims: &[usize], values: &[f32]) -> Weight {
        Weight(self.f32s(dims, values))
    }

    /// An operator by its name in ONNX, whose output has these sizes after that of the batch.
    /// The inputs are `values`, then `weights`.
    pub fn apply(
        &mut self,
        op: &str,
        values: &[&Value],
        weights: &[&Weight],
        attributes: Vec<Attribute>,
        dims: &[usize],
    ) -> Value {
        let values = values.iter().map(|value| value.name.as_str());
        let weights = weights.iter().map(|weight| weight.0.as_str());
        let inputs: Vec<&str> = values.chain(weights).collect();
        Value::new(self.node(op, &inputs, attributes), dims)
    }

    /// x w + b over the last dimension, of a weight (inputs, outputs).
    ///
    /// # Errors
    ///
    /// The sizes do not fit.
    pub fn linear(&mut self, x: &Value, weight: &Tensor, bias: &Tensor) -> Result<Value> {
        let (outputs, inputs) = weight.dims2()?;
        let mut dims = x.dims.clone();
        if dims.pop() != Some(inputs) {
            return Err(misfit("Linear", &x.dims));
        }
        dims.push(outputs);
        let weight = self.weight(&weight.t()?.contiguous()?)?;
        let bias = self.weight(bias)?;
        let product = self.apply("MatMul", &[x], &[&weight], vec![], &dims);
        Ok(self.apply("Add", &[&product], &[&bias], vec![], &dims))
    }

    /// The mean along `axis` after the batch.
    ///
    /// # Errors
    ///
    /// There is no such axis.
    pub fn mean(&mut self, x: &Value, axis: usize) -> Result<Value> {
        if x.dims.len() <= axis {
            return Err(misfit("ReduceMean", &x.dims));
        }
        let attributes = vec![
            Attribute::Ints("axes", vec![axis as i64 + 1]),
            Attribute::Int("keepdims", 0),
        ];
        let mut dims = x.dims.clone();
        dims.remove(axis);
        Ok(self.apply("ReduceMean", &[x], &[], attributes, &dims))
    }

    /// The matrix product of weights (rows, rows) with each window (rows, columns).
    pub fn mix(&mut self, weight: &Weight, x: &Value) -> Value {
        Value::new(self.node("MatMul", &[&weight.0, &x.name], vec![]), &x.dims)
    }

    /// The sum of two values of one shape, or of one and weights that fit its last sizes.
    pub fn add(&mut self, x: &Value, y: &Value) -> Value {
        self.apply("Add", &[x, y], &[], vec![], &x.dims)
    }

    /// The first value less the second.
    pub fn sub(&mut self, x: &Value, y: &Value) -> Value {
        self.apply("Sub", &[x, y], &[], vec![], &x.dims)
    }

    /// The product of two values of one shape.
    pub fn mul(&mut self, x: &Value, y: &Value) -> Value {
        self.apply("Mul", &[x, y], &[], vec![], &x.dims)
    }

    /// A function of each number.
    pub fn map(&mut self, x: &Value, map: Map) -> Value {
        let (op, attributes) = match map {
            Map::Relu => ("Relu", vec![]),
            Map::LeakyRelu(slope) => ("LeakyRelu", vec![Attribute::Float("alpha", slope)]),
            Map::Sigmoid => ("Sigmoid", vec![]),
            Map::Tanh => ("Tanh", vec![]),
        };
        self.apply(op, &[x], &[], attributes, &x.dims)
    }

    /// The same numbers in the sizes `dims` after that of the batch.
    ///
    /// # Errors
    ///
    /// They are another number.
    pub fn reshape(&mut self, x: &Value, dims: &[usize]) -> Result<Value> {
        if x.dims.iter().product::<usize>() != dims.iter().product::<usize>() {
            return Err(misfit("Reshape", &x.dims));
        }
        let sizes = dims.iter().map(|dim| *dim as i64);
        let sizes: Vec<i64> = [-1].into_iter().chain(sizes).collect();
        let sizes = self.list(&sizes);
        let name = self.node("Reshape", &[&x.name, &sizes], vec![]);
        Ok(Value::new(name, dims))
    }

    /// All numbers of a window in one row.
    ///
    /// # Errors
    ///
    /// None of a value of a graph.
    pub fn flatten(&mut self, x: &Value) -> Result<Value> {
        self.reshape(x, &[x.dims.iter().product()])
    }

    /// The numbers `start..start + length` along `axis` after the batch.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn narrow(&mut self, x: &Value, axis: usize, start: usize, length: usize) -> Result<Value> {
        let mut dims = x.dims.clone();
        match dims.get_mut(axis) {
            Some(dim) if start + length <= *dim => *dim = length,
            _ => return Err(misfit("Slice", &x.dims)),
        }
        let at = |at: usize| at as i64;
        let name = self.range(&x.name, at(axis) + 1, at(start), at(start + length));
        Ok(Value::new(name, &dims))
    }

    /// Values side by side along `axis` after the batch.
    ///
    /// # Errors
    ///
    /// There are none, or their other sizes differ.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Result<Value> {
        let without = |value: &Value| {
            let mut dims = value.dims.clone();
            let dim = (axis < dims.len()).then(|| dims.remove(axis));
            (dims, dim)
        };
        let Some((first, Some(_))) = parts.first().map(without) else {
            return Err(misfit("Concat", &[]));
        };
        let mut sum = 0;
        for part in parts {
            match without(part) {
                (others, Some(dim)) if others == first => sum += dim,
                _ => return Err(misfit("Concat", &part.dims)),
            }
        }
        let mut dims = first;
        dims.insert(axis, sum);
        let values: Vec<&Value> = parts.iter().collect();
        let axis = Attribute::Int("axis", axis as i64 + 1);
        Ok(self.apply("Concat", &values, &[], vec![axis], &dims))
    }

    /// The axes after the batch in another order.
    ///
    /// # Errors
    ///
    /// `order` is no order of them.
    pub fn permute(&mut self, x: &Value, order: &[usize]) -> Result<Value> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != (0..x.dims.len()).collect::<Vec<_>>() {
            return Err(misfit("Transpose", &x.dims));
        }
        let dims: Vec<usize> = order.iter().map(|axis| x.dims[*axis]).collect();
        let order = order.iter().map(|axis| *axis as i64 + 1);
        let order = Attribute::Ints("perm", [0].into_iter().chain(order).collect());
        Ok(self.apply("Transpose", &[x], &[], vec![order], &dims))
    }

    /// The matrix product over the last two axes.
    ///
    /// # Errors
    ///
    /// The sizes do not fit.
    pub fn matmul(&mut self, x: &Value, y: &Value) -> Result<Value> {
        let (n, m) = (x.dims.len(), y.dims.len());
        if n < 2 || m < 2 || x.dims[n - 1] != y.dims[m - 2] {
            return Err(misfit("MatMul", &x.dims));
        }
        let mut dims = x.dims.clone();
        dims[n - 1] = y.dims[m - 1];
        Ok(self.apply("MatMul", &[x, y], &[], vec![], &dims))
    }

    /// Zeros before and after along the first axis after the batch.
    pub fn pad(&mut self, x: &Value, before: usize, after: usize) -> Value {
        let axes = 1 + x.dims.len();
        let mut sizes = vec![0; 2 * axes];
        sizes[1] = before as i64;
        sizes[axes + 1] = after as i64;
        let sizes = self.list(&sizes);
        let name = self.node("Pad", &[&x.name, &sizes], vec![]);
        let mut dims = x.dims.clone();
        dims[0] += before + after;
        Value::new(name, &dims)
    }
}

pub(super) fn known(dim: usize) -> Dimension {
    Dimension::Value(dim as i64)
}

pub(super) fn named(name: &str) -> Dimension {
    Dimension::Param(name.to_owned())
}

fn value_info(name: &str, data_type: DataType, dims: Vec<Dimension>) -> ValueInfoProto {
    let dim = dims
        .into_iter()
        .map(|value| DimensionProto { value: Some(value) })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: data_type as i32,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
        doc_string: String::new(),
    }
}

fn misfit(op: &str, dims: &[usize]) -> Error {
    Error::NotExportable {
        reason: format!("its sizes do not fit ONNX's {op}: {dims:?} after the batch"),
    }
}

/// Numbers of a graph that do not depend on the windows.
#[derive(Debug, Clone)]
pub struct Weight(String);

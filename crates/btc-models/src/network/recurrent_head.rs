//! One recurrent layer and a dense one: what LSTM and GRU are, whichever the layer.

use candle_core::{Result, Tensor};

use crate::nn::layers::{Linear, Map, Mode, Output, Recurrent};
use crate::nn::network::Network;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A recurrent layer, leaky rectifier, dropout and a dense layer on its last state.
#[derive(Debug)]
pub(super) struct RecurrentHead {
    pub(super) recurrent: Recurrent,
    pub(super) head: Linear,
    pub(super) negative_slope: f32,
    pub(super) dropout: f32,
}

impl Network for RecurrentHead {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let h = self.recurrent.forward(x, Output::Last)?;
        let function = Map::LeakyRelu(self.negative_slope);
        self.head.forward_dropped(&h, function, self.dropout, mode)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let h = self.recurrent.export(graph, x, Output::Last)?;
        let h = graph.map(&h, Map::LeakyRelu(self.negative_slope));
        self.head.export(graph, &h)
    }
}

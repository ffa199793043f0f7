//! A transformer encoder over patches of the window (after Nie et al. 2023).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, dropout_rate, size};
use crate::Error;
use crate::nn::layers::{LayerNorm, Linear, Map, Mode, Unfold, attention, dropout, map, unfold};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::{Init, Parameters};
#[cfg(feature = "onnx")]
use crate::onnx::{self, Graph, Value};

/// A transformer encoder over patches of the window (after Nie et al. 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PatchTstConfig {
    /// Steps in a patch; a shorter window is one patch.
    pub patch: usize,
    /// Steps between the starts of patches.
    pub stride: usize,
    /// The width of the encoder, a multiple of `heads`.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Layers of the encoder.
    pub layers: usize,
    /// The fraction of values that is dropped in training.
    pub dropout: f32,
}

settings!(PatchTstConfig {
    with_patch(patch: usize),
    with_stride(stride: usize),
    with_width(width: usize),
    with_heads(heads: usize),
    with_layers(layers: usize),
    with_dropout(dropout: f32),
});

impl From<&Hyperparameters> for PatchTstConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            patch: 4,
            stride: 2,
            width: hyperparameters.units,
            heads: 4,
            layers: 2,
            dropout: 0.1,
        }
    }
}

impl NetworkSpec for PatchTstConfig {
    fn validate(&self) -> crate::Result<()> {
        size("patch", self.patch)?;
        size("stride", self.stride)?;
        size("heads", self.heads)?;
        size("layers", self.layers)?;
        size("width", self.width)?;
        dropout_rate(self.dropout)?;
        if !self.width.is_multiple_of(self.heads) {
            return Err(Error::invalid("width", self.width, "a multiple of heads"));
        }
        Ok(())
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            patch,
            stride,
            width,
            heads,
            layers,
            dropout,
        } = self;
        let patch = patch.min(input.timesteps);
        // Patches end at the last step; steps before the first whole patch count as zero.
        let before = (stride - (input.timesteps - patch) % stride) % stride;
        let unfold = Unfold {
            kernel: patch,
            dilation: 1,
            before,
            after: 0,
        };
        let patches = unfold.outputs(input.timesteps).div_ceil(stride);
        let layers = (0..layers)
            .map(|at| {
                let name = |part: &str| format!("layers.{at}.{part}");
                Ok(Layer {
                    norms: [
                        LayerNorm::new(parameters, &name("norm1"), width)?,
                        LayerNorm::new(parameters, &name("norm2"), width)?,
                    ],
                    query_key_value: Linear::new(parameters, &name("qkv"), width, 3 * width)?,
                    project: Linear::new(parameters, &name("project"), width, width)?,
                    expand: Linear::new(parameters, &name("expand"), width, 2 * width)?,
                    contract: Linear::new(parameters, &name("contract"), 2 * width, width)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Box::new(PatchTst {
            unfold,
            stride,
            embed: Linear::new(parameters, "embed", patch * input.features, width)?,
            position: parameters.weight("position", &[patches, width], Init::Uniform(0.02))?,
            layers,
            norm: LayerNorm::new(parameters, "norm", width)?,
            head: Linear::new(parameters, "head", patches * width, input.outputs)?,
            heads,
            dropout,
        }))
    }
}

/// A layer of the encoder: attention and a network per patch, each normalised before.
#[derive(Debug)]
struct Layer {
    norms: [LayerNorm; 2],
    query_key_value: Linear,
    project: Linear,
    expand: Linear,
    contract: Linear,
}

/// A transformer encoder over patches of the window.
#[derive(Debug)]
struct PatchTst {
    unfold: Unfold,
    stride: usize,
    embed: Linear,
    position: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
    heads: usize,
    dropout: f32,
}

impl PatchTst {
    fn attend(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let (batch, patches, width) = x.dims3()?;
        let all = layer.query_key_value.forward(x)?;
        let split = |k: usize| {
            all.narrow(2, k * width, width)?
                .contiguous()?
                .reshape((batch, patches, self.heads, width / self.heads))?
                .transpose(1, 2)?
                .contiguous()
        };
        let attended = attention(&split(0)?, &split(1)?, &split(2)?)?;
        let together = attended
            .transpose(1, 2)?
            .contiguous()?
            .reshape((batch, patches, width))?;
        layer.project.forward(&together)
    }
}

#[cfg(feature = "onnx")]
impl PatchTst {
    fn export_attention(
        &self,
        graph: &mut Graph,
        layer: &Layer,
        x: &Value,
    ) -> crate::Result<Value> {
        let dims = x.dims().to_vec();
        let (patches, width) = (dims[0], dims[1]);
        let all = layer.query_key_value.export(graph, x)?;
        let mut split = |k: usize| {
            let part = graph.narrow(&all, 1, k * width, width)?;
            let heads = graph.reshape(&part, &[patches, self.heads, width / self.heads])?;
            graph.permute(&heads, &[1, 0, 2])
        };
        let (query, key, value) = (split(0)?, split(1)?, split(2)?);
        let attended = onnx::attention(graph, &query, &key, &value)?;
        let together = graph.permute(&attended, &[1, 0, 2])?;
        let together = graph.reshape(&together, &dims)?;
        layer.project.export(graph, &together)
    }
}

impl Network for PatchTst {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let windows = unfold(x, self.unfold)?;
        let (batch, outputs, width) = windows.dims3()?;
        let patches = outputs.div_ceil(self.stride);
        let windows = if self.stride == 1 {
            windows
        } else {
            let after = patches * self.stride - outputs;
            let padded = windows.pad_with_zeros(1, 0, after)?;
            padded
                .reshape((batch, patches, self.stride, width))?
                .narrow(2, 0, 1)?
                .squeeze(2)?
        };
        let mut x = self
            .embed
            .forward(&windows.contiguous()?)?
            .broadcast_add(&self.position)?;
        for layer in &self.layers {
            let attended = self.attend(layer, &layer.norms[0].forward(&x)?)?;
            x = (x + dropout(&attended, self.dropout, mode)?)?;
            let inner = map(
                &layer.expand.forward(&layer.norms[1].forward(&x)?)?,
                Map::Relu,
            )?;
            let inner = layer
                .contract
                .forward(&dropout(&inner, self.dropout, mode)?)?;
            x = (x + dropout(&inner, self.dropout, mode)?)?;
        }
        self.head.forward_flat(&self.norm.forward(&x)?)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let windows = onnx::unfold(graph, x, self.unfold)?;
        let outputs = windows.dims().first().copied().unwrap_or(0);
        let patches: Vec<Value> = (0..outputs)
            .step_by(self.stride)
            .map(|at| graph.narrow(&windows, 0, at, 1))
            .collect::<crate::Result<_>>()?;
        let windows = graph.concat(&patches, 0)?;
        let position = graph.weight(&self.position)?;
        let embedded = self.embed.export(graph, &windows)?;
        let dims = embedded.dims().to_vec();
        let mut x = graph.apply("Add", &[&embedded], &[&position], vec![], &dims);
        for layer in &self.layers {
            let normal = layer.norms[0].export(graph, &x)?;
            let attended = self.export_attention(graph, layer, &normal)?;
            x = graph.add(&x, &attended);
            let normal = layer.norms[1].export(graph, &x)?;
            let inner = layer.expand.export(graph, &normal)?;
            let inner = graph.map(&inner, Map::Relu);
            let inner = layer.contract.export(graph, &inner)?;
            x = graph.add(&x, &inner);
        }
        let x = self.norm.export(graph, &x)?;
        let x = graph.flatten(&x)?;
        self.head.export(graph, &x)
    }
}

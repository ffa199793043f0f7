//! What a network is to those who train and apply it.

use std::fmt::Debug;

use candle_core::{Result, Tensor};

use super::layers::Mode;

/// The sizes that a network is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShape {
    /// Rows in a window.
    pub timesteps: usize,
    /// Numbers in a row of it.
    pub features: usize,
    /// Numbers that the network returns for each window: those that the loss needs for each step
    /// that is forecast, step by step.
    pub outputs: usize,
}

/// A network over windows of features.
///
/// It may be applied on several threads at once. In [`Mode::Evaluate`], the same windows give the
/// same outputs, and a window's outputs do not depend on the others of its batch.
pub trait Network: Debug + Send + Sync {
    /// (batch, timesteps, features) into (batch, outputs).
    ///
    /// # Errors
    ///
    /// The windows are not of the shape that the network was built for.
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Writes the network as it is applied into a graph of ONNX: `x` is (batch, timesteps,
    /// features), and what it returns (batch, outputs).
    ///
    /// # Errors
    ///
    /// [`Error::NotExportable`](crate::Error::NotExportable) unless the network says how.
    #[cfg(feature = "onnx")]
    fn export(
        &self,
        graph: &mut crate::onnx::Graph,
        x: &crate::onnx::Value,
    ) -> crate::Result<crate::onnx::Value> {
        let _ = (graph, x);
        Err(crate::Error::NotExportable {
            reason: "its network does not implement `Network::export`".to_owned(),
        })
    }
}

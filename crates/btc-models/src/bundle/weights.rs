//! Weights as the bytes of a safetensors file.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::Result;
use crate::nn::parameters::{Array, Parameters};

/// The weights in the order of their names.
pub(super) fn to_bytes(parameters: &Parameters) -> Result<Vec<u8>> {
    let tensors = parameters.tensors()?;
    let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, (shape, bytes))
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
                .map_err(candle_core::Error::from)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None).map_err(candle_core::Error::from)?)
}

/// Weights by their names, all of them finite and f32.
pub(super) fn from_bytes(bytes: &[u8]) -> candle_core::Result<BTreeMap<String, Array>> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            candle_core::bail!("the weight {name} is not of type f32");
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if values.iter().any(|x| !x.is_finite()) {
            candle_core::bail!("the weight {name} is not finite");
        }
        tensors.insert(name, (view.shape().to_vec(), values));
    }
    Ok(tensors)
}

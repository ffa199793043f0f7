//! Named, seeded weights of a network.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use crate::nn::kernels::transpose;
use crate::nn::random::Stream;

/// A shape and the values in it, row by row.
pub type Array = (Vec<usize>, Vec<f32>);

/// How a weight starts.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// Every number is this.
    Constant(f32),
    /// Uniform within plus and minus the bound.
    Uniform(f32),
}

impl Init {
    /// PyTorch's start of linear and convolutional layers: within 1/sqrt(fan in).
    pub fn fan_in(inputs: usize) -> Self {
        Self::Uniform(1.0 / (inputs as f32).sqrt())
    }
}

/// A named piece of a weight that is kept in one packed tensor.
#[derive(Debug, Clone)]
pub struct Part {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) init: Init,
    /// A matrix of which the packed tensor holds the transpose.
    transposed: bool,
}

impl Part {
    /// A piece that is packed as it is stored.
    pub fn new(name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            init,
            transposed: false,
        }
    }

    /// A matrix that is stored in this shape and packed as its transpose.
    pub fn transposed(name: impl Into<String>, shape: [usize; 2], init: Init) -> Self {
        Self {
            transposed: true,
            ..Self::new(name, &shape, init)
        }
    }

    /// Puts values that are stored into their place in a packed tensor.
    fn pack(&self, values: &[f32], place: &mut [f32]) {
        if self.transposed {
            transpose(self.shape[1], values, place);
        } else {
            place.copy_from_slice(values);
        }
    }

    /// The values to store, out of their place in a packed tensor.
    fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        if !self.transposed {
            return packed.to_vec();
        }
        let mut values = vec![0.0; packed.len()];
        transpose(self.shape[0], packed, &mut values);
        values
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The weights of one network, by name, in the order of their names.
///
/// A network asks for each of its weights while it is built. When it is trained, the weight starts
/// from the seed and its name alone, whatever the order; when it is loaded, it is the one that was
/// stored.
#[derive(Debug)]
pub struct Parameters {
    seed: u64,
    device: Device,
    stored: Option<BTreeMap<String, Array>>,
    vars: BTreeMap<String, (Var, Vec<Part>)>,
    /// Stored for others' sake; not trained.
    zeros: Vec<(String, Vec<usize>)>,
}

impl Parameters {
    /// Weights that start from `seed`.
    pub fn seeded(seed: u64, device: &Device) -> Self {
        Self {
            seed,
            device: device.clone(),
            stored: None,
            vars: BTreeMap::new(),
            zeros: Vec::new(),
        }
    }

    /// Weights that were stored before.
    pub(crate) fn stored(tensors: BTreeMap<String, Array>, device: &Device) -> Self {
        Self {
            stored: Some(tensors),
            ..Self::seeded(0, device)
        }
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The weight called `name`: created from the seed and the name, or as it was stored.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        init: Init,
    ) -> candle_core::Result<Tensor> {
        let packed = self.packed(name, &[Part::new(name, shape, init)])?;
        packed.reshape(shape)
    }

    /// Stores zeros under a name that other programs expect.
    ///
    /// # Errors
    ///
    /// What was stored under the name is not zeros of this shape.
    pub fn zeros(&mut self, name: String, shape: &[usize]) -> candle_core::Result<()> {
        if let Some(stored) = &mut self.stored {
            let Some((dims, values)) = stored.remove(&name) else {
                candle_core::bail!("the weight {name} is missing");
            };
            if dims != shape || values.iter().any(|x| *x != 0.0) {
                candle_core::bail!("the weight {name} must be zero and of the shape {shape:?}");
            }
        }
        self.zeros.push((name, shape.to_vec()));
        Ok(())
    }

    /// One flat weight that consists of `parts`, each of which is stored under its own name.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn packed(&mut self, name: &str, parts: &[Part]) -> candle_core::Result<Tensor> {
        if self.vars.contains_key(name) {
            candle_core::bail!("two weights are called {name}");
        }
        let length = parts.iter().map(Part::elements).sum();
        let alone = parts.len() == 1 && !parts[0].transposed;
        let mut data = vec![0.0; if alone { 0 } else { length }];
        let mut at = 0;
        for part in parts {
            let values = match &mut self.stored {
                Some(stored) => {
                    let Some((dims, values)) = stored.remove(&part.name) else {
                        candle_core::bail!("the weight {} is missing", part.name);
                    };
                    if dims != part.shape {
                        candle_core::bail!(
                            "the weight {} has the shape {:?} instead of {:?}",
                            part.name,
                            dims,
                            part.shape
                        );
                    }
                    values
                }
                None => match part.init {
                    Init::Constant(value) => vec![value; part.elements()],
                    Init::Uniform(bound) => {
                        let mut stream = Stream::new(self.seed, &part.name);
                        (0..part.elements())
                            .map(|_| bound * (2.0 * stream.uniform() - 1.0))
                            .collect()
                    }
                },
            };
            if alone {
                data = values;
            } else {
                part.pack(&values, &mut data[at..at + part.elements()]);
                at += part.elements();
            }
        }
        let var = Var::from_vec(data, length, &self.device)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), (var, parts.to_vec()));
        Ok(tensor)
    }

    /// The names that were stored and not asked for.
    pub(crate) fn unused(&self) -> Vec<String> {
        self.stored
            .iter()
            .flat_map(|stored| stored.keys().cloned())
            .collect()
    }

    /// The variables, in the order of their names.
    pub(crate) fn vars(&self) -> Vec<Var> {
        self.vars.values().map(|(var, _)| var.clone()).collect()
    }

    /// The number of weights.
    pub fn count(&self) -> usize {
        self.vars.values().map(|(var, _)| var.elem_count()).sum()
    }

    /// A copy of all values, where they are.
    pub(crate) fn snapshot(&self) -> candle_core::Result<Vec<Tensor>> {
        let values = self.vars.values();
        values
            .map(|(var, _)| var.as_detached_tensor().copy())
            .collect()
    }

    /// Puts the values of a snapshot back.
    pub(crate) fn restore(&self, snapshot: &[Tensor]) -> candle_core::Result<()> {
        let mut pairs = self.vars.values().zip(snapshot);
        pairs.try_for_each(|((var, _), values)| var.set(values))
    }

    /// The weights by the names and in the shapes in which they are stored.
    pub(crate) fn tensors(&self) -> candle_core::Result<BTreeMap<String, Array>> {
        let mut tensors = BTreeMap::new();
        for (name, shape) in &self.zeros {
            tensors.insert(
                name.clone(),
                (shape.clone(), vec![0.0; shape.iter().product()]),
            );
        }
        for (var, parts) in self.vars.values() {
            let values: Vec<f32> = var.to_vec1()?;
            let mut rest = values.as_slice();
            for part in parts {
                let (head, tail) = rest.split_at(part.elements());
                tensors.insert(part.name.clone(), (part.shape.clone(), part.unpack(head)));
                rest = tail;
            }
        }
        Ok(tensors)
    }
}

//! Weights of a published encoder: a safetensors file in the layout of Hugging Face's `BertModel`.

use super::{Encoder, EncoderConfig};
use crate::models::parts::LayerNorm;
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use velodrome_harness::contract::ModelError;

/// Why weights do not fit an encoder.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The sizes do not go together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Not a file of tensors.
    #[error("is no safetensors file: {0}")]
    Format(String),
    /// A tensor is not there.
    #[error("tensor `{0}` is missing")]
    Missing(String),
    /// A tensor is of another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the model has.
        expected: Vec<usize>,
    },
    /// A tensor is of another type.
    #[error("tensor `{name}` holds {found:?}, expected {expected:?}")]
    Type {
        /// Its name.
        name: String,
        /// Its type.
        found: Dtype,
        /// The type that is read.
        expected: Dtype,
    },
    /// There are more tensors than the model has.
    #[error("the model has no place for {}", .0.join(", "))]
    Extra(Vec<String>),
}

/// The tensors of a file that nothing took yet.
struct Weights<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    device: &'a Device,
}

impl<'a> Weights<'a> {
    fn read(bytes: &'a [u8], device: &'a Device) -> Result<Self, EncoderError> {
        let file =
            SafeTensors::deserialize(bytes).map_err(|e| EncoderError::Format(e.to_string()))?;
        let tensors = file.tensors().into_iter().collect();
        Ok(Self { tensors, device })
    }

    /// Takes a tensor, which must be of this shape and type.
    fn view(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
    ) -> Result<TensorView<'a>, EncoderError> {
        let view = self
            .tensors
            .remove(name)
            .ok_or_else(|| EncoderError::Missing(name.into()))?;
        if view.shape() != shape {
            return Err(EncoderError::Shape {
                name: name.into(),
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        if view.dtype() != dtype {
            return Err(EncoderError::Type {
                name: name.into(),
                found: view.dtype(),
                expected: dtype,
            });
        }
        Ok(view)
    }

    fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, EncoderError> {
        let view = self.view(name, &shape, Dtype::F32)?;
        let (numbers, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    fn put<const D: usize>(
        &mut self,
        param: &mut Param<Tensor<D>>,
        name: &str,
    ) -> Result<(), EncoderError> {
        *param = Param::from_tensor(self.take(name, param.dims())?);
        Ok(())
    }

    /// PyTorch keeps a linear map as `[out, in]`.
    fn linear(&mut self, linear: &mut Linear, name: &str) -> Result<(), EncoderError> {
        let [from, to] = linear.weight.dims();
        let turned = self.take(&format!("{name}.weight"), [to, from])?;
        linear.weight = Param::from_tensor(turned.transpose());
        let bias = self.take(&format!("{name}.bias"), [to])?;
        linear.bias = Some(Param::from_tensor(bias));
        Ok(())
    }

    fn norm(&mut self, norm: &mut LayerNorm, name: &str) -> Result<(), EncoderError> {
        self.put(&mut norm.gamma, &format!("{name}.weight"))?;
        self.put(&mut norm.beta, &format!("{name}.bias"))
    }

    /// Takes what Hugging Face writes with an encoder and this one does not use: the numbers of the
    /// positions (older versions wrote them), and the map behind the first token's vector, which the
    /// mean over the tokens stands in for.
    fn unused(&mut self, config: &EncoderConfig) -> Result<(), EncoderError> {
        let (context, width) = (config.context, config.width);
        for (name, shape, dtype) in [
            ("embeddings.position_ids", vec![1, context], Dtype::I64),
            ("pooler.dense.weight", vec![width, width], Dtype::F32),
            ("pooler.dense.bias", vec![width], Dtype::F32),
        ] {
            if self.tensors.contains_key(name) {
                self.view(name, &shape, dtype)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), EncoderError> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let named = |(name, view): (&String, &TensorView)| format!("`{name}` {:?}", view.shape());
        Err(EncoderError::Extra(
            self.tensors.iter().map(named).collect(),
        ))
    }
}

impl Encoder {
    /// An encoder with the weights of `file`, the bytes of a safetensors file with the tensors of
    /// Hugging Face's `BertModel` in 32 bits. Its pooler is left aside. Fails where a tensor is
    /// missing, of another shape or type, or without a place in the model.
    pub fn load(
        config: &EncoderConfig,
        file: &[u8],
        device: &Device,
    ) -> Result<Self, EncoderError> {
        let mut encoder = Self::new(config, device)?;
        let mut weights = Weights::read(file, device)?;
        for (param, name) in [
            (&mut encoder.words.weight, "word_embeddings"),
            (&mut encoder.positions, "position_embeddings"),
            (&mut encoder.types, "token_type_embeddings"),
        ] {
            weights.put(param, &format!("embeddings.{name}.weight"))?;
        }
        weights.norm(&mut encoder.norm, "embeddings.LayerNorm")?;
        for (at, layer) in encoder.layers.iter_mut().enumerate() {
            let name = |part: &str| format!("encoder.layer.{at}.{part}");
            for (linear, part) in [
                (&mut layer.query, "attention.self.query"),
                (&mut layer.key, "attention.self.key"),
                (&mut layer.value, "attention.self.value"),
                (&mut layer.output, "attention.output.dense"),
                (&mut layer.up, "intermediate.dense"),
                (&mut layer.down, "output.dense"),
            ] {
                weights.linear(linear, &name(part))?;
            }
            weights.norm(&mut layer.norm1, &name("attention.output.LayerNorm"))?;
            weights.norm(&mut layer.norm2, &name("output.LayerNorm"))?;
        }
        weights.unused(config)?;
        weights.finish()?;
        Ok(encoder)
    }
}

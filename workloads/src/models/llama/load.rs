//! Weights of a published model: a GGUF file of the architecture `llama`, in whose matrices of queries
//! and keys the pairs that turn together are neighbours, as they are here.

use super::{Llama, LlamaConfig};
use crate::data::{Gguf, GgufError};
use burn::module::Param;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeSet;
use velodrome_harness::contract::ModelError;

/// Why weights do not fit a model.
#[derive(Debug, thiserror::Error)]
pub enum LlamaError {
    /// The sizes do not go together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file is damaged, or does not hold what the model needs.
    #[error(transparent)]
    File(#[from] GgufError),
    /// The file is of another model.
    #[error("{field} is {found}, expected {expected}")]
    Other {
        /// Key of the metadata.
        field: &'static str,
        /// Its value.
        found: String,
        /// The model's.
        expected: String,
    },
    /// There are more tensors than the model has.
    #[error("the model has no place for {}", .0.join(", "))]
    Extra(Vec<String>),
}

/// An error where the file's model is another one than `config` says.
fn check(config: &LlamaConfig, file: &Gguf<'_>) -> Result<(), LlamaError> {
    let other = |field, found: String, expected: String| {
        Err(LlamaError::Other {
            field,
            found,
            expected,
        })
    };
    let field = "general.architecture";
    let found = file.text(field)?;
    if found != "llama" {
        return other(field, found.into(), "llama".into());
    }
    let head = config.width / config.heads;
    for (field, expected) in [
        ("llama.block_count", config.layers),
        ("llama.embedding_length", config.width),
        ("llama.feed_forward_length", config.feed_forward),
        ("llama.attention.head_count", config.heads),
        ("llama.attention.head_count_kv", config.shared_heads),
        ("llama.rope.dimension_count", head),
        ("llama.vocab_size", config.vocabulary),
    ] {
        let found = file.integer(field)?;
        if usize::try_from(found) != Ok(expected) {
            return other(field, found.to_string(), expected.to_string());
        }
    }
    for (field, expected) in [
        ("llama.rope.freq_base", config.base),
        ("llama.attention.layer_norm_rms_epsilon", config.epsilon),
    ] {
        let found = file.real(field)?;
        // The file has 32 bits.
        if found as f32 != expected as f32 {
            return other(field, found.to_string(), expected.to_string());
        }
    }
    Ok(())
}

/// The tensors of a file that nothing took yet.
struct Weights<'a> {
    file: &'a Gguf<'a>,
    left: BTreeSet<&'a str>,
    device: &'a Device,
}

impl Weights<'_> {
    /// `shape` with the axis first along which neighbours lie.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<TensorData, LlamaError> {
        let elements = self.file.elements(name, shape)?;
        self.left.remove(name);
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        Ok(TensorData::new(elements, reversed))
    }

    /// `from` and `to` are the map's sizes: to ask `linear` for them would draw its initial values.
    fn linear(
        &mut self,
        linear: &mut Linear,
        name: &str,
        [from, to]: [usize; 2],
    ) -> Result<(), LlamaError> {
        let turned = self.take(name, &[from, to])?;
        let turned = Tensor::<2>::from_data(turned, self.device);
        linear.weight = Param::from_tensor(turned.transpose());
        Ok(())
    }

    fn norm(&mut self, norm: &mut RmsNorm, name: &str, width: usize) -> Result<(), LlamaError> {
        let scale = self.take(name, &[width])?;
        norm.gamma = Param::from_tensor(Tensor::from_data(scale, self.device));
        Ok(())
    }
}

impl Llama {
    /// A model with the weights of `file`, in 32 bits whatever they are in the file. Fails where the file
    /// is of another model, where a tensor is missing or of another shape, and where one has no place.
    pub fn load(
        config: &LlamaConfig,
        file: &Gguf<'_>,
        device: &Device,
    ) -> Result<Self, LlamaError> {
        let mut model = Self::new(config, device)?;
        check(config, file)?;
        let mut weights = Weights {
            file,
            left: file.names().collect(),
            device,
        };
        let (d, f) = (config.width, config.feed_forward);
        let shared = config.shared_width();
        let table = weights.take("token_embd.weight", &[d, config.vocabulary])?;
        model.embedding.weight = Param::from_tensor(Tensor::from_data(table, device));
        for (at, block) in model.blocks.iter_mut().enumerate() {
            let name = |part: &str| format!("blk.{at}.{part}.weight");
            for (linear, part, sizes) in [
                (&mut block.query, "attn_q", [d, d]),
                (&mut block.key, "attn_k", [d, shared]),
                (&mut block.value, "attn_v", [d, shared]),
                (&mut block.output, "attn_output", [d, d]),
                (&mut block.gate, "ffn_gate", [d, f]),
                (&mut block.up, "ffn_up", [d, f]),
                (&mut block.down, "ffn_down", [f, d]),
            ] {
                weights.linear(linear, &name(part), sizes)?;
            }
            weights.norm(&mut block.norm1, &name("attn_norm"), d)?;
            weights.norm(&mut block.norm2, &name("ffn_norm"), d)?;
        }
        weights.norm(&mut model.norm, "output_norm.weight", d)?;
        if weights.left.is_empty() {
            return Ok(model);
        }
        let named = weights.left.iter().map(|name| format!("`{name}`"));
        Err(LlamaError::Extra(named.collect()))
    }
}

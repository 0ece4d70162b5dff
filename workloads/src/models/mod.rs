//! The models, as burn modules that implement
//! [`Network`](velodrome_harness::contract::Network).

mod answer;
mod batch_norm;
mod dlrm;
mod encoder;
mod gnn;
mod gpt;
mod graph_batch;
mod llama;
mod mlp;
mod parts;
mod resnet;
mod seq2seq;
pub mod speech;
mod unet;
mod vit;

pub use answer::{Answer, AnswerConfig};
pub use batch_norm::BatchNorm;
pub use dlrm::{Dlrm, DlrmConfig, DlrmNetwork};
pub use encoder::{
    Encoder, EncoderConfig, EncoderError, PAD, TextClassifier, TextClassifierConfig,
};
pub use gnn::{Gnn, GnnConfig};
pub use gpt::{Gpt, GptConfig, NormKind, NormPlace, Positions};
pub use llama::{Llama, LlamaConfig, LlamaError};
pub use mlp::{Mlp, MlpConfig};
pub use parts::{Activation, dropout, evaluate_classes};
pub use resnet::{EXPANSION, ResNet, ResNetConfig, Stem};
pub use seq2seq::search;
pub use seq2seq::{END, FIRST, PADDING, Scoring, Search, Seq2SeqConfig, Transformer};
pub use unet::{UNet, UNetConfig};
pub use vit::{Pool, Vit, VitConfig};

/// burn has one random generator per process: tests that seed it and draw take turns.
#[cfg(test)]
pub(crate) fn test_lock() -> std::sync::MutexGuard<'static, ()> {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

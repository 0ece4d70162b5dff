//! The models, as burn modules that implement
//! [`Network`](velodrome_harness::contract::Network).

mod batch_norm;
mod gpt;
mod mlp;
mod parts;
mod resnet;
mod vit;

pub use batch_norm::BatchNorm;
pub use gpt::{Gpt, GptConfig, NormPlace};
pub use mlp::{Mlp, MlpConfig};
pub use parts::Activation;
pub use resnet::{EXPANSION, ResNet, ResNetConfig, Stem};
pub use vit::{Pool, Vit, VitConfig};

/// burn has one random generator per process: tests that seed it and draw take turns.
#[cfg(test)]
pub(crate) fn test_lock() -> std::sync::MutexGuard<'static, ()> {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

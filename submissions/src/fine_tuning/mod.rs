//! Fine-tuning with parameters of the model itself, or with an adapter and a training loop of its own.
//!
//! Adapters that need nothing but AdamW on their factors race as they stand in the table of methods
//! ([`crate::adapters::METHODS`], by [`crate::adapters::Rider`]).

pub mod adalora;
mod bottleneck;
pub mod compacter;
pub mod diffora;
pub mod ept;
pub mod eva;
mod faster;
pub mod half_finetuning;
pub mod houlsby;
pub mod iaa;
pub mod lora_plus;
pub mod mosa;
pub mod parallel_adapter;
pub mod pfeiffer;
pub mod prefix_tuning;
pub mod prompt_tuning;
mod prompts;
pub mod selections;

pub use bottleneck::Bottleneck;

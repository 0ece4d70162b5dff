//! Hugging Face PEFT's adapter folders: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! [`Folder`] reads the two files; [`Folder::bind`] ties them to the weights of a model ([`Weights`]),
//! checks every name and shape, and gives one [`Adapted`](super::Adapted) layer for each module.
//! [`Bound::merge`] folds the adapter into the weights, [`write()`] writes a folder that PEFT loads, and
//! [`replay`] compares all this with what PEFT computed.
//!
//! Names and layouts are those of PEFT 0.21.2: tensors are `base_model.model.MODULE.FACTOR`, shared
//! ones `base_model.FACTOR`; weights are `[d_out, d_in]`, or `[d_in, d_out]` with `fan_in_fan_out`.
//! Dropout is not read: it is no part of what an adapter computes once it is trained.
//!
//! Nothing is guessed. A tensor that is missing, left over or of another shape, a module that the
//! model does not have, and an option that changes what is computed and is not done here are errors
//! that name the file, the tensor and the shapes.

mod bind;
mod config;
mod error;
mod export;
mod golden;
mod tensors;

pub use bind::{Bound, Folder, Layer};
pub use config::Config;
pub use error::InterchangeError;
pub use export::write;
pub use golden::{Replay, TOLERANCE, replay};
pub use tensors::{Stored, Tensors};

/// The configuration's file in a folder.
pub const CONFIG: &str = "adapter_config.json";

/// The tensors' file in a folder.
pub const MODEL: &str = "adapter_model.safetensors";

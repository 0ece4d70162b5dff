//! `velodrome adapter`.

mod export;
mod import;
mod weights;

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use velodrome_harness::registry::Registry;
use velodrome_submissions::adapters::interchange::{Folder, Tensors};

/// Work with adapters as Hugging Face PEFT saves them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome adapter merge model.safetensors my_lora merged.safetensors
  velodrome adapter export runs/mine/trials/moby_gpt.lora.study-1.trial-1 my_lora
  velodrome adapter import my_lora moby_gpt")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Fold an adapter into the weights of its model
    ///
    /// Every tensor of the adapter must belong to the model and have its shape. Tensors that are not
    /// adapted stay as they are, bit for bit; adapted ones keep their type.
    Merge {
        /// The model's weights (`NAME.weight`, `NAME.bias`)
        #[arg(value_name = "BASE.safetensors")]
        base: PathBuf,
        /// The folder with adapter_config.json and adapter_model.safetensors
        #[arg(value_name = "ADAPTER")]
        adapter: PathBuf,
        /// The file to write
        #[arg(value_name = "OUT.safetensors")]
        out: PathBuf,
    },
    /// Write the adapter of an ended trial as Hugging Face PEFT does
    ///
    /// The trial must have been raced with `keep_weights = true` under `[limits]`. The folder gets
    /// adapter_config.json and adapter_model.safetensors, and base.safetensors with the model's own
    /// weights, so that `merge` and other programs can use it. A head that was trained too is in the
    /// adapter as a whole (`modules_to_save`).
    Export {
        /// The trial's folder (`RUN/trials/NAME`)
        #[arg(value_name = "TRIAL")]
        trial: PathBuf,
        /// The folder to write
        #[arg(value_name = "OUT")]
        out: PathBuf,
    },
    /// Fold an adapter that Hugging Face PEFT saved into a workload's model, and measure it
    ///
    /// Says what the workload's metric is on validation and test data, and how the loss on held-out
    /// pretraining data has changed. Module names are those of the workload's model.
    Import {
        /// The folder with adapter_config.json and adapter_model.safetensors
        #[arg(value_name = "ADAPTER")]
        adapter: PathBuf,
        /// The workload, one that begins from pretrained weights
        #[arg(value_name = "WORKLOAD")]
        workload: String,
        /// Form of the result
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match arguments.action {
        Action::Export { trial, out } => export::execute(&trial, &out, registry, console),
        Action::Import {
            adapter,
            workload,
            format,
        } => import::execute(&adapter, &workload, format, registry, console),
        Action::Merge { base, adapter, out } => merge(&base, &adapter, &out, console),
    }
}

fn merge(base: &Path, adapter: &Path, out: &Path, console: &mut Console) -> Result<Exit, Failure> {
    let weights = Tensors::read(base)?;
    let bound = Folder::read(adapter)?.bind(&weights, &Device::flex())?;
    bound.merge(&weights).write(out)?;
    let (layers, method) = (bound.layers.len(), bound.method);
    let plural = if layers == 1 { "" } else { "s" };
    console.note(format!(
        "{}: {method} of {layers} layer{plural} folded in",
        out.display()
    ));
    Ok(Exit::Ok)
}

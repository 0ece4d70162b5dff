//! `velodrome adapter`.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use velodrome_submissions::adapters::interchange::{Folder, Tensors};

/// Work with adapters as Hugging Face PEFT saves them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome adapter merge model.safetensors my_lora merged.safetensors")]
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
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    match arguments.action {
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

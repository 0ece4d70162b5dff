//! `velodrome completions`.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  velodrome completions bash > ~/.local/share/bash-completion/completions/velodrome")]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn execute(
    arguments: Arguments,
    program: &str,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::command::parser(),
        program,
        &mut script,
    );
    console.print(script)?;
    Ok(Exit::Ok)
}

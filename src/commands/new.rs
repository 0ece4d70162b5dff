//! `velodrome new`.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::{Path, PathBuf};
use velodrome_harness::registry::Registry;

/// Write a start for a plug-in of your own
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// A Cargo project with one submission that compiles, races and passes `verify`
    #[command(after_help = "\
Example:
  velodrome new submission my_optimizer
  cd my_optimizer
  cargo run --release -- verify my_optimizer
  cargo run --release -- run smoke -s my_optimizer -s adamw")]
    Submission {
        /// Name: lower-case letters, digits and underscores, beginning with a letter
        name: String,
        /// Folder to make [default: NAME]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// A Cargo project with one workload and a variant of it, on a data set that is in the program
    #[command(after_help = "\
Example:
  velodrome new workload my_workload
  cd my_workload
  cargo run --release -- verify my_workload
  cargo run --release -- run -w my_workload -s adamw -s nesterov")]
    Workload {
        /// Name: lower-case letters, digits and underscores, beginning with a letter
        name: String,
        /// Folder to make [default: NAME]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}

/// What is written: files by name, and the words in names and texts that stand for the plug-in's name.
struct Template {
    /// "submission" or "workload".
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// The command that tries it; `NAME` is the name.
    race: &'static str,
}

const SUBMISSION: Template = Template {
    what: "submission",
    files: &[
        ("src/main.rs", include_str!("../templates/submission.rs")),
        ("README.md", include_str!("../templates/submission.md")),
    ],
    race: "run smoke -s NAME -s adamw",
};

const WORKLOAD: Template = Template {
    what: "workload",
    files: &[
        (
            "src/main.rs",
            include_str!("../../examples/my_workload/main.rs"),
        ),
        (
            "targets/my_workload.toml",
            include_str!("../../examples/targets/my_workload.toml"),
        ),
        ("README.md", include_str!("../templates/workload.md")),
    ],
    race: "run -w NAME -s adamw -s nesterov",
};

const MANIFEST: &str = include_str!("../templates/manifest.toml");

/// The checkout that this binary was built from.
const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// Names that Cargo or the manifest's own dependency would not allow for a package.
const RESERVED: [&str; 12] = [
    "velodrome",
    "test",
    "core",
    "std",
    "alloc",
    "proc_macro",
    "build",
    "deps",
    "examples",
    "incremental",
    "benches",
    "tests",
];

/// Rust's keywords, which Cargo refuses as package names.
const KEYWORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while",
];

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (template, name, path) = match arguments.kind {
        Kind::Submission { name, path } => (SUBMISSION, name, path),
        Kind::Workload { name, path } => (WORKLOAD, name, path),
    };
    check_name(&name)?;
    let taken = match template.what {
        "workload" => registry.workload(&name).is_ok(),
        _ => registry.submission(&name).is_ok(),
    };
    if taken {
        return Err(Failure::Usage(format!(
            "there is a {} `{name}` already; choose another name",
            template.what
        )));
    }
    let folder = path.unwrap_or_else(|| PathBuf::from(&name));
    write(&folder, &name, &template, Path::new(CHECKOUT))?;
    console.print(format!(
        "Wrote {0}. Next:\n  cd {0}\n  cargo run --release -- verify {name}\n  \
         cargo run --release -- {1}\n",
        folder.display(),
        template.race.replace("NAME", &name)
    ))?;
    Ok(Exit::Ok)
}

fn check_name(name: &str) -> Result<(), Failure> {
    let fault = if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "must begin with a lower-case letter"
    } else if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
        "may hold lower-case letters, digits and underscores only"
    } else if name.len() > 64 {
        "must not be longer than 64 characters"
    } else if RESERVED.contains(&name) || KEYWORDS.contains(&name) {
        "is reserved by Cargo or Rust"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(format!("the name `{name}` {fault}")))
}

impl Template {
    /// A name or a text of this template for the plug-in `name`.
    fn named(&self, text: &str, name: &str) -> String {
        let text = match self.what {
            "workload" => text.replace("MY_WORKLOAD", &name.to_uppercase()),
            _ => text.replace("MySubmission", &camel_case(name)),
        };
        // One pass: a name may hold the word that it replaces.
        text.replace(&format!("my_{}", self.what), name)
    }
}

/// Writes the project into `folder`, which must not exist.
fn write(folder: &Path, name: &str, template: &Template, checkout: &Path) -> Result<(), Failure> {
    if folder.symlink_metadata().is_ok() {
        return Err(Failure::Usage(format!(
            "{} exists already; nothing was written: choose another name, or --path DIR",
            folder.display()
        )));
    }
    let put = |file: &str, text: String| {
        let file = folder.join(file);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|e| Failure::io(parent, "create", e))?;
        std::fs::write(&file, text).map_err(|e| Failure::io(&file, "write", e))
    };
    put(
        "Cargo.toml",
        MANIFEST
            .replace("my_plugin", name)
            .replace("\"DEPENDENCY\"", &dependency(checkout)),
    )?;
    for (file, text) in template.files {
        put(&template.named(file, name), template.named(text, name))?;
    }
    put(".gitignore", "/target\n/runs\n".into())?;
    // The same versions of all dependencies as Velodrome itself was tested with.
    let lock = checkout.join("Cargo.lock");
    if is_checkout(checkout) && lock.is_file() {
        let to = folder.join("Cargo.lock");
        std::fs::copy(&lock, &to).map_err(|e| Failure::io(&to, "write", e))?;
    }
    Ok(())
}

/// Whether the sources still lie where this binary was built, and are the author's own: Cargo marks
/// its downloads with `.cargo-ok`, and may remove them.
fn is_checkout(path: &Path) -> bool {
    path.join("Cargo.toml").is_file() && !path.join(".cargo-ok").exists()
}

/// The dependency on Velodrome as a TOML value.
fn dependency(checkout: &Path) -> String {
    let (key, value) = if is_checkout(checkout) {
        ("path", checkout.to_string_lossy().into_owned())
    } else {
        ("git", env!("CARGO_PKG_REPOSITORY").to_string())
    };
    format!("{{ {key} = {} }}", toml::Value::from(value))
}

/// `my_optimizer` becomes `MyOptimizer`.
fn camel_case(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        if let Some(first) = letters.next() {
            text.push(first.to_ascii_uppercase());
            text.push_str(letters.as_str());
        }
    }
    text
}

/// The templates themselves, compiled: what is written must compile.
#[cfg(test)]
#[path = "../templates/submission.rs"]
#[allow(dead_code)]
pub(crate) mod template;

#[cfg(test)]
#[path = "../../examples/my_workload/main.rs"]
#[allow(dead_code)]
pub(crate) mod workload_template;

#[cfg(test)]
#[path = "new_tests.rs"]
mod tests;

//! A program built from a git revision, in a working tree of its own.

use crate::console::Console;
use crate::failure::Failure;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program `bin` of `revision`, built with `cargo build --release --workspace` in `place`: the
/// repository, or a folder of it. It stays under `folder`, by its commit, and is not built twice.
/// Dependencies are built once for all revisions.
pub(super) fn revision(
    revision: &str,
    bin: &str,
    place: &Path,
    folder: &Path,
    console: &mut Console,
) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(folder).map_err(|e| Failure::io(folder, "find", e))?;
    let commit = format!("{revision}^{{commit}}");
    let commit = git(
        place,
        &["rev-parse", "--verify", "--end-of-options", &commit],
    )?;
    let within = git(place, &["rev-parse", "--show-prefix"])?;
    let short = commit.get(..12).unwrap_or(&commit);
    let suffix = std::env::consts::EXE_SUFFIX;
    let kept = folder.join("bin").join(format!("{bin}-{short}{suffix}"));
    if kept.exists() {
        return Ok(kept);
    }
    console.note(format!("building {bin} of {revision} ({short})"));
    let source = folder.join(format!("source-{short}"));
    let tree = source.display().to_string();
    // A tree that an interrupted build left is as good; one that was deleted by hand is forced to come
    // back.
    if !source.exists() {
        git(
            place,
            &["worktree", "add", "--force", "--detach", &tree, &commit],
        )?;
    }
    let product = cargo(bin, &source.join(within), &folder.join("target"))?;
    let product = product.ok_or_else(|| Failure::Build {
        revision: revision.to_string(),
        place: source,
    })?;
    // Under its last name only once it is whole.
    let part = kept.with_extension("part");
    let copied = std::fs::create_dir_all(folder.join("bin"))
        .and_then(|()| std::fs::copy(&product, &part))
        .and_then(|_| std::fs::rename(&part, &kept));
    copied.map_err(|e| Failure::io(&kept, "write", e))?;
    git(place, &["worktree", "remove", "--force", &tree])?;
    Ok(kept)
}

/// Builds `bin` of the package or workspace in `source`; `None` where that fails, of which Cargo has told.
fn cargo(bin: &str, source: &Path, target: &Path) -> Result<Option<PathBuf>, Failure> {
    /// What Cargo says of a thing that it has built.
    #[derive(Deserialize)]
    struct Built {
        executable: Option<PathBuf>,
    }
    // No command but `data fetch` uses the network, unless the user says so in Cargo's own way.
    let offline = std::env::var_os("CARGO_NET_OFFLINE").unwrap_or_else(|| "true".into());
    let run = |words: &[&str]| {
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(words)
            .env("CARGO_NET_OFFLINE", &offline)
            .current_dir(source)
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Failure::io("cargo", "run", e))
    };
    // Cargo tells two working trees apart by the times of their files alone, and would take the program
    // of one revision for that of another whose tree is older.
    let cleaned = run(&["clean", "--quiet", "--release", "--workspace"])?;
    if !cleaned.status.success() {
        return Ok(None);
    }
    // Where the program lies depends on the user's configuration, so Cargo is asked.
    let told = "--message-format=json-render-diagnostics";
    let built = run(&["build", "--release", "--workspace", "--bin", bin, told])?;
    let said = String::from_utf8_lossy(&built.stdout);
    let mut programs = said.lines().filter_map(|line| {
        let built: Built = serde_json::from_str(line).ok()?;
        built.executable
    });
    // The program itself is told of last.
    Ok(programs.next_back().filter(|_| built.status.success()))
}

/// What `git` says on standard output, or its complaint.
fn git(place: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::io("git", "run", e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Failure::Usage(format!("git {}: {said}", arguments[0])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_revision_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (mut console, ..) = Console::captured();
        let name = "no-such-revision";
        let place = Path::new(env!("CARGO_MANIFEST_DIR"));
        let error = revision(name, "x", place, folder.path(), &mut console).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    /// Two revisions of a package that lies in a folder of a repository, and one that does not build.
    #[test]
    fn each_revision_gives_its_own_program() {
        let (repository, builds) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = repository.path().join("riders");
        std::fs::create_dir_all(place.join("src")).unwrap();
        let manifest = "[package]\nname = \"riders\"\nedition = \"2024\"\n";
        std::fs::write(place.join("Cargo.toml"), manifest).unwrap();
        git(&place, &["init", "--quiet"]).unwrap();
        let commit = |main: &str| {
            std::fs::write(place.join("src/main.rs"), main).unwrap();
            git(&place, &["add", "."]).unwrap();
            let me = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
            let words = [&me[..], &["commit", "--quiet", "--message=x"]].concat();
            git(&place, &words).unwrap();
        };
        commit("fn main() { print!(\"before\") }");
        commit("fn main() { print!(\"after\") }");
        let (mut console, _, notes) = Console::captured();
        let mut build = |name| revision(name, "riders", &place, builds.path(), &mut console);
        // What an interrupted build leaves: a tree that is older than the program of another revision.
        let head = git(&place, &["rev-parse", "--short=12", "HEAD"]).unwrap();
        let left = builds.path().join(format!("source-{head}"));
        let left = left.to_string_lossy();
        git(&place, &["worktree", "add", "--detach", &left, "HEAD"]).unwrap();
        for _ in 0..2 {
            for (name, expected) in [("HEAD~1", "before"), ("HEAD", "after")] {
                let program = build(name).unwrap();
                let said = Command::new(program).output().unwrap().stdout;
                assert_eq!(String::from_utf8_lossy(&said), expected);
            }
        }
        // A tree that is gone, though git still knows of it.
        commit("fn main() { nothing }");
        let error = build("HEAD").unwrap_err();
        assert_eq!(error.exit(), Exit::Incomparable);
        let Failure::Build { place: tree, .. } = &error else {
            panic!("{error}")
        };
        std::fs::remove_dir_all(tree).unwrap();
        assert_eq!(build("HEAD").unwrap_err().exit(), Exit::Incomparable);
        // Each is built once.
        assert_eq!(notes.text().matches("building riders").count(), 4);
    }
}

//! A program built from a git revision, in a working tree of its own.

use crate::console::Console;
use crate::failure::Failure;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program `bin` of `revision` of the repository in the current folder, built with `cargo build
/// --release`. It stays under `folder`, by its commit, and is not built twice. Dependencies are built
/// once for all revisions.
pub(super) fn revision(
    revision: &str,
    bin: &str,
    folder: &Path,
    console: &mut Console,
) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(folder).map_err(|e| Failure::io(folder, "find", e))?;
    let commit = format!("{revision}^{{commit}}");
    let commit = git(&["rev-parse", "--verify", "--end-of-options", &commit])?;
    let short = commit.get(..12).unwrap_or(&commit);
    let suffix = std::env::consts::EXE_SUFFIX;
    let kept = folder.join("bin").join(format!("{bin}-{short}{suffix}"));
    if kept.exists() {
        return Ok(kept);
    }
    console.note(format!("building {bin} of {revision} ({short})"));
    let source = folder.join(format!("source-{short}"));
    let place = source.display().to_string();
    // A tree that an interrupted build left is as good.
    if !source.exists() {
        git(&["worktree", "add", "--detach", &place, &commit])?;
    }
    let target = folder.join("target");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--bin", bin])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|e| Failure::io("cargo", "run", e))?;
    if !built.success() {
        return Err(Failure::Build {
            revision: revision.to_string(),
            place: source,
        });
    }
    let product = target.join("release").join(format!("{bin}{suffix}"));
    let copied =
        std::fs::create_dir_all(folder.join("bin")).and_then(|()| std::fs::copy(&product, &kept));
    copied.map_err(|e| Failure::io(&kept, "write", e))?;
    git(&["worktree", "remove", "--force", &place])?;
    Ok(kept)
}

/// What `git` says on standard output, or its complaint.
fn git(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(arguments)
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
        let error = revision(name, "velodrome", folder.path(), &mut console).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}

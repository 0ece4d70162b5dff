//! Tells the fingerprint which compiler and which commit built the harness.

use std::path::Path;
use std::process::Command;

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let out = Command::new(program).args(arguments).output().ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
}

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=VELODROME_RUSTC={version}");

    // Only this repository's own history counts: a copy of the sources inside another repository
    // would otherwise take that one's commit for ours.
    let root = Path::new("..");
    let commit = if root.join(".git").exists() {
        let head = output("git", &["rev-parse", "--short=12", "HEAD"]);
        // Without locks, or it writes the index that is watched below, and the next build begins anew.
        let status = [
            "--no-optional-locks",
            "status",
            "--porcelain",
            "--untracked-files=no",
        ];
        let changes = output("git", &status);
        match (head, changes) {
            (Some(head), Some(changes)) if changes.is_empty() => head,
            (Some(head), _) => format!("{head}-dirty"),
            _ => "unknown".into(),
        }
    } else {
        "unknown".into()
    };
    println!("cargo::rustc-env=VELODROME_COMMIT={commit}");
    for path in [".git/HEAD", ".git/index", "Cargo.toml", "Cargo.lock"] {
        if root.join(path).exists() {
            println!("cargo::rerun-if-changed=../{path}");
        }
    }
    for folder in [
        "src",
        "harness",
        "kernels",
        "results",
        "workloads",
        "submissions",
    ] {
        if root.join(folder).exists() {
            println!("cargo::rerun-if-changed=../{folder}");
        }
    }
}

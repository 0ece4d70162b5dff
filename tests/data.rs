//! `velodrome data`: fetching and checking, without a network.

mod common;

use common::{finish, succeed, velodrome};
use std::path::Path;
use std::process::Command;

/// Archive of the set `flights3m`.
const ARCHIVE: &str = "vega-datasets-3.2.1.tgz";

fn data(cache: &Path, words: &[&str]) -> Command {
    let mut command = velodrome();
    command.arg("data").args(words).arg("--cache").arg(cache);
    command
}

/// Runs to the end and expects `code`; standard output and error.
fn fail(command: &mut Command, code: i32) -> (String, String) {
    let (out, err, found) = finish(command);
    assert_eq!(found, code, "{out}\n{err}");
    (out, err)
}

#[test]
fn a_flipped_bit_in_the_cache_is_found_and_named() {
    let cache = tempfile::tempdir().unwrap();
    let out = succeed(&mut data(cache.path(), &["verify"]));
    assert!(out.contains("ok       in the program"), "{out}");
    std::fs::write(cache.path().join(ARCHIVE), b"another file").unwrap();
    let (out, _) = fail(&mut data(cache.path(), &["verify"]), 1);
    assert!(
        out.contains("DAMAGED  flights3m") && out.contains(ARCHIVE),
        "{out}"
    );
    assert!(out.contains("expected 6f72fda4"), "{out}");
    // Fetching does not take it for the right one, and does not throw it away unasked.
    let (_, err) = fail(&mut data(cache.path(), &["fetch", "flights3m"]), 4);
    assert!(err.contains("remove it"), "{err}");
}

#[test]
fn without_the_client_the_error_says_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = data(cache.path(), &["fetch", "flights3m"]);
    let (_, err) = fail(command.env("PATH", cache.path()), 7);
    assert!(err.contains("`npm`") && err.contains("--from"), "{err}");
    assert!(err.contains(ARCHIVE), "{err}");
    let (_, err) = fail(&mut data(cache.path(), &["verify", "flights3m"]), 1);
    assert!(err.is_empty(), "{err}");
}

#[test]
fn a_wrong_archive_is_refused_with_both_sums_and_leaves_nothing() {
    let (cache, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(from.path().join(ARCHIVE), b"another file").unwrap();
    let mut command = data(cache.path(), &["fetch", "flights3m"]);
    let (_, err) = fail(command.arg("--from").arg(from.path()), 4);
    assert!(err.contains("expected 6f72fda4"), "{err}");
    assert!(!cache.path().join(ARCHIVE).exists());
}

#[test]
fn an_unknown_set_is_a_wrong_command_line() {
    let cache = tempfile::tempdir().unwrap();
    let (_, err) = fail(&mut data(cache.path(), &["fetch", "cifar"]), 2);
    assert!(err.contains("cifar10"), "{err}");
}

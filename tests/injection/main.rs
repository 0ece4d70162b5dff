//! Faults of the outside, on purpose: signals at any moment, disks without room, damaged files, clocks that
//! jump, several runners and readers. Afterwards every trial that had ended is untouched, the others continue
//! or start again, and the records are those of an undisturbed run; or an error names file and field.
//!
//! Each test prints what it did (`-- --nocapture`). The longer versions are `--ignored`.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod clocks;
mod damage;
mod disk;
mod kills;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod refuse;
mod writers;

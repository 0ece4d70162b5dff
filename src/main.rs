//! The `velodrome` command.
fn main() {}

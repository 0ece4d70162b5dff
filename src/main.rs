//! The `velodrome` command.
fn main() -> std::process::ExitCode {
    velodrome::Command::new().run()
}

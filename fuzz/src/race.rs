//! Suite files and the search spaces in them.

use std::path::Path;
use std::sync::OnceLock;
use velodrome_harness::race::{Suite, plan};
use velodrome_harness::registry::Registry;

/// A suite file.
pub fn suite(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Err(error) = Suite::parse(text, Path::new("suite.toml")) else {
        return true;
    };
    let message = error.to_string();
    assert!(message.starts_with("suite.toml, line "), "{message}");
    false
}

/// What stands above search spaces and points, so that the plan is small.
const HEAD: &str = "name = \"x\"\nruleset = \"external\"\nworkloads = [\"digits_mlp\"]\n\
                    submissions = [\"adamw\", \"nesterov\"]\nstudies = 1\ntrials = 2\n\n";

/// The search spaces and points of a suite file, up to its plan.
pub fn space(bytes: &[u8]) -> bool {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(suite) = Suite::parse(&format!("{HEAD}{text}"), Path::new("suite.toml")) else {
        return false;
    };
    let registry = REGISTRY.get_or_init(|| {
        let mut registry = Registry::new();
        let added = velodrome_workloads::register(&mut registry)
            .and_then(|()| velodrome_submissions::register(&mut registry));
        added.expect("the built-in tables have no faults");
        registry
    });
    let Ok(plan) = plan(&suite, registry) else {
        return false;
    };
    let mut values = plan.trials.iter().flat_map(|t| t.point.values());
    assert!(values.all(|x| x.is_finite()));
    true
}

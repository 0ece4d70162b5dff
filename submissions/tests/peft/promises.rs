//! Every line of the table keeps what it promises, and a promise can be broken.

use velodrome_submissions::adapters::{Begins, Entry, METHODS, checks};

#[test]
fn every_method_keeps_its_promises() {
    for entry in METHODS {
        for check in checks::check(entry) {
            let (name, what) = (entry.name, check.name);
            assert!(check.passed, "{name} {what}: {}", check.message);
        }
    }
}

/// A line like that of `name` with another promise.
fn failing(name: &str, change: impl FnOnce(Entry) -> Entry) -> Vec<&'static str> {
    let found = METHODS.iter().find(|e| e.name == name).unwrap();
    let entry = change(Entry { ..*found });
    let checks = checks::check(Box::leak(Box::new(entry)));
    let failed = checks.into_iter().filter(|c| !c.passed);
    failed.map(|c| c.name).collect()
}

#[test]
fn a_wrong_promise_is_found() {
    let count = |e| Entry {
        example: (r#"{"r": 8}"#, 6143),
        ..e
    };
    assert_eq!(failing("lora", count), ["trained_values"]);
    let start = |e| Entry {
        begins: Begins::Elsewhere,
        ..e
    };
    assert_eq!(failing("miss", start), ["start"]);
    let at_weight = |e| Entry {
        begins: Begins::AtWeight,
        ..e
    };
    assert_eq!(failing("c3a", at_weight), ["start"]);
    let no_block = |e| Entry {
        example: (r#"{"block_size": 7}"#, 1),
        ..e
    };
    assert_eq!(failing("c3a", no_block), ["start"]);
}

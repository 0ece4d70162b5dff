//! Every submission that fine-tunes keeps the contract.

use burn::tensor::Device;
use velodrome_harness::conformance::check_submission;
use velodrome_harness::contract::Track;
use velodrome_submissions::adapters::METHODS;
use velodrome_submissions::fine_tuning;

#[test]
fn the_contract_is_kept() {
    let mut failed = Vec::new();
    for submission in fine_tuning() {
        let description = submission.describe();
        assert_eq!(description.track, Track::Finetune, "{}", description.name);
        for check in check_submission(submission.as_ref(), &Device::flex()) {
            if !check.passed {
                failed.push(format!(
                    "{}: {}: {}",
                    description.name, check.name, check.message
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_method_races() {
    let names: Vec<&str> = fine_tuning().iter().map(|s| s.describe().name).collect();
    for entry in METHODS {
        assert!(names.contains(&entry.name), "{}", entry.name);
    }
}

//! The targets are what the records beside them give.

use std::path::Path;
use velodrome_harness::contract::Size;
use velodrome_harness::targets::{Finding, horizon};
use velodrome_results::archive;

#[test]
fn each_target_follows_from_its_records() {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/records");
    for workload in crate::common::registry().workloads() {
        let spec = workload.spec();
        if spec.size != Size::Laptop {
            continue;
        }
        let name = &spec.name;
        let provenance = &spec.target_provenance;
        if !provenance.contains("Records:") {
            // Not by the procedure yet: then the file says so.
            assert!(provenance.starts_with("Provisional:"), "{name}");
            continue;
        }
        let file = |part: &str| records.join(format!("{name}.{part}.parquet"));
        let repeat = archive::read(&file("repeat")).unwrap();
        let search = archive::read(&file("search")).unwrap();
        let batch = spec.hints.batch_size as u64;
        let hint_work = spec.hints.steps * batch;
        let found = Finding::from_runs(name, &search, &repeat, hint_work, batch).unwrap();
        assert_eq!(found.validation, spec.target.validation, "{name}");
        assert_eq!(found.test, spec.target.test, "{name}");
        assert_eq!(found.eval_every_work, spec.eval_every_work, "{name}");
        assert_eq!(found.budget_work, spec.budget.work, "{name}");
        assert_eq!(found.budget_seconds, spec.budget.seconds, "{name}");
        for trial in &repeat.trials {
            assert_eq!(trial.record.workload, *name);
            let steps = horizon(spec.hints.steps);
            assert_eq!(trial.record.step_hint, Some(steps), "{name}");
            assert_eq!(trial.record.budget.work, steps * batch, "{name}");
        }
        // The winner has the best value of the search.
        let direction = spec.target.direction;
        let best = search
            .trials
            .iter()
            .filter_map(|t| t.record.outcome.best_validation)
            .fold(f64::NAN, |a, b| if direction.better(b, a) { b } else { a });
        let won = search.trials.iter().find(|t| {
            t.record.submission == found.winner.algorithm && t.record.point == found.winner.point.0
        });
        let won = won.and_then(|t| t.record.outcome.best_validation);
        assert_eq!(won, Some(best), "{name}");
    }
}

//! `velodrome targets`: the file that it writes follows from the records that it leaves beside it.

mod common;

use common::{finish, succeed, velodrome};
use velodrome::harness::targets::Finding;
use velodrome::results::archive;
use velodrome::workloads::targets::Targets;

#[test]
fn a_written_target_follows_from_its_records_and_the_procedure_continues() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, files) = (folder.path().join("runs"), folder.path().join("targets"));
    let mut command = velodrome();
    command.args(["targets", "digits_mlp", "digits_mlp_narrow"]);
    command.args(["--algorithm", "adamw", "--trials", "1", "--seeds", "3"]);
    command.args(["--events", "plain", "--format", "json", "--out"]);
    command.arg(&runs).arg("--write").arg(&files);
    let out = succeed(&mut command);
    let said: Vec<Finding> = serde_json::from_str(&out).unwrap();
    assert_eq!(said.len(), 2);
    // The variant tries the base's best point alone.
    assert_eq!(said[0].winner, said[1].winner);
    assert_eq!((said[0].searched.len(), said[1].searched.len()), (2, 1));

    let text = std::fs::read_to_string(files.join("digits_mlp.toml")).unwrap();
    let targets = Targets::parse("digits_mlp", &text).unwrap();
    for finding in &said {
        let name = &finding.workload;
        let record = |part: &str| files.join(format!("records/{name}.{part}.parquet"));
        let repeat = archive::read(&record("repeat")).unwrap();
        let search = archive::read(&record("search")).unwrap();
        let again = Finding::from_runs(name, &search, &repeat, 25_600, 64).unwrap();
        assert_eq!(again, *finding);
        let entry = targets.entry(name).unwrap();
        assert_eq!(entry.validation, finding.validation);
        assert_eq!(entry.test, finding.test);
        assert_eq!(entry.eval_every_work, finding.eval_every_work);
        assert_eq!(entry.budget_work, 2 * 25_600);
        assert!(entry.provenance.contains("Records: records/"), "{text}");
        // At least half of the repetitions meet the median, and those met it at some evaluation.
        let met: Vec<_> = finding
            .repeated
            .iter()
            .filter(|r| r.work_to_target.is_some())
            .collect();
        assert!(met.len() >= 2, "{finding:?}");
        assert!(met.iter().all(|r| r.validation <= finding.validation));
        assert!(met.iter().all(|r| r.test <= finding.test));
    }

    // The same command races nothing again.
    let (again, err, code) = finish(&mut command);
    assert_eq!(code, 0, "{err}");
    assert_eq!(again, out);
    assert!(!err.contains("starts"), "{err}");
}

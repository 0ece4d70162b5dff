//! Records and logs survive a round trip, and damage is found where it is.

use crate::common::{TrialBuilder, example_run, finding, run, write_run};
use velodrome_results::run::{Run, Trial, trial_dir};
use velodrome_results::{EvalRecord, RecordError, RunRecord, Status, TrialRecord};
use velodrome_results::{archive, log};

/// A trial in which every optional field is filled, with values that only survive in full
/// precision.
fn full() -> Trial {
    TrialBuilder::new("digits", "adamw", 2, 3)
        .reached(1.0 / 3.0, 7)
        .edit(|r| {
            r.base = "digits_base".into();
            r.reason = Some("a \"quoted\" reason,\nover two lines: é".into());
            r.point.insert("beta2".into(), 0.1 + 0.2);
            r.seeds.data = u64::MAX;
            r.started = Some(1_764_072_000.125);
            r.fingerprint.accelerator = Some("Example GPU, driver 1.2".into());
            r.outcome.time_to_test_target = Some(f64::MIN_POSITIVE);
            r.outcome.resumes = 2;
            r.findings = vec![finding(
                "background_work",
                "the submission used another thread",
            )];
        })
        .build()
}

fn evals() -> Vec<EvalRecord> {
    let mut evals = full().evals;
    evals.truncate(3);
    evals[0].train.insert("loss".into(), f64::NAN);
    evals[1].validation.insert("loss".into(), f64::INFINITY);
    evals[1].test.insert("loss".into(), f64::NEG_INFINITY);
    evals[2].clock = 0.1 + 0.2;
    evals
}

fn write_log(path: &std::path::Path) -> Vec<u8> {
    let mut file = log::EvalLog::open(path, 0).unwrap();
    for eval in &evals() {
        file.append(eval).unwrap();
    }
    std::fs::read(path).unwrap()
}

#[test]
fn a_trial_record_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trial.json");
    for status in Status::ALL {
        let mut record = full().record;
        record.status = status;
        record.write(&path).unwrap();
        assert_eq!(TrialRecord::read(&path).unwrap(), record);
    }
    assert!(!dir.path().join("trial.json.tmp").exists());
}

#[test]
fn evaluations_come_back_bit_for_bit() {
    for eval in evals() {
        let line = log::encode(&eval).unwrap();
        assert!(!line.contains('\n'));
        let back = log::decode(&line).unwrap();
        // Compared as text as well, since NaN is not equal to itself.
        assert_eq!(log::encode(&back).unwrap(), line);
        assert_eq!(format!("{back:?}"), format!("{eval:?}"));
    }
}

#[test]
fn a_flipped_bit_of_a_log_is_found_at_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evals.jsonl");
    let whole = write_log(&path);
    for at in 0..whole.len() {
        let line = 1 + whole[..at].iter().filter(|b| **b == b'\n').count();
        // Bit 7 makes the line invalid UTF-8; of the others, each byte takes its turn, since every
        // case writes a file.
        for bit in [at % 7, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, &damaged).unwrap();
            match log::read(&path) {
                Err(RecordError::Damaged {
                    path: p,
                    line: Some(n),
                    ..
                }) => {
                    assert_eq!((p, n), (path.clone(), line), "byte {at}, bit {bit}");
                }
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
    }
    // In memory, all bits.
    for eval in evals() {
        let line = log::encode(&eval).unwrap();
        for at in 0..line.len() {
            for bit in 0..7 {
                let mut damaged = line.clone().into_bytes();
                damaged[at] ^= 1 << bit;
                let damaged = String::from_utf8(damaged).unwrap();
                assert!(log::decode(&damaged).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_truncated_line_is_found_and_forgiven_only_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evals.jsonl");
    let whole = write_log(&path);
    let start = 1 + whole[..whole.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap();
    for end in start + 1..whole.len() - 1 {
        std::fs::write(&path, &whole[..end]).unwrap();
        let message = log::read(&path).unwrap_err().to_string();
        assert!(message.contains("evals.jsonl, line 3: "), "{message}");
        assert_eq!(log::read_running(&path).unwrap().len(), 2);
    }
    // In the middle of the file it is damage, running or not.
    let mut middle = whole[..start - 5].to_vec();
    middle.extend_from_slice(&whole[start - 1..]);
    std::fs::write(&path, &middle).unwrap();
    for result in [log::read(&path), log::read_running(&path)] {
        assert!(result.unwrap_err().to_string().contains("line 2: "));
    }
}

#[test]
fn a_resumed_log_drops_what_lies_behind_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evals.jsonl");
    let mut file = log::EvalLog::open(&path, 0).unwrap();
    file.append(&evals()[0]).unwrap();
    let keep = file.bytes();
    file.append(&evals()[1]).unwrap();
    drop(file);
    let mut file = log::EvalLog::open(&path, keep).unwrap();
    file.append(&evals()[2]).unwrap();
    let steps: Vec<u64> = log::read(&path).unwrap().iter().map(|e| e.step).collect();
    assert_eq!(steps, [evals()[0].step, evals()[2].step]);
    assert!(
        log::EvalLog::open(&path, 1_000_000)
            .unwrap_err()
            .to_string()
            .contains("1000000 bytes")
    );
}

#[test]
fn another_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trial.json");
    let mut record = full().record;
    record.format = "velodrome-trial/2".into();
    record.write(&path).unwrap();
    let message = TrialRecord::read(&path).unwrap_err().to_string();
    for part in [
        "trial.json",
        "velodrome-trial/2",
        "velodrome-trial/1",
        "`format`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    for (text, part) in [
        ("{", "not valid JSON"),
        ("{\"a\": 1}", "field `format` is missing"),
        ("{\"format\": \"velodrome-trial/1\"}", "missing field `id`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = TrialRecord::read(&path).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("trial.json"),
            "{message}"
        );
    }
}

#[test]
fn a_damaged_trial_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let example = example_run();
    write_run(&example, dir.path());
    let whole = Run::read(dir.path()).unwrap();
    assert_eq!(
        (whole.trials.len(), whole.missing.len(), whole.damaged.len()),
        (24, 0, 0)
    );
    for (a, b) in whole.trials.iter().zip(&example.trials) {
        assert_eq!((&a.record, &a.evals), (&b.record, &b.evals));
    }

    let id = |i: usize| example.trials[i].record.id.clone();
    let of = |i: usize| trial_dir(dir.path(), &id(i));
    std::fs::write(of(0).join("trial.json"), "{").unwrap();
    std::fs::remove_file(of(1).join("trial.json")).unwrap();
    let log = of(3).join("evals.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // A line that is cleanly gone leaves no damaged line, but the count tells.
    std::fs::write(&log, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let run = Run::read(dir.path()).unwrap();
    assert_eq!(run.trials.len(), 21);
    assert_eq!(run.missing, [id(1)]);
    let damaged: Vec<&String> = run.damaged.iter().map(|d| &d.0).collect();
    assert_eq!(damaged, [&id(0), &id(3)]);
    assert!(run.damaged[1].1.to_string().contains("5 evaluations"));
}

#[test]
fn an_empty_run_reads() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&run("empty", Vec::new()), dir.path());
    assert!(Run::read(dir.path()).unwrap().trials.is_empty());
    assert!(
        Run::read(&dir.path().join("elsewhere"))
            .unwrap_err()
            .to_string()
            .contains("run.json")
    );
}

/// Flips one bit after the other: what is read is what was written, or an error names the file.
fn flip_bits<T: PartialEq + std::fmt::Debug>(
    path: &std::path::Path,
    stride: usize,
    read: impl Fn() -> Result<T, RecordError>,
) {
    let whole = std::fs::read(path).unwrap();
    let written = read().unwrap();
    let (mut named, mut harmless) = (0, 0);
    for bit in (0..whole.len() * 8).step_by(stride) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path, bytes).unwrap();
        match read() {
            Ok(found) => {
                assert_eq!(found, written, "bit {bit} of {}", path.display());
                harmless += 1;
            }
            Err(error) => {
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(error.to_string().contains(name), "{error}");
                named += 1;
            }
        }
    }
    println!(
        "{}: {named} changed bits named, {harmless} harmless",
        path.display()
    );
    // Only in the name of the checksum, which nothing depends on.
    assert!(harmless <= 64 && named > 1000);
}

#[test]
fn no_changed_bit_of_a_record_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let trial = dir.path().join("trial.json");
    full().record.write(&trial).unwrap();
    flip_bits(&trial, 1, || TrialRecord::read(&trial));
    let plan = dir.path().join("run.json");
    example_run().record.write(&plan).unwrap();
    flip_bits(&plan, 3, || RunRecord::read(&plan));
    let log = dir.path().join("evals.jsonl");
    write_log(&log);
    // Compared as text, since NaN is not equal to itself.
    flip_bits(&log, 1, || {
        log::read(&log).map(|evals| format!("{evals:?}"))
    });
}

#[test]
fn ids_that_lead_out_of_the_run_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, file) = (folder.path().join("run"), folder.path().join("run.parquet"));
    let example = example_run();
    write_run(&example, &dir);
    // A whole trial where the ids lead to.
    let first = &example.trials[0].record.id;
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["trial.json", "evals.jsonl"] {
        std::fs::copy(trial_dir(&dir, first).join(name), outside.join(name)).unwrap();
    }
    for id in ["../../outside", "..", ".", "", "a/b", "a\\b", "/etc"] {
        let mut other = example_run();
        other.record.trials[0].0 = id.into();
        other.record.write(&dir.join("run.json")).unwrap();
        let error = Run::read(&dir).unwrap_err().to_string();
        for part in ["run.json", "`trials`", id] {
            assert!(error.contains(part), "{error}");
        }
        archive::write(&other, &file).unwrap();
        assert!(
            archive::read(&file)
                .unwrap_err()
                .to_string()
                .contains("`trials`")
        );

        let mut other = example_run();
        other.trials[0].record.id = id.into();
        archive::write(&other, &file).unwrap();
        let error = archive::read(&file).unwrap_err().to_string();
        assert!(error.contains("`id`"), "{error}");
    }
}

//! Criteo's click logs, in files of their true format.

use crate::common::mean;
use crate::common::{batch, lock, training_device};
use std::path::Path;
use velodrome_harness::contract::{Dataset, HostValues, Model, PassOptions, Trained};
use velodrome_workloads::data::Criteo;
use velodrome_workloads::flights_dlrm::algoperf;
use velodrome_workloads::models::{Dlrm, DlrmConfig};

/// A line of the true format: a label, 13 numbers, 26 categories; some missing.
fn line(n: usize) -> String {
    let mut fields = vec![(n % 3 % 2).to_string()];
    fields.extend((0..13).map(|i| match (n + i) % 5 {
        0 => String::new(),
        _ => ((n * 31 + i * 7) as i64 % 2000 - 1).to_string(),
    }));
    fields.extend((0..26).map(|i| match (n + 2 * i) % 11 {
        0 => String::new(),
        _ => format!(
            "{:08x}",
            (n as u32 + 1).wrapping_mul(2_654_435_761) ^ (i as u32) << 9
        ),
    }));
    fields.join("\t") + "\n"
}

fn write(folder: &Path, name: &str, lines: std::ops::Range<usize>) {
    let text: String = lines.map(line).collect();
    std::fs::write(folder.join(name), text).unwrap();
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in [
        ("day_0_00", 0..150),
        ("day_0_01", 150..151),
        ("day_10_00", 351..400),
        ("day_9_00", 151..351),
        ("day_23_18", 400..410),
        ("day_23_19", 410..417),
        ("notes.txt", 0..1),
    ] {
        write(folder.path(), name, lines);
    }
    folder
}

fn open(folder: &Path) -> Result<[velodrome_workloads::data::Lines; 3], String> {
    Criteo::open(folder, 1000, "criteo1tb_dlrm").map_err(|e| e.to_string())
}

#[test]
fn lines_are_found_by_number_across_files_and_days() {
    let folder = folder();
    let splits = open(folder.path()).unwrap();
    assert_eq!([0, 1, 2].map(|i| splits[i].len()), [400, 7, 10]);
    let [train, validation, test] = &splits;
    let all: Vec<usize> = (0..400).collect();
    let whole = train.batch(&all);
    assert_eq!(whole.examples, 400);
    assert_eq!(whole.fields[1].shape, [400, 26]);
    // Each line alone, and any order, give the same; days are in the order of their numbers.
    let HostValues::Int(labels) = &whole.fields[2].values else {
        panic!("labels are integers");
    };
    assert!(
        labels
            .iter()
            .enumerate()
            .all(|(n, l)| *l == (n % 3 % 2) as i32)
    );
    let HostValues::Float(dense) = &whole.fields[0].values else {
        panic!("numbers are real");
    };
    let expected = ((351 * 31 + 7) % 2000) as f32;
    assert!((dense[351 * 13 + 1] - expected.ln()).abs() < 1e-5);
    let some = [399, 0, 150, 151, 64, 63, 399, 350];
    let picked = train.batch(&some);
    for (at, index) in some.into_iter().enumerate() {
        let one = train.batch(&[index]);
        for (one, many) in one.fields.iter().zip(&picked.fields) {
            match (&one.values, &many.values) {
                (HostValues::Float(a), HostValues::Float(b)) => {
                    assert_eq!(a[..], b[at * a.len()..(at + 1) * a.len()]);
                }
                (HostValues::Int(a), HostValues::Int(b)) => {
                    assert_eq!(a[..], b[at * a.len()..(at + 1) * a.len()]);
                    assert!(a.iter().all(|v| (0..1000).contains(v)));
                }
                _ => panic!("other types"),
            }
        }
    }
    assert_eq!(train.batch(&[0, 400]).examples, 1);
    assert_ne!(test.batch(&[0]), validation.batch(&[0]));
}

#[test]
fn a_file_that_changes_after_it_was_opened_is_an_error_with_its_line() {
    let folder = folder();
    let [train, ..] = open(folder.path()).unwrap();
    let whole = train.load(&[0, 160, 5], None).unwrap();
    assert_eq!(whole, train.batch(&[0, 160, 5]));
    write(folder.path(), "day_9_00", 0..3);
    let error = train.load(&[0, 160, 5], None).unwrap_err();
    assert!(error.contains("day_9_00: line 10 "), "{error}");
    assert_eq!(train.batch(&[0, 160, 5]).examples, 2);
    assert!(
        train
            .load(&[400], None)
            .unwrap_err()
            .contains("example 400")
    );
}

#[test]
fn a_pass_over_lines_of_the_true_format() {
    let _lock = lock();
    let folder = folder();
    let [train, ..] = open(folder.path()).unwrap();
    let config = DlrmConfig {
        rows: 1000,
        width: 8,
        bottom: vec![16, 8],
        top: vec![16, 8],
        ..algoperf()
    };
    let device = training_device();
    device.seed(2);
    let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
    let ids: Vec<usize> = (100..200).collect();
    let output = model.pass(&batch(&train, &ids, &device), &PassOptions::default());
    assert!(mean(output.unwrap().losses).is_finite());
}

#[test]
fn bad_records_are_named_by_file_and_line() {
    let folder = folder();
    let path = folder.path().join("day_9_00");
    let good = std::fs::read_to_string(&path).unwrap();
    let with = |from: &str, to: &str| {
        std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
        open(folder.path()).unwrap_err()
    };
    let third = good.lines().nth(2).unwrap();
    for (bad, message) in [
        (third.replacen(['0', '1'], "7", 1), "label"),
        (third.replacen('\t', " ", 1), "label"),
        (third[..third.len() / 2].to_string(), "ends before"),
        (format!("{third}\t"), "more than 40 fields"),
        (format!("{third}{}", "a".repeat(2000)), "longer than"),
        (String::new(), "label"),
    ] {
        let error = with(third, &bad);
        assert!(error.contains("day_9_00: line 3: "), "{error}");
        assert!(error.contains(message), "{error}");
    }
    // Cut in the middle of the last line.
    std::fs::write(&path, &good[..good.len() - 30]).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.contains("day_9_00: line 200: "), "{error}");
    std::fs::write(&path, "").unwrap();
    assert!(
        open(folder.path())
            .unwrap_err()
            .contains("day_9_00: is empty")
    );
}

#[test]
fn missing_files_and_a_set_that_is_not_whole_are_errors() {
    let folder = folder();
    let whole = Criteo::open_whole(folder.path(), 1000, "criteo1tb_dlrm");
    let error = whole.err().unwrap().to_string();
    assert!(
        error.contains("[400, 7, 10]") && error.contains("not whole"),
        "{error}"
    );
    std::fs::remove_file(folder.path().join("day_23_19")).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.contains("no file like day_23_19"), "{error}");
    let error = open(&folder.path().join("nowhere")).unwrap_err();
    assert!(
        error.contains("nowhere") && error.contains("day_0_00"),
        "{error}"
    );
}

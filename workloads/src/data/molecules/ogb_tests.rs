//! Tiny folders in the true format, whole and damaged.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use velodrome_harness::contract::{Dataset, HostValues};

const FILES: [(&str, &str); 9] = [
    ("raw/num-node-list.csv.gz", "3\n1\n2\n"),
    ("raw/num-edge-list.csv.gz", "2\n0\n1\n"),
    ("raw/graph-label.csv.gz", "0.0,,1.0\n,1.0,0.0\n0.0,0.0,\n"),
    (
        "raw/node-feat.csv.gz",
        "5,0,4,5,3,0,2,0,0\n7,0,2,5,0,0,1,0,0\n118,0,1,5,0,0,5,0,1\n16,0,0,4,0,0,2,0,0\n\
         5,0,3,5,2,0,1,0,0\n6,2,1,5,1,0,0,1,1\n",
    ),
    ("raw/edge.csv.gz", "0,1\n1,2\n0,1\n"),
    ("raw/edge-feat.csv.gz", "0,0,0\n3,0,1\n1,2,1\n"),
    ("split/scaffold/train.csv.gz", "2\n"),
    ("split/scaffold/valid.csv.gz", "0\n"),
    ("split/scaffold/test.csv.gz", "1\n"),
];

/// A folder with these files, each with its content replaced where `changed` names it.
fn folder(changed: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in FILES {
        let content = changed
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(content, |(_, c)| c);
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut gzip = GzEncoder::new(File::create(path).unwrap(), Compression::default());
        gzip.write_all(content.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
    folder
}

fn refusal(changed: &[(&str, &str)]) -> String {
    let folder = folder(changed);
    read_folder(folder.path(), 3).map(|_| ()).unwrap_err()
}

#[test]
fn a_folder_becomes_graphs_and_splits() {
    let folder = folder(&[]);
    let [train, validation, test] = read_folder(folder.path(), 3).unwrap();
    let lengths = [&train, &validation, &test].map(|s| s.len());
    assert_eq!(lengths, [1, 1, 1]);
    let batch = validation.batch(&[0]);
    let value = |at: usize| batch.fields[at].values.clone();
    let HostValues::Float(atoms) = value(0) else {
        panic!("atoms are real");
    };
    assert_eq!(atoms[18..], [118.0, 0.0, 1.0, 5.0, 0.0, 0.0, 5.0, 0.0, 1.0]);
    assert_eq!(
        value(1),
        HostValues::Float(vec![0.0, 0.0, 0.0, 3.0, 0.0, 1.0])
    );
    assert_eq!(value(2), HostValues::Int(vec![0, 1, 1, 2]));
    assert_eq!(value(4), HostValues::Int(vec![0, -1, 1]));
    assert_eq!(
        test.batch(&[0]).fields[4].values,
        HostValues::Int(vec![-1, 1, 0])
    );
    assert_eq!(train.batch(&[0]).units, 2);
}

#[test]
fn the_folder_of_the_official_archive_is_found() {
    let outer = tempfile::tempdir().unwrap();
    let inner = folder(&[]);
    std::fs::rename(inner.path(), outer.path().join("ogbg_molpcba")).unwrap();
    // Three labels where 128 belong: the files are found, and the first label row is refused.
    let error = Molpcba::open("some", outer.path())
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("graph-label.csv.gz, row 1: 3 labels, expected 128"),
        "{error}"
    );
    let error = Molpcba::open("some", &outer.path().join("nothing"));
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("some") && error.contains("num-node-list.csv.gz"),
        "{error}"
    );
}

#[test]
fn counts_that_do_not_fit_are_refused_with_file_and_row() {
    for (file, content, expected) in [
        (
            FILES[0].0,
            "3\n1\n3\n",
            "node-feat.csv.gz, row 7: the file ends",
        ),
        (
            FILES[0].0,
            "3\n1\n1\n",
            "edge.csv.gz, row 3: ends [0, 1] in a graph of 1 atoms",
        ),
        (
            FILES[0].0,
            "3\n1\n",
            "num-edge-list.csv.gz, row 3: the file goes on",
        ),
        (
            FILES[0].0,
            "3\n1\n2\n1\n",
            "num-edge-list.csv.gz, row 4: the file ends",
        ),
        (
            FILES[0].0,
            "3\n0\n3\n",
            "num-node-list.csv.gz, row 2: 0 bytes are no whole atoms",
        ),
        (FILES[0].0, "3\nx\n2\n", "num-node-list.csv.gz, row 2: `x`"),
        (
            FILES[0].0,
            "70000\n",
            "num-node-list.csv.gz, row 1: `70000`",
        ),
        (
            FILES[1].0,
            "2\n0\n0\n",
            "edge-feat.csv.gz, row 3: the file goes on",
        ),
        (
            FILES[1].0,
            "2\n0\n2\n",
            "edge-feat.csv.gz, row 4: the file ends",
        ),
        (
            FILES[2].0,
            "0.0,,1.0\n,1.0,0.0\n",
            "graph-label.csv.gz, row 3: the file ends",
        ),
        (
            FILES[2].0,
            "0.0,,1.0\n,2.0,0.0\n",
            "graph-label.csv.gz, row 2: label `2.0`",
        ),
        (
            FILES[2].0,
            "0.0,,1.0\n,1.0\n",
            "graph-label.csv.gz, row 2: 2 labels",
        ),
        (
            FILES[3].0,
            "5,0,4,5,3,0,2,0\n",
            "node-feat.csv.gz, row 1: ``",
        ),
        (
            FILES[3].0,
            "5,0,4,5,3,0,2,0,0,1\n",
            "node-feat.csv.gz, row 1: 10 numbers",
        ),
        (
            FILES[3].0,
            "5,0,4,5,3,0,2,0,-1\n",
            "node-feat.csv.gz, row 1: `-1`",
        ),
        (
            FILES[4].0,
            "0,1\n1,3\n0,1\n",
            "edge.csv.gz, row 2: ends [1, 3]",
        ),
        (
            FILES[4].0,
            "0,1\n1,2\n",
            "edge.csv.gz, row 3: the file ends",
        ),
        (
            FILES[6].0,
            "3\n",
            "train.csv.gz, row 1: there is no graph 3",
        ),
        (
            FILES[7].0,
            "2\n",
            "valid.csv.gz, row 1: graph 2 occurs again",
        ),
        (FILES[8].0, "", "test.csv.gz, row 1: the split is empty"),
    ] {
        let error = refusal(&[(file, content)]);
        assert!(error.contains(expected), "{file} {content:?}: {error}");
    }
}

#[test]
fn a_file_that_breaks_off_or_is_no_gzip_is_refused() {
    let folder = folder(&[]);
    let path = folder.path().join("raw/edge.csv.gz");
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 12], b"0,1\n1,2\n0,1\n"] {
        std::fs::write(&path, damaged).unwrap();
        let error = read_folder(folder.path(), 3).map(|_| ()).unwrap_err();
        assert!(error.contains("edge.csv.gz, row 1"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(
        read_folder(folder.path(), 3)
            .map(|_| ())
            .unwrap_err()
            .contains("edge.csv.gz")
    );
}

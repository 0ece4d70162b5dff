//! The cases in the repository pass, and what was read is written again as it was.

use super::support::{again, cases};
use burn::tensor::Device;
use velodrome_submissions::adapters::interchange::{Folder, MODEL, TOLERANCE, Tensors, write};

#[test]
fn all_cases_pass_with_the_counts_that_they_state() {
    let cases = cases();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let replay = again(&case).unwrap_or_else(|e| panic!("{e}"));
        let name = case.display();
        assert_eq!(replay.first_miss, None, "{name}");
        assert!(
            replay.max_error <= TOLERANCE,
            "{name}: {}",
            replay.max_error
        );
        assert_eq!(replay.stated, Some(replay.trainable as u64), "{name}");
    }
}

#[test]
fn an_adapter_is_written_as_it_was_read() {
    for case in cases() {
        let folder = Folder::read(&case).unwrap();
        let weights = Tensors::read(&case.join("case.safetensors")).unwrap();
        let bound = folder
            .bind(&weights.under("base."), &Device::flex())
            .unwrap();
        let copy = tempfile::tempdir().unwrap();
        write(copy.path(), &folder.config, &bound).unwrap();
        let written = Folder::read(copy.path()).unwrap();
        assert_eq!(written.config.values, folder.config.values);
        assert_eq!(written.tensors.file, copy.path().join(MODEL));
        assert_eq!(
            written.tensors.held,
            folder.tensors.held,
            "{}",
            case.display()
        );
    }
}

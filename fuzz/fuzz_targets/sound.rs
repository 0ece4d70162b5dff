//! What a target begins with.

use std::path::Path;
use velodrome_fuzz::Target;

/// Has the target read its sound seeds: what is made once and kept is no part of the cost of the inputs that
/// follow, with which libFuzzer begins at random.
pub fn read(target: &'static Target) -> &'static Target {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let files = std::fs::read_dir(folder.join(target.name)).expect("the target has seeds");
    for file in files {
        let file = file.expect("the folder can be listed");
        if file.file_name().to_string_lossy().starts_with("good-") {
            target.accepts(&std::fs::read(file.path()).expect("a seed can be read"));
        }
    }
    target
}

#![no_main]

mod sound;

use std::sync::LazyLock;
use velodrome_fuzz::{Target, named};

static TARGET: LazyLock<&Target> = LazyLock::new(|| sound::read(named("log_targets")));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    TARGET.check(bytes);
});

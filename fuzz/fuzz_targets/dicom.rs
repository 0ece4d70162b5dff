#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    velodrome_fuzz::named("dicom").check(bytes);
});

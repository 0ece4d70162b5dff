//! What reads data from outside, as functions of bytes.
//!
//! The fuzz targets in `fuzz_targets/` and the test `tests/fuzz.rs` call the same functions: no bytes may
//! make them panic, allocate more than a multiple of the input, or touch a file outside of their folder.

mod adapters;
mod count;
mod formats;
mod mutate;
mod race;
mod records;

pub use mutate::Mutator;

/// One kind of data from outside.
pub struct Target {
    /// Its name, also that of its folder in `seeds/`.
    pub name: &'static str,
    /// Reads bytes as this kind of data, uses what was read, and says whether it was such data.
    read: fn(&[u8]) -> bool,
    /// Bytes of memory that an input may cost for each of its own.
    each: usize,
    /// Bytes of memory that any input may cost.
    any: usize,
    /// Cases of the bounded test.
    pub cases: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("suite", race::suite, 600, 64 << 10, 2500),
    Target::new("space", race::space, 600, 4 << 20, 60),
    Target::new("evaluations", records::evaluations, 100, 64 << 10, 6000),
    Target::new("run", records::run, 200, 4 << 20, 150),
    Target::new("log_csv", records::log_csv, 100, 2 << 20, 300),
    Target::new("log_targets", records::log_targets, 100, 64 << 10, 3000),
    Target::new("adapter", adapters::adapter, 100, 2 << 20, 1500),
    Target::new("adapter_config", adapters::config, 100, 64 << 20, 300),
    Target::new("safetensors", adapters::safetensors, 100, 64 << 10, 3000),
    Target::new("gguf", formats::gguf, 100, 64 << 10, 6000),
    Target::new("smiles", formats::smiles, 200, 64 << 10, 6000),
    Target::new("wav", formats::wav, 100, 64 << 10, 6000),
    // Deflate packs a thousand bytes into one.
    Target::new("nifti", formats::nifti, 8192, 1 << 20, 4000),
    Target::new("dicom", formats::dicom, 100, 64 << 10, 6000),
    Target::new("catalogue", formats::catalogue, 100, 64 << 10, 6000),
];

/// The target called `name`.
///
/// # Panics
/// Where there is none.
pub fn named(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|t| t.name == name);
    found.unwrap_or_else(|| panic!("there is no target `{name}`"))
}

impl Target {
    /// A reader, and what an input may cost: bytes of memory `each` of its own, and `any`.
    pub const fn new(
        name: &'static str,
        read: fn(&[u8]) -> bool,
        each: usize,
        any: usize,
        cases: usize,
    ) -> Self {
        Self {
            name,
            read,
            each,
            any,
            cases,
        }
    }

    /// Reads `bytes` and says whether they are such data. What is made once and kept (tables of names,
    /// threads) is no part of the cost of an input: call this with sound data first.
    pub fn accepts(&self, bytes: &[u8]) -> bool {
        (self.read)(bytes)
    }

    /// Reads `bytes` and gives the most memory that was held at a time beyond what was held before.
    ///
    /// # Panics
    /// Where the reader panics, and where it takes more memory than the input may cost.
    pub fn check(&self, bytes: &[u8]) -> usize {
        let peak = count::peak(|| {
            (self.read)(bytes);
        });
        let most = self.any + self.each * bytes.len();
        assert!(
            peak <= most,
            "{}: {peak} bytes of memory for an input of {} bytes, which may cost {most}",
            self.name,
            bytes.len()
        );
        peak
    }
}

/// Parts of an input that stands for several files: what lies between lines of `%%`.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    const LINE: &[u8] = b"\n%%\n";
    let mut rest = bytes;
    std::array::from_fn(|i| {
        let at = rest.windows(LINE.len()).position(|w| w == LINE);
        match at.filter(|_| i + 1 < N) {
            Some(at) => {
                let part = &rest[..at];
                rest = &rest[at + LINE.len()..];
                part
            }
            None => std::mem::take(&mut rest),
        }
    })
}

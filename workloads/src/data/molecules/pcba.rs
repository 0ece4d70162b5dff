//! PCBA: which molecules are active in which of 128 assays of PubChem (Ramsundar et al. 2015, arXiv
//! 1502.02072; Wu et al. 2018, arXiv 1703.00564). The molecules of OGB's `ogbg-molpcba`, with another
//! split: OGB keeps molecules with one scaffold on one side, here a hash of the text decides.

use super::super::Embedded;
use super::super::fetched::PCBA;
use super::table::{Table, joined, one_of};
use flate2::read::GzDecoder;
use std::io::{BufReader, Read};
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

pub(in super::super) const FILE: Embedded = Embedded {
    file: "pcba_10000.csv.gz",
    sha256: "a96c087f27d80d40cfbcb8714f141d6569c781b55575a554a279c884107fa3d5",
    bytes: include_bytes!("../../../data/pcba_10000.csv.gz"),
};

/// 10,000 molecules with the 16 assays that have the most actives; half of them are active in at
/// least one. Of every 20 molecules, by hash, one is for validation and one for test.
pub struct Pcba;

impl Pcba {
    /// Assays.
    pub const TASKS: usize = 16;
    /// Training, validation and test molecules.
    pub const SPLIT_SIZES: [usize; 3] = [8995, 493, 512];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "PCBA, 10,000 molecules, 16 assays".into(),
            source: "chemprop 1.6.1.dev0 (PyPI), data.tar.gz, data/pcba.csv".into(),
            licence: "MIT (package); assay results of PubChem, United States government".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the data.
    pub fn open(workload: &str) -> Result<Splits, WorkloadError> {
        let content = FILE.unpack(workload)?;
        let split = |text: &str| one_of(20, text);
        let parts = Table::read(FILE.file, &content[..], Self::TASKS, split)
            .and_then(|table| table.splits(FILE.file));
        parts
            .map(joined)
            .map_err(|message| fault(workload, message))
    }
}

/// All of PCBA: of every ten molecules, by hash, one is for validation and one for test.
pub struct PcbaFull;

impl PcbaFull {
    /// Assays.
    pub const TASKS: usize = 128;
    /// Training, validation and test molecules.
    pub const SPLIT_SIZES: [usize; 3] = [350_514, 43_725, 43_690];
    /// The table's place in the archive of data sets.
    const TABLE: &str = "data/pcba.csv";

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "PCBA, 437,929 molecules, 128 assays".into(),
            source: "chemprop 1.6.1.dev0 (PyPI), data.tar.gz, data/pcba.csv".into(),
            licence: "MIT (package); assay results of PubChem, United States government".into(),
            sha256: "17e9063a5928afcd0ffd8c16607b93d5e31f496d2b83a532652a79b331283b4d".into(),
        }
    }

    /// Opens the fetched set `pcba`.
    pub fn open(workload: &str) -> Result<Splits, WorkloadError> {
        let archive = PCBA.packages[0].archive;
        let tables = PCBA.member(workload, archive, "chemprop-1.6.1.dev0/data.tar.gz")?;
        Self::read(workload, tables.as_slice())
    }

    /// Reads the table out of `archive`, the file `data.tar.gz` of the package. One molecule after
    /// the other: the text is never in memory as a whole.
    pub fn read(workload: &str, archive: impl Read) -> Result<Splits, WorkloadError> {
        let broken = |e: std::io::Error| fault(workload, format!("data.tar.gz: {e}"));
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            if entry.path_bytes().as_ref() != Self::TABLE.as_bytes() {
                continue;
            }
            let split = |text: &str| one_of(10, text);
            let reader = BufReader::with_capacity(1 << 16, entry);
            let parts = Table::read(Self::TABLE, reader, Self::TASKS, split)
                .and_then(|table| table.splits(Self::TABLE));
            return parts
                .map(joined)
                .map_err(|message| fault(workload, message));
        }
        let message = format!("data.tar.gz: there is no {}", Self::TABLE);
        Err(fault(workload, message))
    }
}

fn fault(workload: &str, message: String) -> WorkloadError {
    WorkloadError::Data {
        workload: workload.to_string(),
        message,
    }
}

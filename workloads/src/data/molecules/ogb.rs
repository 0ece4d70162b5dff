//! `ogbg-molpcba` as OGB distributes it (Hu et al. 2020, arXiv 2005.00687): a folder with
//!
//! | file | a row for each |
//! |---|---|
//! | `raw/num-node-list.csv.gz`, `raw/num-edge-list.csv.gz` | graph: how many |
//! | `raw/graph-label.csv.gz` | graph: 0, 1 or nothing for each assay |
//! | `raw/node-feat.csv.gz` | atom: nine whole numbers |
//! | `raw/edge.csv.gz` | bond: its two ends, counted from the first atom of the graph |
//! | `raw/edge-feat.csv.gz` | bond: three whole numbers |
//! | `split/scaffold/{train,valid,test}.csv.gz` | example of the split: its graph |

use super::graphs::{Coding, GraphSplit, Graphs, MISSING};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

/// The official data set.
pub struct Molpcba;

impl Molpcba {
    /// Assays.
    pub const TASKS: usize = 128;
    /// Numbers of an atom and of a bond, read as they are.
    pub const FEATURES: [usize; 2] = [9, 3];
    /// Training, validation and test molecules of OGB's scaffold split.
    pub const SPLIT_SIZES: [usize; 3] = [350_343, 43_793, 43_793];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "ogbg-molpcba".into(),
            source: "a folder with the files of Open Graph Benchmark (raw/, split/scaffold/)"
                .into(),
            licence: "MIT (Open Graph Benchmark)".into(),
            sha256: String::new(),
        }
    }

    /// Opens the official data in `folder` (or in its sub-folder `ogbg_molpcba`).
    pub fn open(workload: &str, folder: &Path) -> Result<Splits, WorkloadError> {
        let inside = folder.join("ogbg_molpcba");
        let folder = if inside.is_dir() { &inside } else { folder };
        let [train, validation, test] = read_folder(folder, Self::TASKS).map_err(|message| {
            let workload = workload.to_string();
            WorkloadError::Data { workload, message }
        })?;
        Ok(Splits::new(train, validation, test))
    }
}

/// Reads a folder whose graphs have `tasks` labels.
fn read_folder(folder: &Path, tasks: usize) -> Result<[GraphSplit; 3], String> {
    let [atom, bond] = Molpcba::FEATURES;
    let raw = folder.join("raw");
    let open = |name: &str| Rows::open(raw.join(name));
    let (mut atom_counts, mut bond_counts) =
        (open("num-node-list.csv.gz")?, open("num-edge-list.csv.gz")?);
    let mut label_rows = open("graph-label.csv.gz")?;
    let (mut atom_rows, mut bond_rows) = (open("node-feat.csv.gz")?, open("edge-feat.csv.gz")?);
    let mut link_rows = open("edge.csv.gz")?;
    let mut graphs = Graphs::new(Coding::Numbers(atom), Coding::Numbers(bond), tasks);
    let (mut atoms, mut bonds, mut links, mut labels) = (vec![], vec![], vec![], vec![]);
    while let Some([count]) = atom_counts.numbers::<1, u16>()? {
        atoms.clear();
        bonds.clear();
        links.clear();
        labels.clear();
        let [bond_count] = bond_counts.needed::<1, u16>()?;
        for _ in 0..count {
            atoms.extend(atom_rows.needed::<9, u8>()?);
        }
        for _ in 0..bond_count {
            bonds.extend(bond_rows.needed::<3, u8>()?);
            let ends = link_rows.needed::<2, u16>()?;
            if ends.iter().any(|end| *end >= count) {
                let message = format!("ends {ends:?} in a graph of {count} atoms");
                return Err(link_rows.fault(&message));
            }
            links.push(ends);
        }
        label_rows.labels(tasks, &mut labels)?;
        graphs
            .push(&atoms, &bonds, &links, &labels)
            .map_err(|m| atom_counts.fault(&m))?;
    }
    for rows in [
        &mut bond_counts,
        &mut label_rows,
        &mut atom_rows,
        &mut bond_rows,
    ] {
        rows.end()?;
    }
    link_rows.end()?;
    graphs.shrink();

    let mut taken = vec![false; graphs.len()];
    let mut members: [Vec<u32>; 3] = Default::default();
    for (members, name) in members.iter_mut().zip(["train", "valid", "test"]) {
        let path = folder.join("split/scaffold").join(format!("{name}.csv.gz"));
        let mut rows = Rows::open(path)?;
        while let Some([graph]) = rows.numbers::<1, u32>()? {
            match taken.get_mut(graph as usize) {
                None => return Err(rows.fault(&format!("there is no graph {graph}"))),
                Some(true) => return Err(rows.fault(&format!("graph {graph} occurs again"))),
                Some(free) => *free = true,
            }
            members.push(graph);
        }
        if members.is_empty() {
            return Err(rows.fault("the split is empty"));
        }
    }
    let graphs = Arc::new(graphs);
    Ok(members.map(|members| GraphSplit::new(graphs.clone(), members)))
}

/// The rows of a gzip file of commas.
struct Rows {
    path: PathBuf,
    reader: BufReader<MultiGzDecoder<File>>,
    line: String,
    /// Of the line, from 1.
    row: u64,
}

impl Rows {
    /// The most bytes of a row.
    const LONGEST: u64 = 1 << 16;

    fn open(path: PathBuf) -> Result<Self, String> {
        let file = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)),
            path,
            line: String::new(),
            row: 0,
        })
    }

    fn fault(&self, message: &str) -> String {
        format!("{}, row {}: {message}", self.path.display(), self.row)
    }

    /// Reads a line into `self.line`; `false` behind the last.
    fn next(&mut self) -> Result<bool, String> {
        self.line.clear();
        self.row += 1;
        let mut limited = self.reader.by_ref().take(Self::LONGEST);
        match limited.read_line(&mut self.line) {
            Ok(0) => Ok(false),
            Ok(_) if limited.limit() == 0 => Err(self.fault("is too long")),
            Ok(_) => {
                let kept = self.line.trim_end_matches(['\n', '\r']).len();
                self.line.truncate(kept);
                Ok(true)
            }
            Err(e) => Err(self.fault(&e.to_string())),
        }
    }

    /// The next row of `N` whole numbers; `None` behind the last.
    fn numbers<const N: usize, T: TryFrom<u64> + Copy + Default>(
        &mut self,
    ) -> Result<Option<[T; N]>, String> {
        if !self.next()? {
            return Ok(None);
        }
        let mut numbers = [T::default(); N];
        let mut fields = self.line.split(',');
        for number in &mut numbers {
            let field = fields.next().unwrap_or_default();
            let value = field.trim().parse::<u64>().ok();
            *number = value
                .and_then(|value| T::try_from(value).ok())
                .ok_or_else(|| self.fault(&format!("`{field}` is no whole number in range")))?;
        }
        match fields.count() {
            0 => Ok(Some(numbers)),
            more => Err(self.fault(&format!("{} numbers, expected {N}", N + more))),
        }
    }

    /// The next row, which must be there.
    fn needed<const N: usize, T: TryFrom<u64> + Copy + Default>(
        &mut self,
    ) -> Result<[T; N], String> {
        match self.numbers()? {
            Some(numbers) => Ok(numbers),
            None => Err(self.fault("the file ends, though the counts ask for more rows")),
        }
    }

    /// The next row of labels, which must be there.
    fn labels(&mut self, tasks: usize, labels: &mut Vec<i8>) -> Result<(), String> {
        if !self.next()? {
            return Err(self.fault("the file ends, though there are more graphs"));
        }
        for field in self.line.split(',') {
            labels.push(match field {
                "" | "nan" | "NaN" => MISSING,
                "0" | "0.0" => 0,
                "1" | "1.0" => 1,
                other => return Err(self.fault(&format!("label `{other}` is neither 0 nor 1"))),
            });
        }
        match labels.len() == tasks {
            true => Ok(()),
            false => Err(self.fault(&format!("{} labels, expected {tasks}", labels.len()))),
        }
    }

    /// Nothing must be left.
    fn end(&mut self) -> Result<(), String> {
        match self.next()? {
            false => Ok(()),
            true => Err(self.fault("the file goes on, though the counts ask for no more rows")),
        }
    }
}

#[cfg(test)]
#[path = "ogb_tests.rs"]
mod tests;

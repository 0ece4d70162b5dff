//! Tables of molecules: one line of commas for each, the SMILES text first, then a label (0, 1 or
//! nothing) for each task. The format of MoleculeNet's sets.

use super::features::{ATOM, BOND, push};
use super::graphs::{GraphSplit, Graphs, MISSING};
use super::read_smiles;
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read};
use std::sync::Arc;
use velodrome_harness::contract::{Skipped, Splits};

/// The most bytes of a line.
const LINE: u64 = 1 << 16;

/// Training, validation or test.
type Part = usize;

/// Molecules of a table with their split.
pub(super) struct Table {
    graphs: Graphs,
    members: [Vec<u32>; 3],
    skipped: Vec<Skipped>,
}

/// The number that decides a molecule's split: bytes 8 to 16 of the SHA-256 of its text, big-endian.
fn place(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    let bytes = digest.iter().skip(8).take(8);
    bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// One of every `parts` molecules for validation and one for test.
pub(super) fn one_of(parts: u64, text: &str) -> Part {
    match place(text) % parts {
        0 => 1,
        1 => 2,
        _ => 0,
    }
}

impl Table {
    /// Reads the table `file` with `tasks` labels in each line. A text that is no molecule is left
    /// out and counted; anything else that is wrong is an error that names the line.
    pub(super) fn read(
        file: &str,
        mut reader: impl BufRead,
        tasks: usize,
        split: impl Fn(&str) -> Part,
    ) -> Result<Self, String> {
        let mut table = Self {
            graphs: Graphs::new(ATOM, BOND, tasks),
            members: Default::default(),
            skipped: Vec::new(),
        };
        let mut labels = Vec::with_capacity(tasks);
        let mut bytes = Vec::new();
        for number in 1u64.. {
            bytes.clear();
            let fault = |message: &str| format!("{file}, line {number}: {message}");
            let read = reader.by_ref().take(LINE).read_until(b'\n', &mut bytes);
            if read.map_err(|e| fault(&e.to_string()))? == 0 {
                break;
            }
            if bytes.len() as u64 == LINE && bytes.last() != Some(&b'\n') {
                return Err(fault("is too long"));
            }
            let line = std::str::from_utf8(&bytes).map_err(|e| fault(&e.to_string()))?;
            let mut fields = line.trim_end_matches(['\n', '\r']).split(',');
            let text = fields.next().unwrap_or_default();
            if number == 1 {
                let found = fields.count();
                if text != "smiles" || found != tasks {
                    return Err(fault(&format!(
                        "expected `smiles` and {tasks} assays, found `{text}` and {found}"
                    )));
                }
                continue;
            }
            labels.clear();
            for field in fields {
                labels.push(match field {
                    "" => MISSING,
                    "0" | "0.0" => 0,
                    "1" | "1.0" => 1,
                    other => return Err(fault(&format!("label `{other}` is neither 0 nor 1"))),
                });
            }
            if labels.len() != tasks {
                return Err(fault(&format!("{} labels, expected {tasks}", labels.len())));
            }
            match read_smiles(text) {
                Ok(molecule) => {
                    let index = table.graphs.len() as u32;
                    push(&mut table.graphs, &molecule, &labels).map_err(|m| fault(&m))?;
                    if let Some(members) = table.members.get_mut(split(text)) {
                        members.push(index);
                    }
                }
                Err(error) => table.skip(|| fault(&format!("`{text}`, {error}"))),
            }
        }
        table.graphs.shrink();
        Ok(table)
    }

    fn skip(&mut self, reason: impl Fn() -> String) {
        match self.skipped.first_mut() {
            Some(skipped) => skipped.examples += 1,
            None => self.skipped.push(Skipped {
                reason: format!("no SMILES text, first in {}", reason()),
                examples: 1,
            }),
        }
    }

    /// Training, validation and test molecules. An error where one of them is empty.
    pub(super) fn splits(self, file: &str) -> Result<(Parts, Vec<Skipped>), String> {
        let graphs = Arc::new(self.graphs);
        let parts = self.members.map(|m| GraphSplit::new(graphs.clone(), m));
        for (part, name) in parts.iter().zip(["training", "validation", "test"]) {
            if part.members().is_empty() {
                return Err(format!("{file}: the {name} split is empty"));
            }
        }
        Ok((parts, self.skipped))
    }
}

/// Training, validation and test molecules.
pub(super) type Parts = [GraphSplit; 3];

/// Splits of a contract from parts and what was left out.
pub(super) fn joined((parts, skipped): (Parts, Vec<Skipped>)) -> Splits {
    let [train, validation, test] = parts;
    Splits {
        skipped,
        ..Splits::new(train, validation, test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Table, String> {
        Table::read("some.csv", text.as_bytes(), 2, |text| text.len() % 3)
    }

    #[test]
    fn lines_become_molecules_and_bad_ones_are_counted() {
        let table = read("smiles,A,B\nCCC,1,\nC1C,0,0\nC,0.0,1.0\nX,,\r\nCC,,1\n").unwrap();
        assert_eq!(table.graphs.len(), 3);
        assert_eq!(table.members, [vec![0], vec![1], vec![2]]);
        assert_eq!(table.graphs.labels(0), [1, -1]);
        assert_eq!(table.graphs.labels(1), [0, 1]);
        let (_, skipped) = table.splits("some.csv").unwrap();
        assert_eq!(skipped[0].examples, 2);
        let reason = &skipped[0].reason;
        assert!(
            reason.contains("some.csv, line 3: `C1C`, position 2"),
            "{reason}"
        );
    }

    #[test]
    fn errors_name_file_and_line() {
        let message = |text: &str| read(text).map(|_| ()).unwrap_err();
        for (text, line, word) in [
            ("smile,A,B\n", 1, "smiles"),
            ("smiles,A\n", 1, "2 assays"),
            ("smiles,A,B\nC,0,2\n", 2, "`2`"),
            ("smiles,A,B\nC,0,1\nC,0\n", 3, "1 labels"),
            ("smiles,A,B\nC,0,1,1\n", 2, "3 labels"),
            ("smiles,A,B\nC,0,nan\n", 2, "`nan`"),
        ] {
            let error = message(text);
            assert!(
                error.starts_with(&format!("some.csv, line {line}: ")),
                "{error}"
            );
            assert!(error.contains(word), "{error}");
        }
        let long = format!("smiles,A,B\n{}", "C".repeat(1 << 17));
        assert!(message(&long).contains("line 2: is too long"));
        let empty = read("smiles,A,B\nC,0,1\n").unwrap().splits("some.csv");
        assert!(
            empty
                .map(|_| ())
                .unwrap_err()
                .contains("training split is empty")
        );
        let bytes: &[u8] = b"smiles,A,B\nC\xff,0,1\n";
        assert!(Table::read("f", bytes, 2, |_| 0).is_err());
    }

    #[test]
    fn a_table_that_breaks_off_is_an_error() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let text = b"smiles,A,B\nC,0,1\n";
                if self.0 == text.len() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                out[0] = text[self.0];
                self.0 += 1;
                Ok(1)
            }
        }
        let reader = std::io::BufReader::new(Broken(0));
        let error = Table::read("f", reader, 2, |_| 0).map(|_| ()).unwrap_err();
        assert!(error.starts_with("f, line "), "{error}");
    }

    #[test]
    fn the_split_is_the_stated_part_of_the_hash() {
        // SHA-256 of "C": 6b23c0d5f35d1b11 f9b683f0b0a61735 ...
        assert_eq!(place("C"), 0xf9b6_83f0_b0a6_1735);
    }
}

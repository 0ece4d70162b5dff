//! Tables of arithmetic modulo a prime: the data on which grokking was found (Power et al. 2022, arXiv
//! 2201.02177). A table is complete and exact, so the program computes it.

use sha2::{Digest, Sha256};
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Splits, WorkloadError,
};

/// What a table holds of two numbers `a` and `b`, modulo [`Modular::MODULUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
}

impl Operation {
    /// The value at `a` and `b`, below the modulus.
    pub fn of(self, a: usize, b: usize) -> usize {
        let p = Modular::MODULUS;
        let (a, b) = (a % p, b % p);
        match self {
            Operation::Add => (a + b) % p,
            Operation::Subtract => (a + p - b) % p,
        }
    }

    /// Its sign.
    pub fn sign(self) -> char {
        match self {
            Operation::Add => '+',
            Operation::Subtract => '-',
        }
    }
}

/// Equations of one split. Gives the field `tokens` (integer, `[examples, 4]`): `a`, `b`, a sign of
/// equality, and the value. Numbers are their own tokens, the sign is the last token.
#[derive(Debug, Clone, PartialEq)]
pub struct Equations {
    operation: Operation,
    pairs: Vec<[usize; 2]>,
}

impl Equations {
    /// The two numbers of the equation at `index`.
    pub fn pair(&self, index: usize) -> Option<[usize; 2]> {
        self.pairs.get(index).copied()
    }
}

impl Dataset for Equations {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let pairs = indices.iter().filter_map(|i| self.pair(*i));
        let tokens: Vec<i32> = pairs
            .flat_map(|[a, b]| [a, b, Modular::MODULUS, self.operation.of(a, b)])
            .map(|token| token as i32)
            .collect();
        let examples = tokens.len() / 4;
        HostBatch {
            fields: vec![HostField {
                name: "tokens",
                shape: vec![examples, 4],
                values: HostValues::Int(tokens),
            }],
            examples,
            units: examples,
        }
    }
}

/// The three splits of a table: all pairs of numbers below the modulus, each once.
///
/// A hash of the two numbers, in ascending order, decides the split: of every sixteen, ten go to
/// training, three to validation and three to test. So `b + a` is where `a + b` is, and no value of the
/// held-out splits can be read off the training split by symmetry.
#[derive(Debug, Clone, PartialEq)]
pub struct Modular {
    /// Training equations.
    pub train: Equations,
    /// Validation equations.
    pub validation: Equations,
    /// Test equations.
    pub test: Equations,
}

impl Modular {
    /// The modulus, a prime; that of the founding paper.
    pub const MODULUS: usize = 97;
    /// Different tokens: the numbers and the sign of equality.
    pub const VOCABULARY: usize = Self::MODULUS + 1;
    /// Tokens that are read.
    pub const CONTEXT: usize = 3;
    /// Training, validation and test equations.
    pub const SPLIT_SIZES: [usize; 3] = [5867, 1785, 1757];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "tables of arithmetic modulo 97".into(),
            source: "computed by the program; the task is of arXiv 2201.02177".into(),
            licence: "none needed: facts".into(),
            sha256: String::new(),
        }
    }

    /// Computes the table of `operation`. `workload` is named in errors.
    pub fn open(workload: &str, operation: Operation) -> Result<Self, WorkloadError> {
        let mut pairs: [Vec<[usize; 2]>; 3] = Default::default();
        for a in 0..Self::MODULUS {
            for b in 0..Self::MODULUS {
                pairs[part(a, b)].push([a, b]);
            }
        }
        let sizes = [0, 1, 2].map(|i| pairs[i].len());
        if sizes != Self::SPLIT_SIZES {
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!(
                    "the table is split into {sizes:?} equations, expected {:?}",
                    Self::SPLIT_SIZES
                ),
            });
        }
        let [train, validation, test] = pairs.map(|pairs| Equations { operation, pairs });
        Ok(Self {
            train,
            validation,
            test,
        })
    }
}

impl From<Modular> for Splits {
    fn from(splits: Modular) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

/// The split of a pair: the first byte of the SHA-256 of "smaller,larger", modulo 16; 0 to 9 is
/// training, 10 to 12 validation, 13 to 15 test.
fn part(a: usize, b: usize) -> usize {
    let text = format!("{},{}", a.min(b), a.max(b));
    let byte = Sha256::digest(text.as_bytes())
        .first()
        .copied()
        .unwrap_or_default();
    match byte % 16 {
        0..10 => 0,
        10..13 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn pairs(equations: &Equations) -> BTreeSet<[usize; 2]> {
        equations.pairs.iter().copied().collect()
    }

    #[test]
    fn the_splits_are_the_whole_table_and_symmetric() {
        let table = Modular::open("test", Operation::Add).unwrap();
        let splits = [&table.train, &table.validation, &table.test].map(pairs);
        let sizes = splits.iter().map(BTreeSet::len).sum::<usize>();
        assert_eq!(sizes, Modular::MODULUS * Modular::MODULUS);
        let all: BTreeSet<_> = splits.iter().flatten().collect();
        assert_eq!(all.len(), sizes, "a pair is in two splits");
        for split in &splits {
            assert!(split.iter().all(|[a, b]| split.contains(&[*b, *a])));
        }
        // Every number is met in training, on both sides.
        for side in 0..2 {
            let met: BTreeSet<usize> = splits[0].iter().map(|pair| pair[side]).collect();
            assert_eq!(met.len(), Modular::MODULUS);
        }
        let other = Modular::open("test", Operation::Subtract).unwrap();
        assert_eq!(pairs(&other.validation), splits[1]);
    }

    /// First bytes of the SHA-256 of "0,2", "2,4" and "1,3" by Python's hashlib: 167, 236, 239; modulo
    /// 16: 7, 12, 15.
    #[test]
    fn the_split_is_the_stated_byte_of_the_hash() {
        assert_eq!([part(0, 2), part(2, 4), part(3, 1)], [0, 1, 2]);
    }

    #[test]
    fn equations_hold() {
        for (operation, a, b, value) in [
            (Operation::Add, 96, 96, 95),
            (Operation::Add, 40, 57, 0),
            (Operation::Subtract, 3, 5, 95),
            (Operation::Subtract, 5, 3, 2),
        ] {
            assert_eq!(operation.of(a, b), value, "{a} {} {b}", operation.sign());
        }
        let table = Modular::open("test", Operation::Subtract).unwrap();
        let batch = table.train.batch(&[7, usize::MAX, 0]);
        assert_eq!((batch.examples, batch.units), (2, 2));
        assert_eq!(batch.fields[0].shape, [2, 4]);
        let HostValues::Int(tokens) = &batch.fields[0].values else {
            panic!("tokens are integers");
        };
        for (tokens, index) in tokens.chunks(4).zip([7, 0]) {
            let [a, b] = table.train.pair(index).unwrap().map(|n| n as i32);
            assert_eq!(tokens, [a, b, 97, (97 + a - b) % 97]);
        }
    }
}

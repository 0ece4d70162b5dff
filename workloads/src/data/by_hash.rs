//! Texts in the split of their hash, without copies.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use velodrome_harness::contract::Skipped;

/// Bytes of the pieces in which copies are looked for.
const PIECE: usize = 64;

/// The first 32 bits of a text's SHA-256 as a share of 1024: 0 to 1023.
pub(super) fn share(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.iter().take(4);
    first.fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte)) >> 22
}

/// 0, 1 or 2: training, validation (the first `held_out` shares) or test (as many behind them).
pub(super) fn split_of(key: &str, held_out: u32) -> usize {
    match share(key) / held_out.max(1) {
        0 => 1,
        1 => 2,
        _ => 0,
    }
}

/// Records for training, validation and test, each with its line.
pub(super) type Cut<R> = [Vec<(u64, R)>; 3];

/// Puts each record in the split of its key's hash: of 1024 equal shares the first so many are for
/// validation, as many more for test, the others for training. Counts and leaves out records whose key
/// occurred before.
pub(super) struct ByHash<R> {
    held_out: u32,
    splits: Cut<R>,
    seen: HashSet<String>,
    repeated: Skip,
}

impl<R> ByHash<R> {
    /// `held_out` shares for validation; `repeated` is said of what occurred before.
    pub(super) fn new(held_out: u32, repeated: &'static str) -> Self {
        Self {
            held_out,
            splits: [Vec::new(), Vec::new(), Vec::new()],
            seen: HashSet::new(),
            repeated: Skip::new(repeated),
        }
    }

    /// Adds the record of this line.
    pub(super) fn add(&mut self, line: u64, key: String, record: R) {
        let split = split_of(&key, self.held_out);
        if !self.seen.insert(key) {
            self.repeated.count(line);
        } else if let Some(split) = self.splits.get_mut(split) {
            split.push((line, record));
        }
    }

    /// The splits without those records for validation and test that were copied with small changes: where
    /// one of the pieces of 64 bytes that make up a `text` occurs in those of training. Also what was left
    /// out; `copied` is said of the copies.
    pub(super) fn cut(
        self,
        copied: &'static str,
        text: impl Fn(&R) -> String,
    ) -> (Cut<R>, [Skip; 2]) {
        let mut splits = self.splits;
        let mut copied = Skip::new(copied);
        let [train, held_out @ ..] = &mut splits;
        let lines = train.iter().map(|(_, record)| text(record) + "\n");
        let whole: String = lines.collect();
        for split in held_out {
            let texts: Vec<String> = split.iter().map(|(_, record)| text(record)).collect();
            let copies = copies(whole.as_bytes(), &texts);
            let mut at = 0..;
            split.retain(|(line, _)| {
                let copy = at.next().is_some_and(|at| copies.contains(&at));
                if copy {
                    copied.count(*line);
                }
                !copy
            });
        }
        (splits, [self.repeated, copied])
    }
}

/// Positions of the texts of which a piece occurs in `train`. Texts shorter than a piece have none.
fn copies(train: &[u8], texts: &[String]) -> HashSet<usize> {
    let mut pieces: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, text) in texts.iter().enumerate() {
        for piece in text.as_bytes().chunks_exact(PIECE) {
            pieces.entry(piece).or_default().push(at);
        }
    }
    let found = train.windows(PIECE).filter_map(|w| pieces.get(w));
    found.flatten().copied().collect()
}

/// A count of what was left out for one reason.
pub(super) struct Skip {
    what: &'static str,
    /// Line of the first one.
    first: u64,
    examples: u64,
}

impl Skip {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            first: u64::MAX,
            examples: 0,
        }
    }

    pub(super) fn count(&mut self, line: u64) {
        self.first = self.first.min(line);
        self.examples += 1;
    }

    pub(super) fn into_skipped(self, file: &str) -> Option<Skipped> {
        (self.examples > 0).then(|| Skipped {
            reason: format!("{}; the first in {file}, line {}", self.what, self.first),
            examples: self.examples,
        })
    }
}

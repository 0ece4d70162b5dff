//! Speech with its transcripts: the embedded set, the fetched one, and the loader of LibriSpeech.
//!
//! All give the same fields: `features` (real, `[examples, frames, mels]`, padded with zeros), `frames`
//! (integer, `[examples]`: the frames that are not padding), `tokens` (integer, `[examples, tokens]`,
//! padded with 0) and `lengths` (integer, `[examples]`: the tokens that are not padding).

mod asterisk;
mod features;
mod librispeech;
mod pieces;
mod prompts;
mod text;

pub use asterisk::{AsteriskSounds, Files, Language, Sources, read_wav};
pub use features::LogMel;
pub use librispeech::{FlacUtterances, LibriSpeech};
pub use pieces::Pieces;
pub(super) use prompts::FILE;
pub use prompts::SpokenPrompts;
pub use text::{Alphabet, ENGLISH, FIVE_LANGUAGES};

use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// Each model makes one prediction out of this many frames.
pub const SUBSAMPLING: usize = 4;

/// One utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Features, frame by frame.
    pub features: Vec<f32>,
    /// Its transcript: at least one token, none of them 0.
    pub tokens: Vec<i32>,
}

/// Whether so many frames have room for a transcript: CTC needs one prediction for each token, and one
/// more between equal neighbours.
pub fn fits(frames: usize, tokens: &[i32]) -> bool {
    let repeats = tokens.windows(2).filter(|pair| pair[0] == pair[1]).count();
    frames.div_ceil(2).div_ceil(2) >= tokens.len() + repeats
}

/// One split of utterances in memory.
#[derive(Debug, Clone)]
pub struct Utterances {
    mels: usize,
    list: Arc<[Utterance]>,
}

impl Utterances {
    /// A split of utterances with `mels` features a frame.
    pub fn new(mels: usize, list: Vec<Utterance>) -> Self {
        let list = list.into();
        Self { mels, list }
    }

    /// The utterances.
    pub fn list(&self) -> &[Utterance] {
        &self.list
    }
}

impl Dataset for Utterances {
    fn len(&self) -> usize {
        self.list.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let list: Vec<&Utterance> = indices.iter().filter_map(|i| self.list.get(*i)).collect();
        pad(&list, self.mels)
    }
}

/// A batch as long as its longest utterance. Units are tokens.
fn pad(list: &[&Utterance], mels: usize) -> HostBatch {
    let examples = list.len();
    let frames: Vec<usize> = list
        .iter()
        .map(|u| u.features.len() / mels.max(1))
        .collect();
    let longest = frames.iter().copied().max().unwrap_or(0);
    let most = list.iter().map(|u| u.tokens.len()).max().unwrap_or(0);
    let mut features = Vec::with_capacity(examples * longest * mels);
    let mut tokens = Vec::with_capacity(examples * most);
    for (index, utterance) in list.iter().enumerate() {
        features.extend_from_slice(&utterance.features);
        features.resize((index + 1) * longest * mels, 0.0);
        tokens.extend_from_slice(&utterance.tokens);
        tokens.resize((index + 1) * most, 0);
    }
    let integers = |values: &mut dyn Iterator<Item = usize>| {
        HostValues::Int(values.map(|n| n as i32).collect())
    };
    let lengths = || list.iter().map(|u| u.tokens.len());
    let field = |name, shape, values| HostField {
        name,
        shape,
        values,
    };
    HostBatch {
        fields: vec![
            field(
                "features",
                vec![examples, longest, mels],
                HostValues::Float(features),
            ),
            field(
                "frames",
                vec![examples],
                integers(&mut frames.iter().copied()),
            ),
            field("tokens", vec![examples, most], HostValues::Int(tokens)),
            field("lengths", vec![examples], integers(&mut lengths())),
        ],
        examples,
        units: lengths().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_as_long_as_their_longest_utterance() {
        let utterance = |frames: usize, tokens: &[i32]| Utterance {
            features: vec![frames as f32; 2 * frames],
            tokens: tokens.to_vec(),
        };
        let split = Utterances::new(2, vec![utterance(1, &[4]), utterance(3, &[5, 6])]);
        let batch = split.batch(&[0, 7, 1]);
        assert_eq!((batch.examples, batch.units), (2, 3));
        let shapes: Vec<_> = batch.fields.iter().map(|f| f.shape.clone()).collect();
        assert_eq!(shapes, [vec![2, 3, 2], vec![2], vec![2, 2], vec![2]]);
        let values: Vec<_> = batch.fields.into_iter().map(|f| f.values).collect();
        let mut features = vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        features.extend([3.0; 6]);
        assert_eq!(values[0], HostValues::Float(features));
        assert_eq!(values[1], HostValues::Int(vec![1, 3]));
        assert_eq!(values[2], HostValues::Int(vec![4, 0, 5, 6]));
        assert_eq!(values[3], HostValues::Int(vec![1, 2]));
        // Alone, the shorter one is not padded.
        assert_eq!(split.batch(&[0]).fields[0].shape, [1, 1, 2]);
        assert_eq!(split.batch(&[]).examples, 0);
    }

    #[test]
    fn equal_neighbours_need_room_between_them() {
        assert!(fits(5, &[1, 2]) && !fits(4, &[1, 2]));
        assert!(fits(9, &[1, 1]) && !fits(8, &[1, 1]));
        assert!(!fits(0, &[1]));
    }
}

//! Spoken digits, letters and words of a telephone exchange, put one behind the other as an exchange
//! does.

use super::{ENGLISH, LogMel, Utterance, Utterances, fits};
use crate::data::Embedded;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};
use velodrome_harness::seed::{mix, unit};

pub(in crate::data) const FILE: Embedded = Embedded {
    file: "spoken_prompts.gz",
    sha256: "3d7e52ae361f730d4e10e8b846952b5172913d449ccd0ed25fe9c3db3e884ae1",
    bytes: include_bytes!("../../../data/spoken_prompts.gz"),
};

/// Fixes which clips make a prompt, their speeds, loudness and noise.
const SEED: u64 = 0x7072_6f6d_7074;

/// Prompts of one to three of 182 recorded clips. Validation and test prompts are other combinations
/// than the training prompts, though of the same recordings, at other speeds.
pub struct SpokenPrompts;

impl SpokenPrompts {
    /// Features of a frame.
    pub const MELS: usize = 40;
    /// Training, validation and test prompts.
    pub const SPLIT_SIZES: [usize; 3] = [1600, 96, 96];
    /// Samples per second.
    const RATE: u32 = 8000;
    /// Clips in the file.
    const CLIPS: usize = 182;

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "prompts of spoken digits, letters and phonetic words".into(),
            source: "asterisk-core-sounds-en and asterisk-core-sounds-en-wav 1.6.1-1 (Debian), \
                     recorded by Allison Smith"
                .into(),
            licence: "CC-BY-SA-3.0".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the clips and makes the prompts.
    pub fn open(workload: &str) -> Result<Splits, WorkloadError> {
        let content = FILE.unpack(workload)?;
        let clips = parse(&content).map_err(|message| FILE.fault(workload, &message))?;
        let [train, validation, test] = prompts(&clips);
        Ok(Splits::new(train, validation, test))
    }
}

/// The front end for 8000 samples per second.
pub(super) fn front() -> LogMel {
    LogMel::new(SpokenPrompts::RATE, SpokenPrompts::MELS, 125.0, 3800.0)
}

/// One recording.
#[derive(Debug, Clone, PartialEq)]
struct Clip {
    text: String,
    samples: Vec<i16>,
}

/// Reads the format that `data/make/spoken_prompts.py` describes.
fn parse(content: &[u8]) -> Result<Vec<Clip>, String> {
    let mut rest = content
        .strip_prefix(b"VPRM")
        .ok_or("does not start with `VPRM`")?;
    let mut take = |n: usize| -> Result<&[u8], String> {
        let (taken, others) = rest.split_at_checked(n).ok_or("is cut short")?;
        rest = others;
        Ok(taken)
    };
    let number = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().map_err(|_| "is cut short")?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|e| e.to_string())
    };
    let head = [number(take(4)?)?, number(take(4)?)?, number(take(4)?)?];
    let expected = [1, SpokenPrompts::RATE as usize, SpokenPrompts::CLIPS];
    if head != expected {
        return Err(format!("header is {head:?}, expected {expected:?}"));
    }
    let mut list = Vec::new();
    for clip in 0..SpokenPrompts::CLIPS {
        let length = take(1)?.first().map_or(0, |n| usize::from(*n));
        let text = String::from_utf8(take(length)?.to_vec());
        let text = text.map_err(|e| format!("clip {clip}: {e}"))?;
        if text.is_empty() || ENGLISH.normalise(&text) != text {
            return Err(format!("clip {clip}: `{text}` is no text of its alphabet"));
        }
        list.push((text, number(take(4)?)?));
    }
    let clips = list.into_iter().map(|(text, samples)| {
        let samples = take(samples)?.iter().map(|byte| mu_law(*byte)).collect();
        Ok(Clip { text, samples })
    });
    let clips: Vec<Clip> = clips.collect::<Result<_, String>>()?;
    match rest.len() {
        0 => Ok(clips),
        more => Err(format!("has {more} bytes too many")),
    }
}

/// Sample of a byte of ITU-T G.711's mu-law.
fn mu_law(byte: u8) -> i16 {
    let bits = !byte;
    let mantissa = i16::from(bits & 15) << 3;
    let magnitude = ((mantissa + 132) << ((bits >> 4) & 7)) - 132;
    if bits & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// The prompts of each split: the first ones of an endless list that fit. Which split a prompt is for
/// is told by the hash of its text alone, so that no text is in two of them.
fn prompts(clips: &[Clip]) -> [Utterances; 3] {
    let front = front();
    let mut splits = [const { Vec::<Spoken>::new() }; 3];
    let mut seen = HashSet::new();
    for prompt in 0u64.. {
        let full = |split: usize| splits[split].len() >= SpokenPrompts::SPLIT_SIZES[split];
        if (0..3).all(full) {
            break;
        }
        let seed = mix(SEED, prompt);
        let count = 1 + mix(seed, 0) % 3;
        let chosen = (1..=count).map(|at| (mix(seed, at) % clips.len().max(1) as u64) as usize);
        let chosen: Vec<&Clip> = chosen.filter_map(|at| clips.get(at)).collect();
        let spoken = Spoken::new(chosen, seed);
        let text = spoken.text();
        let split = split_of(&text);
        let full = splits[split].len() >= SpokenPrompts::SPLIT_SIZES[split];
        if full || !seen.insert(text.clone()) {
            continue;
        }
        let tokens = ENGLISH.tokens(&text);
        if fits(front.frames(spoken.samples()), &tokens) {
            splits[split].push(spoken);
        }
    }
    splits.map(|list| {
        let utterances = list.par_iter().map(|spoken| Utterance {
            features: front.normalised(&spoken.speak()),
            tokens: ENGLISH.tokens(&spoken.text()),
        });
        Utterances::new(SpokenPrompts::MELS, utterances.collect())
    })
}

/// 0 (training) for eight of ten texts, 1 (validation) and 2 (test) for one each.
pub(super) fn split_of(text: &str) -> usize {
    match Sha256::digest(text.as_bytes())
        .first()
        .map_or(0, |byte| byte % 10)
    {
        8 => 1,
        9 => 2,
        _ => 0,
    }
}

/// Clips one behind the other, each between 15 % slower and 15 % faster, together at full to a quarter
/// of the loudness, over faint white noise that hides the joints.
struct Spoken<'a> {
    clips: Vec<(&'a Clip, f64)>,
    loudness: f64,
    noise: u64,
}

impl<'a> Spoken<'a> {
    fn new(clips: Vec<&'a Clip>, seed: u64) -> Self {
        let speed = |index| 0.85 + 0.3 * unit(seed, 20 + index as u64);
        let clips = clips.into_iter().enumerate();
        Self {
            clips: clips.map(|(index, clip)| (clip, speed(index))).collect(),
            loudness: 0.25f64.powf(unit(seed, 10)),
            noise: mix(seed, 11),
        }
    }

    fn text(&self) -> String {
        let texts = self.clips.iter().map(|(clip, _)| clip.text.as_str());
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Samples of a clip at a speed.
    fn length((clip, speed): &(&Clip, f64)) -> usize {
        (clip.samples.len() as f64 / speed) as usize
    }

    fn samples(&self) -> usize {
        self.clips.iter().map(Self::length).sum()
    }

    fn speak(&self) -> Vec<i16> {
        let mut samples = Vec::with_capacity(self.samples());
        for own @ (clip, speed) in &self.clips {
            for i in 0..Self::length(own) {
                // Linear interpolation between the two nearest samples.
                let place = i as f64 * speed;
                let at = |i: usize| clip.samples.get(i).copied().map_or(0.0, f64::from);
                let (left, part) = (place as usize, place.fract());
                let value = (1.0 - part) * at(left) + part * at(left + 1);
                let hiss = 20.0 * (unit(self.noise, samples.len() as u64) - 0.5);
                samples.push((self.loudness * value + hiss).round() as i16);
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velodrome_harness::contract::Dataset;

    #[test]
    fn mu_law_of_the_standard() {
        // ITU-T G.711, table 2a: decoder outputs, here in 16 bits (times 4).
        for (byte, expected) in [
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0x80, 32124),
            (0x00, -32124),
            (0xf0, 120),
            (0xef, 132),
            (0x8f, 16764),
        ] {
            assert_eq!(mu_law(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn prompts_of_the_splits_differ_and_hold_every_clip() {
        let clips = parse(&FILE.unpack("test").unwrap()).unwrap();
        let splits = prompts(&clips);
        let sizes = splits.each_ref().map(|s| s.len());
        assert_eq!(sizes, SpokenPrompts::SPLIT_SIZES);
        let texts = splits.each_ref().map(|split| {
            let list = split.list().iter().map(|u| ENGLISH.text(&u.tokens));
            list.collect::<HashSet<String>>()
        });
        assert_eq!(
            texts.each_ref().map(HashSet::len),
            SpokenPrompts::SPLIT_SIZES
        );
        assert!(texts[0].is_disjoint(&texts[1]) && texts[0].is_disjoint(&texts[2]));
        assert!(texts[1].is_disjoint(&texts[2]));
        // Every word of validation and test was heard in training.
        let words = |texts: &HashSet<String>| -> HashSet<String> {
            let words = texts.iter().flat_map(|t| t.split(' '));
            words.map(str::to_string).collect()
        };
        assert!(
            words(&texts[1])
                .union(&words(&texts[2]))
                .all(|w| words(&texts[0]).contains(w))
        );
        for (split, texts) in texts.iter().enumerate() {
            assert!(texts.iter().all(|text| split_of(text) == split));
        }
        let seconds: usize = splits[0].list().iter().map(|u| u.features.len()).sum();
        let seconds = seconds as f64 / (SpokenPrompts::MELS * 100) as f64;
        assert!((1800.0..3000.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_damaged_content_is_named() {
        let content = FILE.unpack("test").unwrap();
        let error = |content: &[u8]| parse(content).unwrap_err();
        assert!(error(&content[..content.len() - 1]).contains("cut short"));
        assert!(error(&content[..30]).contains("cut short"));
        assert!(error(&[&content[..], &[1]].concat()).contains("1 bytes too many"));
        assert!(error(b"VIMG").contains("VPRM"));
        let mut other = content.clone();
        other[8] = 1;
        assert!(error(&other).contains("header"));
        let mut other = content.clone();
        other[17] = b'!';
        assert!(error(&other).contains("clip 0"), "{}", error(&other));
    }
}

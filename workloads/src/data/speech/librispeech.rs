//! LibriSpeech (Panayotov et al. 2015) in the folders that it comes in.

use super::asterisk::Skips;
use super::{LogMel, Pieces, Utterance, fits, pad};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use velodrome_harness::contract::{DataSource, Dataset, HostBatch, Splits, WorkloadError};

/// The corpus, as AlgoPerf splits it: training on train-clean-100, train-clean-360 and train-other-500,
/// validation on dev-clean and dev-other, test on test-clean.
///
/// The folder holds these six folders, as they come, and AlgoPerf's tokeniser `spm_model.vocab` (a
/// SentencePiece model; its script trains one on train-clean-100).
pub struct LibriSpeech;

impl LibriSpeech {
    /// Features of a frame.
    pub const MELS: usize = 80;
    /// Pieces of the tokeniser.
    pub const PIECES: usize = 1024;
    /// Examples that AlgoPerf counts behind its filters, which are also used here.
    pub const SPLIT_SIZES: [usize; 3] = [263_840, 5_348, 2_472];
    /// Name of the data folder; both models read the same one.
    pub const FOLDER: &'static str = "librispeech";
    /// The tokeniser's file.
    pub const TOKENISER: &'static str = "spm_model.vocab";
    /// Longest audio in samples (20 seconds).
    const SAMPLES: u64 = 320_000;
    /// Longest transcript in characters.
    const CHARACTERS: usize = 256;
    const FOLDERS: [&'static [&'static str]; 3] = [
        &["train-clean-100", "train-clean-360", "train-other-500"],
        &["dev-clean", "dev-other"],
        &["test-clean"],
    ];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "LibriSpeech".into(),
            source: "a folder of your own, from https://www.openslr.org/12".into(),
            licence: "CC-BY-4.0".into(),
            sha256: "not pinned".into(),
        }
    }

    /// Reads the tokeniser of `folder`.
    pub fn tokeniser(folder: &Path) -> Result<Pieces, String> {
        let path = folder.join(Self::TOKENISER);
        let bytes = fs::read(&path).map_err(|e| {
            format!(
                "{}: {e}; put AlgoPerf's SentencePiece model there",
                path.display()
            )
        })?;
        Pieces::parse(&bytes).map_err(|message| format!("{}: {message}", path.display()))
    }

    /// Lists the corpus in `folder` and reads the head of every audio file; the audio itself is read when
    /// a batch needs it. Left out and counted: chapters without transcript file, transcripts without
    /// audio and audio without transcript, audio that is not FLAC with one channel of 16 bits at 16 kHz,
    /// that is longer than 20 seconds, and transcripts of more than 256 characters or with more pieces
    /// than there is audio for.
    pub fn open(workload: &str, folder: &Path) -> Result<Splits, WorkloadError> {
        let fault = |message| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let pieces = Self::tokeniser(folder).map_err(fault)?;
        if pieces.len() != Self::PIECES {
            return Err(fault(format!(
                "{}: holds {} pieces, expected {}",
                folder.join(Self::TOKENISER).display(),
                pieces.len(),
                Self::PIECES
            )));
        }
        Self::open_with(folder, &pieces).map_err(fault)
    }

    /// The same with a tokeniser of any size.
    pub fn open_with(folder: &Path, pieces: &Pieces) -> Result<Splits, String> {
        let front = LogMel::new(16_000, Self::MELS, 125.0, 7600.0);
        let mut skips = Skips::default();
        let mut splits = Vec::new();
        for folders in Self::FOLDERS {
            let mut list = Vec::new();
            for name in folders {
                let subset = folder.join(name);
                for speaker in entries(&subset)? {
                    for chapter in folders_of(&speaker)? {
                        read_chapter(&chapter, pieces, &front, &mut list, &mut skips)?;
                    }
                }
            }
            if list.is_empty() {
                let names = folders.join(", ");
                return Err(format!("{}: no utterance in {names}", folder.display()));
            }
            splits.push(FlacUtterances {
                front: front.clone(),
                list: list.into(),
            });
        }
        let mut splits = splits.into_iter();
        match (splits.next(), splits.next(), splits.next()) {
            (Some(train), Some(validation), Some(test)) => {
                let mut opened = Splits::new(train, validation, test);
                opened.skipped = skips.into();
                Ok(opened)
            }
            _ => Err("three splits are needed".into()),
        }
    }
}

/// Entries of a folder, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fault = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut list = fs::read_dir(folder)
        .map_err(fault)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    list.sort();
    Ok(list)
}

/// Folders in a folder; none where it is a file.
fn folders_of(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let list = entries(folder)?.into_iter();
    Ok(list.filter(|path| path.is_dir()).collect())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Adds the utterances of `speaker/chapter`.
fn read_chapter(
    chapter: &Path,
    pieces: &Pieces,
    front: &LogMel,
    list: &mut Vec<Entry>,
    skips: &mut Skips,
) -> Result<(), String> {
    let speaker = chapter.parent().map(name_of).unwrap_or_default();
    let file = format!("{speaker}-{}.trans.txt", name_of(chapter));
    let path = chapter.join(&file);
    let shown = || chapter.display().to_string();
    if !path.is_file() {
        skips.add("chapters without transcript file", shown);
        return Ok(());
    }
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut audio: Vec<PathBuf> = entries(chapter)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "flac"))
        .collect();
    for (index, line) in text.lines().enumerate() {
        let at = || format!("{} line {}", path.display(), index + 1);
        let Some((name, text)) = line.trim().split_once(' ') else {
            skips.add("transcript lines without text", at);
            continue;
        };
        let own = chapter.join(format!("{name}.flac"));
        let Some(place) = audio.iter().position(|path| *path == own) else {
            skips.add("transcripts without audio", at);
            continue;
        };
        audio.remove(place);
        if text.chars().count() > LibriSpeech::CHARACTERS {
            skips.add("transcripts of more than 256 characters", at);
            continue;
        }
        let samples = match samples_in(&own) {
            Ok(samples) => samples,
            Err(message) => {
                skips.add("audio that cannot be read", || message);
                continue;
            }
        };
        if samples > LibriSpeech::SAMPLES {
            skips.add("audio of more than 20 seconds", at);
            continue;
        }
        let tokens = pieces.tokens(text);
        if fits(front.frames(samples as usize), &tokens) {
            list.push(Entry { audio: own, tokens });
        } else {
            skips.add("transcripts that are longer than their audio", at);
        }
    }
    for path in audio {
        skips.add("audio without transcript", || path.display().to_string());
    }
    Ok(())
}

/// Opens a FLAC file of one channel of 16 bits at 16 kHz.
fn open_flac(path: &Path) -> Result<claxon::FlacReader<fs::File>, String> {
    let fault = |e: String| format!("{}: {e}", path.display());
    let reader = claxon::FlacReader::open(path).map_err(|e| fault(e.to_string()))?;
    let info = reader.streaminfo();
    let found = (info.channels, info.bits_per_sample, info.sample_rate);
    if found != (1, 16, 16_000) {
        return Err(fault(format!(
            "has {} channels of {} bits at {} Hz, not one of 16 at 16000",
            found.0, found.1, found.2
        )));
    }
    Ok(reader)
}

/// The number of samples that a file's head states.
fn samples_in(path: &Path) -> Result<u64, String> {
    let samples = open_flac(path)?.streaminfo().samples;
    samples.ok_or_else(|| format!("{}: states no number of samples", path.display()))
}

#[derive(Debug)]
struct Entry {
    audio: PathBuf,
    tokens: Vec<i32>,
}

/// Utterances whose audio is read when a batch needs it.
#[derive(Debug, Clone)]
pub struct FlacUtterances {
    front: LogMel,
    list: Arc<[Entry]>,
}

impl FlacUtterances {
    fn read(&self, index: usize) -> Option<Utterance> {
        let entry = self.list.get(index)?;
        let mut reader = open_flac(&entry.audio).ok()?;
        let samples = reader
            .samples()
            .map(|sample| i16::try_from(sample.ok()?).ok());
        let samples: Vec<i16> = samples.collect::<Option<_>>()?;
        Some(Utterance {
            features: self.front.normalised(&samples),
            tokens: entry.tokens.clone(),
        })
    }
}

impl Dataset for FlacUtterances {
    fn len(&self) -> usize {
        self.list.len()
    }

    /// Indices that are not below the length, and audio that can no longer be read, are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let list: Vec<Utterance> = indices.iter().filter_map(|i| self.read(*i)).collect();
        pad(&list.iter().collect::<Vec<_>>(), LibriSpeech::MELS)
    }
}

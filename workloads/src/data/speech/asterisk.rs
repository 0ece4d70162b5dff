//! The recorded prompts of the Asterisk telephone exchange in five languages.

use super::prompts::{front, split_of};
use super::{Alphabet, FIVE_LANGUAGES, Utterance, Utterances, fits};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use velodrome_harness::contract::{Skipped, Splits, WorkloadError};

/// Files of an archive: their paths and contents.
pub type Files = Vec<(String, Vec<u8>)>;

/// Gives the files of a named archive whose paths the filter accepts.
pub type Sources<'a> =
    dyn FnMut(&str, &mut dyn FnMut(&str) -> bool) -> Result<Files, WorkloadError> + 'a;

/// The files of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// Its two letters.
    pub name: String,
    /// The transcript file, unpacked: lines `path: text`, comments behind `;`.
    pub transcripts: Vec<u8>,
    /// WAV files, by path without extension, below the language's folder.
    pub sounds: BTreeMap<String, Vec<u8>>,
}

/// Some 2,600 recordings of whole prompts, 2 hours, in English, Spanish, French, Italian and Russian,
/// one speaker each. The hash of language and text decides the split, so that prompts that say the
/// same in one language are on the same side.
pub struct AsteriskSounds;

impl AsteriskSounds {
    /// Training, validation and test utterances of the pinned packages.
    pub const SPLIT_SIZES: [usize; 3] = [2_129, 241, 232];
    /// Seconds of the longest prompt that is taken.
    pub const LONGEST: usize = 16;
    /// Languages, and the folder of their sounds.
    const LANGUAGES: [(&'static str, &'static str); 5] = [
        ("en", "en_US_f_Allison"),
        ("es", "es_MX_f_Allison"),
        ("fr", "fr_CA_f_June"),
        ("it", "it_IT_m_Carlo"),
        ("ru", "ru_RU_f_IvrvoiceRU"),
    ];

    /// Opens the packages that `sources` gives.
    pub fn open(workload: &str, sources: &mut Sources) -> Result<Splits, WorkloadError> {
        let mut languages = Vec::new();
        for (name, folder) in Self::LANGUAGES {
            let text = format!("asterisk-core-sounds-{name}_1.6.1-1_all.deb");
            let wanted = format!("core-sounds-{name}.txt.gz");
            let mut texts = sources(&text, &mut |path| path.ends_with(&wanted))?;
            let fault = |message: String| WorkloadError::Data {
                workload: workload.to_string(),
                message: format!("{text}: {message}"),
            };
            let (_, packed) = texts
                .pop()
                .ok_or_else(|| fault(format!("holds no {wanted}")))?;
            let mut transcripts = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice())
                .read_to_end(&mut transcripts)
                .map_err(|e| fault(format!("{wanted} cannot be unpacked: {e}")))?;
            let archive = format!("asterisk-core-sounds-{name}-wav_1.6.1-1_all.deb");
            let files = sources(&archive, &mut |path| path.ends_with(".wav"))?;
            let sounds = files.into_iter().filter_map(|(path, bytes)| {
                let (_, below) = path.split_once(&format!("{folder}/"))?;
                Some((below.strip_suffix(".wav")?.to_string(), bytes))
            });
            languages.push(Language {
                name: name.to_string(),
                transcripts,
                sounds: sounds.collect(),
            });
        }
        Self::from_languages(workload, &languages)
    }

    /// The splits of these files. What cannot be used is counted by its reason; an empty split is an
    /// error.
    pub fn from_languages(workload: &str, languages: &[Language]) -> Result<Splits, WorkloadError> {
        let mut skips = Skips::default();
        let mut splits = [const { Vec::new() }; 3];
        for language in languages {
            for (text, utterance) in utterances(language, &mut skips) {
                splits[split_of(&format!("{} {text}", language.name))].push(utterance);
            }
        }
        if let Some(empty) = splits.iter().position(Vec::is_empty) {
            let name = ["training", "validation", "test"][empty];
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!("the Asterisk sounds give no {name} utterance"),
            });
        }
        let mels = front().mels();
        let [train, validation, test] = splits.map(|list| Utterances::new(mels, list));
        let mut opened = Splits::new(train, validation, test);
        opened.skipped = skips.into();
        Ok(opened)
    }
}

/// Counts of what was left out, by reason, each with the first that it concerns.
#[derive(Debug, Default)]
pub(super) struct Skips(BTreeMap<&'static str, (String, u64)>);

impl Skips {
    /// Counts one.
    pub(super) fn add(&mut self, reason: &'static str, what: impl FnOnce() -> String) {
        self.0.entry(reason).or_insert_with(|| (what(), 0)).1 += 1;
    }
}

impl From<Skips> for Vec<Skipped> {
    fn from(skips: Skips) -> Self {
        let list = skips.0.into_iter();
        list.map(|(reason, (first, examples))| Skipped {
            reason: format!("{reason}, first {first}"),
            examples,
        })
        .collect()
    }
}

/// Texts and utterances of a language.
fn utterances(language: &Language, skips: &mut Skips) -> Vec<(String, Utterance)> {
    const ALPHABET: Alphabet = FIVE_LANGUAGES;
    let file = format!("core-sounds-{}.txt", language.name);
    let all = String::from_utf8_lossy(&language.transcripts);
    let mut texts: HashMap<&str, (usize, String)> = HashMap::new();
    let mut order = Vec::new();
    for (index, line) in all.trim_start_matches('\u{feff}').lines().enumerate() {
        let at = || format!("{file} line {}", index + 1);
        if line.trim().is_empty() || line.starts_with(';') {
            continue;
        }
        let Some((path, text)) = line.split_once(':') else {
            skips.add("transcript lines without a colon", at);
            continue;
        };
        let path = path.trim();
        if texts.contains_key(path) {
            skips.add("second transcripts of one sound", at);
            continue;
        }
        texts.insert(path, (index + 1, ALPHABET.normalise(text)));
        order.push(path);
    }
    for path in language
        .sounds
        .keys()
        .filter(|path| !texts.contains_key(path.as_str()))
    {
        skips.add("sounds without transcript", || {
            format!("{} {path}.wav", language.name)
        });
    }
    let front = front();
    let mut list = Vec::new();
    for path in order {
        let Some((line, text)) = texts.remove(path) else {
            continue;
        };
        let at = || format!("{file} line {line} ({path})");
        let Some(sound) = language.sounds.get(path) else {
            skips.add("transcripts without sound", at);
            continue;
        };
        if text.is_empty() {
            skips.add("sounds without speech", at);
            continue;
        }
        let samples = match read_wav(sound) {
            Ok(samples) => samples,
            Err(message) => {
                skips.add("sounds that cannot be read", || {
                    format!("{}: {message}", at())
                });
                continue;
            }
        };
        let tokens = ALPHABET.tokens(&text);
        if samples.len() > AsteriskSounds::LONGEST * 8000 {
            skips.add("sounds of more than 16 seconds", at);
        } else if !fits(front.frames(samples.len()), &tokens) {
            skips.add("transcripts that are longer than their sound", at);
        } else {
            let features = front.normalised(&samples);
            list.push((text, Utterance { features, tokens }));
        }
    }
    list
}

/// Samples of a WAV file with one channel of 16 bits at 8000 per second. The message says what is wrong
/// with it.
pub fn read_wav(bytes: &[u8]) -> Result<Vec<i16>, String> {
    let reader = hound::WavReader::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let spec = reader.spec();
    let found = (spec.channels, spec.bits_per_sample, spec.sample_rate);
    if found != (1, 16, 8000) || spec.sample_format != hound::SampleFormat::Int {
        return Err(format!(
            "has {} channels of {} bits at {} Hz, not one of 16 at 8000",
            found.0, found.1, found.2
        ));
    }
    let samples = reader.into_samples::<i16>();
    samples.collect::<Result<_, _>>().map_err(|e| e.to_string())
}

//! Loaders of speech: LibriSpeech's folders, the Asterisk packages, SentencePiece models.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use velodrome_harness::contract::{HostBatch, HostValues, Splits, WorkloadError};
use velodrome_workloads::data::speech::{
    AsteriskSounds, FIVE_LANGUAGES, Language, LibriSpeech, LogMel, Pieces,
};

const MODEL: &[u8] = include_bytes!("../data/speech_pieces.model");
const FLAC: &[u8] = include_bytes!("../data/speech_tone.flac");
const FLAC_8K: &[u8] = include_bytes!("../data/speech_tone_8k.flac");

/// `data/make_speech_tiny.py`, sentencepiece 0.2.3: `encode(text, add_eos=True)` and `decode`.
#[test]
fn pieces_are_sentencepieces() {
    let pieces = Pieces::parse(MODEL).unwrap();
    assert_eq!(pieces.len(), 48);
    let cases: [(&str, &[i32], &str); 7] = [
        (
            "THE RIDER WAITS",
            &[3, 5, 20, 18, 22, 30, 4, 2],
            "THE RIDER WAITS",
        ),
        (
            "  THE  LAST LAP ",
            &[3, 5, 7, 4, 9, 7, 26, 2],
            "THE LAST LAP",
        ),
        ("IT'S", &[23, 9, 38, 4, 2], "IT'S"),
        // Unknown characters, which sentencepiece shows by a sign of its own, have no text here.
        ("Z", &[3, 0, 2], ""),
        ("A QUIZ 12 B", &[8, 3, 0, 35, 0, 3, 0, 42, 2], "A I  B"),
        ("", &[2], ""),
        (
            "FOLLOW THE LEADER",
            &[28, 3, 5, 29, 22, 2],
            "FOLLOW THE LEADER",
        ),
    ];
    for (text, tokens, back) in cases {
        assert_eq!(pieces.tokens(text), tokens, "{text}");
        assert_eq!(pieces.text(tokens), back, "{text}");
    }
}

#[test]
fn damaged_models_are_named() {
    let error = |bytes: &[u8]| Pieces::parse(bytes).unwrap_err();
    assert!(error(&MODEL[..MODEL.len() - 1]).contains("cut short"));
    assert!(error(b"").contains("unknown characters"));
    // A field that claims more bytes than there are.
    assert!(error(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).contains("cut short"));
    assert!(error(&[0xff; 11]).contains("64 bits"));
    assert!(error(&[0x0b]).contains("type 3"));
}

fn integers(batch: &HostBatch, field: usize) -> Vec<i32> {
    let HostValues::Int(values) = &batch.fields[field].values else {
        panic!("a field of integers");
    };
    values.clone()
}

fn skipped(splits: &Splits) -> BTreeMap<String, u64> {
    let list = splits.skipped.iter();
    list.map(|s| {
        (
            s.reason.split(", first").next().unwrap().to_string(),
            s.examples,
        )
    })
    .collect()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

/// A folder with one good utterance in each of the six parts.
fn corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in [
        "train-clean-100",
        "train-clean-360",
        "train-other-500",
        "dev-clean",
        "dev-other",
        "test-clean",
    ] {
        let chapter = folder.path().join(part).join("84/121123");
        write(
            &chapter.join("84-121123.trans.txt"),
            b"84-121123-0000 THE LAST LAP\n",
        );
        write(&chapter.join("84-121123-0000.flac"), FLAC);
    }
    write(&folder.path().join("spm_model.vocab"), MODEL);
    folder
}

fn open(folder: &Path) -> Result<Splits, String> {
    LibriSpeech::open_with(folder, &Pieces::parse(MODEL).unwrap())
}

#[test]
fn librispeech_folders_are_read() {
    let folder = corpus();
    let splits = open(folder.path()).unwrap();
    assert_eq!(
        [
            splits.train.len(),
            splits.validation.len(),
            splits.test.len()
        ],
        [3, 2, 1]
    );
    assert!(splits.skipped.is_empty());
    let batch = splits.train.batch(&[2, 0, 9]);
    assert_eq!((batch.examples, batch.units), (2, 16));
    assert_eq!(batch.fields[0].shape, [2, 48, 80]);
    assert_eq!(integers(&batch, 1), [48, 48]);
    assert_eq!(integers(&batch, 2)[..8], [3, 5, 7, 4, 9, 7, 26, 2]);
    // The tone that the file was made of.
    let tone = |i: usize| 6000.0 * (0.1 * i as f64).sin() + 3000.0 * (0.37 * i as f64).sin();
    let samples: Vec<i16> = (0..8000)
        .map(|i| tone(i).round_ties_even() as i16)
        .collect();
    let expected = LogMel::new(16_000, 80, 125.0, 7600.0).normalised(&samples);
    let HostValues::Float(found) = &batch.fields[0].values else {
        panic!("features are real");
    };
    assert_eq!(found[..expected.len()], expected);
    // Audio that went away is left out.
    let audio = "dev-clean/84/121123/84-121123-0000.flac";
    write(&folder.path().join(audio), &FLAC[..FLAC.len() / 2]);
    assert_eq!(splits.validation.batch(&[0, 1]).examples, 1);
}

#[test]
fn what_librispeech_cannot_use_is_counted() {
    let folder = corpus();
    let chapter = folder.path().join("train-clean-100/84/121123");
    let mut text = "84-121123-0000 THE LAST LAP\n84-121123-0001 NO AUDIO\n".to_string();
    for (number, line) in [
        (2, "THE RATE".to_string()),
        (3, "CUT".to_string()),
        (4, "A ".repeat(129)),
        (5, "THE BELL ".repeat(12)),
        (6, String::new()),
    ] {
        text.push_str(&format!("84-121123-000{number} {line}\n"));
    }
    write(&chapter.join("84-121123.trans.txt"), text.as_bytes());
    write(&chapter.join("84-121123-0002.flac"), FLAC_8K);
    write(&chapter.join("84-121123-0003.flac"), &FLAC[..20]);
    for number in [4, 5, 7] {
        write(&chapter.join(format!("84-121123-000{number}.flac")), FLAC);
    }
    write(
        &folder
            .path()
            .join("train-clean-100/84/999/84-999-0000.flac"),
        FLAC,
    );
    let splits = open(folder.path()).unwrap();
    assert_eq!(splits.train.len(), 3);
    let expected = [
        ("audio that cannot be read", 2),
        ("audio without transcript", 1),
        ("chapters without transcript file", 1),
        ("transcript lines without text", 1),
        ("transcripts of more than 256 characters", 1),
        ("transcripts that are longer than their audio", 1),
        ("transcripts without audio", 1),
    ];
    let expected: BTreeMap<String, u64> =
        expected.map(|(reason, n)| (reason.to_string(), n)).into();
    assert_eq!(skipped(&splits), expected);
    let named = splits
        .skipped
        .iter()
        .any(|s| s.reason.contains("84-121123.trans.txt line 2"));
    assert!(named, "{:?}", splits.skipped);
}

#[test]
fn missing_parts_of_librispeech_are_named() {
    let message = |splits: Result<Splits, WorkloadError>| match splits {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    };
    let folder = corpus();
    let error = message(LibriSpeech::open("some_workload", folder.path()));
    assert!(error.contains("holds 48 pieces, expected 1024"), "{error}");
    assert!(error.contains("some_workload"), "{error}");
    fs::remove_file(folder.path().join("spm_model.vocab")).unwrap();
    let error = message(LibriSpeech::open("some_workload", folder.path()));
    assert!(error.contains("spm_model.vocab"), "{error}");
    fs::remove_dir_all(folder.path().join("test-clean/84")).unwrap();
    assert!(
        open(folder.path())
            .err()
            .unwrap()
            .contains("no utterance in test-clean")
    );
    fs::remove_dir_all(folder.path().join("dev-other")).unwrap();
    assert!(open(folder.path()).err().unwrap().contains("dev-other"));
}

fn wav(samples: usize, rate: u32, channels: u16) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Vec::new();
    let mut writer = hound::WavWriter::new(Cursor::new(&mut bytes), spec).unwrap();
    for i in 0..samples {
        writer
            .write_sample(((i as f64 * 0.3).sin() * 5000.0) as i16)
            .unwrap();
    }
    writer.finalize().unwrap();
    bytes
}

/// Enough prompts to fill the three splits, and one of each fault.
fn language() -> Language {
    let mut transcripts = "\u{feff}; a comment\n\n".to_string();
    let mut sounds = BTreeMap::new();
    for number in 0..40 {
        transcripts.push_str(&format!("vm/{number}: Línea número {number}. [beep]\n"));
        sounds.insert(format!("vm/{number}"), wav(16_000, 8000, 1));
    }
    for (line, sound) in [
        ("vm/0: second", None),
        ("no colon", None),
        ("lost: lost", None),
        ("quiet: (ten seconds of silence)", Some(wav(8000, 8000, 1))),
        ("rate: rate", Some(wav(8000, 16_000, 1))),
        ("stereo: stereo", Some(wav(8000, 8000, 2))),
        ("cut: cut", Some(wav(8000, 8000, 1)[..2000].to_vec())),
        (
            "short: more letters than there is sound for",
            Some(wav(2000, 8000, 1)),
        ),
        ("long: long", Some(wav(129_000, 8000, 1))),
    ] {
        transcripts.push_str(line);
        transcripts.push('\n');
        if let (Some(sound), Some((name, _))) = (sound, line.split_once(':')) {
            sounds.insert(name.to_string(), sound);
        }
    }
    sounds.insert("silent".into(), wav(8000, 8000, 1));
    Language {
        name: "es".into(),
        transcripts: transcripts.into_bytes(),
        sounds,
    }
}

#[test]
fn asterisk_sounds_are_joined_with_their_transcripts() {
    let splits = AsteriskSounds::from_languages("some_workload", &[language()]).unwrap();
    let parts = [&splits.train, &splits.validation, &splits.test];
    assert_eq!(parts.iter().map(|s| s.len()).sum::<usize>(), 40);
    let batch = splits.train.batch(&[0]);
    assert_eq!(batch.fields[0].shape, [1, 198, 40]);
    assert_eq!(FIVE_LANGUAGES.text(&integers(&batch, 2)), "línea número 0");
    let expected = [
        ("second transcripts of one sound", 1),
        ("sounds of more than 16 seconds", 1),
        ("sounds that cannot be read", 3),
        ("sounds without speech", 1),
        ("sounds without transcript", 1),
        ("transcript lines without a colon", 1),
        ("transcripts that are longer than their sound", 1),
        ("transcripts without sound", 1),
    ];
    let expected: BTreeMap<String, u64> =
        expected.map(|(reason, n)| (reason.to_string(), n)).into();
    assert_eq!(skipped(&splits), expected);
    assert!(
        splits
            .skipped
            .iter()
            .any(|s| s.reason.contains("core-sounds-es.txt line 43 (vm/0)")
                || s.reason.contains("core-sounds-es.txt line 43"))
    );
    let error = AsteriskSounds::from_languages("some_workload", &[])
        .err()
        .unwrap();
    assert!(error.to_string().contains("no training utterance"));
}

/// The packages through the interface that fetched data has.
#[test]
fn asterisk_archives_are_asked_for_by_name() {
    let own = language();
    let mut asked = Vec::new();
    let splits = AsteriskSounds::open("some_workload", &mut |archive, accept| {
        asked.push(archive.to_string());
        if archive.contains("-wav_") {
            let folder = "./usr/share/asterisk/sounds/es_MX_f_Allison";
            let files = own.sounds.iter();
            let files = files.map(|(name, bytes)| (format!("{folder}/{name}.wav"), bytes.clone()));
            return Ok(files.filter(|(path, _)| accept(path)).collect());
        }
        let path = format!(
            "./usr/share/doc/x/core-sounds-{}.txt.gz",
            archive.get(21..23).unwrap()
        );
        assert!(accept(&path) && !accept("./usr/share/doc/x/copyright"));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        if archive.contains("-es_") {
            packed.write_all(&own.transcripts).unwrap();
        }
        Ok(vec![(path, packed.finish().unwrap())])
    })
    .unwrap();
    assert_eq!(asked.len(), 10);
    assert_eq!(asked[2], "asterisk-core-sounds-es_1.6.1-1_all.deb");
    assert_eq!(asked[3], "asterisk-core-sounds-es-wav_1.6.1-1_all.deb");
    assert_eq!(
        splits.train.len() + splits.validation.len() + splits.test.len(),
        40
    );
}

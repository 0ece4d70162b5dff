//! Against SentencePiece 0.2.3 (Python): a unigram model of 60 pieces, trained on six sentences, its
//! `.vocab` file, and what `encode` and `decode` give.

use super::*;

const VOCABULARY: [&str; 60] = [
    "<unk>\t0",
    "<s>\t0",
    "</s>\t0",
    "▁\t-2.55967",
    "▁the\t-3.08798",
    "a\t-3.16005",
    "e\t-3.2924",
    "s\t-3.332",
    "n\t-3.34094",
    "▁d\t-3.40573",
    "t\t-3.51388",
    "▁a\t-3.52885",
    "g\t-3.56861",
    "▁on\t-3.6597",
    "und\t-3.66483",
    "ng\t-3.77222",
    "at\t-3.88879",
    "er\t-3.89041",
    "i\t-3.95421",
    "▁saß\t-3.95946",
    "▁die\t-3.96161",
    "nd\t-4.00407",
    "l\t-4.32305",
    "u\t-4.37874",
    "▁s\t-4.38694",
    "T\t-4.39398",
    "f\t-4.39398",
    "y\t-4.39398",
    "▁Bank\t-4.39398",
    "▁Hund\t-4.39398",
    "▁Katze\t-4.39398",
    "▁dort\t-4.39398",
    "▁no\t-4.39398",
    "▁cat\t-4.39499",
    "▁dog\t-4.39948",
    "▁there\t-4.40041",
    "▁ni\t-4.40056",
    "▁wa\t-4.41528",
    "▁lo\t-4.42737",
    "r\t-4.4412",
    "▁de\t-4.55108",
    "▁an\t-4.55337",
    "em\t-4.6029",
    "▁sa\t-4.70247",
    "an\t-4.77095",
    "ma\t-4.99179",
    "h\t-5.14083",
    "c\t-5.17513",
    "M\t-5.17731",
    "b\t-5.17731",
    "K\t-5.31076",
    "H\t-5.31086",
    "B\t-5.31096",
    "ß\t-5.31106",
    "z\t-5.31116",
    "w\t-5.31126",
    "m\t-5.31136",
    "k\t-5.31146",
    "o\t-5.31156",
    "d\t-5.31166",
];

/// Text, tokens, text again.
const ENCODED: [(&str, &[u16], &str); 7] = [
    (
        "the cat sat on the bank",
        &[4, 33, 43, 10, 13, 4, 3, 49, 44, 57],
        "the cat sat on the bank",
    ),
    (
        "  der  Hund saß dort ",
        &[9, 17, 29, 19, 31],
        "der Hund saß dort",
    ),
    (
        "cats QQ and dogs!",
        &[33, 7, 3, 0, 11, 21, 34, 7, 0],
        "cats  \u{2047}  and dogs \u{2047} ",
    ),
    (
        "\u{fb01}nd the lang",
        &[3, 26, 18, 21, 4, 3, 22, 5, 15],
        "find the lang",
    ),
    ("", &[], ""),
    ("\u{2460}\u{b2}", &[3, 0], " \u{2047} "),
    (
        "die Katze sitzt",
        &[20, 30, 24, 18, 10, 54, 10],
        "die Katze sitzt",
    ),
];

pub fn vocabulary() -> String {
    VOCABULARY.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn tokens_and_texts_are_those_of_sentencepiece() {
    let pieces = Pieces::parse(&vocabulary()).unwrap();
    assert_eq!(pieces.len(), VOCABULARY.len());
    for (text, tokens, again) in ENCODED {
        assert_eq!(pieces.encode(text), tokens, "{text}");
        let tokens: Vec<i32> = tokens.iter().map(|t| i32::from(*t)).collect();
        assert_eq!(pieces.text(&tokens), again);
    }
    // Marks and numbers behind the last piece spell nothing.
    assert_eq!(pieces.text(&[1, 2, -5, 4, 999]), "the");
}

#[test]
fn bad_vocabularies_are_refused_with_their_line() {
    let good = vocabulary();
    for (from, to, line) in [
        ("<unk>\t", "a\t", 1),
        ("</s>\t0", "</s>0", 3),
        ("-2.55967", "x", 4),
        ("-2.55967", "inf", 4),
        ("\u{2581}the\t", "\t", 5),
        ("\u{2581}the\t", "\u{2581}\t", 5),
    ] {
        let bad = good.replacen(from, to, 1);
        let error = Pieces::parse(&bad).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    }
    assert!(Pieces::parse("").is_err());
    assert!(Pieces::parse("<unk>\t0\n<s>\t0\n</s>\t0\n").is_err());
}

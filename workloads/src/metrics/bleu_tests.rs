//! BLEU against sacreBLEU 2.6.0 (Python 3.11).

use super::*;

/// Lines and their tokens by `Tokenizer13a`.
const TOKENS: [(&str, &[&str]); 15] = [
    (
        "The quick brown fox, 3.14 and 1,000.50.",
        &[
            "The", "quick", "brown", "fox", ",", "3.14", "and", "1,000.50", ".",
        ],
    ),
    (
        "a..b ,, c.,d",
        &["a", ".", ".", "b", ",", ",", "c", ".", ",", "d"],
    ),
    (
        "--help=FILE  (see \"man ls\") &amp; &lt;tag&gt; &quot;q&quot;",
        &[
            "--help", "=", "FILE", "(", "see", "\"", "man", "ls", "\"", ")", "&", "<", "tag", ">",
            "\"", "q", "\"",
        ],
    ),
    ("5-6 x-y 7- -8", &["5", "-", "6", "x-y", "7", "-", "-8"]),
    (
        "l'été d’hiver «oui» 50 %",
        &["l'été", "d’hiver", "«oui»", "50", "%"],
    ),
    (
        "<skipped>Hello-\nWorld\nagain.",
        &["HelloWorld", "again", "."],
    ),
    ("end . ", &["end", "."]),
    (
        "3.,5 .5 5. ,5 5,",
        &["3", ".", ",", "5", ".", "5", "5", ".", ",", "5", "5", ","],
    ),
    (
        "https://example.org/a_b~c?d=1&e=2",
        &[
            "https", ":", "/", "/", "example", ".", "org", "/", "a", "_", "b", "~", "c", "?", "d",
            "=", "1", "&", "e", "=", "2",
        ],
    ),
    (
        "a\u{a0}b\u{2028}c\u{1c}d\u{1f}e",
        &["a", "b", "c", "d", "e"],
    ),
    ("", &[]),
    ("   ", &[]),
    (
        "@#$%^&*()[]{}|\\`~!?;:",
        &[
            "@", "#", "$", "%", "^", "&", "*", "(", ")", "[", "]", "{", "}", "|", "\\", "`", "~",
            "!", "?", ";", ":",
        ],
    ),
    (
        "&amp;lt; R&D AT&T; &quot",
        &["<", "R", "&", "D", "AT", "&", "T", ";", "&", "quot"],
    ),
    (
        "日本語。 1.2.3. x,1 1,x",
        &["日本語。", "1.2.3", ".", "x", ",", "1", "1", ",", "x"],
    ),
];

/// Name, hypotheses, a reference for each, `BLEU().corpus_score(hypotheses, [references]).score`.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    f64,
);

const CASES: [Case; 14] = [
    (
        "ordinary",
        &[
            "the cat sat on the mat .",
            "A man, aged 35, walks his dog-friendly street.",
            "Open the file \"%s\" for reading",
        ],
        &[
            "the cat sat on the red mat .",
            "A man of 35 walks down his dog-friendly street.",
            "Open file \"%s\" for reading now",
        ],
        56.035413666539654,
    ),
    (
        "perfect",
        &["the cat sat on the mat", "hello there my friend"],
        &["the cat sat on the mat", "hello there my friend"],
        100.00000000000004,
    ),
    (
        "one hypothesis empty",
        &["", "the cat sat on the mat today"],
        &["a first sentence here", "the cat sat on a mat today"],
        27.610369103579476,
    ),
    ("all empty", &["", ""], &["a b c d e", "x y z"], 0.0),
    (
        "short sentences only",
        &["a b", "c d e"],
        &["a b", "c d e"],
        0.0,
    ),
    (
        "short and long",
        &["a b", "c d e", "one two three four five"],
        &["a b", "c x e", "one two three four six"],
        58.14307369682194,
    ),
    (
        "no match of order 4",
        &["the cat the cat on the mat now"],
        &["the cat is on the mat now"],
        41.11336169005198,
    ),
    (
        "no match of orders 2 to 4",
        &["mat the on sat cat"],
        &["cat sat on the mat"],
        15.97357760615681,
    ),
    (
        "no match of orders 3 and 4",
        &["the cat x sat on y"],
        &["the cat sat on the mat"],
        22.957488466614336,
    ),
    ("nothing matches", &["x y z w v"], &["a b c d e"], 0.0),
    (
        "too long",
        &["the cat sat on the mat and then it slept for a long long time"],
        &["the cat sat on the mat"],
        32.37722713145643,
    ),
    (
        "empty reference",
        &["a b c d e", "one two three four"],
        &["", "one two three four"],
        39.92039761549466,
    ),
    (
        "clipped repetitions",
        &["the the the the the the the"],
        &["the cat is on the mat"],
        7.809849842300637,
    ),
    (
        "white space at ends",
        &["  the cat sat on the mat \n", "a b c d . "],
        &["the cat sat on the mat", "a b c d."],
        100.00000000000004,
    ),
];

#[test]
fn tokens_are_those_of_sacrebleu() {
    for (line, tokens) in TOKENS {
        assert_eq!(tokenize_13a(line), tokens, "{line:?}");
    }
}

#[test]
fn scores_are_those_of_sacrebleu() {
    for (name, hypotheses, references, expected) in CASES {
        let mut bleu = Bleu::new();
        for (hypothesis, reference) in hypotheses.iter().zip(references) {
            bleu.add(hypothesis, &[reference]);
        }
        let score = bleu.score();
        assert!(
            (score - expected).abs() < 1e-9,
            "{name}: {score} {expected}"
        );
    }
}

/// `corpus_score` with two reference streams: 85.51298335824086, system length 12, reference length
/// 11.
#[test]
fn several_references_are_clipped_together_and_the_nearest_length_counts() {
    let mut bleu = Bleu::new();
    bleu.add(
        "the cat sat on the mat",
        &["the cat sat on a mat", "a cat sat on the mat today then"],
    );
    bleu.add(
        "it is a small dog indeed",
        &["this is a small dog", "it is a little dog indeed so"],
    );
    assert!((bleu.score() - 85.51298335824086).abs() < 1e-9);
    assert_eq!((bleu.length, bleu.reference_length), (12, 11));
}

#[test]
fn without_sentences_the_score_is_zero() {
    assert_eq!(Bleu::new().score(), 0.0);
    assert!(Bleu::SIGNATURE.contains("tok:13a|smooth:exp"));
}

use super::*;
use serde::Deserialize;

/// A small tokenizer beside a random model.
const FILE: &[u8] = include_bytes!("../../../tests/data/llama_tiny.gguf");
/// Tokens by Hugging Face's tokenizers 0.23.3 (`make_llama_tiny.py`).
const REFERENCE: &str = include_str!("../../../tests/data/llama_tiny.json");

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<i32>,
}

fn tiny() -> ByteLevel {
    ByteLevel::read(&Gguf::read(FILE).unwrap()).unwrap()
}

#[test]
fn tokens_are_those_of_the_reference_and_spell_the_text() {
    let reference: Reference = serde_json::from_str(REFERENCE).unwrap();
    let tokenizer = tiny();
    assert!(reference.cases.len() >= 7);
    for Case { text, ids } in reference.cases {
        assert_eq!(tokenizer.encode(&text), ids, "{text:?}");
        assert_eq!(tokenizer.text(&ids), text);
    }
}

#[test]
fn special_tokens_have_names_and_no_text_gives_them() {
    let tokenizer = tiny();
    assert_eq!(tokenizer.vocabulary(), 302);
    assert_eq!(tokenizer.special("<|im_start|>"), Ok(1));
    assert_eq!(tokenizer.special("<|im_end|>"), Ok(2));
    let error = tokenizer.special("<|user|>").unwrap_err().to_string();
    assert!(error.contains("<|user|>"), "{error}");
    let spelt = tokenizer.encode("<|im_end|>");
    assert!(spelt.len() > 3 && !spelt.contains(&2));
    assert_eq!(
        tokenizer.text(&[1, -1, 302]),
        "<|im_start|>\u{fffd}\u{fffd}"
    );
    // The vocabulary has no byte 4.
    assert_eq!(tokenizer.encode("\u{4}"), [0]);
}

/// The file with one text in the place of another of the same length.
fn edited(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut file = FILE.to_vec();
    let at = FILE
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .unwrap();
    file[at..at + to.len()].copy_from_slice(to.as_bytes());
    file
}

#[test]
fn another_way_is_refused() {
    for (file, words) in [
        (edited("gpt2", "bert"), ["tokenizer.ggml.model", "bert"]),
        (edited("smollm", "llama3"), ["tokenizer.ggml.pre", "llama3"]),
        (
            edited("tokenizer.ggml.merges", "tokenizer.ggml.merged"),
            ["merges", "missing"],
        ),
        (
            edited("h e", "h_e"),
            ["tokenizer.ggml.merges, element", "no pair"],
        ),
        (
            edited("h e", "Q Z"),
            ["tokenizer.ggml.merges, element", "not all of it"],
        ),
    ] {
        let gguf = Gguf::read(&file).unwrap();
        let error = ByteLevel::read(&gguf).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
}

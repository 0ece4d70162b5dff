//! The published model against NumPy 2.4.6 with the weights as gguf 0.19.0 dequantises them and the tokens
//! of tokenizers 0.23.3; the model written as in `make_llama_tiny.py`, in 32 bits, its losses in 64.

use super::*;
use burn::tensor::{Tensor, TensorData};
use velodrome_harness::contract::{Batch, Dataset, Network};

fn logits(model: &Llama, tokens: &[i32]) -> Vec<f32> {
    let data = TensorData::new(tokens.to_vec(), [1, tokens.len()]);
    let tokens = Tensor::from_data(data, &Device::flex());
    let all: Vec<f32> = model
        .logits(tokens, 0.0)
        .unwrap()
        .into_data()
        .try_to_vec()
        .unwrap();
    all[all.len() - config().vocabulary..].to_vec()
}

fn best(scores: &[f32]) -> i32 {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    scores.iter().position(|s| *s == largest).unwrap() as i32
}

fn loss(model: &Llama, data: &dyn Dataset, examples: usize) -> f64 {
    let ids: Vec<usize> = (0..examples).collect();
    let batch = Batch::from_host(data.batch(&ids), ids, &Device::flex());
    model.evaluate(&mut [batch].into_iter()).unwrap()["loss"]
}

#[test]
#[ignore = "reads archives that `velodrome data fetch instructions smollm2` brings"]
fn published_weights_answer_and_lose_as_in_numpy() {
    let model = published(&config(), &Device::flex()).unwrap();
    let chat = crate::data::Chat::smollm2("test").unwrap();
    let mut tokens = chat.tokenizer().encode("The capital of France is");
    assert_eq!(tokens, [504, 3575, 282, 4649, 314]);
    let scores = logits(&model, &tokens);
    for (found, expected) in scores.iter().zip([1.6136, -11.8719, -7.9444, -9.3469]) {
        assert!((found - expected).abs() < 2e-3, "{found} {expected}");
    }
    assert!((scores[7042] - 17.3713).abs() < 2e-3, "{}", scores[7042]);
    for _ in 0..2 {
        let next = best(&logits(&model, &tokens));
        tokens.push(next);
    }
    let answer = chat.tokenizer().text(&tokens[5..]);
    assert_eq!(answer, " Paris.");

    // 512 tokens of Moby-Dick, a perplexity of 47.6, and 800 of answers.
    let prose = Instructions::retained("test", LENGTH).unwrap();
    let found = loss(&model, &prose, 4);
    println!("prose {found:.6}");
    assert!((found - 3.861_920).abs() < 1e-3, "{found}");
    let splits = Instructions::open("test", LENGTH).unwrap();
    let found = loss(&model, &splits.validation, 16);
    println!("answers {found:.6}");
    assert!((found - 2.406_673).abs() < 1e-3, "{found}");
}

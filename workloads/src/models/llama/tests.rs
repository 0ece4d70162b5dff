use super::*;
use crate::data::Gguf;
use burn::tensor::TensorData;
use serde::Deserialize;
use velodrome_harness::contract::{
    HostBatch, HostField, HostValues, Model, ParamInfo, ParamKind, PassOptions, Trained,
};

/// Weights of a random Llama of two layers.
const WEIGHTS: &[u8] = include_bytes!("../../../tests/data/llama_tiny.gguf");
/// What NumPy 2.4.6 computes with them in 64 bits, gradients by central differences
/// (`make_llama_tiny.py`).
const REFERENCE: &str = include_str!("../../../tests/data/llama_tiny.json");

#[derive(Deserialize)]
struct Reference {
    tokens: Vec<Vec<i32>>,
    answer: Vec<Vec<i32>>,
    /// Scores of the first tokens at the first example's fourth place.
    first: Vec<f64>,
    /// Scores of the last tokens at the second example's last place.
    second: Vec<f64>,
    loss: f64,
    error_rate: f64,
    /// Of each parameter's gradient: its norm, and its product with `sin(0.7 i)`.
    gradients: Vec<[f64; 2]>,
}

fn reference() -> Reference {
    serde_json::from_str(REFERENCE).unwrap()
}

fn tiny() -> LlamaConfig {
    LlamaConfig {
        vocabulary: 302,
        context: 7,
        width: 32,
        heads: 4,
        shared_heads: 2,
        layers: 2,
        feed_forward: 64,
        base: 100.0,
        ..LlamaConfig::smollm2(7)
    }
}

fn load(config: &LlamaConfig, file: &[u8], device: &Device) -> Result<Llama, LlamaError> {
    Llama::load(config, &Gguf::read(file)?, device)
}

fn batch(tokens: &[Vec<i32>], answer: &[Vec<i32>], device: &Device) -> Batch {
    let field = |name, rows: &[Vec<i32>]| HostField {
        name,
        shape: vec![rows.len(), rows[0].len()],
        values: HostValues::Int(rows.concat()),
    };
    let host = HostBatch {
        fields: vec![field("tokens", tokens), field("answer", answer)],
        examples: tokens.len(),
        units: tokens.len(),
    };
    Batch::from_host(host, (0..tokens.len()).collect(), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn rows(model: &Llama, tokens: &[i32], device: &Device) -> Vec<f64> {
    let data = TensorData::new(tokens.to_vec(), [1, tokens.len()]);
    numbers(model.logits(Tensor::from_data(data, device), 0.0).unwrap())
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance, "{f} {e}");
    }
}

#[test]
fn scores_loss_and_gradients_are_those_of_the_reference() {
    let _lock = crate::models::test_lock();
    let reference = reference();
    let plain = Device::flex();
    let network = load(&tiny(), WEIGHTS, &plain).unwrap();
    let first = rows(&network, &reference.tokens[0][..7], &plain);
    assert_near(&first[3 * 302..][..40], &reference.first, 2e-5);
    let second = rows(&network, &reference.tokens[1][..7], &plain);
    assert_near(&second[7 * 302 - 40..], &reference.second, 2e-5);
    let data = batch(&reference.tokens, &reference.answer, &plain);
    // The second time alone: each token that counts weighs alike, whatever its batch.
    let alone = batch(&reference.tokens[1..], &reference.answer[1..], &plain);
    let both = network.evaluate(&mut [data.clone()].into_iter()).unwrap();
    assert!((both["loss"] - reference.loss).abs() < 2e-6, "{both:?}");
    assert!((both["error_rate"] - reference.error_rate).abs() < 1e-9);
    let left = batch(&reference.tokens[..1], &reference.answer[..1], &plain);
    let parts = network.evaluate(&mut [left, alone].into_iter()).unwrap();
    assert!((parts["loss"] - reference.loss).abs() < 2e-6, "{parts:?}");

    let device = Device::flex().autodiff();
    let mut model = Trained::new(load(&tiny(), WEIGHTS, &device).unwrap());
    let data = batch(&reference.tokens, &reference.answer, &device);
    let output = model.pass(&data, &PassOptions::default()).unwrap();
    let loss = numbers(output.loss)[0];
    assert!((loss - reference.loss).abs() < 2e-6, "{loss}");
    assert_eq!(model.params().len(), reference.gradients.len());
    for (param, [norm, product]) in model.params().iter().zip(reference.gradients) {
        let gradient = numbers(output.gradients.get(param).unwrap());
        let squares: f64 = gradient.iter().map(|g| g * g).sum();
        let waves = gradient
            .iter()
            .zip(0..)
            .map(|(g, i)| g * (0.7 * f64::from(i)).sin());
        let (found, wave) = (squares.sqrt(), waves.sum::<f64>());
        assert!(
            (found - norm).abs() < 1e-4 * norm,
            "{param:?}: {found} {norm}"
        );
        assert!(
            (wave - product).abs() < 1e-4 * norm,
            "{param:?}: {wave} {product}"
        );
    }
}

/// Neither a later token nor what fills an example up changes a prediction, and tokens that do not count
/// give no gradient.
#[test]
fn what_does_not_count_is_not_seen() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    let model = load(&tiny(), WEIGHTS, &device).unwrap();
    let tokens = [1, 50, 261, 7, 300, 99, 2];
    let before = rows(&model, &tokens, &device);
    let mut other = tokens;
    other[4] = 17;
    let after = rows(&model, &other, &device);
    assert_eq!(before[..4 * 302], after[..4 * 302]);
    assert_ne!(before[4 * 302..], after[4 * 302..]);
    assert_near(
        &rows(&model, &tokens[..3], &device),
        &before[..3 * 302],
        1e-5,
    );

    let short = vec![vec![1, 50, 261, 7]];
    let filled = vec![vec![1, 50, 261, 7, 0, 0, 0, 0]];
    let loss = |tokens: &[Vec<i32>], answer: Vec<i32>| {
        let data = batch(tokens, &[answer], &device);
        let measures = model.evaluate(&mut [data].into_iter()).unwrap();
        measures["loss"]
    };
    let expected = loss(&short, vec![0, 0, 1, 1]);
    let found = loss(&filled, vec![0, 0, 1, 1, 0, 0, 0, 0]);
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn loaded_weights_train_and_count_as_the_formula_says() {
    let device = Device::flex().autodiff();
    for network in [
        load(&tiny(), WEIGHTS, &device).unwrap(),
        Llama::new(&tiny(), &device).unwrap(),
    ] {
        let model = Trained::new(network);
        let params = model.params();
        assert!(params.iter().all(|p| p.trainable));
        let found: usize = params.iter().map(ParamInfo::len).sum();
        assert_eq!(found, tiny().parameters());
        let of = |kind| params.iter().filter(|p| p.kind == kind).count();
        assert_eq!(of(ParamKind::Matrix), 14);
        assert_eq!(of(ParamKind::Embedding), 1);
        assert_eq!(of(ParamKind::NormScale), 5);
        assert_eq!(params.len(), 20);
    }
    assert_eq!(LlamaConfig::smollm2(128).parameters(), 134_515_008);
}

#[test]
fn a_pass_has_the_dropout_that_is_asked_for() {
    let _lock = crate::models::test_lock();
    let reference = reference();
    let device = Device::flex().autodiff();
    let mut model = Trained::new(load(&tiny(), WEIGHTS, &device).unwrap());
    let data = batch(&reference.tokens, &reference.answer, &device);
    let mut loss = |dropout: Option<f64>| {
        device.seed(4);
        let options = PassOptions {
            dropout,
            ..PassOptions::default()
        };
        numbers(model.pass(&data, &options).unwrap().loss)[0]
    };
    let plain = loss(None);
    assert_eq!(loss(Some(0.0)), plain);
    assert!((loss(Some(0.3)) - plain).abs() > 1e-3);
    let long = batch(&[vec![1; 9]], &[vec![1; 9]], &device);
    let error = model.losses(&long, false).unwrap_err().to_string();
    assert!(error.contains("8 tokens"), "{error}");
    let uneven = batch(&[vec![1; 4]], &[vec![1; 3]], &device);
    let error = model.losses(&uneven, false).unwrap_err().to_string();
    assert!(
        error.contains("[1, 4]") && error.contains("[1, 3]"),
        "{error}"
    );
}

#[test]
fn sizes_that_do_not_go_together_are_errors() {
    let device = Device::flex();
    type Edit = fn(&mut LlamaConfig);
    for (edit, word) in [
        ((|c| c.heads = 3) as Edit, "3 heads"),
        (|c| c.heads = 0, "0 heads"),
        (|c| c.heads = 32, "32 heads"),
        (|c| c.shared_heads = 3, "cannot share 3"),
        (|c| c.shared_heads = 0, "cannot share 0"),
        (|c| c.base = 0.0, "base 0"),
        (|c| c.epsilon = 0.0, "epsilon"),
        (|c| c.vocabulary = 0, "a token"),
    ] {
        let mut config = tiny();
        edit(&mut config);
        let error = Llama::new(&config, &device).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// The file with one text in the place of another of the same length, which occurs once.
fn edited(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut file = WEIGHTS.to_vec();
    let at = WEIGHTS
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .unwrap();
    file[at..at + to.len()].copy_from_slice(to.as_bytes());
    file
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let device = Device::flex();
    type Edit = fn(&mut LlamaConfig);
    for (edit, words) in [
        (
            (|c| c.layers = 3) as Edit,
            ["llama.block_count", "is 2, expected 3"],
        ),
        (
            |c| c.shared_heads = 1,
            ["head_count_kv", "is 2, expected 1"],
        ),
        (|c| c.base = 1e4, ["freq_base", "is 100, expected 10000"]),
        (|c| c.epsilon = 1e-6, ["rms_epsilon", "0.000001"]),
        (
            |c| c.feed_forward = 32,
            ["feed_forward_length", "is 64, expected 32"],
        ),
        (
            |c| c.vocabulary = 303,
            ["vocab_size", "is 302, expected 303"],
        ),
    ] {
        let mut config = tiny();
        edit(&mut config);
        let error = load(&config, WEIGHTS, &device).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
    for (file, words) in [
        (
            edited("blk.1.ffn_up", "blk.2.ffn_up"),
            ["blk.1.ffn_up.weight", "missing"],
        ),
        (
            edited("output_norm.weight", "output_nurm.weight"),
            ["output_norm.weight", "missing"],
        ),
        (
            edited("llama.vocab_size", "llama.vocab_less"),
            ["llama.vocab_size", "missing"],
        ),
        (
            edited("general.architecture", "general.architectury"),
            ["architecture", "missing"],
        ),
        (
            WEIGHTS[..WEIGHTS.len() - 40].to_vec(),
            ["output_norm.weight", "breaks off"],
        ),
    ] {
        let error = load(&tiny(), &file, &device).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
}

/// A model of one block has no place for the second one.
#[test]
fn tensors_without_a_place_are_named() {
    let device = Device::flex();
    let mut file = WEIGHTS.to_vec();
    let key = b"llama.block_count";
    let at = file.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    file[at] = 1;
    let config = LlamaConfig {
        layers: 1,
        ..tiny()
    };
    let error = load(&config, &file, &device).unwrap_err().to_string();
    assert!(
        error.contains("no place for `blk.1.attn_k.weight`"),
        "{error}"
    );
    assert_eq!(error.matches("blk.1.").count(), 9);
}

use super::*;
use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use velodrome_harness::contract::{
    Adapter, HostBatch, HostField, HostValues, Model, ParamInfo, Tokens, Trained,
};

/// Weights of a random BERT of two layers.
const WEIGHTS: &[u8] = include_bytes!("../../../tests/data/bert_tiny.safetensors");
/// What transformers 5.24.0 on PyTorch 2.15.0 computes with them in 64 bits (`make_bert_tiny.py`).
const REFERENCE: &str = include_str!("../../../tests/data/bert_tiny.json");

#[derive(Deserialize)]
struct Reference {
    tokens: Vec<Vec<i32>>,
    types: Vec<Vec<i32>>,
    states: Vec<Vec<f64>>,
    states_with_types: Vec<Vec<f64>>,
    sentences: Vec<f64>,
}

fn tiny() -> EncoderConfig {
    EncoderConfig {
        vocabulary: 13,
        context: 6,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 12,
        ..EncoderConfig::minilm()
    }
}

fn integers(rows: &[Vec<i32>], device: &Device) -> Tensor<2, Int> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance, "{what}: {f} {e}");
    }
}

#[test]
fn states_and_sentences_are_those_of_transformers() {
    let device = Device::flex();
    let reference: Reference = serde_json::from_str(REFERENCE).unwrap();
    let encoder = Encoder::load(&tiny(), WEIGHTS, &device).unwrap();
    let tokens = integers(&reference.tokens, &device);
    let types = integers(&reference.types, &device);
    for (types, expected) in [
        (None, &reference.states),
        (Some(types), &reference.states_with_types),
    ] {
        let states = encoder.states(tokens.clone(), types).unwrap();
        assert_eq!(states.len(), 3);
        for (at, (state, expected)) in states.into_iter().zip(expected).enumerate() {
            assert_near(&numbers(state), expected, 1e-5, &format!("layer {at}"));
        }
    }
    let sentences = encoder.sentences(tokens).unwrap();
    assert_near(&numbers(sentences), &reference.sentences, 2e-6, "sentences");
}

/// Padding changes nothing: an example alone, and filled up beside a longer one.
#[test]
fn padding_is_not_seen() {
    let device = Device::flex();
    let encoder = Encoder::load(&tiny(), WEIGHTS, &device).unwrap();
    let alone = encoder.sentences(integers(&[vec![1, 5, 2]], &device));
    let rows = [vec![1, 5, 2, 0, 0, 0], vec![1, 7, 12, 3, 9, 2]];
    let beside = encoder.sentences(integers(&rows, &device)).unwrap();
    let beside = numbers(beside);
    assert_near(&beside[..8], &numbers(alone.unwrap()), 1e-6, "padding");
}

/// A file with one tensor more, less, or of another shape or type.
fn edited(name: &str, tensor: Option<(Dtype, Vec<usize>)>) -> Vec<u8> {
    let file = SafeTensors::deserialize(WEIGHTS).unwrap();
    let zeros = vec![0; 4096];
    let others = file.tensors().into_iter().filter(|(n, _)| n != name);
    let new = tensor.map(|(dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let view = TensorView::new(dtype, shape, &zeros[..bytes]).unwrap();
        (name.to_string(), view)
    });
    safetensors::serialize(others.chain(new), None).unwrap()
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name_and_shape() {
    let device = Device::flex();
    let query = "encoder.layer.1.attention.self.query.weight";
    let down = "encoder.layer.0.output.dense.weight";
    for (file, words) in [
        (edited(query, None), vec![query, "missing"]),
        (
            // As burn keeps it: the other way round.
            edited(down, Some((Dtype::F32, vec![12, 8]))),
            vec![down, "[12, 8]", "[8, 12]"],
        ),
        (
            edited(query, Some((Dtype::F16, vec![8, 8]))),
            vec![query, "F16", "F32"],
        ),
        (
            edited("cls.predictions.bias", Some((Dtype::F32, vec![13]))),
            vec!["no place", "cls.predictions.bias", "[13]"],
        ),
        (
            edited(
                "encoder.layer.2.output.dense.bias",
                Some((Dtype::F32, vec![8])),
            ),
            vec!["no place", "encoder.layer.2.output.dense.bias"],
        ),
        (
            edited("pooler.dense.bias", Some((Dtype::F32, vec![9]))),
            vec!["pooler.dense.bias", "[9]", "[8]"],
        ),
        (WEIGHTS[..2000].to_vec(), vec!["safetensors"]),
    ] {
        let error = Encoder::load(&tiny(), &file, &device).unwrap_err();
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    // Numbers of positions, which older files hold, are no parameters; nor is the pooler.
    let old = edited("embeddings.position_ids", Some((Dtype::I64, vec![1, 6])));
    Encoder::load(&tiny(), &old, &device).unwrap();
    let bare = edited("pooler.dense.weight", None);
    Encoder::load(&tiny(), &bare, &device).unwrap();
}

#[test]
fn loaded_weights_train_and_count_as_the_formula_says() {
    let device = Device::flex().autodiff();
    let config = TextClassifierConfig {
        encoder: tiny(),
        classes: 2,
        dropout: 0.1,
    };
    let encoder = Encoder::load(&tiny(), WEIGHTS, &device).unwrap();
    for network in [
        TextClassifier::on(encoder, &config, &device),
        TextClassifier::new(&config, &device).unwrap(),
    ] {
        let model = Trained::new(network);
        let params = model.params();
        assert!(params.iter().all(|p| p.trainable));
        let found: usize = params.iter().map(ParamInfo::len).sum();
        assert_eq!(found, config.parameters());
        let of = |kind| params.iter().filter(|p| p.kind == kind).count();
        assert_eq!(of(ParamKind::Matrix), 12);
        assert_eq!(of(ParamKind::Head), 1);
        assert_eq!(of(ParamKind::Position), 1);
        assert_eq!(of(ParamKind::Embedding), 2);
        assert_eq!(of(ParamKind::Other), 0);
    }
    // 22,713,216 elements in 103 tensors, of which the pooler's 147,840 are left aside.
    assert_eq!(EncoderConfig::minilm().parameters(), 22_713_216 - 147_840);
}

fn batch(rows: &[Vec<i32>], device: &Device) -> Batch {
    let host = HostBatch {
        fields: vec![
            HostField {
                name: "tokens",
                shape: vec![rows.len(), rows[0].len()],
                values: HostValues::Int(rows.concat()),
            },
            HostField {
                name: "label",
                shape: vec![rows.len()],
                values: HostValues::Int(vec![1; rows.len()]),
            },
        ],
        examples: rows.len(),
        units: rows.len(),
    };
    Batch::from_host(host, (0..rows.len()).collect(), device)
}

#[test]
fn a_pass_has_the_dropout_and_smoothing_that_are_asked_for() {
    use velodrome_harness::contract::PassOptions;
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    let config = TextClassifierConfig {
        encoder: tiny(),
        classes: 2,
        dropout: 0.0,
    };
    let encoder = Encoder::load(&tiny(), WEIGHTS, &device).unwrap();
    let mut model = Trained::new(TextClassifier::on(encoder, &config, &device));
    let batch = batch(&[vec![1, 7, 12, 3, 2], vec![1, 5, 2, 0, 0]], &device);
    let mut loss = |dropout: Option<f64>, label_smoothing: f64| {
        device.seed(4);
        let options = PassOptions {
            dropout,
            label_smoothing,
            ..PassOptions::default()
        };
        numbers(model.pass(&batch, &options).unwrap().loss)[0]
    };
    let plain = loss(None, 0.0);
    assert_eq!(loss(Some(0.0), 0.0), plain);
    assert!((loss(Some(0.3), 0.0) - plain).abs() > 1e-4);
    assert!((loss(None, 0.2) - plain).abs() > 1e-4);
    let error = model.losses(&batch_of_seven(&device), false).unwrap_err();
    assert!(error.to_string().contains("7 tokens"), "{error}");
}

fn batch_of_seven(device: &Device) -> Batch {
    batch(&[vec![1; 7]], device)
}

/// With a prompt in front, what fills an example up still takes no part.
#[test]
fn prompts_and_prefixes_leave_padding_out() {
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    for role in [Some(Tokens::Input), None] {
        device.seed(4);
        let config = TextClassifierConfig {
            encoder: EncoderConfig {
                initial_std: 0.5,
                ..tiny()
            },
            classes: 3,
            dropout: 0.0,
        };
        let mut model = Trained::new(TextClassifier::new(&config, &device).unwrap());
        let losses = |model: &mut Trained<TextClassifier>, tokens: &[Vec<i32>]| {
            let (n, length) = (tokens.len(), tokens[0].len());
            let field = |name, shape, values| HostField {
                name,
                shape,
                values: HostValues::Int(values),
            };
            let host = HostBatch {
                fields: vec![
                    field("tokens", vec![n, length], tokens.concat()),
                    field("label", vec![n], vec![1; n]),
                ],
                examples: n,
                units: n,
            };
            let batch = Batch::from_host(host, (0..n).collect(), &device);
            numbers(model.losses(&batch, false).unwrap())
        };
        let before = losses(&mut model, &[vec![3, 7, 5]]);
        let attach = |info: &ParamInfo, value: Tensor<1>| {
            let wanted = match role {
                Some(role) => info.tokens == Some(role),
                None => matches!(info.tokens, Some(Tokens::Keys | Tokens::Values)),
            };
            wanted.then(|| {
                // Layer norms take a constant away.
                let rows = [[1.0, -2.0, 0.5, 3.0, -1.0, 2.0, 0.0, -0.5]; 2];
                let front = Tensor::from_data(rows, &value.device());
                Adapter::in_front(front)
            })
        };
        model.attach(&mut { attach }).unwrap();
        let alone = losses(&mut model, &[vec![3, 7, 5]]);
        let padded = losses(&mut model, &[vec![3, 7, 5, PAD, PAD], vec![2, 2, 9, 11, 4]]);
        assert_near(&padded[..1], &alone, 1e-5, "padded");
        assert!((alone[0] - before[0]).abs() > 1e-4, "{role:?}");
    }
}

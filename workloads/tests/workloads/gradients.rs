//! The gradients of each model against central differences of its loss, on tiny sizes.

use crate::common::{lock, mean, shift, training_device};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, Network, PassOptions, Trained,
};
use velodrome_workloads::models::{
    Activation, Answer, AnswerConfig, EncoderConfig, Gpt, GptConfig, Mlp, MlpConfig, NormPlace,
    ResNet, ResNetConfig, Stem, TextClassifier, TextClassifierConfig,
};
use velodrome_workloads::shakespeare_gpt;

/// Step of the differences. The rounding of a loss near 2 in 32 bits is some 2e-7, which the
/// difference divides by 2 * STEP; the curvature adds about STEP^2.
const STEP: f32 = 3e-3;
/// Largest allowed difference, beside 1 % of the gradient.
const TOLERANCE: f64 = 1e-3;

fn quiet() -> PassOptions {
    PassOptions {
        update_norm: false,
        label_smoothing: 0.1,
        ..PassOptions::default()
    }
}

/// The loss of a training pass, averaged in 64 bits.
fn loss(model: &mut dyn Model, batch: &Batch) -> f64 {
    mean(model.pass(batch, &quiet()).unwrap().losses)
}

/// Checks some elements of every parameter.
fn check<N: Network>(network: N, batch: &Batch) {
    let mut model = Trained::new(network);
    let gradients = model.pass(batch, &quiet()).unwrap().gradients;
    let params = model.params().clone();
    let mut largest = 0f64;
    for param in params.iter() {
        let gradient: Vec<f32> = gradients
            .get(param)
            .unwrap()
            .into_data()
            .try_to_vec()
            .unwrap();
        let snapshot = model.snapshot();
        let stride = (param.len() / 4).max(1);
        for element in (0..param.len()).step_by(stride) {
            shift(&mut model, param.index, element, STEP);
            let above = loss(&mut model, batch);
            shift(&mut model, param.index, element, -2.0 * STEP);
            let below = loss(&mut model, batch);
            model.restore(&snapshot).unwrap();
            let difference = (above - below) / (2.0 * f64::from(STEP));
            let exact = f64::from(gradient[element]);
            largest = largest.max(exact.abs());
            assert!(
                (difference - exact).abs() < TOLERANCE + 0.01 * exact.abs(),
                "{:?} {element}: gradient {exact}, differences {difference}",
                param
            );
        }
    }
    assert!(
        largest > 0.01,
        "the gradients are too small to say anything"
    );
}

/// Numbers between -1 and 1 without a pattern.
fn noise(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as f32 * 12.9898).sin() * 43758.547).fract())
        .collect()
}

fn images(shape: &[usize], labels: &[i32]) -> Batch {
    let mut full = vec![labels.len()];
    full.extend(shape);
    let n = full.iter().product();
    let host = HostBatch {
        fields: vec![
            HostField {
                name: "image",
                shape: full,
                values: HostValues::Float(noise(n)),
            },
            HostField {
                name: "label",
                shape: vec![labels.len()],
                values: HostValues::Int(labels.to_vec()),
            },
        ],
        examples: labels.len(),
        units: labels.len(),
    };
    Batch::from_host(host, (0..labels.len()).collect(), &training_device())
}

#[test]
fn mlp() {
    let _lock = lock();
    let device = training_device();
    for activation in [Activation::Tanh, Activation::Gelu] {
        device.seed(1);
        let config = MlpConfig {
            input: 5,
            hidden: vec![6, 4],
            classes: 3,
            activation,
            dropout: 0.0,
        };
        check(Mlp::new(&config, &device), &images(&[5], &[0, 2, 1, 1]));
    }
}

/// With a smooth activation, since differences across the kink of ReLU are no gradients.
#[test]
fn resnet() {
    let _lock = lock();
    let device = training_device();
    for preactivation in [false, true] {
        device.seed(2);
        let config = ResNetConfig {
            side: 8,
            channels: 1,
            stem: Stem {
                kernel: 5,
                stride: 2,
                pool: false,
            },
            stages: vec![(3, 1), (4, 1)],
            bottleneck: false,
            classes: 3,
            activation: Activation::Tanh,
            preactivation,
            norm_scale: 1.0,
            branch_scale: None,
            dropout: 0.0,
        };
        check(
            ResNet::new(&config, &device),
            &images(&[1, 8, 8], &[0, 2, 1, 1]),
        );
    }
}

fn tiny_gpt(norm: NormPlace) -> GptConfig {
    GptConfig {
        vocabulary: 7,
        context: 6,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 12,
        activation: Activation::Gelu,
        norm,
        initial_std: 0.3,
        ..shakespeare_gpt::config()
    }
}

fn tokens(shape: [usize; 2], values: &[i32]) -> Batch {
    let [examples, length] = shape;
    let host = HostBatch {
        fields: vec![HostField {
            name: "tokens",
            shape: shape.to_vec(),
            values: HostValues::Int(values.to_vec()),
        }],
        examples,
        units: examples * (length - 1),
    };
    Batch::from_host(host, (0..examples).collect(), &training_device())
}

#[test]
fn answer() {
    let _lock = lock();
    let device = training_device();
    for output_scale in [1.0, 4.0] {
        device.seed(4);
        let config = AnswerConfig {
            gpt: tiny_gpt(NormPlace::Pre),
            output_scale,
        };
        let batch = tokens([3, 4], &[1, 4, 6, 2, 0, 3, 6, 5, 5, 5, 6, 0]);
        check(Answer::new(&config, &device).unwrap(), &batch);
    }
}

#[test]
fn gpt() {
    let _lock = lock();
    let device = training_device();
    for config in [
        tiny_gpt(NormPlace::Pre),
        tiny_gpt(NormPlace::Post),
        GptConfig {
            attention_temperature: 4.0,
            ..tiny_gpt(NormPlace::Pre)
        },
        GptConfig {
            gated: true,
            ..tiny_gpt(NormPlace::Post)
        },
        // All that AlgoPerf's model has: rotary positions, normalised queries and keys, RMS norms, gates
        // of a sigmoid, no biases, a tied head.
        GptConfig {
            vocabulary: 7,
            context: 6,
            width: 8,
            heads: 2,
            layers: 2,
            feed_forward: 12,
            initial_std: 0.3,
            ..shakespeare_gpt::finewebedu()
        },
    ] {
        device.seed(3);
        let batch = tokens([2, 7], &[1, 4, 2, 6, 0, 3, 5, 5, 3, 3, 1, 0, 6, 2]);
        check(Gpt::new(&config, &device).unwrap(), &batch);
    }
}

/// With padding behind the second text.
#[test]
fn encoder() {
    let _lock = lock();
    let device = training_device();
    device.seed(5);
    let config = TextClassifierConfig {
        encoder: EncoderConfig {
            vocabulary: 7,
            context: 6,
            width: 8,
            heads: 2,
            layers: 2,
            feed_forward: 12,
            initial_std: 0.3,
            ..EncoderConfig::minilm()
        },
        classes: 3,
        dropout: 0.0,
    };
    let host = HostBatch {
        fields: vec![
            HostField {
                name: "tokens",
                shape: vec![3, 5],
                values: HostValues::Int(vec![1, 4, 6, 2, 3, 5, 3, 2, 0, 0, 6, 1, 4, 5, 2]),
            },
            HostField {
                name: "label",
                shape: vec![3],
                values: HostValues::Int(vec![0, 2, 1]),
            },
        ],
        examples: 3,
        units: 3,
    };
    let batch = Batch::from_host(host, vec![0, 1, 2], &training_device());
    check(TextClassifier::new(&config, &device).unwrap(), &batch);
}

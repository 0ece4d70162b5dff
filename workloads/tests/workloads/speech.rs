//! The recognisers: gradients, padding, LSTMs against PyTorch, sizes and variants.

use crate::common::{bits, build, lock, numbers, registry, shift, training_device};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, Network, ParamInfo, ParamKind, PassOptions,
    Size, Trained,
};
use velodrome_workloads::data::speech::ENGLISH;
use velodrome_workloads::models::Activation;
use velodrome_workloads::models::speech::{
    BiLstm, Conformer, ConformerConfig, DeepSpeech, DeepSpeechConfig, SpecAugment, Spelling,
};

fn conformer() -> ConformerConfig {
    ConformerConfig {
        mels: 6,
        channels: 3,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 10,
        kernel: 3,
        activation: Activation::Silu,
        attention_temperature: 1.6,
        final_norm: true,
        augment: SpecAugment::NONE,
        norm_share: 0.1,
        dropout: 0.0,
        spelling: Spelling::Characters(ENGLISH),
    }
}

fn deepspeech() -> DeepSpeechConfig {
    DeepSpeechConfig {
        mels: 6,
        channels: 3,
        width: 8,
        lstm_layers: 2,
        feed_forward_layers: 1,
        tanh: true,
        residual: true,
        head_norm: true,
        layer_norms: false,
        augment: SpecAugment::NONE,
        norm_share: 0.1,
        dropout: 0.0,
        spelling: Spelling::Characters(ENGLISH),
    }
}

/// Numbers between -1 and 1 without a pattern.
fn noise(n: usize) -> impl Iterator<Item = f32> {
    (0..n).map(|i| ((i as f32 * 12.9898).sin() * 43758.547).fract())
}

/// Two utterances of 26 and 17 frames, with `more` frames and `more` tokens of padding; `filler` stands
/// in the features' padding.
fn batch(mels: usize, more: usize, filler: f32) -> Batch {
    let frames = [26, 17];
    let tokens: [&[i32]; 2] = [&[3, 3, 9, 1], &[7, 2]];
    let longest = 26 + more;
    let mut features = Vec::new();
    for (index, length) in frames.into_iter().enumerate() {
        features.extend(
            noise((index + 1) * 26 * mels)
                .skip(index * 26 * mels)
                .take(length * mels),
        );
        features.resize((index + 1) * longest * mels, filler);
    }
    let padded = tokens.iter().flat_map(|own| {
        let padding = std::iter::repeat_n(0, 4 + more - own.len());
        own.iter().copied().chain(padding)
    });
    let field = |name, shape, values| HostField {
        name,
        shape,
        values,
    };
    let host = HostBatch {
        fields: vec![
            field(
                "features",
                vec![2, longest, mels],
                HostValues::Float(features),
            ),
            field("frames", vec![2], HostValues::Int(vec![26, 17])),
            field(
                "tokens",
                vec![2, 4 + more],
                HostValues::Int(padded.collect()),
            ),
            field("lengths", vec![2], HostValues::Int(vec![4, 2])),
        ],
        examples: 2,
        units: 6,
    };
    Batch::from_host(host, vec![0, 1], &training_device())
}

fn quiet() -> PassOptions {
    PassOptions {
        update_norm: false,
        ..PassOptions::default()
    }
}

/// Losses and the gradients of all parameters.
fn pass(model: &mut dyn Model, batch: &Batch) -> (Vec<f32>, Vec<Vec<f32>>) {
    let output = model.pass(batch, &quiet()).unwrap();
    let params = model.params().clone();
    let gradients = params
        .iter()
        .map(|p| numbers(output.gradients.get(p).unwrap()));
    let gradients = gradients.collect();
    (numbers(output.losses), gradients)
}

/// The mean loss with one parameter's element moved.
fn moved(model: &mut dyn Model, batch: &Batch, (param, element): (usize, usize), by: f32) -> f64 {
    let snapshot = model.snapshot();
    shift(&mut *model, param, element, by);
    let losses = numbers(model.pass(batch, &quiet()).unwrap().losses);
    model.restore(&snapshot).unwrap();
    losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
}

fn check(network: impl Network) {
    // Small, since the biases of the first convolutions move many activations across the kink of ReLU.
    const STEP: f32 = 1e-3;
    let mut model = Trained::new(network);
    // Biases that start at zero put padded frames exactly on the kink of ReLU, where differences are no
    // gradients.
    model.map(&mut |info: &ParamInfo, flat: Tensor<1>| match info.kind {
        ParamKind::Bias => {
            let n = info.len();
            let moved = (0..n).map(|i| 0.1 + 0.05 * (i as f32 + info.index as f32).sin());
            let moved = TensorData::new(moved.collect::<Vec<f32>>(), [n]);
            flat + Tensor::from_data(moved, &Device::flex())
        }
        _ => flat,
    });
    let data = batch(6, 0, 0.0);
    let (_, gradients) = pass(&mut model, &data);
    let mut largest = 0f64;
    for (param, gradient) in gradients.iter().enumerate() {
        let stride = (gradient.len() / 4).max(1);
        for element in (0..gradient.len()).step_by(stride) {
            let above = moved(&mut model, &data, (param, element), STEP);
            let below = moved(&mut model, &data, (param, element), -STEP);
            let difference = (above - below) / (2.0 * f64::from(STEP));
            let exact = f64::from(gradient[element]);
            largest = largest.max(exact.abs());
            assert!(
                (difference - exact).abs() < 2e-3 + 0.02 * exact.abs(),
                "{:?} {element}: gradient {exact}, differences {difference}",
                model.params()[param]
            );
        }
    }
    assert!(
        largest > 0.01,
        "the gradients are too small to say anything"
    );
}

#[test]
fn gradients_of_the_conformer_equal_differences() {
    let _lock = lock();
    let device = training_device();
    for final_norm in [true, false] {
        device.seed(5);
        let config = ConformerConfig {
            final_norm,
            ..conformer()
        };
        check(Conformer::new(&config, &device).unwrap());
    }
}

#[test]
fn gradients_of_the_lstms_equal_differences() {
    let _lock = lock();
    let device = training_device();
    for (residual, layer_norms) in [(true, false), (false, true)] {
        device.seed(6);
        let config = DeepSpeechConfig {
            residual,
            layer_norms,
            ..deepspeech()
        };
        check(DeepSpeech::new(&config, &device).unwrap());
    }
}

fn padding_changes_nothing(network: impl Network) {
    let mut model = Trained::new(network);
    let (losses, gradients) = pass(&mut model, &batch(6, 0, 0.0));
    for more in [1, 2, 7] {
        let (padded, padded_gradients) = pass(&mut model, &batch(6, more, 50.0));
        for (a, b) in losses.iter().zip(&padded) {
            assert!((a - b).abs() < 2e-6, "{more}: {losses:?} {padded:?}");
        }
        for (own, other) in gradients.iter().zip(&padded_gradients) {
            for (a, b) in own.iter().zip(other) {
                assert!((a - b).abs() < 1e-5 + 1e-5 * a.abs(), "{more}: {a} {b}");
            }
        }
    }
}

#[test]
fn padding_changes_no_loss_and_no_gradient() {
    let _lock = lock();
    let device = training_device();
    device.seed(7);
    padding_changes_nothing(Conformer::new(&conformer(), &device).unwrap());
    for layer_norms in [false, true] {
        let config = DeepSpeechConfig {
            layer_norms,
            ..deepspeech()
        };
        padding_changes_nothing(DeepSpeech::new(&config, &device).unwrap());
    }
}

/// Sets each parameter by its place.
struct Set<'a>(&'a mut dyn FnMut(usize, &[usize]) -> Vec<f32>, usize);

impl ModuleMapper for Set<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let values = (self.0)(self.1, &shape);
        self.1 += 1;
        let device = tensor.device();
        let new = Tensor::<1>::from_floats(values.as_slice(), &device).reshape(shape);
        Param::from_mapped_value(id, new.require_grad(), mapper)
    }
}

/// PyTorch 2.15.0: `torch.nn.LSTM(3, 2, bidirectional=True)` on packed sequences of 5 and 3 steps, in 64
/// bits; weights `0.5 sin(1.7 i + s)`, their gates in this layer's order, its first bias 0.
#[test]
fn lstms_equal_pytorchs() {
    let _lock = lock();
    let device = training_device();
    let wave = |n: usize, s: f64| -> Vec<f32> {
        (0..n)
            .map(|i| (0.5 * (1.7 * i as f64 + s).sin()) as f32)
            .collect()
    };
    let phases = [0.1, 0.4, 0.7, 2.1, 2.4, 2.7];
    let mut set = |index: usize, shape: &[usize]| wave(shape.iter().product(), phases[index]);
    let layer = BiLstm::new(3, 2, &device).map(&mut Set(&mut set, 0));
    let x = Tensor::<1>::from_floats(wave(30, 5.0).as_slice(), &device);
    let x = x.reshape([2, 5, 3]).require_grad();
    let lengths = Tensor::<1, Int>::from_data([5, 3], &device);
    let out = layer.forward(x.clone(), lengths);
    let weights = Tensor::<1>::from_floats(wave(40, 1.0).as_slice(), &device).reshape([2, 5, 4]);
    let gradients = (out.clone() * weights).sum().backward();
    let expected = [
        -0.1656245, 0.0809091, 0.1164091, 0.1042918, -0.1304536, 0.1011689, 0.0572359, 0.1236098,
        -0.1539922, 0.0010832, -0.0209166, 0.1496355, -0.2258253, -0.1334449, -0.0200048,
        0.1126422, -0.2693251, -0.0687327, 0.0541287, 0.0638462, -0.1985829, 0.0789271, 0.1281016,
        0.0721938, -0.1492248, 0.1103818, 0.0732306, 0.0522158, -0.1429043, 0.0568011, 0.0027447,
        0.0556760,
    ];
    let found: Vec<f32> = out.into_data().try_to_vec().unwrap();
    let close = |found: &[f32], expected: &[f64]| {
        for (f, e) in found.iter().zip(expected) {
            assert!((f64::from(*f) - e).abs() < 1e-6, "{found:?}");
        }
    };
    close(&found, &expected);
    assert!(found[32..].iter().all(|h| *h == 0.0));
    let found: Vec<f32> = x
        .grad(&gradients)
        .unwrap()
        .into_data()
        .try_to_vec()
        .unwrap();
    let expected = [
        -0.0824530, -0.1376385, -0.0584073, -0.0593242, -0.1747718, -0.1195387, 0.0519004,
        -0.2093537, -0.2661547, 0.0854572, -0.1700030, -0.2594396, 0.0528489, -0.0626470,
        -0.1169623, 0.0652564, 0.0528675, -0.0111513, 0.0984617, 0.1278142, 0.0323444, 0.0326647,
        0.1628277, 0.1339744,
    ];
    close(&found, &expected);
    assert!(found[24..].iter().all(|g| *g == 0.0));
}

/// Counted by `jax.eval_shape` of AlgoPerf's own models (flax 0.12.8, jax 0.10.2).
#[test]
fn official_models_have_the_official_sizes() {
    let registry = registry();
    for (name, parameters) in [
        ("librispeech_conformer", 32_321_792),
        ("librispeech_conformer_attention_temperature", 32_321_792),
        ("librispeech_conformer_layernorm", 32_317_696),
        ("librispeech_conformer_gelu", 32_321_792),
        ("librispeech_deepspeech", 18_381_312),
        ("librispeech_deepspeech_tanh", 18_381_312),
        ("librispeech_deepspeech_no_resnet", 18_381_312),
        ("librispeech_deepspeech_norm_and_spec_aug", 18_380_288),
    ] {
        let spec = registry.workload(name).unwrap().spec();
        assert_eq!(spec.parameters, parameters, "{name}");
        assert_eq!(spec.size, Size::Algoperf);
        assert_eq!(spec.hints.batch_size, 256);
        assert_eq!(
            spec.drawn,
            spec.change.is_some() && !name.ends_with("_gelu")
        );
    }
}

#[test]
fn official_models_are_built_and_run_forward_and_backward() {
    let _lock = lock();
    let registry = registry();
    for name in ["librispeech_conformer", "librispeech_deepspeech"] {
        let workload = registry.workload(name).unwrap();
        let mut model = build(&*workload, 1);
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, workload.spec().parameters, "{name}");
        let (losses, gradients) = pass(&mut *model, &batch(80, 0, 0.0));
        assert!(
            losses.iter().all(|l| l.is_finite() && *l > 0.0),
            "{losses:?}"
        );
        let live = gradients
            .iter()
            .filter(|g| g.iter().any(|x| *x != 0.0))
            .count();
        // A bias on attention's keys moves no softmax.
        let dead = if name.ends_with("conformer") { 4 } else { 0 };
        assert!(
            live + dead >= gradients.len(),
            "{name}: {live} of {}",
            gradients.len()
        );
        assert!(gradients.iter().flatten().all(|g| g.is_finite()));
    }
}

#[test]
fn parameters_have_kinds() {
    let _lock = lock();
    let kinds = |name: &str| {
        let model = build(&*registry().workload(name).unwrap(), 1);
        let count = |kind| model.params().iter().filter(|p| p.kind == kind).count();
        [
            ParamKind::Matrix,
            ParamKind::Head,
            ParamKind::Convolution,
            ParamKind::Bias,
            ParamKind::NormScale,
            ParamKind::NormShift,
            ParamKind::Other,
        ]
        .map(count)
    };
    // In a block: 2 x 2 + 4 + 3 matrices, 5 layer norms and a batch norm, one scale of queries.
    assert_eq!(kinds("speech_conformer"), [23, 1, 4, 26, 13, 13, 2]);
    assert_eq!(
        kinds("speech_conformer_layernorm"),
        [23, 1, 4, 26, 11, 11, 2]
    );
    // In an LSTM: 4 matrices, 2 biases.
    assert_eq!(kinds("speech_lstm"), [10, 1, 2, 9, 4, 4, 0]);
    assert_eq!(
        kinds("speech_lstm_norm_and_spec_aug"),
        [10, 1, 2, 9, 3, 3, 0]
    );
}

/// The first loss of each variant on the same seed and examples: it shows what a variant changes.
#[test]
fn variants_change_what_they_say() {
    let _lock = lock();
    let registry = registry();
    let first = |name: &str| {
        let workload = registry.workload(name).unwrap();
        let splits = workload.open().unwrap();
        let mut model = build(&*workload, 3);
        let data = crate::common::batch(&*splits.train, &[0, 1, 2, 3], &training_device());
        training_device().seed(4);
        (
            workload.spec().parameters,
            bits(model.pass(&data, &quiet()).unwrap().losses),
        )
    };
    for (base, variants) in [
        (
            "speech_conformer",
            ["attention_temperature", "layernorm", "gelu"],
        ),
        ("speech_lstm", ["tanh", "no_resnet", "norm_and_spec_aug"]),
    ] {
        let (parameters, loss) = first(base);
        for variant in variants {
            let name = format!("{base}_{variant}");
            let (own, other) = first(&name);
            assert_ne!(loss, other, "{name}");
            let norms = ["layernorm", "norm_and_spec_aug"].contains(&variant);
            assert_eq!(own != parameters, norms, "{name}");
        }
    }
}

#[test]
fn impossible_sizes_and_other_features_are_errors() {
    let device = training_device();
    let heads = ConformerConfig {
        heads: 3,
        ..conformer()
    };
    assert!(Conformer::new(&heads, &device).is_err());
    let kernel = ConformerConfig {
        kernel: 4,
        ..conformer()
    };
    assert!(Conformer::new(&kernel, &device).is_err());
    let width = DeepSpeechConfig {
        width: 7,
        ..deepspeech()
    };
    assert!(DeepSpeech::new(&width, &device).is_err());
    let mut model = Trained::new(Conformer::new(&conformer(), &device).unwrap());
    assert!(model.pass(&batch(5, 0, 0.0), &quiet()).is_err());
}

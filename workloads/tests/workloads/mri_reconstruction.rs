//! Undersampled magnetic resonance images: the metric and the network against reference numbers,
//! gradients against differences, sizes of the three workloads and their variants.

use crate::common::{bits, build, lock, numbers, registry, shift, training_device};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, ParamInfo, ParamKind, PassOptions, Size,
    Trained,
};
use velodrome_workloads::metrics::{Intensities, Reconstructions, structural_similarity};
use velodrome_workloads::models::{UNet, UNetConfig};

/// `sin(12.9898 i + salt)`, in 64 bits.
fn noise(n: usize, salt: f64) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| (12.9898 * i as f64 + salt).sin())
}

fn tiny(side: usize) -> UNetConfig {
    UNetConfig {
        side,
        channels: 2,
        pools: 2,
        tanh: false,
        layer_norm: false,
        dropout: 0.0,
    }
}

/// A batch of `examples` slices; targets lie `offset` above and below their noise, in turn.
fn slices(examples: usize, side: usize, offset: f64) -> Batch {
    let n = examples * side * side;
    let sign = |i: usize| if i.is_multiple_of(2) { offset } else { -offset };
    let field = |name, values: Vec<f32>, shape: &[usize]| HostField {
        name,
        shape: shape.to_vec(),
        values: HostValues::Float(values),
    };
    let target = noise(n, 2.5).enumerate().map(|(i, x)| x + sign(i));
    let shape = [examples, side, side];
    let host = HostBatch {
        fields: vec![
            field("input", noise(n, 0.5).map(|x| x as f32).collect(), &shape),
            field("target", target.map(|x| x as f32).collect(), &shape),
            field("mean", vec![3.0; examples], &[examples]),
            field("deviation", vec![0.5; examples], &[examples]),
            field("max", vec![4.0; examples], &[examples]),
        ],
        examples,
        units: n,
    };
    Batch::from_host(host, (0..examples).collect(), &training_device())
}

fn model(config: &UNetConfig) -> Trained<UNet> {
    let device = training_device();
    device.seed(1);
    Trained::new(UNet::new(config, &device).unwrap())
}

/// Gives every parameter the values `each` of its index and length.
fn set(model: &mut dyn Model, each: impl Fn(&ParamInfo) -> Vec<f32>) {
    model.map(&mut |info: &ParamInfo, _: Tensor<1>| {
        Tensor::from_data(TensorData::new(each(info), [info.len()]), &Device::flex())
    });
}

/// Reference: `skimage.metrics.structural_similarity` of scikit-image 0.26.0 (`win_size=7`,
/// `gaussian_weights=False`, sample covariance), which equals the formula of fastMRI's `SSIMLoss` in
/// PyTorch 2.15.0 (64 bits) to 14 digits.
#[test]
fn similarity_equals_scikit_images() {
    let image = |rows: usize, columns: usize| -> (Vec<f64>, Vec<f64>) {
        let smooth = |at: usize| {
            let (i, j) = ((at / columns) as f64, (at % columns) as f64);
            100.0 + 80.0 * (0.4 * i).sin() * (0.3 * j).cos()
        };
        let a: Vec<f64> = (0..rows * columns).map(smooth).collect();
        let b = a.iter().zip(noise(rows * columns, 1.0));
        let b = b.map(|(x, n)| 0.9 * x + 8.0 * n).collect();
        (a, b)
    };
    for (rows, columns, range, expected) in [
        (7, 7, 255.0, 0.966_794_904_486_244),
        (16, 16, 255.0, 0.961_480_386_059_690),
        (20, 13, 180.0, 0.971_776_540_676_662),
        (24, 31, 300.0, 0.971_781_578_042_385),
    ] {
        let (a, b) = image(rows, columns);
        let found = structural_similarity(&a, &b, columns, range);
        assert!(
            (found - expected).abs() < 1e-12,
            "{rows} {columns}: {found}"
        );
        assert!((structural_similarity(&a, &a, columns, range) - 1.0).abs() < 1e-12);
    }
    let (a, b) = image(16, 16);
    let negative: Vec<f64> = b.iter().map(|x| -x).collect();
    let found = structural_similarity(&a, &negative, 16, 255.0);
    assert!((found - 0.884_488_386_702_135).abs() < 1e-12, "{found}");
    assert!(structural_similarity(&a[..36], &b[..36], 6, 1.0).is_nan());
    assert!(structural_similarity(&a, &b[1..], 16, 1.0).is_nan());
}

#[test]
fn measures_are_means_of_intensities_similarity_and_of_normalised_errors() {
    let target: Vec<f32> = noise(64, 0.1).map(|x| x as f32).collect();
    let found: Vec<f32> = target.iter().map(|x| 0.8 * x + 0.1).collect();
    let scale = Intensities {
        mean: 100.0,
        deviation: 40.0,
        max: 150.0,
    };
    let mut sums = Reconstructions::new();
    assert!(sums.measures()["ssim"].is_nan());
    sums.add(&found, &target, 8, scale).unwrap();
    sums.add(&target, &target, 8, scale).unwrap();
    let intensities = |values: &[f32]| -> Vec<f64> {
        values
            .iter()
            .map(|x| f64::from(*x) * 40.0 + 100.0)
            .collect()
    };
    let one = structural_similarity(&intensities(&found), &intensities(&target), 8, 150.0);
    let errors = found.iter().zip(&target);
    let error: f64 = errors.map(|(x, y)| f64::from((x - y).abs())).sum::<f64>() / 64.0;
    let measures = sums.measures();
    assert!((measures["ssim"] - (one + 1.0) / 2.0).abs() < 1e-12);
    assert!((measures["loss"] - error / 2.0).abs() < 1e-7);
    // A volume without a largest intensity counts as one of range 1; NaN is seen.
    let mut other = Reconstructions::new();
    other
        .add(&found, &target, 8, Intensities { max: 0.0, ..scale })
        .unwrap();
    let range_one = structural_similarity(&intensities(&found), &intensities(&target), 8, 1.0);
    assert_eq!(other.measures()["ssim"], range_one);
    let mut broken = found.clone();
    broken[20] = f32::NAN;
    other.add(&broken, &target, 8, scale).unwrap();
    assert!(other.measures()["ssim"].is_nan() && other.measures()["loss"].is_nan());
    assert!(other.add(&found, &target[1..], 8, scale).is_err());
    assert!(other.add(&found[..36], &target[..36], 6, scale).is_err());
}

/// Reference: the same network in PyTorch 2.15.0 in 64 bits (`Conv2d`, `InstanceNorm2d` or
/// `GroupNorm(1, eps=1e-6)`, `LeakyReLU(0.2)` or `Tanh`, `avg_pool2d`, `ConvTranspose2d`), parameter `k`
/// in the model's order set to `0.5 sin(12.9898 i + k)`, scales of norms to 1 more. Losses of both
/// examples, and the norms of the gradients of the first kernel, of the first transposed kernel and of
/// the last kernel before the output.
#[test]
fn losses_and_gradients_equal_pytorchs() {
    let _lock = lock();
    // Index of the first transposed kernel and of the output's weight; number of parameters.
    for (config, losses, indices, norms) in [
        (
            tiny(8),
            [0.624_943_191, 0.644_411_084],
            [0, 6, 11],
            [0.132_885_4, 0.039_982_99, 0.023_610_4],
        ),
        (
            UNetConfig {
                tanh: true,
                ..tiny(8)
            },
            [0.625_277_978, 0.644_104_713],
            [0, 6, 11],
            [0.092_079_1, 0.011_693_07, 0.038_695_65],
        ),
        (
            UNetConfig {
                layer_norm: true,
                ..tiny(8)
            },
            [0.796_280_123, 0.850_228_754],
            [0, 18, 29],
            [0.031_463_75, 0.043_701_84, 0.033_575_97],
        ),
    ] {
        let mut model = model(&config);
        set(&mut model, |info| {
            let one = f64::from(u8::from(info.kind == ParamKind::NormScale));
            let values = noise(info.len(), info.index as f64);
            values.map(|x| (0.5 * x + one) as f32).collect()
        });
        let output = model
            .pass(&slices(2, 8, 0.0), &PassOptions::default())
            .unwrap();
        for (found, expected) in numbers(output.losses).iter().zip(losses) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 2e-6, "{config:?}: {found} {expected}");
        }
        for (index, expected) in indices.into_iter().zip(norms) {
            let gradient = output.gradients.get(&model.params()[index]).unwrap();
            let squares = numbers(gradient).into_iter().map(|g| f64::from(g).powi(2));
            let found = squares.sum::<f64>().sqrt();
            let off = (found - expected).abs() / expected;
            assert!(off < 1e-4, "{config:?} {index}: {found} {expected}");
        }
    }
}

/// With tanh, since differences across the kink of the leaky ReLU are no gradients, and with targets
/// that the outputs do not reach, since the loss has a kink there.
#[test]
fn gradients_equal_differences() {
    const STEP: f32 = 1e-3;
    let _lock = lock();
    for layer_norm in [false, true] {
        let config = UNetConfig {
            tanh: true,
            layer_norm,
            ..tiny(16)
        };
        let mut model = model(&config);
        let batch = slices(2, 16, 3.0);
        let loss = |model: &mut Trained<UNet>| {
            let losses = model.pass(&batch, &PassOptions::default()).unwrap().losses;
            let losses = numbers(losses);
            losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
        };
        let gradients = model
            .pass(&batch, &PassOptions::default())
            .unwrap()
            .gradients;
        let params = model.params().clone();
        let mut largest = 0f64;
        for param in params.iter() {
            let gradient = numbers(gradients.get(param).unwrap());
            let snapshot = model.snapshot();
            for element in (0..param.len()).step_by((param.len() / 4).max(1)) {
                let mut at = |by: f32| {
                    shift(&mut model, param.index, element, by);
                    let value = loss(&mut model);
                    model.restore(&snapshot).unwrap();
                    value
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(gradient[element]);
                largest = largest.max(exact.abs());
                assert!(
                    (difference - exact).abs() < 1e-3 + 0.01 * exact.abs(),
                    "{param:?} {element}: gradient {exact}, differences {difference}"
                );
            }
        }
        assert!(largest > 0.01, "{largest}");
    }
}

#[test]
fn parameters_are_counted_and_have_kinds() {
    let _lock = lock();
    for (channels, pools, side) in [(3, 0, 8), (2, 1, 8), (2, 2, 8), (5, 3, 16)] {
        for layer_norm in [false, true] {
            let config = UNetConfig {
                side,
                channels,
                pools,
                layer_norm,
                ..tiny(side)
            };
            let model = model(&config);
            let count: usize = model.params().iter().map(ParamInfo::len).sum();
            assert_eq!(count, config.parameters(), "{config:?}");
            let of = |kind| model.params().iter().filter(|p| p.kind == kind).count();
            let convolutions = 2 * (2 * pools + 1);
            assert_eq!(of(ParamKind::Convolution), convolutions + pools);
            let norms = if layer_norm { convolutions } else { 0 };
            assert_eq!(
                (of(ParamKind::NormScale), of(ParamKind::NormShift)),
                (norms, norms)
            );
            assert_eq!((of(ParamKind::Head), of(ParamKind::Bias)), (1, 1));
        }
    }
    for (channels, pools, side) in [(2, 3, 12), (2, 4, 8), (0, 1, 8), (2, 16, 1 << 16)] {
        let config = UNetConfig {
            channels,
            pools,
            ..tiny(side)
        };
        assert!(UNet::new(&config, &Device::flex()).is_err(), "{config:?}");
    }
}

/// The numbers of the official `UNet` (mlcommons/algorithmic-efficiency, `fastmri_pytorch/models.py`),
/// counted in PyTorch 2.15.0, and of our smaller ones.
#[test]
fn workloads_have_the_official_sizes_and_differ_in_what_they_say() {
    let _lock = lock();
    let registry = registry();
    for (name, parameters) in [
        ("mri_unet", 120_273),
        ("mri_unet_model_size", 116_385),
        ("mri_unet_tanh", 120_273),
        ("mri_unet_layernorm", 120_977),
        ("mri_heads_unet", 7_756_097),
        ("fastmri_unet", 7_756_097),
        ("fastmri_unet_model_size", 7_692_929),
        ("fastmri_unet_tanh", 7_756_097),
        ("fastmri_unet_layernorm", 7_761_985),
    ] {
        let spec = registry.workload(name).unwrap().spec();
        assert_eq!(spec.parameters, parameters, "{name}");
        assert_eq!(spec.kind, "mri_reconstruction");
    }
    let official = registry.workload("fastmri_unet").unwrap();
    assert_eq!(official.spec().size, Size::Algoperf);
    let count: usize = build(&*official, 1)
        .params()
        .iter()
        .map(ParamInfo::len)
        .sum();
    assert_eq!(count, 7_756_097);
}

/// One step at the official depth and width, on smaller images so that it takes a second.
#[test]
fn the_official_network_runs_forward_and_backward() {
    let _lock = lock();
    let config = UNetConfig {
        side: 32,
        channels: 32,
        pools: 4,
        ..tiny(32)
    };
    let mut model = model(&config);
    let output = model
        .pass(&slices(1, 32, 0.0), &PassOptions::default())
        .unwrap();
    assert!(numbers(output.losses).iter().all(|l| l.is_finite()));
    let first = output.gradients.get(&model.params()[0]).unwrap();
    assert!(numbers(first).iter().any(|g| *g != 0.0));
}

#[test]
fn dropout_drops_channels_and_smoothing_changes_nothing() {
    let _lock = lock();
    let mut model = model(&tiny(8));
    let batch = slices(2, 8, 0.0);
    let mut losses = |dropout, label_smoothing| {
        training_device().seed(3);
        let options = PassOptions {
            dropout,
            label_smoothing,
            ..PassOptions::default()
        };
        bits(model.pass(&batch, &options).unwrap().losses)
    };
    let plain = losses(None, 0.0);
    assert_eq!(plain, losses(None, 0.1));
    assert_eq!(plain, losses(Some(0.0), 0.0));
    assert_ne!(plain, losses(Some(0.5), 0.0));
}

/// Similarity of the zero-filled validation and test slices, as measured.
const ZERO_FILLED: [f64; 2] = [0.544_370_4, 0.524_098_0];

/// The zero-filled input is what a model must beat.
#[test]
fn zero_filled_slices_have_the_similarity_that_the_targets_are_above() {
    let workload = registry().workload("mri_unet").unwrap();
    let (splits, spec) = (workload.open().unwrap(), workload.spec());
    for (split, target, expected) in [
        (&splits.validation, spec.target.validation, ZERO_FILLED[0]),
        (&splits.test, spec.target.test, ZERO_FILLED[1]),
    ] {
        let ids: Vec<usize> = (0..split.len()).collect();
        let host = split.batch(&ids);
        let values: Vec<&[f32]> = host
            .fields
            .iter()
            .map(|field| match &field.values {
                HostValues::Float(values) => &values[..],
                HostValues::Int(_) => panic!("real values"),
            })
            .collect();
        let mut sums = Reconstructions::new();
        for i in 0..split.len() {
            let pixels = i * 64 * 64..(i + 1) * 64 * 64;
            let scale = Intensities {
                mean: values[2][i],
                deviation: values[3][i],
                max: values[4][i],
            };
            let (input, target) = (&values[0][pixels.clone()], &values[1][pixels]);
            sums.add(input, target, 64, scale).unwrap();
        }
        let found = sums.measures()["ssim"];
        assert!((found - expected).abs() < 1e-6, "{found}");
        assert!(found + 0.03 < target, "{found} {target}");
    }
}

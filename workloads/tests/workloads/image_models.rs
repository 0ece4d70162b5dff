//! The image models against PyTorch's numbers for AlgoPerf's own model code, their gradients against
//! differences, and the sizes of the official models.

mod official;

use crate::common::{lock, shift, training_device};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, Network, ParamInfo, ParamKind, PassOptions,
    Size, Trained,
};
use velodrome_harness::seed::unit;
use velodrome_workloads::models::{
    Activation, NormPlace, Pool, ResNet, ResNetConfig, Stem, Vit, VitConfig,
};

/// Numbers between -1 and 1, as the script that computed the reference values draws them.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    (0..n as u64)
        .map(|at| (2.0 * unit(seed, at) - 1.0) as f32)
        .collect()
}

/// The fields of images with these labels.
fn pictures(shape: [usize; 3], labels: &[i32]) -> Vec<HostField> {
    let shape = [labels.len(), shape[0], shape[1], shape[2]];
    vec![
        HostField {
            name: "image",
            shape: shape.to_vec(),
            values: HostValues::Float(noise(1000, shape.iter().product())),
        },
        HostField {
            name: "label",
            shape: vec![labels.len()],
            values: HostValues::Int(labels.to_vec()),
        },
    ]
}

fn batch(fields: Vec<HostField>, examples: usize) -> Batch {
    let host = HostBatch {
        fields,
        examples,
        units: examples,
    };
    Batch::from_host(host, (0..examples).collect(), &training_device())
}

fn images(shape: [usize; 3], labels: &[i32]) -> Batch {
    batch(pictures(shape, labels), labels.len())
}

/// Fills parameter `k` with `scale * noise(k)`; scales of norms with `1 + 0.3 * noise(k)`.
fn fill(model: &mut dyn Model, scale: f32) {
    model.map(&mut |info: &ParamInfo, flat: Tensor<1>| {
        let device = flat.device();
        let n = info.len();
        let mut values = noise(info.index as u64, n);
        for value in &mut values {
            *value = match info.kind {
                ParamKind::NormScale => 1.0 + 0.3 * *value,
                _ => scale * *value,
            };
        }
        Tensor::from_data(TensorData::new(values, [n]), &device)
    });
}

fn values(tensor: Tensor<1>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// The mean loss and the norm of the whole gradient.
fn loss_and_gradient(model: &mut dyn Model, batch: &Batch) -> (f64, f64) {
    let options = PassOptions::default();
    let output = model.pass(batch, &options).unwrap();
    let losses = values(output.losses);
    let mut squares = 0.0;
    for param in model.params().clone().iter() {
        let gradient = values(output.gradients.get(param).unwrap());
        squares += gradient.iter().map(|g| g * g).sum::<f64>();
    }
    (
        losses.iter().sum::<f64>() / losses.len() as f64,
        squares.sqrt(),
    )
}

fn tiny_vit() -> VitConfig {
    VitConfig {
        side: 12,
        channels: 3,
        patch: 4,
        width: 16,
        heads: 4,
        layers: 2,
        feed_forward: 24,
        classes: 5,
        tasks: 1,
        activation: Activation::GeluTanh,
        norm: NormPlace::Pre,
        gated: false,
        pool: Pool::Mean,
        dropout: 0.0,
    }
}

fn vits() -> [(&'static str, VitConfig); 4] {
    let base = tiny_vit();
    let [mut glu, mut post_ln, mut map] = [base.clone(), base.clone(), base.clone()];
    glu.gated = true;
    post_ln.norm = NormPlace::Post;
    map.pool = Pool::Attention;
    [
        ("base", base),
        ("glu", glu),
        ("post_ln", post_ln),
        ("map", map),
    ]
}

/// AlgoPerf's PyTorch ViT (commit 2c90454) in 64 bits under PyTorch 2.15: logits of two images, norm
/// of the gradient of the mean cross entropy, that cross entropy.
const VIT: [([f64; 10], f64, f64); 4] = [
    (
        [
            0.8775587, 1.2315376, 0.5717886, -0.1124376, 0.7649685, 1.1180975, 0.9936813,
            1.0455293, -0.2606364, 0.6570557,
        ],
        2.8702384,
        1.9545599,
    ),
    (
        [
            -0.1428584, -0.3416355, 0.0638874, 0.6455375, -0.4816891, 0.0541117, -0.4095538,
            0.1722829, 0.3821000, -0.5261115,
        ],
        2.2222330,
        1.5043588,
    ),
    (
        [
            -0.8062427, 0.5053992, -1.3779246, -0.1330741, 0.0313344, -0.7248103, 0.4686447,
            -1.4371644, -0.1004912, -0.1564402,
        ],
        1.9961153,
        1.2602387,
    ),
    (
        [
            0.1448565, 0.5729522, -0.9416532, -0.2669068, 0.4966592, 0.0523439, 0.5666698,
            -0.9521196, -0.2887901, 0.3846859,
        ],
        2.6611012,
        1.5679116,
    ),
];

/// Checks logits (through the losses of every label), loss and gradient of a filled model.
fn compare(
    model: &mut dyn Model,
    shape: [usize; 3],
    labels: &[i32],
    logits: &[f64],
    (gradient, loss): (f64, f64),
    tolerance: f64,
) {
    let classes = 5;
    let options = PassOptions::default();
    let every: Vec<Vec<f64>> = (0..classes as i32)
        .map(|label| {
            let batch = images(shape, &vec![label; labels.len()]);
            values(model.pass(&batch, &options).unwrap().losses)
        })
        .collect();
    for (example, row) in logits.chunks_exact(classes).enumerate() {
        let sum: f64 = row.iter().map(|l| l.exp()).sum();
        for (class, logit) in row.iter().enumerate() {
            let (found, expected) = (every[class][example], sum.ln() - logit);
            assert!(
                (found - expected).abs() < tolerance,
                "example {example}, class {class}: {found} {expected}"
            );
        }
    }
    let (found_loss, found_gradient) = loss_and_gradient(model, &images(shape, labels));
    assert!((found_loss - loss).abs() < tolerance, "{found_loss} {loss}");
    let off = (found_gradient / gradient - 1.0).abs();
    assert!(off < tolerance, "{found_gradient} {gradient}");
}

#[test]
fn the_vision_transformers_are_algoperfs() {
    let _lock = lock();
    let device = training_device();
    for ((_, config), (logits, gradient, loss)) in vits().into_iter().zip(VIT) {
        let mut model = Trained::new(Vit::new(&config, &device).unwrap());
        fill(&mut model, 0.4);
        let expected = (gradient, loss);
        compare(&mut model, [3, 12, 12], &[3, 1], &logits, expected, 2e-5);
    }
}

fn tiny_resnet(bottleneck: bool) -> ResNetConfig {
    ResNetConfig {
        side: 64,
        channels: 3,
        stem: Stem {
            kernel: 7,
            stride: 2,
            pool: true,
        },
        stages: vec![(64, 1), (128, 1), (256, 1), (512, 1)],
        bottleneck,
        classes: 5,
        activation: if bottleneck {
            Activation::Relu
        } else {
            Activation::Silu
        },
        preactivation: false,
        norm_scale: 1.0,
        branch_scale: Some(0.0),
        dropout: 0.0,
    }
}

/// AlgoPerf's PyTorch ResNet (commit 2c90454) with one block in each stage, in training, in 64 bits
/// under PyTorch 2.15: the first five logits, norm of the gradient, loss. Bottleneck blocks with ReLU,
/// then basic blocks with SiLU.
const RESNET: [(bool, [f64; 5], f64, f64); 2] = [
    (
        true,
        [-2.3164973, 0.1445342, -2.4658786, 1.3787050, 0.9578563],
        131.7352675,
        2.7415549,
    ),
    (
        false,
        [-0.5847358, -0.3589953, 0.1642857, -0.1791221, 0.1936045],
        20.4691270,
        1.7439183,
    ),
];

#[test]
fn the_residual_networks_are_algoperfs() {
    let _lock = lock();
    let device = training_device();
    for (bottleneck, logits, gradient, loss) in RESNET {
        let mut model = Trained::new(ResNet::new(&tiny_resnet(bottleneck), &device));
        fill(&mut model, 0.1);
        let (labels, expected) = ([3, 1, 0, 4], (gradient, loss));
        compare(&mut model, [3, 64, 64], &labels, &logits, expected, 1e-3);
    }
}

/// Step of the differences, and what they may be off by; see `gradients.rs`.
const STEP: f32 = 3e-3;
const TOLERANCE: f64 = 1e-3;

/// Checks some elements of every parameter against central differences.
fn check<N: Network>(network: N, scale: f32, batch: &Batch) {
    let quiet = PassOptions {
        update_norm: false,
        label_smoothing: 0.1,
        ..PassOptions::default()
    };
    let mut model = Trained::new(network);
    // A head that starts at zero hides all gradients behind it.
    fill(&mut model, scale);
    let gradients = model.pass(batch, &quiet).unwrap().gradients;
    let mut largest = 0f64;
    let snapshot = model.snapshot();
    for param in model.params().clone().iter() {
        let gradient = values(gradients.get(param).unwrap());
        for element in (0..param.len()).step_by((param.len() / 3).max(1)) {
            let mut loss = |by: f32| {
                shift(&mut model, param.index, element, by);
                let losses = values(model.pass(batch, &quiet).unwrap().losses);
                model.restore(&snapshot).unwrap();
                losses.iter().sum::<f64>() / losses.len() as f64
            };
            let difference = (loss(STEP) - loss(-STEP)) / (2.0 * f64::from(STEP));
            let exact = gradient[element];
            largest = largest.max(exact.abs());
            assert!(
                (difference - exact).abs() < TOLERANCE + 0.01 * exact.abs(),
                "{param:?} {element}: gradient {exact}, differences {difference}"
            );
        }
    }
    assert!(
        largest > 0.01,
        "the gradients are too small to say anything"
    );
}

#[test]
fn gradients_of_the_vision_transformers() {
    let _lock = lock();
    let device = training_device();
    let batch = images([3, 12, 12], &[0, 2, 4]);
    for (_, config) in vits() {
        check(Vit::new(&config, &device).unwrap(), 0.3, &batch);
    }
}

/// With smooth activations and without the stem's maximum: differences across a kink are no gradients.
/// The gradient of the maximum is in the comparison with PyTorch.
#[test]
fn gradients_of_the_residual_networks() {
    let _lock = lock();
    let device = training_device();
    let batch = images([2, 16, 16], &[0, 2, 1, 1]);
    for (bottleneck, preactivation, activation) in [
        (true, false, Activation::Silu),
        (true, true, Activation::GeluTanh),
        (false, false, Activation::Gelu),
    ] {
        let config = ResNetConfig {
            side: 16,
            channels: 2,
            stem: Stem {
                kernel: 3,
                stride: 2,
                pool: false,
            },
            stages: vec![(3, 1), (4, 1)],
            bottleneck,
            classes: 3,
            activation,
            preactivation,
            ..tiny_resnet(true)
        };
        check(ResNet::new(&config, &device), 0.3, &batch);
    }
}

/// Each task has outputs of its own: what one learns does not touch the other's.
#[test]
fn a_task_s_gradient_leaves_the_other_s_outputs_alone() {
    let _lock = lock();
    let device = training_device();
    device.seed(7);
    let config = VitConfig {
        classes: 3,
        tasks: 2,
        ..tiny_vit()
    };
    let mut model = Trained::new(Vit::new(&config, &device).unwrap());
    let count: usize = model.params().iter().map(|p| p.len()).sum();
    assert_eq!(count, config.parameters());
    let mut fields = pictures([3, 12, 12], &[0, 2, 1]);
    fields.push(HostField {
        name: "task",
        shape: vec![3],
        values: HostValues::Int(vec![1; 3]),
    });
    let batch = batch(fields, 3);
    let output = model.pass(&batch, &PassOptions::default()).unwrap();
    // The head starts at zero: every one of the three classes is as likely.
    let losses: Vec<f32> = output.losses.into_data().try_to_vec().unwrap();
    assert!(
        losses.iter().all(|l| (l - 3f32.ln()).abs() < 1e-6),
        "{losses:?}"
    );
    let head = model
        .params()
        .iter()
        .find(|p| p.kind == ParamKind::Head)
        .unwrap();
    let slope: Vec<f32> = output
        .gradients
        .get(head)
        .unwrap()
        .into_data()
        .try_to_vec()
        .unwrap();
    for (place, g) in slope.iter().enumerate() {
        assert_eq!(*g != 0.0, place % 6 >= 3, "{place}: {g}");
    }
}

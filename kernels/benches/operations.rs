//! Each fused operation beside burn's own: milliseconds of a pass forward, and forward and backward, at sizes
//! of the laptop workloads. The rounds of both take turns.
//!
//! `cargo bench --workspace --bench operations` prints medians and their ratios; an argument that is a number
//! makes the rounds that many, another one picks the operations whose names have it in them.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use std::time::Instant;
use velodrome_kernels::{
    Function, Heads, Norm, attention, batch_norm, convolution, cross_entropy, ctc, depthwise,
    function, linear, norm, plain, recurrence, softmax,
};

// burn allocates for each operation: the command's allocator decides much of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 25;

type Operation = Box<dyn Fn(Tensor<3>) -> Tensor<3>>;

/// Name, shape of the argument, fused and plain.
type Row = (&'static str, [usize; 3], Operation, Operation);

fn rows(device: &Device) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (name, f) in [
        ("gelu", Function::Gelu),
        ("gelu (tanh)", Function::GeluTanh),
        ("silu", Function::Silu),
        ("sigmoid", Function::Sigmoid),
        ("tanh", Function::Tanh),
        ("relu", Function::Relu),
        ("leaky relu", Function::LeakyRelu),
    ] {
        let fused = Box::new(move |x| function(f, x));
        rows.push((name, [16, 64, 1536], fused, Box::new(move |x| f.plain(x))));
    }
    for (name, shape, outputs) in [
        ("linear, 64 of 256 to 256", [1, 64, 256], 256),
        ("linear, 64 of 512 to 256", [1, 64, 512], 256),
        ("linear, 128 of 256 to 256", [1, 128, 256], 256),
        ("linear, 64 of 256 to 128", [1, 64, 256], 128),
        ("linear, 512 of 1024 to 1024", [1, 512, 1024], 1024),
        ("linear, 512 of 512 to 256", [1, 512, 512], 256),
        ("linear, 16 x 64 of 128 to 512", [16, 64, 128], 512),
        ("linear, 512 x 3 of 128 to 128", [512, 3, 128], 128),
    ] {
        let weight =
            Tensor::<2>::random([shape[2], outputs], Distribution::Normal(0.0, 0.1), device);
        let bias = Tensor::<1>::zeros([outputs], device).require_grad();
        let [own, other] = [weight.clone(), weight].map(|w| (w.require_grad(), bias.clone()));
        rows.push((
            name,
            shape,
            Box::new(move |x| linear(x, own.0.clone(), Some(own.1.clone()))),
            Box::new(move |x| plain::linear(x, other.0.clone(), Some(other.1.clone()))),
        ));
    }
    rows.push((
        "softmax",
        [192, 64, 64],
        Box::new(softmax),
        Box::new(plain::softmax),
    ));
    for (name, kind) in [("layer norm", Norm::Layer), ("rms norm", Norm::Rms)] {
        let scale = Tensor::<1>::ones([384], device).require_grad();
        let shift = Tensor::<1>::zeros([384], device).require_grad();
        let both = [(scale.clone(), shift.clone()), (scale, shift)];
        let [fused, burn] = both;
        rows.push((
            name,
            [16, 64, 384],
            Box::new(move |x| norm(kind, x, fused.0.clone(), Some(fused.1.clone()), 1e-5)),
            Box::new(move |x| plain::norm(kind, x, burn.0.clone(), Some(burn.1.clone()), 1e-5)),
        ));
    }
    for (name, channels, side) in [
        ("batch norm, 16 of 32x32", 16, 32),
        ("batch norm, 64 of 8x8", 64, 8),
    ] {
        let scale = Tensor::<1>::ones([channels], device).require_grad();
        let shift = Tensor::<1>::zeros([channels], device).require_grad();
        let [fused, burn] = [(scale.clone(), shift.clone()), (scale, shift)];
        let image = move |x: Tensor<3>| x.reshape([32, channels, side, side]);
        let flat = |x: Tensor<4>| x.flatten::<3>(2, 3);
        rows.push((
            name,
            [32, channels, side * side],
            Box::new(move |x| flat(batch_norm(image(x), fused.0.clone(), fused.1.clone(), 1e-5).0)),
            Box::new(move |x| {
                flat(plain::batch_norm(image(x), burn.0.clone(), burn.1.clone(), 1e-5).0)
            }),
        ));
    }
    let labels = |rows: usize, classes: usize| {
        let labels: Vec<i64> = (0..rows).map(|r| (r * 31 % classes) as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), device)
    };
    for (name, shape) in [
        ("cross entropy, 256 classes", [16, 128, 256]),
        ("cross entropy, 49,152 classes", [1, 128, 49_152]),
    ] {
        let [a, b, classes] = shape;
        let own = labels(a * b, classes);
        let other = own.clone();
        let flat = move |x: Tensor<3>| x.reshape([a * b, classes]);
        let back = move |x: Tensor<1>| x.reshape([1, 1, a * b]);
        rows.push((
            name,
            shape,
            Box::new(move |x| back(cross_entropy(flat(x), own.clone(), 0.0))),
            Box::new(move |x| back(plain::cross_entropy(flat(x), other.clone(), 0.0))),
        ));
    }
    for (name, shape, [channels, outputs], kernel, stride) in [
        ("3x3, 16 to 16, 32x32", [32, 16, 1024], [16, 16], 3, 1),
        ("3x3, 32 to 32, 16x16", [32, 32, 256], [32, 32], 3, 1),
        ("3x3, 64 to 64, 8x8", [32, 64, 64], [64, 64], 3, 1),
        ("3x3 by 2, 16 to 32, 32x32", [32, 16, 1024], [16, 32], 3, 2),
        ("1x1 by 2, 16 to 32, 32x32", [32, 16, 1024], [16, 32], 1, 2),
    ] {
        let [examples, _, area]: [usize; 3] = shape;
        let side = area.isqrt();
        let weight = Tensor::<4>::random(
            [outputs, channels, kernel, kernel],
            Distribution::Default,
            device,
        );
        let own = weight.require_grad();
        let other = own.clone();
        let image = move |x: Tensor<3>| x.reshape([examples, channels, side, side]);
        let flat = |x: Tensor<4>| x.flatten::<3>(2, 3);
        let (stride, padding) = ([stride; 2], [kernel / 2; 2]);
        rows.push((
            name,
            shape,
            Box::new(move |x| flat(convolution(image(x), own.clone(), None, stride, padding))),
            Box::new(move |x| {
                let weight = other.clone();
                flat(plain::convolution(image(x), weight, None, stride, padding))
            }),
        ));
    }
    let integers = |n: usize, by: usize, below: usize, from: i64| {
        let values: Vec<i64> = (0..n).map(|i| from + (i * by % below) as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device)
    };
    let [tokens, positions, lengths] = [
        integers(32 * 16, 7, 28, 1),
        integers(32, 5, 20, 80),
        integers(32, 3, 9, 8),
    ];
    let tokens = tokens.reshape([32, 16]);
    let numbers = (tokens, positions, lengths);
    let other = numbers.clone();
    rows.push((
        "ctc, 32 of 100 positions",
        [32, 100, 30],
        Box::new(move |x| {
            let (tokens, positions, lengths) = numbers.clone();
            ctc(x, tokens, positions, lengths).reshape([1, 1, 32])
        }),
        Box::new(move |x| {
            let (tokens, positions, lengths) = other.clone();
            plain::ctc(x, tokens, positions, lengths).reshape([1, 1, 32])
        }),
    ));
    let kernel = Tensor::<3>::random([96, 1, 15], Distribution::Default, device);
    let [own, other] = [kernel.clone(), kernel].map(Tensor::require_grad);
    rows.push((
        "depthwise, 15 places",
        [32, 100, 96],
        Box::new(move |x| depthwise(x, own.clone(), 7)),
        Box::new(move |x| plain::depthwise(x, other.clone(), 7)),
    ));
    let weights = Tensor::<3>::random([2, 128, 512], Distribution::Normal(0.0, 0.1), device);
    let [own, other] = [weights.clone(), weights].map(Tensor::require_grad);
    let gates = |x: Tensor<3>| x.reshape([2, 32, 60, 512]);
    let flat = |x: Tensor<4>| x.flatten::<3>(1, 2);
    rows.push((
        "lstm, 2 x 128, 60 positions",
        [2, 32 * 60, 512],
        Box::new(move |x| flat(recurrence(gates(x), own.clone()))),
        Box::new(move |x| flat(plain::recurrence(gates(x), other.clone()))),
    ));
    for (name, shape, heads) in [
        ("attention, 64 tokens", [16, 64, 384], 12),
        ("attention, 128 tokens", [16, 128, 128], 4),
        ("attention, 256 tokens", [8, 256, 128], 4),
    ] {
        let mask = Tensor::<4>::zeros([1, 1, shape[1], shape[1]], device);
        let each = shape[2] / heads;
        let heads = Heads {
            heads,
            shared: heads,
            scale: (each as f64).powf(-0.5),
        };
        let other = mask.clone();
        rows.push((
            name,
            shape,
            Box::new(move |x| attention(heads, x.clone(), x.clone(), x, mask.clone())),
            Box::new(move |x| plain::attention(heads, x.clone(), x.clone(), x, other.clone())),
        ));
    }
    rows
}

/// Milliseconds forward, and forward and backward.
fn time(operation: &Operation, x: &Tensor<3>) -> [f64; 2] {
    let milliseconds = |start: Instant| 1e3 * start.elapsed().as_secs_f64();
    let plain = x.clone().inner();
    let start = Instant::now();
    let y = operation(Tensor::from_inner(plain));
    let forward = milliseconds(start);
    drop(y);
    let leaf = x.clone().detach().require_grad();
    let start = Instant::now();
    let gradients = operation(leaf.clone()).sum().backward();
    let both = milliseconds(start);
    drop((leaf.grad(&gradients), gradients));
    [forward, both]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS).max(1);
    let device = Device::flex().autodiff();
    println!("threads: {}", rayon::current_num_threads());
    println!(
        "operation                      ms forward   burn  ratio   with backward   burn  ratio"
    );
    let chosen: Option<String> = std::env::args()
        .skip(1)
        .find(|a| a.parse::<usize>().is_err() && !a.starts_with('-'));
    for (name, shape, fused, burn) in rows(&device) {
        if chosen.as_ref().is_some_and(|part| !name.contains(&**part)) {
            continue;
        }
        device.seed(1);
        let x = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let _ = (time(&fused, &x), time(&burn, &x));
        let times: Vec<[[f64; 2]; 2]> = (0..rounds)
            .map(|_| [time(&fused, &x), time(&burn, &x)])
            .collect();
        let of = |f: &dyn Fn(&[[f64; 2]; 2]) -> f64| median(times.iter().map(f).collect());
        let part = |at: usize| {
            let own = of(&|t| t[0][at]);
            let burn = of(&|t| t[1][at]);
            (own, burn, of(&|t| t[0][at] / t[1][at]))
        };
        let (forward, both) = (part(0), part(1));
        println!(
            "{name:<30} {:>10.2} {:>6.2} {:>6.2} {:>15.2} {:>6.2} {:>6.2}",
            forward.0, forward.1, forward.2, both.0, both.1, both.2
        );
    }
}

//! Fused operations against burn's own in 64 bits: values and gradients, on random shapes and numbers.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use velodrome_kernels::{
    Function, Heads, Norm, attention, batch_norm, convolution, cross_entropy, ctc, depthwise,
    function, gather, linear, norm, plain, recurrence, softmax, sum_by,
};

/// Largest error, as a share of the largest element. Where burn's own operation in 32 bits is further off
/// (small differences of large numbers), [`WORSE`] times its error.
const TOLERANCE: f64 = 1e-6;
const WORSE: f64 = 3.0;

const FUNCTIONS: [Function; 7] = [
    Function::Gelu,
    Function::GeluTanh,
    Function::Silu,
    Function::Sigmoid,
    Function::Tanh,
    Function::Relu,
    Function::LeakyRelu,
];

/// A generator of numbers that is the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn tensor<const D: usize>(&mut self, shape: [usize; D], size: f32) -> Tensor<D> {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| size * self.next()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }
}

/// The same values on a device with graphs, in numbers of this kind.
fn leaf<const D: usize>(x: &Tensor<D>, kind: DType) -> Tensor<D> {
    let device = Device::flex().autodiff();
    let data = x.clone().into_data().convert_dtype(kind);
    Tensor::from_data(data, (&device, kind)).require_grad()
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let data = x.into_data().convert_dtype(DType::F64);
    data.try_to_vec().unwrap()
}

/// Largest difference, as a share of the largest element of the reference.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(1e-3f64, |m, e| m.max(e.abs()));
    let differences = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
    // A number that is none must not get lost in a maximum.
    differences.fold(0.0, |m: f64, d| if d <= m { m } else { d }) / size
}

/// Values and gradients of both for a sum with random weights.
fn check<const D: usize>(
    inputs: &[Tensor<D>],
    numbers_of: &mut Numbers,
    what: &str,
    fused: impl Fn(&[Tensor<D>]) -> Tensor<D>,
    plain: impl Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    let mut weights: Option<Tensor<D>> = None;
    let ways = [(DType::F32, true), (DType::F32, false), (DType::F64, false)];
    let [found, burn, expected] = ways.map(|(kind, own)| {
        let leaves: Vec<Tensor<D>> = inputs.iter().map(|x| leaf(x, kind)).collect();
        let y = if own { fused(&leaves) } else { plain(&leaves) };
        let weights = weights.get_or_insert_with(|| numbers_of.tensor(y.dims(), 1.0));
        let weighted = y.clone() * leaf(weights, kind).detach();
        let found = weighted.sum().backward();
        let mut all = vec![numbers(y)];
        all.extend(leaves.iter().map(|l| numbers(l.grad(&found).unwrap())));
        all
    });
    for (nth, expected) in expected.iter().enumerate() {
        let [own, burn] = [&found, &burn].map(|parts| error(&parts[nth], expected));
        assert!(
            own <= TOLERANCE.max(WORSE * burn),
            "{what}, part {nth}: error {own}, burn's own {burn}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(64) })]

    #[test]
    fn functions(rows in 1usize..40, width in 1usize..700, seed: u64, size in 0.1f32..8.0) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([rows, width], size);
        for f in FUNCTIONS {
            check(std::slice::from_ref(&x), &mut numbers, &format!("{f:?}"),
                |x| function(f, x[0].clone()), |x| f.plain(x[0].clone()));
        }
    }

    #[test]
    fn linear_maps(
        examples in 1usize..20, tokens in 1usize..40, inputs in 1usize..150, outputs in 1usize..150,
        seed: u64, with_bias: bool,
    ) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([examples * tokens, inputs], 1.0);
        let weight = numbers.tensor([inputs, outputs], 1.0);
        let bias = numbers.tensor([1, outputs], 1.0);
        let inputs_of = match with_bias {
            true => vec![x, weight, bias],
            false => vec![x, weight],
        };
        let given = |x: &[Tensor<2>]| {
            let rows = x[0].clone().reshape([examples, tokens, inputs]);
            (rows, x[1].clone(), x.get(2).map(|bias| bias.clone().reshape([outputs])))
        };
        let flat = |y: Tensor<3>| y.reshape([examples * tokens, outputs]);
        check(&inputs_of, &mut numbers, "linear map",
            |x| {
                let (rows, weight, bias) = given(x);
                flat(linear(rows, weight, bias))
            },
            |x| {
                let (rows, weight, bias) = given(x);
                flat(plain::linear(rows, weight, bias))
            });
    }

    #[test]
    fn gathered_and_summed_rows(
        rows in 1usize..60, width in 1usize..90, n in 1usize..400, seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([rows, width], 1.0);
        let index: Vec<i64> = (0..n).map(|i| ((i * i + 3 * i) % rows) as i64).collect();
        let index = |x: &Tensor<2>| Tensor::<1, Int>::from_data(
            TensorData::new(index.clone(), [n]), &x.device());
        check(std::slice::from_ref(&x), &mut numbers, "gathered rows",
            |x| gather(x[0].clone(), index(&x[0])), |x| plain::gather(x[0].clone(), index(&x[0])));
        let x = numbers.tensor([n, width], 1.0);
        check(&[x], &mut numbers, "summed rows",
            |x| sum_by(x[0].clone(), index(&x[0]), rows),
            |x| plain::sum_by(x[0].clone(), index(&x[0]), rows));
    }

    #[test]
    fn softmax_of_rows(rows in 1usize..60, width in 1usize..300, seed: u64, size in 0.1f32..8.0) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([rows, width], size);
        check(&[x], &mut numbers, "softmax",
            |x| softmax(x[0].clone()), |x| plain::softmax(x[0].clone()));
    }

    #[test]
    fn cross_entropies(
        rows in 1usize..60, classes in 2usize..300, seed: u64, size in 0.1f32..8.0, smooth: bool,
    ) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([rows, classes], size);
        let labels: Vec<i64> = (0..rows).map(|r| ((r * 31 + 7) % classes) as i64).collect();
        let labels = |device: &Device| Tensor::<1, Int>::from_data(
            TensorData::new(labels.clone(), [rows]), device);
        let smoothing = if smooth { 0.1 } else { 0.0 };
        check(&[x], &mut numbers, "cross entropy",
            |x| cross_entropy(x[0].clone(), labels(&x[0].device()), smoothing).reshape([rows, 1]),
            |x| plain::cross_entropy(x[0].clone(), labels(&x[0].device()), smoothing)
                .reshape([rows, 1]));
    }

    #[test]
    fn convolutions(
        examples in 1usize..12, channels in 1usize..7, outputs in 1usize..11, height in 1usize..20,
        width in 1usize..40, kernel in prop::array::uniform2(1usize..6),
        stride in prop::array::uniform2(1usize..4), padding in prop::array::uniform2(0usize..3),
        seed: u64,
    ) {
        let padding = [0, 1].map(|axis| padding[axis].min(kernel[axis] - 1));
        prop_assume!(height + 2 * padding[0] >= kernel[0] && width + 2 * padding[1] >= kernel[1]);
        let mut numbers = Numbers(seed);
        let inputs = [
            numbers.tensor([examples, channels, height, width], 1.0),
            numbers.tensor([outputs, channels, kernel[0], kernel[1]], 1.0),
            numbers.tensor([1, 1, 1, outputs], 1.0),
        ];
        let bias = |x: &Tensor<4>| Some(x.clone().reshape([outputs]));
        check(&inputs, &mut numbers, &format!("{height} {width} {kernel:?} {stride:?} {padding:?}"),
            |i| convolution(i[0].clone(), i[1].clone(), bias(&i[2]), stride, padding),
            |i| plain::convolution(i[0].clone(), i[1].clone(), bias(&i[2]), stride, padding));
    }

    #[test]
    fn recurrences(
        directions in 1usize..3, examples in 1usize..5, positions in 1usize..12, hidden in 1usize..20,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let inputs = [
            numbers.tensor([directions, examples, positions, 4 * hidden], 2.0),
            numbers.tensor([1, directions, hidden, 4 * hidden], 1.0),
        ];
        let weights = |x: &Tensor<4>| x.clone().reshape([directions, hidden, 4 * hidden]);
        check(&inputs, &mut numbers, "recurrence",
            |i| recurrence(i[0].clone(), weights(&i[1])),
            |i| plain::recurrence(i[0].clone(), weights(&i[1])));
    }

    #[test]
    fn alignments(
        examples in 1usize..5, positions in 1usize..14, classes in 2usize..9, most in 1usize..6,
        seed: u64, size in 0.1f32..6.0,
    ) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([examples, positions, classes], size);
        let mut integers = |n: usize, from: usize, to: usize| -> Vec<i64> {
            let span = (to - from + 1) as f32;
            (0..n).map(|_| {
                let at = (0.5 * (numbers.next() + 1.0) * span) as usize;
                (from + at.min(to - from)) as i64
            }).collect()
        };
        let tokens = integers(examples * most, 1, classes - 1);
        let lengths = [integers(examples, 1, positions), integers(examples, 1, most)];
        let losses = |x: &Tensor<3>, fused: bool| {
            let device = x.device();
            let tokens = TensorData::new(tokens.clone(), [examples, most]);
            let tokens = Tensor::<2, Int>::from_data(tokens, &device);
            let [positions, lengths] = lengths.clone().map(|n| {
                Tensor::<1, Int>::from_data(TensorData::new(n, [examples]), &device)
            });
            let losses = match fused {
                true => ctc(x.clone(), tokens, positions, lengths),
                false => plain::ctc(x.clone(), tokens, positions, lengths),
            };
            losses.reshape([examples, 1, 1])
        };
        check(&[x], &mut numbers, "ctc", |x| losses(&x[0], true), |x| losses(&x[0], false));
    }

    #[test]
    fn depthwise_convolutions(
        examples in 1usize..12, positions in 1usize..20, channels in 1usize..30, taps in 1usize..8,
        padding in 0usize..5, seed: u64,
    ) {
        let padding = padding.min(taps - 1);
        prop_assume!(taps <= positions + 2 * padding);
        let mut numbers = Numbers(seed);
        let inputs = [
            numbers.tensor([examples, positions, channels], 1.0),
            numbers.tensor([channels, 1, taps], 1.0),
        ];
        check(&inputs, &mut numbers, "depthwise",
            |i| depthwise(i[0].clone(), i[1].clone(), padding),
            |i| plain::depthwise(i[0].clone(), i[1].clone(), padding));
    }

    #[test]
    fn norms(rows in 1usize..90, width in 8usize..400, seed: u64, offset in -2f32..2.0) {
        let mut numbers = Numbers(seed);
        let x = numbers.tensor([rows, width], 1.0).add_scalar(offset);
        let inputs = [x, numbers.tensor([1, width], 1.0), numbers.tensor([1, width], 1.0)];
        for kind in [Norm::Layer, Norm::Rms] {
            let flat = |x: &Tensor<2>| x.clone().reshape([width]);
            check(&inputs, &mut numbers, &format!("{kind:?}"),
                |i| norm(kind, i[0].clone(), flat(&i[1]), Some(flat(&i[2])), 1e-5),
                |i| plain::norm(kind, i[0].clone(), flat(&i[1]), Some(flat(&i[2])), 1e-5));
        }
    }

    #[test]
    fn batch_norms(
        examples in 1usize..6, channels in 1usize..9, height in 2usize..9, width in 1usize..40,
        seed: u64, offset in -2f32..2.0,
    ) {
        let mut numbers_of = Numbers(seed);
        let x = numbers_of.tensor([examples, channels, height, width], 1.0).add_scalar(offset);
        let mut affine = || numbers_of.tensor([1, channels, 1, 1], 1.0);
        let inputs = [x.clone(), affine(), affine()];
        let flat = |x: &Tensor<4>| x.clone().reshape([channels]);
        check(&inputs, &mut numbers_of, "batch norm",
            |i| batch_norm(i[0].clone(), flat(&i[1]), flat(&i[2]), 1e-5).0,
            |i| plain::batch_norm(i[0].clone(), flat(&i[1]), flat(&i[2]), 1e-5).0);
        let [ones, zeros] = [Tensor::ones([channels], &x.device()), Tensor::zeros([channels], &x.device())];
        let (_, found) = batch_norm(x.clone(), ones.clone(), zeros.clone(), 1e-5);
        let (_, expected) = plain::batch_norm(x, ones, zeros, 1e-5);
        for (found, expected) in found.into_iter().zip(expected) {
            prop_assert!(error(&numbers(found), &numbers(expected)) < 1e-5);
        }
    }

    #[test]
    fn attentions(
        examples in 1usize..4, queries in 1usize..24, more in 0usize..5, shared in 1usize..4,
        group in 1usize..4, each in 1usize..20, seed: u64, shapes in 0usize..4,
    ) {
        let mut numbers = Numbers(seed);
        let (heads, keys) = (shared * group, queries + more);
        let inputs = [
            numbers.tensor([examples, queries, heads * each], 1.0),
            numbers.tensor([examples, keys, shared * each], 1.0),
            numbers.tensor([examples, keys, shared * each], 1.0),
        ];
        let mask = numbers.tensor(
            [if shapes % 2 == 0 { 1 } else { examples }, 1, if shapes < 2 { 1 } else { queries }, keys],
            3.0,
        );
        // Some keys are closed to all but the first query.
        let closed = mask.clone().greater_elem(2.0);
        let mask = mask.mask_fill(closed, -1e9).slice_fill([0..1, 0..1, 0..1, 0..1], 0.0);
        let heads = Heads { heads, shared, scale: (each as f64).powf(-0.5) };
        check(&inputs, &mut numbers, &format!("{heads:?}"),
            |i| attention(heads, i[0].clone(), i[1].clone(), i[2].clone(),
                leaf(&mask, i[0].dtype()).detach()),
            |i| plain::attention(heads, i[0].clone(), i[1].clone(), i[2].clone(),
                leaf(&mask, i[0].dtype()).detach()));
    }
}

/// Gradients by differences of values in 64 bits, at one point of each operation: what proves the
/// reference too.
#[test]
fn gradients_are_differences() {
    let mut numbers_of = Numbers(11);
    let x = numbers_of.tensor([3, 7], 1.5);
    let weights = numbers_of.tensor([3, 7], 1.0);
    let ones = || Tensor::<1>::ones([7], (&Device::flex().autodiff(), DType::F32));
    type Operation<'a> = (&'a str, Box<dyn Fn(Tensor<2>) -> Tensor<2> + 'a>);
    let mut operations: Vec<Operation> = FUNCTIONS
        .into_iter()
        .map(|f| -> Operation { ("function", Box::new(move |x| function(f, x))) })
        .collect();
    operations.push(("softmax", Box::new(softmax)));
    operations.push((
        "norm",
        Box::new(|x| norm(Norm::Layer, x, ones(), None, 1e-5)),
    ));
    for (name, operation) in operations {
        let value = |x: &Tensor<2>| {
            let y = operation(leaf(x, DType::F32)).inner() * weights.clone();
            numbers(y).iter().sum::<f64>()
        };
        let at = leaf(&x, DType::F32);
        let y = operation(at.clone()) * leaf(&weights, DType::F32).detach();
        let gradient = numbers(at.grad(&y.sum().backward()).unwrap());
        let step = 0.01f32;
        for (nth, gradient) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut values: Vec<f32> = x.clone().into_data().try_to_vec().unwrap();
                values[nth] += by;
                value(&Tensor::from_data(
                    TensorData::new(values, [3, 7]),
                    &Device::flex(),
                ))
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            assert!(
                (difference - gradient).abs() < 1e-3,
                "{name}, element {nth}: {difference} {gradient}"
            );
        }
    }
}

/// A label that is no class has no loss, whatever the numbers of integers.
#[test]
fn labels_beyond_the_classes_have_no_loss() {
    let device = Device::flex();
    let logits = Numbers(2).tensor([3, 4], 1.0);
    let labels = Tensor::<1, Int>::from_data([3, 4, -1], &device);
    let losses = numbers(cross_entropy(logits, labels, 0.0));
    assert!(losses[0].is_finite() && losses[1].is_nan() && losses[2].is_nan());
}

/// Views with gaps are taken as what they show, and their storage stays as it is.
#[test]
fn views_are_taken_as_they_show() {
    let x = Numbers(3).tensor([6, 10], 2.0);
    let view = x.clone().narrow(1, 2, 5).transpose();
    let copy = Tensor::from_data(view.clone().into_data(), &Device::flex());
    let before = numbers(x.clone());
    for f in FUNCTIONS {
        let [a, b] = [view.clone(), copy.clone()].map(|x: Tensor<2>| numbers(function(f, x)));
        assert_eq!(a, b);
    }
    let [a, b] = [view, copy].map(|x: Tensor<2>| numbers(softmax(x)));
    assert_eq!(a, b);
    assert_eq!(numbers(x), before);
}

/// Whatever the number of threads, the bits are the same.
#[test]
fn threads_change_nothing() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut numbers_of = Numbers(5);
            let device = Device::flex().autodiff();
            let x = leaf(&numbers_of.tensor([700, 96], 2.0), DType::F32);
            let scale = Tensor::<1>::ones([96], &device).require_grad();
            let y = norm(
                Norm::Layer,
                function(Function::Gelu, x.clone()),
                scale.clone(),
                None,
                1e-5,
            );
            let weight = leaf(&numbers_of.tensor([96, 256], 0.2), DType::F32);
            let bias = Tensor::<1>::ones([256], &device).require_grad();
            let y = linear(y, weight.clone(), Some(bias.clone()));
            let found = softmax(y).powi_scalar(2).sum().backward();
            [
                numbers(x.grad(&found).unwrap()),
                numbers(scale.grad(&found).unwrap()),
                numbers(weight.grad(&found).unwrap()),
                numbers(bias.grad(&found).unwrap()),
            ]
        })
    };
    assert_eq!(run(1), run(3));
}

//! The learned response of weights to hyperparameters: a second set of weights behind a gate for each
//! output channel.
//!
//! For a layer with weights `W`, bias `b` and unconstrained hyperparameters `h` (`H` numbers):
//! ```text
//! W(h) = c W + (U h) * W'        b(h) = c b + (V h) * b'
//! ```
//! `U` and `V` have a row for each output, which multiplies that output's weights. `c` is one number.

use super::tuned::normal;
use crate::fused;
use crate::optimizers::adamw::AdamW;
use crate::self_tuning::{is_kernel, outputs};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use velodrome_harness::contract::{ParamInfo, ParamKind};
use velodrome_harness::seed;

/// Standard deviation of the gates' weights at the start.
const GATE: f64 = 0.01;

/// A tensor with Adam's averages.
#[derive(Debug, Clone)]
struct Slot {
    value: Tensor<1>,
    average: Tensor<1>,
    square: Tensor<1>,
}

impl Slot {
    fn new(value: Tensor<1>) -> Self {
        Self {
            average: value.zeros_like(),
            square: value.zeros_like(),
            value,
        }
    }

    fn step(&mut self, rule: &AdamW, now: fused::Now, gradient: Tensor<1>) {
        let state = [self.average.clone(), self.square.clone()];
        let (value, [average, square]) =
            fused::step(rule, now, self.value.clone(), gradient, state);
        *self = Self {
            value,
            average,
            square,
        };
    }
}

/// The response of one parameter. Tensors are flat; those of the gates are `[outputs, H]`.
#[derive(Debug, Clone)]
struct Gated {
    /// Position of its layer's `c`.
    layer: usize,
    kernel: bool,
    /// Shape as a matrix, and the axis that the outputs run along.
    grid: [usize; 2],
    axis: usize,
    branch: Slot,
    gates: Slot,
}

impl Gated {
    fn outputs(&self) -> usize {
        self.grid[self.axis]
    }

    /// The gate of each output at `h`.
    fn gate(&self, h: &Tensor<1>) -> Tensor<1> {
        let [outputs, n] = [self.outputs(), h.dims()[0]];
        let weights = self.gates.value.clone().reshape([outputs, n]);
        (weights * h.clone().reshape([1, n]))
            .sum_dim(1)
            .reshape([outputs])
    }

    /// `x` with each entry multiplied by its output's gate.
    fn spread(&self, x: Tensor<1>, gate: Tensor<1>) -> Tensor<1> {
        let n = x.dims()[0];
        let mut shape = [1, 1];
        shape[self.axis] = self.outputs();
        (x.reshape(self.grid) * gate.reshape(shape)).reshape([n])
    }

    /// The gradient of each output's gate, from that of the parameter's effective value.
    fn at_gate(&self, g: Tensor<1>) -> Tensor<1> {
        let product = (g * self.branch.value.clone()).reshape(self.grid);
        product.sum_dim(1 - self.axis).reshape([self.outputs()])
    }
}

/// Gradients behind the responses, summed over draws.
#[derive(Debug)]
pub struct Behind {
    /// Of the parameters' own values, by parameter; of those with a response.
    pub own: Vec<Option<Tensor<1>>>,
    /// Of the second weights, by parameter.
    pub branches: Vec<Option<Tensor<1>>>,
    /// Of the gates' weights, by parameter.
    pub gates: Vec<Option<Tensor<1>>>,
    /// Of `c`, by layer.
    pub scales: Vec<Option<Tensor<1>>>,
}

/// Adds `term` to what is there.
pub fn add(sum: &mut Option<Tensor<1>>, term: Tensor<1>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + term,
        None => term,
    });
}

/// The responses of a model.
#[derive(Debug, Clone)]
pub struct Responses {
    /// By parameter; `None` for what does not respond.
    gated: Vec<Option<Gated>>,
    scales: Vec<Slot>,
}

/// Layers with a kernel: position among such layers, and fan-in of its first kernel.
fn layers(params: &[ParamInfo]) -> BTreeMap<usize, (usize, usize)> {
    let mut found = BTreeMap::new();
    for info in params.iter().filter(|p| is_kernel(p)) {
        let position = found.len();
        let fan_in = info.len() / outputs(info);
        found.entry(info.layer).or_insert((position, fan_in));
    }
    found
}

/// Whether a parameter responds, given the layers with a kernel.
fn responds(info: &ParamInfo, layers: &BTreeMap<usize, (usize, usize)>) -> bool {
    let bias = info.kind == ParamKind::Bias && info.trainable && !info.is_empty();
    is_kernel(info) || bias && layers.contains_key(&info.layer)
}

/// Numbers that responses to `hyperparameters` hold: the second weights, the gates' weights and `c`,
/// each with two averages.
pub fn numbers(params: &[ParamInfo], hyperparameters: usize) -> u64 {
    let layers = layers(params);
    let gated = params.iter().filter(|p| responds(p, &layers));
    let numbers = gated.map(|p| p.len() + outputs(p) * hyperparameters);
    3 * (numbers.sum::<usize>() + layers.len()) as u64
}

impl Responses {
    /// Responses to `hyperparameters` numbers, drawn from `seed`: second weights uniform in
    /// `±1/sqrt(fan_in)`, gates normal with a deviation of 0.01, `c` one.
    pub fn new(params: &[ParamInfo], hyperparameters: usize, seed: u64, device: &Device) -> Self {
        let layers = layers(params);
        let tensor = |entries: Vec<f32>| {
            let n = entries.len();
            Tensor::from_data(TensorData::new(entries, [n]), device)
        };
        let gated = params.iter().map(|info| {
            let &(layer, fan_in) = layers.get(&info.layer)?;
            if !responds(info, &layers) {
                return None;
            }
            let outputs = outputs(info);
            let axis = usize::from(info.fan_in_axis == Some(0));
            let mut grid = [info.len() / outputs; 2];
            grid[axis] = outputs;
            let kernel = is_kernel(info);
            let fan_in = if kernel { info.len() / outputs } else { fan_in };
            let bound = (fan_in.max(1) as f64).sqrt().recip();
            let seed = seed::mix(seed, info.index as u64);
            let u = |n: usize| seed::unit(seed, n as u64);
            let branch = (0..info.len()).map(|n| (bound * (2.0 * u(n) - 1.0)) as f32);
            let rest = (0..outputs * hyperparameters).map(|n| info.len() + 2 * n);
            let gates = rest.map(|n| (GATE * normal(u(n), u(n + 1))) as f32);
            Some(Gated {
                layer,
                kernel,
                grid,
                axis,
                branch: Slot::new(tensor(branch.collect())),
                gates: Slot::new(tensor(gates.collect())),
            })
        });
        Self {
            gated: gated.collect(),
            scales: vec![Slot::new(tensor(vec![1.0])); layers.len()],
        }
    }

    fn of(&self, index: usize) -> Option<&Gated> {
        self.gated.get(index).and_then(Option::as_ref)
    }

    /// Whether the parameter at `index` is a kernel with a response.
    pub fn is_kernel(&self, index: usize) -> bool {
        self.of(index).is_some_and(|gated| gated.kernel)
    }

    /// The effective values at `h`, by parameter, from the parameters' own values; `None` for what
    /// does not respond.
    pub fn values(&self, own: &[Tensor<1>], h: &Tensor<1>) -> Vec<Option<Tensor<1>>> {
        let each = own.iter().enumerate().map(|(index, w)| {
            let gated = self.of(index)?;
            let c = self.scales.get(gated.layer)?.value.clone();
            let response = gated.spread(gated.branch.value.clone(), gated.gate(h));
            Some(w.clone() * c + response)
        });
        each.collect()
    }

    /// No gradients yet.
    pub fn nothing(&self) -> Behind {
        let none = || vec![None; self.gated.len()];
        Behind {
            own: none(),
            branches: none(),
            gates: none(),
            scales: vec![None; self.scales.len()],
        }
    }

    /// Adds the gradients behind parameter `index`, whose own value is `w`, from the gradient `g` at
    /// its effective value.
    pub fn chain(
        &self,
        sums: &mut Behind,
        index: usize,
        w: &Tensor<1>,
        g: &Tensor<1>,
        h: &Tensor<1>,
    ) {
        let Some(gated) = self.of(index) else { return };
        let Some(c) = self.scales.get(gated.layer) else {
            return;
        };
        let at_gate = gated.at_gate(g.clone());
        let [outputs, n] = [gated.outputs(), h.dims()[0]];
        let outer = at_gate.reshape([outputs, 1]) * h.clone().reshape([1, n]);
        add(&mut sums.own[index], g.clone() * c.value.clone());
        add(&mut sums.gates[index], outer.reshape([outputs * n]));
        add(
            &mut sums.branches[index],
            gated.spread(g.clone(), gated.gate(h)),
        );
        add(&mut sums.scales[gated.layer], (g.clone() * w.clone()).sum());
    }

    /// The gradient of the hyperparameters, shape `[H]`, from gradients at the effective values by
    /// parameter; `None` where nothing responds.
    pub fn at_hyperparameters(
        &self,
        gradients: impl IntoIterator<Item = (usize, Tensor<1>)>,
    ) -> Option<Tensor<1>> {
        let mut sum = None;
        for (index, g) in gradients {
            let Some(gated) = self.of(index) else {
                continue;
            };
            let outputs = gated.outputs();
            let weights = gated.gates.value.clone();
            let n = weights.dims()[0] / outputs;
            let slopes = gated.at_gate(g).reshape([outputs, 1]);
            let at_h = (weights.reshape([outputs, n]) * slopes).sum_dim(0);
            add(&mut sum, at_h.reshape([n]));
        }
        sum
    }

    /// Steps second weights, gates and `c`.
    pub fn step(&mut self, rule: &AdamW, now: fused::Now, found: Behind) {
        let behind = found.branches.into_iter().zip(found.gates);
        for (gated, behind) in self.gated.iter_mut().zip(behind) {
            if let (Some(gated), (Some(branch), Some(gates))) = (gated, behind) {
                gated.branch.step(rule, now, branch);
                gated.gates.step(rule, now, gates);
            }
        }
        for (c, slope) in self.scales.iter_mut().zip(found.scales) {
            if let Some(slope) = slope {
                c.step(rule, now, slope);
            }
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        let gated = self.gated.iter().flatten();
        gated
            .flat_map(|g| [&g.branch, &g.gates])
            .chain(&self.scales)
    }

    /// Everything, for a checkpoint.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor<1>> {
        self.slots().flat_map(|s| [&s.value, &s.average, &s.square])
    }

    /// The same, to be filled.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor<1>> {
        let gated = self.gated.iter_mut().flatten();
        let slots = gated
            .flat_map(|g| [&mut g.branch, &mut g.gates])
            .chain(&mut self.scales);
        slots.flat_map(|s| [&mut s.value, &mut s.average, &mut s.square])
    }

    /// Sets the gates' weights to zero: weights do not respond until they learn to.
    pub fn close_gates(&mut self) {
        for gated in self.gated.iter_mut().flatten() {
            gated.gates.value = gated.gates.value.zeros_like();
        }
    }
}

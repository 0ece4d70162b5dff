//! One pass over memory that carries out a whole rule.

use super::number::{Entry, Whole};
use super::{Now, Rule};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Entries that a thread works on at a time. The result does not depend on it.
const CHUNK: usize = 1 << 14;
/// Entries that are computed together. They stand in arrays of their own, which the compiler can
/// see do not overlap, and so become vector instructions.
const LANES: usize = 64;

/// A rule at one step, for entries in host memory.
pub(crate) trait EntryRule<const S: usize>:
    Fn(Entry, Entry, [Entry; S]) -> (Entry, [Entry; S]) + Sync
{
}

impl<F, const S: usize> EntryRule<S> for F where
    F: Fn(Entry, Entry, [Entry; S]) -> (Entry, [Entry; S]) + Sync
{
}

/// One step of `rule` on a parameter: its new values and state. In place where the tensors are in
/// host memory and nobody else holds them.
pub(super) fn step<R: Rule<S>, const S: usize, const D: usize>(
    rule: &R,
    now: Now,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; S],
) -> (Tensor<D>, [Tensor<D>; S]) {
    if on_host(&parameter) && on_host(&gradient) && state.iter().all(on_host) {
        host(rule, now, parameter, gradient, state)
    } else {
        whole(rule, now, parameter, gradient, state)
    }
}

/// Whether a tensor's entries can be had as a slice without a copy.
fn on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex() && tensor.dtype() == DType::F32
}

/// The rule as expressions over tensors.
pub(super) fn whole<R: Rule<S>, const S: usize, const D: usize>(
    rule: &R,
    now: Now,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; S],
) -> (Tensor<D>, [Tensor<D>; S]) {
    let compute = rule.rule::<Whole<D>>(now);
    let (parameter, state) = compute(Whole(parameter), Whole(gradient), state.map(Whole));
    (parameter.0, state.map(|s| s.0))
}

fn host<R: Rule<S>, const S: usize, const D: usize>(
    rule: &R,
    now: Now,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; S],
) -> (Tensor<D>, [Tensor<D>; S]) {
    let device = parameter.device();
    let mut p = parameter.into_data();
    let g = gradient.into_data();
    let mut s = state.map(Tensor::into_data);
    if let Some(work) = Work::new(&mut p, &g, &mut s) {
        work.run(&rule.rule::<Entry>(now));
        let back = |data| Tensor::from_data(data, &device);
        return (back(p), s.map(back));
    }
    // Data of another shape or type than its tensor said: let burn say what is wrong.
    let back = |data| Tensor::from_data(data, &device);
    whole(rule, now, back(p), back(g), s.map(back))
}

/// Entries of one parameter, its gradient and its state, in step with each other.
struct Work<'a, const S: usize> {
    p: &'a mut [f32],
    g: &'a [f32],
    s: [&'a mut [f32]; S],
}

impl<'a, const S: usize> Work<'a, S> {
    fn new(p: &'a mut TensorData, g: &'a TensorData, s: &'a mut [TensorData; S]) -> Option<Self> {
        let p = p.as_mut_slice::<f32>().ok()?;
        let g = g.as_slice::<f32>().ok()?;
        let s = s.each_mut().map(|x| x.as_mut_slice::<f32>().ok());
        let fits = g.len() == p.len() && s.iter().flatten().all(|x| x.len() == p.len());
        let complete = s.iter().all(Option::is_some);
        (fits && complete).then(|| Self {
            p,
            g,
            s: s.map(Option::unwrap_or_default),
        })
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (p, p2) = self.p.split_at_mut(at);
        let (g, g2) = self.g.split_at(at);
        let mut s = self.s.map(|x| x.split_at_mut(at));
        let s2 = s.each_mut().map(|(_, right)| std::mem::take(right));
        let s = s.map(|(left, _)| left);
        let second = Self {
            p: p2,
            g: g2,
            s: s2,
        };
        (Self { p, g, s }, second)
    }

    fn run(self, rule: &impl EntryRule<S>) {
        if self.p.len() <= CHUNK {
            return self.chunk(rule);
        }
        let half = (self.p.len() / 2).next_multiple_of(LANES);
        let (left, right) = self.split(half);
        rayon::join(|| left.run(rule), || right.run(rule));
    }

    fn chunk(self, rule: &impl EntryRule<S>) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { self.chunk_avx2(rule) };
        }
        entries(rule, self.p, self.g, self.s);
    }

    /// The same instructions' results, bit for bit, with twice as many entries per instruction.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn chunk_avx2(self, rule: &impl EntryRule<S>) {
        entries(rule, self.p, self.g, self.s);
    }
}

/// A rule on entries, one by one in the order that they lie in; all slices have one length.
#[inline(always)]
pub(crate) fn entries<const S: usize>(
    rule: &impl EntryRule<S>,
    all_p: &mut [f32],
    all_g: &[f32],
    mut all_s: [&mut [f32]; S],
) {
    for start in (0..all_p.len()).step_by(LANES) {
        let range = start..(start + LANES).min(all_p.len());
        let mut p = lanes(&all_p[range.clone()]);
        let g = lanes(&all_g[range.clone()]);
        let mut s = all_s.each_ref().map(|x| lanes(&x[range.clone()]));
        for j in 0..LANES {
            let state = std::array::from_fn(|k| Entry(s[k][j]));
            let (entry, state) = rule(Entry(p[j]), Entry(g[j]), state);
            p[j] = entry.0;
            for (s, entry) in s.iter_mut().zip(state) {
                s[j] = entry.0;
            }
        }
        let n = range.len();
        all_p[range.clone()].copy_from_slice(&p[..n]);
        for (x, s) in all_s.iter_mut().zip(&s) {
            x[range.clone()].copy_from_slice(&s[..n]);
        }
    }
}

/// Up to [`LANES`] entries in an array of their own; zeros behind them.
#[inline(always)]
fn lanes(entries: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..entries.len()].copy_from_slice(entries);
    lanes
}

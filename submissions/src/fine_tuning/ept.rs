//! EPT: a short prompt, and a low-rank correction of the embedded input that the prompt learns from.
//!
//! With a prompt `P` (`[tokens, width]`), `A` (`[positions, rank]`) and `B` (`[rank, width]`):
//!
//! 1. the correction `K = A B` is added to the embedded tokens, by position;
//! 2. fusion: `F = P + softmax(P K^T / sqrt(width)) K`;
//! 3. spaces: `F diag(v_i)`, mixed by `g = softmax(mean(F) W)` to `sum_i g_i F diag(v_i)`, with `v_1` fixed
//!    at ones;
//! 4. `[mixture; E + K]` goes in.
//!
//! Start: `P` entries of the embedding, `A` uniform on `±1/sqrt(rank)`, `B` zero, `v_i` ones, `W` zero: prompt
//! tuning. The rest: [`super::prompts`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 2e-2, of all but `A` and `B` | 2e-3 to 0.2, logarithmic |
//! | `ratio` | 0.1: the rate of `A` and `B` as a share | 0.01, 0.1, 1 |
//! | `tokens` | 10 | 5, 10, 20 |
//! | `rank` | 8 | 4, 8, 16 |
//!
//! Two spaces. The rest as all adapters ([`crate::adapters::Rider`]).
//!
//! # Sources
//! Lan et al., "EPT: Efficient Prompt Tuning by Multi-Space Projection and Prompt Fusion", arXiv
//! 2405.11464, from its abstract: no code of it was found. Step 1 and the two rates are DePT's (Shi and
//! Lipani, arXiv 2309.05173; `ZhengxiangShi/DePT`). Positions: as many as the model has learned ones, or 256
//! (DePT's longest input); tokens further on get no correction.

use super::faster::two_rates;
use super::prompts::{first, input};
use crate::adapters::{Draw, FINETUNE, Race, attach, factors, rates};
use crate::common::{positive, whole};
use crate::flat::bytes_per_entry;
use crate::scheduled::ScheduledOptimizer;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use std::collections::{BTreeMap, BTreeSet};
use velodrome_harness::contract::{
    Adapter, Algorithm, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext,
    Submission, SubmissionError, Trainee, behind,
};

/// Spaces that the prompt is mixed from.
const SPACES: usize = 2;
/// Positions with a correction, where the model does not say how many it has.
const POSITIONS: usize = 256;

/// The submission.
pub struct Ept;

/// The tokens `x`, `[examples, tokens, width]`, corrected and behind the mixture.
fn prompted(x: Tensor<3>, factors: &[Tensor<2>]) -> Tensor<3> {
    let [prompt, a, b, spaces, gate] = [0, 1, 2, 3, 4].map(|i| factors[i].clone());
    let correction = a.matmul(b);
    let front = mixture(prompt, correction.clone(), spaces, gate);
    let [_, tokens, width] = x.dims();
    let [positions, _] = correction.dims();
    let corrected = positions.min(tokens);
    let correction = correction
        .narrow(0, 0, corrected)
        .reshape([1, corrected, width]);
    let x = match corrected < tokens {
        true => {
            let rest = x.clone().narrow(1, corrected, tokens - corrected);
            Tensor::cat(vec![x.narrow(1, 0, corrected) + correction, rest], 1)
        }
        false => x + correction,
    };
    behind(front, x)
}

/// The prompt, enriched by the correction and mixed from its spaces, `[tokens, width]`.
fn mixture(
    prompt: Tensor<2>,
    correction: Tensor<2>,
    spaces: Tensor<2>,
    gate: Tensor<2>,
) -> Tensor<2> {
    let [_, width] = prompt.dims();
    let scores = prompt.clone().matmul(correction.clone().transpose());
    let attention = softmax(scores.mul_scalar((width as f64).powf(-0.5)), 1);
    let fused = prompt + attention.matmul(correction);
    let shares = softmax(fused.clone().mean_dim(0).matmul(gate), 1);
    let ones = Tensor::ones([1, width], &spaces.device());
    let scale = shares.matmul(Tensor::cat(vec![ones, spaces], 0));
    // The sum over spaces of `g_i F diag(v_i)` is `F diag(sum_i g_i v_i)`.
    fused * scale
}

impl Submission for Ept {
    fn describe(&self) -> Description {
        Description {
            name: "ept",
            summary: "A short prompt and a low-rank correction of the embedded input",
            paper: "arXiv 2405.11464",
            reference: "the paper's abstract; ZhengxiangShi/DePT",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        let (rank, ranks) = Race::RANK;
        rates(Race::NUMBERS)
            .choice("ratio", &[0.01, 0.1, 1.0], 0.1)
            .choice("tokens", &[10.0, 5.0, 20.0], 10.0)
            .choice(rank, ranks, 8.0)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let [count, rank] = [
            whole(&context.point, "tokens")?,
            whole(&context.point, "rank")?,
        ];
        let ratio = positive(&context.point, "ratio")?;
        let (input, width) = input(trainee)?;
        let params = trainee.params();
        let learned = params.iter().find(|p| p.kind == ParamKind::Position);
        let positions = learned.map_or(POSITIONS, |p| p.shape[0]);
        let rank = rank.clamp(1, positions.min(width).max(1));
        let device = trainee.device();
        let mut draw = Draw::of(context.seed, input.index);
        let start = vec![
            first(trainee, &input, [count, width], &mut draw, &device),
            draw.kaiming([positions, rank], rank, &device),
            Tensor::zeros([rank, width], &device),
            Tensor::ones([SPACES - 1, width], &device),
            Tensor::zeros([width, SPACES], &device),
        ];
        let adapter = Adapter::new(start, |weight, _| weight).with_lengthening(prompted);
        attach(trainee, BTreeMap::from([(input.index, adapter)]), |_| false)?;
        // `A` and `B` are the second and the third of the only adapter's factors.
        let factors = factors(&trainee.params());
        let pair: BTreeSet<usize> = factors.iter().skip(1).take(2).map(|p| p.index).collect();
        let optimizer = two_rates(trainee, &context.point, &pair, ratio)?;
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::layout::values;
    use burn::tensor::Device;

    /// Prompt, `A`, `B`, the other space and the gate, all of them drawn.
    fn drawn(device: &Device) -> Vec<Tensor<2>> {
        let mut draw = Draw::seeded(5);
        let shapes = [[3, 4], [5, 2], [2, 4], [SPACES - 1, 4], [4, SPACES]];
        let each = shapes.into_iter();
        each.map(|shape| draw.normal(shape, 1.0, device)).collect()
    }

    fn near(found: Vec<f32>, expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-5, "{f} {e}");
        }
    }

    /// By loops, from the equations.
    #[test]
    fn the_mixture_follows_the_equations() {
        let device = Device::flex();
        let factors = drawn(&device);
        let [p, a, b, v, w] = [0, 1, 2, 3, 4].map(|i| values(factors[i].clone()));
        let k = |m: usize, j: usize| (0..2).map(|q| a[m * 2 + q] * b[q * 4 + j]).sum::<f32>();
        let mut fused = [[0f32; 4]; 3];
        for (i, row) in fused.iter_mut().enumerate() {
            let dot = |m| (0..4).map(|j| p[i * 4 + j] * k(m, j)).sum::<f32>() / 2.0;
            let weights: Vec<f32> = (0..5).map(|m| dot(m).exp()).collect();
            let total: f32 = weights.iter().sum();
            for (j, value) in row.iter_mut().enumerate() {
                let mixed: f32 = (0..5).map(|m| weights[m] / total * k(m, j)).sum();
                *value = p[i * 4 + j] + mixed;
            }
        }
        let mean = |j: usize| fused.iter().map(|row| row[j]).sum::<f32>() / 3.0;
        let logit = |s: usize| (0..4).map(|j| mean(j) * w[j * SPACES + s]).sum::<f32>();
        let exps = [logit(0).exp(), logit(1).exp()];
        let shares = exps.map(|e| e / (exps[0] + exps[1]));
        let expected = fused.map(|row| {
            let mix = |j: usize| row[j] * (shares[0] + shares[1] * v[j]);
            [mix(0), mix(1), mix(2), mix(3)]
        });
        let x = Tensor::<3>::ones([2, 6, 4], &device);
        let y = prompted(x, &factors);
        assert_eq!(y.dims(), [2, 9, 4]);
        let front = y.clone().narrow(0, 1, 1).narrow(1, 0, 3).reshape([3, 4]);
        near(values(front), &expected.concat());
        // Five positions are corrected, the sixth is not.
        let text = values(y.narrow(0, 0, 1).narrow(1, 3, 6).reshape([6, 4]));
        let expected: Vec<f32> = (0..24)
            .map(|at| match at / 4 {
                5 => 1.0,
                m => 1.0 + k(m, at % 4),
            })
            .collect();
        near(text, &expected);
    }

    /// Permuting the prompt permutes what goes in, and without a correction it goes in as it is.
    #[test]
    fn the_start_is_prompt_tuning() {
        let device = Device::flex();
        let mut factors = drawn(&device);
        factors[2] = Tensor::zeros([2, 4], &device);
        factors[3] = Tensor::ones([SPACES - 1, 4], &device);
        factors[4] = Tensor::zeros([4, SPACES], &device);
        let x = Tensor::<3>::ones([1, 2, 4], &device);
        let front = prompted(x.clone(), &factors)
            .narrow(1, 0, 3)
            .reshape([3, 4]);
        near(values(front), &values(factors[0].clone()));
        let mut factors = drawn(&device);
        let before = values(
            prompted(x.clone(), &factors)
                .narrow(1, 0, 3)
                .reshape([3, 4]),
        );
        factors[0] = factors[0].clone().flip([0]);
        let after = prompted(x, &factors).narrow(1, 0, 3).reshape([3, 4]);
        near(values(after.flip([0])), &before);
    }

    /// 20 tokens and rank 16 on MiniLM's width and 128 positions.
    #[test]
    fn elements_are_those_of_the_formula() {
        let [s, q, m, d] = [20, 16, 128, 384];
        let counts = [s * d, m * q, q * d, (SPACES - 1) * d, d * SPACES];
        assert_eq!(counts.iter().sum::<usize>(), 15_872 + d + d * SPACES);
    }
}

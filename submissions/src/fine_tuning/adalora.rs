//! AdaLoRA: the ranks of all layers share one budget, which falls during the training.
//!
//! # Rule
//! [`crate::adapters::adalora`] on every hidden matrix with `1.5 rank` triplets each, AdamW on them. The
//! gradient has that of a penalty on what keeps `A` and `B` from being orthonormal beside it:
//! `orthogonality` times the mean over these factors of `|A^T A - 1|` (Frobenius norm, not squared). After
//! each step `t` (from 1), with the step's gradients and the new values, for every entry:
//! ```text
//! I = |p g|;  I' = beta I' + (1 - beta) I;  U = beta U + (1 - beta) |I - I'|;  s = I' U
//! ```
//! The score of a triplet is `s` of its singular value, plus the means of `s` over its column of `A` and its
//! row of `B`. At every `interval`-th step the lowest of all triplets together lose their singular value,
//! so that [`Budget::at`] remain; what was pruned may grow back, until in the last part of the schedule
//! the pruning stays. A head with new outputs trains beside it and is not scored.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 5e-3 | 5e-4 to 5e-2, logarithmic |
//! | `rank` | 8 | 4, 8, 16: what remains for each layer in the mean |
//! | `orthogonality` | 0.1 | fixed |
//! | `importance_beta` | 0.85 | fixed |
//! | `interval` | 10 | fixed |
//! | `first_factor`, `last_factor` | 0.1, 0.3 | fixed; shares of the step hint before and behind the pruning |
//!
//! The rest as all adapters ([`crate::adapters::Rider`]).
//!
//! # State
//! 16 bytes for each entry of the factors, and 8 for each of a new head.
//!
//! # Sources
//! Zhang et al., arXiv 2303.10512; Hugging Face PEFT 0.21.2, `tuners/adalora/layer.py` (`RankAllocator`).
//!
//! # What differs
//! `lora_alpha` is twice the rank at the start, so that the scale is LoRA's. The paper writes the penalty
//! with squared norms; this is the code's.

use crate::adapters::adalora::AdaLora;
use crate::adapters::{Added, FINETUNE, Race, adapt, factors, is_factor, rates};
use crate::common::{fraction, non_negative, pass_options, whole};
use crate::flat::{self, bytes_per_entry};
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use std::sync::Arc;
use velodrome_harness::contract::{
    Algorithm, Batch, Description, Gradients, ParamInfo, PassOptions, Point, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// The submission.
pub struct AdaLoraSubmission;

impl Submission for AdaLoraSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adalora",
            summary: "Low-rank triplets of all layers under one falling budget",
            paper: "arXiv 2303.10512",
            reference: "Hugging Face PEFT 0.21.2",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        let (rank, ranks) = Race::RANK;
        rates(Race::MATRICES)
            .choice(rank, ranks, 8.0)
            .fixed("orthogonality", 0.1)
            .fixed("importance_beta", 0.85)
            .fixed("interval", 10.0)
            .fixed("first_factor", 0.1)
            .fixed("last_factor", 0.3)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let factors = params.iter().filter(|p| is_factor(p));
        let averages: u64 = factors.map(|p| 8 * p.len() as u64).sum();
        Some(bytes_per_entry(params, 2) + averages)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let size = whole(point, "rank")?;
        let (mut first, mut last) = (0, 0);
        adapt(trainee, context.seed, |shape, _| {
            let target = size.clamp(1, shape.short().max(1));
            let rank = target.div_ceil(2) + target;
            first += rank;
            last += target;
            let divisor = rank as f64 + 1e-5;
            let scale = 2.0 * rank as f64 / divisor;
            Ok(Arc::new(Added(AdaLora { shape, rank, scale })))
        })?;
        let steps = context.hints.steps as f64;
        let part = |name| -> Result<u64, SubmissionError> {
            Ok((fraction(point, name)? * steps).floor() as u64)
        };
        let factors = factors(&trainee.params()).into_iter();
        let averages: Vec<Average> = factors
            .map(|param| Average {
                mean: Tensor::zeros([param.len()], &trainee.device()),
                spread: Tensor::zeros([param.len()], &trainee.device()),
                param,
            })
            .collect();
        Ok(Box::new(Allocating {
            optimizer: Fused(AdamW::from_point(point)?).into(),
            schedule: WarmupCosine::start(context)?,
            options: pass_options(point)?,
            orthogonality: non_negative(point, "orthogonality")?,
            beta: fraction(point, "importance_beta")?,
            budget: Budget {
                first,
                last,
                wait: part("first_factor")?,
                end: context.hints.steps.saturating_sub(part("last_factor")?),
                interval: whole(point, "interval")? as u64,
            },
            averages,
            pruned: Vec::new(),
        }))
    }
}

/// How many triplets remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Triplets at the start, of all layers together.
    pub first: usize,
    /// Triplets at the end.
    pub last: usize,
    /// Steps before the pruning begins.
    pub wait: u64,
    /// The step at which the last pruning is done.
    pub end: u64,
    /// Steps between two prunings.
    pub interval: u64,
}

impl Budget {
    /// The triplets that remain after step `t` (from 1): from the first to the last number by a cubic.
    pub fn at(&self, t: u64) -> usize {
        if t <= self.wait {
            return self.first;
        }
        if t >= self.end {
            return self.last;
        }
        let done = (t - self.wait) as f64 / (self.end - self.wait) as f64;
        let more = (self.first - self.last) as f64;
        (self.last as f64 + more * (1.0 - done).powi(3)) as usize
    }

    /// Whether anything is pruned after step `t`.
    pub fn is_due(&self, t: u64) -> bool {
        t == self.end || t > self.wait && t < self.end && t.is_multiple_of(self.interval)
    }
}

/// Running averages of a factor's sensitivity.
struct Average {
    param: ParamInfo,
    /// Of the sensitivity.
    mean: Tensor<1>,
    /// Of its distance from that.
    spread: Tensor<1>,
}

struct Allocating {
    optimizer: ModuleOptimizer,
    schedule: WarmupCosine,
    options: PassOptions,
    orthogonality: f64,
    beta: f64,
    budget: Budget,
    /// Of the factors, three for each layer: `A`, `B` and the singular values.
    averages: Vec<Average>,
    /// For each layer which singular values stay at zero; empty until the last pruning.
    pruned: Vec<Vec<bool>>,
}

impl Allocating {
    /// Adds the penalty's gradient: of `|M|` with `M = A^T A - 1` that is `2 A M / |M|`.
    fn penalise(&self, values: &[Tensor<1>], gradients: &mut Gradients) {
        let count = 2 * self.averages.len() / 3;
        let weight = 2.0 * self.orthogonality / count.max(1) as f64;
        for (place, average) in self.averages.iter().enumerate() {
            let param = &average.param;
            let (value, gradient) = (values.get(param.index), gradients.get(param));
            let (Some(value), Some(gradient), [rows, columns], true) =
                (value, gradient, param.shape.as_slice(), place % 3 < 2)
            else {
                continue;
            };
            let factor = value.clone().reshape([*rows, *columns]);
            // The rank is the second axis of `A` and the first of `B`.
            let a = match place % 3 {
                0 => factor,
                _ => factor.transpose(),
            };
            let [_, rank] = a.dims();
            let m = a.clone().transpose().matmul(a.clone()) - Tensor::eye(rank, &a.device());
            let length = m.clone().square().sum().sqrt().clamp_min(1e-12);
            let slope = a.matmul(m).mul_scalar(weight) / length.unsqueeze();
            let slope = match place % 3 {
                0 => slope,
                _ => slope.transpose(),
            };
            gradients.set(param, gradient + slope.reshape([param.len()]));
        }
    }

    /// The scores of each layer's triplets.
    fn scores(&self) -> Vec<Vec<f32>> {
        let layers = self.averages.chunks_exact(3);
        layers
            .map(|layer| {
                let score = |average: &Average| average.mean.clone() * average.spread.clone();
                let mean = |average: &Average, axis: usize| {
                    let shape: [usize; 2] = match average.param.shape.as_slice() {
                        [rows, columns] => [*rows, *columns],
                        _ => [1, average.param.len()],
                    };
                    let means = score(average).reshape(shape).mean_dim(axis);
                    let count = shape[1 - axis];
                    means.reshape([count])
                };
                let total = mean(&layer[0], 0) + mean(&layer[1], 1) + score(&layer[2]);
                total.into_data().convert::<f32>().iter::<f32>().collect()
            })
            .collect()
    }

    /// The singular values that are among the lowest, so that `remain` triplets are left.
    fn lowest(&self, remain: usize) -> Vec<Vec<bool>> {
        let scores = self.scores();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (layer, scores) in scores.iter().enumerate() {
            order.extend((0..scores.len()).map(|i| (layer, i)));
        }
        order.sort_by(|a, b| scores[a.0][a.1].total_cmp(&scores[b.0][b.1]));
        let mut pruned: Vec<Vec<bool>> = scores.iter().map(|s| vec![false; s.len()]).collect();
        for (layer, i) in order.iter().take(order.len().saturating_sub(remain)) {
            pruned[*layer][*i] = true;
        }
        pruned
    }

    /// Sets singular values to zero.
    fn prune(&self, trainee: &mut Trainee, pruned: &[Vec<bool>]) {
        let values = self
            .averages
            .chunks_exact(3)
            .map(|layer| layer[2].param.index);
        let layers: Vec<usize> = values.collect();
        trainee.map(|info, value| {
            let layer = layers.iter().position(|index| *index == info.index);
            let Some(pruned) = layer.and_then(|layer| pruned.get(layer)) else {
                return value;
            };
            let kept: Vec<f32> = pruned.iter().map(|p| if *p { 0.0 } else { 1.0 }).collect();
            let kept = Tensor::<1>::from_floats(kept.as_slice(), &value.device());
            value * kept
        });
    }
}

impl Algorithm for Allocating {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let mut gradients = trainee.gradients(batch, &self.options)?.gradients;
        self.penalise(&trainee.values(), &mut gradients);
        let slopes: Vec<Option<Tensor<1>>> = self
            .averages
            .iter()
            .map(|average| gradients.get(&average.param))
            .collect();
        trainee.step(
            &mut self.optimizer,
            self.schedule.at(context.step),
            gradients,
        );
        let t = context.step + 1;
        if t <= self.budget.end {
            let (values, beta) = (trainee.values(), self.beta);
            for (average, slope) in self.averages.iter_mut().zip(slopes) {
                let (Some(slope), Some(value)) = (slope, values.get(average.param.index)) else {
                    continue;
                };
                let now = (value.clone() * slope).abs();
                average.mean = blend(average.mean.clone(), now.clone(), beta);
                let distance = (now - average.mean.clone()).abs();
                average.spread = blend(average.spread.clone(), distance, beta);
            }
        }
        if self.budget.is_due(t) {
            let pruned = self.lowest(self.budget.at(t));
            self.prune(trainee, &pruned);
            if t == self.budget.end {
                self.pruned = pruned;
            }
        } else if t > self.budget.end {
            self.prune(trainee, &self.pruned);
        }
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer("optimizer", &self.optimizer)?;
        flat::save(state, "mean", self.averages.iter().map(|a| &a.mean))?;
        flat::save(state, "spread", self.averages.iter().map(|a| &a.spread))?;
        state.put("pruned", &self.pruned)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer("optimizer", self.optimizer.clone())?;
        let device = trainee.device();
        let averages = &mut self.averages;
        flat::load(
            state,
            "mean",
            &device,
            averages.iter_mut().map(|a| &mut a.mean),
        )?;
        flat::load(
            state,
            "spread",
            &device,
            averages.iter_mut().map(|a| &mut a.spread),
        )?;
        self.pruned = state.get("pruned")?;
        Ok(())
    }
}

fn blend(old: Tensor<1>, new: Tensor<1>, beta: f64) -> Tensor<1> {
    old.mul_scalar(beta) + new.mul_scalar(1.0 - beta)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values of the authors' schedule: 36 matrices from 12 to 8 triplets over 1000 steps.
    #[test]
    fn the_budget_falls_by_a_cubic() {
        let budget = Budget {
            first: 432,
            last: 288,
            wait: 100,
            end: 700,
            interval: 10,
        };
        for (t, remain) in [
            (100, 432),
            (101, 431),
            (110, 424),
            (250, 348),
            (400, 306),
            (550, 290),
            (700, 288),
            (701, 288),
        ] {
            assert_eq!(budget.at(t), remain, "{t}");
        }
        let due = [100, 101, 110, 250, 699, 700, 701, 710].map(|t| budget.is_due(t));
        assert_eq!(due, [false, false, true, true, false, true, false, false]);
    }
}

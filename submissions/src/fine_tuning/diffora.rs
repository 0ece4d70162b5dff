//! DiffoRA: LoRA on the matrices that a differentiable search picks.
//!
//! # Rule
//! Every hidden matrix has a LoRA and a gate: `y = x W + sigmoid(g) s x A B`, `g = 0` at first. For the first
//! `search_factor` of the step hint, steps on even places train `A` and `B`, steps on odd places train the
//! gates, on batches of their own. Then each block keeps the half of its matrices with the largest gates
//! (`g` to plus or minus 1e4, which opens or shuts them exactly), and `A` and `B` train on. A model without
//! blocks is one block. `s` is 2.
//!
//! The factors of matrices that were not picked stay, without effect, and count as trained in the record.
//! The search is on the clock.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 5e-3 | 5e-4 to 5e-2, logarithmic |
//! | `rank` | 8 | 4, 8, 16 |
//! | `gate_learning_rate` | 0.05 | fixed |
//! | `search_factor` | 0.15 | fixed |
//! | `share` | 0.5 | fixed |
//!
//! The rest as all adapters ([`crate::adapters::Rider`]).
//!
//! # State
//! 8 bytes for each trained element that has had a step: the gates have none before the search begins.
//!
//! # Sources
//! Jiang et al., "DiffoRA: Enabling Parameter-Efficient Fine-Tuning via Differential Module Selection", arXiv
//! 2502.08905. No code was found: the alternation is that of differentiable architecture search (Liu et al.
//! 2019, arXiv 1806.09055, first order); the paper's weight sharing among the matrices that were not picked
//! is left out.

use crate::adapters::lora::Lora;
use crate::adapters::{Draw, FINETUNE, Pair, Parts, Race, Shape};
use crate::adapters::{attach, biased, factors, hidden, rates};
use crate::common::{pass_options, positive, whole};
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Adapter, Algorithm, Batch, Description, ParamInfo, PassOptions, SearchSpace, StartContext,
    State, StepContext, Submission, SubmissionError, Trainee,
};

/// A gate that is open, or with the other sign shut, exactly.
const OPEN: f64 = 1e4;
/// Factors of a layer: `A`, `B` and the gate.
const FACTORS: usize = 3;

/// The submission.
pub struct DiffoRa;

/// A LoRA behind a gate.
fn gated(lora: Lora, weight: &Tensor<2>, draw: &mut Draw) -> Result<Adapter, SubmissionError> {
    let fault = |e: crate::adapters::MethodError| SubmissionError::Other(e.to_string());
    let mut factors = lora.initial(weight, draw).map_err(fault)?;
    factors.push(Tensor::zeros([1, 1], &weight.device()));
    let dense = lora.clone();
    let product = move |weight: Tensor<2>, factors: &[Tensor<2>]| {
        let (a, b) = dense.pair(factors);
        weight + a.matmul(b) * sigmoid(factors[2].clone())
    };
    let adapter = Adapter::new(factors, product);
    Ok(adapter.with_activations(move |x, weight, bias, factors| {
        let (a, b) = lora.pair(factors);
        let gate = sigmoid(factors[2].clone());
        biased(
            x.clone().matmul(weight) + x.matmul(a).matmul(b) * gate,
            bias,
        )
    }))
}

/// Which gates open: in each group the largest, half of them rounded up (`share`). Of equal ones the
/// earlier opens.
fn picked(gates: &[(usize, f64)], share: f64) -> Vec<bool> {
    let mut open = vec![false; gates.len()];
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, (group, _)) in gates.iter().enumerate() {
        groups.entry(*group).or_default().push(at);
    }
    for mut members in groups.into_values() {
        members.sort_by(|a, b| gates[*b].1.total_cmp(&gates[*a].1));
        let count = (share * members.len() as f64).ceil() as usize;
        for at in members.into_iter().take(count) {
            open[at] = true;
        }
    }
    open
}

impl Submission for DiffoRa {
    fn describe(&self) -> Description {
        Description {
            name: "diffora",
            summary: "LoRA on the matrices that a differentiable search picks",
            paper: "arXiv 2502.08905",
            reference: "the paper's equations",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        let (rank, ranks) = Race::RANK;
        rates(Race::MATRICES)
            .choice(rank, ranks, 8.0)
            .fixed("gate_learning_rate", 0.05)
            .fixed("search_factor", 0.15)
            .fixed("share", 0.5)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let rank = whole(point, "rank")?;
        let mut groups = Vec::new();
        let mut adapters: BTreeMap<usize, Adapter> = BTreeMap::new();
        for (param, weight) in hidden(trainee) {
            let lora = Lora::plain(Shape::of(&weight), rank, 2.0);
            let adapter = gated(lora, &weight, &mut Draw::of(context.seed, param.index))?;
            adapters.insert(param.index, adapter);
            groups.push(param.block.unwrap_or(usize::MAX));
        }
        attach(trainee, adapters, |_| false)?;
        let gates = factors(&trainee.params()).into_iter();
        let gates = gates.skip(FACTORS - 1).step_by(FACTORS).collect();
        let rule = AdamW::from_point(point)?;
        let horizon = context.hints.steps as f64;
        Ok(Box::new(Searching {
            optimizer: ModuleOptimizer::from(Fused(rule)),
            schedule: WarmupCosine::start(context)?,
            options: pass_options(point)?,
            groups,
            gates,
            gate_rate: positive(point, "gate_learning_rate")?,
            steps: (positive(point, "search_factor")? * horizon).ceil() as u64,
            share: positive(point, "share")?,
        }))
    }
}

/// The search, and what follows.
struct Searching {
    optimizer: ModuleOptimizer,
    schedule: WarmupCosine,
    options: PassOptions,
    /// The block of each layer.
    groups: Vec<usize>,
    /// The gate of each layer.
    gates: Vec<ParamInfo>,
    gate_rate: f64,
    /// Steps of the search.
    steps: u64,
    share: f64,
}

impl Searching {
    /// Opens and shuts the gates for good.
    fn pick(&self, trainee: &mut Trainee) {
        let values = trainee.values();
        let number = |gate: &ParamInfo| {
            let value = values.get(gate.index).cloned();
            value.map_or(0.0, |v| f64::from(v.into_scalar::<f32>()))
        };
        let gates: Vec<(&ParamInfo, f64)> = self.gates.iter().map(|g| (g, number(g))).collect();
        let grouped = self.groups.iter().zip(&gates).map(|(g, (_, v))| (*g, *v));
        let open = picked(&grouped.collect::<Vec<_>>(), self.share);
        let signs: BTreeMap<usize, f64> = gates
            .iter()
            .zip(open)
            .map(|((gate, _), open)| (gate.index, if open { OPEN } else { -OPEN }))
            .collect();
        trainee.map(|info, value| match signs.get(&info.index) {
            Some(sign) => value.zeros_like().add_scalar(*sign),
            None => value,
        });
    }
}

impl Algorithm for Searching {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        if context.step == self.steps {
            self.pick(trainee);
        }
        let mut gradients = trainee.gradients(batch, &self.options)?.gradients;
        let searching = context.step < self.steps && context.step % 2 == 1;
        if searching {
            let is_gate = |p: &ParamInfo| self.gates.iter().any(|g| g.index == p.index);
            let others = trainee.params();
            for param in others.iter().filter(|p| p.trainable && !is_gate(p)) {
                gradients.remove(param);
            }
            trainee.step(&mut self.optimizer, self.gate_rate, gradients);
            return Ok(());
        }
        for gate in &self.gates {
            gradients.remove(gate);
        }
        let rate = self.schedule.at(context.step);
        trainee.step(&mut self.optimizer, rate, gradients);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer("optimizer", &self.optimizer)
    }

    fn load(&mut self, state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer("optimizer", self.optimizer.clone())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn each_block_keeps_its_largest_gates() {
        let gates = [(0, 0.1), (0, 0.3), (0, 0.3), (1, -2.0), (1, -1.0)];
        let open = [false, true, true, false, true];
        assert_eq!(picked(&gates, 0.5), open);
        assert_eq!(picked(&gates, 1.0), [true; 5]);
    }

    #[test]
    fn gates_open_and_shut_exactly() {
        let device = Device::flex();
        let gates = Tensor::<1>::from_data([OPEN, -OPEN, 0.0], &device);
        let values = sigmoid(gates).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [1.0, 0.0, 0.5]);
    }
}

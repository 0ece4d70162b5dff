//! EVA: LoRA that starts from the directions in which a layer's inputs vary most, with ranks by how much
//! they explain.
//!
//! # Rule
//! The first step begins with a forward pass over its batch, which shows every hidden matrix's inputs.
//! Their principal directions ([`crate::adapters::eva`]) become `A`, batch by batch of [`TOKENS`] inputs until
//! they have settled; `B` is zero. Of all layers' shares of variance the largest `layers * rank` win, and
//! a layer gets as many ranks as it has winners, at most twice `rank`. The scale is 2. From there on LoRA
//! with AdamW.
//!
//! A layer holds factors for the most ranks that it could get; those that it did not win are zero and stay
//! so, but count as trained in the record: as many as a LoRA of twice the rank has. All of it is on the
//! clock.
//!
//! # Hyperparameters
//! `learning_rate` 5e-4 to 5e-2 (default 5e-3) and `rank`, a layer's in the mean, 2, 4 or 8 (default 4); the
//! rest as all adapters ([`crate::adapters::Rider`]).
//!
//! # State
//! 8 bytes for each trained element.
//!
//! # Sources
//! Paischer et al., arXiv 2410.07170; Hugging Face PEFT 0.21.2, `tuners/lora/eva.py` (`rho` 2, `tau` 0.99), which
//! goes through the data set until all layers have settled; here one batch must do.

use crate::adapters::eva::{Directions, allocate};
use crate::adapters::lora::Lora;
use crate::adapters::{FINETUNE, MethodError, Pair, Race, Shape};
use crate::adapters::{attach, biased, factors, hidden, rates};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use burn::tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use velodrome_harness::contract::{
    Adapter, Algorithm, Batch, Description, ParamInfo, Point, SearchSpace, StartContext, State,
    StepContext, Submission, SubmissionError, Trainee,
};

/// Inputs of a batch of the decomposition.
pub const TOKENS: usize = 256;
/// The most ranks of a layer, in mean ranks (`rho`).
const MOST: usize = 2;
/// The cosine with the directions before at which a layer has settled (`tau`).
const SETTLED: f64 = 0.99;
/// The scale of `A B`.
const SCALE: f64 = 2.0;

/// The submission.
pub struct Eva;

/// What a layer reads while somebody looks.
#[derive(Clone, Default)]
struct Window {
    open: Arc<AtomicBool>,
    seen: Arc<Mutex<Option<Tensor<2>>>>,
}

impl Window {
    fn look(&self, x: &Tensor<2>) {
        if self.open.load(Ordering::Relaxed) {
            let x = match x.device().is_autodiff() {
                true => x.clone().inner(),
                false => x.clone(),
            };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(x);
        }
    }

    fn take(&self) -> Option<Tensor<2>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take()
    }
}

/// A LoRA of `slots` ranks that nothing fills yet.
fn empty(lora: Lora, weight: &Tensor<2>, window: Window) -> Adapter {
    let (Shape { d_in, d_out }, device) = (lora.shape, weight.device());
    let factors = vec![
        Tensor::zeros([d_in, lora.rank], &device),
        Tensor::zeros([lora.rank, d_out], &device),
    ];
    let dense = lora.clone();
    Adapter::new(factors, move |weight, factors| {
        let (a, b) = dense.pair(factors);
        weight + a.matmul(b)
    })
    .with_activations(move |x, weight, bias, factors| {
        window.look(&x);
        let (a, b) = lora.pair(factors);
        biased(x.clone().matmul(weight) + x.matmul(a).matmul(b), bias)
    })
}

/// `A` of every layer, `[d_in, slots]`: its leading directions as far as its ranks go, then zeros.
fn leading(
    inputs: &[Tensor<2>],
    slots: &[usize],
    rank: usize,
) -> Result<Vec<Tensor<2>>, MethodError> {
    let mut found = Vec::new();
    for (inputs, slots) in inputs.iter().zip(slots) {
        let [rows, width] = inputs.dims();
        let mut directions = Directions::new((*slots).min(rows), width);
        for start in (0..rows).step_by(TOKENS) {
            let part = inputs.clone().narrow(0, start, TOKENS.min(rows - start));
            if directions.update(part)?.is_some_and(|c| c >= SETTLED) {
                break;
            }
        }
        found.push(directions);
    }
    let shares: Vec<Vec<f64>> = found.iter().map(Directions::shares).collect();
    let ranks = allocate(&shares, rank);
    let layers = found.iter().zip(inputs).zip(slots.iter().zip(ranks));
    let first = layers.map(|((directions, inputs), (slots, rank))| {
        let device = inputs.device();
        let won = directions.leading(rank, &device);
        let [width, won_ranks] = won.dims();
        match slots - won_ranks {
            0 => won,
            free => Tensor::cat(vec![won, Tensor::zeros([width, free], &device)], 1),
        }
    });
    Ok(first.collect())
}

impl Submission for Eva {
    fn describe(&self) -> Description {
        Description {
            name: "eva",
            summary: "LoRA that starts from the principal directions of each layer's inputs",
            paper: "arXiv 2410.07170",
            reference: "Hugging Face PEFT 0.21.2",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        rates(Race::MATRICES).choice("rank", &[4.0, 2.0, 8.0], 4.0)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rank = whole(&context.point, "rank")?;
        let open = Arc::new(AtomicBool::new(false));
        let mut layers = Vec::new();
        let mut adapters: BTreeMap<usize, Adapter> = BTreeMap::new();
        for (param, weight) in hidden(trainee) {
            let lora = Lora::plain(Shape::of(&weight), MOST * rank, SCALE);
            let slots = lora.rank;
            let window = Window {
                open: open.clone(),
                ..Window::default()
            };
            adapters.insert(param.index, empty(lora, &weight, window.clone()));
            layers.push((window, slots));
        }
        attach(trainee, adapters, |_| false)?;
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        Ok(Box::new(Searching {
            inner: ScheduledOptimizer::cosine(optimizer, context)?,
            rank,
            open,
            layers,
        }))
    }
}

/// LoRA whose first step begins with the decompositions.
struct Searching {
    inner: Box<dyn Algorithm>,
    rank: usize,
    open: Arc<AtomicBool>,
    layers: Vec<(Window, usize)>,
}

impl Searching {
    fn decompose(&self, trainee: &mut Trainee, batch: &Batch) -> Result<(), SubmissionError> {
        self.open.store(true, Ordering::Relaxed);
        let passed = trainee.losses(batch);
        self.open.store(false, Ordering::Relaxed);
        passed?;
        let fault = |e: MethodError| SubmissionError::Other(e.to_string());
        let factors = factors(&trainee.params());
        // A layer that the pass did not go through keeps its zeros: it has no say.
        let seen = self.layers.iter().zip(factors.chunks(2));
        let seen = seen.filter_map(|((window, slots), pair)| {
            let inputs = window.take()?;
            Some((inputs, *slots, pair.first()?.index))
        });
        let mut places = Vec::new();
        let (mut inputs, mut slots) = (Vec::new(), Vec::new());
        for (input, slot, place) in seen {
            inputs.push(input);
            slots.push(slot);
            places.push(place);
        }
        let first = leading(&inputs, &slots, self.rank).map_err(fault)?;
        let mut first: BTreeMap<usize, Tensor<2>> = places.into_iter().zip(first).collect();
        trainee.map(|info, value| match first.remove(&info.index) {
            Some(a) => a.reshape([info.len()]),
            None => value,
        });
        Ok(())
    }
}

impl Algorithm for Searching {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        if context.step == 0 {
            self.decompose(trainee, batch)?;
        }
        self.inner.update(trainee, batch, context)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.inner.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.inner.load(state, trainee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Draw;
    use burn::tensor::Device;

    #[test]
    fn ranks_follow_the_variance_and_the_rest_is_zero() {
        let (device, mut draw) = (Device::flex(), Draw::seeded(7));
        // One direction explains all of the first layer; the second spreads over six.
        let line = draw.normal([600, 1], 1.0, &device);
        let direction = Tensor::<2>::from_data([[0.6, 0.0, 0.8, 0.0, 0.0, 0.0]], &device);
        let inputs = [line.matmul(direction), draw.normal([600, 6], 1.0, &device)];
        let first = leading(&inputs, &[4, 4], 2).unwrap();
        let values = |t: &Tensor<2>| t.to_data().try_into_vec::<f32>().unwrap();
        let a = values(&first[0]);
        assert!((a[0].abs() - 0.6).abs() < 1e-4 && (a[8].abs() - 0.8).abs() < 1e-4);
        let won = |t: &Tensor<2>| {
            let lengths = (t.clone() * t.clone()).sum_dim(0);
            values(&lengths).iter().filter(|v| **v > 0.5).count()
        };
        assert_eq!([won(&first[0]), won(&first[1])], [1, 3]);
        assert_eq!(first[0].dims(), [6, 4]);
    }
}

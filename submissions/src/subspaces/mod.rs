//! Training with optimizer state for a part of the parameters at a time.

pub mod frugal;
pub mod frugal_columns;
pub mod lisa;

use crate::fused::{self, Now};
use crate::optimizers::adamw::AdamW;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{State, StepContext, SubmissionError};

/// AdamW's averages of some entries, which may go away and start again.
#[derive(Debug, Clone)]
struct Averages {
    /// Steps that these averages have seen.
    time: usize,
    pair: [Tensor<1>; 2],
}

impl Averages {
    /// One step of `rule` on the flat entries `p`; starts the averages where there are none.
    fn step(
        slot: &mut Option<Self>,
        rule: &AdamW,
        lr: f64,
        p: Tensor<1>,
        g: Tensor<1>,
    ) -> Tensor<1> {
        let old = slot.take().unwrap_or_else(|| Self {
            time: 0,
            pair: [p.zeros_like(), p.zeros_like()],
        });
        let time = old.time + 1;
        let (p, pair) = fused::step(rule, Now { lr, time }, p, g, old.pair);
        *slot = Some(Self { time, pair });
        p
    }
}

/// Which parameters have averages, and how many steps these have seen.
#[derive(Serialize, Deserialize)]
struct Held(Vec<Option<usize>>);

/// Saves the averages of all parameters.
fn save(state: &mut State, slots: &[Option<Averages>]) -> Result<(), SubmissionError> {
    let held = slots.iter().map(|slot| slot.as_ref().map(|s| s.time));
    state.put("held", &Held(held.collect()))?;
    let averages = slots.iter().flatten().flat_map(|s| s.pair.clone());
    state.put_tensors("averages", &averages.collect::<Vec<_>>())
}

/// Restores what [`save`] stored; `fits` says whether averages of so many entries belong to the
/// parameter of that index.
fn load(
    state: &State,
    device: &Device,
    slots: &mut [Option<Averages>],
    fits: impl Fn(usize, usize) -> bool,
) -> Result<(), SubmissionError> {
    let foreign = || SubmissionError::State {
        name: "averages".into(),
        message: "belong to a model with other parameters".into(),
    };
    let Held(held) = state.get("held")?;
    let mut tensors = state.get_tensors("averages", device)?.into_iter();
    if held.len() != slots.len() {
        return Err(foreign());
    }
    for (index, (slot, time)) in slots.iter_mut().zip(held).enumerate() {
        *slot = match time {
            None => None,
            Some(time) => {
                let pair = [tensors.next(), tensors.next()].map(|t| t.ok_or_else(foreign));
                let [m, v] = pair;
                let pair = [m?, v?];
                if pair.iter().any(|t| !fits(index, t.dims()[0])) {
                    return Err(foreign());
                }
                Some(Averages { time, pair })
            }
        };
    }
    if tensors.next().is_some() {
        return Err(foreign());
    }
    Ok(())
}

/// `count` different numbers below `of`, ascending, drawn by the step's generator.
fn draw(rng: &mut impl rand::Rng, count: usize, of: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    all.shuffle(rng);
    all.truncate(count);
    all.sort_unstable();
    all
}

/// Whether a new part is due at this step: at the start, and every `period` steps.
fn due(context: &StepContext, period: usize) -> bool {
    context.step.is_multiple_of(period.max(1) as u64)
}

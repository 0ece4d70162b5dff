//! [`Prodigy`]'s state, and its step over any list of flat tensors.

use super::Prodigy;
use crate::flat;
use crate::optimizers::parts::{bias_correction, decay, ema};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{State, SubmissionError, Trainee};

/// Every `slice`-th entry of a flat tensor, the first included.
pub fn every(tensor: Tensor<1>, slice: usize) -> Tensor<1> {
    let n = tensor.dims()[0];
    if slice <= 1 || n == 0 {
        return tensor;
    }
    // Padded to whole rows, whose first column is what is asked for.
    let rows = n.div_ceil(slice);
    let missing = rows * slice - n;
    let full = if missing == 0 {
        tensor
    } else {
        let padding = Tensor::zeros([missing], &tensor.device());
        Tensor::cat(vec![tensor, padding], 0)
    };
    full.reshape([rows, slice]).narrow(1, 0, 1).reshape([rows])
}

/// The estimate of the distance, shared by all parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Steps taken.
    pub steps: usize,
    /// `d`.
    pub d: f64,
    /// The largest estimate so far.
    pub largest: f64,
    /// `num`.
    pub numerator: f64,
}

impl Distance {
    /// The estimate before the first step.
    pub fn start(d0: f64) -> Self {
        Self {
            steps: 0,
            d: d0,
            largest: d0,
            numerator: 0.0,
        }
    }
}

/// Sums over all parameters, on the device: products with the gradient, and lengths of `s`.
#[derive(Debug, Default)]
pub struct Sums {
    parts: Vec<Tensor<1>>,
}

impl Sums {
    /// Adds a parameter's: shapes `[1]`.
    pub fn add(&mut self, product: Tensor<1>, length: Tensor<1>) {
        self.parts.push(Tensor::cat(vec![product, length], 0));
    }

    /// Both sums, added in 64 bits. Waits for the device.
    pub fn read(self) -> Result<(f64, f64), SubmissionError> {
        if self.parts.is_empty() {
            return Ok((0.0, 0.0));
        }
        let data = Tensor::cat(self.parts, 0).into_data();
        let values = data
            .as_slice::<f32>()
            .map_err(|e| SubmissionError::Other(format!("prodigy: {e:?}")))?;
        let sum = |skip| {
            values
                .iter()
                .skip(skip)
                .step_by(2)
                .map(|&x| f64::from(x))
                .sum()
        };
        Ok((sum(0), sum(1)))
    }
}

/// State of one trainable parameter, flat.
#[derive(Debug, Clone)]
struct Slot {
    /// `None` where `beta1` is 0.
    m: Option<Tensor<1>>,
    v: Tensor<1>,
    s: Tensor<1>,
    p0: Tensor<1>,
}

/// [`Prodigy`] with its state, over any list of flat tensors.
#[derive(Debug, Clone)]
pub struct ProdigyState {
    rule: Prodigy,
    distance: Distance,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
}

impl ProdigyState {
    /// Starts at `values`; `None` for a parameter that does not train.
    pub fn new(rule: Prodigy, values: impl IntoIterator<Item = Option<Tensor<1>>>) -> Self {
        let slot = |p: Tensor<1>| Slot {
            m: (rule.beta1 > 0.0).then(|| p.zeros_like()),
            v: p.zeros_like(),
            s: rule.sliced(p.zeros_like()),
            p0: rule.sliced(p),
        };
        Self {
            rule,
            distance: Distance::start(rule.d0),
            slots: values.into_iter().map(|p| p.map(slot)).collect(),
        }
    }

    /// The estimate so far.
    pub fn distance(&self) -> Distance {
        self.distance
    }

    /// One step at the rate of the schedule: changes `values`. `gradients` has `None` where there is
    /// no gradient.
    pub fn step(
        &mut self,
        rate: f64,
        values: &mut [Tensor<1>],
        gradients: &[Option<Tensor<1>>],
    ) -> Result<(), SubmissionError> {
        if rate <= 0.0 {
            return Ok(());
        }
        let (rule, at) = (self.rule, self.distance);
        let bias = if rule.bias_correction {
            bias_correction(rule.beta2, at.steps + 1).sqrt()
                / bias_correction(rule.beta1, at.steps + 1)
        } else {
            1.0
        };
        let d = at.d;
        let a = d * rate * bias;
        let s_rate = d / rule.d0 * if rule.safeguard_warmup { d } else { a };
        let coupled = if rule.decoupled {
            0.0
        } else {
            rule.weight_decay
        };
        let gradient = |p: &Tensor<1>, g: &Tensor<1>| match coupled {
            0.0 => g.clone(),
            decay => g.clone() + p.clone().mul_scalar(decay),
        };

        let mut sums = Sums::default();
        for ((slot, p), g) in self.slots.iter_mut().zip(values.iter()).zip(gradients) {
            let (Some(slot), Some(g)) = (slot, g) else {
                continue;
            };
            let g = gradient(p, g);
            let some = rule.sliced(g.clone());
            let way = slot.p0.clone() - rule.sliced(p.clone());
            slot.s = slot.s.clone().mul_scalar(rule.beta3) + some.clone().mul_scalar(s_rate);
            sums.add((way * some).sum(), slot.s.clone().abs().sum());
            slot.v = ema(
                Some(slot.v.clone()),
                g.clone().mul_scalar(d).square(),
                rule.beta2,
            );
            slot.m = slot
                .m
                .take()
                .map(|m| ema(Some(m), g.mul_scalar(d), rule.beta1));
        }
        let (product, length) = sums.read()?;
        if length == 0.0 {
            return Ok(());
        }
        let numerator = rule.beta3 * at.numerator + d / rule.d0 * a * product;
        let estimate = rule.d_coef * numerator / length;
        let base = if d == rule.d0 { d.max(estimate) } else { d };
        let largest = at.largest.max(estimate);
        let new = largest.min(base * rule.growth_rate);
        self.distance = Distance {
            steps: at.steps + 1,
            d: new,
            largest,
            numerator,
        };

        for ((slot, p), g) in self.slots.iter().zip(values.iter_mut()).zip(gradients) {
            let (Some(slot), Some(g)) = (slot, g) else {
                continue;
            };
            let step = match &slot.m {
                Some(m) => m.clone(),
                None => gradient(p, g).mul_scalar(new),
            } / slot.v.clone().sqrt().add_scalar(new * rule.epsilon);
            let kept = if rule.decoupled {
                decay(p.clone(), a, rule.weight_decay)
            } else {
                p.clone()
            };
            *p = kept - step.mul_scalar(a);
        }
        Ok(())
    }

    /// Saves the state.
    pub fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        let slots = || self.slots.iter().flatten();
        state.put("distance", &self.distance)?;
        flat::save(state, "m", slots().filter_map(|s| s.m.as_ref()))?;
        flat::save(state, "v", slots().map(|s| &s.v))?;
        flat::save(state, "s", slots().map(|s| &s.s))?;
        flat::save(state, "p0", slots().map(|s| &s.p0))
    }

    /// Restores what [`Self::save`] stored.
    pub fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.distance = state.get("distance")?;
        let slots = &mut self.slots;
        let ms = slots.iter_mut().flatten().filter_map(|s| s.m.as_mut());
        flat::load(state, "m", &device, ms)?;
        flat::load(
            state,
            "v",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.v),
        )?;
        flat::load(
            state,
            "s",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.s),
        )?;
        flat::load(
            state,
            "p0",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.p0),
        )
    }
}

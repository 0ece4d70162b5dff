//! Weight Compander: AdamW on weights behind an arc tangent, which bounds large ones and drives small
//! ones away from zero.
//!
//! # Rule
//! The model computes with `w`; the optimizer sees `v`. For each kernel (hidden matrices, the head,
//! convolutions) by itself:
//! ```text
//! w = a arctan(v / b)                              so |w| < a pi / 2
//! dL/dv     = dL/dw (a / b) / (1 + (v / b)^2)
//! dL/dlog a = sum(dL/dw w)
//! dL/dlog b = -sum(dL/dv v)
//! ```
//! AdamW (see [`crate::optimizers::adamw`]) steps `v` and everything that is no kernel; Adam
//! with the same numbers steps `log a` and `log b`, which do not decay. At the start
//! `a = reach std(w)` and `b = a / slope`, where `slope` is how much `w` moves for a small `v`; and
//! `v = b tan(w / a)`, so that the model does not change. Initial weights beyond 0.99 of the bound are
//! brought to it. A kernel whose initial entries are all equal takes `1 / sqrt(fan_in)` for `std(w)`.
//! The model holds `w` at all times, so an evaluation needs nothing folded. Schedule:
//! [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic; of `v` |
//! | `reach` | 4 | 2 to 16, logarithmic; `a` in standard deviations of the kernel |
//! | `slope` | 1.5 | 1 to 3, logarithmic; `a / b` |
//! | `learn_shape` | 1 | 0, 1; whether `log a` and `log b` are learned |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 12 bytes per entry of a kernel (`v` and AdamW's two averages) and 24 per kernel (`log a`, `log b`
//! and their averages); 8 bytes per other parameter.
//!
//! # Sources
//! Cakaj, Mehnert and Yang, arXiv 2306.16993. Checked against finite differences in `v`, `log a` and
//! `log b`, the values of the arc tangent, and AdamW in the limit of a large `a = b`.
//!
//! # What differs
//! There is no public code. That each kernel has its own pair, the start of `a`, `b` and `v`, and all
//! defaults are choices of this implementation, untuned. What the harness reports of gradients is about
//! `w`.

use crate::bowl;
use crate::common::{PRETRAIN, non_negative, pass_options, positive, switch, with_regularisation};
use crate::flat;
use crate::fused::{self, Fused, Now};
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use crate::self_tuning::{is_kernel, outputs};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::FRAC_PI_2;
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, Gradients, ParamInfo, PassOptions, Point, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";
/// Name of the kernels' entry in the saved state.
const KERNELS: &str = "kernels";
/// Largest share of the bound that an initial weight keeps.
const INSIDE: f64 = 0.99;

/// The map of one kernel: `w = a arctan(v / b)`, with `log a` and `log b` of shape `[1]`.
#[derive(Debug, Clone)]
pub struct Compander {
    /// Logarithm of `a`.
    pub log_a: Tensor<1>,
    /// Logarithm of `b`.
    pub log_b: Tensor<1>,
}

/// Gradients behind a [`Compander`].
#[derive(Debug, Clone)]
pub struct Behind {
    /// With respect to `v`, flat.
    pub v: Tensor<1>,
    /// With respect to `log a`, shape `[1]`.
    pub log_a: Tensor<1>,
    /// With respect to `log b`, shape `[1]`.
    pub log_b: Tensor<1>,
}

impl Compander {
    /// From `a` and `b`, both positive.
    pub fn new(a: f64, b: f64, device: &Device) -> Self {
        let one = |x: f64| Tensor::from_data(TensorData::new(vec![x as f32], [1]), device);
        Self {
            log_a: one(a.ln()),
            log_b: one(b.ln()),
        }
    }

    /// The effective weights of `v`.
    pub fn weights(&self, v: Tensor<1>) -> Tensor<1> {
        (v / self.log_b.clone().exp()).atan() * self.log_a.clone().exp()
    }

    /// The `v` of weights, which are first brought within 0.99 of the bound.
    pub fn inverse(&self, w: Tensor<1>) -> Tensor<1> {
        let limit = INSIDE * FRAC_PI_2;
        let angle = (w / self.log_a.clone().exp()).clamp(-limit, limit);
        angle.tan() * self.log_b.clone().exp()
    }

    /// The gradients at `v`, from the gradient `g` at its weights.
    pub fn behind(&self, v: Tensor<1>, g: Tensor<1>) -> Behind {
        let slope = (self.log_a.clone() - self.log_b.clone()).exp();
        let t = v.clone() / self.log_b.clone().exp();
        let w = t.clone().atan() * self.log_a.clone().exp();
        let at_v = g.clone() * slope / (t.square() + 1.0);
        Behind {
            log_a: (g * w).sum(),
            log_b: (at_v.clone() * v).sum().neg(),
            v: at_v,
        }
    }
}

/// One kernel at work.
struct Kernel {
    v: Tensor<1>,
    map: Compander,
    /// Adam's averages for `log a` and `log b`.
    averages: [Tensor<1>; 4],
}

impl Kernel {
    fn new(info: &ParamInfo, w: Tensor<1>, reach: f64, slope: f64) -> Self {
        let device = w.device();
        let center = w.clone() - w.clone().mean();
        let deviation = f64::from(center.square().mean().into_scalar::<f32>()).sqrt();
        let fan_in = info.len() as f64 / outputs(info) as f64;
        // Below this the entries differ by rounding alone.
        let deviation = if deviation > 1e-12 {
            deviation
        } else {
            fan_in.max(1.0).sqrt().recip()
        };
        let a = reach * deviation;
        let map = Compander::new(a, a / slope, &device);
        Self {
            v: map.inverse(w),
            map,
            averages: std::array::from_fn(|_| Tensor::zeros([1], &device)),
        }
    }

    fn weights(&self) -> Tensor<1> {
        self.map.weights(self.v.clone())
    }

    fn tensors(&mut self) -> Vec<&mut Tensor<1>> {
        let mut all = vec![&mut self.v, &mut self.map.log_a, &mut self.map.log_b];
        all.extend(&mut self.averages);
        all
    }

    /// One step of `log a` and `log b`.
    fn reshape(&mut self, rule: &AdamW, now: Now, found: Behind) {
        let [m_a, s_a, m_b, s_b] = self.averages.clone();
        let (log_a, [m_a, s_a]) =
            fused::step(rule, now, self.map.log_a.clone(), found.log_a, [m_a, s_a]);
        let (log_b, [m_b, s_b]) =
            fused::step(rule, now, self.map.log_b.clone(), found.log_b, [m_b, s_b]);
        self.map = Compander { log_a, log_b };
        self.averages = [m_a, s_a, m_b, s_b];
    }
}

/// AdamW behind companders.
pub struct WeightCompander {
    optimizer: ModuleOptimizer,
    /// Steps `log a` and `log b`; `None` leaves them.
    shape_rule: Option<AdamW>,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    /// By parameter; `None` for what is no kernel.
    kernels: Vec<Option<Kernel>>,
}

impl WeightCompander {
    /// Puts companders before the kernels of `trainee`. `rule` steps everything; `a` starts at `reach`
    /// standard deviations of the kernel, and `b` at `a / slope`.
    pub fn new(
        trainee: &mut Trainee,
        rule: AdamW,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        (reach, slope): (f64, f64),
        learn_shape: bool,
    ) -> Self {
        let params = trainee.params();
        let kernels: Vec<Option<Kernel>> = params
            .iter()
            .zip(trainee.values())
            .map(|(info, w)| is_kernel(info).then(|| Kernel::new(info, w, reach, slope)))
            .collect();
        let shape_rule = AdamW {
            weight_decay: 0.0,
            ..rule
        };
        let started = Self {
            optimizer: Fused(rule).into(),
            shape_rule: learn_shape.then_some(shape_rule),
            schedule: Box::new(schedule),
            options,
            kernels,
        };
        started.fold(trainee);
        started
    }

    fn kernel(&self, info: &ParamInfo) -> Option<&Kernel> {
        self.kernels.get(info.index).and_then(Option::as_ref)
    }

    /// Puts the effective weights into the model.
    fn fold(&self, trainee: &mut Trainee) {
        trainee.map(|info, w| self.kernel(info).map_or(w, Kernel::weights));
    }

    /// `a` of each kernel, in order: the bound of its weights is `a pi / 2`.
    pub fn scales(&self) -> Vec<f64> {
        let kernels = self.kernels.iter().flatten();
        kernels
            .map(|k| f64::from(k.map.log_a.clone().exp().into_scalar::<f32>()))
            .collect()
    }

    /// Turns gradients at the weights into gradients behind them; returns those of the shapes.
    fn chain(&self, params: &[ParamInfo], gradients: &mut Gradients) -> Vec<Option<Behind>> {
        let each = params.iter().map(|info| {
            let kernel = self.kernel(info)?;
            let behind = kernel.map.behind(kernel.v.clone(), gradients.get(info)?);
            gradients.set(info, behind.v.clone());
            Some(behind)
        });
        each.collect()
    }
}

impl Algorithm for WeightCompander {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let params = trainee.params();
        let mut gradients = trainee.gradients(batch, &self.options)?.gradients;
        let behind = self.chain(&params, &mut gradients);
        let lr = self.schedule.at(context.step);
        trainee.map(|info, w| self.kernel(info).map_or(w, |k| k.v.clone()));
        trainee.step(&mut self.optimizer, lr, gradients);
        let stepped = trainee.values();
        let time = context.step as usize + 1;
        for ((kernel, v), behind) in self.kernels.iter_mut().zip(stepped).zip(behind) {
            let (Some(kernel), Some(behind)) = (kernel, behind) else {
                continue;
            };
            kernel.v = v;
            if let Some(rule) = &self.shape_rule {
                kernel.reshape(rule, Now { lr, time }, behind);
            }
        }
        self.fold(trainee);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.optimizer)?;
        let kernels = self.kernels.iter().flatten();
        let tensors = kernels.flat_map(|k| {
            [&k.v, &k.map.log_a, &k.map.log_b]
                .into_iter()
                .chain(&k.averages)
        });
        flat::save(state, KERNELS, tensors)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer(OPTIMIZER, self.optimizer.clone())?;
        let kernels = self.kernels.iter_mut().flatten();
        let tensors = kernels.flat_map(Kernel::tensors);
        flat::load(state, KERNELS, &trainee.device(), tensors)
    }
}

/// Finite differences of `c w + w^2 / 2`, summed, in `v`, `log a` and `log b`.
fn chain_rule() -> Result<(bool, String), SubmissionError> {
    let device = bowl::trainee(&[0.0]).device();
    let (v, pull) = ([-1.5f64, -0.2, 0.05, 0.7], [0.3, -1.0, 2.0, 0.5]);
    let [log_a, log_b] = [0.3f64, -0.4];
    let loss = |v: [f64; 4], log_a: f64, log_b: f64| -> f64 {
        let w = v.map(|v| log_a.exp() * (v / log_b.exp()).atan());
        w.iter().zip(pull).map(|(w, c)| c * w + w * w / 2.0).sum()
    };
    let flat = |x: [f64; 4]| -> Tensor<1> {
        Tensor::from_data(TensorData::new(x.map(|x| x as f32).to_vec(), [4]), &device)
    };
    let map = Compander::new(log_a.exp(), log_b.exp(), &device);
    let g = map.weights(flat(v)) + flat(pull);
    let found = map.behind(flat(v), g);
    let h = 1e-5;
    let slope = |up: f64, down: f64| (up - down) / (2.0 * h);
    let mut expected = Vec::new();
    for i in 0..4 {
        let moved = |by: f64| std::array::from_fn(|j| if i == j { v[j] + by } else { v[j] });
        expected.push(slope(
            loss(moved(h), log_a, log_b),
            loss(moved(-h), log_a, log_b),
        ));
    }
    expected.push(slope(loss(v, log_a + h, log_b), loss(v, log_a - h, log_b)));
    expected.push(slope(loss(v, log_a, log_b + h), loss(v, log_a, log_b - h)));
    let all = Tensor::cat(vec![found.v, found.log_a, found.log_b], 0);
    let apart = all
        .into_data()
        .convert::<f32>()
        .iter::<f32>()
        .zip(&expected)
        .map(|(x, e)| (f64::from(x) - e).abs())
        .fold(0.0, f64::max);
    Ok((apart < 2e-6, format!("apart by {apart:.1e}")))
}

/// The submission `weight_compander`.
#[derive(Debug, Clone, Copy)]
pub struct WeightCompanderSubmission;

impl Submission for WeightCompanderSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "weight_compander",
            summary: "AdamW on weights behind a learned arc tangent that bounds them",
            paper: "arXiv 2306.16993",
            reference: "the paper; finite differences (no public code)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .log_uniform("reach", 2.0, 16.0, 4.0)
            .log_uniform("slope", 1.0, 3.0, 1.5)
            .choice("learn_shape", &[0.0, 1.0], 1.0)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let kernels = params.iter().filter(|p| is_kernel(p));
        let more: u64 = kernels.map(|p| 4 * p.len() as u64 + 24).sum();
        Some(flat::bytes_per_entry(params, 2) + more)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the gradients of v, log a and log b are those of finite differences",
            check: chain_rule,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let rule = AdamW::from_point(point)?;
        let (reach, slope) = (positive(point, "reach")?, positive(point, "slope")?);
        let learn_shape = switch(point, "learn_shape")?;
        non_negative(point, "learning_rate")?;
        Ok(Box::new(WeightCompander::new(
            trainee,
            rule,
            WarmupCosine::start(context)?,
            pass_options(point)?,
            (reach, slope),
            learn_shape,
        )))
    }
}

//! The update rule of the submission, one parameter at a time.

use crate::optimizers::parts::{bias_correction, ema};
use crate::schedules::Schedule;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{ParamInfo, ParamKind, SubmissionError};

/// Below this, a second moment counts as zero.
const TINY: f32 = f32::MIN_POSITIVE;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amos {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the sum of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Strength of the extra regularisation.
    pub l2: f64,
}

/// What the rule has to know of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AmosParam {
    /// Expected scale of its entries at the end.
    pub eta: f64,
    /// Groups of entries, consecutive and of one size, that share a step size.
    pub groups: usize,
    /// Size of a group: `k`.
    pub size: usize,
}

impl AmosParam {
    /// By kind and shape.
    pub fn of(info: &ParamInfo) -> Self {
        let first = info.shape.first().copied().unwrap_or(1);
        let fan_in = |axis: usize| -> usize { info.shape.iter().skip(axis).product() };
        let inverse = |times: f64, fan: usize| (times / fan.max(1) as f64).sqrt();
        let rank = info.shape.len();
        let eta = match info.kind {
            ParamKind::Matrix | ParamKind::Head => inverse(2.0, first),
            ParamKind::Convolution => inverse(1.0, fan_in(1)),
            ParamKind::Embedding | ParamKind::Position | ParamKind::NormScale => 1.0,
            ParamKind::Bias | ParamKind::NormShift => 0.5,
            ParamKind::Other if rank < 2 => 0.5,
            ParamKind::Other => inverse(2.0, first),
        };
        let by_row = matches!(info.kind, ParamKind::Embedding | ParamKind::Position);
        let groups = if by_row && rank == 2 { first.max(1) } else { 1 };
        Self {
            eta,
            groups,
            size: info.len() / groups,
        }
    }
}

/// Steps that the early stage of training takes beyond those of the late stage, in units of the
/// late stage's: a function of the root of the group size.
pub fn tau(root_k: f64) -> f64 {
    let q = (1.0 - root_k.recip()).sqrt();
    q * (root_k * (1.0 + q).powi(2)).ln()
}

/// `xi` for these parameters and the steps in which training should converge.
pub fn base_rate(params: &[ParamInfo], converge_steps: f64) -> f64 {
    let sizes = params
        .iter()
        .filter(|p| p.trainable)
        .map(|p| AmosParam::of(p).size);
    let largest = sizes.max().unwrap_or(1).max(1) as f64;
    (2.0 * (tau(largest.sqrt()) + std::f64::consts::SQRT_2 - 1.0) / converge_steps).sqrt()
}

/// Linear warm-up that ends at its peak in the last warm-up step, then constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WarmUp {
    pub peak: f64,
    pub warmup: u64,
}

impl Schedule for WarmUp {
    fn at(&self, step: u64) -> f64 {
        self.peak * ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0)
    }
}

/// State of one parameter, flat.
#[derive(Debug, Clone)]
pub struct AmosState {
    /// Average of gradients.
    pub m: Tensor<1>,
    /// Decaying sum of squared gradients.
    pub v: Tensor<1>,
    /// Progress of the decay, by group.
    pub b: Tensor<1>,
}

impl AmosState {
    /// Before the first step, for a parameter with this flat value.
    pub fn start(param: &AmosParam, value: Tensor<1>) -> Self {
        Self {
            b: Tensor::zeros([param.groups], &value.device()),
            m: value.zeros_like(),
            v: value.zeros_like(),
        }
    }
}

impl Amos {
    /// Step number `time`, from 1, at the global rate `xi`: the new flat value.
    pub fn step(
        &self,
        xi: f64,
        time: usize,
        param: &AmosParam,
        p: Tensor<1>,
        g: Tensor<1>,
        state: &mut AmosState,
    ) -> Tensor<1> {
        let weight = |time| (1.0 - self.beta2) / bias_correction(self.beta2, time);
        let mut square = g.clone().square();
        let mut g = g;
        if time > 1 {
            // At most so far above the average that it does not change by more than that share.
            let before = state.v.clone().mul_scalar(weight(time - 1));
            let fresh = before.clone().lower_equal_scalar(0.0);
            let ratio = square.clone().mul_scalar(1.0 - self.beta2) / before.clamp_min(TINY);
            let ratio = ratio.mask_fill(fresh, 1.0).clamp_min(1.0);
            g = g / ratio.clone().sqrt();
            square = square / ratio;
        }
        let m = ema(Some(state.m.clone()), g, self.beta1);
        let v = state.v.clone().mul_scalar(self.beta2) + square;
        let h = v.clone().mul_scalar(weight(time));
        *state = AmosState {
            m: m.clone(),
            v,
            b: state.b.clone(),
        };

        let n = param.groups * param.size;
        let grouped = |flat: Tensor<1>| flat.reshape([param.groups, param.size]);
        let mean = |flat: Tensor<1>| grouped(flat).mean_dim(1);
        let root_k = (param.size as f64).sqrt();
        let tau = tau(root_k);
        let l2 = self.l2;
        let momentum = (1.0 + self.beta1) / (1.0 - self.beta1);
        let q = mean(m.clone().square()).mul_scalar(momentum) / mean(h.clone()).clamp_min(TINY);

        let b = state.b.clone().reshape([param.groups, 1]);
        let s = b.clone().add_scalar(1.0).sqrt();
        let a = q.clone().max_pair(s.clone()).recip().mul_scalar(xi * xi);
        let lp = 1.0 + l2 * ((1.0 + 0.5 * tau).powi(2) - 1.0).powi(2);
        let lq = b.clone().square().mul_scalar(l2).add_scalar(1.0);
        let inner = s
            .clone()
            .mul_scalar(2.0 / (2.0 + tau))
            .add_scalar(1.0)
            .sqrt();
        let f = (s.clone().mul_scalar(2.0) / inner.add_scalar(1.0))
            .square()
            .sub_scalar(1.0);
        let lr = (b.clone() * f.clone()).mul_scalar(l2).add_scalar(1.0)
            / lq.clone().mul_scalar(l2 / lp).add_scalar(1.0);

        let pull = (q.clone() / lq).mul_scalar(lp).add_scalar(l2) * a.clone().mul_scalar(0.5);
        let push = m.mul_scalar(param.eta * xi) / h.clamp_min(TINY).sqrt();
        let damping = (s * lr * f).mul_scalar(param.eta).add_scalar(1.0);
        let p = grouped(p);
        let new = p.clone() - (p * pull + grouped(push)) / damping;

        let b = b.clone() + a * (q.div_scalar(root_k) + b);
        state.b = b.reshape([param.groups]);
        new.reshape([n])
    }
}

/// Steps of noise behind the claim.
const STEPS: usize = 400;

/// Root mean square, over `eta`, of a matrix of 64 x 64 after steps on pure noise, from a start at
/// `scale` times `eta`.
fn final_scale(scale: f64) -> Result<f64, SubmissionError> {
    let param = AmosParam {
        eta: (2.0f64 / 64.0).sqrt(),
        groups: 1,
        size: 64 * 64,
    };
    let rule = Amos {
        beta1: 0.95,
        beta2: 0.999,
        l2: 0.0028,
    };
    let root = (param.size as f64).sqrt();
    let steps = 0.65 * STEPS as f64;
    let xi = (2.0 * (tau(root) + std::f64::consts::SQRT_2 - 1.0) / steps).sqrt();
    // A linear congruential generator is enough for noise, and always the same.
    let mut x = 7u64;
    let mut next = || {
        x = x
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut noise = || {
        let values: Vec<f32> = (0..param.size).map(|_| next()).collect();
        Tensor::<1>::from_data(TensorData::new(values, [param.size]), &Device::flex())
    };
    // Uniform in -1..1 has a root mean square of 1 / sqrt(3).
    let mut p = noise().mul_scalar(scale * param.eta * 3f64.sqrt());
    let mut state = AmosState::start(&param, p.clone());
    for time in 1..=STEPS {
        p = rule.step(xi, time, &param, p, noise(), &mut state);
    }
    let square = f64::from(p.square().mean().into_scalar::<f32>());
    Ok(square.sqrt() / param.eta)
}

/// The submission's claim on scales.
pub(super) fn scales_are_reached() -> Result<(bool, String), SubmissionError> {
    let (small, large) = (final_scale(0.01)?, final_scale(20.0)?);
    let holds = [small, large].iter().all(|x| (0.4..2.5).contains(x));
    Ok((holds, format!("{small:.2} from 0.01, {large:.2} from 20")))
}

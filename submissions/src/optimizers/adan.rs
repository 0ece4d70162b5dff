//! Adan: Adam with Nesterov's look-ahead as an average of gradient differences.
//!
//! # Rule
//! With gradient `g`, the one before it `h` (at the first step `g` itself), step `t` from 1,
//! parameter `p`, averages `m`, `d` and `n` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! d = beta2 d + (1 - beta2) (g - h)
//! n = beta3 n + (1 - beta3) (g + beta2 (g - h))^2
//! u = (m / (1 - beta1^t) + beta2 d / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t)) + epsilon)
//! p = (p - lr u) / (1 + lr wd)           (proximal; with no_prox = 1: (1 - lr wd) p - lr u)
//! ```
//! The update is burn's own `Adan`, which computes exactly this. The betas say how much is kept; the
//! paper's are their complements. All parameters alike. Schedule: linear warm-up, cosine decay
//! ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 5e-4 to 5e-2, logarithmic |
//! | `beta1` | 0.98 | complement 0.01 to 0.1, logarithmic |
//! | `beta2` | 0.92 | complement 0.02 to 0.2, logarithmic |
//! | `beta3` | 0.99 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.02 | 5e-3 to 1, logarithmic |
//! | `no_prox` | 0 | fixed; 1 for AdamW's form of the decay |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The rates are AdamW's, moved up: the authors advise 5 to 10 times AdamW's. Betas and decay lie
//! around the authors' settings.
//!
//! # State
//! 16 bytes per parameter: `m`, `d`, `n` and the previous gradient in 32 bits.
//!
//! # Sources
//! Xie et al., arXiv 2208.06677. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and the
//! authors' class, with both forms of decay (three steps).
//!
//! # What differs
//! The authors' optional clipping of the global norm is left out. burn computes betas and bias
//! corrections in 32 bits.

use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Adan, AdanConfig};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule, from `beta1`, `beta2`, `beta3`, `epsilon`, `weight_decay` and `no_prox` (0 or
/// else on).
pub fn rule(point: &Point) -> Result<Adan, SubmissionError> {
    Ok(AdanConfig::new()
        .with_beta_1(fraction(point, "beta1")? as f32)
        .with_beta_2(fraction(point, "beta2")? as f32)
        .with_beta_3(fraction(point, "beta3")? as f32)
        .with_epsilon(non_negative(point, "epsilon")? as f32)
        .with_weight_decay(non_negative(point, "weight_decay")? as f32)
        .with_no_prox(non_negative(point, "no_prox")? != 0.0)
        .build())
}

/// The submission `adan`.
#[derive(Debug, Clone, Copy)]
pub struct AdanSubmission;

impl Submission for AdanSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adan",
            summary: "Adam with an average of gradient differences, warm-up and cosine decay",
            paper: "arXiv 2208.06677",
            reference: "pytorch_optimizer 4.1.0 Adan",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 5e-4, 5e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.01, 0.1, 0.98)
            .one_minus_log_uniform("beta2", 0.02, 0.2, 0.92)
            .fixed("beta3", 0.99)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.02)
            .fixed("no_prox", 0.0)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(rule(&context.point)?, context)
    }
}

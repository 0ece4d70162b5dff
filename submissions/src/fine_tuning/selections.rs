//! Full fine-tuning, linear probe, BitFit and LN-tuning: which of the model's own parameters train.
//!
//! # Rule
//! AdamW under a cosine on the chosen parameters; the others are frozen, so that no gradient is computed
//! and no state held for them. `full_finetuning` trains everything, `linear_probe` the head, `bitfit`
//! biases and shifts of norms, `ln_tuning` scales and shifts of norms; the last two train the head too
//! where it has new outputs to learn.
//!
//! # Hyperparameters
//! `learning_rate`: 1e-5 to 1e-2 for all parameters (default 1e-3), 2e-4 to 0.1 for a few (1e-2). Fixed:
//! `beta1` 0.9, `beta2` 0.999, `epsilon` 1e-8, `weight_decay` 0, `warmup_factor` 0.05, `label_smoothing`
//! 0, `dropout` 0.
//!
//! # State
//! 8 bytes for each trained element.
//!
//! # Sources
//! Full fine-tuning is AdamW's own (arXiv 1711.05101). Linear probes: Alain and Bengio, arXiv 1610.01644.
//! BitFit: Ben Zaken, Ravfogel and Goldberg, arXiv 2106.10199. LN-tuning: Qi et al., arXiv 2211.08682.

use crate::adapters::selection::Selection;
use crate::adapters::{FINETUNE, rates};
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// A choice of parameters as a submission.
pub struct Choosing {
    selection: Selection,
    description: Description,
    learning_rate: [f64; 3],
}

impl Choosing {
    const fn new(
        selection: Selection,
        name: &'static str,
        summary: &'static str,
        paper: &'static str,
    ) -> Self {
        Self {
            selection,
            description: Description {
                name,
                summary,
                paper,
                reference: "the paper's statement",
                ..FINETUNE
            },
            learning_rate: [2e-4, 0.1, 1e-2],
        }
    }

    /// All parameters.
    pub const fn full() -> Self {
        let learning_rate = [1e-5, 1e-2, 1e-3];
        let summary = "All weights by AdamW";
        Self {
            learning_rate,
            ..Self::new(
                Selection::Full,
                "full_finetuning",
                summary,
                "arXiv 1711.05101",
            )
        }
    }

    /// The head.
    pub const fn linear_probe() -> Self {
        let summary = "The head alone, on frozen features";
        Self::new(
            Selection::LinearProbe,
            "linear_probe",
            summary,
            "arXiv 1610.01644",
        )
    }

    /// Biases.
    pub const fn bitfit() -> Self {
        let summary = "Biases alone";
        Self::new(Selection::BitFit, "bitfit", summary, "arXiv 2106.10199")
    }

    /// Norms.
    pub const fn ln_tuning() -> Self {
        let summary = "Scales and shifts of the norms alone";
        Self::new(Selection::Norms, "ln_tuning", summary, "arXiv 2211.08682")
    }
}

impl Submission for Choosing {
    fn describe(&self) -> Description {
        self.description.clone()
    }

    fn search_space(&self) -> SearchSpace {
        rates(self.learning_rate)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let keeps = self.selection.keeps(&trainee.params(), trainee.new_head());
        trainee.set_trainable(|p| p.trainable && keeps.get(p.index) == Some(&true));
        ScheduledOptimizer::cosine(Fused(AdamW::from_point(&context.point)?), context)
    }
}

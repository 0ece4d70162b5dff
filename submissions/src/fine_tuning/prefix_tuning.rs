//! Prefix tuning: trained keys and values in front of those of every attention.
//!
//! `softmax(Q [P_k; K]^T) [P_v; V]`, with `P_k` and `P_v` of shape `[tokens, width]` in each attention. They
//! begin normal with deviation 0.02. The rest: [`super::prompts`].
//!
//! # Hyperparameters
//! `learning_rate` 2e-3 to 0.2 (default 2e-2) and `tokens` (20, 10, 40); the rest as all adapters
//! ([`crate::adapters::Rider`]).
//!
//! # Sources
//! Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv 2101.00190; Hugging
//! Face PEFT 0.21.2, `tuners/prefix_tuning`, without `prefix_projection`. Differences: no small network
//! behind the prefixes while they train, and PEFT's start has a deviation of 1, which drowns the keys of a
//! small model.

use super::prompts::{TOKENS, tokenless};
use crate::adapters::{Draw, FINETUNE, Race, attach, rates};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Adapter, Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Tokens, Trainee,
};

/// Deviation of the prefixes at the start.
const DEVIATION: f64 = 0.02;

/// The submission.
pub struct PrefixTuning;

impl Submission for PrefixTuning {
    fn describe(&self) -> Description {
        Description {
            name: "prefix_tuning",
            summary: "Trained keys and values in front of those of every attention",
            paper: "arXiv 2101.00190",
            reference: "Hugging Face PEFT 0.21.2",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        rates(Race::NUMBERS).choice("tokens", TOKENS, TOKENS[0])
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let count = whole(&context.point, "tokens")?;
        let device = trainee.device();
        let mut adapters = BTreeMap::new();
        for param in trainee.params().iter() {
            let ends = matches!(param.tokens, Some(Tokens::Keys | Tokens::Values));
            let (true, Some(width)) = (ends, param.shape.get(1)) else {
                continue;
            };
            let mut draw = Draw::of(context.seed, param.index);
            let prefix = draw.normal([count, *width], DEVIATION, &device);
            adapters.insert(param.index, Adapter::in_front(prefix));
        }
        if adapters.is_empty() {
            return Err(tokenless());
        }
        attach(trainee, adapters, |_| false)?;
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

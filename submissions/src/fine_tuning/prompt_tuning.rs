//! Prompt tuning: trained vectors in front of the embedded input.
//!
//! `[P; E]` in the place of the embedded tokens `E`, with `P` of shape `[tokens, width]`. `P` begins with
//! entries of the embedding, drawn at random. The rest: [`super::prompts`].
//!
//! # Hyperparameters
//! `learning_rate` 2e-3 to 0.2 (default 2e-2) and `tokens` (20, 10, 40); the rest as all adapters
//! ([`crate::adapters::Rider`]). Prompts are sensitive to the learning rate.
//!
//! # Sources
//! Lester, Al-Rfou and Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv
//! 2104.08691; Hugging Face PEFT 0.21.2, `tuners/prompt_tuning`, with `SAMPLE_VOCAB`. Differences: the
//! prompt has no positions; in front of patches it starts as in visual prompt tuning (arXiv 2203.12119),
//! before the first block alone.

use super::prompts::{TOKENS, first, input};
use crate::adapters::{Draw, FINETUNE, Race, attach, rates};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Adapter, Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission.
pub struct PromptTuning;

impl Submission for PromptTuning {
    fn describe(&self) -> Description {
        Description {
            name: "prompt_tuning",
            summary: "Trained vectors in front of the embedded input",
            paper: "arXiv 2104.08691",
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
        let (input, width) = input(trainee)?;
        let device = trainee.device();
        let mut draw = Draw::of(context.seed, input.index);
        let prompt = first(trainee, &input, [count, width], &mut draw, &device);
        let adapters = BTreeMap::from([(input.index, Adapter::in_front(prompt))]);
        attach(trainee, adapters, |_| false)?;
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

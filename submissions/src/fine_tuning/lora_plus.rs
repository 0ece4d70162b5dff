//! LoRA+: LoRA whose second matrix learns faster than the first.
//!
//! # Rule
//! [`crate::adapters::lora`] on every hidden matrix; AdamW with the scheduled rate on `A`, and with
//! `ratio` times that rate on `B`, which starts at zero ([`lora_plus`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-3, of `A` | 1e-4 to 1e-2, logarithmic |
//! | `ratio` | 16 | 4, 8, 16 |
//! | `rank` | 8 | 4, 8, 16 |
//!
//! The rest as all adapters ([`crate::adapters::Rider`]).
//!
//! # State
//! 8 bytes for each trained element.
//!
//! # Sources
//! Hayou, Ghosh and Yu, arXiv 2402.12354; Hugging Face PEFT 0.21.2, `optimizers/loraplus.py`.

use super::faster::two_rates;
use crate::adapters::lora::Lora;
use crate::adapters::selection::lora_plus;
use crate::adapters::{Added, FINETUNE, Race, adapt, factors, rates};
use crate::common::{positive, whole};
use crate::flat::bytes_per_entry;
use crate::scheduled::ScheduledOptimizer;
use std::collections::BTreeSet;
use std::sync::Arc;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission.
pub struct LoraPlus;

impl Submission for LoraPlus {
    fn describe(&self) -> Description {
        Description {
            name: "lora_plus",
            summary: "LoRA whose second matrix learns faster than the first",
            paper: "arXiv 2402.12354",
            reference: "Hugging Face PEFT 0.21.2",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        let (rank, ranks) = Race::RANK;
        rates([1e-4, 1e-2, 1e-3])
            .choice("ratio", &[16.0, 4.0, 8.0], 16.0)
            .choice(rank, ranks, 8.0)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let ratio = positive(&context.point, "ratio")?;
        let size = whole(&context.point, "rank")?;
        let started = adapt(trainee, context.seed, |shape, _| {
            Ok(Arc::new(Added(Lora::plain(shape, size, 2.0))))
        })?;
        let rates = started.iter().flat_map(|s| lora_plus(&s.adapted, ratio));
        let factors = factors(&trainee.params());
        let faster = factors.iter().zip(rates).filter(|(_, rate)| *rate != 1.0);
        let faster: BTreeSet<usize> = faster.map(|(p, _)| p.index).collect();
        let optimizer = two_rates(trainee, &context.point, &faster, ratio)?;
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

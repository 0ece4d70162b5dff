//! Velodrome's submissions: training algorithms, each with its search space and its manual.
//!
//! One file per submission, grouped by what it changes: [`optimizers`] (the update rule), [`adapters`]
//! (factors beside frozen weights), [`fine_tuning`] (which pretrained weights train),
//! [`averaging`] (the weights that are evaluated), [`compression`] (how the state is stored),
//! [`objectives`] (what is minimised), [`self_tuning`] (what learns hyperparameters or reparameterisations beside the weights).
//! [`schedules`] holds learning rates as functions of the step, [`fused`] what turns an elementwise
//! rule into a submission, [`scheduled`] the algorithm that most optimizers race in, [`flat`] state
//! that algorithms hold themselves, [`linalg`] decompositions of matrices, and [`common`] what the
//! files would otherwise repeat. The update rules are public, so that a submission of your own can
//! build on them.
//!
//! To add a submission: write its file (the module documentation is its manual: rule,
//! hyperparameters, state, sources, differences), and add one line to the table in [`all`].
#![recursion_limit = "256"]

// `#[derive(RecordState)]` refers to `Vec` by `alloc`.
extern crate alloc;

pub mod adapters;
pub mod averaging;
pub mod bowl;
pub mod common;
pub mod compression;
pub mod fine_tuning;
pub mod flat;
pub mod fused;
pub mod linalg;
pub mod objectives;
pub mod optimizers;
pub mod references;
pub mod restarts;
pub mod scheduled;
pub mod schedules;
pub mod self_tuning;
pub mod subspaces;

// `#[derive(RecordState)]` refers to these by `crate::`.
pub use burn::optim::{RecordState, StateSink, StateSource, join_index, join_path};

use adapters::{METHODS, Rider};
use averaging::lawa::{LawaEmaSubmission, LawaQueueSubmission};
use averaging::schedule_free_adamw::ScheduleFreeAdamWSubmission;
use averaging::schedule_free_adamw_algoperf::ScheduleFreeAdamWAlgoPerfSubmission;
use averaging::schedule_free_adamw_paper::ScheduleFreeAdamWPaperSubmission;
use averaging::schedule_free_prodigy::ScheduleFreeProdigySubmission;
use compression::adamw_8bit::AdamW8bitSubmission;
use compression::lion_8bit::Lion8bitSubmission;
use compression::momentum_8bit::Momentum8bitSubmission;
use fine_tuning::adalora::AdaLoraSubmission;
use fine_tuning::compacter::COMPACTER;
use fine_tuning::diffora::DiffoRa;
use fine_tuning::ept::Ept;
use fine_tuning::eva::Eva;
use fine_tuning::half_finetuning::HalfFinetuning;
use fine_tuning::houlsby::HOULSBY;
use fine_tuning::iaa::IAA;
use fine_tuning::lora_plus::LoraPlus;
use fine_tuning::mosa::MOSA;
use fine_tuning::parallel_adapter::PARALLEL_ADAPTER;
use fine_tuning::pfeiffer::PFEIFFER;
use fine_tuning::prefix_tuning::PrefixTuning;
use fine_tuning::prompt_tuning::PromptTuning;
use fine_tuning::selections::Choosing;
use fused::Racing;
use objectives::aldr_kl::AldrKlSubmission;
use objectives::ldr_kl::LdrKlSubmission;
use objectives::loss_reweighting::LossReweightingSubmission;
use optimizers::adabelief::AdaBelief;
use optimizers::adafactor::AdafactorSubmission;
use optimizers::adamg::AdamG;
use optimizers::adamw::AdamW;
use optimizers::adan::Adan;
use optimizers::ademamix::AdEmaMix;
use optimizers::amos::AmosSubmission;
use optimizers::caspr::CasprSubmission;
use optimizers::galore::GaLoreSubmission;
use optimizers::generalized_adam::GeneralizedAdam;
use optimizers::heavy_ball::HeavyBall;
use optimizers::lamb::LambSubmission;
use optimizers::lion::Lion;
use optimizers::lion_k::Riding;
use optimizers::lion_k::group::Group;
use optimizers::lion_k::huber::LionHuber;
use optimizers::lion_k::l2::L2;
use optimizers::lion_k::nuclear::Nuclear;
use optimizers::lion_k::shrink::LionShrink;
use optimizers::lion_k::top::Top;
use optimizers::mars::MarsSubmission;
use optimizers::muon::MuonSubmission;
use optimizers::nadamp::NadamP;
use optimizers::nadamw::NAdamW;
use optimizers::nesterov::Nesterov;
use optimizers::prodigy::ProdigySubmission;
use optimizers::radam::RAdam;
use optimizers::sam::SamSubmission;
use optimizers::shampoo::ShampooSubmission;
use optimizers::soap::SoapSubmission;
use optimizers::sophia::SophiaSubmission;
use restarts::nadamw_sequential::NAdamWSequentialSubmission;
use schedules::cyclic_lr::CyclicLrSubmission;
use self_tuning::stn::StnSubmission;
use self_tuning::weight_compander::WeightCompanderSubmission;
use std::sync::Arc;
use subspaces::frugal::FrugalSubmission;
use subspaces::frugal_columns::FrugalColumnsSubmission;
use subspaces::lisa::LisaSubmission;
use velodrome_harness::contract::Submission;
use velodrome_harness::registry::{Registry, RegistryError};

/// The table of this crate's submissions, in the order in which they are listed.
pub fn all() -> Vec<Arc<dyn Submission>> {
    let mut all = from_scratch();
    all.extend(fine_tuning());
    all
}

/// Those that fine-tune: with the model's own parameters, with adapters that have a training loop of
/// their own, and with every other method of the table of adapters.
pub fn fine_tuning() -> Vec<Arc<dyn Submission>> {
    let mut all: Vec<Arc<dyn Submission>> = vec![
        Arc::new(Choosing::full()),
        Arc::new(Choosing::linear_probe()),
        Arc::new(HalfFinetuning),
        Arc::new(Choosing::bitfit()),
        Arc::new(Choosing::ln_tuning()),
        Arc::new(LoraPlus),
        Arc::new(AdaLoraSubmission),
        Arc::new(Eva),
        Arc::new(DiffoRa),
        Arc::new(HOULSBY),
        Arc::new(PFEIFFER),
        Arc::new(PARALLEL_ADAPTER),
        Arc::new(COMPACTER),
        Arc::new(MOSA),
        Arc::new(IAA),
        Arc::new(PromptTuning),
        Arc::new(PrefixTuning),
        Arc::new(Ept),
    ];
    let riders = METHODS.iter().filter_map(Rider::of);
    all.extend(riders.map(|r| Arc::new(r) as Arc<dyn Submission>));
    all
}

/// Those that train from scratch.
pub fn from_scratch() -> Vec<Arc<dyn Submission>> {
    vec![
        Arc::new(Racing::<AdamW, 2>::new()),
        Arc::new(Racing::<NAdamW, 2>::new()),
        Arc::new(Racing::<Nesterov, 1>::new()),
        Arc::new(Racing::<HeavyBall, 1>::new()),
        Arc::new(Racing::<Lion, 1>::new()),
        Arc::new(Riding::<L2>::new()),
        Arc::new(Riding::<Group>::new()),
        Arc::new(Racing::<LionHuber, 1>::new()),
        Arc::new(Racing::<LionShrink, 1>::new()),
        Arc::new(Riding::<Top>::new()),
        Arc::new(Riding::<Nuclear>::new()),
        Arc::new(AdamW8bitSubmission),
        Arc::new(Lion8bitSubmission),
        Arc::new(Momentum8bitSubmission),
        Arc::new(FrugalSubmission),
        Arc::new(FrugalColumnsSubmission),
        Arc::new(LisaSubmission),
        Arc::new(ScheduleFreeAdamWSubmission),
        Arc::new(LambSubmission),
        Arc::new(Racing::<AdaBelief, 2>::new()),
        Arc::new(Racing::<RAdam, 2>::new()),
        Arc::new(Racing::<AdEmaMix, 3>::new()),
        Arc::new(Racing::<Adan, 4>::new()),
        Arc::new(MarsSubmission),
        Arc::new(AdafactorSubmission),
        Arc::new(MuonSubmission),
        Arc::new(ProdigySubmission),
        Arc::new(Racing::<AdamG, 3>::new()),
        Arc::new(AmosSubmission),
        Arc::new(ScheduleFreeAdamWPaperSubmission),
        Arc::new(ScheduleFreeAdamWAlgoPerfSubmission),
        Arc::new(ScheduleFreeProdigySubmission),
        Arc::new(LawaQueueSubmission),
        Arc::new(LawaEmaSubmission),
        Arc::new(SamSubmission),
        Arc::new(Racing::<GeneralizedAdam, 2>::new()),
        Arc::new(Racing::<NadamP, 2>::new()),
        Arc::new(CyclicLrSubmission),
        Arc::new(NAdamWSequentialSubmission),
        Arc::new(ShampooSubmission),
        Arc::new(CasprSubmission),
        Arc::new(SoapSubmission),
        Arc::new(GaLoreSubmission),
        Arc::new(SophiaSubmission),
        Arc::new(WeightCompanderSubmission),
        Arc::new(LossReweightingSubmission),
        Arc::new(LdrKlSubmission),
        Arc::new(AldrKlSubmission),
        Arc::new(StnSubmission),
    ]
}

/// Adds all submissions of this crate to `registry`. A name that is already taken is an error.
pub fn register(registry: &mut Registry) -> Result<(), RegistryError> {
    all()
        .into_iter()
        .try_for_each(|s| registry.add_submission(s))
}

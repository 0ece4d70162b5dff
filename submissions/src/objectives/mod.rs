//! Algorithms that change what is minimised: weights of examples, losses in the place of the
//! workload's own. Evaluations keep the workload's measures.

pub mod aldr_kl;
pub mod ldr_kl;
pub mod loss_reweighting;

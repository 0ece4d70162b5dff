//! The thing being trained, as a submission sees it. Everything here is on the clock, and every
//! pass is counted.

use super::adapter::Attach;
use super::batch::Batch;
use super::error::{ModelError, SubmissionError};
use super::gradients::Gradients;
use super::model::{Model, PassOutput, Snapshot};
use super::network::PassOptions;
use super::objective::{Objective, Substitution};
use super::params::{ParamInfo, ParamList};
use super::predictions::{Predictions, Seen, Weights};
use burn::module::ParamGroup;
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::tensor::{Device, Tensor};
use velodrome_results::Counters;
use velodrome_results::measures::Measures;

/// What [`Trainee::gradients`] yields.
#[derive(Debug)]
pub struct Gradient {
    /// The differentiated loss, shape `[1]`. Reading its value waits for the device.
    pub loss: Tensor<1>,
    /// Loss of each example, shape `[examples]`.
    pub losses: Tensor<1>,
    /// Gradients of the trainable parameters.
    pub gradients: Gradients,
}

/// What [`Trainee::gradients_through`] yields.
#[derive(Debug)]
pub struct SubstitutedGradient {
    /// Loss, losses and the gradients of the parameters' own values.
    pub pass: Gradient,
    /// Gradients of the auxiliary tensors, in their order; zero where the loss does not depend on one.
    pub auxiliary: Vec<Tensor<1>>,
}

impl From<PassOutput> for Gradient {
    fn from(output: PassOutput) -> Self {
        Self {
            loss: output.loss,
            losses: output.losses,
            gradients: output.gradients,
        }
    }
}

/// A model in a trial: what a submission may do with it.
pub struct Trainee {
    model: Box<dyn Model>,
    device: Device,
    seed: u64,
    counters: Counters,
    last_loss: Option<Tensor<1>>,
    new_head: bool,
    /// Whether this is the trainee that the harness gave a trial.
    sealed: bool,
}

impl Trainee {
    /// Wraps a model on `device` (with autodiff). `seed` drives what is random inside passes.
    pub fn new(model: Box<dyn Model>, device: Device, seed: u64) -> Self {
        Self {
            model,
            device,
            seed,
            counters: Counters::default(),
            last_loss: None,
            new_head: true,
            sealed: false,
        }
    }

    /// Marks the trainee of a trial, so that another one in its place is told from it.
    pub(crate) fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The model with everything that was attached to it, back again.
    pub fn into_model(self) -> Box<dyn Model> {
        self.model
    }

    /// Says whether the head has something to learn that the weights do not know yet; it has, unless
    /// this is called.
    pub fn with_new_head(mut self, new_head: bool) -> Self {
        self.new_head = new_head;
        self
    }

    /// Whether the head has outputs to learn that the weights do not know yet. Fine-tuning that
    /// freezes the rest trains it then, besides what it trains anyway.
    pub fn new_head(&self) -> bool {
        self.new_head
    }

    /// The parameters, in the model's order.
    pub fn params(&self) -> ParamList {
        self.model.params().clone()
    }

    /// Number of trainable elements.
    pub fn trainable_parameters(&self) -> u64 {
        let params = self.model.params();
        params
            .iter()
            .filter(|p| p.trainable)
            .map(|p| p.len() as u64)
            .sum()
    }

    /// Number of elements of all parameters.
    pub fn parameters(&self) -> u64 {
        self.model.params().iter().map(|p| p.len() as u64).sum()
    }

    /// The device, without autodiff: where a submission makes its own tensors.
    pub fn device(&self) -> Device {
        self.device.clone().without_autodiff()
    }

    /// Loss and gradients of a batch. Counts its examples as work.
    pub fn gradients(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
    ) -> Result<Gradient, SubmissionError> {
        self.differentiate(batch, options, Objective::Loss, None)
            .map(Gradient::from)
    }

    /// Loss and gradients of a batch under weights that depend on the present losses: `weigh` sees
    /// one forward pass (without graph) and gives weights, which are constants of the gradient. Its
    /// weights of examples stand in the place of the options'. Counts its examples as work, once.
    pub fn gradients_weighted(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        mut weigh: impl FnMut(&Seen) -> Result<Weights, ModelError>,
    ) -> Result<Gradient, SubmissionError> {
        let objective = Objective::Weighted(&mut weigh);
        self.differentiate(batch, options, objective, None)
            .map(Gradient::from)
    }

    /// Gradients of the submission's own `objective`, a number of shape `[1]` that it makes from the
    /// predictions (with their graph; its own tensors enter by `Tensor::from_inner`). The losses are
    /// the workload's own; the options' weights are not used. Counts its examples as work.
    pub fn gradients_replaced(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        mut objective: impl FnMut(Predictions) -> Result<Tensor<1>, ModelError>,
    ) -> Result<Gradient, SubmissionError> {
        let objective = Objective::Replaced(&mut objective);
        self.differentiate(batch, options, objective, None)
            .map(Gradient::from)
    }

    /// Loss and gradients of a batch with each parameter's value replaced by what `value` makes of
    /// its flat value and the `auxiliary` tensors, by differentiable operations. The gradients are
    /// those of the parameters' own values and of the auxiliary tensors (flat, without graph). The
    /// parameters do not change. Counts its examples as work.
    pub fn gradients_through(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        auxiliary: &[Tensor<1>],
        mut value: impl FnMut(&ParamInfo, Tensor<1>, &[Tensor<1>]) -> Tensor<1>,
    ) -> Result<SubstitutedGradient, SubmissionError> {
        let substitution = Substitution {
            auxiliary,
            value: &mut value,
        };
        let mut output = self.differentiate(batch, options, Objective::Loss, Some(substitution))?;
        Ok(SubstitutedGradient {
            auxiliary: std::mem::take(&mut output.auxiliary),
            pass: output.into(),
        })
    }

    /// One counted pass.
    fn differentiate(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        objective: Objective<'_>,
        substitution: Option<Substitution<'_>>,
    ) -> Result<PassOutput, SubmissionError> {
        // Reseeded before each pass from what a checkpoint restores, since burn's generator is
        // one per process and cannot be saved.
        self.device
            .seed(crate::seed::mix(self.seed, self.counters.forward_passes));
        let output = self
            .model
            .differentiate(batch, options, objective, substitution)?;
        self.counters.forward_passes += 1;
        self.counters.backward_passes += 1;
        self.counters.work += batch.len() as u64;
        self.counters.tokens += batch.units() as u64;
        self.last_loss = Some(output.loss.clone());
        Ok(output)
    }

    /// Loss of each example without gradients, shape `[examples]`, in evaluation mode. Counts a
    /// forward pass.
    pub fn losses(&mut self, batch: &Batch) -> Result<Tensor<1>, SubmissionError> {
        self.counters.forward_passes += 1;
        Ok(self.model.losses(batch, false)?)
    }

    /// Updates the running normalisation statistics at the current weights by a forward pass in
    /// training mode (without dropout). Counts a forward pass.
    pub fn refresh_norm(&mut self, batch: &Batch) -> Result<(), SubmissionError> {
        self.counters.forward_passes += 1;
        self.model.losses(batch, true)?;
        Ok(())
    }

    /// Whether the model keeps running normalisation statistics, so that a submission that
    /// evaluates at other weights than it trains at knows that [`Self::refresh_norm`] matters.
    pub fn has_norm_statistics(&self) -> bool {
        self.model.snapshot().0.len() > self.model.params().len()
    }

    /// One step of a burn optimizer over the whole model.
    pub fn step(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: impl Into<ModuleLearningRate>,
        gradients: Gradients,
    ) {
        self.model
            .step(optimizer, learning_rate.into(), gradients.into_burn());
    }

    /// A burn parameter group of the parameters that `choose` picks, for
    /// `ModuleOptimizer::with_group`.
    pub fn group(&self, choose: impl Fn(&ParamInfo) -> bool) -> ParamGroup {
        let ids = self
            .model
            .params()
            .iter()
            .filter(|p| choose(p))
            .map(ParamInfo::id);
        ParamGroup::from_ids(ids.collect())
    }

    /// Replaces each parameter by what `f` makes of its flat value (perturb, average, swap, mask).
    pub fn map(&mut self, mut f: impl FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>) {
        self.model.map(&mut f);
    }

    /// The flat values of all parameters, in order.
    pub fn values(&self) -> Vec<Tensor<1>> {
        let mut values = Vec::new();
        self.model.visit(&mut |_, flat| values.push(flat));
        values
    }

    /// Puts flat `values` into the parameters, in order; as many as there are parameters.
    pub fn set_values(&mut self, values: &[Tensor<1>]) -> Result<(), SubmissionError> {
        if values.len() != self.model.params().len() {
            return Err(SubmissionError::Other(format!(
                "set_values: {} tensors for {} parameters",
                values.len(),
                self.model.params().len()
            )));
        }
        self.model
            .map(&mut |info, old| values.get(info.index).cloned().unwrap_or(old));
        Ok(())
    }

    /// All values, normalisation statistics included.
    pub fn snapshot(&self) -> Snapshot {
        self.model.snapshot()
    }

    /// Puts a snapshot back.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SubmissionError> {
        Ok(self.model.restore(snapshot)?)
    }

    /// Chooses which parameters are trainable; the others are frozen.
    pub fn set_trainable(&mut self, mut keep: impl FnMut(&ParamInfo) -> bool) {
        self.model.set_trainable(&mut keep);
    }

    /// Attaches weight adapters. Their factors become parameters; ask [`Self::params`] again.
    pub fn attach(&mut self, attach: &mut Attach<'_>) -> Result<(), SubmissionError> {
        Ok(self.model.attach(attach)?)
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The loss of the last pass since this was asked.
    pub(crate) fn take_last_loss(&mut self) -> Option<Tensor<1>> {
        self.last_loss.take()
    }

    /// The evaluation face: for the harness alone.
    pub(crate) fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<Measures, ModelError> {
        self.model.evaluate(batches)
    }

    pub(crate) fn save(&self) -> Result<Vec<u8>, ModelError> {
        self.model.save()
    }

    pub(crate) fn load(&mut self, bytes: &[u8], counters: Counters) -> Result<(), ModelError> {
        self.counters = counters;
        self.model.load(bytes)
    }
}

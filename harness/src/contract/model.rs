//! A burn module behind an object-safe face.

use super::adapter::{Adapter, Attach};
use super::batch::Batch;
use super::error::ModelError;
use super::gradients::Gradients;
use super::network::{Network, Pass, PassOptions};
use super::objective::{Objective, Substitution, weighted_mean, weighted_units};
use super::params::{ParamInfo, ParamList};
use super::predictions::{Seen, UnitLosses, Weights};
use super::walk::{Collect, Freeze, Show, Substitute, Values, info_of};
use burn::module::ParamId;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Tensor};
use std::sync::Arc;
use velodrome_results::measures::Measures;

/// The values of all parameters and buffers at one moment. Cheap to take: tensors are shared
/// until one side changes them.
#[derive(Debug, Clone)]
pub struct Snapshot(pub(super) Vec<Tensor<1>>);

/// What one training pass yields.
pub struct PassOutput {
    /// Loss of each example, shape `[examples]`, without graph.
    pub losses: Tensor<1>,
    /// The loss that was differentiated, shape `[1]`, without graph.
    pub loss: Tensor<1>,
    /// Gradients of the trainable parameters.
    pub gradients: Gradients,
    /// Gradients of a substitution's auxiliary tensors, in their order.
    pub auxiliary: Vec<Tensor<1>>,
}

/// A model, whatever its type. Implemented by [`Trained`]; the harness wraps it in a
/// [`Trainee`](super::Trainee) before a submission sees it.
pub trait Model: Send {
    /// The parameters, in order.
    fn params(&self) -> &ParamList;

    /// Names of the parameters in order, with dots, as the model's code has them: for files that other
    /// programs read. Submissions do not see them.
    fn names(&self) -> &[String];

    /// Forward and backward over one batch: of the mean loss, at the parameters.
    fn pass(&mut self, batch: &Batch, options: &PassOptions) -> Result<PassOutput, ModelError> {
        self.differentiate(batch, options, Objective::Loss, None)
    }

    /// Forward and backward over one batch: of `objective`, at the parameters or at what stands in
    /// for them.
    fn differentiate(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        objective: Objective<'_>,
        substitution: Option<Substitution<'_>>,
    ) -> Result<PassOutput, ModelError>;

    /// Forward alone: the loss of each example, shape `[examples]`. In training mode (batch
    /// statistics) when `update_norm` is set, which also updates the running statistics;
    /// in evaluation mode otherwise.
    fn losses(&mut self, batch: &Batch, update_norm: bool) -> Result<Tensor<1>, ModelError>;

    /// Applies a burn optimizer.
    fn step(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    );

    /// Replaces each parameter (not buffers) by what `f` makes of it; flat values, row-major.
    fn map(&mut self, f: &mut dyn FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>);

    /// Shows each parameter (not buffers), flat, without graph.
    fn visit(&self, f: &mut dyn FnMut(&ParamInfo, Tensor<1>));

    /// All values, buffers included.
    fn snapshot(&self) -> Snapshot;

    /// Puts back what [`Self::snapshot`] took.
    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), ModelError>;

    /// Freezes or frees parameters: `keep(info)` says which stay trainable.
    fn set_trainable(&mut self, keep: &mut dyn FnMut(&ParamInfo) -> bool);

    /// Attaches adapters; see [`Attach`]. The parameter list grows by the adapters' factors.
    fn attach(&mut self, attach: &mut Attach<'_>) -> Result<(), ModelError>;

    /// Measures over a split, on a copy without autodiff and in evaluation mode.
    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError>;

    /// All values as bytes (burnpack), for a checkpoint.
    fn save(&self) -> Result<Vec<u8>, ModelError>;

    /// Loads what [`Self::save`] wrote from a model of the same shape.
    fn load(&mut self, bytes: &[u8]) -> Result<(), ModelError>;
}

/// A [`Network`] made into a [`Model`].
pub struct Trained<N: Network> {
    /// `None` only while a consuming operation of burn runs.
    network: Option<N>,
    params: ParamList,
    names: Vec<String>,
}

impl<N: Network> Trained<N> {
    /// Takes a network built on an autodiff device. All lazy parameters are initialised here, so
    /// that the seed set before the call is the one that counts, and identities are renumbered in
    /// order, so that they are the same in every process.
    pub fn new(network: N) -> Self {
        let mut collect = Collect::<N>::default();
        let network = network.map(&mut collect);
        Self {
            network: Some(network),
            params: collect.params.into(),
            names: collect.names,
        }
    }

    fn network(&self) -> Result<&N, ModelError> {
        self.network
            .as_ref()
            .ok_or_else(|| ModelError::Compute("the model was lost in a failed operation".into()))
    }

    fn replace(&mut self, f: impl FnOnce(N) -> N) {
        self.network = self.network.take().map(f);
    }

    fn renumber(&mut self) {
        let mut collect = Collect::<N>::default();
        self.replace(|n| n.map(&mut collect));
        self.params = collect.params.into();
        self.names = collect.names;
    }
}

impl<N: Network> Model for Trained<N> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn params(&self) -> &ParamList {
        &self.params
    }

    fn differentiate(
        &mut self,
        batch: &Batch,
        options: &PassOptions,
        objective: Objective<'_>,
        substitution: Option<Substitution<'_>>,
    ) -> Result<PassOutput, ModelError> {
        let network = self.network()?;
        let mut pass = Pass::with(options);
        let output = match substitution {
            None => {
                let (losses, loss) = forward(network, batch, options, objective, &mut pass)?;
                let detached = loss.clone().inner();
                let gradients = GradientsParams::from_grads(loss.backward(), network);
                PassOutput {
                    losses,
                    loss: detached,
                    gradients: Gradients::new(gradients, self.params.clone()),
                    auxiliary: Vec::new(),
                }
            }
            Some(substitution) => {
                let leaves = Leaves::new(network, &self.params, substitution)?;
                let (losses, loss) =
                    forward(&leaves.network, batch, options, objective, &mut pass)?;
                leaves.backward(losses, loss, &self.params)
            }
        };
        if options.update_norm {
            let statistics = pass.take_norm();
            if !statistics.is_empty() {
                self.replace(|n| n.update_norm(statistics));
            }
        }
        Ok(output)
    }

    fn losses(&mut self, batch: &Batch, update_norm: bool) -> Result<Tensor<1>, ModelError> {
        let valid = self.network()?.valid();
        let mut pass = if update_norm {
            Pass::training(&PassOptions {
                dropout: Some(0.0),
                ..PassOptions::default()
            })
        } else {
            Pass::evaluation()
        };
        let losses = valid.losses(batch, &mut pass)?;
        let statistics = pass.take_norm();
        if update_norm && !statistics.is_empty() {
            self.replace(|n| n.update_norm(statistics));
        }
        Ok(losses)
    }

    fn step(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) {
        self.replace(|n| optimizer.step(lr, n, gradients));
    }

    fn map(&mut self, f: &mut dyn FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>) {
        let params = self.params.clone();
        let mut mapper = Values {
            each: &mut |id, flat| match info_of(&params, id) {
                Some(info) => f(info, flat),
                None => flat,
            },
        };
        self.replace(|n| n.map(&mut mapper));
    }

    fn visit(&self, f: &mut dyn FnMut(&ParamInfo, Tensor<1>)) {
        if let Some(network) = &self.network {
            network.visit(&mut Show {
                each: &mut |id, flat| {
                    if let Some(info) = info_of(&self.params, id) {
                        f(info, flat);
                    }
                },
            });
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut values = Vec::new();
        if let Some(network) = &self.network {
            network.visit(&mut Show {
                each: &mut |_, flat| values.push(flat),
            });
        }
        Snapshot(values)
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), ModelError> {
        let mut values = snapshot.0.iter();
        let mut fits = true;
        let mut mapper = Values {
            each: &mut |_, flat| match values.next() {
                Some(saved) if saved.dims() == flat.dims() => saved.clone(),
                _ => {
                    fits = false;
                    flat
                }
            },
        };
        self.replace(|n| n.map(&mut mapper));
        if fits && values.next().is_none() {
            Ok(())
        } else {
            Err(ModelError::Load(
                "the snapshot is of a model with other parameters".into(),
            ))
        }
    }

    fn set_trainable(&mut self, keep: &mut dyn FnMut(&ParamInfo) -> bool) {
        let params = self.params.clone();
        let mut freeze = Freeze {
            keep: &mut |id| info_of(&params, id).is_some_and(&mut *keep),
        };
        self.replace(|n| n.map(&mut freeze));
        self.renumber();
    }

    fn attach(&mut self, attach: &mut Attach<'_>) -> Result<(), ModelError> {
        let params = self.params.clone();
        let mut choose = |id: ParamId, flat: Tensor<1>| -> Option<Adapter> {
            info_of(&params, id).and_then(|info| attach(info, flat))
        };
        let network = self
            .network
            .take()
            .ok_or_else(|| ModelError::Compute("the model was lost".into()))?;
        self.network = Some(network.apply_reparameterization(super::adapter::Attacher {
            choose: &mut choose,
        }));
        self.renumber();
        Ok(())
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        self.network()?.valid().evaluate(batches)
    }

    fn save(&self) -> Result<Vec<u8>, ModelError> {
        let bytes = self
            .network()?
            .valid()
            .into_record()
            .into_bytes()
            .map_err(|e| ModelError::Compute(e.to_string()))?;
        Ok(bytes.to_vec())
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()))
            .map_err(|e| ModelError::Load(e.to_string()))?;
        let network = self
            .network
            .take()
            .ok_or_else(|| ModelError::Compute("the model was lost".into()))?;
        let network = network
            .try_load_record(record)
            .map_err(|e| ModelError::Load(e.to_string()))?;
        self.network = Some(network);
        Ok(())
    }
}

/// The losses of the examples (without graph) and the number to differentiate.
fn forward<N: Network>(
    network: &N,
    batch: &Batch,
    options: &PassOptions,
    objective: Objective<'_>,
    pass: &mut Pass,
) -> Result<(Tensor<1>, Tensor<1>), ModelError> {
    match (objective, &options.unit_weights) {
        (Objective::Loss, None) => {
            let losses = network.losses(batch, pass)?;
            let loss = weighted_mean(losses.clone(), options.weights.as_ref())?;
            Ok((losses.inner(), loss))
        }
        (Objective::Loss, Some(unit_weights)) => {
            let units = network.unit_losses(batch, pass)?;
            let loss = weighted_units(&units, unit_weights, options)?;
            Ok((units.plain().per_example(), loss))
        }
        (Objective::Weighted(weigh), _) => {
            let (losses, units, seen) = finest(network, batch, pass)?;
            let loss = match weigh(&seen)? {
                Weights::Examples(weights) => weighted_mean(losses, Some(&weights))?,
                Weights::Units(weights) => {
                    let units = units.ok_or(ModelError::Unsupported("losses of units"))?;
                    weighted_units(&units, &weights, options)?
                }
            };
            Ok((seen.losses, loss))
        }
        (Objective::Replaced(replace), _) => {
            let predictions = network.predictions(batch, pass)?;
            // Outside the graph, of which this pass differentiates another end.
            let losses = predictions.plain().unit_losses().per_example();
            Ok((losses, replace(predictions)?))
        }
    }
}

/// Losses with their graph, as fine as the network gives them.
fn finest<N: Network>(
    network: &N,
    batch: &Batch,
    pass: &mut Pass,
) -> Result<(Tensor<1>, Option<UnitLosses>, Seen), ModelError> {
    match network.predictions(batch, pass) {
        Ok(predictions) => {
            let units = predictions.unit_losses();
            let seen = Seen::of_predictions(&predictions, &units);
            return Ok((units.per_example(), Some(units), seen));
        }
        Err(ModelError::Unsupported(_)) => {}
        Err(other) => return Err(other),
    }
    match network.unit_losses(batch, pass) {
        Ok(units) => {
            let seen = Seen::of_units(&units);
            Ok((units.per_example(), Some(units), seen))
        }
        Err(ModelError::Unsupported(_)) => {
            let losses = network.losses(batch, pass)?;
            let seen = Seen::of_losses(losses.clone());
            Ok((losses, None, seen))
        }
        Err(other) => Err(other),
    }
}

/// A network whose parameters are functions of the leaves of a graph.
struct Leaves<N> {
    network: N,
    /// By parameter.
    parameters: Vec<Option<Tensor<1>>>,
    auxiliary: Vec<Tensor<1>>,
}

impl<N: Network> Leaves<N> {
    fn new(
        network: &N,
        params: &ParamList,
        substitution: Substitution<'_>,
    ) -> Result<Self, ModelError> {
        let auxiliary: Vec<Tensor<1>> = substitution
            .auxiliary
            .iter()
            .map(|t| Tensor::from_inner(t.clone()).require_grad())
            .collect();
        let mut parameters = vec![None; params.len()];
        let mut fits = true;
        let mut substitute = Substitute {
            each: &mut |id, flat| {
                let info = info_of(params, id)?;
                let leaf = Tensor::from_inner(flat).set_require_grad(info.trainable);
                let value = (substitution.value)(info, leaf.clone(), &auxiliary);
                if let (true, Some(slot)) = (info.trainable, parameters.get_mut(info.index)) {
                    *slot = Some(leaf.clone());
                }
                if value.dims()[0] == info.len() {
                    return Some(value);
                }
                fits = false;
                Some(leaf)
            },
        };
        let network = network.clone().map(&mut substitute);
        if fits {
            Ok(Self {
                network,
                parameters,
                auxiliary,
            })
        } else {
            Err(ModelError::Compute(
                "a value that stands in for a parameter has another number of elements".into(),
            ))
        }
    }

    fn backward(self, losses: Tensor<1>, loss: Tensor<1>, params: &ParamList) -> PassOutput {
        let detached = loss.clone().inner();
        let found = loss.backward();
        let mut gradients = Gradients::new(GradientsParams::new(), params.clone());
        for (info, leaf) in params.iter().zip(&self.parameters) {
            if let Some(gradient) = leaf.as_ref().and_then(|leaf| leaf.grad(&found)) {
                gradients.set(info, gradient);
            }
        }
        let auxiliary = self.auxiliary.iter();
        PassOutput {
            losses,
            loss: detached,
            gradients,
            auxiliary: auxiliary
                .map(|leaf| {
                    leaf.grad(&found)
                        .unwrap_or_else(|| leaf.clone().inner().zeros_like())
                })
                .collect(),
        }
    }
}

/// Shares a list of parameters built by hand, for tests and fakes.
pub fn param_list(params: Vec<ParamInfo>) -> ParamList {
    Arc::from(params)
}

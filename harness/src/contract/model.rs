//! A burn module behind an object-safe face.

use super::adapter::{Adapter, Attach};
use super::batch::Batch;
use super::error::ModelError;
use super::gradients::Gradients;
use super::network::{Network, Pass, PassOptions};
use super::params::{ParamInfo, ParamList};
use super::walk::{Collect, Freeze, Show, Values, info_of};
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
}

/// A model, whatever its type. Implemented by [`Trained`]; the harness wraps it in a
/// [`Trainee`](super::Trainee) before a submission sees it.
pub trait Model: Send {
    /// The parameters, in order.
    fn params(&self) -> &ParamList;

    /// Forward and backward over one batch.
    fn pass(&mut self, batch: &Batch, options: &PassOptions) -> Result<PassOutput, ModelError>;

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
    }
}

impl<N: Network> Model for Trained<N> {
    fn params(&self) -> &ParamList {
        &self.params
    }

    fn pass(&mut self, batch: &Batch, options: &PassOptions) -> Result<PassOutput, ModelError> {
        let network = self.network()?;
        let mut pass = Pass::training(options);
        let losses = network.losses(batch, &mut pass)?;
        let weighted = match &options.weights {
            Some(weights) => losses.clone() * Tensor::from_inner(weights.clone()),
            None => losses.clone(),
        };
        let loss = weighted.mean();
        let detached = loss.clone().inner();
        let losses = losses.inner();
        let gradients = GradientsParams::from_grads(loss.backward(), network);
        if options.update_norm {
            let statistics = pass.take_norm();
            if !statistics.is_empty() {
                self.replace(|n| n.update_norm(statistics));
            }
        }
        Ok(PassOutput {
            losses,
            loss: detached,
            gradients: Gradients::new(gradients, self.params.clone()),
        })
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

/// Shares a list of parameters built by hand, for tests and fakes.
pub fn param_list(params: Vec<ParamInfo>) -> ParamList {
    Arc::from(params)
}

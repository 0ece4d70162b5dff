//! A message-passing network on graphs: AlgoPerf's model for `ogbg`, a stack of graph networks
//! (Battaglia et al. 2018, arXiv 1806.01261, algorithm 1, with bonds in both directions).

use super::graph_batch::{Links, unpad};
use super::parts::{Activation, LayerNorm, dropout};
use crate::metrics::AveragePrecision;
use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear};
use burn::tensor::{Device, Distribution, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, UnitLosses, apply_linear,
};
use velodrome_kernels::{gather, linear as linear_map, sum_by};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`Gnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct GnnConfig {
    /// Numbers that describe an atom.
    pub atom: usize,
    /// Numbers that describe a bond.
    pub bond: usize,
    /// Yes-or-no questions asked of each graph.
    pub tasks: usize,
    /// Width of the embeddings of atoms and bonds.
    pub latent: usize,
    /// Widths of the layers in each update.
    pub hidden: Vec<usize>,
    /// Steps of message passing, each with weights of its own.
    pub steps: usize,
    /// Activation of the updates.
    pub activation: Activation,
    /// Dropout rate behind each layer of an update, unless the submission chooses one.
    pub dropout: f64,
}

impl GnnConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let linear = |from: usize, to: usize| (from + 1) * to;
        let width = self.width();
        let mut count = linear(self.atom, self.latent) + linear(self.bond, self.latent);
        for step in 0..self.steps {
            for input in self.inputs(step) {
                let inputs = std::iter::once(input).chain(self.hidden.iter().copied());
                let layers = inputs.zip(&self.hidden);
                count += layers.map(|(i, o)| linear(i, *o) + 2 * o).sum::<usize>();
            }
        }
        count + linear(width, self.tasks)
    }

    /// Width of atoms, bonds and graphs behind an update.
    fn width(&self) -> usize {
        self.hidden.last().copied().unwrap_or(self.latent)
    }

    /// Widths of atoms and bonds, and of the graph, before a step. The graph starts with a zero for
    /// each task.
    fn before(&self, step: usize) -> (usize, usize) {
        match step {
            0 => (self.latent, self.tasks),
            _ => (self.width(), self.width()),
        }
    }

    /// Widths of what the updates of bonds, atoms and graph read in a step.
    fn inputs(&self, step: usize) -> [usize; 3] {
        let ((own, graph), new) = (self.before(step), self.width());
        [3 * own + graph, own + 2 * new + graph, 2 * new + graph]
    }
}

/// A linear map whose weights start normal with variance `1 / fan_in`, cut off at two standard
/// deviations and scaled back to that variance, and whose biases start at 0 (Flax's default, LeCun).
fn linear(from: usize, to: usize, device: &Device) -> Linear {
    // Standard deviation of a unit normal that is cut off at -2 and 2.
    const CUT: f64 = 0.879_625_661_034_239_8;
    let std = (1.0 / from.max(1) as f64).sqrt() / CUT;
    Linear {
        weight: Param::from_tensor(truncated_normal([from, to], device).mul_scalar(std)),
        bias: Some(Initializer::Zeros.init([to], device)),
    }
}

/// Draws from a unit normal between -2 and 2: what is outside is drawn again.
fn truncated_normal(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let draw = || Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
    let mut values = draw();
    // A value is outside with probability 0.046: 24 rounds leave one of 1e32.
    for _ in 0..24 {
        let outside = values.clone().abs().greater_elem(2.0);
        if !outside.clone().any().into_scalar::<bool>() {
            break;
        }
        values = values.mask_where(outside, draw());
    }
    values
}

/// Layers of an update: linear, layer norm, activation, dropout, each.
#[derive(Module, Debug)]
struct Update {
    linears: Vec<Linear>,
    norms: Vec<LayerNorm>,
    #[module(skip)]
    activation: Activation,
}

impl Update {
    fn new(config: &GnnConfig, input: usize, device: &Device) -> Self {
        let inputs = std::iter::once(input).chain(config.hidden.iter().copied());
        let widths = inputs.zip(&config.hidden);
        Self {
            linears: widths.map(|(i, o)| linear(i, *o, device)).collect(),
            norms: config
                .hidden
                .iter()
                .map(|width| LayerNorm::new(*width, device))
                .collect(),
            activation: config.activation,
        }
    }

    /// The first layer's weights for `width` of its inputs, from `from` on. The layer reads several
    /// parts side by side; the sum of the maps of the parts is the map of the whole, and a part that
    /// atoms or graphs share is mapped once for each of them and not once for each bond.
    fn part(&self, from: usize, width: usize) -> Option<Tensor<2>> {
        let weight = self.linears.first()?.weight.val();
        let [_, to] = weight.dims();
        Some(weight.slice([from..from + width, 0..to]))
    }

    fn bias(&self) -> Option<Tensor<2>> {
        let bias = self.linears.first()?.bias.as_ref()?.val();
        Some(bias.unsqueeze())
    }

    /// The rest, behind the first layer's linear map.
    fn finish(&self, first: Tensor<2>, rate: f64) -> Tensor<2> {
        let mut x = first;
        for (layer, norm) in self.norms.iter().enumerate() {
            if let Some(linear) = self.linears.get(layer).filter(|_| layer > 0) {
                x = apply_linear(linear, x);
            }
            x = dropout(self.activation.apply(norm.forward(x)), rate);
        }
        x
    }
}

/// One step: bonds, atoms and graph are updated, in this order.
#[derive(Module, Debug)]
struct Step {
    bond: Update,
    atom: Update,
    graph: Update,
}

/// The state of all graphs of a batch. Bonds stand twice, once in each direction.
struct State {
    atoms: Tensor<2>,
    bonds: Tensor<2>,
    /// `None` before the first step, where it is zero.
    graphs: Option<Tensor<2>>,
}

impl Step {
    fn new(config: &GnnConfig, step: usize, device: &Device) -> Self {
        let [bond, atom, graph] = config.inputs(step);
        Self {
            bond: Update::new(config, bond, device),
            atom: Update::new(config, atom, device),
            graph: Update::new(config, graph, device),
        }
    }

    /// The update of the bonds reads bond, sender, receiver and graph; that of the atoms reads atom,
    /// the sum over the bonds that it sends, over those that it receives, and graph; that of the
    /// graph the sum over its atoms, over its bonds, and graph.
    fn forward(&self, state: State, links: &Links, rate: f64) -> Option<State> {
        let State {
            atoms,
            bonds,
            graphs,
        } = state;
        let [_, own] = atoms.dims();
        // The graph's part and the bias, for each atom; a bond takes them from its sender.
        let shared = |update: &Update, from: usize| -> Option<Tensor<2>> {
            let bias = update.bias()?;
            Some(match &graphs {
                Some(graphs) => {
                    let [_, width] = graphs.dims();
                    let of_graph =
                        linear_map(graphs.clone(), update.part(from, width)?, None) + bias;
                    gather(of_graph, links.graph_of_atom.clone())
                }
                None => bias,
            })
        };
        let sent = linear_map(atoms.clone(), self.bond.part(own, own)?, None)
            + shared(&self.bond, 3 * own)?;
        let received = linear_map(atoms.clone(), self.bond.part(2 * own, own)?, None);
        let first = linear_map(bonds, self.bond.part(0, own)?, None)
            + gather(sent, links.senders.clone())
            + gather(received, links.receivers.clone());
        let mut bonds = self.bond.finish(first, rate);
        if links.ghost {
            bonds = bonds.mul_scalar(0.0);
        }

        let [_, new] = bonds.dims();
        let [count, _] = atoms.dims();
        let sent = sum_by(bonds.clone(), links.senders.clone(), count);
        let received = sum_by(bonds.clone(), links.receivers.clone(), count);
        let first = linear_map(atoms, self.atom.part(0, own)?, None)
            + linear_map(sent.clone(), self.atom.part(own, new)?, None)
            + linear_map(received, self.atom.part(own + new, new)?, None)
            + shared(&self.atom, own + 2 * new)?;
        let atoms = self.atom.finish(first, rate);

        // Each bond has one sender, so that the sum over atoms is the sum over bonds.
        let of_graph = |x: &Tensor<2>| sum_by(x.clone(), links.graph_of_atom.clone(), links.graphs);
        let mut first = linear_map(of_graph(&atoms), self.graph.part(0, new)?, None)
            + linear_map(of_graph(&sent), self.graph.part(new, new)?, None)
            + self.graph.bias()?;
        if let Some(graphs) = graphs {
            let [_, width] = graphs.dims();
            first = first + linear_map(graphs, self.graph.part(2 * new, width)?, None);
        }
        let graphs = Some(self.graph.finish(first, rate));
        Some(State {
            atoms,
            bonds,
            graphs,
        })
    }
}

/// The network. Reads the fields of [`GraphSplit`](crate::data::molecules::GraphSplit): `atoms`,
/// `bonds`, `links`, `counts`, `label`. The answers are read from the graphs' state.
///
/// Its loss is AlgoPerf's: the sigmoid cross entropy, averaged over the present labels of the batch.
/// As units it has the questions, one loss for each question and graph; those of missing labels are
/// 0, and the others are scaled so that the mean over units is the mean over present labels. With
/// label smoothing `s` a label `y` becomes `(1 - s) y + s / tasks`.
#[derive(Module, Debug)]
pub struct Gnn {
    atom_embedding: Linear,
    bond_embedding: Linear,
    steps: Vec<Step>,
    decoder: Linear,
    atom: usize,
    bond: usize,
    tasks: usize,
    dropout: f64,
}

impl Gnn {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where there is no
    /// step or no layer.
    pub fn new(config: &GnnConfig, device: &Device) -> Result<Self, ModelError> {
        if config.steps == 0 || config.hidden.is_empty() {
            let message = "a graph network needs a step and a layer in its updates";
            return Err(ModelError::Compute(message.into()));
        }
        Ok(Self {
            atom_embedding: linear(config.atom, config.latent, device),
            bond_embedding: linear(config.bond, config.latent, device),
            steps: (0..config.steps)
                .map(|step| Step::new(config, step, device))
                .collect(),
            decoder: linear(config.width(), config.tasks, device),
            atom: config.atom,
            bond: config.bond,
            tasks: config.tasks,
            dropout: config.dropout,
        })
    }

    /// Answers before the sigmoid and labels (-1 missing, 0, 1), of shape `[examples, tasks]`.
    pub fn answers(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<2, Int>), ModelError> {
        let labels = batch.int::<2>("label")?;
        let [_, tasks] = labels.dims();
        if tasks != self.tasks {
            return Err(ModelError::Compute(format!(
                "field `label` has {tasks} labels for an example; this model was built for {}",
                self.tasks
            )));
        }
        let (atoms, bonds, links) = unpad(batch, [self.atom, self.bond])?;
        let bonds = apply_linear(&self.bond_embedding, bonds);
        let mut state = State {
            atoms: apply_linear(&self.atom_embedding, atoms),
            bonds: Tensor::cat(vec![bonds.clone(), bonds], 0),
            graphs: None,
        };
        let lost = || ModelError::Compute("a layer of the model is missing".into());
        let rate = pass.dropout(self.dropout);
        for step in &self.steps {
            state = step.forward(state, &links, rate).ok_or_else(lost)?;
        }
        let graphs = state.graphs.ok_or_else(lost)?;
        Ok((apply_linear(&self.decoder, graphs), labels))
    }
}

impl Network for Gnn {
    fn unit_losses(&self, batch: &Batch, pass: &mut Pass) -> Result<UnitLosses, ModelError> {
        let (logits, labels) = self.answers(batch, pass)?;
        let [examples, tasks] = logits.dims();
        let present = labels.clone().greater_equal_elem(0).float();
        let smoothing = pass.label_smoothing();
        let target = labels.float().clamp_min(0.0).mul_scalar(1.0 - smoothing);
        let target = target.add_scalar(smoothing / tasks.max(1) as f64);
        let largest = logits.clone().clamp_min(0.0);
        let rest = logits.clone().abs().neg().exp().log1p();
        let losses = (largest - logits * target + rest) * present.clone();
        let share = present.sum().clamp_min(1.0).recip();
        let share = share.mul_scalar((examples * tasks) as f64);
        Ok(UnitLosses {
            losses: losses.reshape([examples * tasks]) * share,
            units_per_example: tasks,
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let mut precision = AveragePrecision::new();
        for batch in batches {
            let (logits, labels) = self.answers(&batch, &Pass::evaluation())?;
            precision.add(logits, labels)?;
        }
        Ok(precision.measures())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "decoder.weight").then_some(ParamKind::Head)
    }
}

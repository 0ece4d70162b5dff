//! A network whose gradients are given: its loss is the inner product of its parameters with the
//! batch, so that a submission's whole path from batch to step runs on known gradients.

use crate::contract::{
    Batch, HostBatch, HostField, HostValues, Model, ModelError, Network, ParamKind, Pass, Trained,
};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_results::measures::Measures;

/// Name of the batch's one field.
const FIELD: &str = "gradients";

/// A parameter of any rank that burn's layers have.
#[derive(Module, Debug)]
enum AnyRank {
    Rank1(Param<Tensor<1>>),
    Rank2(Param<Tensor<2>>),
    Rank3(Param<Tensor<3>>),
    Rank4(Param<Tensor<4>>),
    Rank5(Param<Tensor<5>>),
}

/// The parameters, by kind; a model's own order within each.
#[derive(Module, Debug)]
struct Given {
    matrix: Vec<AnyRank>,
    head: Vec<AnyRank>,
    convolution: Vec<AnyRank>,
    embedding: Vec<AnyRank>,
    position: Vec<AnyRank>,
    bias: Vec<AnyRank>,
    norm_scale: Vec<AnyRank>,
    norm_shift: Vec<AnyRank>,
    other: Vec<AnyRank>,
}

/// The kinds in the order of [`Given`]'s fields.
const KINDS: [ParamKind; 9] = [
    ParamKind::Matrix,
    ParamKind::Head,
    ParamKind::Convolution,
    ParamKind::Embedding,
    ParamKind::Position,
    ParamKind::Bias,
    ParamKind::NormScale,
    ParamKind::NormShift,
    ParamKind::Other,
];

/// The kind called `name` in golden files: as the fields of [`Given`] are called.
pub(super) fn kind_named(name: &str) -> Option<ParamKind> {
    Some(match name {
        "matrix" => ParamKind::Matrix,
        "head" => ParamKind::Head,
        "convolution" => ParamKind::Convolution,
        "embedding" => ParamKind::Embedding,
        "position" => ParamKind::Position,
        "bias" => ParamKind::Bias,
        "norm_scale" => ParamKind::NormScale,
        "norm_shift" => ParamKind::NormShift,
        "other" => ParamKind::Other,
        _ => return None,
    })
}

/// A parameter with a graph, on its way into the loss, and the given gradient with it.
fn product<const D: usize>(parameter: &Param<Tensor<D>>, gradient: Tensor<1>) -> Tensor<1> {
    let value = parameter.val();
    let n = value.dims().iter().product::<usize>();
    // The batch is plain; in a training pass the parameters carry a graph.
    let gradient = if value.device().is_autodiff() {
        Tensor::from_inner(gradient)
    } else {
        gradient
    };
    (value.reshape([n]) * gradient).sum()
}

impl AnyRank {
    fn new(shape: &[usize], values: &[f32], device: &Device) -> Option<Self> {
        fn param<const D: usize>(
            shape: &[usize],
            values: &[f32],
            device: &Device,
        ) -> Option<Param<Tensor<D>>> {
            let shape: [usize; D] = shape.try_into().ok()?;
            let data = TensorData::new(values.to_vec(), shape);
            let tensor = Tensor::from_data(data, device).require_grad();
            Some(Param::initialized(ParamId::new(), tensor))
        }
        Some(match shape.len() {
            // burn's tensors have at least one axis.
            0 => Self::Rank1(param(&[1], values, device)?),
            1 => Self::Rank1(param(shape, values, device)?),
            2 => Self::Rank2(param(shape, values, device)?),
            3 => Self::Rank3(param(shape, values, device)?),
            4 => Self::Rank4(param(shape, values, device)?),
            5 => Self::Rank5(param(shape, values, device)?),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        fn len<const D: usize>(parameter: &Param<Tensor<D>>) -> usize {
            parameter.val().dims().iter().product()
        }
        match self {
            Self::Rank1(p) => len(p),
            Self::Rank2(p) => len(p),
            Self::Rank3(p) => len(p),
            Self::Rank4(p) => len(p),
            Self::Rank5(p) => len(p),
        }
    }

    fn product(&self, gradient: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Rank1(p) => product(p, gradient),
            Self::Rank2(p) => product(p, gradient),
            Self::Rank3(p) => product(p, gradient),
            Self::Rank4(p) => product(p, gradient),
            Self::Rank5(p) => product(p, gradient),
        }
    }
}

impl Given {
    fn lists(&self) -> [&Vec<AnyRank>; 9] {
        [
            &self.matrix,
            &self.head,
            &self.convolution,
            &self.embedding,
            &self.position,
            &self.bias,
            &self.norm_scale,
            &self.norm_shift,
            &self.other,
        ]
    }
}

impl Network for Given {
    fn losses(&self, batch: &Batch, _pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        let rows = batch.float::<2>(FIELD)?;
        let [examples, width] = rows.dims();
        let mut losses = Vec::with_capacity(examples);
        for example in 0..examples {
            let row = rows.clone().narrow(0, example, 1).reshape([width]);
            let mut from = 0;
            for parameter in self.lists().into_iter().flatten() {
                let n = parameter.len();
                if from + n > width {
                    return Err(ModelError::Compute("too few gradients".into()));
                }
                losses.push(parameter.product(row.clone().narrow(0, from, n)));
                from += n;
            }
        }
        let terms = losses.len() / examples.max(1);
        if terms == 0 {
            return Err(ModelError::Compute("no parameters".into()));
        }
        Ok(Tensor::cat(losses, 0)
            .reshape([examples, terms])
            .sum_dim(1)
            .reshape([examples]))
    }

    fn evaluate(&self, _batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        Ok(Measures::new())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        path.split('.').next().and_then(kind_named)
    }
}

/// One parameter of [`GivenModel`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    pub(super) kind: ParamKind,
    pub(super) shape: Vec<usize>,
    /// Row-major; as many as the shape says.
    pub(super) values: Vec<f32>,
}

/// A model of given gradients, and where its parameters stand in the caller's list.
pub(super) struct GivenModel {
    pub(super) model: Box<dyn Model>,
    /// For each parameter of the model its index in the caller's list.
    order: Vec<usize>,
}

impl GivenModel {
    /// A model on `device` (with autodiff); `None` where a parameter has more than five axes or
    /// another number of values than its shape says.
    pub(super) fn new(parameters: &[Parameter], device: &Device) -> Option<Self> {
        let mut order: Vec<usize> = (0..parameters.len()).collect();
        let place = |kind: ParamKind| KINDS.iter().position(|&k| k == kind);
        order.sort_by_key(|&i| place(parameters[i].kind));
        let of_kind = |kind: ParamKind| -> Option<Vec<AnyRank>> {
            let own = parameters.iter().filter(|p| p.kind == kind);
            own.map(|p| {
                let n = p.shape.iter().product::<usize>();
                let fits = n == p.values.len();
                fits.then(|| AnyRank::new(&p.shape, &p.values, device))?
            })
            .collect()
        };
        let network = Given {
            matrix: of_kind(ParamKind::Matrix)?,
            head: of_kind(ParamKind::Head)?,
            convolution: of_kind(ParamKind::Convolution)?,
            embedding: of_kind(ParamKind::Embedding)?,
            position: of_kind(ParamKind::Position)?,
            bias: of_kind(ParamKind::Bias)?,
            norm_scale: of_kind(ParamKind::NormScale)?,
            norm_shift: of_kind(ParamKind::NormShift)?,
            other: of_kind(ParamKind::Other)?,
        };
        Some(Self {
            model: Box::new(Trained::new(network)),
            order,
        })
    }

    /// For each parameter of the model its index in the caller's list.
    pub(super) fn order(&self) -> Vec<usize> {
        self.order.clone()
    }
}

/// A batch of examples that each make these gradients (per parameter, in the caller's order).
pub(super) fn batch(
    gradients: &[Vec<f32>],
    order: &[usize],
    examples: usize,
    device: &Device,
) -> Batch {
    let row: Vec<f32> = order
        .iter()
        .filter_map(|&i| gradients.get(i))
        .flatten()
        .copied()
        .collect();
    let host = HostBatch {
        fields: vec![HostField {
            name: FIELD,
            shape: vec![examples, row.len()],
            values: HostValues::Float(row.repeat(examples)),
        }],
        examples,
        units: examples,
    };
    Batch::from_host(host, (0..examples).collect(), device)
}

//! A linear map with a softmax: the least network that has class scores.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, ModelError, Network, Pass, Predictions, Trained,
    Trainee,
};

/// Scores are `x w`, with `w` of shape `[inputs, classes]`.
#[derive(Module, Debug)]
pub struct Regression {
    w: Param<Tensor<2>>,
}

impl Network for Regression {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (x, y) = (batch.float::<2>("x")?, batch.int::<1>("y")?);
        let w = self.w.val();
        let x = if w.device().is_autodiff() {
            Tensor::from_inner(x)
        } else {
            x
        };
        Ok(Predictions {
            logits: x.matmul(w.clone()),
            labels: if w.device().is_autodiff() {
                Tensor::from_inner(y)
            } else {
                y
            },
            units_per_example: 1,
            label_smoothing: pass.label_smoothing(),
        })
    }

    fn evaluate(
        &self,
        _batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        Ok(BTreeMap::new())
    }
}

/// A trainee with these row-major weights.
pub fn trainee(weights: &[f32], classes: usize) -> Trainee {
    let device = Device::flex().autodiff();
    let flat = Tensor::<1>::from_data(TensorData::new(weights.to_vec(), [weights.len()]), &device);
    let w = flat.reshape([weights.len() / classes, classes]);
    let w = Param::initialized(ParamId::new(), w.detach().require_grad());
    Trainee::new(Box::new(Trained::new(Regression { w })), device, 1)
}

/// A batch of row-major inputs, `width` for each example, with labels and indices.
pub fn batch(inputs: &[f32], width: usize, labels: &[i32], ids: Vec<usize>) -> Batch {
    let n = labels.len();
    let x = HostField {
        name: "x",
        shape: vec![n, width],
        values: HostValues::Float(inputs.to_vec()),
    };
    let y = HostField {
        name: "y",
        shape: vec![n],
        values: HostValues::Int(labels.to_vec()),
    };
    let host = HostBatch {
        fields: vec![x, y],
        examples: n,
        units: n,
    };
    Batch::from_host(host, ids, &Device::flex())
}

//! A quadratic bowl: the small model that manuals' claims are checked on, because its gradients and
//! curvature are known.
//!
//! With matrix `A` from the batch, shape `[examples, n, n]`, and the one parameter `x` of `n` entries,
//! the loss of an example is `x' A x / 2`.

use crate::fused::{Fused, Rule};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::Constant;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Algorithm, Batch, HostBatch, HostField, HostValues, ModelError, Network, Pass, StepContext,
    SubmissionError, Trained, Trainee,
};

/// Name of the batch's field.
const MATRIX: &str = "matrix";

/// The model.
#[derive(Module, Debug)]
pub struct Bowl {
    x: Param<Tensor<1>>,
}

impl Network for Bowl {
    fn losses(&self, batch: &Batch, _pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        let a = batch.float::<3>(MATRIX)?;
        let x = self.x.val();
        let n = x.dims()[0];
        let a = if x.device().is_autodiff() {
            Tensor::from_inner(a)
        } else {
            a
        };
        let row = x.clone().reshape([1, 1, n]);
        let ax = (a * row).sum_dim(2).reshape([batch.len(), n]);
        let losses = (ax * x.reshape([1, n])).sum_dim(1).mul_scalar(0.5);
        Ok(losses.reshape([batch.len()]))
    }

    fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        let mut measures = BTreeMap::new();
        if let Some(batch) = batches.next() {
            let loss = self.losses(&batch, &mut Pass::evaluation())?.mean();
            measures.insert("loss".into(), f64::from(loss.into_scalar::<f32>()));
        }
        Ok(measures)
    }
}

/// A trainee that stands at `x`.
pub fn trainee(x: &[f32]) -> Trainee {
    let device = Device::flex().autodiff();
    let data = TensorData::new(x.to_vec(), [x.len()]);
    let tensor = Tensor::<1>::from_data(data, &device).require_grad();
    let x = Param::initialized(ParamId::new(), tensor);
    Trainee::new(Box::new(Trained::new(Bowl { x })), device, 1)
}

/// A batch of one example with this row-major matrix of `n` rows.
pub fn batch(matrix: &[f32], n: usize) -> Batch {
    let field = HostField {
        name: MATRIX,
        shape: vec![1, n, n],
        values: HostValues::Float(matrix.to_vec()),
    };
    let host = HostBatch {
        fields: vec![field],
        examples: 1,
        units: 1,
    };
    Batch::from_host(host, vec![0], &Device::flex())
}

/// Where `trainee` stands.
pub fn position(trainee: &Trainee) -> Vec<f64> {
    let values = trainee.values().into_iter().next();
    let entries = values.and_then(|x| x.into_data().try_to_vec::<f32>().ok());
    entries
        .unwrap_or_default()
        .into_iter()
        .map(f64::from)
        .collect()
}

/// Fixed numbers in -1..1 without structure, shape `[rows, columns]`; others for each `t`.
pub fn gradient(t: u32, rows: usize, columns: usize) -> Tensor<2> {
    let entry = |i: usize| (i * i) as f64 + f64::from(t) * (7 * i + 1) as f64;
    let entries = (0..rows * columns).map(|i| entry(i).sin() as f32).collect();
    let data = TensorData::new(entries, [rows, columns]);
    Tensor::from_data(data, &Device::flex())
}

/// Where `steps` steps of an elementwise rule lead from (1, -2) on the bowl of (2 1; 1 5), at a
/// learning rate of 0.01.
pub fn descend<R: Rule<S>, const S: usize>(
    rule: R,
    steps: u64,
) -> Result<Vec<f64>, SubmissionError> {
    let mut algorithm = ScheduledOptimizer::new(Fused(rule), Constant(0.01));
    let mut trainee = trainee(&[1.0, -2.0]);
    let batch = batch(&[2.0, 1.0, 1.0, 5.0], 2);
    for step in 0..steps {
        algorithm.update(&mut trainee, &batch, &StepContext::new(step, 1))?;
    }
    Ok(position(&trainee))
}

//! A network whose gradients are given: its loss is the inner product of its parameters with the
//! batch, so that a submission's whole path from batch to step runs on known gradients.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Algorithm, Batch, HostBatch, HostField, HostValues, ModelError, Network, NormStatistics,
    ParamKind, Pass, Point, StepContext, Trained, Trainee,
};

const FIELDS: [&str; 6] = ["g0", "g1", "g2", "g3", "g4", "g5"];

/// The parameters, grouped by rank; the order of a case's shapes must be by rank too.
#[derive(Module, Debug)]
pub struct Probe {
    rank1: Vec<Param<Tensor<1>>>,
    rank2: Vec<Param<Tensor<2>>>,
    rank4: Vec<Param<Tensor<4>>>,
    /// Exponential average of the first two entries of the first parameter, weighed 0.5; present
    /// in networks with running statistics, whose evaluation passes give it as their losses.
    running_mean: Option<Param<Tensor<1>>>,
}

impl Network for Probe {
    fn losses(&self, batch: &Batch, pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        if let (false, Some(running)) = (pass.is_training(), &self.running_mean) {
            return Ok(running.val());
        }
        let mut names = FIELDS.into_iter();
        let mut total: Option<Tensor<1>> = None;
        let mut add = |product: Tensor<1>| {
            total = Some(match total.take() {
                Some(sum) => sum + product,
                None => product,
            });
        };
        fn term<const D: usize>(
            p: &Param<Tensor<D>>,
            name: Option<&'static str>,
            batch: &Batch,
        ) -> Result<Tensor<1>, ModelError> {
            let name = name.ok_or_else(|| ModelError::Compute("too many parameters".into()))?;
            let p = p.val();
            // The batch is plain; in a training pass the parameters carry a graph.
            let n = p.dims().iter().product::<usize>();
            let mut g = batch.float::<2>(name)?.reshape([n]);
            if p.device().is_autodiff() {
                g = Tensor::from_inner(g);
            }
            Ok((p.reshape([n]) * g).sum())
        }
        for p in &self.rank1 {
            add(term(p, names.next(), batch)?);
        }
        for p in &self.rank2 {
            add(term(p, names.next(), batch)?);
        }
        for p in &self.rank4 {
            add(term(p, names.next(), batch)?);
        }
        if pass.is_training() && self.running_mean.is_some() {
            let first = self.rank1[0].val();
            let first = if first.device().is_autodiff() {
                first.inner()
            } else {
                first
            };
            pass.record_norm(NormStatistics {
                mean: first.clone().narrow(0, 0, 2),
                variance: first.narrow(0, 0, 2),
            });
        }
        Ok(total.expect("at least one parameter"))
    }

    fn evaluate(
        &self,
        _batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        Ok(BTreeMap::new())
    }

    fn update_norm(mut self, statistics: Vec<NormStatistics>) -> Self {
        self.running_mean = self.running_mean.map(|running| {
            running.map(|old| {
                let mean = statistics[0].mean.clone();
                let mean = if old.device().is_autodiff() {
                    Tensor::from_inner(mean)
                } else {
                    mean
                };
                old.mul_scalar(0.5) + mean.mul_scalar(0.5)
            })
        });
        self
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path.split('.').next() {
            Some("rank2") => Some(ParamKind::Matrix),
            Some("rank4") => Some(ParamKind::Convolution),
            _ => None,
        }
    }
}

fn ones<const D: usize>(shape: &[usize], device: &Device) -> Param<Tensor<D>> {
    let shape: [usize; D] = shape.try_into().expect("rank");
    Param::initialized(ParamId::new(), Tensor::ones(shape, device).require_grad())
}

/// A trainee with parameters of these shapes (in order of rank) and these flat values.
pub fn trainee(shapes: &[Vec<usize>], values: &[Vec<f32>], running_mean: bool) -> Trainee {
    assert!(shapes.is_sorted_by_key(Vec::len), "shapes in order of rank");
    let device = Device::flex().autodiff();
    let of_rank = |rank| shapes.iter().filter(move |s: &&Vec<usize>| s.len() == rank);
    let probe = Probe {
        rank1: of_rank(1).map(|s| ones(s, &device)).collect(),
        rank2: of_rank(2).map(|s| ones(s, &device)).collect(),
        rank4: of_rank(4).map(|s| ones(s, &device)).collect(),
        running_mean: running_mean
            .then(|| Param::initialized(ParamId::new(), Tensor::zeros([2], &device))),
    };
    let mut trainee = Trainee::new(Box::new(Trained::new(probe)), device, 1);
    let flat: Vec<Tensor<1>> = values.iter().map(|v| vector(v)).collect();
    trainee.set_values(&flat).unwrap();
    trainee
}

fn vector(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        &Device::flex(),
    )
}

/// A batch of one example that makes these flat gradients.
pub fn batch(gradients: &[Vec<f32>]) -> Batch {
    let fields = FIELDS
        .into_iter()
        .zip(gradients)
        .map(|(name, g)| HostField {
            name,
            shape: vec![1, g.len()],
            values: HostValues::Float(g.clone()),
        });
    let host = HostBatch {
        fields: fields.collect(),
        examples: 1,
        units: 1,
    };
    Batch::from_host(host, vec![0], &Device::flex())
}

/// The parameters' values.
pub fn values(trainee: &Trainee) -> Vec<Vec<f32>> {
    let read = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
    trainee.values().into_iter().map(read).collect()
}

/// The evaluation weights, leaving the trainee as it was (which is checked, bit for bit).
pub fn eval_values(algorithm: &mut dyn Algorithm, trainee: &mut Trainee) -> Vec<Vec<f32>> {
    let before = values(trainee);
    algorithm.prepare_for_eval(trainee).unwrap();
    let seen = values(trainee);
    algorithm.after_eval(trainee).unwrap();
    assert_eq!(
        bits(&before),
        bits(&values(trainee)),
        "training weights changed"
    );
    seen
}

/// The running statistics of a trainee that has them. Costs it a forward pass.
pub fn running_mean(trainee: &mut Trainee) -> Vec<f32> {
    let seen = trainee.losses(&batch(&[])).unwrap();
    seen.into_data().try_to_vec::<f32>().unwrap()
}

/// Values as bits, to compare exactly.
pub fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let row = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
    values.iter().map(row).collect()
}

/// Takes one step on these gradients.
pub fn step(algorithm: &mut dyn Algorithm, trainee: &mut Trainee, n: u64, gradients: &[Vec<f32>]) {
    algorithm
        .update(trainee, &batch(gradients), &StepContext::new(n, 1))
        .unwrap();
}

/// A point from pairs.
pub fn point<'a>(pairs: impl IntoIterator<Item = (&'a str, f64)>) -> Point {
    Point(pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect())
}

/// Shapes of every rank that the probe has, with starting values.
pub fn start() -> (Vec<Vec<usize>>, Vec<Vec<f32>>) {
    let shapes = vec![vec![5], vec![3], vec![4, 3], vec![2, 3, 2, 2]];
    let values = stream(0, &shapes);
    (shapes, values)
}

/// Fixed pseudo-random numbers in -1..1 (a linear congruential generator), for these shapes.
pub fn stream(seed: u64, shapes: &[Vec<usize>]) -> Vec<Vec<f32>> {
    let mut x = seed.wrapping_mul(7919).wrapping_add(12345);
    let mut next = || {
        x = x
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((x >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    };
    let tensor = |s: &Vec<usize>| (0..s.iter().product::<usize>()).map(|_| next()).collect();
    shapes.iter().map(tensor).collect()
}

//! A short training learns.

use crate::common::{batch, batches, build, lock, training_device};
use burn::optim::AdamWConfig;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use velodrome_harness::contract::PassOptions;

#[test]
fn adamw_teaches_the_perceptron_digits() {
    let _lock = lock();
    let workload = crate::common::registry().workload("digits_mlp").unwrap();
    let splits = workload.open().unwrap();
    let spec = workload.spec();
    let device = training_device();
    let mut model = build(&*workload, 1);
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).init();
    let measure = |model: &dyn velodrome_harness::contract::Model| {
        let data = batches(&*splits.validation, usize::MAX, spec.eval_batch_size);
        model.evaluate(&mut data.into_iter()).unwrap()[&spec.target.metric]
    };
    assert!(measure(&*model) > 0.7);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut order: Vec<usize> = (0..splits.train.len()).collect();
    for _ in 0..6 {
        order.shuffle(&mut rng);
        for ids in order.chunks(spec.hints.batch_size) {
            let data = batch(&*splits.train, ids, &device);
            let output = model.pass(&data, &PassOptions::default()).unwrap();
            model.step(&mut optimizer, 3e-3.into(), output.gradients.into_burn());
        }
    }
    let error_rate = measure(&*model);
    assert!(error_rate < 0.1, "{error_rate}");
}

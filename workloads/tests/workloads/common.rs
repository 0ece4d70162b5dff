//! Shared by the integration tests.

use burn::tensor::{Device, Tensor, TensorData};
use std::sync::{Arc, Mutex, MutexGuard};
use velodrome_harness::contract::{Batch, Dataset, Model, Size, Workload};
use velodrome_harness::registry::Registry;

/// burn has one random generator per process: tests that seed it take turns.
pub fn lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub fn registry() -> Registry {
    let mut registry = Registry::new();
    velodrome_workloads::register(&mut registry).unwrap();
    registry
}

/// The workloads whose data is in the program.
pub fn workloads() -> Vec<Arc<dyn Workload>> {
    let registry = registry();
    let laptop = |w: &&Arc<dyn Workload>| w.spec().size == Size::Laptop;
    registry.workloads().filter(laptop).cloned().collect()
}

pub fn training_device() -> Device {
    Device::flex().autodiff()
}

/// Builds as the harness does: seed, then build.
pub fn build(workload: &dyn Workload, seed: u64) -> Box<dyn Model> {
    let device = training_device();
    device.seed(seed);
    workload.build(&device).unwrap()
}

pub fn batch(data: &dyn Dataset, ids: &[usize], device: &Device) -> Batch {
    Batch::from_host(data.batch(ids), ids.to_vec(), device)
}

/// The first `examples` of a split, in batches of `size`, on the device without autodiff.
pub fn batches(data: &dyn Dataset, examples: usize, size: usize) -> Vec<Batch> {
    let device = Device::flex();
    (0..examples.min(data.len()))
        .collect::<Vec<_>>()
        .chunks(size)
        .map(|ids| batch(data, ids, &device))
        .collect()
}

/// The values of a tensor, row-major.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

pub fn mean(losses: Tensor<1>) -> f64 {
    let losses = numbers(losses);
    losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
}

/// Adds `by` to one element of the parameter with the index `param`: for differences.
pub fn shift(model: &mut dyn Model, param: usize, element: usize, by: f32) {
    model.map(&mut |info, flat| {
        if info.index != param {
            return flat;
        }
        let device = flat.device();
        let mut values = numbers(flat);
        values[element] += by;
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), &device)
    });
}

pub fn bits(tensor: Tensor<1>) -> Vec<u32> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Bits of all parameters.
pub fn parameter_bits(model: &dyn Model) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    model.visit(&mut |_, flat| all.push(bits(flat)));
    all
}

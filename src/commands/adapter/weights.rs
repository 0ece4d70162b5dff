//! A workload's model as other programs know models: tensors with names.

use crate::failure::Failure;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::Path;
use velodrome_harness::contract::{
    Batch, Dataset, Model, ParamInfo, ParamKind, Workload, WorkloadError, WorkloadSpec,
};
use velodrome_results::measures::Measures;
use velodrome_submissions::adapters::interchange::{Stored, Tensors};
use velodrome_submissions::adapters::layout::values;

/// Whether a parameter is stored the other way round outside of burn: matrices of linear layers are
/// `[d_out, d_in]` there.
fn is_turned(info: &ParamInfo) -> bool {
    matches!(info.kind, ParamKind::Matrix | ParamKind::Head) && info.shape.len() == 2
}

/// The workload's model as it begins.
pub(super) fn build(workload: &dyn Workload, seed: u64) -> Result<Box<dyn Model>, Failure> {
    let device = Device::flex();
    device.seed(seed);
    Ok(workload.build(&device.autodiff())?)
}

/// The parameters of `model` under their names in the model's code, linear layers as `[d_out, d_in]`.
pub(super) fn tensors(model: &dyn Model, file: &Path) -> Tensors {
    let mut held = BTreeMap::new();
    model.visit(&mut |info, flat| {
        let Some(name) = model.names().get(info.index) else {
            return;
        };
        let stored = match (is_turned(info), info.shape.as_slice()) {
            (true, [rows, columns]) => {
                let turned = flat.reshape([*rows, *columns]).transpose();
                Stored::floats(&values(turned), &[*columns, *rows])
            }
            _ => Stored::floats(&values(flat), &info.shape),
        };
        held.insert(name.clone(), stored);
    });
    Tensors {
        file: file.to_path_buf(),
        held,
    }
}

/// Puts tensors that [`tensors`] gave, or others of the same names and shapes, into the model.
pub(super) fn fill(model: &mut dyn Model, tensors: &Tensors) -> Result<(), Failure> {
    let names = model.names().to_vec();
    let mut fault = None;
    model.map(&mut |info, flat| {
        let name = names.get(info.index).map_or("", String::as_str);
        let turned = is_turned(info);
        let mut shape = info.shape.clone();
        if turned {
            shape.reverse();
        }
        match (tensors.values(name, &shape), shape.as_slice()) {
            (Ok(found), [rows, columns]) if turned => {
                let data = TensorData::new(found, [*rows, *columns]);
                let matrix = Tensor::<2>::from_data(data, &flat.device());
                matrix.transpose().reshape([info.len()])
            }
            (Ok(found), _) => {
                Tensor::from_data(TensorData::new(found, [info.len()]), &flat.device())
            }
            (Err(error), _) => {
                fault.get_or_insert(error);
                flat
            }
        }
    });
    match fault {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// The model's measures over `data`. `workload` is named in errors.
pub(super) fn evaluate(
    model: &dyn Model,
    data: &dyn Dataset,
    spec: &WorkloadSpec,
) -> Result<Measures, Failure> {
    let device = Device::flex();
    let ids: Vec<usize> = (0..data.len()).collect();
    let mut unreadable = None;
    let mut batches =
        ids.chunks(spec.eval_batch_size.max(1))
            .map_while(|ids| match data.load(ids, None) {
                Ok(host) => Some(Batch::from_host(host, ids.to_vec(), &device)),
                Err(message) => {
                    unreadable = Some(message);
                    None
                }
            });
    let measures = model.evaluate(&mut batches);
    if let Some(message) = unreadable {
        let workload = spec.name.clone();
        return Err(WorkloadError::Data { workload, message }.into());
    }
    Ok(measures?)
}

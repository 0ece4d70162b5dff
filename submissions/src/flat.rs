//! State that an algorithm holds itself: flat tensors, by parameter.

use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{ParamInfo, State, SubmissionError};

/// Saves tensors under `name`, in order.
pub fn save<'a>(
    state: &mut State,
    name: &str,
    tensors: impl IntoIterator<Item = &'a Tensor<1>>,
) -> Result<(), SubmissionError> {
    let tensors: Vec<Tensor<1>> = tensors.into_iter().cloned().collect();
    state.put_tensors(name, &tensors)
}

/// Restores what [`save`] stored under `name` into tensors of the same number and lengths; others
/// are an error.
pub fn load<'a>(
    state: &State,
    name: &str,
    device: &Device,
    into: impl IntoIterator<Item = &'a mut Tensor<1>>,
) -> Result<(), SubmissionError> {
    let mut saved = state.get_tensors(name, device)?.into_iter();
    let mut fits = true;
    for slot in into {
        match saved.next() {
            Some(tensor) if tensor.dims() == slot.dims() => *slot = tensor,
            _ => fits = false,
        }
    }
    if fits && saved.next().is_none() {
        Ok(())
    } else {
        Err(SubmissionError::State {
            name: name.to_string(),
            message: "belongs to a model with other trainable parameters".into(),
        })
    }
}

/// Bytes of `numbers` 32-bit numbers for each entry of the trainable parameters.
pub fn bytes_per_entry(params: &[ParamInfo], numbers: u64) -> u64 {
    let trainable = params.iter().filter(|p| p.trainable);
    trainable.map(|p| 4 * numbers * p.len() as u64).sum()
}

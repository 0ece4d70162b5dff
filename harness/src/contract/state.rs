//! A submission's saved state: named entries in one bag.

use super::error::SubmissionError;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Named entries of a submission's state, for checkpoints and for counting its bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    entries: BTreeMap<String, Vec<u8>>,
    tensor_bytes: u64,
}

fn fault(name: &str, message: impl ToString) -> SubmissionError {
    SubmissionError::State {
        name: name.to_string(),
        message: message.to_string(),
    }
}

impl State {
    /// An empty bag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a small value (counters, schedules) under `name`.
    pub fn put<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), SubmissionError> {
        let bytes = serde_json::to_vec(value).map_err(|e| fault(name, e))?;
        self.entries.insert(name.to_string(), bytes);
        Ok(())
    }

    /// Reads what [`Self::put`] stored under `name`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, SubmissionError> {
        serde_json::from_slice(self.bytes(name)?).map_err(|e| fault(name, e))
    }

    /// Puts a burn optimizer's state under `name`.
    pub fn put_optimizer(
        &mut self,
        name: &str,
        optimizer: &ModuleOptimizer,
    ) -> Result<(), SubmissionError> {
        let bytes = optimizer.into_bytes().map_err(|e| fault(name, e))?;
        let reader = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()))
            .map_err(|e| fault(name, e))?;
        for tensor in reader.into_tensors().map_err(|e| fault(name, e))? {
            let (_, _, _, _, data) = tensor.into_parts().map_err(|e| fault(name, e))?;
            self.tensor_bytes += data.len() as u64;
        }
        self.entries.insert(name.to_string(), bytes.to_vec());
        Ok(())
    }

    /// Gives `optimizer` (built with the same configuration) the state stored under `name`. An
    /// optimizer with other state is an error; burn alone would leave it without, silently.
    pub fn get_optimizer(
        &self,
        name: &str,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, SubmissionError> {
        let bytes = || -> Result<Bytes, SubmissionError> {
            Ok(Bytes::from_bytes_vec(self.bytes(name)?.to_vec()))
        };
        let stored = burn_pack::Reader::from_bytes(bytes()?)
            .and_then(|reader| reader.into_tensors())
            .map_err(|e| fault(name, e))?
            .len();
        let optimizer = optimizer.from_bytes(bytes()?).map_err(|e| fault(name, e))?;
        let restored = optimizer.to_record().len();
        if restored != stored {
            return Err(fault(
                name,
                format!("holds {stored} tensors, of which this optimizer can use {restored}"),
            ));
        }
        Ok(optimizer)
    }

    /// Puts flat tensors (32-bit floats) under `name`, in order.
    pub fn put_tensors(
        &mut self,
        name: &str,
        tensors: &[Tensor<1>],
    ) -> Result<(), SubmissionError> {
        let mut bytes = (tensors.len() as u64).to_le_bytes().to_vec();
        for tensor in tensors {
            let data = tensor.clone().into_data().convert::<f32>();
            let values = data.as_bytes();
            bytes.extend((values.len() as u64).to_le_bytes());
            bytes.extend(values);
            self.tensor_bytes += values.len() as u64;
        }
        self.entries.insert(name.to_string(), bytes);
        Ok(())
    }

    /// Reads what [`Self::put_tensors`] stored under `name`.
    pub fn get_tensors(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Vec<Tensor<1>>, SubmissionError> {
        let mut rest = self.bytes(name)?;
        let count = take_u64(&mut rest).ok_or_else(|| fault(name, "is cut short"))?;
        let mut tensors = Vec::new();
        for _ in 0..count {
            let length = take_u64(&mut rest).ok_or_else(|| fault(name, "is cut short"))? as usize;
            let (head, tail) = rest
                .split_at_checked(length)
                .ok_or_else(|| fault(name, "is cut short"))?;
            rest = tail;
            let values: Vec<f32> = head
                .as_chunks::<4>()
                .0
                .iter()
                .map(|c| f32::from_le_bytes(*c))
                .collect();
            let n = values.len();
            tensors.push(Tensor::from_data(TensorData::new(values, [n]), device));
        }
        Ok(tensors)
    }

    /// Bytes of tensors put so far: the submission's state size.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensor_bytes
    }

    /// Names of the entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn bytes(&self, name: &str) -> Result<&[u8], SubmissionError> {
        self.entries
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| fault(name, "is missing from the checkpoint"))
    }

    /// The raw entries, for the checkpoint file.
    pub(crate) fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    /// A bag of raw entries read from a checkpoint file.
    pub(crate) fn from_entries(entries: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            entries,
            tensor_bytes: 0,
        }
    }
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*head))
}

//! Errors of the contract.

use super::batch::FieldError;

/// Why a model could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The batch does not fit the model.
    #[error("the batch does not fit the model: {0}")]
    Batch(#[from] FieldError),
    /// A saved model does not fit this one.
    #[error("the saved model cannot be loaded: {0}")]
    Load(String),
    /// A computation failed.
    #[error("{0}")]
    Compute(String),
    /// The model does not give what a submission asks for.
    #[error("this workload's model gives no {0}")]
    Unsupported(&'static str),
}

/// Why a workload could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Its data is missing or damaged.
    #[error("data of workload `{workload}`: {message}")]
    Data {
        /// The workload.
        workload: String,
        /// What is wrong, naming the file.
        message: String,
    },
    /// Its model could not be built.
    #[error("model of workload `{workload}`: {message}")]
    Model {
        /// The workload.
        workload: String,
        /// What is wrong.
        message: String,
    },
}

/// Why a submission stopped a trial. The trial becomes `crashed`, with this message.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// A hyperparameter is missing or has a value that the submission cannot use.
    #[error("hyperparameter `{name}`: {message}")]
    Hyperparameter {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A pass through the model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The trainee is not the one that the harness gave the trial.
    #[error("another trainee stands in the place of the trial's own")]
    Foreign,
    /// The input queue broke.
    #[error("input queue: {0}")]
    Queue(String),
    /// Saved state cannot be restored.
    #[error("saved state `{name}`: {message}")]
    State {
        /// Name of the entry.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<String> for SubmissionError {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

impl From<&str> for SubmissionError {
    fn from(message: &str) -> Self {
        Self::Other(message.to_string())
    }
}

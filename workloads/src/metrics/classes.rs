//! Error rate and cross entropy over classes.

use burn::tensor::{Int, Tensor};
use velodrome_harness::contract::ModelError;
use velodrome_results::measures::Measures;

/// Sums over the predictions seen so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Classes {
    predictions: u64,
    errors: u64,
    loss: f64,
}

impl Classes {
    /// No predictions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds predictions: `logits` of shape `[predictions, classes]`, `labels` of shape
    /// `[predictions]`. Waits for the device.
    pub fn add(&mut self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Result<(), ModelError> {
        let [_, classes] = logits.dims();
        let logits = logits
            .into_data()
            .convert::<f32>()
            .try_to_vec::<f32>()
            .map_err(|e| ModelError::Compute(format!("logits: {e}")))?;
        self.add_rows(&logits, &labels_of(labels)?, classes)
    }

    /// Adds predictions from main memory, row by row.
    pub fn add_rows(
        &mut self,
        logits: &[f32],
        labels: &[i32],
        classes: usize,
    ) -> Result<(), ModelError> {
        if classes == 0 || logits.len() != labels.len() * classes {
            return Err(ModelError::Compute(format!(
                "{} logits do not fit {} labels of {classes} classes",
                logits.len(),
                labels.len()
            )));
        }
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            let label = usize::try_from(*label)
                .ok()
                .filter(|l| *l < classes)
                .ok_or_else(|| {
                    ModelError::Compute(format!("label {label} is not one of {classes} classes"))
                })?;
            self.predictions += 1;
            self.errors += u64::from(!is_first_maximum(row, label));
            self.loss += cross_entropy(row, label);
        }
        Ok(())
    }

    /// `error_rate` (share of wrong predictions) and `loss` (mean cross entropy in nats); NaN
    /// where nothing was added.
    pub fn measures(&self) -> Measures {
        let n = self.predictions as f64;
        Measures::from([
            ("error_rate".to_string(), self.errors as f64 / n),
            ("loss".to_string(), self.loss / n),
        ])
    }
}

/// Labels in main memory.
pub fn labels_of(labels: Tensor<1, Int>) -> Result<Vec<i32>, ModelError> {
    labels
        .into_data()
        .convert::<i32>()
        .try_to_vec::<i32>()
        .map_err(|e| ModelError::Compute(format!("labels: {e}")))
}

/// Whether `label` is the first of the largest logits. A row with NaN predicts nothing.
fn is_first_maximum(row: &[f32], label: usize) -> bool {
    let own = row[label];
    row.iter().enumerate().all(|(class, other)| {
        if class < label {
            *other < own
        } else {
            *other <= own
        }
    })
}

/// `log(sum(exp(z))) - z[label]`, shifted by the largest logit so that nothing overflows. NaN in,
/// NaN out; an infinite logit gives NaN too.
fn cross_entropy(row: &[f32], label: usize) -> f64 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = f64::from(largest);
    let sum: f64 = row.iter().map(|z| (f64::from(*z) - largest).exp()).sum();
    largest + sum.ln() - f64::from(row[label])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        let mut classes = Classes::new();
        // Probabilities 1/4 and 3/4, then 1/2 and 1/2 (a tie: the first class is predicted).
        classes
            .add_rows(&[0.0, 3f32.ln()], &[1], 2)
            .and_then(|()| classes.add_rows(&[5.0, 5.0, 5.0, 5.0], &[0, 1], 2))
            .unwrap();
        let m = classes.measures();
        let expected = ((4.0f64 / 3.0).ln() + 2.0 * 2f64.ln()) / 3.0;
        assert!((m["loss"] - expected).abs() < 1e-7, "{m:?}");
        assert_eq!(m["error_rate"], 1.0 / 3.0);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        assert_eq!(cross_entropy(&[3e38, -3e38], 0), 0.0);
        assert!(cross_entropy(&[1000.0, 0.0], 1) - 1000.0 < 1e-9);
        assert!((cross_entropy(&[-1e4, -1e4], 0) - 2f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn nan_is_seen() {
        let mut classes = Classes::new();
        classes
            .add_rows(&[f32::NAN, 1.0, 0.0], &[1], 3)
            .and_then(|()| classes.add_rows(&[f32::INFINITY, 1.0, 0.0], &[0], 3))
            .unwrap();
        assert!(classes.measures()["loss"].is_nan());
        assert_eq!(classes.measures()["error_rate"], 0.5);
        assert!(Classes::new().measures()["loss"].is_nan());
    }

    #[test]
    fn wrong_shapes_and_labels_are_errors() {
        let mut classes = Classes::new();
        assert!(classes.add_rows(&[0.0; 3], &[0, 1], 2).is_err());
        assert!(classes.add_rows(&[0.0; 2], &[2], 2).is_err());
        assert!(classes.add_rows(&[0.0; 2], &[-1], 2).is_err());
    }
}

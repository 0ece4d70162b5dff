//! Log loss and area under the ROC curve of scores for two classes.

use super::labels_of;
use burn::tensor::{Int, Tensor};
use velodrome_harness::contract::ModelError;
use velodrome_results::measures::Measures;

/// Scores seen so far, by label. The scores are kept (four bytes each), since the area under the curve
/// compares each with all of the other class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Binary {
    loss: f64,
    /// Ranks of the scores of class 0 and of class 1, see [`rank`].
    ranks: [Vec<u32>; 2],
    nan: bool,
}

impl Binary {
    /// No scores yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds scores: `logits` of shape `[examples, 1]` before the sigmoid, `labels` (0 or 1) of shape
    /// `[examples]`. Waits for the device.
    pub fn add(&mut self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Result<(), ModelError> {
        let logits = logits
            .into_data()
            .convert::<f32>()
            .try_to_vec::<f32>()
            .map_err(|e| ModelError::Compute(format!("logits: {e}")))?;
        self.add_rows(&logits, &labels_of(labels)?)
    }

    /// Adds scores from main memory.
    pub fn add_rows(&mut self, logits: &[f32], labels: &[i32]) -> Result<(), ModelError> {
        if logits.len() != labels.len() {
            return Err(ModelError::Compute(format!(
                "{} logits do not fit {} labels",
                logits.len(),
                labels.len()
            )));
        }
        for (logit, label) in logits.iter().zip(labels) {
            let (class, y) = match label {
                0 => (0, 0.0),
                1 => (1, 1.0),
                other => {
                    return Err(ModelError::Compute(format!(
                        "label {other} is neither 0 nor 1"
                    )));
                }
            };
            self.loss += cross_entropy(f64::from(*logit), y);
            self.nan |= logit.is_nan();
            self.ranks[class].push(rank(*logit));
        }
        Ok(())
    }

    /// `log_loss` (mean binary cross entropy in nats), `loss` (the same number) and `auc` (area
    /// under the ROC curve: the share of pairs of a 1 and a 0 in which the 1 has the higher score,
    /// ties counting one half). `auc` is NaN where one class is missing or a score is NaN, the
    /// losses where nothing was added.
    pub fn measures(mut self) -> Measures {
        let [zeros, ones] = &mut self.ranks;
        let loss = self.loss / (zeros.len() + ones.len()) as f64;
        let auc = if self.nan { f64::NAN } else { auc(zeros, ones) };
        Measures::from([
            ("log_loss".to_string(), loss),
            ("loss".to_string(), loss),
            ("auc".to_string(), auc),
        ])
    }
}

/// `-y ln(s) - (1 - y) ln(1 - s)` with `s` the sigmoid of `z`, written so that nothing overflows.
/// NaN where the logit is not finite.
fn cross_entropy(z: f64, y: f64) -> f64 {
    if !z.is_finite() {
        return f64::NAN;
    }
    z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
}

/// A number that orders as the scores do; equal scores (0 and -0 too) have equal ranks.
fn rank(score: f32) -> u32 {
    // Adding 0 makes -0 a 0.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

/// Area under the curve, from the ranks; exact but for the last division.
fn auc(zeros: &mut [u32], ones: &mut [u32]) -> f64 {
    zeros.sort_unstable();
    ones.sort_unstable();
    let mut below = 0usize;
    // Twice the number of pairs in the right order.
    let mut twice = 0u128;
    for tied in ones.chunk_by(|a, b| a == b) {
        let Some(&rank) = tied.first() else { continue };
        below += zeros[below..].partition_point(|zero| *zero < rank);
        let equal = zeros[below..].partition_point(|zero| *zero == rank);
        twice += tied.len() as u128 * (2 * below + equal) as u128;
    }
    let pairs = zeros.len() as u128 * ones.len() as u128;
    if pairs == 0 {
        return f64::NAN;
    }
    twice as f64 / (2 * pairs) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(logits: &[f32], labels: &[i32]) -> Measures {
        let mut binary = Binary::new();
        // In two parts, as batches come.
        let at = logits.len() / 3;
        binary.add_rows(&logits[..at], &labels[..at]).unwrap();
        binary.add_rows(&logits[at..], &labels[at..]).unwrap();
        binary.measures()
    }

    /// Reference values: scikit-learn 1.9.1, `roc_auc_score(labels, logits)` and
    /// `log_loss(labels, 1 / (1 + exp(-logits)))` in 64 bits.
    #[test]
    fn values_of_scikit_learn() {
        let cases: [(&[f32], &[i32], f64, f64); 4] = [
            (
                &[0.0, -0.0, 1.5, 1.5, -2.25, 1.5, 0.5, -2.25],
                &[1, 0, 1, 0, 0, 1, 0, 1],
                0.5625,
                0.8643780371352187,
            ),
            (
                &[-3.5, -1.25, -0.75, -0.5, 0.125, 2.0, 4.0],
                &[0, 1, 0, 0, 1, 0, 1],
                0.6666666666666666,
                0.73861492345585,
            ),
            (
                &[0.5, 0.5, 0.5, 0.5, 0.5],
                &[1, 0, 0, 1, 0],
                0.5,
                0.7740769841801067,
            ),
            (
                &[
                    -2.25, 2.25, 2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5,
                    -0.75, -1.0, -1.25, -1.5, -1.75, -2.0, -2.25, 2.25, 2.0, 1.75, 1.5, 1.25, 1.0,
                    0.75, 0.5, 0.25, 0.0,
                ],
                &[
                    1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1,
                    0, 0, 1, 0,
                ],
                0.4592760180995475,
                0.9836350484096884,
            ),
        ];
        for (logits, labels, auc, loss) in cases {
            let m = measures(logits, labels);
            assert!((m["auc"] - auc).abs() < 1e-15, "{m:?} {auc}");
            assert!((m["log_loss"] - loss).abs() < 1e-12 * loss, "{m:?} {loss}");
            assert_eq!(m["loss"], m["log_loss"]);
        }
    }

    #[test]
    fn the_area_by_counting_pairs() {
        let logits: Vec<f32> = (0..211).map(|i| ((i * i) % 23) as f32 - 11.0).collect();
        let labels: Vec<i32> = (0..211).map(|i| i32::from((i * 7) % 5 < 2)).collect();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for (a, _) in logits.iter().zip(&labels).filter(|(_, l)| **l == 1) {
            for (b, _) in logits.iter().zip(&labels).filter(|(_, l)| **l == 0) {
                pairs += 1.0;
                sum += match a.partial_cmp(b) {
                    Some(std::cmp::Ordering::Greater) => 1.0,
                    Some(std::cmp::Ordering::Equal) => 0.5,
                    _ => 0.0,
                };
            }
        }
        assert_eq!(measures(&logits, &labels)["auc"], sum / pairs);
    }

    #[test]
    fn huge_logits_do_not_overflow_and_nan_is_seen() {
        let m = measures(&[3e38, -3e38, 200.0], &[1, 0, 0]);
        assert!((m["loss"] - 200.0 / 3.0).abs() < 1e-9);
        assert_eq!(m["auc"], 1.0);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!measures(&[bad, 1.0, 0.0], &[1, 0, 0])["loss"].is_finite());
        }
        let m = measures(&[f32::NAN, 1.0], &[1, 0]);
        assert!(m["auc"].is_nan() && m["loss"].is_nan());
        assert!(Binary::new().measures()["loss"].is_nan());
    }

    #[test]
    fn one_class_has_no_area_and_other_labels_are_errors() {
        let m = measures(&[1.0, 2.0, 3.0], &[1, 1, 1]);
        assert!(m["auc"].is_nan() && m["loss"].is_finite());
        assert!(Binary::new().add_rows(&[0.0], &[2]).is_err());
        assert!(Binary::new().add_rows(&[0.0], &[-1]).is_err());
        assert!(Binary::new().add_rows(&[0.0, 1.0], &[1]).is_err());
    }
}

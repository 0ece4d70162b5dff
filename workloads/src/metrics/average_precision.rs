//! Mean average precision over many yes-or-no tasks with missing labels.

use burn::tensor::{Int, Tensor};
use velodrome_harness::contract::ModelError;
use velodrome_results::measures::Measures;

/// Scores and labels of many tasks, collected over the batches of a split.
///
/// The metric is that of OGB's evaluator for `ogbg-molpcba`: for each task with at least one yes and
/// one no, the average precision over its labelled examples; then the mean over these tasks. Average
/// precision is scikit-learn's: with the examples in the order of falling scores, the sum over
/// thresholds of precision times gain in recall, where examples with equal scores share a
/// threshold. Scores are compared as logits: a sigmoid in 32 bits would make large ones equal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AveragePrecision {
    tasks: Vec<Vec<(f32, bool)>>,
    loss: f64,
    labels: u64,
}

impl AveragePrecision {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds predictions: `logits` and `labels` (-1 missing, 0, 1) of shape `[examples, tasks]`.
    /// Waits for the device.
    pub fn add(&mut self, logits: Tensor<2>, labels: Tensor<2, Int>) -> Result<(), ModelError> {
        let [_, tasks] = logits.dims();
        let wrong = |what: &str, e: &dyn std::fmt::Display| {
            ModelError::Compute(format!("{what} cannot be read: {e}"))
        };
        let logits = logits.into_data().convert::<f32>();
        let logits = logits
            .try_to_vec::<f32>()
            .map_err(|e| wrong("logits", &e))?;
        let labels = labels.into_data().convert::<i32>();
        let labels = labels
            .try_to_vec::<i32>()
            .map_err(|e| wrong("labels", &e))?;
        self.add_rows(&logits, &labels, tasks)
    }

    /// Adds predictions from main memory, row by row.
    pub fn add_rows(
        &mut self,
        logits: &[f32],
        labels: &[i32],
        tasks: usize,
    ) -> Result<(), ModelError> {
        let known = if self.tasks.is_empty() {
            tasks
        } else {
            self.tasks.len()
        };
        if tasks == 0
            || tasks != known
            || logits.len() != labels.len()
            || !labels.len().is_multiple_of(tasks)
        {
            return Err(ModelError::Compute(format!(
                "{} logits do not fit {} labels of {known} tasks",
                logits.len(),
                labels.len()
            )));
        }
        self.tasks.resize_with(tasks, Vec::new);
        for (row, labels) in logits.chunks_exact(tasks).zip(labels.chunks_exact(tasks)) {
            for ((task, logit), label) in self.tasks.iter_mut().zip(row).zip(labels) {
                let yes = match label {
                    -1 => continue,
                    0 => false,
                    1 => true,
                    other => {
                        return Err(ModelError::Compute(format!(
                            "label {other} is neither 0 nor 1 nor missing (-1)"
                        )));
                    }
                };
                task.push((*logit, yes));
                self.labels += 1;
                self.loss += cross_entropy(f64::from(*logit), yes);
            }
        }
        Ok(())
    }

    /// `mean_average_precision` and `loss` (mean sigmoid cross entropy over present labels, in
    /// nats). NaN where no task has both labels, where a logit is NaN, or where nothing was added.
    pub fn measures(&self) -> Measures {
        let each = self.tasks.iter().filter_map(|task| average_precision(task));
        let (sum, count) = each.fold((0.0, 0u32), |(sum, count), ap| (sum + ap, count + 1));
        Measures::from([
            ("loss".to_string(), self.loss / self.labels as f64),
            ("mean_average_precision".to_string(), sum / f64::from(count)),
        ])
    }
}

/// `None` without a yes or without a no.
fn average_precision(task: &[(f32, bool)]) -> Option<f64> {
    let all_yes = task.iter().filter(|(_, yes)| *yes).count();
    if all_yes == 0 || all_yes == task.len() {
        return None;
    }
    if task.iter().any(|(score, _)| score.is_nan()) {
        return Some(f64::NAN);
    }
    let mut ranked = task.to_vec();
    ranked.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
    let (mut seen, mut yes, mut sum) = (0usize, 0usize, 0.0);
    for equal in ranked.chunk_by(|(a, _), (b, _)| a == b) {
        let more = equal.iter().filter(|(_, yes)| *yes).count();
        seen += equal.len();
        yes += more;
        sum += more as f64 * yes as f64 / seen as f64;
    }
    Some(sum / all_yes as f64)
}

/// `-log(sigmoid(z))` for a yes, `-log(1 - sigmoid(z))` for a no, without overflow.
fn cross_entropy(logit: f64, yes: bool) -> f64 {
    let linear = if yes { logit } else { 0.0 };
    logit.max(0.0) - linear + (-logit.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(logits: &[f32], labels: &[i32], tasks: usize) -> (f64, f64) {
        let mut all = AveragePrecision::new();
        all.add_rows(logits, labels, tasks).unwrap();
        let m = all.measures();
        (m["mean_average_precision"], m["loss"])
    }

    /// scikit-learn 1.9.1 through the evaluator of ogb 1.3.6, on scores with ties and labels of which
    /// some are missing; the fifth task has no yes.
    #[test]
    fn the_metric_is_that_of_the_ogb_evaluator() {
        let (examples, tasks) = (60, 6);
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for i in 0..examples * tasks {
            logits.push(((i * i * 31 + i * 17) % 97) as f32 / 16.0 - 3.0);
            let label = match (i * i * 5 + i * 3 + i / 7) % 11 {
                0 | 1 => 1,
                2..7 => 0,
                _ => -1,
            };
            labels.push(if i % tasks == 4 { label.min(0) } else { label });
        }
        let (map, loss) = measured(&logits, &labels, tasks);
        assert!((map - 0.2585503879350527).abs() < 1e-14, "{map}");
        assert!((loss - 1.0443972598591211).abs() < 1e-13, "{loss}");
        let mut all = AveragePrecision::new();
        all.add_rows(&logits, &labels, tasks).unwrap();
        let each = [
            Some(0.16487776353251882),
            Some(0.2921831878546942),
            Some(0.30973343085750804),
            Some(0.27367182100158355),
            None,
            Some(0.25228573642895896),
        ];
        for (task, expected) in all.tasks.iter().zip(each) {
            let found = average_precision(task);
            assert_eq!(found.is_some(), expected.is_some());
            let apart = found.unwrap_or(0.0) - expected.unwrap_or(0.0);
            assert!(apart.abs() < 1e-14, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn by_hand() {
        // Ranks of the yes: 1 and 3; then one threshold for all four.
        let (map, loss) = measured(&[2.0, 1.0, 0.0, -1.0], &[1, 0, 1, 0], 1);
        assert!((map - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        assert!((loss - 0.611_649_7).abs() < 1e-6, "{loss}");
        assert_eq!(measured(&[0.0, -0.0, 0.0, 0.0], &[1, 0, 0, 0], 1).0, 0.25);
    }

    #[test]
    fn tasks_without_both_labels_do_not_count() {
        // The second has no yes, the third no no, the fourth nothing.
        let logits = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let labels = [1, 0, 1, -1, 0, 0, 1, -1];
        assert_eq!(measured(&logits, &labels, 4).0, 1.0);
        assert!(measured(&[1.0, 2.0], &[1, 1], 1).0.is_nan());
        assert!(AveragePrecision::new().measures()["loss"].is_nan());
    }

    #[test]
    fn the_order_of_batches_does_not_matter_and_odd_scores_are_seen() {
        let (logits, labels) = ([0.3, 0.1, 0.7, 0.2], [1, 0, 0, 1]);
        let mut parts = AveragePrecision::new();
        parts.add_rows(&logits[2..], &labels[2..], 1).unwrap();
        parts.add_rows(&logits[..2], &labels[..2], 1).unwrap();
        assert_eq!(
            parts.measures()["mean_average_precision"],
            measured(&logits, &labels, 1).0
        );
        assert!(measured(&[f32::NAN, 0.0], &[1, 0], 1).0.is_nan());
        let (map, loss) = measured(&[f32::INFINITY, f32::NEG_INFINITY], &[1, 0], 1);
        assert_eq!(map, 1.0);
        assert!(loss.is_nan(), "{loss}");
        assert!((measured(&[-200.0, 0.0], &[1, 0], 1).1 - (200.0 + 2f64.ln()) / 2.0).abs() < 1e-9);
    }

    #[test]
    fn wrong_shapes_and_labels_are_errors() {
        let mut all = AveragePrecision::new();
        assert!(all.add_rows(&[0.0; 3], &[0, 1, 0], 2).is_err());
        assert!(all.add_rows(&[0.0; 2], &[0, 1, 0], 1).is_err());
        assert!(all.add_rows(&[0.0; 2], &[0, 2], 2).is_err());
        assert!(all.add_rows(&[0.0; 2], &[0, 1], 2).is_ok());
        assert!(all.add_rows(&[0.0; 3], &[0, 1, 1], 3).is_err());
    }
}

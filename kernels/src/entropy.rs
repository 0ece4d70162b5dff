//! Cross entropy of rows of scores.

use crate::pass::{self, max, sum};
use crate::scalar::exp;

/// `-(1 - s) log p(label) - s mean(log p)` of each row in nats, with `p` the softmax of the row and `s` the
/// `smoothing`. Not a number where there is no such class.
pub(crate) fn cross_entropy(
    logits: &[f32],
    labels: &[usize],
    classes: usize,
    smoothing: f32,
) -> Vec<f32> {
    let share = smoothing / classes.max(1) as f32;
    pass::each(
        logits,
        classes,
        #[inline(always)]
        |nth, row| {
            let label = labels.get(nth).copied().unwrap_or(usize::MAX);
            let largest = max(row);
            let log = sum(row, |x| exp(x - largest)).ln();
            let at_label = row.get(label).map_or(f32::NAN, |x| x - largest);
            let even = match smoothing == 0.0 {
                true => 0.0,
                false => share * sum(row, |x| x - largest),
            };
            log - (1.0 - smoothing) * at_label - even
        },
    )
}

/// The gradient of the scores from that of each row's loss: `gradient (p - target)`.
pub(crate) fn cross_entropy_backward(
    gradient: &[f32],
    logits: &[f32],
    labels: &[usize],
    classes: usize,
    smoothing: f32,
) -> Vec<f32> {
    let share = smoothing / classes.max(1) as f32;
    let mut out = vec![0.0; logits.len()];
    pass::rows_at(
        &mut out,
        logits,
        classes,
        #[inline(always)]
        |first, out, logits| {
            let rows = out.chunks_exact_mut(classes.max(1));
            let rows = rows.zip(logits.chunks_exact(classes.max(1)));
            for (nth, (out, row)) in rows.enumerate() {
                let gradient = gradient.get(first + nth).copied().unwrap_or_default();
                let label = labels.get(first + nth).copied().unwrap_or(usize::MAX);
                let largest = max(row);
                for (out, x) in out.iter_mut().zip(row) {
                    *out = exp(*x - largest);
                }
                let scale = gradient / sum(out, |e| e);
                let even = gradient * share;
                for out in out.iter_mut() {
                    *out = *out * scale - even;
                }
                if let Some(out) = out.get_mut(label) {
                    *out -= gradient * (1.0 - smoothing);
                }
            }
        },
    );
    out
}

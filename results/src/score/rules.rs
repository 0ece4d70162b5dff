//! What is done to the times before the ratios: held-out workloads, and the limit.

use super::{Matrix, ScoreError, profile};

/// A held-out workload: a variant that is not scored itself, but on which a submission must
/// succeed for its time on the base workload to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldOut {
    /// Column of the held-out workload.
    pub workload: usize,
    /// Column of the workload that it is a variant of.
    pub base: usize,
}

/// The rules, in AlgoPerf's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Held-out workloads (none by default: every workload is scored).
    pub held_out: Vec<HeldOut>,
    /// A time over this many times the best time of its workload counts as not reached; `None`
    /// for no limit. The default is 4. Without held-out workloads it changes no score, since the
    /// profile ends at the ratio 4.
    pub limit: Option<f64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            held_out: Vec::new(),
            limit: Some(profile::MAX_RATIO),
        }
    }
}

/// The times after each rule. The first two have the columns of the table; the last has only the
/// workloads that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Stages {
    /// (a) A held-out time is infinite where the base workload was not reached.
    pub after_base: Matrix,
    /// (b) Times over the limit are infinite.
    pub after_limit: Matrix,
    /// (c) A base time is infinite where its held-out workload was not reached; (d) the held-out
    /// columns are gone.
    pub after_rules: Matrix,
}

impl Rules {
    /// The columns that count, of `workloads` columns: all but the held-out ones.
    pub fn columns(&self, workloads: usize) -> Vec<usize> {
        (0..workloads)
            .filter(|w| self.held_out.iter().all(|h| h.workload != *w))
            .collect()
    }

    /// Applies the rules to times in seconds (submission x workload).
    ///
    /// # Errors
    /// [`ScoreError::Index`] when a held-out workload or its base is not a column;
    /// [`ScoreError::Setting`] when the limit is not a number from 1 up.
    pub fn apply(&self, times: &Matrix) -> Result<Stages, ScoreError> {
        let workloads = times.first().map_or(0, Vec::len);
        if !times.is_empty() {
            for found in self.held_out.iter().flat_map(|h| [h.workload, h.base]) {
                if found >= workloads {
                    return Err(ScoreError::Index {
                        kind: "workload",
                        found,
                        known: workloads,
                    });
                }
            }
        }
        if let Some(limit) = self.limit.filter(|l| l.is_nan() || *l < 1.0) {
            return Err(ScoreError::Setting {
                setting: "the limit on times over the best",
                found: limit.to_string(),
                expected: "a number from 1 up",
            });
        }

        let mut after_base = times.clone();
        for (row, original) in after_base.iter_mut().zip(times) {
            for held in &self.held_out {
                // Absent counts as not reached here: what was not raced was not solved.
                if !reached(original[held.base]) {
                    row[held.workload] = Some(f64::INFINITY);
                }
            }
        }

        let mut after_limit = after_base.clone();
        if let Some(limit) = self.limit {
            let best = profile::best(&after_base);
            for row in &mut after_limit {
                for (cell, best) in row.iter_mut().zip(&best) {
                    if let (Some(time), Some(best)) = (*cell, *best)
                        && time > limit * best
                    {
                        *cell = Some(f64::INFINITY);
                    }
                }
            }
        }

        let mut full = after_limit.clone();
        for (row, limited) in full.iter_mut().zip(&after_limit) {
            for held in &self.held_out {
                if !reached(limited[held.workload]) {
                    row[held.base] = Some(f64::INFINITY);
                }
            }
        }
        let columns = self.columns(workloads);
        let after_rules = full
            .iter()
            .map(|row| columns.iter().map(|&w| row[w]).collect())
            .collect();
        Ok(Stages {
            after_base,
            after_limit,
            after_rules,
        })
    }
}

fn reached(cell: Option<f64>) -> bool {
    cell.is_some_and(f64::is_finite)
}

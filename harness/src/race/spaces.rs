//! The points and search spaces that a suite file gives, checked when the race is planned: an
//! unknown name, a missing field or a value that the submission refuses is an error at its line.

use super::plan::find;
use super::suite::{Suite, SuiteError};
use crate::conformance::try_start;
use crate::contract::{Dimension, Point, Range, Ruleset, SearchSpace, Submission, SubmissionError};
use crate::registry::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// The range of one hyperparameter in a suite file (`[spaces.SUBMISSION]`), in place of the
/// submission's own.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RangeEntry {
    /// `uniform`, `log_uniform`, `one_minus_log_uniform`, `choice` or `fixed`.
    pub scale: Option<String>,
    /// Low end; of the complement for `one_minus_log_uniform`.
    pub low: Option<f64>,
    /// High end; of the complement for `one_minus_log_uniform`.
    pub high: Option<f64>,
    /// The values of a `choice`.
    pub values: Option<Vec<f64>>,
    /// The value of a `fixed` one.
    pub value: Option<f64>,
}

const SCALES: [&str; 5] = [
    "uniform",
    "log_uniform",
    "one_minus_log_uniform",
    "choice",
    "fixed",
];

impl RangeEntry {
    /// The range, and the default where the entry sets it; the error is half a sentence.
    fn range(&self) -> Result<(Range, Option<f64>), String> {
        let scale = self
            .scale
            .as_deref()
            .ok_or_else(|| format!("lacks the field `scale`, one of {}", SCALES.join(", ")))?;
        let given = [
            ("low", self.low.is_some()),
            ("high", self.high.is_some()),
            ("values", self.values.is_some()),
            ("value", self.value.is_some()),
        ];
        let needed: &[&str] = match scale {
            "uniform" | "log_uniform" | "one_minus_log_uniform" => &["low", "high"],
            "choice" => &["values"],
            "fixed" => &["value"],
            other => {
                let near = nearest(other, SCALES.into_iter());
                let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                return Err(format!("has no scale `{other}`{hint}"));
            }
        };
        let words = || {
            let fields: Vec<String> = needed.iter().map(|f| format!("`{f}`")).collect();
            fields.join(" and ")
        };
        for (field, given) in given {
            if needed.contains(&field) && !given {
                return Err(format!(
                    "lacks the field `{field}`: scale `{scale}` needs {}",
                    words()
                ));
            }
            if !needed.contains(&field) && given {
                return Err(format!(
                    "has the field `{field}`, but scale `{scale}` takes {}",
                    words()
                ));
            }
        }
        let (low, high) = (self.low.unwrap_or(0.0), self.high.unwrap_or(0.0));
        Ok(match scale {
            "uniform" => (Range::Uniform { low, high }, None),
            "log_uniform" => (Range::LogUniform { low, high }, None),
            "one_minus_log_uniform" => (Range::OneMinusLogUniform { low, high }, None),
            "choice" => {
                let values = self.values.clone().unwrap_or_default();
                (Range::Choice { values }, None)
            }
            _ => (Range::Fixed, self.value),
        })
    }
}

/// The search space of a submission in this suite: its own, with the ranges that the suite gives.
pub(super) fn space_of(
    suite: &Suite,
    submission: &dyn Submission,
) -> Result<SearchSpace, SuiteError> {
    let name = submission.describe().name;
    let mut space = submission.search_space();
    let Some(entries) = find(&suite.spaces, name) else {
        return Ok(space);
    };
    for (key, entry) in entries {
        let field = key.get_ref();
        let fault = |message: String| suite.fault(key.span().start, message);
        if suite.ruleset == Ruleset::SelfTuning {
            let message = format!(
                "`spaces.{name}.{field}` has no use: the self-tuning ruleset draws no points"
            );
            return Err(fault(message));
        }
        let dimension = dimension(&mut space, name, field).map_err(&fault)?;
        let (range, default) = entry
            .range()
            .map_err(|what| fault(format!("`spaces.{name}.{field}` {what}")))?;
        dimension.default = default.unwrap_or(dimension.default);
        dimension.range = range;
        let alone = SearchSpace(vec![dimension.clone()]);
        if let Some(what) = alone.faults().first() {
            return Err(fault(format!("`spaces.{name}.{field}`: {what}")));
        }
        // Every submission says itself what it can use: both ends are tried, or all of a choice.
        let ends = match &dimension.range {
            Range::Choice { values } => values.clone(),
            range => [0.0, 1.0].map(|u| range.at(u, dimension.default)).to_vec(),
        };
        for end in ends {
            let mut point = space.default_point();
            point.0.insert(field.clone(), end);
            if let Err(what) = refusal(submission, point) {
                return Err(fault(format!("`spaces.{name}.{field}`: {what}")));
            }
        }
    }
    Ok(space)
}

/// A point of the suite file, with the defaults for the names that it leaves out.
pub(super) fn fixed_point(
    suite: &Suite,
    submission: &dyn Submission,
    values: &BTreeMap<Spanned<String>, f64>,
) -> Result<Point, SuiteError> {
    let name = submission.describe().name;
    let mut space = submission.search_space();
    let mut point = space.default_point();
    let mut start = 0;
    for (key, value) in values {
        start = key.span().start;
        dimension(&mut space, name, key.get_ref()).map_err(|what| suite.fault(start, what))?;
        point.0.insert(key.get_ref().clone(), *value);
    }
    refusal(submission, point.clone()).map_err(|error| {
        let key = match &error {
            SubmissionError::Hyperparameter { name, .. } => {
                values.keys().find(|k| k.get_ref() == name)
            }
            _ => None,
        };
        let at = key.map_or(start, |k| k.span().start);
        suite.fault(at, format!("`points.{name}`: {error}"))
    })?;
    Ok(point)
}

fn dimension<'a>(
    space: &'a mut SearchSpace,
    submission: &str,
    name: &str,
) -> Result<&'a mut Dimension, String> {
    let near = nearest(name, space.names());
    let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    space
        .0
        .iter_mut()
        .find(|d| d.name == name)
        .ok_or_else(|| format!("`{submission}` has no hyperparameter `{name}`{hint}"))
}

/// What a submission says against a point, by starting at it on a small model. Only its word about
/// hyperparameters counts: another fault is for the trial to show.
fn refusal(submission: &dyn Submission, point: Point) -> Result<(), SubmissionError> {
    match try_start(submission, point) {
        Err(error @ SubmissionError::Hyperparameter { .. }) => Err(error),
        _ => Ok(()),
    }
}

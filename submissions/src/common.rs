//! What the files of the submissions would otherwise repeat.

use velodrome_harness::contract::{
    Description, PassOptions, Point, Ruleset, SearchSpace, StartContext, SubmissionError, Track,
};

/// Description of a submission that trains from scratch under both rulesets; a file fills in the
/// rest: `Description { name: "adamw", summary: …, ..PRETRAIN }`.
pub const PRETRAIN: Description = Description {
    name: "",
    summary: "",
    paper: "",
    reference: "",
    track: Track::Pretrain,
    rulesets: &[Ruleset::External, Ruleset::SelfTuning],
    version: "1",
};

/// Adds the hyperparameters that [`pass_options`] reads: `label_smoothing` (0, 0.1 or 0.2) and
/// `dropout` (0 or 0.1); by default 0.1 and 0. AlgoPerf's paper draws the smoothing from 0.1 and 0.2
/// alone (arXiv 2306.07179); its later fixed points have 0 as well, which suits short runs.
pub fn with_regularisation(space: SearchSpace) -> SearchSpace {
    space
        .choice("label_smoothing", &[0.0, 0.1, 0.2], 0.1)
        .choice("dropout", &[0.0, 0.1], 0.0)
}

/// Options of the training passes from `label_smoothing` and `dropout`, each in `[0, 1)`.
pub fn pass_options(point: &Point) -> Result<PassOptions, SubmissionError> {
    Ok(PassOptions {
        label_smoothing: fraction(point, "label_smoothing")?,
        dropout: Some(fraction(point, "dropout")?),
        ..PassOptions::default()
    })
}

/// Options of the training passes from `dropout` alone, in `[0, 1)`: for losses that have no use for
/// smoothed labels.
pub fn pass_options_without_smoothing(point: &Point) -> Result<PassOptions, SubmissionError> {
    Ok(PassOptions {
        dropout: Some(fraction(point, "dropout")?),
        ..PassOptions::default()
    })
}

/// The hyperparameter `name`, which must be finite and not negative: learning rates, weight decay,
/// epsilon.
pub fn non_negative(point: &Point, name: &str) -> Result<f64, SubmissionError> {
    checked(point, name, "a finite number of at least 0", |x| {
        x.is_finite() && x >= 0.0
    })
}

/// The hyperparameter `name`, which must be finite and above 0.
pub fn positive(point: &Point, name: &str) -> Result<f64, SubmissionError> {
    checked(point, name, "a finite number above 0", |x| {
        x.is_finite() && x > 0.0
    })
}

/// The hyperparameter `name`, which must lie in `[0, 1)`: decay rates of averages, dropout.
pub fn fraction(point: &Point, name: &str) -> Result<f64, SubmissionError> {
    checked(point, name, "at least 0 and below 1", |x| {
        (0.0..1.0).contains(&x)
    })
}

/// Steps of warm-up: `floor(warmup_factor * steps)`, where `steps` is the workload's hint.
pub fn warmup_steps(context: &StartContext) -> Result<u64, SubmissionError> {
    let factor = fraction(&context.point, "warmup_factor")?;
    Ok((factor * context.hints.steps as f64) as u64)
}

/// The hyperparameter `name`, which must be 0 (`false`) or 1 (`true`).
pub fn switch(point: &Point, name: &str) -> Result<bool, SubmissionError> {
    let value = checked(point, name, "0 or 1", |x| x == 0.0 || x == 1.0)?;
    Ok(value == 1.0)
}

/// The hyperparameter `name`, which must be a whole number from 1 on.
pub fn whole(point: &Point, name: &str) -> Result<usize, SubmissionError> {
    let value = checked(point, name, "a whole number of at least 1", |x| {
        (1.0..1e9).contains(&x) && x.fract() == 0.0
    })?;
    Ok(value as usize)
}

/// The hyperparameter `name` as `read` checks it; `None` where the point does not have it.
pub fn optional<T>(
    point: &Point,
    name: &str,
    read: impl Fn(&Point, &str) -> Result<T, SubmissionError>,
) -> Result<Option<T>, SubmissionError> {
    if point.0.contains_key(name) {
        read(point, name).map(Some)
    } else {
        Ok(None)
    }
}

/// The hyperparameter `name`, where it is `sound`; `must_be` says in words what that is.
pub fn checked(
    point: &Point,
    name: &str,
    must_be: &str,
    sound: impl Fn(f64) -> bool,
) -> Result<f64, SubmissionError> {
    let value = point.get(name)?;
    if sound(value) {
        Ok(value)
    } else {
        Err(SubmissionError::Hyperparameter {
            name: name.to_string(),
            message: format!("is {value}; it must be {must_be}"),
        })
    }
}

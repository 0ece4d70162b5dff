//! What `prompt_tuning`, `prefix_tuning` and `ept` have in common: trained vectors in front of a model's own
//! tokens.
//!
//! A model's tokens attend to them; outputs are for its own tokens alone. In front of the input they stand
//! without a position, so that a model reads as many tokens of its own as before. They are no change of a
//! weight and cannot be merged, and their cost grows with their number.
//!
//! # State
//! 8 bytes for each trained element.

use crate::adapters::Draw;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{ParamInfo, ParamKind, SubmissionError, Tokens, Trainee};

/// The numbers of trained tokens to search, the default first.
pub(super) const TOKENS: &[f64] = &[20.0, 10.0, 40.0];

/// Where embedded tokens come out, and their width. An error where the model takes no others.
pub(super) fn input(trainee: &Trainee) -> Result<(ParamInfo, usize), SubmissionError> {
    let params = trainee.params();
    let param = params.iter().find(|p| p.tokens == Some(Tokens::Input));
    let Some(param) = param else {
        return Err(tokenless());
    };
    // An embedding is `[entries, width]`, a kernel over patches `[width, …]`.
    let side = match param.kind {
        ParamKind::Embedding => param.shape.get(1),
        _ => param.shape.first(),
    };
    Ok((param.clone(), side.copied().unwrap_or(1)))
}

/// The error of a model without tokens that could have others in front.
pub(super) fn tokenless() -> SubmissionError {
    SubmissionError::Other("the model has no sequence of tokens that could be longer".into())
}

/// `[count, width]` tokens to begin with: entries of the embedding, drawn without replacement as long as
/// there are some; in front of patches, uniform on `±sqrt(6 / (inputs + width))` (Glorot and Bengio 2010;
/// Jia et al. 2022, arXiv 2203.12119).
pub(super) fn first(
    trainee: &Trainee,
    input: &ParamInfo,
    [count, width]: [usize; 2],
    draw: &mut Draw,
    device: &Device,
) -> Tensor<2> {
    let inputs = input.len() / width.max(1);
    let table = match input.kind {
        ParamKind::Embedding => trainee.values().into_iter().nth(input.index),
        _ => None,
    };
    let Some(table) = table else {
        let bound = (6.0 / (inputs + width).max(1) as f64).sqrt();
        return draw.uniform([count, width], bound, device);
    };
    let table = table.reshape([inputs, width]);
    let mut rows = draw.positions(count, inputs);
    while rows.len() < count {
        rows.push(draw.below(inputs));
    }
    let rows = rows.into_iter().map(|r| table.clone().narrow(0, r, 1));
    Tensor::cat(rows.collect(), 0)
}

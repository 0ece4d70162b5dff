//! The recurrence of an LSTM (Hochreiter and Schmidhuber 1997) over whole sequences.
//!
//! With gates in the order input, forget, output, candidate:
//! `i, f, o = sigmoid(x_t + h_(t-1) W)`, `g = tanh(...)`, `c_t = f c_(t-1) + i g`, `h_t = o tanh(c_t)`, from
//! zeros. Directions run side by side; nothing is copied from step to step.

use crate::product::{Matrix, product};
use crate::scalar::{sigmoid, tanh};
use crate::wide::vectorized;
use rayon::prelude::*;

/// Sizes of one direction. Gates are `[examples, positions, 4 * hidden]`, states and cells
/// `[examples, positions, hidden]`, weights `[hidden, 4 * hidden]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) examples: usize,
    pub(crate) positions: usize,
    pub(crate) hidden: usize,
}

impl Sizes {
    /// Elements of the states of a direction.
    fn states(&self) -> usize {
        (self.examples * self.positions * self.hidden).max(1)
    }

    fn weights(&self) -> usize {
        (4 * self.hidden * self.hidden).max(1)
    }
}

/// The four parts of a row of gates.
fn quarters(row: &mut [f32], hidden: usize) -> [&mut [f32]; 4] {
    let (input, rest) = row.split_at_mut(hidden.min(row.len()));
    let (forget, rest) = rest.split_at_mut(hidden.min(rest.len()));
    let (output, candidate) = rest.split_at_mut(hidden.min(rest.len()));
    [input, forget, output, candidate]
}

/// Row `position` of an example of a tensor with rows of this `width`.
fn row(sizes: &Sizes, example: usize, position: usize, width: usize) -> std::ops::Range<usize> {
    let from = (example * sizes.positions + position) * width;
    from..from + width
}

/// States, activated gates and cells, one direction behind the other.
pub(crate) fn forward(sizes: &Sizes, inputs: &[f32], weights: &[f32]) -> [Vec<f32>; 3] {
    let mut gates = inputs.to_vec();
    let mut states = vec![0.0; inputs.len() / 4];
    let mut cells = states.clone();
    let each = sizes.states();
    states
        .par_chunks_mut(each)
        .zip(cells.par_chunks_mut(each))
        .zip(gates.par_chunks_mut(4 * each))
        .zip(weights.par_chunks(sizes.weights()))
        .for_each(|(((states, cells), gates), weights)| {
            for position in 0..sizes.positions {
                step(sizes, position, weights, gates, cells, states);
            }
        });
    [states, gates, cells]
}

/// One position of one direction.
fn step(
    sizes: &Sizes,
    position: usize,
    weights: &[f32],
    gates: &mut [f32],
    cells: &mut [f32],
    states: &mut [f32],
) {
    let Sizes {
        examples,
        positions,
        hidden,
    } = *sizes;
    if let Some(before) = position.checked_sub(1) {
        let states = states.get(before * hidden..).unwrap_or_default();
        let states = Matrix::new(states, examples, hidden, positions * hidden);
        let weights = Matrix::new(weights, hidden, 4 * hidden, 4 * hidden);
        let gates = gates.get_mut(position * 4 * hidden..).unwrap_or_default();
        product(gates, positions * 4 * hidden, true, 1.0, states, weights);
    }
    for example in 0..examples {
        let at = row(sizes, example, position, hidden);
        let gates = gates.get_mut(row(sizes, example, position, 4 * hidden));
        let state = states.get_mut(at.clone()).unwrap_or_default();
        let [input, forget, output, candidate] = quarters(gates.unwrap_or_default(), hidden);
        // The cell before, of which there is none at the first position.
        let start = at.start - if position > 0 { hidden } else { 0 };
        let both = cells.get_mut(start..at.end).unwrap_or_default();
        let (before, cell) = both.split_at_mut(both.len() - hidden);
        vectorized(
            #[inline(always)]
            || {
                for gates in [&mut *input, &mut *forget, &mut *output] {
                    gates.iter_mut().for_each(|g| *g = sigmoid(*g));
                }
                candidate.iter_mut().for_each(|g| *g = tanh(*g));
                for ((cell, i), g) in cell.iter_mut().zip(&*input).zip(&*candidate) {
                    *cell = *i * *g;
                }
                for ((cell, before), f) in cell.iter_mut().zip(&*before).zip(&*forget) {
                    *cell += *f * *before;
                }
                for ((state, cell), o) in state.iter_mut().zip(&*cell).zip(&*output) {
                    *state = *o * tanh(*cell);
                }
            },
        );
    }
}

/// The gradients of inputs and weights from that of the states.
pub(crate) fn backward(
    sizes: &Sizes,
    gradient: &[f32],
    weights: &[f32],
    [states, gates, cells]: [&[f32]; 3],
) -> [Vec<f32>; 2] {
    let each = sizes.states();
    let mut of_inputs = gates.to_vec();
    let mut of_weights = vec![0.0; weights.len()];
    of_inputs
        .par_chunks_mut(4 * each)
        .zip(of_weights.par_chunks_mut(sizes.weights()))
        .zip(weights.par_chunks(sizes.weights()))
        .zip(gradient.par_chunks(each))
        .zip(states.par_chunks(each).zip(cells.par_chunks(each)))
        .for_each(
            |((((of_inputs, of_weights), weights), gradient), (states, cells))| {
                direction_backward(sizes, gradient, weights, cells, of_inputs);
                weight_gradient(sizes, states, of_inputs, of_weights);
            },
        );
    [of_inputs, of_weights]
}

/// Turns the activated `gates` into the gradients of what went into them.
fn direction_backward(
    sizes: &Sizes,
    gradient: &[f32],
    weights: &[f32],
    cells: &[f32],
    gates: &mut [f32],
) {
    let Sizes {
        examples,
        positions,
        hidden,
    } = *sizes;
    // Of state and cell, from the position behind.
    let mut of_state = vec![0.0; examples * hidden];
    let mut of_cell = vec![0.0; examples * hidden];
    let zeros = vec![0.0; hidden];
    for position in (0..positions).rev() {
        for example in 0..examples {
            let at = row(sizes, example, position, hidden);
            let own = example * hidden..(example + 1) * hidden;
            let of_state = of_state.get(own.clone()).unwrap_or_default();
            let of_cell = of_cell.get_mut(own).unwrap_or_default();
            let gradient = gradient.get(at.clone()).unwrap_or_default();
            let before = match position {
                0 => &zeros[..],
                _ => cells.get(at.start - hidden..at.start).unwrap_or_default(),
            };
            let cell = cells.get(at).unwrap_or_default();
            let gates = gates.get_mut(row(sizes, example, position, 4 * hidden));
            let gates = quarters(gates.unwrap_or_default(), hidden);
            vectorized(
                #[inline(always)]
                || row_backward(gradient, of_state, [before, cell], of_cell, gates),
            );
        }
        if position == 0 {
            break;
        }
        let gates = gates.get(position * 4 * hidden..).unwrap_or_default();
        let gates = Matrix::new(gates, examples, 4 * hidden, positions * 4 * hidden);
        let weights = Matrix::new(weights, hidden, 4 * hidden, 4 * hidden);
        product(&mut of_state, hidden, false, 1.0, gates, weights.turned());
    }
}

/// One example at one position: gates become gradients, and `of_cell` that of the cell before.
#[inline(always)]
fn row_backward(
    gradient: &[f32],
    of_state: &[f32],
    [before, cell]: [&[f32]; 2],
    of_cell: &mut [f32],
    [input, forget, output, candidate]: [&mut [f32]; 4],
) {
    let hidden = of_cell.len();
    let inputs = [gradient, of_state, before, cell];
    let gates = [&*input, &*forget, &*output, &*candidate];
    if inputs.iter().chain(&gates).any(|part| part.len() != hidden) {
        return;
    }
    for at in 0..hidden {
        let of_state = gradient[at] + of_state[at];
        let (i, f, o, g) = (input[at], forget[at], output[at], candidate[at]);
        let t = tanh(cell[at]);
        let inner = of_cell[at] + of_state * o * (1.0 - t * t);
        input[at] = inner * g * i * (1.0 - i);
        forget[at] = inner * before[at] * f * (1.0 - f);
        output[at] = of_state * t * o * (1.0 - o);
        candidate[at] = inner * i * (1.0 - g * g);
        of_cell[at] = inner * f;
    }
}

/// `sum over t of h_(t-1)^T gates_t`, example by example.
fn weight_gradient(sizes: &Sizes, states: &[f32], gates: &[f32], out: &mut [f32]) {
    let Sizes {
        positions, hidden, ..
    } = *sizes;
    let steps = positions.saturating_sub(1);
    let states = states.chunks_exact((positions * hidden).max(1));
    let gates = gates.chunks_exact((positions * 4 * hidden).max(1));
    for (states, gates) in states.zip(gates) {
        let states = Matrix::new(states, steps, hidden, hidden);
        let gates = gates.get(4 * hidden..).unwrap_or_default();
        let gates = Matrix::new(gates, steps, 4 * hidden, 4 * hidden);
        product(out, 4 * hidden, true, 1.0, states.turned(), gates);
    }
}

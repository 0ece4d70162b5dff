//! Which colour, marker and dash pattern a submission has.

use crate::board::Board;
use crate::run::Trial;
use std::collections::BTreeSet;

/// A colour, as red, green, blue.
pub(super) type Rgb = (u8, u8, u8);

/// Text, axes and targets.
pub(super) const INK: Rgb = (0x1A, 0x1A, 0x1A);
/// Secondary text; 7:1 on white.
pub(super) const MUTED: Rgb = (0x55, 0x55, 0x55);
/// Grid lines.
pub(super) const GRID: Rgb = (0xE2, 0xE2, 0xE2);
/// Background.
pub(super) const PAPER: Rgb = (0xFF, 0xFF, 0xFF);
/// Background of the strip that holds what has no time.
pub(super) const STRIP: Rgb = (0xF2, 0xF2, 0xF2);

/// Okabe and Ito's colours, without black and yellow, neighbours as different as can be.
const COLOURS: [Rgb; 6] = [
    (0x00, 0x72, 0xB2), // blue
    (0xD5, 0x5E, 0x00), // vermilion
    (0x00, 0x9E, 0x73), // bluish green
    (0xCC, 0x79, 0xA7), // reddish purple
    (0xE6, 0x9F, 0x00), // orange
    (0x56, 0xB4, 0xE9), // sky blue
];

/// Shape of a submission's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    TriangleUp,
    Diamond,
    TriangleDown,
    Star,
    Plus,
}

const MARKERS: [Marker; 7] = [
    Marker::Circle,
    Marker::Square,
    Marker::TriangleUp,
    Marker::Diamond,
    Marker::TriangleDown,
    Marker::Star,
    Marker::Plus,
];

/// Lengths of strokes and gaps in turn; empty for a solid line.
const DASHES: [&[f64]; 4] = [&[], &[9.0, 4.0], &[9.0, 3.0, 2.0, 3.0], &[3.0, 3.0]];

/// How a submission is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub colour: Rgb,
    pub marker: Marker,
    pub dash: &'static [f64],
}

/// The looks of the submissions of one board.
#[derive(Debug)]
pub(super) struct Palette {
    names: Vec<String>,
}

impl Palette {
    /// Board rows come first, by name, so that a look depends neither on the ranking nor on trials
    /// that the board leaves out.
    pub fn new(board: &Board, trials: &[&Trial]) -> Self {
        let rows: BTreeSet<&String> = board.rows.iter().map(|r| &r.submission).collect();
        let others: BTreeSet<&String> = trials
            .iter()
            .map(|t| &t.record.submission)
            .filter(|name| !rows.contains(name))
            .collect();
        let names = rows.into_iter().chain(others).cloned().collect();
        Self { names }
    }

    /// The looks of any names.
    pub fn of(names: Vec<String>) -> Self {
        Self { names }
    }

    /// The look of `submission`. 6 colours and 7 markers turn together: 42 looks before one returns.
    pub fn look(&self, submission: &str) -> Look {
        let found = self.names.iter().position(|name| name == submission);
        let i = found.unwrap_or(self.names.len());
        Look {
            colour: COLOURS[i % COLOURS.len()],
            marker: MARKERS[i % MARKERS.len()],
            dash: DASHES[i % DASHES.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_two_submissions_look_different() {
        let palette = Palette {
            names: (0..42).map(|i| format!("s{i}")).collect(),
        };
        let looks: Vec<Look> = palette.names.iter().map(|n| palette.look(n)).collect();
        for (i, a) in looks.iter().enumerate() {
            for b in &looks[..i] {
                assert!(a.colour != b.colour || a.marker != b.marker);
            }
        }
    }
}

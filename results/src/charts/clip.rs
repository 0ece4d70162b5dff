//! Curves cut at the ends of the y axis.

use super::frame::Frame;
use super::pen::Point;

/// The parts of a curve that lie between the ends of both axes, as points of the picture.
pub(super) fn within(piece: &[(f64, f64)], frame: &Frame) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = vec![Vec::new()];
    let unit = |(x, y): (f64, f64)| [frame.x.raw_unit(x), frame.y.raw_unit(y)];
    for pair in piece.windows(2) {
        let (a, b) = (unit(pair[0]), unit(pair[1]));
        let Some((from, to)) = inside(a, b) else {
            continue;
        };
        let at = |t: f64| {
            let [x, y] = [0, 1].map(|i| (a[i] + (b[i] - a[i]) * t).clamp(0.0, 1.0));
            frame.place(x, y)
        };
        if from > 0.0 {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            if part.is_empty() {
                part.push(at(from));
            }
            part.push(at(to));
        }
        if to < 1.0 {
            parts.push(Vec::new());
        }
    }
    parts.retain(|p| p.len() > 1);
    parts
}

/// Which part of the segment from `a` to `b` lies in the unit square, as shares of its length.
fn inside(a: [f64; 2], b: [f64; 2]) -> Option<(f64, f64)> {
    let (mut from, mut to) = (0.0_f64, 1.0_f64);
    for i in [0, 1] {
        if a[i] == b[i] {
            if !(0.0..=1.0).contains(&a[i]) {
                return None;
            }
            continue;
        }
        let [low, high] = [0.0, 1.0].map(|end| (end - a[i]) / (b[i] - a[i]));
        from = from.max(low.min(high));
        to = to.min(low.max(high));
    }
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::axis::Scale;

    #[test]
    fn curves_are_cut_at_the_axis() {
        let frame = Frame {
            left: 0.0,
            right: 10.0,
            top: 0.0,
            bottom: 100.0,
            x: Scale::linear(0.0, 10.0),
            y: Scale::linear(0.0, 1.0),
        };
        // Down from far above, along the axis, up and out, and back in.
        let curve = [
            (0.0, 2.0),
            (2.0, 0.0),
            (4.0, 0.0),
            (6.0, 2.0),
            (8.0, 2.0),
            (10.0, 0.0),
        ];
        let parts = within(&curve, &frame);
        assert_eq!(parts.len(), 2);
        assert_eq!(
            parts[0],
            [(1.0, 0.0), (2.0, 100.0), (4.0, 100.0), (5.0, 0.0)]
        );
        assert_eq!(parts[1], [(9.0, 0.0), (10.0, 100.0)]);
        // Before the axis starts.
        let parts = within(&[(-5.0, 0.5), (5.0, 0.5)], &frame);
        assert_eq!(parts, [vec![(0.0, 50.0), (5.0, 50.0)]]);
    }
}

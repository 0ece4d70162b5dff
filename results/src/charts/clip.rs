//! Curves cut at the ends of the y axis.

use super::frame::Frame;
use super::pen::Point;

/// The parts of a curve that lie between the ends of the y axis, as points of the picture.
pub(super) fn within(piece: &[(f64, f64)], frame: &Frame) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = vec![Vec::new()];
    let place = |x: f64, u: f64| (x, frame.bottom - u * (frame.bottom - frame.top));
    for pair in piece.windows(2) {
        let [a, b] = [pair[0], pair[1]].map(|(x, y)| (frame.x_at(x), frame.y.raw_unit(y)));
        // Where along the segment it crosses each end of the axis.
        let cross = |end: f64| (end - a.1) / (b.1 - a.1);
        let inside = |u: f64| (0.0..=1.0).contains(&u);
        let (mut from, mut to) = (0.0_f64, 1.0_f64);
        if a.1 != b.1 {
            let (first, last) = (cross(0.0).min(cross(1.0)), cross(0.0).max(cross(1.0)));
            (from, to) = (from.max(first), to.min(last));
        } else if !inside(a.1) {
            continue;
        }
        if from > to {
            continue;
        }
        let at = |t: f64| {
            place(
                a.0 + (b.0 - a.0) * t,
                (a.1 + (b.1 - a.1) * t).clamp(0.0, 1.0),
            )
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
    }
}

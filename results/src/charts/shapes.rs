//! Shapes as corners and strokes: markers and dashed lines.

use super::palette::Marker;
use super::pen::Point;

/// Corners of a marker whose shapes look equally large at the same `r`.
pub(super) fn outline(marker: Marker, (x, y): Point, r: f64) -> Vec<Point> {
    let regular = |n: usize, r: f64, turn: f64| -> Vec<Point> {
        (0..n)
            .map(|i| {
                let a = (i as f64 / n as f64 + turn) * std::f64::consts::TAU;
                (x + r * a.sin(), y - r * a.cos())
            })
            .collect()
    };
    match marker {
        Marker::Circle => regular(28, r, 0.0),
        Marker::Square => regular(4, r * 1.25, 0.125),
        Marker::Diamond => regular(4, r * 1.3, 0.0),
        Marker::TriangleUp => regular(3, r * 1.35, 0.0),
        Marker::TriangleDown => regular(3, r * 1.35, 0.5),
        Marker::Star => {
            let (tips, notches) = (regular(5, r * 1.4, 0.0), regular(5, r * 0.62, 0.1));
            tips.into_iter()
                .zip(notches)
                .flat_map(|(a, b)| [a, b])
                .collect()
        }
        Marker::Plus => {
            let (l, w) = (r * 1.2, r * 0.42);
            [
                (-w, -l),
                (w, -l),
                (w, -w),
                (l, -w),
                (l, w),
                (w, w),
                (w, l),
                (-w, l),
                (-w, w),
                (-l, w),
                (-l, -w),
                (-w, -w),
            ]
            .map(|(dx, dy)| (x + dx, y + dy))
            .to_vec()
        }
    }
}

/// Cuts a path into the strokes of a dash pattern.
pub(super) fn dashes(points: &[Point], pattern: &[f64]) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    if pattern.iter().any(|l| *l <= 0.0) {
        return vec![points.to_vec()];
    }
    let (mut index, mut left) = (0, pattern[0]);
    let mut current: Vec<Point> = points.first().copied().into_iter().collect();
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length.is_nan() || length <= left {
                left -= if length.is_nan() { 0.0 } else { length };
                if index % 2 == 0 {
                    current.push(to);
                }
                break;
            }
            let t = left / length;
            from = (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t);
            if index % 2 == 0 {
                current.push(from);
                pieces.push(std::mem::take(&mut current));
            } else {
                current = vec![from];
            }
            index = (index + 1) % pattern.len();
            left = pattern[index];
        }
    }
    if current.len() > 1 {
        pieces.push(current);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_follow_the_path_round_corners() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)], &[8.0, 4.0]);
        assert_eq!(pieces[0], [(0.0, 0.0), (8.0, 0.0)]);
        assert_eq!(pieces[1], [(10.0, 2.0), (10.0, 10.0)]);
        assert_eq!(pieces.len(), 2);
    }
}

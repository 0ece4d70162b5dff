//! The pen: lines, marks and text in CSS pixels on any plotters backend.

use super::ChartError;
use super::palette::{INK, Look, MUTED, PAPER, Rgb};
use super::shapes::{dashes, outline};
use crate::xml::clean;
use plotters::prelude::{DrawingBackend, FontStyle, IntoFont, RGBColor, TextStyle};
use plotters::style::register_font as plotters_register;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, ShapeStyle};
use std::fmt::Display;
use std::sync::OnceLock;

/// A point in CSS pixels, from the upper left corner.
pub(super) type Point = (f64, f64);

/// Font size of headings, of axis titles and names, and of tick labels.
pub(super) const LARGE: f64 = 17.0;
pub(super) const NORMAL: f64 = 13.0;
pub(super) const SMALL: f64 = 12.0;

/// Height of DejaVu Sans from descender to ascender in em, which is what plotters calls its size.
const EM_HEIGHT: f64 = 1.164;
/// plotters' SVG backend divides the size by this to get em.
const SVG_SIZE: f64 = 1.24;

const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans.ttf");

/// Makes the built-in font known to plotters, once per process.
pub(super) fn register_font() -> Result<(), ChartError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done =
        DONE.get_or_init(|| plotters_register("sans-serif", FontStyle::Normal, FONT).is_ok());
    if *done { Ok(()) } else { Err(ChartError::Font) }
}

/// Width of `text` in CSS pixels at `size` pixels per em. 0 if the font is not registered, which
/// the drawing of the same text then reports.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    // Measured large, since plotters rounds to whole pixels.
    let font = ("sans-serif", size * EM_HEIGHT * 16.0).into_font();
    font.box_size(&clean(text))
        .map_or(0.0, |(w, _)| f64::from(w) / 16.0)
}

/// `text`, with its middle left out where it is wider than `width`.
pub(super) fn fit(text: &str, size: f64, width: f64) -> String {
    // Half a pixel of tolerance: a width that was measured, added and subtracted again may lack an
    // ulp of itself.
    if text_width(text, size) <= width + 0.5 {
        return text.to_string();
    }
    let chars: Vec<char> = text.chars().collect();
    let with = |kept: usize| {
        let head: String = chars[..kept.div_ceil(2)].iter().collect();
        let tail: String = chars[chars.len() - kept / 2..].iter().collect();
        format!("{head}…{tail}")
    };
    // Wider the more is kept, so the most that fits is found by bisection.
    let (mut low, mut high) = (1, chars.len());
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if text_width(&with(middle), size) <= width {
            low = middle;
        } else {
            high = middle;
        }
    }
    with(low)
}

/// Where text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// What the backend makes: they need different care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Bitmap,
    Vector,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke<'a> {
    pub colour: Rgb,
    pub width: f64,
    /// 1 is opaque.
    pub alpha: f64,
    /// Strokes and gaps in turn; empty for a solid line.
    pub dash: &'a [f64],
}

impl Stroke<'_> {
    pub fn solid(colour: Rgb, width: f64) -> Self {
        Self {
            colour,
            width,
            alpha: 1.0,
            dash: &[],
        }
    }
}

/// A pen on a backend; `scale` backend units make a CSS pixel.
pub(super) struct Pen<'a, DB: DrawingBackend> {
    backend: &'a mut DB,
    scale: f64,
    medium: Medium,
}

fn message(e: impl Display) -> String {
    e.to_string()
}

impl<'a, DB: DrawingBackend> Pen<'a, DB> {
    pub fn new(backend: &'a mut DB, scale: f64, medium: Medium) -> Self {
        Self {
            backend,
            scale,
            medium,
        }
    }

    fn at(&self, (x, y): Point) -> (i32, i32) {
        // Far outside is as good as further outside, and cannot overflow in the backend.
        let unit = |v: f64| (v * self.scale).round().clamp(-1e6, 1e6) as i32;
        (unit(x), unit(y))
    }

    fn style(&self, colour: Rgb, alpha: f64, width: f64) -> ShapeStyle {
        let (r, g, b) = colour;
        let stroke_width = (width * self.scale).round().max(1.0) as u32;
        ShapeStyle {
            color: RGBColor(r, g, b).mix(alpha),
            filled: true,
            stroke_width,
        }
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, from: Point, to: Point, colour: Rgb) -> Result<(), String> {
        let style = self.style(colour, 1.0, 1.0);
        let (from, to) = (self.at(from), self.at(to));
        self.backend
            .draw_rect(from, to, &style, true)
            .map_err(message)
    }

    /// A straight line.
    pub fn line(&mut self, from: Point, to: Point, stroke: Stroke<'_>) -> Result<(), String> {
        self.path(&[from, to], stroke)
    }

    /// A line through `points`; fewer than two different ones draw nothing.
    pub fn path(&mut self, points: &[Point], stroke: Stroke<'_>) -> Result<(), String> {
        if stroke.dash.is_empty() {
            return self.solid(points, stroke);
        }
        for piece in dashes(points, stroke.dash) {
            self.solid(&piece, stroke)?;
        }
        Ok(())
    }

    fn solid(&mut self, points: &[Point], stroke: Stroke<'_>) -> Result<(), String> {
        let mut units: Vec<(i32, i32)> = points.iter().map(|p| self.at(*p)).collect();
        units.dedup();
        if units.len() < 2 {
            return Ok(());
        }
        if self.medium == Medium::Vector {
            let style = self.style(stroke.colour, stroke.alpha, stroke.width);
            return self.backend.draw_path(units, &style).map_err(message);
        }
        // The bitmap backend fills a wide path as one polygon, which has holes where it crosses
        // itself; so each segment is drawn by itself, opaque, with round joints.
        let colour = blend(stroke.colour, stroke.alpha);
        let style = self.style(colour, 1.0, stroke.width);
        for pair in units.windows(2) {
            self.backend
                .draw_line(pair[0], pair[1], &style)
                .map_err(message)?;
        }
        if style.stroke_width > 2 {
            for joint in &units[1..units.len() - 1] {
                let radius = style.stroke_width / 2;
                self.backend
                    .draw_circle(*joint, radius, &style, true)
                    .map_err(message)?;
            }
        }
        Ok(())
    }

    /// A filled polygon.
    pub fn polygon(&mut self, points: &[Point], colour: Rgb, alpha: f64) -> Result<(), String> {
        let units: Vec<(i32, i32)> = points.iter().map(|p| self.at(*p)).collect();
        let style = match self.medium {
            Medium::Vector => self.style(colour, alpha, 1.0),
            Medium::Bitmap => self.style(blend(colour, alpha), 1.0, 1.0),
        };
        self.backend.fill_polygon(units, &style).map_err(message)
    }

    /// The mark of `look` with a border of paper, so that marks on marks stay apart.
    pub fn mark(&mut self, centre: Point, radius: f64, look: Look) -> Result<(), String> {
        self.polygon(&outline(look.marker, centre, radius + 1.3), PAPER, 1.0)?;
        self.polygon(&outline(look.marker, centre, radius), look.colour, 1.0)
    }

    /// The mark of `look`, half transparent, without a border.
    pub fn faint_mark(&mut self, centre: Point, radius: f64, look: Look) -> Result<(), String> {
        self.polygon(&outline(look.marker, centre, radius), look.colour, 0.55)
    }

    /// The mark of `look` with nothing inside.
    pub fn open_mark(&mut self, centre: Point, radius: f64, look: Look) -> Result<(), String> {
        self.mark(centre, radius, look)?;
        self.polygon(&outline(look.marker, centre, radius * 0.55), PAPER, 1.0)
    }

    /// A cross: something failed.
    pub fn cross(&mut self, (x, y): Point, radius: f64, colour: Rgb) -> Result<(), String> {
        for (stroke, r) in [
            (Stroke::solid(PAPER, 4.6), radius + 0.9),
            (Stroke::solid(colour, 2.2), radius),
        ] {
            self.line((x - r, y - r), (x + r, y + r), stroke)?;
            self.line((x - r, y + r), (x + r, y - r), stroke)?;
        }
        Ok(())
    }

    /// Text in ink on a baseline through `at`.
    pub fn text(&mut self, text: &str, at: Point, size: f64, align: Align) -> Result<(), String> {
        self.write(text, at, size, align, INK, false)
    }

    /// Secondary text on a baseline through `at`.
    pub fn note(&mut self, text: &str, at: Point, size: f64, align: Align) -> Result<(), String> {
        self.write(text, at, size, align, MUTED, false)
    }

    /// Text that reads upwards, centred on `at`, with its baseline at `at.0`.
    pub fn upright(&mut self, text: &str, at: Point, size: f64) -> Result<(), String> {
        self.write(text, at, size, Align::Centre, INK, true)
    }

    fn write(
        &mut self,
        text: &str,
        at: Point,
        size: f64,
        align: Align,
        colour: Rgb,
        upright: bool,
    ) -> Result<(), String> {
        // plotters places the two media differently; both are brought to the baseline here.
        let (font_size, above) = match self.medium {
            Medium::Bitmap => (size * EM_HEIGHT, size * EM_HEIGHT / 2.0),
            Medium::Vector => (size * SVG_SIZE, size * 0.76),
        };
        let mut font = ("sans-serif", font_size * self.scale).into_font();
        let place = if upright {
            font = font.transform(FontTransform::Rotate270);
            (at.0 - above, at.1)
        } else {
            (at.0, at.1 - above)
        };
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let (r, g, b) = colour;
        let ink = RGBColor(r, g, b);
        let style = TextStyle::from(font)
            .color(&ink)
            .pos(Pos::new(horizontal, VPos::Top));
        let place = self.at(place);
        self.backend
            .draw_text(&clean(text), &style, place)
            .map_err(message)
    }
}

/// `colour` over paper.
fn blend((r, g, b): Rgb, alpha: f64) -> Rgb {
    let mix = |c: u8, paper: u8| (f64::from(c) * alpha + f64::from(paper) * (1.0 - alpha)) as u8;
    (mix(r, PAPER.0), mix(g, PAPER.1), mix(b, PAPER.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends_and_fit() {
        register_font().unwrap();
        let name = format!("start{}end", "x".repeat(300));
        let short = fit(&name, NORMAL, 150.0);
        assert!(text_width(&short, NORMAL) <= 150.0);
        assert!(text_width(&short, NORMAL) > 120.0, "{short}");
        assert!(short.starts_with("start") && short.ends_with("end") && short.contains('…'));
        assert_eq!(fit("adamw", NORMAL, 150.0), "adamw");
    }
}

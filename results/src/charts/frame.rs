//! The frame of a chart: plot area, grid, ticks and axis titles.

use super::axis::Scale;
use super::palette::{GRID, MUTED};
use super::pen::{Align, LARGE, NORMAL, Pen, Point, SMALL, Stroke, fit};
use plotters::prelude::DrawingBackend;

/// A plot area in CSS pixels with its two axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Frame {
    /// Where the value (x, y) lies, held to the area.
    pub fn at(&self, x: f64, y: f64) -> Point {
        self.place(self.x.unit(x), self.y.unit(y))
    }

    /// Where the shares `x` and `y` of the axes lie.
    pub fn place(&self, x: f64, y: f64) -> Point {
        let (width, height) = (self.right - self.left, self.bottom - self.top);
        (self.left + x * width, self.bottom - y * height)
    }

    /// Where `x` lies, held to the area.
    pub fn x_at(&self, x: f64) -> f64 {
        self.at(x, 0.0).0
    }

    /// Upright grid lines, the x axis and its labels.
    pub fn x_grid<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        wanted: usize,
    ) -> Result<(), String> {
        for (value, label) in self.x.ticks(wanted) {
            let x = self.x_at(value);
            pen.line((x, self.top), (x, self.bottom), Stroke::solid(GRID, 1.0))?;
            pen.line(
                (x, self.bottom),
                (x, self.bottom + 5.0),
                Stroke::solid(MUTED, 1.0),
            )?;
            pen.text(&label, (x, self.bottom + 19.0), SMALL, Align::Centre)?;
        }
        let axis = Stroke::solid(MUTED, 1.0);
        pen.line((self.left, self.bottom), (self.right, self.bottom), axis)
    }

    /// Level grid lines, the y axis and its labels.
    pub fn y_grid<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        wanted: usize,
    ) -> Result<(), String> {
        for (value, label) in self.y.ticks(wanted) {
            let (_, y) = self.at(0.0, value);
            pen.line((self.left, y), (self.right, y), Stroke::solid(GRID, 1.0))?;
            pen.line(
                (self.left - 5.0, y),
                (self.left, y),
                Stroke::solid(MUTED, 1.0),
            )?;
            pen.text(&label, (self.left - 9.0, y + 4.3), SMALL, Align::Right)?;
        }
        let axis = Stroke::solid(MUTED, 1.0);
        pen.line((self.left, self.top), (self.left, self.bottom), axis)
    }

    /// Title of the x axis, below its labels.
    pub fn x_title<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        title: &str,
    ) -> Result<(), String> {
        let middle = f64::midpoint(self.left, self.right);
        pen.text(title, (middle, self.bottom + 42.0), NORMAL, Align::Centre)
    }

    /// Title of the y axis, left of its labels, reading upwards.
    pub fn y_title<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        title: &str,
    ) -> Result<(), String> {
        let title = fit(title, NORMAL, self.bottom - self.top + 40.0);
        pen.upright(&title, (24.0, f64::midpoint(self.top, self.bottom)), NORMAL)
    }
}

/// Heading of a picture of the suite `title`.
pub(super) fn heading(what: &str, title: &str, width: f64) -> String {
    let text = if title.is_empty() {
        what.to_string()
    } else {
        format!("{what}: {title}")
    };
    fit(&text, LARGE, width - 40.0)
}

/// A picture that has nothing to show says so.
pub(super) fn empty<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    (width, height): Point,
    message: &str,
) -> Result<(), String> {
    pen.note(
        &fit(message, LARGE, width - 40.0),
        (width / 2.0, height / 2.0),
        LARGE,
        Align::Centre,
    )
}

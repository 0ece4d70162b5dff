//! From a picture to a file: the same drawing code on plotters' bitmap and SVG backends.

use super::ChartError;
use super::palette::PAPER;
use super::pen::{Medium, Pen, register_font};
use crate::error::RecordError;
use crate::xml::escape;
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};
use std::path::Path;

/// Something that can be drawn; lengths are in CSS pixels.
pub(super) trait Picture {
    /// Width and height.
    fn size(&self) -> (u32, u32);
    /// What the picture shows, in one sentence, for readers who cannot see it.
    fn describe(&self) -> String;
    /// Draws it.
    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String>;
}

/// Backends count in whole units; this many to a pixel keep curves smooth.
const UNITS: u32 = 4;
/// A PNG has this many pixels to a CSS pixel, for sharp text on dense screens.
const DENSITY: u32 = 2;
/// The most units of a bitmap that is drawn; three bytes each.
const MOST_UNITS: u64 = 120_000_000;

/// The picture as an SVG document whose drawing is scaled to [`Picture::size`].
pub(super) fn svg<P: Picture>(picture: &P) -> Result<String, ChartError> {
    register_font()?;
    let (width, height) = picture.size();
    let mut text = String::new();
    let mut backend = SVGBackend::with_string(&mut text, (width * UNITS, height * UNITS));
    let mut pen = Pen::new(&mut backend, f64::from(UNITS), Medium::Vector);
    let drawn = pen
        .rectangle((0.0, 0.0), (f64::from(width), f64::from(height)), PAPER)
        .and_then(|()| picture.draw(&mut pen))
        .and_then(|()| backend.present().map_err(|e| e.to_string()));
    drop(backend);
    drawn.map_err(|message| ChartError::Draw {
        chart: picture.describe(),
        message,
    })?;
    // plotters' own head would show the picture at its size in units, and without a description.
    let body = text.split_once('>').map_or("", |(_, body)| body);
    let about = escape(&picture.describe());
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{about}\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\" stroke-linejoin=\"round\">\n\
         <title>{about}</title>{body}",
        width * UNITS,
        height * UNITS,
    ))
}

/// Writes the picture as a PNG, whole or not at all.
pub(super) fn write_png<P: Picture>(picture: &P, path: &Path) -> Result<(), ChartError> {
    register_font()?;
    let (width, height) = picture.size();
    let fits =
        |units: u32| u64::from(width) * u64::from(height) * u64::from(units * units) <= MOST_UNITS;
    // Very tall pictures lose smoothness before they are refused.
    let Some(units) = [UNITS, DENSITY, 1].into_iter().find(|u| fits(*u)) else {
        return Err(ChartError::TooLarge {
            chart: picture.describe(),
            width,
            height,
        });
    };
    let failed = |message: String| ChartError::Draw {
        chart: picture.describe(),
        message,
    };
    let (w, h) = (width * units, height * units);
    let mut pixels = vec![0xFF_u8; w as usize * h as usize * 3];
    {
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (w, h));
        let mut pen = Pen::new(&mut backend, f64::from(units), Medium::Bitmap);
        picture.draw(&mut pen).map_err(failed)?;
        backend.present().map_err(|e| failed(e.to_string()))?;
    }
    let factor = if units > DENSITY { units / DENSITY } else { 1 };
    let (pixels, w, h) = shrink(&pixels, w, h, factor);

    // plotters encodes into a file that it opens itself and chooses the format by its extension.
    let mut temporary = path.file_stem().unwrap_or_default().to_os_string();
    temporary.push(format!(".{}.tmp.png", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let encoded = (|| {
        let mut file = BitMapBackend::new(&temporary, (w, h));
        file.blit_bitmap((0, 0), (w, h), &pixels)?;
        file.present()
    })();
    let written = match encoded {
        Ok(()) => std::fs::read(&temporary)
            .and_then(whole)
            .map_err(|e| ChartError::Write(RecordError::io(path, "write", e)))
            .and_then(|bytes| Ok(crate::record::write_shared(path, &bytes)?)),
        Err(e) => {
            let source = std::io::Error::other(e.to_string());
            Err(ChartError::Write(RecordError::io(path, "write", source)))
        }
    };
    // Best effort: a left-over temporary file is harmless.
    let _ = std::fs::remove_file(&temporary);
    written
}

/// How every PNG ends.
const END: &[u8] = b"\0\0\0\0IEND\xAE\x42\x60\x82";

/// The bytes of a PNG with its end: the encoder does not tell of a last piece for which there was no room.
fn whole(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    match bytes.ends_with(END) {
        true => Ok(bytes),
        false => Err(std::io::ErrorKind::StorageFull.into()),
    }
}

/// Averages blocks of `factor` x `factor` pixels (RGB): the smoothing of edges.
fn shrink(pixels: &[u8], w: u32, h: u32, factor: u32) -> (Vec<u8>, u32, u32) {
    if factor <= 1 {
        return (pixels.to_vec(), w, h);
    }
    let (out_w, out_h) = (w / factor, h / factor);
    let (row, n) = (w as usize * 3, factor as usize);
    let mut out = Vec::with_capacity(out_w as usize * out_h as usize * 3);
    for y in 0..out_h as usize {
        for x in 0..out_w as usize {
            for channel in 0..3 {
                let mut sum = 0u32;
                for dy in 0..n {
                    let start = (y * n + dy) * row + x * n * 3 + channel;
                    for dx in 0..n {
                        sum += u32::from(pixels[start + dx * 3]);
                    }
                }
                out.push(((sum + factor * factor / 2) / (factor * factor)) as u8);
            }
        }
    }
    (out, out_w, out_h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_blocks() {
        let pixels: Vec<u8> = (0..4 * 2).flat_map(|i| [i * 10, 0, 255]).collect();
        let (out, w, h) = shrink(&pixels, 4, 2, 2);
        assert_eq!((w, h), (2, 1));
        // Blocks {0, 10, 40, 50} and {20, 30, 60, 70}.
        assert_eq!(out, [25, 0, 255, 45, 0, 255]);
    }
}

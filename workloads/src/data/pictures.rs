//! Photographs in files: decoding, cropping and scaling.

use image::imageops::{self, FilterType};
use image::io::Reader;
use image::{DynamicImage, ImageResult, RgbImage};
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;
use velodrome_harness::seed::unit;

/// Pixels of the largest picture that is decoded; the largest of ImageNet has some 60 million.
const MOST_PIXELS: u64 = 100_000_000;
/// Attempts at a random crop before the middle is taken.
const ATTEMPTS: u64 = 10;
/// Share of a picture's area that a random crop covers.
const AREA: (f64, f64) = (0.08, 1.0);
/// Width of a random crop, in heights.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// Which part of a picture is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crop {
    /// The middle square, `share` thousandths of the shorter side.
    Middle {
        /// Thousandths.
        share: u32,
    },
    /// A random rectangle, mirrored half of the time (Szegedy et al. 2015, arXiv 1409.4842).
    Random {
        /// Where all chance comes from.
        draw: u64,
    },
}

/// A rectangle: left, top, width, height.
type Rectangle = [u32; 4];

/// Checks that a file starts as a picture of decodable size: reads its header alone.
pub(super) fn check_header(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let reader = Reader::new(BufReader::new(file)).with_guessed_format();
    let size = reader.map_err(|e| e.to_string())?.into_dimensions();
    check_size(size.map_err(|e| e.to_string())?)
}

fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("{width}x{height} pixels are not a size to decode"));
    }
    Ok(())
}

/// Decodes a JPEG or PNG file (told by its content, not by its name), takes the part that `crop`
/// says and scales it to a square of `side` pixels.
pub(super) fn read(path: &Path, crop: Crop, side: u32) -> Result<RgbImage, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let image = decode(&bytes)?.into_rgb8();
    let size = image.dimensions();
    let (part, mirrored) = match crop {
        Crop::Middle { share } => (middle(size, share), false),
        Crop::Random { draw } => (random(size, draw), unit(draw, 1000) < 0.5),
    };
    let [left, top, width, height] = part;
    let part = imageops::crop_imm(&image, left, top, width, height).to_image();
    let mut scaled = imageops::resize(&part, side, side, FilterType::Triangle);
    if mirrored {
        imageops::flip_horizontal_in_place(&mut scaled);
    }
    Ok(scaled)
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let reader = || Reader::new(Cursor::new(bytes)).with_guessed_format();
    let text = |e: image::ImageError| e.to_string();
    let size = reader().map_err(|e| e.to_string())?.into_dimensions();
    check_size(size.map_err(text)?)?;
    let image: ImageResult<DynamicImage> = reader().map_err(|e| e.to_string())?.decode();
    image.map_err(text)
}

/// The square in the middle.
fn middle((width, height): (u32, u32), share: u32) -> Rectangle {
    let side = u64::from(width.min(height)) * u64::from(share) / 1000;
    let side = (side as u32).max(1);
    [
        (width - side).div_ceil(2),
        (height - side).div_ceil(2),
        side,
        side,
    ]
}

/// A rectangle of random area (even between the bounds of [`AREA`]), shape (its logarithm even
/// between those of [`RATIO`]) and place. Where ten attempts do not fit, the largest part in the
/// middle whose shape is allowed, as in torchvision's `RandomResizedCrop`.
fn random((width, height): (u32, u32), draw: u64) -> Rectangle {
    let (w, h) = (f64::from(width), f64::from(height));
    for attempt in 0..ATTEMPTS {
        let chance = |number: u64| unit(draw, 4 * attempt + number);
        let area = w * h * (AREA.0 + (AREA.1 - AREA.0) * chance(0));
        let (low, high) = (RATIO.0.ln(), RATIO.1.ln());
        let ratio = (low + (high - low) * chance(1)).exp();
        let part = [(area * ratio).sqrt().round(), (area / ratio).sqrt().round()];
        let [part_width, part_height] = part.map(|side| side as u32);
        if part_width > 0 && part_height > 0 && part_width <= width && part_height <= height {
            let place = |free: u32, chance: f64| (f64::from(free + 1) * chance) as u32;
            return [
                place(width - part_width, chance(2)).min(width - part_width),
                place(height - part_height, chance(3)).min(height - part_height),
                part_width,
                part_height,
            ];
        }
    }
    let ratio = (w / h).clamp(RATIO.0, RATIO.1);
    let part_width = ((h * ratio).round().min(w) as u32).max(1);
    let part_height = ((w / ratio).round().min(h) as u32).max(1);
    [
        (width - part_width) / 2,
        (height - part_height) / 2,
        part_width,
        part_height,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;

    /// 40x20: red on the left, blue on the right.
    fn halves() -> RgbImage {
        RgbImage::from_fn(40, 20, |x, _| {
            image::Rgb(if x < 20 { [250, 5, 5] } else { [5, 5, 250] })
        })
    }

    fn written(name: &str, format: ImageFormat) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        halves().save_with_format(&path, format).unwrap();
        (folder, path)
    }

    #[test]
    fn the_middle_square_is_taken_and_scaled() {
        assert_eq!(middle((40, 20), 1000), [10, 0, 20, 20]);
        assert_eq!(middle((500, 375), 875), [86, 24, 328, 328]);
        assert_eq!(middle((1, 1), 875), [0, 0, 1, 1]);
        // A PNG under a JPEG's name, as ImageNet has one.
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let (_folder, path) = written("halves.JPEG", format);
            check_header(&path).unwrap();
            let image = read(&path, Crop::Middle { share: 1000 }, 8).unwrap();
            assert_eq!(image.dimensions(), (8, 8));
            assert!(image.get_pixel(0, 4).0[0] > 200);
            assert!(image.get_pixel(7, 4).0[2] > 200);
        }
    }

    #[test]
    fn random_parts_lie_inside_and_have_allowed_sizes() {
        for size in [(500, 375), (7, 5), (1, 1), (1000, 3), (3, 1000)] {
            for draw in 0..300 {
                let [left, top, width, height] = random(size, draw);
                assert!(width > 0 && height > 0);
                assert!(left + width <= size.0 && top + height <= size.1);
                if size == (500, 375) {
                    let area = f64::from(width * height) / 187_500.0;
                    assert!((0.075..=1.0).contains(&area), "{area}");
                    let ratio = f64::from(width) / f64::from(height);
                    assert!((0.73..1.36).contains(&ratio), "{ratio}");
                }
            }
        }
        assert_eq!(random((500, 375), 5), random((500, 375), 5));
        assert_ne!(random((500, 375), 5), random((500, 375), 6));
    }

    #[test]
    fn half_of_the_random_parts_are_mirrored() {
        let (_folder, path) = written("halves.JPEG", ImageFormat::Png);
        let (mut plain, mut mirrored) = (0, 0);
        for draw in 0..200 {
            let image = read(&path, Crop::Random { draw }, 8).unwrap();
            let [left, .., right] = [0, 1, 6, 7].map(|x| image.get_pixel(x, 4).0[0]);
            plain += i32::from(left > right);
            mirrored += i32::from(left < right);
        }
        assert!(plain > 30 && mirrored > 30, "{plain} {mirrored}");
        assert!((plain - mirrored).abs() < 60, "{plain} {mirrored}");
    }

    #[test]
    fn damage_is_an_error() {
        let (folder, path) = written("halves.JPEG", ImageFormat::Jpeg);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(check_header(&path).is_err());
        std::fs::write(&path, b"<html>not found</html>").unwrap();
        assert!(check_header(&path).is_err());
        std::fs::write(&path, b"").unwrap();
        assert!(check_header(&path).is_err());
        // A whole header before a damaged body is found at decoding only.
        let png = folder.path().join("cut.png");
        halves().save_with_format(&png, ImageFormat::Png).unwrap();
        let whole = std::fs::read(&png).unwrap();
        std::fs::write(&png, &whole[..whole.len() - 30]).unwrap();
        assert!(check_header(&png).is_ok());
        assert!(read(&png, Crop::Middle { share: 1000 }, 8).is_err());
        assert!(read(&folder.path().join("none"), Crop::Middle { share: 1000 }, 8).is_err());
    }
}

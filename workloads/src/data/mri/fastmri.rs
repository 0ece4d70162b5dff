//! The loader of the fastMRI knees (Zbontar et al. 2018, arXiv 1811.08839; <https://fastmri.med.nyu.edu>,
//! single coil), as AlgoPerf uses them.
//!
//! A file is a volume: `kspace`, complex 32-bit values of shape `[slices, rows, columns]`,
//! `reconstruction_esc`, real 32-bit values of shape `[slices, 320, 320]`, and the attribute `max`.

use super::kspace::{Stream, column_mask, zero_filled};
use super::slices::{Example, Ready, collect, in_parallel};
use hdf5_pure::{AttrValue, Datatype, DatatypeByteOrder, File};
use std::path::{Path, PathBuf};
use velodrome_harness::contract::{DataSource, Dataset, HostBatch, Splits, WorkloadError};

/// Fixes the masks of the training split, and the one mask of the others.
const SEEDS: [u64; 2] = [0x6661_7374, 0x6661_7375];
/// Of the files in the validation folder, sorted by name, so many are for validation, the others for
/// test.
const VALIDATION_FILES: usize = 100;

/// One file.
#[derive(Debug, Clone)]
struct Volume {
    path: PathBuf,
    slices: usize,
    rows: usize,
    columns: usize,
    /// Largest intensity of the reference reconstruction.
    max: f32,
}

impl Volume {
    /// Checks what the file at `path` says of itself.
    fn open(path: PathBuf, side: usize) -> Result<Self, String> {
        let fault = |message: String| format!("{}: {message}", path.display());
        let file = File::open_streaming(&path).map_err(|e| fault(e.to_string()))?;
        let shape_of = |name: &str| -> Result<[usize; 3], String> {
            let set = file
                .dataset(name)
                .map_err(|e| fault(format!("`{name}`: {e}")))?;
            let kind = set
                .datatype()
                .map_err(|e| fault(format!("`{name}`: {e}")))?;
            let right = if name == "kspace" {
                is_complex(&kind)
            } else {
                is_real(&kind)
            };
            if !right {
                let message = format!("`{name}` does not hold little-endian 32-bit values");
                return Err(fault(message));
            }
            let shape = set.shape().map_err(|e| fault(format!("`{name}`: {e}")))?;
            let sizes: Vec<usize> = shape.iter().map_while(|n| (*n).try_into().ok()).collect();
            <[usize; 3]>::try_from(sizes)
                .map_err(|_| fault(format!("`{name}` has shape {shape:?}, not three axes")))
        };
        let [slices, rows, columns] = shape_of("kspace")?;
        let target = shape_of("reconstruction_esc")?;
        if target != [slices, side, side] || rows < side || columns < side {
            return Err(fault(format!(
                "`kspace` is {slices} x {rows} x {columns} and `reconstruction_esc` {target:?}; \
                 expected images of {side} x {side} and as many slices in both"
            )));
        }
        let attributes = file.root().attrs().map_err(|e| fault(e.to_string()))?;
        let max = match attributes.get("max") {
            Some(AttrValue::F64(max)) => *max as f32,
            Some(AttrValue::F32(max)) => *max,
            _ => return Err(fault("the attribute `max` is not a real number".into())),
        };
        Ok(Self {
            path,
            slices,
            rows,
            columns,
            max,
        })
    }

    /// The slice at `index`, with the columns of `mask`; `None` where the file has changed since it
    /// was opened.
    fn read(&self, index: usize, side: usize, mask: &[bool]) -> Option<Ready> {
        let file = File::open_streaming(&self.path).ok()?;
        let row = |name: &str| {
            let set = file.dataset(name).ok()?;
            set.read_raw_rows(index as u64, 1).ok()
        };
        let (kspace, target) = (floats(&row("kspace")?), floats(&row("reconstruction_esc")?));
        if kspace.len() != 2 * self.rows * self.columns || target.len() != side * side {
            return None;
        }
        let zero_filled = zero_filled(&kspace, [self.rows, self.columns], mask, side);
        Some((Example::new(&zero_filled, &target), self.max))
    }
}

fn is_real(kind: &Datatype) -> bool {
    let order = DatatypeByteOrder::LittleEndian;
    matches!(kind, Datatype::FloatingPoint { size: 4, byte_order, .. } if *byte_order == order)
}

/// Two real numbers, one behind the other.
fn is_complex(kind: &Datatype) -> bool {
    let Datatype::Compound {
        size: 8, members, ..
    } = kind
    else {
        return false;
    };
    members.len() == 2
        && members
            .iter()
            .zip([0, 4])
            .all(|(member, offset)| member.byte_offset == offset && is_real(&member.datatype))
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect()
}

/// Slices of volumes that lie in files; each is read and undersampled when a batch asks for it. Gives
/// the fields of [`Slices`](super::Slices).
#[derive(Debug, Clone)]
pub struct Volumes {
    volumes: Vec<Volume>,
    side: usize,
    seed: u64,
    /// Whether all slices of one width have the same mask.
    one_mask: bool,
}

impl Volumes {
    fn open(paths: Vec<PathBuf>, side: usize, seed: u64, one_mask: bool) -> Result<Self, String> {
        let opened = in_parallel(paths.len(), |i| Volume::open(paths[i].clone(), side));
        Ok(Self {
            volumes: opened.into_iter().collect::<Result<_, _>>()?,
            side,
            seed,
            one_mask,
        })
    }

    fn make(&self, index: usize) -> Option<Ready> {
        let mut slice = index;
        let volume = self.volumes.iter().find(|volume| {
            let inside = slice < volume.slices;
            slice -= if inside { 0 } else { volume.slices };
            inside
        })?;
        let mut stream = Stream::new(self.seed, if self.one_mask { 0 } else { index });
        let mask = column_mask(volume.columns, &mut stream);
        volume.read(slice, self.side, &mask)
    }
}

impl Dataset for Volumes {
    fn len(&self) -> usize {
        self.volumes.iter().map(|v| v.slices).sum()
    }

    /// Indices that are not below the length are left out. Where a file cannot be read any more, the
    /// batch is empty and has no fields, so that the model refuses it.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let len = self.len();
        let inside: Vec<usize> = indices.iter().copied().filter(|i| *i < len).collect();
        let made = in_parallel(inside.len(), |i| self.make(inside[i]));
        match made.into_iter().collect::<Option<Vec<Ready>>>() {
            Some(all) => collect([self.side; 2], all.iter()),
            None => HostBatch::default(),
        }
    }
}

/// The fastMRI knees, single coil: training on `knee_singlecoil_train`, validation on the first 100
/// files of `knee_singlecoil_val` in the order of their names, test on the others.
///
/// Masks follow AlgoPerf's rule, with random numbers of our own: each training slice has a mask of its
/// own, all validation and test slices of one width share one.
pub struct FastMri;

impl FastMri {
    /// Height and width of a reconstruction.
    pub const SIDE: usize = 320;
    /// Training, validation and test slices.
    pub const SPLIT_SIZES: [usize; 3] = [34_742, 3_554, 3_581];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "fastMRI, single-coil knees".into(),
            source: "a folder with `knee_singlecoil_train` and `knee_singlecoil_val` of \
                     https://fastmri.med.nyu.edu"
                .into(),
            licence: "the fastMRI data set's own agreement".into(),
            sha256: String::new(),
        }
    }

    /// Opens the volumes in `folder`. `workload` is named in errors.
    pub fn open(workload: &str, folder: &Path) -> Result<Splits, WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let [train, validation, test] = splits(folder, Self::SIDE).map_err(fault)?;
        let found = [train.len(), validation.len(), test.len()];
        if found != Self::SPLIT_SIZES {
            return Err(fault(format!(
                "{} holds {found:?} slices for training, validation and test; the whole data set \
                 has {:?}",
                folder.display(),
                Self::SPLIT_SIZES
            )));
        }
        Ok(Splits::new(train, validation, test))
    }
}

/// Training, validation and test volumes in `folder`.
fn splits(folder: &Path, side: usize) -> Result<[Volumes; 3], String> {
    let train = files(&folder.join("knee_singlecoil_train"))?;
    let mut validation = files(&folder.join("knee_singlecoil_val"))?;
    let test = validation.split_off(VALIDATION_FILES.min(validation.len()));
    Ok([
        Volumes::open(train, side, SEEDS[0], false)?,
        Volumes::open(validation, side, SEEDS[1], true)?,
        Volumes::open(test, side, SEEDS[1], true)?,
    ])
}

/// The `.h5` files in a folder, sorted by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fault = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|e| e == "h5") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: no file ends in `.h5`", folder.display()));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use velodrome_harness::contract::HostValues;

    /// Written by h5py 3.16.0 as fastMRI's files are: see `tests/data/make_fastmri_tiny.py`. Three
    /// slices of 12 x 10 complex values; the reconstructions (6 x 6) are numpy's transforms of
    /// the whole k-space.
    const TINY: &[u8] = include_bytes!("../../../tests/data/fastmri_tiny.h5");
    const SIDE: usize = 6;
    /// Largest value of all reconstructions.
    const MAX: f32 = 5.204_293_7;
    /// Mean and deviation of the last slice, and its values less the mean and divided by the
    /// deviation, with columns 1, 4, 5 and 8 of its k-space.
    const MEAN: f32 = 1.975_101;
    const DEVIATION: f32 = 0.706_462_5;
    #[rustfmt::skip]
    const INPUT: [f32; 36] = [
        0.778971, -0.491502, -0.14056, 1.093644, -1.906443, 0.210898,
        2.235836, -0.52313, 1.527931, 2.085645, 0.419663, 0.60077,
        0.198489, 1.787402, 1.045342, -0.589435, -0.2505, 1.350607,
        -1.024691, 0.682517, -0.319793, -0.842306, -0.115585, -0.748941,
        0.61516, -1.398573, -1.111313, -0.051734, -1.308718, -0.593506,
        -0.001863, -1.010602, -0.304854, -0.252996, -1.077663, -0.568166,
    ];

    /// A folder of its own with `train` and `val` copies of the tiny file.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, train: usize, val: usize) -> Self {
            let root =
                std::env::temp_dir().join(format!("velodrome-{name}-{}", std::process::id()));
            for (sub, count) in [
                ("knee_singlecoil_train", train),
                ("knee_singlecoil_val", val),
            ] {
                let folder = root.join(sub);
                std::fs::create_dir_all(&folder).unwrap();
                for i in 0..count {
                    std::fs::write(folder.join(format!("file{i:04}.h5")), TINY).unwrap();
                }
            }
            Self(root)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn floats_of(batch: &HostBatch, field: usize) -> &[f32] {
        match &batch.fields[field].values {
            HostValues::Float(values) => values,
            HostValues::Int(_) => panic!("real values"),
        }
    }

    #[test]
    fn whole_kspace_gives_the_reconstruction_and_masked_kspace_numpys() {
        let folder = Folder::new("whole", 1, 1);
        let [train, ..] = splits(&folder.0, SIDE).unwrap();
        let (example, max) = train.volumes[0].read(1, SIDE, &[true; 10]).unwrap();
        for (input, target) in example.input.iter().zip(&example.target) {
            assert!((input - target).abs() < 1e-4, "{input} {target}");
        }
        assert!((max - MAX).abs() < 1e-4, "{max}");
        let mask: Vec<bool> = (0..10).map(|c| [1, 4, 5, 8].contains(&c)).collect();
        let (example, _) = train.volumes[0].read(2, SIDE, &mask).unwrap();
        assert!((example.mean - MEAN).abs() < 1e-5, "{}", example.mean);
        assert!((example.deviation - DEVIATION).abs() < 1e-5);
        for (found, expected) in example.input.iter().zip(INPUT) {
            assert!((found - expected).abs() < 1e-4, "{:?}", example.input);
        }
    }

    #[test]
    fn files_become_splits_by_their_names() {
        let folder = Folder::new("splits", 2, 102);
        let [train, validation, test] = splits(&folder.0, SIDE).unwrap();
        assert_eq!([train.len(), validation.len(), test.len()], [6, 300, 6]);
        assert!(test.volumes[0].path.ends_with("file0100.h5"));
        let batch = train.batch(&[5, 0, 99, 3]);
        assert_eq!((batch.examples, batch.units), (3, 3 * 36));
        assert_eq!(batch, train.batch(&[5, 0, 99, 3]));
        assert_eq!(batch.fields[0].shape, [3, 6, 6]);
        // Slices 0 and 3 are the same slice of two files: other masks in training, one in validation.
        let inputs = |set: &Volumes, i| floats_of(&set.batch(&[i]), 0).to_vec();
        assert_ne!(inputs(&train, 0), inputs(&train, 3));
        assert_eq!(inputs(&validation, 0), inputs(&validation, 3));
        let error = FastMri::open("w", &folder.0).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("file0"), "{error}");
    }

    #[test]
    fn missing_folders_and_damaged_files_are_errors_that_name_them() {
        let folder = Folder::new("bad", 1, 1);
        let error = splits(&folder.0.join("nowhere"), SIDE).unwrap_err();
        assert!(error.contains("knee_singlecoil_train"), "{error}");
        let path = folder.0.join("knee_singlecoil_val/file0000.h5");
        for (bytes, side) in [
            (&TINY[..TINY.len() / 4], SIDE),
            (b"nothing", SIDE),
            (TINY, 7),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = splits(&folder.0, side).unwrap_err();
            let train = side == 7 && error.contains("knee_singlecoil_train");
            assert!(train || error.contains("val/file0000.h5"), "{error}");
        }
        std::fs::write(&path, TINY).unwrap();
        let [_, validation, _] = splits(&folder.0, SIDE).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(validation.batch(&[0]), HostBatch::default());
        let empty = Folder::new("empty", 0, 1);
        assert!(splits(&empty.0, SIDE).unwrap_err().contains("no file"));
    }
}

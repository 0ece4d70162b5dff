//! ImageNet (Russakovsky et al. 2015, arXiv 1409.0575) in folders, as its users have it.

use super::images::labelled;
use super::pictures::{self, Crop};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use velodrome_harness::contract::{DataSource, Dataset, HostBatch, Skipped, Splits, WorkloadError};

/// ILSVRC 2012 with ImageNet-v2 (Recht et al. 2019, arXiv 1902.10811, "matched frequency") as its
/// test split, as in AlgoPerf. In a folder:
///
/// | files | split |
/// |---|---|
/// | `train/SYNSET/*.JPEG` | training: a random part, scaled to 224x224, mirrored half of the time |
/// | `val/SYNSET/*.JPEG` | validation: the middle square of 7/8 of the shorter side, scaled |
/// | `v2/CLASS/*.jpeg` | test: the same; `CLASS` is a number from 0 to 999 |
///
/// Classes are numbered by the sorted names of the synsets. Pictures are read when a batch needs
/// them. Not part of it: the RandAugment and mixup that AlgoPerf adds for its vision transformer.
pub struct ImageNet;

/// Mean and standard deviation of the red, green and blue values, between 0 and 1.
const NORMAL: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];
/// The middle square of an evaluated picture: 224 of 256 pixels of the shorter side.
const MIDDLE: Crop = Crop::Middle { share: 875 };

impl ImageNet {
    /// Height and width of an image.
    pub const SIDE: usize = 224;
    /// Classes.
    pub const CLASSES: usize = 1000;
    /// Training, validation and test images.
    pub const SPLIT_SIZES: [usize; 3] = [1_281_167, 50_000, 10_000];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "ImageNet (ILSVRC 2012) and ImageNet-v2, matched frequency".into(),
            source: "a folder of your own, with train/, val/ and v2/".into(),
            licence: "terms of access of image-net.org; MIT (ImageNet-v2)".into(),
            sha256: String::new(),
        }
    }

    /// Opens the data in `folder`, which must hold exactly [`Self::SPLIT_SIZES`] pictures. Pictures
    /// whose headers cannot be read are left out and counted. `workload` is named in errors.
    pub fn open(workload: &str, folder: &Path) -> Result<Splits, WorkloadError> {
        Self::read(workload, folder, Self::CLASSES, Some(Self::SPLIT_SIZES))
    }

    /// Opens pictures of any number in `folder`, with `classes` classes; with `sizes`, splits of other
    /// sizes are refused.
    pub fn read(
        workload: &str,
        folder: &Path,
        classes: usize,
        sizes: Option<[usize; 3]>,
    ) -> Result<Splits, WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        // Threads of its own: those that the harness knows when the clock starts are not charged to
        // the submission.
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|n| format!("velodrome-pictures-{n}"))
            .build()
            .map_err(|e| fault(format!("threads that decode pictures: {e}")))?;
        let pool = Arc::new(pool);
        let mut skipped = Vec::new();
        let mut open = |split: usize| -> Result<Pictures, WorkloadError> {
            let name = ["train", "val", "v2"][split];
            let root = folder.join(name);
            let numbered = split == 2;
            let mut pictures = list(&root, classes, numbered).map_err(&fault)?;
            let found = pictures.files.len();
            if let Some(expected) = sizes.map(|sizes| sizes[split])
                && found != expected
            {
                return Err(fault(format!(
                    "{}: holds {found} pictures, expected {expected}",
                    root.display()
                )));
            }
            skipped.extend(pool.install(|| pictures.leave_out_damaged()));
            if pictures.files.is_empty() {
                return Err(fault(format!("{}: holds no pictures", root.display())));
            }
            Ok(pictures)
        };
        let [train, validation, test] = [open(0)?, open(1)?, open(2)?].map(|pictures| Photos {
            pictures,
            pool: pool.clone(),
        });
        Ok(Splits {
            skipped,
            ..Splits::new(train, validation, test)
        })
    }
}

/// Files of one split.
#[derive(Debug)]
struct Pictures {
    /// Folder of each class.
    folders: Vec<PathBuf>,
    /// Class and name of each file, class after class, names sorted.
    files: Vec<(u16, Box<str>)>,
}

impl Pictures {
    fn path(&self, (class, name): &(u16, Box<str>)) -> PathBuf {
        let folder = self.folders.get(usize::from(*class));
        folder.map_or_else(PathBuf::new, |folder| folder.join(&**name))
    }

    /// Drops the files whose headers are no pictures'.
    fn leave_out_damaged(&mut self) -> Option<Skipped> {
        let faults: Vec<Option<String>> = self
            .files
            .par_iter()
            .map(|file| {
                let path = self.path(file);
                let fault = pictures::check_header(&path).err()?;
                Some(format!("{}: {fault}", path.display()))
            })
            .collect();
        let damaged = faults.iter().flatten().count();
        let first = faults.iter().flatten().next()?;
        let reason = format!("pictures that cannot be read; the first is {first}");
        let mut whole = faults.iter().map(Option::is_none);
        self.files.retain(|_| whole.next().unwrap_or(true));
        Some(Skipped {
            reason,
            examples: damaged as u64,
        })
    }
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let fault = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name().into_string();
        let name = name.map_err(|name| format!("{}: name {name:?}", folder.display()))?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The pictures in the folders of `root`, one folder for each class. With `numbered`, the folders'
/// names are the classes' numbers.
fn list(root: &Path, classes: usize, numbered: bool) -> Result<Pictures, String> {
    let mut found: Vec<PathBuf> = names(root)?.iter().map(|name| root.join(name)).collect();
    found.retain(|path| path.is_dir());
    let folders: Vec<PathBuf> = match numbered {
        true => (0..classes).map(|n| root.join(n.to_string())).collect(),
        false => found.clone(),
    };
    if found.len() != classes {
        return Err(format!(
            "{}: holds {} folders, expected one for each of {classes} classes",
            root.display(),
            found.len()
        ));
    }
    let mut files = Vec::new();
    for (class, folder) in folders.iter().enumerate() {
        let class = u16::try_from(class).map_err(|_| format!("{classes} classes are too many"))?;
        for name in names(folder)? {
            let end = name.rsplit('.').next().unwrap_or_default();
            if ["jpeg", "jpg"].iter().any(|e| end.eq_ignore_ascii_case(e)) {
                files.push((class, name.into_boxed_str()));
            }
        }
    }
    Ok(Pictures { folders, files })
}

/// One split of pictures. Gives the fields `image` (real, `[examples, 3, 224, 224]`) and `label`
/// (integer, `[examples]`).
struct Photos {
    pictures: Pictures,
    pool: Arc<ThreadPool>,
}

impl Dataset for Photos {
    fn len(&self) -> usize {
        self.pictures.files.len()
    }

    /// Empty where a picture cannot be decoded: use [`Self::load`].
    fn batch(&self, indices: &[usize]) -> HostBatch {
        self.load(indices, None).unwrap_or_default()
    }

    /// Indices that are not below the length are left out. With draws, random parts of the pictures.
    fn load(&self, indices: &[usize], draws: Option<&[u64]>) -> Result<HostBatch, String> {
        let wanted: Vec<(PathBuf, u16, Crop)> = indices
            .iter()
            .enumerate()
            .filter_map(|(position, index)| {
                let file = self.pictures.files.get(*index)?;
                let draw = draws.and_then(|draws| draws.get(position));
                let crop = draw.map_or(MIDDLE, |draw| Crop::Random { draw: *draw });
                Some((self.pictures.path(file), file.0, crop))
            })
            .collect();
        let side = ImageNet::SIDE;
        let plane = side * side;
        let mut pixels = vec![0f32; wanted.len() * 3 * plane];
        self.pool.install(|| {
            pixels
                .par_chunks_exact_mut(3 * plane)
                .zip(&wanted)
                .try_for_each(|(planes, (path, _, crop))| {
                    let image = pictures::read(path, *crop, side as u32)
                        .map_err(|e| format!("{}: {e}", path.display()))?;
                    let channels = planes.chunks_exact_mut(plane).zip(NORMAL).enumerate();
                    for (channel, (values, (mean, deviation))) in channels {
                        for (value, pixel) in values.iter_mut().zip(image.pixels()) {
                            *value = (f32::from(pixel.0[channel]) / 255.0 - mean) / deviation;
                        }
                    }
                    Ok::<(), String>(())
                })
        })?;
        let labels: Vec<i32> = wanted
            .iter()
            .map(|(_, class, _)| i32::from(*class))
            .collect();
        Ok(labelled(pixels, vec![labels.len(), 3, side, side], labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};
    use velodrome_harness::contract::HostValues;

    /// A folder in ImageNet's form: three classes, two pictures of each in every split, red values of
    /// 50 times the class, with a file that is no picture beside them.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (split, classes, end) in [
            ("train", ["n03", "n01", "n02"], "JPEG"),
            ("val", ["n02", "n01", "n03"], "JPEG"),
            ("v2", ["2", "0", "1"], "jpeg"),
        ] {
            for name in classes {
                let class = name.trim_start_matches("n0").parse::<u8>().unwrap();
                let class = class - u8::from(name.starts_with('n'));
                let path = folder.path().join(split).join(name);
                std::fs::create_dir_all(&path).unwrap();
                for picture in 0..2 {
                    let colour = Rgb([50 * class, 100, 100 + 50 * picture]);
                    let image = RgbImage::from_pixel(12, 9, colour);
                    image.save(path.join(format!("{picture}.{end}"))).unwrap();
                }
                std::fs::write(path.join("LICENCE"), "text").unwrap();
            }
        }
        folder
    }

    fn labels(batch: &HostBatch) -> Vec<i32> {
        match &batch.fields[1].values {
            HostValues::Int(labels) => labels.clone(),
            HostValues::Float(_) => panic!("labels are integers"),
        }
    }

    fn pixels(batch: &HostBatch) -> &[f32] {
        match &batch.fields[0].values {
            HostValues::Float(pixels) => pixels,
            HostValues::Int(_) => panic!("pixels are real"),
        }
    }

    #[test]
    fn classes_follow_the_names_and_pictures_are_normalised() {
        let folder = folder();
        let splits = ImageNet::read("test", folder.path(), 3, Some([6, 6, 6])).unwrap();
        assert!(splits.skipped.is_empty());
        for split in [&splits.train, &splits.validation, &splits.test] {
            assert_eq!(split.len(), 6);
            let batch = split.batch(&[5, 0, 2, 99]);
            assert_eq!(batch.fields[0].shape, [3, 3, 224, 224]);
            assert_eq!(labels(&batch), [2, 0, 1]);
            // Red of class 2 is 100, blue of the second picture is 150; JPEG is a little off.
            let found = pixels(&batch);
            let red = (100.0 / 255.0 - 0.485) / 0.229;
            let blue = (150.0 / 255.0 - 0.406) / 0.225;
            assert!((found[0] - red).abs() < 0.05, "{} {red}", found[0]);
            let last = found[3 * 224 * 224 - 1];
            assert!((last - blue).abs() < 0.05, "{last} {blue}");
        }
    }

    #[test]
    fn draws_change_the_part_and_nothing_else_does() {
        let folder = folder();
        let path = folder.path().join("train/n01/0.JPEG");
        let picture = |x, y| Rgb([(x * 20) as u8, (y * 25) as u8, 0]);
        RgbImage::from_fn(12, 9, picture).save(path).unwrap();
        let splits = ImageNet::read("test", folder.path(), 3, None).unwrap();
        let load = |draws| splits.train.load(&[0, 1], draws).unwrap();
        assert_eq!(load(Some(&[7, 8])), load(Some(&[7, 8])));
        assert_ne!(load(Some(&[7, 8])), load(Some(&[9, 8])));
        assert_eq!(load(None), splits.train.batch(&[0, 1]));
    }

    #[test]
    fn damage_is_counted_at_opening_and_named_at_reading() {
        let folder = folder();
        let bad = folder.path().join("train/n02/0.JPEG");
        std::fs::write(&bad, "not a picture").unwrap();
        let splits = ImageNet::read("test", folder.path(), 3, Some([6, 6, 6])).unwrap();
        assert_eq!(splits.train.len(), 5);
        assert_eq!(labels(&splits.train.batch(&[0, 1, 2, 3])), [0, 0, 1, 2]);
        assert_eq!(splits.skipped.len(), 1);
        assert_eq!(splits.skipped[0].examples, 1);
        let reason = &splits.skipped[0].reason;
        assert!(
            reason.contains("n02") && reason.contains("0.JPEG"),
            "{reason}"
        );

        // Damage behind the header, and files that vanish.
        std::fs::remove_file(folder.path().join("val/n03/1.JPEG")).unwrap();
        let error = splits.validation.load(&[0, 5], None).unwrap_err();
        assert!(error.contains("n03") && error.contains("1.JPEG"), "{error}");
        assert_eq!(splits.validation.batch(&[0, 5]).examples, 0);
        assert!(splits.validation.load(&[0, 4], None).is_ok());
    }

    #[test]
    fn other_folders_are_refused_by_name() {
        let folder = folder();
        let error = |classes, sizes| {
            let result = ImageNet::read("some_workload", folder.path(), classes, sizes);
            result.err().unwrap().to_string()
        };
        let sizes = error(3, Some([6, 7, 6]));
        assert!(
            sizes.contains("val: holds 6 pictures, expected 7"),
            "{sizes}"
        );
        assert!(sizes.contains("some_workload"), "{sizes}");
        let classes = error(4, None);
        assert!(classes.contains("train: holds 3 folders"), "{classes}");
        std::fs::rename(folder.path().join("v2/2"), folder.path().join("v2/5")).unwrap();
        let numbers = error(3, None);
        assert!(numbers.contains("v2"), "{numbers}");
        std::fs::remove_dir_all(folder.path().join("val")).unwrap();
        let missing = error(3, None);
        assert!(missing.contains("val"), "{missing}");
        let official = ImageNet::open("imagenet_vit", Path::new("/nowhere"))
            .err()
            .unwrap();
        assert!(
            official.to_string().contains("/nowhere/train"),
            "{official}"
        );
    }
}

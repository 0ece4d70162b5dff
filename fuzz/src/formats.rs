//! Files of data sets.

use velodrome_workloads::data::gguf::{Gguf, Value};
use velodrome_workloads::data::molecules::{ATOM, BOND, Graphs, push_molecule, read_smiles};
use velodrome_workloads::data::mri::{Volume, read_dicom};
use velodrome_workloads::data::read_mo;
use velodrome_workloads::data::speech::read_wav;

/// A language model in GGUF: metadata, list of tensors, elements.
pub fn gguf(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::read(bytes) else {
        return false;
    };
    for name in file.names() {
        // The error says what the shape is.
        let Err(error) = file.elements(name, &[]) else {
            continue;
        };
        let shape = error.message.split(['[', ']']).nth(1).unwrap_or_default();
        let shape = shape
            .split(", ")
            .map(str::parse)
            .collect::<Result<Vec<usize>, _>>();
        let shape = shape.expect("an error about a shape names it");
        let elements = file
            .elements(name, &shape)
            .expect("a listed tensor is inside the file");
        assert_eq!(elements.len(), shape.iter().product::<usize>());
    }
    for key in ["count", "name", "texts", "numbers", "general.alignment"] {
        if let Ok(Value::Integer(_)) = file.value(key) {
            assert!(file.integer(key).is_ok() && file.text(key).is_err());
        }
        let _ = (file.texts(key), file.integers(key), file.real(key));
    }
    true
}

/// Molecules as SMILES, one in a line.
pub fn smiles(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut graphs = Graphs::new(ATOM, BOND, 1);
    let mut all = true;
    for line in text.lines().take(64) {
        match read_smiles(line) {
            Ok(molecule) => {
                let atoms = molecule.atoms.len();
                let inside = |at: u16| usize::from(at) < atoms;
                assert!(
                    molecule
                        .bonds
                        .iter()
                        .all(|b| inside(b.from) && inside(b.to))
                );
                let _ = push_molecule(&mut graphs, &molecule, &[0]);
            }
            Err(error) => {
                assert!((1..=line.len() + 1).contains(&error.position), "{error}");
                all = false;
            }
        }
    }
    all
}

/// A recording.
pub fn wav(bytes: &[u8]) -> bool {
    let samples = read_wav(bytes);
    let most = bytes.len() / 2;
    assert!(samples.iter().all(|s| s.len() <= most));
    samples.is_ok()
}

/// A volume in NIfTI-1, packed or not.
pub fn nifti(bytes: &[u8]) -> bool {
    let Ok(volume) = Volume::from_nifti(bytes) else {
        return false;
    };
    let voxels: usize = volume.shape.iter().product();
    assert_eq!(voxels, volume.voxels.len());
    true
}

/// One image in DICOM.
pub fn dicom(bytes: &[u8]) -> bool {
    let Ok(([rows, columns], pixels)) = read_dicom(bytes) else {
        return false;
    };
    assert_eq!(rows * columns, pixels.len());
    true
}

/// A message catalogue of gettext.
pub fn catalogue(bytes: &[u8]) -> bool {
    read_mo(bytes).is_ok()
}

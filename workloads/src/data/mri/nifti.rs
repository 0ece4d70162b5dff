//! Volumes of voxels, and the NIfTI-1 format that they come in.
//!
//! The format: <https://nifti.nimh.nih.gov/nifti-1>, files with header and voxels in one (`.nii`,
//! `.nii.gz`), in either byte order.

use flate2::read::GzDecoder;
use std::io::Read;

/// The most voxels that a volume may have.
const MOST: usize = 1 << 26;
/// Bytes of the header.
const HEADER: usize = 348;

/// A volume of intensities.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Intensities, the first axis fastest.
    pub voxels: Vec<f32>,
}

impl Volume {
    /// A volume of bytes, the first axis fastest.
    pub(super) fn from_bytes(shape: [usize; 3], bytes: &[u8]) -> Result<Self, String> {
        let count = count(shape)?;
        if bytes.len() != count {
            return Err(format!("{} voxels, expected {count}", bytes.len()));
        }
        Ok(Self {
            shape,
            voxels: bytes.iter().map(|x| f32::from(*x)).collect(),
        })
    }

    /// Reads a NIfTI-1 file, compressed or not. The message says what is wrong with it.
    pub fn from_nifti(file: &[u8]) -> Result<Self, String> {
        if file.starts_with(&[0x1f, 0x8b]) {
            Self::read(GzDecoder::new(file))
        } else {
            Self::read(file)
        }
    }

    fn read(mut source: impl Read) -> Result<Self, String> {
        let mut head = [0; HEADER];
        source
            .read_exact(&mut head)
            .map_err(|e| format!("the header of {HEADER} bytes: {e}"))?;
        let swapped = match i32::from_le_bytes([head[0], head[1], head[2], head[3]]) {
            348 => false,
            n if n.swap_bytes() == 348 => true,
            n => {
                return Err(format!(
                    "the header's size is {n}, not 348: not a NIfTI-1 file"
                ));
            }
        };
        let field = Fields {
            head: &head,
            swapped,
        };
        if &head[344..348] != b"n+1\0" {
            return Err("the magic is not `n+1`: header and voxels must be in one file".into());
        }
        let shape = field.shape()?;
        let kind = Kind::of(field.short(70), field.short(72))?;
        let offset = field.float(108);
        if !(HEADER as f32..1e6).contains(&offset) || offset.fract() != 0.0 {
            return Err(format!("the voxels' offset is {offset}"));
        }
        let bytes = count(shape)?
            .checked_mul(kind.bytes())
            .ok_or("too many voxels")?;
        let gap = offset as u64 - HEADER as u64;
        let skipped = std::io::copy(&mut source.by_ref().take(gap), &mut std::io::sink());
        if skipped.map_err(|e| e.to_string())? != gap {
            return Err("is cut short before its voxels".into());
        }
        // The buffer grows with what is really there, whatever the header claims.
        let mut raw = Vec::new();
        source
            .take(bytes as u64)
            .read_to_end(&mut raw)
            .map_err(|e| format!("its voxels: {e}"))?;
        if raw.len() != bytes {
            return Err(format!("{} bytes of voxels, expected {bytes}", raw.len()));
        }
        let (mut slope, intercept) = (field.float(112), field.float(116));
        if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
            slope = 1.0;
        }
        let intercept = if intercept.is_finite() {
            intercept
        } else {
            0.0
        };
        let voxels = raw.chunks_exact(kind.bytes());
        let voxels: Vec<f32> = voxels
            .map(|v| kind.value(v, swapped) * slope + intercept)
            .collect();
        match voxels.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(format!("voxel {at} is not a finite number")),
            None => Ok(Self { shape, voxels }),
        }
    }
}

fn count(shape: [usize; 3]) -> Result<usize, String> {
    let [a, b, c] = shape;
    let count = a.checked_mul(b).and_then(|n| n.checked_mul(c));
    count
        .filter(|n| (1..=MOST).contains(n))
        .ok_or_else(|| format!("{shape:?} voxels are none or too many"))
}

/// The header's numbers.
struct Fields<'a> {
    head: &'a [u8; HEADER],
    swapped: bool,
}

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some(found) = self.head.get(at..at + N) {
            bytes.copy_from_slice(found);
        }
        if self.swapped {
            bytes.reverse();
        }
        bytes
    }

    fn short(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.bytes(at))
    }

    fn float(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.bytes(at))
    }

    /// The first three dimensions; there must be no others with more than one entry.
    fn shape(&self) -> Result<[usize; 3], String> {
        let all: [i16; 8] = std::array::from_fn(|i| self.short(40 + 2 * i));
        let rank = usize::try_from(all[0]).ok().filter(|r| (3..=7).contains(r));
        let rank = rank.ok_or_else(|| format!("{} dimensions, expected 3", all[0]))?;
        if all[4..=rank.max(3)].iter().any(|n| *n != 1) {
            return Err(format!(
                "dimensions {:?}: more than one volume",
                &all[1..=rank]
            ));
        }
        let mut shape = [0; 3];
        for (to, from) in shape.iter_mut().zip(&all[1..4]) {
            *to = usize::try_from(*from).map_err(|_| format!("a dimension of {from}"))?;
        }
        Ok(shape)
    }
}

/// The type of a voxel.
#[derive(Debug, Clone, Copy)]
enum Kind {
    U8,
    I16,
    U16,
    I32,
    F32,
    F64,
}

impl Kind {
    fn of(code: i16, bits: i16) -> Result<Self, String> {
        let kind = match code {
            2 => Kind::U8,
            4 => Kind::I16,
            512 => Kind::U16,
            8 => Kind::I32,
            16 => Kind::F32,
            64 => Kind::F64,
            _ => return Err(format!("voxels of type {code} are not supported")),
        };
        if usize::try_from(bits) != Ok(8 * kind.bytes()) {
            return Err(format!("voxels of type {code} with {bits} bits"));
        }
        Ok(kind)
    }

    fn bytes(self) -> usize {
        match self {
            Kind::U8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::I32 | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    fn value(self, bytes: &[u8], swapped: bool) -> f32 {
        let mut b = [0; 8];
        for (to, from) in b.iter_mut().zip(bytes) {
            *to = *from;
        }
        if swapped {
            b[..self.bytes()].reverse();
        }
        match self {
            Kind::U8 => f32::from(b[0]),
            Kind::I16 => f32::from(i16::from_le_bytes([b[0], b[1]])),
            Kind::U16 => f32::from(u16::from_le_bytes([b[0], b[1]])),
            Kind::I32 => i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
            Kind::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Kind::F64 => f64::from_le_bytes(b) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    /// A file of 2 x 3 x 2 voxels with values 0, 1, 2, ...
    fn tiny(code: i16, bits: i16, swapped: bool) -> Vec<u8> {
        let order = |mut bytes: Vec<u8>| {
            if swapped {
                bytes.reverse();
            }
            bytes
        };
        let mut head = vec![0; 352];
        let mut put = |at: usize, bytes: Vec<u8>| {
            let bytes = order(bytes);
            head[at..at + bytes.len()].copy_from_slice(&bytes);
        };
        put(0, 348i32.to_le_bytes().to_vec());
        for (i, n) in [3i16, 2, 3, 2, 1].into_iter().enumerate() {
            put(40 + 2 * i, n.to_le_bytes().to_vec());
        }
        put(70, code.to_le_bytes().to_vec());
        put(72, bits.to_le_bytes().to_vec());
        put(108, 352f32.to_le_bytes().to_vec());
        head[344..348].copy_from_slice(b"n+1\0");
        for value in 0..12u8 {
            head.extend(order(match code {
                2 => vec![value],
                4 | 512 => i16::from(value).to_le_bytes().to_vec(),
                8 => i32::from(value).to_le_bytes().to_vec(),
                16 => f32::from(value).to_le_bytes().to_vec(),
                _ => f64::from(value).to_le_bytes().to_vec(),
            }));
        }
        head
    }

    #[test]
    fn all_types_and_both_orders_are_read() {
        for (code, bits) in [(2, 8), (4, 16), (512, 16), (8, 32), (16, 32), (64, 64)] {
            for swapped in [false, true] {
                let volume = Volume::from_nifti(&tiny(code, bits, swapped)).unwrap();
                assert_eq!(volume.shape, [2, 3, 2]);
                let expected: Vec<f32> = (0..12u8).map(f32::from).collect();
                assert_eq!(volume.voxels, expected, "{code} {swapped}");
            }
        }
    }

    #[test]
    fn compressed_files_and_scaled_values_are_read() {
        let mut file = tiny(2, 8, false);
        file[112..116].copy_from_slice(&0.5f32.to_le_bytes());
        file[116..120].copy_from_slice(&3f32.to_le_bytes());
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&file).unwrap();
        let packed = packed.finish().unwrap();
        let volume = Volume::from_nifti(&packed).unwrap();
        assert_eq!(volume.voxels[..3], [3.0, 3.5, 4.0]);
        assert!(Volume::from_nifti(&packed[..packed.len() / 2]).is_err());
    }

    #[test]
    fn faults_are_refused() {
        let good = tiny(2, 8, false);
        for cut in [0, 100, 350, good.len() - 1] {
            assert!(Volume::from_nifti(&good[..cut]).is_err(), "{cut}");
        }
        // Size of the header, rank, a dimension of 0, one below 0, a second volume, type, bits,
        // offset, magic.
        for (at, bytes) in [
            (0, &[1][..]),
            (40, &[2]),
            (42, &[0, 0]),
            (42, &[255, 255]),
            (40, &[4, 0, 2, 0, 3, 0, 2, 0, 2, 0]),
            (70, &[128]),
            (72, &[16]),
            (108, &[0, 0, 0, 0]),
            (344, b"ni1"),
        ] {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            assert!(Volume::from_nifti(&bad).is_err(), "{at} {bytes:?}");
        }
        let mut huge = good.clone();
        huge[42..48].copy_from_slice(&[255, 127, 255, 127, 255, 127]);
        let error = Volume::from_nifti(&huge).unwrap_err();
        assert!(error.contains("too many"), "{error}");
        let mut nan = tiny(16, 32, false);
        nan[352..356].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Volume::from_nifti(&nan).unwrap_err().contains("voxel 0"));
    }
}

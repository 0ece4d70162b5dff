//! One image in an uncompressed DICOM file (part 10 of the standard, explicit little endian).

/// Height, width and intensities of the image, row by row. The message says what is wrong with the
/// file.
pub fn image(file: &[u8]) -> Result<([usize; 2], Vec<u16>), String> {
    if file.get(128..132) != Some(b"DICM") {
        return Err("is not a DICOM file".into());
    }
    let (mut at, mut rows, mut columns) = (132, None, None);
    while let Some(element) = Element::read(file, at)? {
        match element.tag {
            (0x0002, 0x0010) if element.value != b"1.2.840.10008.1.2.1\0" => {
                return Err("its transfer syntax is not explicit little endian".into());
            }
            (0x0028, 0x0010) => rows = element.short(),
            (0x0028, 0x0011) => columns = element.short(),
            (0x0028, 0x0002) if element.short() != Some(1) => {
                return Err("has more than one value for each pixel".into());
            }
            (0x0028, 0x0100) if element.short() != Some(16) => {
                return Err("its pixels are not of 16 bits".into());
            }
            (0x7fe0, 0x0010) => {
                let (Some(rows), Some(columns)) = (rows, columns) else {
                    return Err("has pixels before their number".into());
                };
                if element.value.len() != 2 * rows * columns {
                    let bytes = element.value.len();
                    return Err(format!("{bytes} bytes for {rows} x {columns} pixels"));
                }
                let pixels = element.value.chunks_exact(2);
                let pixels = pixels.map(|p| u16::from_le_bytes([p[0], p[1]])).collect();
                return Ok(([rows, columns], pixels));
            }
            _ => {}
        }
        at = element.end;
    }
    Err("has no pixels".into())
}

/// One tagged value.
struct Element<'a> {
    tag: (u16, u16),
    value: &'a [u8],
    end: usize,
}

impl<'a> Element<'a> {
    /// The element at `at`; `None` at the end of the file.
    fn read(file: &'a [u8], at: usize) -> Result<Option<Self>, String> {
        let rest = file.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let short = || format!("is cut short at byte {at}");
        let head: [u8; 8] = rest
            .get(..8)
            .and_then(|h| h.try_into().ok())
            .ok_or_else(short)?;
        let tag = (
            u16::from_le_bytes([head[0], head[1]]),
            u16::from_le_bytes([head[2], head[3]]),
        );
        let long = matches!(&head[4..6], b"OB" | b"OW" | b"OF" | b"SQ" | b"UT" | b"UN");
        let (from, length) = if long {
            let length: Option<[u8; 4]> = rest.get(8..12).and_then(|l| l.try_into().ok());
            let length = length.map(u32::from_le_bytes).ok_or_else(short)?;
            (12, length as usize)
        } else {
            (8, usize::from(u16::from_le_bytes([head[6], head[7]])))
        };
        let end = from + length;
        let value = rest.get(from..end).ok_or_else(short)?;
        Ok(Some(Self {
            tag,
            value,
            end: at + end,
        }))
    }

    fn short(&self) -> Option<usize> {
        let bytes = self.value.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: (u16, u16), kind: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(kind);
        if kind == b"OW" {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    }

    fn tiny() -> Vec<u8> {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        for part in [
            element((2, 0x10), b"UI", b"1.2.840.10008.1.2.1\0"),
            element((0x28, 2), b"US", &[1, 0]),
            element((0x28, 0x10), b"US", &[2, 0]),
            element((0x28, 0x11), b"US", &[3, 0]),
            element((0x28, 0x100), b"US", &[16, 0]),
            element((0x7fe0, 0x10), b"OW", &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 1]),
        ] {
            file.extend(part);
        }
        file
    }

    #[test]
    fn an_image_is_read() {
        let expected = ([2, 3], vec![1, 2, 3, 4, 5, 256]);
        assert_eq!(image(&tiny()).unwrap(), expected);
    }

    #[test]
    fn faults_are_refused() {
        let good = tiny();
        for cut in [10, 140, good.len() - 1] {
            assert!(image(&good[..cut]).is_err(), "{cut}");
        }
        let pixels = good
            .windows(4)
            .position(|w| w == [0xe0, 0x7f, 0x10, 0])
            .unwrap();
        assert!(image(&good[..pixels]).unwrap_err().contains("no pixels"));
        // The transfer syntax, the rows, a length of 4 GiB.
        for (at, value) in [(158, b'2'), (pixels - 22, 3), (pixels + 11, 255)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(image(&bad).is_err(), "byte {at}");
        }
    }
}

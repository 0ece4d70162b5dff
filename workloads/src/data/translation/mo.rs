//! GNU message catalogues (`.mo` files, as `msgfmt` writes them; the format is described in the manual
//! of gettext, "The Format of GNU MO Files").

/// A message and its translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The original, without its context.
    pub original: String,
    /// The translation.
    pub translation: String,
}

/// What a catalogue holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The messages in the file's order (sorted by their originals, contexts included).
    pub messages: Vec<Message>,
    /// Messages with plural forms, which are left out.
    pub plurals: u64,
}

const MAGIC: u32 = 0x9504_12de;

/// A file in one of the two byte orders.
struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> File<'a> {
    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        Some(match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    /// The string at `index` of the table at `table`: a length and an offset, and a zero behind the
    /// string.
    fn string(&self, table: usize, index: usize) -> Option<&'a [u8]> {
        let at = table.checked_add(index.checked_mul(8)?)?;
        let length = usize::try_from(self.number(at)?).ok()?;
        let offset = usize::try_from(self.number(at.checked_add(4)?)?).ok()?;
        let end = offset.checked_add(length)?;
        let string = self.bytes.get(offset..end)?;
        (self.bytes.get(end) == Some(&0)).then_some(string)
    }
}

/// Reads a catalogue in UTF-8. The context of a message (up to the byte 4) is dropped; plural forms
/// (a zero byte inside) are counted and left out, as is the header (the message of the empty
/// original). An error names the message by its number, from 1.
pub fn read_mo(bytes: &[u8]) -> Result<Catalogue, String> {
    let file = [false, true]
        .map(|big_endian| File { bytes, big_endian })
        .into_iter()
        .find(|file| file.number(0) == Some(MAGIC))
        .ok_or("does not start with the magic number of message catalogues")?;
    let header = |at: usize| file.number(at).ok_or("the header is cut short");
    let revision = header(4)?;
    if revision >> 16 > 1 {
        return Err(format!("major revision {} is not known", revision >> 16));
    }
    let place = |at: usize| Ok::<_, String>(usize::try_from(header(at)?).unwrap_or(usize::MAX));
    let [count, originals, translations] = [place(8)?, place(12)?, place(16)?];
    for table in [originals, translations] {
        let end = count
            .checked_mul(8)
            .and_then(|size| size.checked_add(table));
        if end.is_none_or(|end| end > bytes.len()) {
            return Err(format!("a table of {count} messages does not fit the file"));
        }
    }
    let (mut catalogue, mut read) = (Catalogue::default(), 0);
    for index in 0..count {
        let fault = |message: &str| format!("message {}: {message}", index + 1);
        let string = |table: usize| {
            file.string(table, index).ok_or_else(|| {
                fault("a string reaches beyond the file or does not end with a zero")
            })
        };
        let (original, translation) = (string(originals)?, string(translations)?);
        // One long text that many messages name would be read as often.
        read += original.len() + translation.len();
        if read > bytes.len() {
            return Err(fault("its strings overlap with those before"));
        }
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map(str::to_string);
            text.map_err(|e| fault(&format!("not UTF-8: {e}")))
        };
        if original.is_empty() {
            let header = text(translation)?;
            if let Some(charset) = charset(&header).filter(|c| !c.eq_ignore_ascii_case("utf-8")) {
                return Err(fault(&format!("the character set is {charset}, not UTF-8")));
            }
            continue;
        }
        if original.contains(&0) || translation.contains(&0) {
            catalogue.plurals += 1;
            continue;
        }
        let context = original.iter().position(|b| *b == 4);
        let original = original
            .get(context.map_or(0, |c| c + 1)..)
            .unwrap_or_default();
        catalogue.messages.push(Message {
            original: text(original)?,
            translation: text(translation)?,
        });
    }
    Ok(catalogue)
}

/// The character set that a header names.
fn charset(header: &str) -> Option<&str> {
    let (_, rest) = header.split_once("charset=")?;
    rest.split(|c: char| c.is_whitespace() || c == ';').next()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes a catalogue as `msgfmt` does.
    pub fn write_mo(messages: &[(&str, &str)], big_endian: bool) -> Vec<u8> {
        let bytes = |number: usize| match big_endian {
            true => (number as u32).to_be_bytes(),
            false => (number as u32).to_le_bytes(),
        };
        let n = messages.len();
        let mut head = Vec::new();
        for number in [MAGIC as usize, 0, n, 28, 28 + 8 * n, 0, 28 + 16 * n] {
            head.extend(bytes(number));
        }
        let mut strings: Vec<u8> = Vec::new();
        let start = 28 + 16 * n;
        let all = messages
            .iter()
            .map(|m| m.0)
            .chain(messages.iter().map(|m| m.1));
        for string in all {
            head.extend(bytes(string.len()));
            head.extend(bytes(start + strings.len()));
            strings.extend(string.as_bytes());
            strings.push(0);
        }
        head.extend(strings);
        head
    }

    const MESSAGES: &[(&str, &str)] = &[
        (
            "",
            "Content-Type: text/plain; charset=UTF-8\nLanguage: fr\n",
        ),
        ("%d file\0%d files", "%d fichier\0%d fichiers"),
        ("Open the file", "Ouvrir le fichier"),
        ("menu\u{4}Close", "Fermer l’élément"),
    ];

    fn message(original: &str, translation: &str) -> Message {
        Message {
            original: original.into(),
            translation: translation.into(),
        }
    }

    #[test]
    fn both_byte_orders_are_read() {
        for big_endian in [false, true] {
            let found = read_mo(&write_mo(MESSAGES, big_endian)).unwrap();
            assert_eq!(found.plurals, 1);
            let expected = [
                message("Open the file", "Ouvrir le fichier"),
                message("Close", "Fermer l’élément"),
            ];
            assert_eq!(found.messages, expected);
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_no_bytes_panic() {
        let good = write_mo(MESSAGES, false);
        for end in 0..good.len() {
            assert!(read_mo(&good[..end]).is_err(), "{end}");
        }
        // Every byte of the header and the tables, and pseudo-random bytes behind the magic number.
        for at in 0..28 + 16 * MESSAGES.len() {
            for value in [0, 1, 4, 127, 128, 255] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = read_mo(&bad);
            }
        }
        let mut state = 1u64;
        for length in 0..2000usize {
            let mut bytes: Vec<u8> = (0..length % 300)
                .map(|_| {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            let _ = read_mo(&bytes);
            if let Some(magic) = bytes.get_mut(..4) {
                magic.copy_from_slice(&MAGIC.to_le_bytes());
            }
            if let Some(small) = bytes.get_mut(4..20) {
                small.iter_mut().for_each(|b| *b &= 0x07);
                for at in [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15] {
                    small[at] = 0;
                }
            }
            let _ = read_mo(&bytes);
        }
    }

    #[test]
    fn faults_name_the_message() {
        let mut huge = write_mo(MESSAGES, false);
        huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read_mo(&huge).unwrap_err();
        assert!(error.contains("4294967295 messages"), "{error}");

        let mut far = write_mo(MESSAGES, false);
        far[28 + 8 * 2 + 4..28 + 8 * 3].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read_mo(&far).unwrap_err();
        assert!(error.starts_with("message 3: "), "{error}");

        let mut latin = write_mo(&[("A", "xy")], false);
        let at = latin.len() - 3;
        latin[at] = 0xe9;
        let error = read_mo(&latin).unwrap_err();
        assert!(error.contains("message 1: not UTF-8"), "{error}");

        let other = write_mo(
            &[("", "Content-Type: text/plain; charset=ISO-8859-1\n")],
            true,
        );
        assert!(read_mo(&other).unwrap_err().contains("ISO-8859-1"));

        // Every message names the last text, which is long.
        let long = "x".repeat(200);
        let mut shared = write_mo(&[("A", "a"), ("B", "b"), ("C", "c"), ("D", &long)], false);
        let last = shared[28 + 8 * 7..28 + 8 * 8].to_vec();
        for table in 4..7 {
            shared[28 + 8 * table..36 + 8 * table].copy_from_slice(&last);
        }
        let error = read_mo(&shared).unwrap_err();
        assert!(
            error.starts_with("message 2: its strings overlap"),
            "{error}"
        );

        let mut major = write_mo(MESSAGES, false);
        major[6] = 2;
        assert!(read_mo(&major).unwrap_err().contains("major revision 2"));
    }
}

//! One line of the Criteo click logs.

/// Real features.
pub(super) const DENSE: usize = 13;
/// Categorical features.
pub(super) const COLUMNS: usize = 26;
/// The longest line that a file may hold, without its end. True ones have some 300 bytes.
pub(super) const LONGEST: usize = 1024;

/// Buckets of each categorical feature's hash: the vocabulary sizes of AlgoPerf's input pipeline.
const BUCKETS: [u64; COLUMNS] = [
    39_884_406, 39_043, 17_289, 7_420, 20_263, 3, 7_120, 1_543, 63, 38_532_951, 2_953_546, 403_346,
    10, 2_208, 11_938, 155, 4, 976, 14, 39_979_771, 25_641_295, 39_664_984, 585_935, 12_972, 108,
    36,
];

/// One impression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// Whether it was clicked.
    pub(super) clicked: bool,
    /// `ln(1 + max(x, 0))` of the counts; missing ones are 0.
    pub(super) dense: [f32; DENSE],
    /// Rows of the shared embedding table.
    pub(super) category: [i32; COLUMNS],
}

/// Reads one line (without its end): a label (0 or 1), 13 whole numbers and 26 categories of up to
/// eight hexadecimal digits, between tabs. Numbers and categories may be missing. `rows` is the
/// number of rows of the embedding table.
///
/// A category becomes a row as in AlgoPerf: the FarmHash fingerprint of its text (`00000000` where
/// it is missing) with the column's number behind it, modulo the column's number of buckets, rounded
/// to 32 bits of floating point (its batches hold real numbers only), modulo `rows`.
pub(super) fn parse(line: &[u8], rows: usize) -> Result<Record, String> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let mut next = |what: &str, at: usize| {
        fields.next().ok_or_else(|| {
            format!(
                "ends before {what} {at}; it needs {} fields",
                1 + DENSE + COLUMNS
            )
        })
    };
    let clicked = match next("label", 1)? {
        b"0" => false,
        b"1" => true,
        other => return Err(format!("label `{}` is neither 0 nor 1", text(other))),
    };
    let mut dense = [0.0; DENSE];
    for (at, value) in dense.iter_mut().enumerate() {
        *value = count(next("number", at + 1)?)
            .map_err(|field| format!("number {}: `{field}` is not a whole number", at + 1))?;
    }
    let mut category = [0; COLUMNS];
    for (at, (value, buckets)) in category.iter_mut().zip(BUCKETS).enumerate() {
        let field = next("category", at + 1)?;
        let hash = fingerprint(field, at).ok_or_else(|| {
            format!(
                "category {}: `{}` is not up to eight hexadecimal digits",
                at + 1,
                text(field)
            )
        })?;
        let bucket = (hash % buckets) as f32 as u64;
        *value = (bucket % rows.max(1) as u64) as i32;
    }
    if fields.next().is_some() {
        return Err(format!("has more than {} fields", 1 + DENSE + COLUMNS));
    }
    Ok(Record {
        clicked,
        dense,
        category,
    })
}

/// A field for an error, shortened.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).chars().take(20).collect()
}

/// `ln(1 + max(x, 0))`.
fn count(field: &[u8]) -> Result<f32, String> {
    if field.is_empty() {
        return Ok(0.0);
    }
    let number = std::str::from_utf8(field)
        .ok()
        .and_then(|f| f.parse::<i64>().ok());
    let number = number.ok_or_else(|| text(field))?;
    Ok((number.max(0) as f32 + 1.0).ln())
}

/// Fingerprint of a category's text with the number of its column behind it; `None` where the text is
/// no category.
fn fingerprint(field: &[u8], column: usize) -> Option<u64> {
    let field = match field {
        b"" | b"-1" => b"00000000",
        other => other,
    };
    if field.len() > 8 || !field.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0u8; 10];
    let (tens, ones) = (b'0' + (column / 10) as u8, b'0' + (column % 10) as u8);
    let number: &[u8] = if column < 10 { &[ones] } else { &[tens, ones] };
    let bytes = field.iter().chain(number);
    let mut length = 0;
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
        length += 1;
    }
    key.get(..length).map(fingerprint64)
}

/// FarmHash's 64-bit fingerprint (G. Pike 2014) of at most 16 bytes.
fn fingerprint64(key: &[u8]) -> u64 {
    const K0: u64 = 0xC3A5_C85C_97CB_3127;
    const K2: u64 = 0x9AE1_6A3B_2F90_404F;
    let word = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let fold = |x: u64| x ^ x >> 47;
    let pair = |u: u64, v: u64, by: u64| {
        let first = fold((u ^ v).wrapping_mul(by));
        fold((v ^ first).wrapping_mul(by)).wrapping_mul(by)
    };
    let n = key.len() as u64;
    let by = K2.wrapping_add(2 * n);
    match key {
        [] => K2,
        _ if key.len() >= 8 => {
            let (Some(head), Some(tail)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) else {
                return K2;
            };
            let a = word(head).wrapping_add(K2);
            let b = word(tail);
            let c = b.rotate_right(37).wrapping_mul(by).wrapping_add(a);
            let d = a.rotate_right(25).wrapping_add(b).wrapping_mul(by);
            pair(c, d, by)
        }
        _ if key.len() >= 4 => {
            let (Some(head), Some(tail)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) else {
                return K2;
            };
            pair(n.wrapping_add(word(head) << 3), word(tail), by)
        }
        [first, ..] => {
            let middle = key.get(key.len() / 2).copied().unwrap_or(*first);
            let last = key.last().copied().unwrap_or(*first);
            let y = u64::from(*first) + (u64::from(middle) << 8);
            let z = n + (u64::from(last) << 2);
            fold(y.wrapping_mul(K2) ^ z.wrapping_mul(K0)).wrapping_mul(K2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values: `farmhash.fingerprint64` of pyfarmhash 0.5.1.
    #[test]
    fn fingerprints_of_farmhash() {
        for (key, expected) in [
            ("000000000", 2271946735276985195),
            ("0000000025", 10220210890468929800),
            ("62770d790", 1287790575565005237),
            ("e21f5d581", 11126087397524379343),
            ("afea442f2", 1587885246554614380),
            ("1f89b56225", 17709358759042351009),
            ("a1", 2847782464265951495),
            ("ab12", 4231645948067808448),
            ("abcd5", 8559086534642658450),
            ("1a2b3c4d13", 14407360329995723057),
        ] {
            assert_eq!(fingerprint64(key.as_bytes()), expected, "{key}");
        }
    }

    fn line() -> Vec<String> {
        let mut fields = vec!["1".to_string()];
        fields.extend((0..DENSE as i64).map(|i| (i * i - 3).to_string()));
        fields.extend(
            (0..COLUMNS).map(|i| format!("{:08x}", 0x1234_5678u32.wrapping_mul(i as u32 + 1))),
        );
        fields
    }

    fn read(fields: &[String]) -> Result<Record, String> {
        parse(fields.join("\t").as_bytes(), 4_194_304)
    }

    #[test]
    fn a_line_by_hand() {
        let record = read(&line()).unwrap();
        assert!(record.clicked);
        // -3 and -2 count as nothing; 1 is the third.
        assert_eq!(record.dense[..3], [0.0, 0.0, 2f32.ln()]);
        assert!((record.dense[12] - 142f32.ln()).abs() < 1e-6);
        let buckets = |column: usize, text: &str| {
            let key = format!("{text}{column}");
            fingerprint64(key.as_bytes()) % BUCKETS[column]
        };
        let first = buckets(0, "12345678") as f32 as u64 % 4_194_304;
        assert_eq!(record.category[0] as u64, first);
        for (column, row) in record.category.iter().enumerate() {
            assert!((0..4_194_304.min(BUCKETS[column] as i32 + 1)).contains(row));
        }
    }

    #[test]
    fn missing_values_are_zero_and_the_zero_category() {
        let mut fields = line();
        fields[1] = String::new();
        fields[4] = String::new();
        fields[14] = String::new();
        fields[39] = "-1".into();
        let record = read(&fields).unwrap();
        assert_eq!((record.dense[0], record.dense[3]), (0.0, 0.0));
        let zero =
            |column: usize, hash: u64| ((hash % BUCKETS[column]) as f32 as u64 % 4_194_304) as i32;
        assert_eq!(record.category[0], zero(0, 2271946735276985195));
        assert_eq!(record.category[25], zero(25, 10220210890468929800));
    }

    #[test]
    fn bad_lines_say_which_field() {
        let with = |at: usize, text: &str| {
            let mut fields = line();
            fields[at] = text.into();
            read(&fields).unwrap_err()
        };
        assert!(with(0, "2").contains("label `2`"));
        assert!(with(0, "").contains("label"));
        assert!(with(3, "1.5").contains("number 3"));
        assert!(with(14, "xyz").contains("category 1"));
        assert!(with(39, "123456789").contains("category 26"));
        let fields = line();
        assert!(
            read(&fields[..39])
                .unwrap_err()
                .contains("ends before category 26")
        );
        assert!(
            read(&fields[..1])
                .unwrap_err()
                .contains("ends before number 1")
        );
        let mut longer = line();
        longer.push("0".into());
        assert!(read(&longer).unwrap_err().contains("more than 40 fields"));
        assert!(parse(b"", 10).is_err());
        assert!(parse(&[0xff; 40], 10).is_err());
    }
}

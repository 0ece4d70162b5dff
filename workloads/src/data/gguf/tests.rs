use super::*;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A key, the code of its type, and the bytes of its value.
fn entry(key: &str, code: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), &code.to_le_bytes()[..], value].concat()
}

fn listed(name: &str, shape: &[u64], code: u32, offset: u64) -> Vec<u8> {
    let sizes: Vec<u8> = shape.iter().flat_map(|n| n.to_le_bytes()).collect();
    let axes = (shape.len() as u32).to_le_bytes();
    [
        &text(name),
        &axes[..],
        &sizes,
        &code.to_le_bytes(),
        &offset.to_le_bytes(),
    ]
    .concat()
}

fn file_of(entries: &[Vec<u8>], tensors: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let mut file = [
        b"GGUF".as_slice(),
        &3u32.to_le_bytes(),
        &(tensors.len() as u64).to_le_bytes(),
        &(entries.len() as u64).to_le_bytes(),
        &entries.concat(),
        &tensors.concat(),
    ]
    .concat();
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

/// 1.0, -0.5 and 0.25 in 16 bits (IEEE 754): sign, exponent + 15, fraction.
const ONE: [u8; 2] = [0x00, 0x3c];
const MINUS_HALF: [u8; 2] = [0x00, 0xb8];
const QUARTER: [u8; 2] = [0x00, 0x34];

/// One block of each kind, at 0, 32 and 64.
fn data() -> Vec<u8> {
    let mut data = Vec::new();
    // Q4_1 with d = 0.25 and m = -0.5: byte j has j below and 15 - j above.
    data.extend([QUARTER, MINUS_HALF].concat());
    data.extend((0..16u8).map(|j| j | (15 - j) << 4));
    data.resize(32, 0);
    // Q8_0 with d = 1: -16 to 15, in the place of the last one the lowest number.
    data.extend(ONE);
    data.extend((-16..15i8).map(|q| q as u8));
    data.push(0x80);
    data.resize(96, 0);
    data.extend([1.5f32, -2.0].map(f32::to_le_bytes).concat());
    data
}

fn whole() -> Vec<u8> {
    let list = |code: u32, count: u64, values: &[u8]| {
        [&code.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
    };
    let entries = [
        entry("count", 4, &7u32.to_le_bytes()),
        entry("below", 5, &(-7i32).to_le_bytes()),
        entry("share", 6, &0.5f32.to_le_bytes()),
        entry("flag", 7, &[1]),
        entry("name", 8, &text("tiny")),
        entry("texts", 9, &list(8, 2, &[text("a"), text("")].concat())),
        entry("numbers", 9, &list(3, 2, &[1, 0, 0xff, 0xff])),
        entry("reals", 9, &list(12, 1, &0.25f64.to_le_bytes())),
        entry("wide", 10, &9u64.to_le_bytes()),
    ];
    let tensors = [
        listed("four", &[32, 1], 3, 0),
        listed("eight", &[32], 8, 32),
        listed("plain", &[1, 2], 0, 96),
    ];
    file_of(&entries, &tensors, &data())
}

#[test]
fn metadata_and_elements_by_hand() {
    let file = whole();
    let gguf = Gguf::read(&file).unwrap();
    assert_eq!(gguf.integer("count"), Ok(7));
    assert_eq!(gguf.integer("below"), Ok(-7));
    assert_eq!(gguf.integer("wide"), Ok(9));
    assert_eq!(gguf.real("share"), Ok(0.5));
    assert_eq!(gguf.value("flag"), Ok(&Value::Flag(true)));
    assert_eq!(gguf.text("name"), Ok("tiny"));
    assert_eq!(gguf.texts("texts").unwrap(), ["a", ""]);
    assert_eq!(gguf.integers("numbers").unwrap(), [1, -1]);
    assert_eq!(gguf.value("reals"), Ok(&Value::Reals(vec![0.25])));
    assert_eq!(gguf.names().collect::<Vec<_>>(), ["eight", "four", "plain"]);

    let four = gguf.elements("four", &[32, 1]).unwrap();
    let rising = (0..16).map(|q| 0.25 * q as f32 - 0.5);
    let falling = (0..16).map(|q| 0.25 * (15 - q) as f32 - 0.5);
    assert_eq!(four, rising.chain(falling).collect::<Vec<_>>());
    let eight = gguf.elements("eight", &[32]).unwrap();
    let expected = (-16..15).map(|q| q as f32).chain([-128.0]);
    assert_eq!(eight, expected.collect::<Vec<_>>());
    assert_eq!(gguf.elements("plain", &[1, 2]).unwrap(), [1.5, -2.0]);
}

#[test]
fn what_is_not_there_or_of_another_kind_is_named() {
    let file = whole();
    let gguf = Gguf::read(&file).unwrap();
    for (error, words) in [
        (gguf.integer("size").unwrap_err(), ["size", "missing"]),
        (
            gguf.integer("name").unwrap_err(),
            ["name", "is a text, expected a whole number"],
        ),
        (gguf.real("count").unwrap_err(), ["count", "a real number"]),
        (
            gguf.texts("numbers").unwrap_err(),
            ["numbers", "a list of texts"],
        ),
        (
            gguf.integers("texts").unwrap_err(),
            ["texts", "a list of whole numbers"],
        ),
        (gguf.text("flag").unwrap_err(), ["flag", "a truth value"]),
        (
            gguf.elements("five", &[32]).unwrap_err(),
            ["five", "missing"],
        ),
        (
            gguf.elements("four", &[32]).unwrap_err(),
            ["four", "[32, 1], expected [32]"],
        ),
    ] {
        let error = error.to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
}

#[test]
fn faults_are_named_with_their_field() {
    let tensor = |shape: &[u64], code, offset| {
        file_of(&[], &[listed("matrix", shape, code, offset)], &data())
    };
    let count = entry("count", 4, &7u32.to_le_bytes());
    let plain = listed("plain", &[2], 0, 96);
    let huge = u64::MAX.to_le_bytes();
    let with = |from: usize, bytes: &[u8]| {
        let mut file = whole();
        file[from..from + bytes.len()].copy_from_slice(bytes);
        file
    };
    for (file, words) in [
        (with(0, b"GGML"), ["header", "GGUF"]),
        (with(4, &[2]), ["header", "version 2"]),
        // More tensors or entries than there are.
        (with(8, &huge), ["tensor 3, name", "empty"]),
        (with(16, &huge), ["metadata, key", "breaks off"]),
        // The first key's length.
        (with(24, &huge), ["metadata, key 0", "breaks off"]),
        (with(32, &[0xff]), ["metadata, key 0", "UTF-8"]),
        (with(37, &[13]), ["count", "13 is no type"]),
        (
            file_of(&[count.clone(), count.clone()], &[], &[]),
            ["count", "twice"],
        ),
        (
            file_of(&[entry("list", 9, &[9; 12])], &[], &[]),
            ["list", "no type"],
        ),
        (
            file_of(
                &[entry("list", 9, &[&8u32.to_le_bytes()[..], &huge].concat())],
                &[],
                &[],
            ),
            ["list, element", "breaks off"],
        ),
        (
            file_of(
                &[entry("list", 9, &[&0u32.to_le_bytes()[..], &huge].concat())],
                &[],
                &[],
            ),
            ["list", "breaks off"],
        ),
        (
            file_of(
                &[entry("list", 9, &[&9u32.to_le_bytes()[..], &huge].concat())],
                &[],
                &[],
            ),
            ["list", "list of lists"],
        ),
        (
            file_of(&[entry("flag", 7, &[2])], &[], &[]),
            ["flag", "2 is no truth value"],
        ),
        (
            file_of(&[entry("wide", 10, &huge)], &[], &[]),
            ["wide", "too large"],
        ),
        (
            file_of(&[entry("general.alignment", 4, &[0; 4])], &[], &[]),
            ["general.alignment", "multiple of 8"],
        ),
        (tensor(&[], 0, 0), ["matrix", "0 axes"]),
        (tensor(&[1; 5], 0, 0), ["matrix", "5 axes"]),
        (
            tensor(&[32], 2, 0),
            ["matrix", "type 2; what is read is F32, Q4_1, Q8_0"],
        ),
        (
            tensor(&[16, 2], 3, 0),
            ["matrix", "[16, 2] is no shape of Q4_1"],
        ),
        (
            tensor(&[1 << 40, 1 << 40], 0, 0),
            ["matrix", "no shape of F32"],
        ),
        (tensor(&[1 << 60], 0, 0), ["matrix", "breaks off"]),
        (
            tensor(&[32], 8, 8),
            ["matrix", "begins at 8, no multiple of 32"],
        ),
        (
            tensor(&[32], 8, 96),
            ["matrix", "34 bytes from 96 on, of 104"],
        ),
        (tensor(&[32], 8, u64::MAX - 31), ["matrix", "breaks off"]),
        (
            file_of(&[], &[plain.clone(), plain], &data()),
            ["plain", "twice"],
        ),
    ] {
        let error = Gguf::read(&file).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
}

/// No part of a file is the whole of it, and no bit flipped does more than change a value or give an
/// error.
#[test]
fn damaged_files_give_errors_and_never_panic() {
    let file = whole();
    for length in 0..file.len() {
        let error = Gguf::read(&file[..length]).unwrap_err();
        assert!(error.message.contains("breaks off"), "{length}: {error}");
    }
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            let Ok(gguf) = Gguf::read(&file) else {
                continue;
            };
            for name in gguf.names().collect::<Vec<_>>() {
                let shape = gguf.tensors[name].shape.clone();
                let elements = gguf.elements(name, &shape).unwrap();
                assert_eq!(elements.len(), shape.iter().product::<usize>());
            }
        }
    }
}

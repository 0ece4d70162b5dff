use super::super::pieces::tests::vocabulary;
use super::*;
use std::path::PathBuf;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("velodrome-wmt-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("sentencepiece.vocab", vocabulary());
        for (split, german, english) in [
            (
                "train",
                "der Hund saß dort\ndie Katze\n\nniemand saß an der Bank\n",
                "the dog sat there\nthe cat\nnothing\nno one sat on the bank\n",
            ),
            ("validation", "die Hunde\n", "the dogs\n"),
            ("test", "der Tag\ndie Bank\n", "the day\nthe bank"),
        ] {
            folder.write(&format!("{split}.de"), german);
            folder.write(&format!("{split}.en"), english);
        }
        folder
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(file), content).unwrap();
    }

    fn error(&self) -> String {
        Wmt::open("wmt_transformer", &self.0)
            .err()
            .unwrap()
            .to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn lines_become_pairs_and_empty_ones_are_counted() {
    let folder = Folder::new("good");
    let wmt = Wmt::open("wmt_transformer", &folder.0).unwrap();
    assert_eq!((wmt.validation.len(), wmt.test.len()), (1, 2));
    // Three short pairs fit one row.
    assert_eq!(wmt.train.len(), 1);
    assert_eq!(wmt.skipped.len(), 1);
    assert_eq!(wmt.skipped[0].examples, 1);
    assert!(
        wmt.skipped[0].reason.contains("train.de at line 3"),
        "{:?}",
        wmt.skipped
    );
    let text = |tokens: &[u16]| {
        let tokens: Vec<i32> = tokens.iter().map(|t| i32::from(*t)).collect();
        wmt.pieces.text(&tokens)
    };
    // Short sentences come first, so that the bank need not be where it stands in the file.
    let bank = (0..2).find(|at| text(wmt.test.source(*at)) == "die Bank");
    let bank = wmt.test.target(bank.unwrap());
    assert_eq!(text(bank), "the bank");
    assert_eq!(bank.last(), Some(&END_TOKEN));
}

#[test]
fn what_does_not_pair_is_refused_with_file_and_line() {
    let folder = Folder::new("bad");
    folder.write("validation.en", "the dogs\nand one more\n");
    let error = folder.error();
    assert!(
        error.contains("validation.en: line 2 has no partner in"),
        "{error}"
    );
    folder.write("validation.en", "");
    let error = folder.error();
    assert!(
        error.contains("validation.de: line 1 has no partner in"),
        "{error}"
    );

    folder.write("validation.de", "");
    assert!(folder.error().contains("validation.de: no sentence pairs"));

    folder.write("validation.de", b"gut\nschlecht \xff\n");
    let error = folder.error();
    assert!(
        error.contains("validation.de: line 2 is not UTF-8"),
        "{error}"
    );

    folder.write(
        "sentencepiece.vocab",
        vocabulary().replacen("-2.55967", "x", 1),
    );
    let error = folder.error();
    assert!(error.contains("sentencepiece.vocab: line 4"), "{error}");
    std::fs::remove_file(folder.0.join("sentencepiece.vocab")).unwrap();
    assert!(folder.error().contains("sentencepiece.vocab"));
}

#[test]
fn long_pairs_are_left_out() {
    let folder = Folder::new("long");
    let long = "die Katze ".repeat(150);
    folder.write("test.de", format!("die Bank\n{long}\n"));
    let wmt = Wmt::open("wmt_transformer", &folder.0).unwrap();
    assert_eq!(wmt.test.len(), 1);
    let reasons: Vec<&str> = wmt.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert!(
        reasons[0].starts_with("pairs of more tokens"),
        "{reasons:?}"
    );
    assert!(reasons[0].contains("test.de at line 2"), "{reasons:?}");
}

#[test]
fn rows_are_packed_in_order_and_say_what_belongs_together() {
    let mut pairs = Pairs::new();
    pairs.push(&[5, 6], &[7]);
    pairs.push(&[8], &[9, 10]);
    pairs.push(&[11, 12], &[13, 14, 15]);
    // Ends included: 3 + 2 | 3 source tokens, 2 + 3 | 4 target tokens.
    let packed = Packed::new(&pairs, 6);
    assert_eq!(packed.len(), 2);
    let batch = packed.batch(&[0, 1, 7]);
    assert_eq!((batch.examples, batch.units), (2, 9));
    let field = |name: &str| {
        let field = batch.fields.iter().find(|f| f.name == name).unwrap();
        assert_eq!(field.shape, [2, 5], "{name}");
        match &field.values {
            HostValues::Int(values) => values.clone(),
            HostValues::Float(_) => panic!("tokens are integers"),
        }
    };
    assert_eq!(field("source"), [5, 6, 2, 8, 2, 11, 12, 2, 0, 0]);
    assert_eq!(field("source_segment"), [1, 1, 1, 2, 2, 1, 1, 1, 0, 0]);
    assert_eq!(field("source_position"), [0, 1, 2, 0, 1, 0, 1, 2, 0, 0]);
    assert_eq!(field("target"), [7, 2, 9, 10, 2, 13, 14, 15, 2, 0]);
    assert_eq!(field("target_segment"), [1, 1, 2, 2, 2, 1, 1, 1, 1, 0]);
    assert_eq!(field("target_position"), [0, 1, 0, 1, 2, 0, 1, 2, 3, 0]);
}

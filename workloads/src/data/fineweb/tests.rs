use super::*;
use polars_arrow::array::{Array, ListArray, PrimitiveArray};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use polars_arrow::offset::{Offset, Offsets};
use polars_arrow::record_batch::RecordBatchT;
use polars_arrow::types::NativeType;

/// Lengths of the texts in `tests/data/fineweb_tiny`, which the library `datasets` wrote.
const TRAIN: [usize; 8] = [5, 1, 900, 40, 1, 1100, 3, 88];
const VAL: [usize; 4] = [1025, 2, 2070, 10];

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fineweb_tiny")
}

/// The stream that the script beside the folder describes.
fn stream(texts: &[usize]) -> Vec<i32> {
    let mut all = Vec::new();
    for length in texts {
        let place = all.len();
        all.extend((place..place + length - 1).map(|p| (7 * p % 50_256) as i32));
        all.push(50_256);
    }
    all
}

fn tokens(batch: &HostBatch) -> Vec<i32> {
    match &batch.fields[0].values {
        HostValues::Int(tokens) => tokens.clone(),
        HostValues::Float(_) => panic!("tokens are integers"),
    }
}

/// A copy of the folder, to be damaged.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["train", "val"] {
        let to = folder.path().join(part);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(tiny().join(part)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn open(folder: &Path) -> Result<FineWeb, String> {
    FineWeb::open(folder, [2, 1], "finewebedu_lm").map_err(|e| e.to_string())
}

#[test]
fn examples_are_the_stream_in_pieces() {
    let data = open(&tiny()).unwrap();
    let (train, held) = (stream(&TRAIN), stream(&VAL));
    assert_eq!((train.len(), held.len()), (2138, 3107));
    // 2138 tokens are two examples and 88 more; 3107 are three and 32 more.
    let sizes = [&data.train, &data.validation, &data.test].map(Dataset::len);
    assert_eq!(sizes, [2, 2, 1]);
    let batch = data.train.load(&[1, 0, 1], None).unwrap();
    assert_eq!((batch.examples, batch.units), (3, 3072));
    assert_eq!(batch.fields[0].name, "tokens");
    assert_eq!(batch.fields[0].shape, [3, 1025]);
    let expected = [&train[1025..2050], &train[..1025], &train[1025..2050]].concat();
    assert_eq!(tokens(&batch), expected);
    assert_eq!(data.train.batch(&[1, 0, 1]), batch);
    let validation = tokens(&data.validation.batch(&[0, 1]));
    assert_eq!(validation, held[..2050]);
    assert_eq!(tokens(&data.test.batch(&[0])), held[2050..3075]);
    // What is not there is left out, or an error.
    assert_eq!(data.test.batch(&[1, 0]).examples, 1);
    assert!(data.test.load(&[1], None).is_err());
}

#[test]
fn splits_that_are_not_there_are_errors() {
    let error = FineWeb::open(&tiny(), [2, 2], "finewebedu_lm").unwrap_err();
    let error = error.to_string();
    for part in ["finewebedu_lm", "val", "3107 tokens", "3 examples"] {
        assert!(error.contains(part), "{error}");
    }
    let folder = copy();
    let state = folder.path().join("train/state.json");
    std::fs::write(&state, r#"{"_data_files": []}"#).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.contains("training split is empty"), "{error}");
    std::fs::remove_dir_all(folder.path().join("train")).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.contains("state.json"), "{error}");
}

#[test]
fn faults_of_the_state_name_it() {
    let folder = copy();
    let state = folder.path().join("val/state.json");
    for (text, word) in [
        ("{", "EOF"),
        ("{}", "_data_files"),
        (r#"{"_data_files": [{"filename": "../x.arrow"}]}"#, "../x"),
        (r#"{"_data_files": [{"name": "x.arrow"}]}"#, "names no file"),
        (r#"{"_data_files": [{"filename": "x.arrow"}]}"#, "x.arrow"),
    ] {
        std::fs::write(&state, text).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(error.contains("val"), "{error}");
    }
}

#[test]
fn cut_and_damaged_files_are_errors() {
    let folder = copy();
    let path = folder.path().join("train/data-00001-of-00003.arrow");
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(37).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..at]).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.contains("data-00001-of-00003.arrow"), "{at}: {error}");
    }
    // A flipped bit may change tokens or the number of them, and never more than that.
    for at in 0..1000 {
        for bit in [1, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            std::fs::write(&path, &flipped).unwrap();
            if let Ok(data) = open(folder.path()) {
                let examples: Vec<usize> = (0..data.train.len()).collect();
                let _ = data.train.load(&examples, None);
            }
        }
    }
}

#[test]
fn a_file_that_changes_afterwards_is_an_error() {
    let folder = copy();
    let path = folder.path().join("train/data-00001-of-00003.arrow");
    let data = open(folder.path()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let error = data.train.load(&[0, 1], None).unwrap_err();
    assert!(error.contains("is no token from 0 to 50256"), "{error}");
    assert_eq!(data.train.batch(&[0, 1]).examples, 1);
    std::fs::write(&path, &bytes[..middle]).unwrap();
    let error = data.train.load(&[1], None).unwrap_err();
    assert!(error.contains("no longer what it was"), "{error}");
}

/// Lists of numbers.
fn lists<O: Offset, T: NativeType>(
    dtype: fn(Box<Field>) -> ArrowDataType,
    lists: &[&[T]],
    validity: Option<Bitmap>,
) -> Box<dyn Array> {
    let lengths: Vec<usize> = lists.iter().map(|l| l.len()).collect();
    let values = PrimitiveArray::from_vec(lists.concat());
    let inner = Field::new("item".into(), values.dtype().clone(), true);
    let offsets = Offsets::<O>::try_from_lengths(lengths.into_iter()).unwrap();
    let dtype = dtype(Box::new(inner));
    ListArray::<O>::new(dtype, offsets.into(), Box::new(values), validity).boxed()
}

type Columns = Vec<(&'static str, Box<dyn Array>)>;

fn write(path: &Path, batches: Vec<Columns>) {
    let mut schema = ArrowSchema::default();
    for (name, array) in &batches[0] {
        let field = Field::new((*name).into(), array.dtype().clone(), true);
        schema.insert((*name).into(), field);
    }
    let file = File::create(path).unwrap();
    let mut writer = StreamWriter::new(file, WriteOptions { compression: None });
    writer.start(&schema, None).unwrap();
    let schema = Arc::new(schema);
    for columns in batches {
        let arrays: Vec<_> = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatchT::new(arrays[0].len(), schema.clone(), arrays);
        writer.write(&batch, None).unwrap();
    }
    writer.finish().unwrap();
}

/// Numbers of 64 bits, long offsets, slices, empty batches, and columns beside.
#[test]
fn every_layout_gives_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.arrow");
    let long: &[&[i64]] = &[&[1, 2], &[], &[3, 4, 50_256], &[5]];
    let masks: &[&[i8]] = &[&[1, 1], &[], &[1, 1, 1], &[1]];
    let numbers = PrimitiveArray::from_vec(vec![0.5f32, 0.25, 0.125, 1.0]).boxed();
    let ids = |long: &[&[i64]]| lists::<i64, i64>(ArrowDataType::LargeList, long, None);
    let mask = lists::<i32, i8>(ArrowDataType::List, masks, None);
    let all: Columns = vec![
        ("attention_mask", mask),
        ("score", numbers),
        ("input_ids", ids(long)),
    ];
    let slice = |from: usize, to: usize| -> Columns {
        let cut =
            |(name, array): &(&'static str, Box<dyn Array>)| (*name, array.sliced(from, to - from));
        all.iter().map(cut).collect()
    };
    write(&path, vec![slice(0, 1), slice(1, 1), slice(2, 4)]);
    let column = arrow::find(&path, COLUMN).unwrap();
    assert_eq!(column.width, 8);
    let stream = Stream {
        len: column.runs.iter().map(|r| r.len).sum(),
        pieces: column
            .runs
            .iter()
            .scan(0, |start, run| {
                let piece = Piece {
                    file: 0,
                    offset: run.offset,
                    start: *start,
                    len: run.len,
                };
                *start += run.len;
                Some(piece)
            })
            .collect(),
        files: vec![(path, 8)],
    };
    assert_eq!(stream.len, 6);
    for (start, count) in [(0, 6), (1, 3), (5, 1), (2, 4)] {
        let expected = [1, 2, 3, 4, 50_256, 5][start..start + count].to_vec();
        let found = stream.read(start as u64, count as u64, &mut BTreeMap::new());
        assert_eq!(found.unwrap(), expected);
    }
    assert!(stream.read(3, 4, &mut BTreeMap::new()).is_err());
}

#[test]
fn other_columns_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.arrow");
    let numbers = || PrimitiveArray::from_vec(vec![1i32, 2]).boxed();
    let plain: &[&[i32]] = &[&[1], &[2]];
    let small: &[&[i16]] = &[&[1], &[2]];
    let missing = Bitmap::from_iter([true, false]);
    let list = ArrowDataType::List;
    let columns: Vec<(Columns, &str)> = vec![
        (vec![("tokens", numbers())], "no column `input_ids`"),
        (vec![(COLUMN, numbers())], "not lists"),
        (
            vec![(COLUMN, lists::<i32, i16>(list, small, None))],
            "whole numbers",
        ),
        (
            vec![(COLUMN, lists::<i32, i32>(list, plain, Some(missing)))],
            "empty places",
        ),
    ];
    for (columns, word) in columns {
        write(&path, vec![columns]);
        let error = arrow::find(&path, COLUMN).unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(error.contains("x.arrow"), "{error}");
    }
    std::fs::write(&path, b"PAR1 is another format").unwrap();
    assert!(arrow::find(&path, COLUMN).is_err());
}

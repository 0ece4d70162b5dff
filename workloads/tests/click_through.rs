//! The kind `click_through`: DLRM's gradients, sizes and variants, its reference values, and the loaders
//! of flights and click logs.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{batch, bits, build, lock, registry, training_device};
use std::path::Path;
use velodrome_harness::contract::{
    Batch, Dataset, HostBatch, HostField, HostValues, Model, ParamInfo, ParamKind, PassOptions,
    Trained, Trainee, Weights,
};
use velodrome_workloads::data::{Criteo, Flights, parse_parquet};
use velodrome_workloads::flights_dlrm::algoperf;
use velodrome_workloads::models::{Dlrm, DlrmConfig, DlrmNetwork};

fn tiny(network: DlrmNetwork, layer_norm: bool) -> DlrmConfig {
    DlrmConfig {
        dense: 3,
        columns: 2,
        rows: 9,
        width: 4,
        bottom: vec![4, 4],
        top: vec![6, 6, 5],
        network,
        layer_norm,
        embedding_scale: Some(1.0),
        dropout: 0.0,
    }
}

fn variants() -> [DlrmConfig; 4] {
    let all = [DlrmNetwork::Dots, DlrmNetwork::Residual];
    let mut configs = all
        .map(|n| [tiny(n, false), tiny(n, true)])
        .into_iter()
        .flatten();
    [(); 4].map(|()| configs.next().unwrap())
}

/// Numbers between -1 and 1 without a pattern.
fn noise(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as f32 * 12.9898).sin() * 43758.547).fract())
        .collect()
}

fn examples(config: &DlrmConfig, n: usize) -> HostBatch {
    let field = |name, shape: Vec<usize>, values| HostField {
        name,
        shape,
        values,
    };
    let categories = (0..n * config.columns).map(|i| ((i * i * 7 + 3 * i) % config.rows) as i32);
    HostBatch {
        fields: vec![
            field(
                "dense",
                vec![n, config.dense],
                HostValues::Float(noise(n * config.dense)),
            ),
            field(
                "category",
                vec![n, config.columns],
                HostValues::Int(categories.collect()),
            ),
            field(
                "label",
                vec![n],
                HostValues::Int((0..n).map(|i| i32::from(i % 3 == 1)).collect()),
            ),
        ],
        examples: n,
        units: n,
    }
}

fn on_device(host: HostBatch) -> Batch {
    let ids = (0..host.examples).collect();
    Batch::from_host(host, ids, &training_device())
}

fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn mean(losses: Tensor<1>) -> f64 {
    let losses = numbers(losses);
    losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
}

fn shift(model: &mut dyn Model, param: usize, element: usize, by: f32) {
    model.map(&mut |info: &ParamInfo, flat: Tensor<1>| {
        if info.index != param {
            return flat;
        }
        let mut values = numbers(flat);
        values[element] += by;
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), &Device::flex())
    });
}

/// Every element of every parameter, by central differences. A difference across a kink of ReLU is no
/// gradient, so that a few may be off.
#[test]
fn gradients() {
    let _lock = lock();
    let device = training_device();
    const STEP: f32 = 1e-3;
    for config in variants() {
        device.seed(4);
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let data = on_device(examples(&config, 6));
        let options = PassOptions::default();
        let gradients = model.pass(&data, &options).unwrap().gradients;
        let params = model.params().clone();
        let (mut checked, mut off, mut largest) = (0, 0, 0f64);
        for param in params.iter() {
            let gradient = numbers(gradients.get(param).unwrap());
            let snapshot = model.snapshot();
            for (element, exact) in gradient.into_iter().enumerate() {
                let mut at = |by: f32| {
                    shift(&mut model, param.index, element, by);
                    let loss = mean(model.pass(&data, &options).unwrap().losses);
                    model.restore(&snapshot).unwrap();
                    loss
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(exact);
                largest = largest.max(exact.abs());
                checked += 1;
                off += usize::from((difference - exact).abs() > 1e-3 + 0.01 * exact.abs());
            }
        }
        assert!(off * 50 <= checked, "{config:?}: {off} of {checked}");
        assert!(
            largest > 0.05 && checked == config.parameters(),
            "{checked}"
        );
    }
}

/// Losses of the same weights by plain loops in 64 bits.
#[test]
fn forward_and_loss_by_hand() {
    let _lock = lock();
    let device = training_device();
    for config in variants() {
        device.seed(9);
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let host = examples(&config, 5);
        let mut values = Vec::new();
        model.visit(&mut |info, flat| {
            let flat = numbers(flat).into_iter().map(f64::from).collect::<Vec<_>>();
            values.push((info.kind, info.shape.clone(), flat));
        });
        let expected = by_hand(&config, &values, &host);
        let found = numbers(model.losses(&on_plain_device(&host), false).unwrap());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{config:?}");
        }
    }
}

fn on_plain_device(host: &HostBatch) -> Batch {
    Batch::from_host(host.clone(), (0..host.examples).collect(), &Device::flex())
}

type Values = Vec<(ParamKind, Vec<usize>, Vec<f64>)>;

/// The losses of all examples in 64 bits, one number after the other, from the values in the order of
/// the module's fields: layers below, table, layers above, head.
fn by_hand(config: &DlrmConfig, values: &Values, host: &HostBatch) -> Vec<f64> {
    let [
        HostValues::Float(dense),
        HostValues::Int(category),
        HostValues::Int(label),
    ] = [0, 1, 2].map(|i| host.fields[i].values.clone())
    else {
        panic!("fields of other types");
    };
    let linear = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let product = |o: usize| (0..x.len()).map(|i| x[i] * w[i * b.len() + o]).sum::<f64>();
        (0..b.len()).map(|o| product(o) + b[o]).collect()
    };
    let norm = |x: Vec<f64>, scale: &[f64], shift: &[f64]| -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let deviation = (variance + 1e-6).sqrt();
        let each = x.iter().zip(scale.iter().zip(shift));
        each.map(|(v, (s, t))| (v - mean) / deviation * s + t)
            .collect()
    };
    let residual = config.network == DlrmNetwork::Residual;
    (0..host.examples)
        .map(|example| {
            let mut values = values.iter().map(|(_, _, v)| v.as_slice());
            let layers = |mut x: Vec<f64>, n: usize, values: &mut dyn Iterator<Item = &[f64]>| {
                for at in 0..n {
                    let (w, b) = (values.next().unwrap(), values.next().unwrap());
                    let mut y: Vec<f64> =
                        linear(&x, w, b).into_iter().map(|v| v.max(0.0)).collect();
                    if config.layer_norm {
                        y = norm(y, values.next().unwrap(), values.next().unwrap());
                    }
                    if residual && at > 0 && y.len() == x.len() {
                        y = y.iter().zip(&x).map(|(a, b)| a + b).collect();
                    }
                    x = y;
                }
                x
            };
            let input = dense[example * config.dense..][..config.dense].iter();
            let below = layers(input.map(|v| f64::from(*v)).collect(), 2, &mut values);
            let table = values.next().unwrap();
            let scale_and_shift = config
                .layer_norm
                .then(|| (values.next().unwrap(), values.next().unwrap()));
            let rows = &category[example * config.columns..][..config.columns];
            let mut vectors = vec![below.clone()];
            for row in rows {
                let row = table[*row as usize * config.width..][..config.width].to_vec();
                vectors.push(match scale_and_shift {
                    Some((scale, shift)) => norm(row, scale, shift),
                    None => row,
                });
            }
            let mut x = below;
            if residual {
                x.extend(vectors[1..].concat());
            } else {
                for i in 0..vectors.len() {
                    for j in i..vectors.len() {
                        let pairs = vectors[i].iter().zip(&vectors[j]);
                        x.push(pairs.map(|(a, b)| a * b).sum());
                    }
                }
            }
            let above = layers(x, 3, &mut values);
            let z = linear(&above, values.next().unwrap(), values.next().unwrap())[0];
            assert!(values.next().is_none());
            let signed = if label[example] == 1 { -z } else { z };
            signed.exp().ln_1p()
        })
        .collect()
}

/// The numbers of trainable elements of AlgoPerf's models: the sum over the shapes of its PyTorch module,
/// with its widths and 4,194,304 rows of 128.
#[test]
fn as_many_parameters_as_algoperf() {
    let _lock = lock();
    let registry = registry();
    for (name, expected) in [
        ("criteo1tb_dlrm", 539_267_457),
        ("criteo1tb_dlrm_layernorm", 539_275_137),
        ("criteo1tb_dlrm_resnet", 538_121_473),
        ("criteo1tb_dlrm_embed_init", 539_267_457),
    ] {
        assert_eq!(registry.workload(name).unwrap().spec().parameters, expected);
    }
    // With a small table the model is built, and one pass over a batch of its shape goes through.
    let device = training_device();
    let mut config = DlrmConfig {
        rows: 50,
        ..algoperf()
    };
    for layer_norm in [false, true] {
        config.layer_norm = layer_norm;
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, config.parameters());
        let whole = DlrmConfig {
            rows: 4_194_304,
            ..config.clone()
        };
        assert_eq!(whole.parameters() - count, (4_194_304 - 50) * 128);
        let output = model.pass(&on_device(examples(&config, 4)), &PassOptions::default());
        assert!(mean(output.unwrap().losses).is_finite());
    }
}

/// Each variant of the laptop's base differs from it in what it says.
#[test]
fn variants_differ_in_the_named_attribute() {
    let _lock = lock();
    let registry = registry();
    let look = |name: &str| {
        let workload = registry.workload(name).unwrap();
        let model = build(&*workload, 3);
        let mut table = Vec::new();
        model.visit(&mut |info, flat| {
            if info.kind == ParamKind::Embedding {
                table = numbers(flat);
            }
        });
        let norms = model
            .params()
            .iter()
            .filter(|p| p.kind == ParamKind::NormScale);
        let largest = table.iter().copied().fold(0.0, f32::max);
        assert!(table.iter().all(|v| *v >= 0.0));
        (norms.count(), largest, workload.spec().parameters)
    };
    let base = look("flights_dlrm");
    let bound = 1.0 / 4130f32.sqrt();
    assert!(base.0 == 0 && (0.99 * bound..=bound).contains(&base.1));
    let norms = look("flights_dlrm_layernorm");
    assert_eq!((norms.0, norms.1), (7, base.1));
    assert_eq!(norms.2 - base.2, 2 * (128 + 64 + 16 + 16 + 256 + 256 + 128));
    let residual = look("flights_dlrm_resnet");
    assert_eq!((residual.0, residual.1), (0, base.1));
    let wide = look("flights_dlrm_embed_init");
    assert_eq!((wide.0, wide.2), (0, base.2));
    assert!((0.99..=1.0).contains(&wide.1));
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    let device = training_device();
    let bad = DlrmConfig {
        bottom: vec![4, 5],
        ..tiny(DlrmNetwork::Dots, false)
    };
    assert!(Dlrm::new(&bad, &device).is_err());
    let none = DlrmConfig {
        columns: 0,
        ..tiny(DlrmNetwork::Residual, false)
    };
    assert!(Dlrm::new(&none, &device).is_err());
    let model = Dlrm::new(&tiny(DlrmNetwork::Dots, false), &device).unwrap();
    let mut model = Trained::new(model);
    let other = examples(
        &DlrmConfig {
            columns: 3,
            ..tiny(DlrmNetwork::Dots, false)
        },
        2,
    );
    assert!(
        model
            .pass(&on_device(other), &PassOptions::default())
            .is_err()
    );
}

/// The hooks of submissions: weights of examples, weights chosen from the losses, predictions as two
/// classes, dropout; label smoothing is ignored, since the metric is the loss itself.
#[test]
fn losses_of_examples_can_be_weighted() {
    let _lock = lock();
    let workload = registry().workload("flights_dlrm").unwrap();
    let splits = workload.open().unwrap();
    let device = training_device();
    let data = batch(&*splits.train, &[5, 900, 70, 31, 8, 2], &device);
    let mut trainee = Trainee::new(build(&*workload, 5), device.clone(), 5);
    let plain = trainee.gradients(&data, &PassOptions::default()).unwrap();
    let weights: Vec<f32> = vec![0.0, 2.0, 0.5, 1.0, 3.0, 0.25];
    let losses = numbers(plain.losses.clone());
    let expected: f32 = losses.iter().zip(&weights).map(|(l, w)| l * w).sum::<f32>() / 6.0;
    let given = Tensor::from_data(TensorData::new(weights, [6]), &trainee.device());
    let options = PassOptions {
        weights: Some(given.clone()),
        ..PassOptions::default()
    };
    let weighted = trainee.gradients(&data, &options).unwrap();
    assert!((numbers(weighted.loss.clone())[0] - expected).abs() < 1e-5);
    let chosen = trainee
        .gradients_weighted(&data, &PassOptions::default(), |seen| {
            let predictions = seen.predictions()?;
            assert_eq!(predictions.dims(), [6, 2]);
            let zeros = predictions.logits.clone().slice([0..6, 0..1]);
            assert!(zeros.abs().max().into_scalar::<f32>() == 0.0);
            assert_eq!(bits(seen.losses.clone()), bits(plain.losses.clone()));
            Ok(Weights::Examples(given.clone()))
        })
        .unwrap();
    assert_eq!(bits(chosen.loss), bits(weighted.loss));
    let smoothed = PassOptions {
        label_smoothing: 0.3,
        ..PassOptions::default()
    };
    let smoothed = trainee.gradients(&data, &smoothed).unwrap();
    assert_eq!(bits(smoothed.losses), bits(plain.losses.clone()));
    let dropped = PassOptions {
        dropout: Some(0.5),
        ..PassOptions::default()
    };
    let dropped = trainee.gradients(&data, &dropped).unwrap();
    assert_ne!(bits(dropped.losses), bits(plain.losses));
}

mod parquet {
    use super::*;
    use polars::prelude::{Column, DataFrame, NamedFrom, ParquetWriter, Series};

    /// Microseconds of a minute of 2001.
    fn date(minute: i64) -> i64 {
        978_307_200_000_000 + minute * 60_000_000
    }

    fn file(dates: &[Option<i64>], miles: &[i64], origins: &[&str]) -> Vec<u8> {
        let column = |series: Series| Column::from(series);
        let n = dates.len();
        let mut frame = DataFrame::new(
            n,
            vec![
                column(Series::new("date".into(), dates)),
                column(Series::new("delay".into(), [15i64, 14, -20][..n].to_vec())),
                column(Series::new("distance".into(), miles)),
                column(Series::new("origin".into(), origins)),
                column(Series::new("destination".into(), vec!["BOS"; n])),
            ],
        )
        .unwrap();
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        bytes
    }

    #[test]
    fn flights_are_read_and_numbered() {
        let dates = [Some(date(0)), Some(date(7)), Some(date(260_640))];
        let table = parse_parquet(file(&dates, &[500, 90, 500], &["SFO", "ATL", "SFO"])).unwrap();
        assert_eq!(table.airports, [*b"ATL", *b"BOS", *b"SFO"]);
        let routes: Vec<_> = table
            .routes
            .iter()
            .map(|r| (r.origin, r.destination, r.miles))
            .collect();
        assert_eq!(routes, [(0, 1, 90), (2, 1, 500)]);
        let flights: Vec<_> = table
            .flights
            .iter()
            .map(|f| (f.minute, f.route, f.late))
            .collect();
        assert_eq!(flights, [(0, 1, true), (7, 0, false), (260_640, 1, false)]);
    }

    #[test]
    fn bad_rows_are_named_and_a_cut_file_is_refused() {
        let good = [Some(date(0)), Some(date(7)), Some(date(9))];
        let error = |dates: &[Option<i64>], miles: &[i64], origins: &[&str]| {
            parse_parquet(file(dates, miles, origins)).unwrap_err()
        };
        let (miles, origins) = ([500, 90, 500], ["SFO", "ATL", "SFO"]);
        let hole = [good[0], None, good[2]];
        assert!(error(&hole, &miles, &origins).contains("row 2: no `date`"));
        let early = [good[0], good[1], Some(date(-1))];
        assert!(error(&early, &miles, &origins).contains("row 3: date"));
        let late = [good[0], Some(date(260_641)), good[2]];
        assert!(error(&late, &miles, &origins).contains("row 2: date"));
        assert!(error(&good, &[500, -1, 3], &origins).contains("row 2: a distance of -1"));
        assert!(error(&good, &miles, &["SFO", "AT", "SFO"]).contains("row 2: `origin` is \"AT\""));
        let whole = file(&good, &miles, &origins);
        assert!(parse_parquet(whole[..whole.len() - 9].to_vec()).is_err());
        assert!(parse_parquet(Vec::new()).is_err());
        // Well-formed, and not the package's file.
        let error = Flights::whole(whole).unwrap_err();
        assert!(error.contains("3 airports"), "{error}");
    }
}

mod criteo {
    use super::*;

    /// A line of the true format: a label, 13 numbers, 26 categories; some missing.
    fn line(n: usize) -> String {
        let mut fields = vec![(n % 3 % 2).to_string()];
        fields.extend((0..13).map(|i| match (n + i) % 5 {
            0 => String::new(),
            _ => ((n * 31 + i * 7) as i64 % 2000 - 1).to_string(),
        }));
        fields.extend((0..26).map(|i| match (n + 2 * i) % 11 {
            0 => String::new(),
            _ => format!(
                "{:08x}",
                (n as u32 + 1).wrapping_mul(2_654_435_761) ^ (i as u32) << 9
            ),
        }));
        fields.join("\t") + "\n"
    }

    fn write(folder: &Path, name: &str, lines: std::ops::Range<usize>) {
        let text: String = lines.map(line).collect();
        std::fs::write(folder.join(name), text).unwrap();
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, lines) in [
            ("day_0_00", 0..150),
            ("day_0_01", 150..151),
            ("day_10_00", 351..400),
            ("day_9_00", 151..351),
            ("day_23_18", 400..410),
            ("day_23_19", 410..417),
            ("notes.txt", 0..1),
        ] {
            write(folder.path(), name, lines);
        }
        folder
    }

    fn open(folder: &Path) -> Result<[velodrome_workloads::data::Lines; 3], String> {
        Criteo::open(folder, 1000, "criteo1tb_dlrm").map_err(|e| e.to_string())
    }

    #[test]
    fn lines_are_found_by_number_across_files_and_days() {
        let folder = folder();
        let splits = open(folder.path()).unwrap();
        assert_eq!([0, 1, 2].map(|i| splits[i].len()), [400, 7, 10]);
        let [train, validation, test] = &splits;
        let all: Vec<usize> = (0..400).collect();
        let whole = train.batch(&all);
        assert_eq!(whole.examples, 400);
        assert_eq!(whole.fields[1].shape, [400, 26]);
        // Each line alone, and any order, give the same; days are in the order of their numbers.
        let HostValues::Int(labels) = &whole.fields[2].values else {
            panic!("labels are integers");
        };
        assert!(
            labels
                .iter()
                .enumerate()
                .all(|(n, l)| *l == (n % 3 % 2) as i32)
        );
        let HostValues::Float(dense) = &whole.fields[0].values else {
            panic!("numbers are real");
        };
        let expected = ((351 * 31 + 7) % 2000) as f32;
        assert!((dense[351 * 13 + 1] - expected.ln()).abs() < 1e-5);
        let some = [399, 0, 150, 151, 64, 63, 399, 350];
        let picked = train.batch(&some);
        for (at, index) in some.into_iter().enumerate() {
            let one = train.batch(&[index]);
            for (one, many) in one.fields.iter().zip(&picked.fields) {
                match (&one.values, &many.values) {
                    (HostValues::Float(a), HostValues::Float(b)) => {
                        assert_eq!(a[..], b[at * a.len()..(at + 1) * a.len()]);
                    }
                    (HostValues::Int(a), HostValues::Int(b)) => {
                        assert_eq!(a[..], b[at * a.len()..(at + 1) * a.len()]);
                        assert!(a.iter().all(|v| (0..1000).contains(v)));
                    }
                    _ => panic!("other types"),
                }
            }
        }
        assert_eq!(train.batch(&[0, 400]).examples, 1);
        assert_ne!(test.batch(&[0]), validation.batch(&[0]));
    }

    #[test]
    fn a_pass_over_lines_of_the_true_format() {
        let _lock = lock();
        let folder = folder();
        let [train, ..] = open(folder.path()).unwrap();
        let config = DlrmConfig {
            rows: 1000,
            width: 8,
            bottom: vec![16, 8],
            top: vec![16, 8],
            ..algoperf()
        };
        let device = training_device();
        device.seed(2);
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let ids: Vec<usize> = (100..200).collect();
        let output = model.pass(&batch(&train, &ids, &device), &PassOptions::default());
        assert!(mean(output.unwrap().losses).is_finite());
    }

    #[test]
    fn bad_records_are_named_by_file_and_line() {
        let folder = folder();
        let path = folder.path().join("day_9_00");
        let good = std::fs::read_to_string(&path).unwrap();
        let with = |from: &str, to: &str| {
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            open(folder.path()).unwrap_err()
        };
        let third = good.lines().nth(2).unwrap();
        for (bad, message) in [
            (third.replacen(['0', '1'], "7", 1), "label"),
            (third.replacen('\t', " ", 1), "label"),
            (third[..third.len() / 2].to_string(), "ends before"),
            (format!("{third}\t"), "more than 40 fields"),
            (format!("{third}{}", "a".repeat(2000)), "longer than"),
            (String::new(), "label"),
        ] {
            let error = with(third, &bad);
            assert!(error.contains("day_9_00: line 3: "), "{error}");
            assert!(error.contains(message), "{error}");
        }
        // Cut in the middle of the last line.
        std::fs::write(&path, &good[..good.len() - 30]).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.contains("day_9_00: line 200: "), "{error}");
        std::fs::write(&path, "").unwrap();
        assert!(
            open(folder.path())
                .unwrap_err()
                .contains("day_9_00: is empty")
        );
    }

    #[test]
    fn missing_files_and_a_set_that_is_not_whole_are_errors() {
        let folder = folder();
        let whole = Criteo::open_whole(folder.path(), 1000, "criteo1tb_dlrm");
        let error = whole.err().unwrap().to_string();
        assert!(
            error.contains("[400, 7, 10]") && error.contains("not whole"),
            "{error}"
        );
        std::fs::remove_file(folder.path().join("day_23_19")).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.contains("no file like day_23_19"), "{error}");
        let error = open(&folder.path().join("nowhere")).unwrap_err();
        assert!(
            error.contains("nowhere") && error.contains("day_0_00"),
            "{error}"
        );
    }
}

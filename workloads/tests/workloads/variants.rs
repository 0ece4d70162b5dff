//! Every workload whose data is in the program, against a snapshot: what a variant changes, how many
//! parameters it has, and the loss of its initial model. A variant whose change does nothing, or a
//! change that reaches another workload too, shows here.

use crate::common::{batch, bits, build, lock, training_device, workloads};
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use velodrome_harness::contract::{ParamInfo, PassOptions, Size, Splits, Workload};
use velodrome_workloads::TABLE;

const HEADER: &str = "name\tbase\tattribute\tparameters\tinitial_loss";
/// Largest relative difference of losses that are taken for the same: `libm` differs among systems.
const TOLERANCE: f64 = 1e-4;
/// Examples of the batch.
const EXAMPLES: usize = 4;

/// Bases whose data takes seconds to open, and whose variants change the model alone: it is opened once.
const SLOW: [&str; 3] = ["mri_unet", "speech_conformer", "speech_lstm"];

/// One line of the snapshot.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    name: String,
    base: String,
    /// What a variant changes; empty for a base.
    attribute: String,
    parameters: usize,
    /// Mean loss of the first validation examples at the initial model, in evaluation mode.
    loss: f64,
}

impl Row {
    fn of(workload: &dyn Workload, splits: &Splits) -> Self {
        let spec = workload.spec();
        let mut model = build(workload, 0);
        let ids: Vec<usize> = (0..EXAMPLES).collect();
        let data = batch(&*splits.validation, &ids, &Device::flex());
        let losses = model.losses(&data, false);
        let attribute = spec.change.as_deref().map(attribute).unwrap_or_default();
        Self {
            name: spec.name,
            base: spec.base,
            attribute: attribute.to_string(),
            parameters: model.params().iter().map(ParamInfo::len).sum(),
            loss: mean(losses.unwrap()),
        }
    }

    fn line(&self) -> String {
        let Self {
            name,
            base,
            attribute,
            parameters,
            loss,
        } = self;
        format!(
            "{name}\t{base}\t{attribute}\t{parameters}\t{}",
            significant(*loss)
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let [name, base, attribute, parameters, loss] =
            <[&str; 5]>::try_from(line.split('\t').collect::<Vec<_>>()).ok()?;
        Some(Self {
            name: name.into(),
            base: base.into(),
            attribute: attribute.into(),
            parameters: parameters.parse().ok()?,
            loss: loss.parse().ok()?,
        })
    }

    /// Whether two rows agree but for rounding.
    fn agrees(&self, other: &Self) -> bool {
        let loss = self.loss;
        let same = Self {
            loss,
            ..other.clone()
        };
        *self == same && close(loss, other.loss)
    }
}

/// The attribute that the words of a change begin with.
fn attribute(change: &str) -> &str {
    let (attribute, rest) = change.split_once(": ").unwrap_or_default();
    assert!(
        !attribute.is_empty() && !rest.is_empty(),
        "`{change}` is not of the form `attribute: new value instead of old value`"
    );
    attribute
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// Six significant digits.
fn significant(x: f64) -> String {
    let magnitude = x.abs().log10().floor();
    let decimals = (5.0 - magnitude).clamp(0.0, 17.0) as usize;
    format!("{x:.decimals$}")
}

fn mean(losses: Tensor<1>) -> f64 {
    let losses: Vec<f64> = bits(losses)
        .into_iter()
        .map(|b| f64::from(f32::from_bits(b)))
        .collect();
    losses.iter().sum::<f64>() / losses.len() as f64
}

/// The rows of all workloads, computed once for all tests.
fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let _lock = lock();
        let mut opened: BTreeMap<String, Splits> = BTreeMap::new();
        let row = |workload: &Arc<dyn Workload>| {
            let base = workload.spec().base;
            if !SLOW.contains(&base.as_str()) {
                return Row::of(&**workload, &workload.open().unwrap());
            }
            let splits = opened
                .entry(base)
                .or_insert_with(|| workload.open().unwrap());
            Row::of(&**workload, splits)
        };
        workloads().iter().map(row).collect()
    })
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/variants.tsv")
}

/// The lines that differ: `-` is what `old` says, `+` what `new` says.
fn difference(old: &str, new: &[Row]) -> String {
    let mut lines = old.lines();
    let mut text = String::new();
    if lines.next() != Some(HEADER) {
        text += &format!("the first line must be `{HEADER}`\n");
    }
    let mut expected = BTreeMap::new();
    for line in lines {
        match Row::parse(line) {
            Some(row) => drop(expected.insert(row.name.clone(), row)),
            None => text += &format!("- {line}   (is not a row)\n"),
        }
    }
    for row in new {
        let old = expected.remove(&row.name);
        if old.as_ref().is_none_or(|old| !old.agrees(row)) {
            if let Some(old) = old {
                text += &format!("- {}\n", old.line());
            }
            text += &format!("+ {}\n", row.line());
        }
    }
    for old in expected.values() {
        text += &format!("- {}\n", old.line());
    }
    text
}

#[test]
fn the_workloads_are_those_of_the_snapshot() {
    let path = file();
    if std::env::var_os("VELODROME_BLESS").is_some_and(|v| v == "1") {
        let lines = rows().iter().map(Row::line);
        let text: Vec<String> = std::iter::once(HEADER.to_string()).chain(lines).collect();
        std::fs::write(&path, text.join("\n") + "\n").unwrap();
    }
    let old = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; VELODROME_BLESS=1 writes it", path.display()));
    let found = difference(&old, rows());
    assert!(
        found.is_empty(),
        "workloads/tests/snapshots/variants.tsv (-) and the workloads (+) differ:\n{HEADER}\n{found}\
         Where this is meant, write the file again and look at its changes:\n  VELODROME_BLESS=1 \
         cargo test --release --workspace --test workloads"
    );
}

#[test]
fn a_difference_names_the_rows_and_forgives_rounding() {
    let row = Row {
        name: "a_wide".into(),
        base: "a".into(),
        attribute: "width".into(),
        parameters: 12,
        loss: 2.302_591,
    };
    assert_eq!(row.line(), "a_wide\ta\twidth\t12\t2.30259");
    assert_eq!(significant(0.001_234_567_8), "0.00123457");
    assert_eq!(significant(123_456.7), "123457");
    let old = format!("{HEADER}\n{}\n", row.line());
    let with = |edit: fn(&mut Row)| {
        let mut new = row.clone();
        edit(&mut new);
        difference(&old, &[new])
    };
    assert_eq!(with(|r| r.loss *= 1.0 + 0.5 * TOLERANCE), "");
    for (edit, found) in [
        (
            with(|r| r.loss *= 1.0 + 2.0 * TOLERANCE),
            "+ a_wide\ta\twidth\t12\t2.30305",
        ),
        (with(|r| r.parameters = 13), "+ a_wide\ta\twidth\t13"),
        (with(|r| r.attribute.clear()), "+ a_wide\ta\t\t12"),
        (with(|r| r.name = "b".into()), "+ b\ta"),
    ] {
        assert!(edit.contains(found), "{edit}");
        assert!(edit.contains("- a_wide\ta\twidth\t12"), "{edit}");
    }
}

/// Losses of three steps of gradient descent on one batch, with the model's own dropout.
fn early_losses(workload: &dyn Workload) -> Vec<f64> {
    let mut model = build(workload, 0);
    let device = training_device();
    let data = workload.open().unwrap().train;
    let ids: Vec<usize> = (0..EXAMPLES).collect();
    let data = batch(&*data, &ids, &device);
    let mut losses = Vec::new();
    for step in 0..3 {
        device.seed(step);
        let output = model.pass(&data, &PassOptions::default()).unwrap();
        losses.push(mean(output.loss));
        model.map(&mut |param, value| match output.gradients.get(param) {
            Some(gradient) => value - gradient.mul_scalar(0.1),
            None => value,
        });
    }
    losses
}

#[test]
fn each_variant_changes_its_base() {
    let of = |name: &str| rows().iter().find(|r| r.name == name).unwrap();
    let by_name: BTreeMap<String, Arc<dyn Workload>> = workloads()
        .into_iter()
        .map(|w| (w.spec().name, w))
        .collect();
    for row in rows().iter().filter(|r| r.name != r.base) {
        assert!(!row.attribute.is_empty(), "{}", row.name);
        let base = of(&row.base);
        if row.parameters != base.parameters || !close(row.loss, base.loss) {
            continue;
        }
        // What may train is no part of the model.
        let share = |name: &str| by_name[name].spec().target.trainable_share;
        if share(&row.name) != share(&row.base) {
            continue;
        }
        // What shows in training alone: dropout, or whatever stands behind a head that starts at zero.
        let _lock = lock();
        let [own, of_base] = [&row.name, &row.base].map(|n| early_losses(&*by_name[n]));
        assert!(
            own.iter().zip(&of_base).any(|(a, b)| !close(*a, *b)),
            "{} trains as {} does: {own:?}, {of_base:?}",
            row.name,
            row.base
        );
    }
}

#[test]
fn each_workload_has_a_target_of_its_own() {
    let registry = crate::common::registry();
    for family in TABLE {
        let names = family.names();
        let targets = family.targets().unwrap();
        for name in &names {
            let spec = registry.workload(name).unwrap().spec();
            if spec.size != Size::Laptop {
                continue;
            }
            let own = targets.entry(name).unwrap();
            assert_eq!(own.validation, spec.target.validation, "{name}");
            assert_eq!(own.test, spec.target.test, "{name}");
            assert_eq!(own.metric, spec.target.metric, "{name}");
            // A variant is measured as its base is.
            let base = targets.entry(&names[0]).unwrap();
            assert_eq!(own.direction, base.direction, "{name}");
            assert_eq!(own.metric, base.metric, "{name}");
        }
    }
}

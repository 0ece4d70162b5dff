//! `velodrome adapter export`.

use super::weights::{build, tensors};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Tensor;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use velodrome_harness::contract::{Hints, Model, Point, Ruleset, StartContext, Trainee, Workload};
use velodrome_harness::race::device;
use velodrome_harness::race::fingerprint::check_weights;
use velodrome_harness::race::trial::WEIGHTS;
use velodrome_harness::registry::Registry;
use velodrome_results::TrialRecord;
use velodrome_submissions::adapters::interchange::{Bound, Config, Layer, write};
use velodrome_submissions::adapters::selection::heads;
use velodrome_submissions::adapters::{MethodError, Rider, Started, entry};

/// The file of the model's own weights in the written folder.
const BASE: &str = "base.safetensors";

/// Writes the adapter of an ended trial, and the weights that it belongs to.
pub(super) fn execute(
    trial: &Path,
    out: &Path,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let record = TrialRecord::read(&trial.join("trial.json"))?;
    let kept = trial.join(WEIGHTS);
    if !kept.exists() {
        return Err(Failure::Usage(format!(
            "{}: there are no weights; race with `keep_weights = true` under `[limits]`, to the end",
            kept.display()
        )));
    }
    check_weights(&record, &kept)?;
    device(&record.device)?;
    let unknown = |why: &str| {
        let name = &record.submission;
        Failure::Usage(format!("{}: `{name}` {why}", trial.display()))
    };
    let rider = entry(&record.submission)
        .and_then(Rider::of)
        .ok_or_else(|| unknown("is no method of the table of adapters"))?;
    let workload = registry.workload(&record.workload)?;
    let untrained = build(workload.as_ref(), record.seeds.model)?;
    let base = tensors(untrained.as_ref(), &out.join(BASE));
    let names = untrained.names().to_vec();
    let trained = retrace(&rider, &record, workload.as_ref(), untrained, &kept)?;
    let modules: Vec<&str> = trained.layers.keys().map(String::as_str).collect();
    let mut config = Config::of(rider.entry(), &trained.options, &modules)
        .ok_or_else(|| unknown("is a method that Hugging Face PEFT does not have"))?;
    let mut bound = Bound::of(rider.entry(), trained.layers);
    let mut saved = BTreeSet::new();
    let mut values = tensors(trained.model.as_ref(), &kept).held;
    for name in &trained.head {
        let whole = names.get(*name).and_then(|name| values.remove_entry(name));
        if let Some((name, stored)) = whole {
            saved.extend(name.rsplit_once('.').map(|(module, _)| module.to_string()));
            bound.replaced.insert(name, stored);
        }
    }
    if !saved.is_empty() {
        let saved: Vec<String> = saved.into_iter().collect();
        config.values.insert("modules_to_save".into(), saved.into());
    }
    write(out, &config, &bound)?;
    base.write(&base.file)?;
    let (count, method) = (bound.layers.len(), bound.method);
    console.note(format!("{}: {method} of {count} layers", out.display()));
    Ok(Exit::Ok)
}

/// A trained adapter.
struct Retraced {
    layers: BTreeMap<String, Layer>,
    options: Map<String, Value>,
    /// Places of a new head's parameters among the model's own.
    head: Vec<usize>,
    /// The base model's parameters as they were trained; names are the base model's.
    model: Box<dyn Model>,
}

/// Starts the trial again and puts the weights of its end in.
fn retrace(
    rider: &Rider,
    record: &TrialRecord,
    workload: &dyn Workload,
    untrained: Box<dyn Model>,
    kept: &Path,
) -> Result<Retraced, Failure> {
    let (spec, seeds) = (workload.spec(), record.seeds);
    let names = untrained.names().to_vec();
    let own = untrained.params().clone();
    let device = device(&record.device)?;
    let mut trainee =
        Trainee::new(untrained, device, seeds.algorithm).with_new_head(workload.new_head());
    let started = rider.attach(
        &mut trainee,
        &StartContext {
            point: Point(record.point.clone()),
            hints: Hints {
                steps: record.step_hint.unwrap_or(spec.hints.steps),
                batch_size: spec.hints.batch_size,
            },
            ruleset: Ruleset::External,
            seed: seeds.algorithm,
        },
    )?;
    let mut model = trainee.into_model();
    let bytes = std::fs::read(kept).map_err(|e| Failure::io(kept, "read", e))?;
    model.load(&bytes)?;
    // In the model's order, every factor stands behind the weight that it belongs to.
    let mut factors: Vec<Tensor<1>> = Vec::new();
    let mut plain: Vec<Tensor<1>> = Vec::new();
    let adapters = model.names().to_vec();
    model.visit(&mut |info, flat| {
        let known = adapters.get(info.index);
        match known.is_some_and(|name| names.contains(name)) {
            true => plain.push(flat),
            false => factors.push(flat),
        }
    });
    let mut factors = factors.into_iter();
    let refused = |e: MethodError| Failure::Usage(format!("{}: {e}", kept.display()));
    let mut layers = BTreeMap::new();
    let mut shared: Option<Map<String, Value>> = None;
    for (Started { index, adapted }, options) in started {
        if shared.get_or_insert_with(|| options.clone()) != &options {
            let message = "its layers have different options, which one configuration cannot say";
            return Err(Failure::Usage(format!("{}: {message}", kept.display())));
        }
        let shapes = adapted.trained().iter().map(|f| f.dims());
        let values = shapes.zip(factors.by_ref());
        let values = values.map(|(shape, flat)| flat.reshape(shape)).collect();
        let name = names.get(index).map_or("", String::as_str);
        let module = name.strip_suffix(".weight").unwrap_or(name).to_string();
        let bias = names.iter().position(|n| *n == format!("{module}.bias"));
        let layer = Layer {
            adapted: adapted.retrained(values).map_err(refused)?,
            bias: bias.and_then(|at| plain.get(at).cloned()),
        };
        layers.insert(module, layer);
    }
    let heads = heads(&own);
    let head = own
        .iter()
        .filter(|p| workload.new_head() && heads.contains(&p.layer));
    let head = head.map(|p| p.index).collect();
    let mut model = build(workload, seeds.model)?;
    model.map(&mut |info, flat| plain.get(info.index).cloned().unwrap_or(flat));
    Ok(Retraced {
        layers,
        options: shared.unwrap_or_default(),
        head,
        model,
    })
}

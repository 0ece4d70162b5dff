//! `velodrome adapter import`.

use super::weights::{build, evaluate, fill, tensors};
use crate::commands::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Device;
use serde::Serialize;
use std::path::Path;
use velodrome_harness::contract::{Dataset, Model};
use velodrome_harness::registry::Registry;
use velodrome_submissions::adapters::interchange::Folder;

/// What an adapter does to a workload's model.
#[derive(Debug, Serialize)]
struct Imported {
    workload: String,
    method: &'static str,
    layers: usize,
    trained: usize,
    metric: String,
    validation: Option<f64>,
    test: Option<f64>,
    retained_before: Option<f64>,
    retained_after: Option<f64>,
}

/// Folds the adapter into the workload's pretrained model, and measures what came of it.
pub(super) fn execute(
    adapter: &Path,
    name: &str,
    format: Format,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let workload = registry.workload(name)?;
    let spec = workload.spec();
    let Some(retained) = workload.retained()? else {
        return Err(Failure::Usage(format!(
            "`{name}` begins from random weights: an adapter belongs to pretrained ones"
        )));
    };
    let mut model = build(workload.as_ref(), 0)?;
    let loss = |model: &dyn Model| {
        let measures = evaluate(model, retained.as_ref(), &spec)?;
        Ok::<_, Failure>(measures.get("loss").copied())
    };
    let retained_before = loss(model.as_ref())?;
    let weights = tensors(model.as_ref(), Path::new(name));
    let bound = Folder::read(adapter)?.bind(&weights, &Device::flex())?;
    fill(model.as_mut(), &bound.merge(&weights))?;
    let splits = workload.open()?;
    let metric = spec.target.metric.clone();
    let measure = |data: &dyn Dataset| {
        let measures = evaluate(model.as_ref(), data, &spec)?;
        Ok::<_, Failure>(measures.get(&metric).copied())
    };
    let found = Imported {
        workload: name.to_string(),
        method: bound.method,
        layers: bound.layers.len(),
        trained: bound.trainable(),
        validation: measure(splits.validation.as_ref())?,
        test: measure(splits.test.as_ref())?,
        metric: metric.clone(),
        retained_before,
        retained_after: loss(model.as_ref())?,
    };
    match format {
        Format::Json => console.print_json(&found)?,
        Format::Text => console.print(text(&found))?,
    }
    Ok(Exit::Ok)
}

fn text(found: &Imported) -> String {
    let number = |x: Option<f64>| x.map_or("not a number".to_string(), |x| format!("{x:.4}"));
    format!(
        "{} of {} layers, {} trained elements, on {}\n{}: validation {}, test {}\n\
         loss on held-out pretraining data: {} before, {} after\n",
        found.method,
        found.layers,
        found.trained,
        found.workload,
        found.metric,
        number(found.validation),
        number(found.test),
        number(found.retained_before),
        number(found.retained_after),
    )
}

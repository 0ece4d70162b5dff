//! `velodrome bench`.

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use serde_json::{Map, Value, json};
use std::time::Instant;
use velodrome_harness::contract::{
    Batch, HostBatch, HostValues, Model, ModelError, PassOptions, Size, Workload,
};
use velodrome_harness::race::device;
use velodrome_harness::registry::Registry;
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::adamw::AdamW;

/// Time the training steps of workloads: forward pass, backward pass, update
///
/// Medians in milliseconds, of a batch of the size that the workload suggests, with AdamW, without dropout
/// and without the input pipeline. The first three steps do not count. A measurement, not a record: for a
/// verdict on two programs, use `race`. The number of threads is that of RAYON_NUM_THREADS, or of the
/// processors. The JSON also has the shapes of the batch's fields, so that others can time the same step
/// (benches/pytorch).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome bench
  velodrome bench shakespeare_gpt fashion_resnet --rounds 50
  RAYON_NUM_THREADS=1 velodrome bench --format json")]
pub(crate) struct Arguments {
    /// Which workloads; all bases of laptop size where left out
    workloads: Vec<String>,
    /// Steps that count
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Device
    #[arg(long, default_value = "flex")]
    device: String,
    /// Form of the table
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Steps before those that count.
const WARM_UP: u32 = 3;

/// Milliseconds of one step.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Forward pass in training mode.
    forward: f64,
    /// Forward pass with its graph, and backward pass.
    both: f64,
    /// AdamW's update.
    update: f64,
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let device = device(&arguments.device)?;
    let workloads = match arguments.workloads.as_slice() {
        [] => {
            let all = registry.workloads().filter(|workload| {
                let spec = workload.spec();
                spec.size == Size::Laptop && spec.name == spec.base
            });
            all.cloned().collect()
        }
        names => {
            let named = names.iter().map(|name| registry.workload(name));
            named.collect::<Result<Vec<_>, _>>()?
        }
    };
    let mut rows = Vec::new();
    for workload in workloads {
        console.note(format!("{} …", workload.spec().name));
        let (batch, steps) = measure(&*workload, arguments.rounds, &device)?;
        rows.push((workload.spec(), batch, steps));
    }
    let part = |steps: &[Step], part: fn(&Step) -> f64| median(steps.iter().map(part).collect());
    let parts = rows.iter().map(|(spec, batch, steps)| {
        let (forward, both) = (part(steps, |s| s.forward), part(steps, |s| s.both));
        let (update, step) = (
            part(steps, |s| s.update),
            part(steps, |s| s.both + s.update),
        );
        let parts = [forward, (both - forward).max(0.0), update, step];
        (spec, batch, parts)
    });
    match arguments.format {
        Format::Json => {
            let rows = parts.map(|(spec, batch, [forward, backward, update, step])| {
                json!({
                    "workload": spec.name,
                    "kind": spec.kind,
                    "examples": spec.hints.batch_size,
                    "forward_ms": forward,
                    "backward_ms": backward,
                    "update_ms": update,
                    "step_ms": step,
                    "fields": shapes(batch),
                    "lengths": lengths(batch),
                })
            });
            let rows: Vec<_> = rows.collect();
            console.print_json(&rows)?;
        }
        Format::Text => {
            let rows = parts.map(|(spec, _, parts)| {
                let mut row = vec![spec.name.clone(), spec.hints.batch_size.to_string()];
                row.extend(parts.map(|ms| format!("{ms:.2}")));
                row
            });
            let header = [
                "workload",
                "examples",
                "forward",
                "backward",
                "update",
                "step [ms]",
            ];
            let table = console.table(&header, rows.collect());
            console.print(table)?;
        }
    }
    Ok(Exit::Ok)
}

/// The shape of each field, by its name.
fn shapes(batch: &HostBatch) -> Value {
    let fields = batch.fields.iter();
    let shapes = fields.map(|field| (field.name.to_string(), json!(field.shape)));
    Value::Object(shapes.collect::<Map<_, _>>())
}

/// The values of integer fields with one or two numbers for an example, the label aside: how much of each
/// example is not padding, on which the work of some models depends.
fn lengths(batch: &HostBatch) -> Value {
    let short = batch.fields.iter().filter_map(|field| match &field.values {
        HostValues::Int(values) if field.name != "label" && values.len() <= 2 * batch.examples => {
            Some((field.name.to_string(), json!(values)))
        }
        _ => None,
    });
    Value::Object(short.collect::<Map<_, _>>())
}

/// The batch, and the steps that count.
fn measure(
    workload: &dyn Workload,
    rounds: u32,
    plain: &Device,
) -> Result<(HostBatch, Vec<Step>), Failure> {
    let spec = workload.spec();
    let splits = workload.open()?;
    let examples = splits.train.len().max(1);
    let ids: Vec<usize> = (0..spec.hints.batch_size).map(|i| i % examples).collect();
    let host = splits.train.batch(&ids);
    let batch = |device: &Device| Batch::from_host(host.clone(), ids.clone(), device);
    let device = plain.clone().autodiff();
    let (batch, plain_batch) = (batch(&device), batch(plain));
    device.seed(0);
    let mut model = workload.build(&device)?;
    let rule = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
    };
    let mut optimizer = ModuleOptimizer::from(Fused(rule));
    let mut steps = Vec::new();
    for round in 0..WARM_UP + rounds {
        let step = step(&mut *model, &mut optimizer, [&plain_batch, &batch], &device)?;
        if round >= WARM_UP {
            steps.push(step);
        }
    }
    Ok((host, steps))
}

fn step(
    model: &mut dyn Model,
    optimizer: &mut ModuleOptimizer,
    [plain, batch]: [&Batch; 2],
    device: &Device,
) -> Result<Step, ModelError> {
    let finish = |start: Instant| {
        device
            .sync()
            .map_err(|e| ModelError::Compute(e.to_string()))?;
        Ok::<f64, ModelError>(1e3 * start.elapsed().as_secs_f64())
    };
    let start = Instant::now();
    let losses = model.losses(plain, true)?;
    let forward = finish(start)?;
    drop(losses);
    let options = PassOptions {
        dropout: Some(0.0),
        ..PassOptions::default()
    };
    let start = Instant::now();
    let output = model.pass(batch, &options)?;
    let both = finish(start)?;
    let start = Instant::now();
    model.step(optimizer, 1e-5.into(), output.gradients.into_burn());
    let update = finish(start)?;
    Ok(Step {
        forward,
        both,
        update,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{lengths, shapes};
    use crate::Command;
    use crate::console::Console;
    use crate::exit::Exit;
    use serde_json::json;
    use velodrome_harness::contract::{HostBatch, HostField, HostValues};

    #[test]
    fn a_workload_is_timed() {
        let (mut console, out, _) = Console::captured();
        let line = "velodrome bench digits_mlp --rounds 2 --format json";
        let exit = Command::new().run_with(line.split(' ').map(Into::into), &mut console);
        assert_eq!(exit, Exit::Ok);
        let rows: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        let row = &rows[0];
        assert_eq!(row["workload"], "digits_mlp");
        let of = |part: &str| row[part].as_f64().unwrap();
        assert!(of("forward_ms") > 0.0 && of("update_ms") > 0.0);
        assert!(of("step_ms") >= of("update_ms"));
        assert_eq!(row["fields"], json!({"image": [64, 64], "label": [64]}));
        assert_eq!(row["lengths"], json!({}));
    }

    #[test]
    fn lengths_are_told_and_tokens_and_labels_are_not() {
        let field = |name, shape: &[usize], values: &[i32]| HostField {
            name,
            shape: shape.to_vec(),
            values: HostValues::Int(values.to_vec()),
        };
        let batch = HostBatch {
            fields: vec![
                field("tokens", &[2, 3], &[7, 8, 9, 7, 0, 0]),
                field("counts", &[2, 2], &[3, 2, 1, 0]),
                field("label", &[2], &[1, 0]),
            ],
            examples: 2,
            units: 4,
        };
        assert_eq!(lengths(&batch), json!({"counts": [3, 2, 1, 0]}));
        let expected = json!({"tokens": [2, 3], "counts": [2, 2], "label": [2]});
        assert_eq!(shapes(&batch), expected);
    }

    #[test]
    fn an_unknown_workload_is_refused() {
        let (mut console, _, err) = Console::captured();
        let line = "velodrome bench digits_mpl";
        let exit = Command::new().run_with(line.split(' ').map(Into::into), &mut console);
        assert_eq!(exit, Exit::Usage);
        assert!(err.text().contains("digits_mlp"), "{}", err.text());
    }
}

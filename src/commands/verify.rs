//! `velodrome verify`.

mod goldens;
mod peft;
mod replayed;
mod workshop;

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use burn::tensor::Device;
use serde::Serialize;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use velodrome_harness::conformance::{self, Check};
use velodrome_harness::contract::{Batch, ParamInfo, Size, Submission, Workload};
use velodrome_harness::registry::{Registry, RegistryError, nearest};
use velodrome_submissions::adapters::{Entry, METHODS, checks, entry};
use workshop::Workshop;

/// Check that submissions and workloads keep their contract
///
/// A submission is trained for some steps on a small model: it must learn, repeat itself bit for
/// bit, and continue from its saved state as if it had never stopped. Then it races on `digits_mlp`
/// in processes of their own: two of them must agree, and one that goes on where another was
/// stopped. A workload must open its data and build its model as it describes them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome verify                  everything (a minute or two)
  velodrome verify --quick          what takes seconds
  velodrome verify adamw digits_mlp
  velodrome verify --goldens DIR --format json
  velodrome verify --adapters           adapters keep what they promise
  velodrome verify --peft-goldens DIR   adapters as Hugging Face PEFT saves and computes them")]
pub(crate) struct Arguments {
    /// Submissions and workloads (or adapters); where left out, all submissions and the workloads on data in the program
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Replay the reference trajectories in this folder instead: every `.json` file
    #[arg(long, value_name = "DIR", conflicts_with = "names")]
    goldens: Option<PathBuf>,
    /// Replay the adapters in this folder instead: every folder in it with Hugging Face PEFT's files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["names", "goldens"])]
    peft_goldens: Option<PathBuf>,
    /// Check the adapters instead: what every method promises of its start, size and gradients
    #[arg(long, conflicts_with_all = ["goldens", "peft_goldens"])]
    adapters: bool,
    /// Leave out the checks that race on a real workload, in processes of their own
    #[arg(long, conflicts_with_all = ["goldens", "peft_goldens", "adapters"])]
    quick: bool,
    /// Form of the result
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One row of the result.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    name: String,
    check: &'static str,
    passed: bool,
    message: String,
}

enum Subject {
    Workload(Arc<dyn Workload>),
    Submission(Arc<dyn Submission>),
    Adapter(&'static Entry),
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if let Some(folder) = &arguments.goldens {
        return goldens::execute(folder, arguments.format, console);
    }
    if let Some(folder) = &arguments.peft_goldens {
        return peft::execute(folder, arguments.format, console);
    }
    let subjects = if arguments.adapters {
        adapters(&arguments.names)?
    } else if arguments.names.is_empty() {
        let submissions = registry.submissions().cloned().map(Subject::Submission);
        // Larger data may not be at hand; a workload that is named is checked in any case.
        let embedded = |w: &&Arc<dyn Workload>| w.spec().size == Size::Laptop;
        let workloads = registry.workloads().filter(embedded).cloned();
        let workloads = workloads.map(Subject::Workload);
        submissions.chain(workloads).collect()
    } else {
        let find = |name: &String| find(registry, name);
        arguments
            .names
            .iter()
            .map(find)
            .collect::<Result<Vec<_>, _>>()?
    };
    let workshop = match arguments.quick || arguments.adapters {
        true => None,
        false => Some(Workshop::open()?),
    };
    let mut rows = Vec::new();
    for subject in &subjects {
        let found = check(subject, registry, workshop.as_ref());
        if interrupt::flag().load(Ordering::SeqCst) {
            return Ok(Exit::Interrupted);
        }
        for row in found {
            if arguments.format == Format::Text {
                console.print(line(&row))?;
            }
            rows.push(row);
        }
    }
    if arguments.format == Format::Json {
        console.print_json(&rows)?;
    }
    let failed = rows.iter().filter(|r| !r.passed).count();
    if failed > 0 {
        console.note(format!("{failed} of {} checks failed", rows.len()));
        return Ok(Exit::CheckFailed);
    }
    console.note(format!("all {} checks passed", rows.len()));
    Ok(Exit::Ok)
}

fn line(row: &Row) -> String {
    let verdict = if row.passed { "ok  " } else { "FAIL" };
    let message = if row.message.is_empty() {
        String::new()
    } else {
        format!(": {}", row.message)
    };
    format!("{verdict} {} {}{message}\n", row.name, row.check)
}

/// The submission or workload called `name`.
fn find(registry: &Registry, name: &str) -> Result<Subject, RegistryError> {
    if let Ok(submission) = registry.submission(name) {
        return Ok(Subject::Submission(submission));
    }
    if let Ok(workload) = registry.workload(name) {
        return Ok(Subject::Workload(workload));
    }
    let submissions: Vec<&str> = registry.submissions().map(|s| s.describe().name).collect();
    let workloads: Vec<String> = registry.workloads().map(|w| w.spec().name).collect();
    let all = submissions
        .into_iter()
        .chain(workloads.iter().map(String::as_str));
    Err(RegistryError::Unknown {
        kind: "submission or workload",
        name: name.to_string(),
        nearest: nearest(name, all),
    })
}

/// The adapters of these names; all where there are none.
fn adapters(names: &[String]) -> Result<Vec<Subject>, Failure> {
    if names.is_empty() {
        return Ok(METHODS.iter().map(Subject::Adapter).collect());
    }
    let all = || METHODS.iter().map(|e| e.name);
    let find = |name: &String| {
        let unknown = || {
            let hint = nearest(name, all());
            let hint = hint.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
            let known: Vec<&str> = all().collect();
            let known = known.join(", ");
            Failure::Usage(format!(
                "there is no adapter `{name}`{hint} (known: {known})"
            ))
        };
        entry(name).map(Subject::Adapter).ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

fn check(subject: &Subject, registry: &Registry, workshop: Option<&Workshop>) -> Vec<Row> {
    let (kind, name, checks) = match subject {
        Subject::Submission(s) => (
            "submission",
            s.describe().name.to_string(),
            submission(s.as_ref(), registry, workshop),
        ),
        Subject::Workload(w) => ("workload", w.spec().name, guarded(|| workload(w.as_ref()))),
        Subject::Adapter(e) => ("adapter", e.name.to_string(), guarded(|| checks::check(e))),
    };
    let row = |check: Check| Row {
        kind,
        name: name.clone(),
        check: check.name,
        passed: check.passed,
        message: check.message,
    };
    checks.into_iter().map(row).collect()
}

fn submission(
    submission: &dyn Submission,
    registry: &Registry,
    workshop: Option<&Workshop>,
) -> Vec<Check> {
    let mut checks = guarded(|| conformance::check_submission(submission, &Device::flex()));
    // A name in the built-in table is the built-in submission: the registry holds no name twice.
    let name = submission.describe().name;
    checks.extend(guarded(|| goldens::reference(name).into_iter().collect()));
    if let Some(workshop) = workshop {
        checks.extend(guarded(|| workshop.check(registry, submission)));
    }
    checks
}

/// A panic of the code under test is a check that failed, not the end of the others.
fn guarded(checks: impl FnOnce() -> Vec<Check>) -> Vec<Check> {
    catch_unwind(AssertUnwindSafe(checks)).unwrap_or_else(|payload| {
        vec![Check {
            name: "does not panic",
            passed: false,
            message: panic_message(payload.as_ref()),
        }]
    })
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked without a message")
        .to_string()
}

/// The checks of a workload: what it opens and builds is what it describes.
pub(crate) fn workload(workload: &dyn Workload) -> Vec<Check> {
    let spec = workload.spec();
    let mut checks = Vec::new();
    let mut add = |name: &'static str, fault: Option<String>| {
        checks.push(Check {
            name,
            passed: fault.is_none(),
            message: fault.unwrap_or_default(),
        });
    };
    let mut few = None;
    match workload.open() {
        Err(error) => add("opens its data", Some(error.to_string())),
        Ok(splits) => {
            add("opens its data", None);
            let found = [
                splits.train.len(),
                splits.validation.len(),
                splits.test.len(),
            ];
            let fault = (found != spec.split_sizes).then(|| {
                format!(
                    "the splits hold {found:?} examples, the description says {:?}",
                    spec.split_sizes
                )
            });
            add("has the split sizes that it states", fault);
            let indices: Vec<usize> = (0..found[0].min(8)).collect();
            // Draws as different as they come: the bits of the largest number, and none.
            let draws: Vec<u64> = indices.iter().map(|i| u64::MAX * (*i as u64 % 2)).collect();
            let load = || splits.train.load(&indices, Some(&draws));
            let fault = match (load(), load()) {
                (Ok(first), Ok(second)) => {
                    let differ = first != second;
                    few = Some((first, indices.clone()));
                    differ.then(|| "the same indices gave two different batches".to_string())
                }
                (Err(error), _) | (_, Err(error)) => Some(error),
            };
            add("gives the same batch twice", fault);
        }
    }
    let device = Device::flex().autodiff();
    match workload.build(&device) {
        Err(error) => add("builds its model", Some(error.to_string())),
        Ok(model) => {
            let trainable = model.params().iter().any(|p| p.trainable);
            let fault = (!trainable).then(|| "nothing in the model is trainable".to_string());
            add("builds its model", fault);
            let found: usize = model.params().iter().map(ParamInfo::len).sum();
            let fault = (found != spec.parameters).then(|| {
                let stated = spec.parameters;
                format!("the model has {found} parameters, the description says {stated}")
            });
            add("has the number of parameters that it states", fault);
            if let Some((host, ids)) = few {
                let batch = Batch::from_host(host, ids, &device.clone().without_autodiff());
                let fault = match model.evaluate(&mut std::iter::once(batch)) {
                    Err(error) => Some(error.to_string()),
                    Ok(measures) => {
                        let wanted = ["loss", spec.target.metric.as_str()];
                        let mut missing = wanted.iter().filter(|m| !measures.contains_key(**m));
                        let names: Vec<&str> = measures.keys().map(String::as_str).collect();
                        missing.next().map(|name| {
                            let names = names.join(", ");
                            format!("`{name}` is not among the measures of its model: {names}")
                        })
                    }
                };
                add("measures its metric and its loss", fault);
            }
        }
    }
    let sound = spec.budget.work >= spec.eval_every_work && spec.eval_every_work > 0;
    let fault = (!sound).then(|| {
        format!(
            "budget of {} examples, evaluated every {}: no evaluation would take place",
            spec.budget.work, spec.eval_every_work
        )
    });
    add("is evaluated within its budget", fault);
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_check() {
        let checks = guarded(|| panic!("at step 7"));
        assert_eq!(checks.len(), 1);
        assert!(!checks[0].passed);
        assert_eq!(checks[0].message, "at step 7");
    }

    #[test]
    fn adapters_are_found_by_name() {
        assert_eq!(adapters(&[]).unwrap().len(), METHODS.len());
        let found = adapters(&["oft".to_string()]).unwrap();
        assert!(matches!(found.as_slice(), [Subject::Adapter(e)] if e.name == "oft"));
        let error = adapters(&["dorra".to_string()]).err().unwrap().to_string();
        assert!(error.contains("did you mean `dora`?"), "{error}");
    }

    #[test]
    fn a_name_may_be_of_either_kind_and_a_wrong_one_names_the_nearest() {
        let mut registry = Registry::new();
        velodrome_workloads::register(&mut registry).unwrap();
        velodrome_submissions::register(&mut registry).unwrap();
        assert!(matches!(
            find(&registry, "adamw"),
            Ok(Subject::Submission(_))
        ));
        assert!(matches!(
            find(&registry, "digits_mlp"),
            Ok(Subject::Workload(_))
        ));
        let error = find(&registry, "digits_mpl").err().unwrap().to_string();
        assert!(error.contains("did you mean `digits_mlp`?"), "{error}");
    }
}

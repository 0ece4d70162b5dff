//! `velodrome list`.

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::suites;
use clap::ValueEnum;
use serde_json::{Value, json};
use velodrome_harness::contract::{Range, Ruleset, SearchSpace, WorkloadSpec};
use velodrome_harness::race::Suite;
use velodrome_harness::registry::Registry;
use velodrome_results::Direction;

/// Show the workloads, submissions and suites that there are
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome list
  velodrome list workloads
  velodrome list submissions --format json")]
pub(crate) struct Arguments {
    /// What to show; everything where left out
    #[arg(value_enum)]
    what: Option<What>,
    /// Form of the tables
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Data, model, loss, metric, target, budget
    Workloads,
    /// Training algorithms
    Submissions,
    /// What `run` can race by name
    Suites,
}

impl What {
    const ALL: [What; 3] = [What::Workloads, What::Submissions, What::Suites];

    fn title(self) -> &'static str {
        match self {
            What::Workloads => "Workloads",
            What::Submissions => "Submissions",
            What::Suites => "Suites",
        }
    }
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let suites = suites::all()?;
    let as_json = |what| match what {
        What::Workloads => registry
            .workloads()
            .map(|w| workload_json(&w.spec()))
            .collect(),
        What::Submissions => submissions_json(registry),
        What::Suites => suites.iter().map(suite_json).collect(),
    };
    match (arguments.format, arguments.what) {
        (Format::Json, Some(what)) => console.print_json(&as_json(what))?,
        (Format::Json, None) => console.print_json(&json!({
            "workloads": as_json(What::Workloads),
            "submissions": as_json(What::Submissions),
            "suites": as_json(What::Suites),
        }))?,
        (Format::Text, what) => {
            let wanted = what.map_or(What::ALL.to_vec(), |w| vec![w]);
            let tables: Vec<String> = wanted
                .into_iter()
                .map(|what| {
                    let table = match what {
                        What::Workloads => workloads(registry, console),
                        What::Submissions => submissions(registry, console),
                        What::Suites => suites_table(&suites, console),
                    };
                    format!("{}\n{table}", what.title())
                })
                .collect();
            console.print(tables.join("\n"))?;
        }
    }
    Ok(Exit::Ok)
}

fn workloads(registry: &Registry, console: &Console) -> String {
    let rows = registry.workloads().map(|workload| {
        let spec = workload.spec();
        let sign = match spec.target.direction {
            Direction::Minimize => "<=",
            Direction::Maximize => ">=",
        };
        let what = match &spec.change {
            Some(change) => format!("variant of {}: {change}", spec.base),
            None => spec.summary,
        };
        vec![
            spec.name,
            spec.kind,
            spec.size.as_str().to_string(),
            format!("{} {sign} {}", spec.target.metric, spec.target.validation),
            format!("{} / {} s", spec.budget.work, spec.budget.seconds),
            spec.model,
            what,
        ]
    });
    console.table(
        &[
            "workload",
            "kind",
            "size",
            "target",
            "budget: examples / s",
            "model",
            "what it is",
        ],
        rows.collect(),
    )
}

fn submissions(registry: &Registry, console: &Console) -> String {
    let rows = registry.submissions().map(|submission| {
        let about = submission.describe();
        vec![
            about.name.to_string(),
            rulesets(about.rulesets).join(", "),
            tuned(&submission.search_space()),
            about.summary.to_string(),
            about.paper.to_string(),
        ]
    });
    console.table(
        &["submission", "rulesets", "tuned", "what it is", "source"],
        rows.collect(),
    )
}

/// The whole description, with what tables need at the top: `base` is null for a base workload.
fn workload_json(spec: &WorkloadSpec) -> Value {
    let mut object = json!(spec);
    let variant = spec.change.is_some();
    object["base"] = json!(variant.then_some(&spec.base));
    object["metric"] = json!(spec.target.metric);
    object["direction"] = json!(spec.target.direction);
    object["validation_target"] = json!(spec.target.validation);
    object["test_target"] = json!(spec.target.test);
    object["budget_work"] = json!(spec.budget.work);
    object["budget_seconds"] = json!(spec.budget.seconds);
    object["step_hint"] = json!(spec.hints.steps);
    object["batch_size"] = json!(spec.hints.batch_size);
    object
}

fn suites_table(suites: &[Suite], console: &Console) -> String {
    let rows = suites.iter().map(|suite| {
        vec![
            suite.name.clone(),
            suite.workloads.len().to_string(),
            suite.submissions.len().to_string(),
            suite.ruleset.as_str().to_string(),
            suite.studies.to_string(),
            suite.trials.to_string(),
            suite.description.clone(),
        ]
    });
    console.table(
        &[
            "suite",
            "workloads",
            "submissions",
            "ruleset",
            "studies",
            "trials per study",
            "what it is",
        ],
        rows.collect(),
    )
}

fn submissions_json(registry: &Registry) -> Value {
    registry
        .submissions()
        .map(|s| {
            json!({
                "description": s.describe(),
                "search_space": s.search_space(),
                "default_point": s.search_space().default_point(),
            })
        })
        .collect()
}

fn suite_json(suite: &Suite) -> Value {
    let names = |list: &[toml::Spanned<String>]| -> Vec<String> {
        list.iter().map(|n| n.get_ref().clone()).collect()
    };
    json!({
        "name": suite.name,
        "description": suite.description,
        "workloads": names(&suite.workloads),
        "submissions": names(&suite.submissions),
        "ruleset": suite.ruleset.as_str(),
        "studies": suite.studies,
        "trials": suite.trials,
        "seed": suite.seed,
    })
}

fn rulesets(rulesets: &[Ruleset]) -> Vec<&'static str> {
    rulesets.iter().map(|r| r.as_str()).collect()
}

/// Names of the hyperparameters that the external ruleset draws.
fn tuned(space: &SearchSpace) -> String {
    let names: Vec<&str> = space
        .0
        .iter()
        .filter(|d| d.range != Range::Fixed)
        .map(|d| d.name.as_str())
        .collect();
    match names.as_slice() {
        [] => "nothing".into(),
        names => names.join(", "),
    }
}

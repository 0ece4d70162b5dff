//! Checks in processes of their own: short races on a real workload, as `run` would race them.
//!
//! What the checks in one process cannot see: state that is kept in the program and not in the
//! trial (a global, a cache), randomness that each process draws anew, and what the race makes of a
//! trial whose weights are lost.

use super::Check;
use crate::contract::{Ruleset, Submission};
use crate::race::child::ChildArguments;
use crate::race::runner::stderr_tail;
use crate::race::suite::Override;
use crate::race::trial::Drill;
use crate::race::watch::{End, Watch};
use crate::race::{Limits, Suite, plan};
use crate::registry::Registry;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use toml::Spanned;
use velodrome_results::{Status, TrialRecord, log};

/// The evaluations of a race, apart from the first.
const EVALUATIONS: u64 = 4;
/// The step before which all weights become NaN.
const SPOILED_STEP: u64 = 3;

/// Races `submission` at its default point on `workload`, for four times `steps` steps of the suggested
/// batch size with an evaluation and a checkpoint after each `steps`, into folders of `dir`, five processes
/// in all. The program must run [`crate::race::child`] for its hidden subcommand. Set `interrupted` to
/// stop soon; the checks then fail.
pub fn check_processes(
    registry: &Registry,
    (workload, steps): (&str, u64),
    submission: &dyn Submission,
    dir: &Path,
    interrupted: &AtomicBool,
) -> Vec<Check> {
    let track = match Track::new(registry, (workload, steps), submission, dir, interrupted) {
        Ok(track) => track,
        Err(message) => return vec![check("two_processes", Err(message))],
    };
    let straight = track.whole("straight");
    vec![
        check("two_processes", track.repeats(&straight)),
        check("resume_in_new_process", track.resumes(&straight)),
        check("diverges", track.diverges()),
    ]
}

fn check(name: &'static str, found: Result<String, String>) -> Check {
    let passed = found.is_ok();
    Check {
        name,
        passed,
        message: found.unwrap_or_else(|message| message),
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// What a process left: its record, and its evaluations without seconds.
struct Left {
    record: TrialRecord,
    evals: Vec<String>,
}

impl Left {
    /// Where the two differ first.
    fn difference(&self, other: &Self) -> Option<String> {
        let evals = self.evals.iter().zip(&other.evals);
        if let Some(n) = evals.into_iter().position(|(a, b)| a != b) {
            return Some(format!("evaluation {n} differs"));
        }
        let counts = (self.evals.len(), other.evals.len());
        if counts.0 != counts.1 {
            return Some(format!("{} evaluations, then {}", counts.0, counts.1));
        }
        let (a, b) = (&self.record.outcome, &other.record.outcome);
        if a.counters != b.counters {
            return Some(format!("counters {:?}, then {:?}", a.counters, b.counters));
        }
        (a.state_bytes != b.state_bytes)
            .then(|| format!("{} bytes of state, then {}", a.state_bytes, b.state_bytes))
    }
}

struct Track<'a> {
    planned: TrialRecord,
    limits: Limits,
    dir: &'a Path,
    interrupted: &'a AtomicBool,
}

impl<'a> Track<'a> {
    fn new(
        registry: &Registry,
        (workload, steps): (&str, u64),
        submission: &dyn Submission,
        dir: &'a Path,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, String> {
        let description = submission.describe();
        let named = |name: &str| Spanned::new(0..0, name.to_string());
        let start = "name = \"verify\"\nworkloads = []\nsubmissions = []";
        let mut suite = Suite::parse(start, Path::new("verify")).map_err(text)?;
        suite.workloads = vec![named(workload)];
        suite.submissions = vec![named(description.name)];
        let rulesets = description.rulesets;
        suite.ruleset = rulesets.first().copied().unwrap_or(Ruleset::SelfTuning);
        // One trial at the default point, under either ruleset.
        suite.points = BTreeMap::from([(named(description.name), vec![BTreeMap::new()])]);
        suite.without_target = true;
        let spec = registry.workload(workload).map_err(text)?.spec();
        let every = steps * spec.hints.batch_size as u64;
        let change = Override {
            budget_work: Some(EVALUATIONS * every),
            eval_every_work: Some(every),
            ..Override::default()
        };
        suite.overrides = BTreeMap::from([(named(workload), change)]);
        let plan = plan(&suite, registry).map_err(text)?;
        let planned = plan.trials.into_iter().next();
        Ok(Self {
            planned: planned.ok_or("the plan has no trial")?,
            limits: plan.limits,
            dir,
            interrupted,
        })
    }

    /// A new folder with the planned record.
    fn folder(&self, name: &str) -> Result<PathBuf, String> {
        // The hash, not the submission's name, which may not be fit for a folder.
        let dir = self.dir.join(&self.planned.hash).join(name);
        let made = std::fs::create_dir_all(&dir);
        made.map_err(|e| format!("{}: cannot be made: {e}", dir.display()))?;
        self.planned.write(&dir.join("trial.json")).map_err(text)?;
        Ok(dir)
    }

    /// One process that races the trial in `dir`, or goes on with it.
    fn process(&self, dir: &Path, drill: Option<Drill>) -> Result<Left, String> {
        let arguments = ChildArguments {
            checkpoint_seconds: 0.0,
            keep_weights: false,
            drill,
        };
        let watch = Watch::start(&self.planned, dir, &arguments)
            .map_err(|e| format!("its process cannot be started: {e}"))?;
        match watch
            .until_end(&self.limits, self.interrupted, &mut |_| {})
            .0
        {
            End::Exited(0) => {}
            End::Interrupted => return Err("interrupted".into()),
            end => {
                let said = stderr_tail(dir);
                return Err(format!("its process ended as {end:?}: {said}"));
            }
        }
        let evals = log::read(&dir.join("evals.jsonl")).map_err(text)?;
        let timeless = evals.into_iter().map(|mut eval| {
            (eval.clock, eval.wall) = (0.0, 0.0);
            // As text, so that what is not a number equals itself.
            serde_json::to_string(&eval).map_err(text)
        });
        Ok(Left {
            evals: timeless.collect::<Result<_, _>>()?,
            record: TrialRecord::read(&dir.join("trial.json")).map_err(text)?,
        })
    }

    /// A race to the end of its budget.
    fn whole(&self, name: &str) -> Result<Left, String> {
        let left = self.process(&self.folder(name)?, None)?;
        ended(left)
    }

    fn repeats(&self, straight: &Result<Left, String>) -> Result<String, String> {
        let straight = straight.as_ref().map_err(String::clone)?;
        let again = self.whole("again")?;
        match straight.difference(&again) {
            None => Ok(format!(
                "two runs of {} steps on {}, each in a process of its own, are bit-identical",
                straight.record.outcome.counters.steps, self.planned.workload
            )),
            Some(difference) => Err(format!(
                "two runs with one seed in two processes differ ({difference}): nothing may depend \
                 on the process, such as its number, its addresses or the order of a hash map"
            )),
        }
    }

    fn resumes(&self, straight: &Result<Left, String>) -> Result<String, String> {
        let straight = straight.as_ref().map_err(String::clone)?;
        let dir = self.folder("stopped")?;
        let first = self.process(&dir, Some(Drill::HaltAtWork(self.planned.budget.work / 2)))?;
        if first.record.status != Status::Running {
            return Err(format!(
                "it did not come to a checkpoint: {}",
                reason(&first.record)
            ));
        }
        let before = first.evals.len();
        let left = ended(self.process(&dir, None)?)?;
        if left.record.outcome.resumes != 1 {
            return Err("the new process did not continue from the checkpoint".into());
        }
        match straight.difference(&left) {
            None => Ok(format!(
                "stopped after {before} of {} evaluations and continued by a new process: \
                 bit-identical",
                left.evals.len()
            )),
            Some(difference) => Err(format!(
                "a run that a new process continues differs from a straight one ({difference}): \
                 `save` and `load` must carry everything that later steps depend on, and nothing \
                 may be kept in the program itself"
            )),
        }
    }

    fn diverges(&self) -> Result<String, String> {
        let dir = self.folder("spoiled")?;
        let left = self.process(&dir, Some(Drill::SpoilAtStep(SPOILED_STEP)))?;
        let record = &left.record;
        if record.status == Status::Diverged {
            return Ok(format!("weights of NaN: {}", reason(record)));
        }
        Err(format!(
            "weights of NaN must end a trial as `diverged`; it ended as `{}`: {}",
            record.status.as_str(),
            reason(record)
        ))
    }
}

fn reason(record: &TrialRecord) -> &str {
    record.reason.as_deref().unwrap_or("no reason is given")
}

/// A race that was to use up its budget.
fn ended(left: Left) -> Result<Left, String> {
    let record = &left.record;
    if record.status != Status::Missed {
        return Err(format!(
            "a race of {} examples ended as `{}`: {}",
            record.budget.work,
            record.status.as_str(),
            reason(record)
        ));
    }
    Ok(left)
}

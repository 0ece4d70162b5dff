//! `velodrome race`: two programs, trial by trial in turn on one machine, and the verdict.

mod build;
mod side;
mod state;

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::selection::{Selection, folder_name};
use crate::verdict::{self, Limits, Telling};
use side::{Planned, Side};
use state::State;
use std::path::{Path, PathBuf};
use std::time::Instant;
use velodrome_harness::race::lock::Lock;
use velodrome_harness::seed::mix;
use velodrome_results::compare::{CompareOptions, Comparison, Verdict, compare};

/// Race two builds of Velodrome against each other, in turn on one machine, and compare them
///
/// Each trial is raced by both, one right after the other, in the order ABBA, so that a machine that
/// slows down does it to both. After each block (one study of every row) the verdict is looked at, with
/// a correction for repeated looks; the race ends when it is clear, or when the allowance is spent. The
/// exit code is the verdict, as for `compare`. The same command continues an interrupted race.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome race --base old/velodrome --candidate target/release/velodrome smoke
  velodrome race --base-rev main --candidate-rev HEAD quick --allowance 1800
  velodrome race --base-rev v1 --candidate-rev HEAD --bin my_riders -s my_optimizer smoke")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// The program before the change
    #[arg(long, value_name = "PROGRAM", required_unless_present = "base_rev")]
    base: Option<PathBuf>,
    /// The program after the change
    #[arg(
        long,
        value_name = "PROGRAM",
        required_unless_present = "candidate_rev"
    )]
    candidate: Option<PathBuf>,
    /// Build the program before the change from this git revision
    #[arg(long, value_name = "REV", conflicts_with = "base")]
    base_rev: Option<String>,
    /// Build the program after the change from this git revision
    #[arg(long, value_name = "REV", conflicts_with = "candidate")]
    candidate_rev: Option<String>,
    /// Which program of the revisions is raced
    #[arg(long, value_name = "NAME", default_value = "velodrome")]
    bin: String,
    /// Most blocks: repetitions of every row with other seeds
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    studies: u32,
    /// Most seconds that the race may take, builds left out; what is raced then is judged
    #[arg(long, value_name = "SECONDS")]
    allowance: Option<f64>,
    /// Folder of the race, with the runs `base` and `candidate` in it [default:
    /// runs/race-SUITE-HASH-HASH]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    telling: Telling,
}

/// A race that can go on.
struct Race {
    sides: [Side; 2],
    trials: Vec<Planned>,
    seed: u64,
    state: State,
    folder: PathBuf,
    options: CompareOptions,
    allowance: f64,
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    if arguments.allowance.is_some_and(|a| a.is_nan() || a <= 0.0) {
        return Err(Failure::Usage(
            "--allowance takes more than 0 seconds".into(),
        ));
    }
    let options = CompareOptions {
        // Trials in turn share what the machine does.
        drift: 0.0,
        ..arguments.limits.options()
    };
    options.check()?;
    let builds = arguments
        .out
        .clone()
        .unwrap_or_else(|| "runs/race-builds".into());
    let program = |given: &Option<PathBuf>, revision: &Option<String>, console: &mut Console| match (
        given, revision,
    ) {
        (_, Some(revision)) => {
            build::revision(revision, &arguments.bin, Path::new("."), &builds, console)
        }
        (Some(path), None) => Ok(path.clone()),
        (None, None) => Err(Failure::Usage("a program or a revision is missing".into())),
    };
    let base = program(&arguments.base, &arguments.base_rev, console)?;
    let candidate = program(&arguments.candidate, &arguments.candidate_rev, console)?;
    let mut words = arguments.selection.words();
    words.push(format!("--studies={}", arguments.studies));
    let plans = [side::plan(&base, &words)?, side::plan(&candidate, &words)?];
    let names = [plans[0].name(&base), plans[1].name(&candidate)];
    let folder = arguments.out.clone().unwrap_or_else(|| {
        let suite = format!("race-{}", plans[0].suite);
        PathBuf::from("runs").join(folder_name(&suite, &[&names[0], &names[1]]))
    });
    std::fs::create_dir_all(&folder).map_err(|e| Failure::io(&folder, "create", e))?;
    let _lock = Lock::acquire(&folder, std::time::Duration::ZERO)
        .map_err(velodrome_harness::race::RaceError::from)?;
    let [plan, other] = plans;
    side::same_trials(&plan, &other)?;
    let pairs = plan.trials.len();
    let side = |name: &'static str, program| Side::new(name, program, &folder, &words, pairs);
    let mut race = Race {
        sides: [side("base", base), side("candidate", candidate)],
        seed: plan.seed,
        state: State::open(&folder, names, pairs)?,
        trials: plan.trials,
        options,
        allowance: arguments.allowance.unwrap_or(f64::INFINITY),
        folder,
    };
    match race.run(console)? {
        Some(found) => {
            arguments.telling.tell(&found, console)?;
            Ok(verdict::exit(found.verdict))
        }
        None => Ok(Exit::Interrupted),
    }
}

impl Race {
    /// Races until the verdict is clear, or nothing is left to race or to spend. `None` where it was
    /// interrupted.
    fn run(&mut self, console: &mut Console) -> Result<Option<Comparison>, Failure> {
        let mut found = None;
        if self.state.looks.at.last() == Some(&self.state.pairs) {
            found = Some(self.look(self.state.pairs)?);
        }
        for pair in self.state.pairs..self.trials.len() {
            let clear = |f: &Comparison| f.verdict != Verdict::Inconclusive;
            if found.as_ref().is_some_and(clear) || self.state.seconds >= self.allowance {
                break;
            }
            let began = Instant::now();
            let mut order = [0, 1];
            if candidate_first(self.seed, pair) {
                order.reverse();
            }
            for side in order {
                if !self.sides[side].race(&self.trials[pair], pair)? {
                    return Ok(None);
                }
            }
            self.state.pairs = pair + 1;
            self.state.seconds += began.elapsed().as_secs_f64();
            self.state.write(&self.folder)?;
            found = None;
            let study = self.trials[pair].study;
            let next = self.trials.get(pair + 1);
            let block_ends = next.is_none_or(|next| next.study != study);
            if block_ends && self.state.looks.is_due(pair + 1) {
                let looked = self.look(pair + 1)?;
                console.note(format!(
                    "{} of at most {} pairs, {:.0} s: {}",
                    pair + 1,
                    self.trials.len(),
                    self.state.seconds,
                    looked.verdict
                ));
                found = Some(looked);
            }
        }
        // Where the race ends between two looks, what is there is looked at once more.
        match found {
            Some(found) => Ok(Some(found)),
            None => self.look(self.state.pairs).map(Some),
        }
    }

    /// The comparison of what both have raced, at the level that this look may spend.
    fn look(&mut self, pairs: usize) -> Result<Comparison, Failure> {
        let runs = [self.sides[0].read()?, self.sides[1].read()?];
        let looks = &mut self.state.looks;
        // A look that was made before the race was interrupted is the same look again.
        if looks.at.last() == Some(&pairs) {
            looks.at.pop();
        }
        let options = looks.options(&self.options, pairs);
        let mut found = compare(&runs[0], &runs[1], &options)?;
        looks.book(pairs);
        let share = self.options.family_error;
        found.note(
            "looks",
            format!(
                "look {} at {pairs} of at most {} pairs after {:.0} s; it had {:.3} % of the error of \
                 {:.3} % that all looks share",
                looks.at.len(),
                looks.most,
                self.state.seconds,
                100.0 * options.family_error,
                100.0 * share
            ),
        );
        self.state.write(&self.folder)?;
        Ok(found)
    }
}

/// ABBA or BAAB for each two pairs, by lot: a drift cancels within four trials, and no rhythm of the
/// machine can keep time with the order.
fn candidate_first(seed: u64, pair: usize) -> bool {
    let two = (pair / 2) as u64;
    (mix(seed, two) & 1 == 1) != (pair % 2 == 1)
}

/// The run folder of one side.
fn run_folder(race: &Path, side: &str) -> PathBuf {
    race.join(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_two_pairs_are_raced_in_mirrored_order_and_by_lot() {
        let mut first = 0;
        for two in 0..200 {
            let (a, b) = (candidate_first(7, 2 * two), candidate_first(7, 2 * two + 1));
            assert_ne!(a, b);
            first += u32::from(a);
        }
        assert!((70..130).contains(&first), "{first}");
    }
}

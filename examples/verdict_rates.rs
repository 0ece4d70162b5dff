//! How often a verdict errs: the tables of `docs/comparison.md`.
//!
//!     cargo run --release --example verdict_rates -- simulate
//!     cargo run --release --example verdict_rates -- real --comparisons 100
//!     cargo run --release --example verdict_rates -- real --comparisons 100 --handicap step
//!
//! `simulate` takes step times from the records of `results/boards`. `real` races on this machine: the
//! same program twice, or with AdamW under a known handicap as the candidate. It goes on where it was
//! stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use velodrome::harness::registry::Registry;
use velodrome::prelude::*;
use velodrome::results::archive;
use velodrome::results::compare::CompareOptions;
use velodrome::results::compare::simulate::{Rates, Setting, simulate};
use velodrome::results::run::Run;
use velodrome::submissions::fused::{Fused, Now, Number, Rule};
use velodrome::submissions::optimizers::adamw::AdamW;
use velodrome::submissions::scheduled::ScheduledOptimizer;

/// The variable that gives the candidate its handicap.
const VARIABLE: &str = "VELODROME_HANDICAP";
/// The submission that heeds it.
const RIDER: &str = "handicapped_adamw";

/// AdamW with a handicap: `step` (each step takes 5 % longer), `steps` (each eleventh update is
/// dropped, so that 10 % more are needed), `state` (20 % more bytes), `correction` (the averages' bias is
/// not corrected), or none.
struct Handicapped;

/// AdamW that takes its averages for old ones.
#[derive(Clone, Copy)]
struct Uncorrected(AdamW);

impl Rule<2> for Uncorrected {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        self.0.rule(Now {
            time: 1_000_000,
            ..now
        })
    }
}

fn adamw() -> Fallible<std::sync::Arc<dyn Submission>> {
    let mut registry = Registry::new();
    velodrome::submissions::register(&mut registry).map_err(|e| e.to_string())?;
    Ok(registry.submission("adamw").map_err(|e| e.to_string())?)
}

impl Submission for Handicapped {
    fn describe(&self) -> Description {
        Description {
            name: RIDER,
            summary: "AdamW under a handicap that the environment names.",
            paper: "none",
            reference: "none",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning],
            version: "1",
        }
    }

    fn search_space(&self) -> SearchSpace {
        adamw().map_or_else(|_| SearchSpace::new(), |inner| inner.search_space())
    }

    fn start(&self, trainee: &mut Trainee, context: &StartContext) -> Fallible<Box<dyn Algorithm>> {
        let handicap = std::env::var(VARIABLE).unwrap_or_default();
        let inner = match handicap.as_str() {
            "correction" => {
                let rule = Uncorrected(AdamW::from_point(&context.point)?);
                ScheduledOptimizer::cosine(Fused(rule), context)?
            }
            _ => adamw()?.start(trainee, context)?,
        };
        Ok(Box::new(Riding { inner, handicap }))
    }
}

struct Riding {
    inner: Box<dyn Algorithm>,
    handicap: String,
}

impl Algorithm for Riding {
    fn update(&mut self, model: &mut Trainee, batch: &Batch, now: &StepContext) -> Fallible<()> {
        let began = Instant::now();
        if self.handicap == "steps" && now.step % 11 == 10 {
            // The work is done, and its result thrown away.
            model.gradients(batch, &PassOptions::default())?;
            return Ok(());
        }
        self.inner.update(model, batch, now)?;
        model.device().sync().map_err(|e| e.to_string())?;
        if self.handicap == "step" {
            let end = Instant::now() + began.elapsed().mul_f64(0.05);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut State) -> Fallible<()> {
        self.inner.save(state)?;
        if self.handicap == "state" {
            let size = state.tensor_bytes() as usize / 20;
            let more = Tensor::<1>::zeros([size], &Device::default());
            state.put_tensors("handicap", &[more])?;
        }
        Ok(())
    }

    fn load(&mut self, state: &State, model: &Trainee) -> Fallible<()> {
        self.inner.load(state, model)
    }
}

#[derive(clap::Parser)]
#[command(about = "How often verdicts err")]
struct Line {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(clap::Subcommand)]
enum Mode {
    /// Simulated comparisons, from recorded step times
    Simulate {
        /// Comparisons for each row of the table
        #[arg(long, default_value_t = 10_000)]
        comparisons: usize,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Races on this machine
    Real {
        /// Comparisons
        #[arg(long, default_value_t = 100)]
        comparisons: u32,
        /// What slows the candidate down; nothing where absent
        #[arg(long, value_parser = ["step", "steps", "state", "correction"])]
        handicap: Option<String>,
        /// Two runs one after the other, compared with the default drift, instead of a race
        #[arg(long)]
        in_sequence: bool,
        /// The candidate's studies have other seeds than the base's
        #[arg(long, requires = "in_sequence")]
        other_seeds: bool,
        /// Keep a second process busy during a third of the time
        #[arg(long)]
        load: bool,
        /// Studies: of two runs their number, of a race the most
        #[arg(long)]
        studies: Option<u32>,
        /// Folder of the runs
        #[arg(long, default_value = "runs/verdict_rates")]
        out: PathBuf,
    },
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if !["simulate", "real", "help", "--help"].contains(&first.as_str()) {
        // A side of a race, or one of its trials.
        return Command::new().submission(Handicapped).run();
    }
    let done = match <Line as clap::Parser>::parse().mode {
        Mode::Simulate { comparisons, seed } => simulated(comparisons, seed),
        Mode::Real {
            comparisons,
            handicap,
            in_sequence,
            other_seeds,
            load,
            studies,
            out,
        } => {
            let studies = studies.unwrap_or(if in_sequence { 12 } else { 100 });
            let races = Races {
                handicap: handicap.unwrap_or_default(),
                in_sequence,
                other_seeds,
                studies,
                out,
            };
            if load {
                loaded(|| races.all(comparisons))
            } else {
                races.all(comparisons)
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn simulated(comparisons: usize, seed: u64) -> Outcome {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/boards");
    let mut records: Vec<Run> = Vec::new();
    for name in ["external-digits", "external-quick"] {
        records.push(archive::read(&boards.join(name).join("records.parquet"))?);
    }
    let two = Setting::default();
    let race = Setting {
        race: true,
        studies: 100,
        ..two
    };
    let options = CompareOptions::default();
    println!(
        "| {comparisons} comparisons of six rows | regressed | improved | same | inconclusive | pairs |"
    );
    println!("|:--|--:|--:|--:|--:|--:|");
    for (name, setting) in [
        ("two runs, unchanged, equal seeds", two),
        (
            "two runs, unchanged, other seeds",
            Setting {
                other_seeds: true,
                ..two
            },
        ),
        ("two runs, 10 % more steps", Setting { steps: 1.1, ..two }),
        ("two runs, 30 % longer steps", Setting { step: 1.3, ..two }),
        ("two runs, 20 % more state", Setting { state: 1.2, ..two }),
        ("race, unchanged", race),
        ("race, 5 % longer steps", Setting { step: 1.05, ..race }),
        ("race, 10 % more steps", Setting { steps: 1.1, ..race }),
        ("race, 20 % more state", Setting { state: 1.2, ..race }),
    ] {
        let rates = simulate(&records, &setting, &options, comparisons, seed)?;
        println!("| {name} | {} |", cells(&rates));
    }
    Ok(())
}

fn cells(rates: &Rates) -> String {
    let share = |n: usize| {
        format!(
            "{:.2} %",
            100.0 * n as f64 / rates.comparisons.max(1) as f64
        )
    };
    [
        share(rates.regressed),
        share(rates.improved),
        share(rates.same),
        share(rates.inconclusive),
        format!("{:.0}", rates.pairs),
    ]
    .join(" | ")
}

struct Races {
    handicap: String,
    in_sequence: bool,
    other_seeds: bool,
    studies: u32,
    out: PathBuf,
}

impl Races {
    fn all(&self, comparisons: u32) -> Outcome {
        let mut counts: BTreeMap<i32, u32> = BTreeMap::new();
        let began = Instant::now();
        for seed in 1..=comparisons {
            let code = if self.in_sequence {
                self.two_runs(seed)?
            } else {
                self.race(seed)?
            };
            *counts.entry(code).or_default() += 1;
            let of = |code| counts.get(&code).copied().unwrap_or(0);
            eprintln!(
                "{seed} of {comparisons}, {:.0} s: {} regressed, {} inconclusive, {} same or improved",
                began.elapsed().as_secs_f64(),
                of(11),
                of(12),
                of(0)
            );
            if ![0, 11, 12].contains(&code) {
                return Err(format!("comparison {seed} ended with exit code {code}").into());
            }
        }
        Ok(())
    }

    /// This program with its suite, from `seed`.
    fn program(&self, words: &[&str], seed: u32) -> std::io::Result<std::process::Command> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command
            .args(words)
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        command.args(["smoke", "-w", "digits_mlp", "-s", RIDER, "--threads=1"]);
        command.args([
            format!("--seed={seed}"),
            format!("--studies={}", self.studies),
        ]);
        Ok(command)
    }

    fn race(&self, seed: u32) -> Result<i32, Box<dyn std::error::Error>> {
        let folder = self.out.join(format!("race-{}-{seed}", self.handicap));
        std::fs::create_dir_all(&folder)?;
        let base = std::env::current_exe()?;
        let mut command = self.program(&["race"], seed)?;
        command.arg("--base").arg(&base).arg("--out").arg(&folder);
        command
            .arg("--candidate")
            .arg(self.wrapper(&folder, &base)?);
        Ok(command.status()?.code().unwrap_or(-1))
    }

    /// A program that sets the handicap and becomes this one.
    fn wrapper(&self, folder: &Path, program: &Path) -> std::io::Result<PathBuf> {
        if self.handicap.is_empty() {
            return Ok(program.to_path_buf());
        }
        let path = std::path::absolute(folder.join("candidate.sh"))?;
        let text = format!(
            "#!/bin/sh\n{VARIABLE}={} exec '{}' \"$@\"\n",
            self.handicap,
            program.display()
        );
        std::fs::write(&path, text)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(path)
    }

    fn two_runs(&self, seed: u32) -> Result<i32, Box<dyn std::error::Error>> {
        let others = if self.other_seeds { "-others" } else { "" };
        let folder = self
            .out
            .join(format!("two-{}{others}-{seed}", self.handicap));
        let sides = ["base", "candidate"].map(|side| folder.join(side));
        let seeds = [
            seed,
            if self.other_seeds {
                seed + 1_000_000
            } else {
                seed
            },
        ];
        for ((side, handicap), seed) in sides.iter().zip(["", &self.handicap]).zip(seeds) {
            let mut command = self.program(&["run", "--records-only", "--events=plain"], seed)?;
            command
                .arg("--out")
                .arg(side)
                .env(VARIABLE, handicap)
                .stderr(Stdio::null());
            let status = command.status()?;
            if !status.success() {
                return Err(format!("the run in {} ended with {status}", side.display()).into());
            }
        }
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("compare").args(&sides).stdout(Stdio::null());
        Ok(command.status()?.code().unwrap_or(-1))
    }
}

/// Does `work` while a thread keeps a processor busy for 20 s of each minute.
fn loaded(work: impl FnOnce() -> Outcome) -> Outcome {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !over.load(Ordering::Relaxed) {
                if began.elapsed().as_secs() % 60 < 20 {
                    std::hint::black_box((0..1_000_000_u64).sum::<u64>());
                } else {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

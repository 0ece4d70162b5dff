//! One side of a race: a program that races one trial at a time into its run folder.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use velodrome_harness::race::fingerprint::sha256_of;
use velodrome_results::TrialRecord;
use velodrome_results::run::{Run, trial_dir};
use velodrome_results::trace::Trace;

/// What a program would race.
#[derive(Debug, Deserialize)]
pub(super) struct PlanOf {
    pub suite: String,
    pub hash: String,
    pub seed: u64,
    pub trials: Vec<Planned>,
}

/// One trial of it.
#[derive(Debug, Deserialize)]
pub(super) struct Planned {
    pub id: String,
    pub study: u32,
}

impl PlanOf {
    /// A hash of the plan and of the file of `program`, which may be a script around the program whose
    /// hash the plan knows.
    pub(super) fn name(&self, program: &Path) -> String {
        // A program that is found by its name alone has no file to read.
        let own = sha256_of(program).unwrap_or_default();
        let hash = own.get(..8).unwrap_or_default();
        let plan = self.hash.get(..8).unwrap_or(&self.hash);
        format!("{plan}{hash}")
    }
}

/// A program and its run folder.
pub(super) struct Side {
    name: &'static str,
    program: PathBuf,
    folder: PathBuf,
    words: Vec<String>,
    pairs: usize,
}

/// Asks `program` for its plan.
pub(super) fn plan(program: &Path, words: &[String]) -> Result<PlanOf, Failure> {
    let output = Command::new(program)
        .arg("run")
        .args(words)
        .args(["--dry-run", "--format=json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::io(program, "run", e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(program, output.status.code(), said.trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| {
        Failure::Usage(format!(
            "{} does not print a plan that this version reads: {e}",
            program.display()
        ))
    })
}

/// Both sides must race the same trials.
pub(super) fn same_trials(base: &PlanOf, candidate: &PlanOf) -> Result<(), Failure> {
    let lacks = |plan: &PlanOf, id: &str| !plan.trials.iter().any(|t| t.id == id);
    let only = |a: &PlanOf, b: &PlanOf| {
        let mut trials = a.trials.iter();
        trials.find(|t| lacks(b, &t.id)).map(|t| t.id.clone())
    };
    let stranger = match (only(base, candidate), only(candidate, base)) {
        (Some(id), _) => Some((id, "candidate")),
        (None, Some(id)) => Some((id, "base")),
        (None, None) => None,
    };
    match stranger {
        Some((id, side)) => Err(Failure::Usage(format!(
            "the {side} would not race {id}; choose what both have with --workload and --submission"
        ))),
        None if base
            .trials
            .iter()
            .zip(&candidate.trials)
            .any(|(a, b)| a.id != b.id) =>
        {
            Err(Failure::Usage(
                "the two programs race the same trials in different order".into(),
            ))
        }
        None => Ok(()),
    }
}

/// A side's program ended with a code that is its own, or with none.
fn failed(program: &Path, code: Option<i32>, said: &str) -> Failure {
    Failure::Side {
        program: program.to_path_buf(),
        exit: Exit::ALL
            .into_iter()
            .find(|exit| *exit != Exit::Ok && Some(i32::from(exit.code())) == code)
            .unwrap_or(Exit::Io),
        message: said.to_string(),
    }
}

impl Side {
    /// The side `name` of the race in `folder`; `words` choose its suite of `pairs` trials.
    pub(super) fn new(
        name: &'static str,
        program: PathBuf,
        folder: &Path,
        words: &[String],
        pairs: usize,
    ) -> Self {
        Self {
            name,
            program,
            folder: super::run_folder(folder, name),
            words: words.to_vec(),
            pairs,
        }
    }

    /// Races trial number `index` of the plan, from 0, unless it has ended. False where it was
    /// interrupted.
    pub(super) fn race(&self, trial: &Planned, index: usize) -> Result<bool, Failure> {
        let record = trial_dir(&self.folder, &trial.id).join("trial.json");
        if record.exists() && TrialRecord::read(&record)?.status.is_final() {
            return Ok(true);
        }
        if interrupt::flag().load(Ordering::SeqCst) {
            return Ok(false);
        }
        std::fs::create_dir_all(&self.folder)
            .map_err(|e| Failure::io(&self.folder, "create", e))?;
        let path = self.folder.join("race.log");
        let log = self.log(&path)?;
        let from = log.metadata().map_or(0, |m| m.len());
        // A part of as many parts as there are trials is one trial.
        let child = Command::new(&self.program)
            .arg("run")
            .args(&self.words)
            .arg(format!("--shard={}/{}", index + 1, self.pairs))
            .args(["--records-only", "--events=plain", "--out"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| Failure::io(&self.program, "run", e))?;
        match wait(child).map_err(|e| Failure::io(&self.program, "wait for", e))? {
            Some(0) => Ok(true),
            code if interrupt::flag().load(Ordering::SeqCst)
                || code == Some(i32::from(Exit::Interrupted.code())) =>
            {
                Ok(false)
            }
            code => {
                let text = std::fs::read(&path).unwrap_or_default();
                let said = text.get(from as usize..).unwrap_or_default();
                Err(failed(
                    &self.program,
                    code,
                    String::from_utf8_lossy(said).trim(),
                ))
            }
        }
    }

    fn log(&self, path: &Path) -> Result<File, Failure> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        file.map_err(|e| Failure::io(path, "write", e))
    }

    /// What it has raced.
    pub(super) fn read(&self) -> Result<Run<Trace>, Failure> {
        let mut run = Run::read_as(&self.folder)?;
        run.path = PathBuf::from(self.name);
        Ok(run)
    }
}

/// Waits for the end; its exit code, `None` after a signal. On Ctrl-C the terminal tells the child too;
/// where it does not end, it is asked, and at last ended.
fn wait(mut child: Child) -> std::io::Result<Option<i32>> {
    let mut since: Option<Instant> = None;
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if interrupt::flag().load(Ordering::SeqCst) {
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            if waited > Duration::from_secs(10) {
                child.kill()?;
            } else if waited > Duration::from_secs(1) && !asked {
                asked = true;
                ask_to_end(&child);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ask_to_end(child: &Child) {
    #[cfg(unix)]
    if let Ok(pid) = i32::try_from(child.id()) {
        use nix::sys::signal::{Signal, kill};
        // It may have ended meanwhile, which is as good.
        let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
    }
    #[cfg(not(unix))]
    let _ = child;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(ids: &[&str]) -> PlanOf {
        let planned = |id: &&str| Planned {
            id: id.to_string(),
            study: 1,
        };
        PlanOf {
            suite: "s".into(),
            hash: "h".into(),
            seed: 0,
            trials: ids.iter().map(planned).collect(),
        }
    }

    #[test]
    fn programs_that_race_different_trials_are_refused_by_name() {
        let error = |a: &[&str], b: &[&str]| {
            let refused = same_trials(&plan_of(a), &plan_of(b)).unwrap_err();
            assert_eq!(refused.exit(), Exit::Usage);
            refused.to_string()
        };
        assert!(same_trials(&plan_of(&["a", "b"]), &plan_of(&["a", "b"])).is_ok());
        assert!(error(&["a", "b"], &["a"]).contains("candidate would not race b"));
        assert!(error(&["a"], &["a", "c"]).contains("base would not race c"));
        assert!(error(&["a", "b"], &["b", "a"]).contains("different order"));
    }

    #[test]
    fn a_sides_exit_code_is_passed_on() {
        let exit = |code| failed(Path::new("x"), code, "said").exit();
        assert_eq!(exit(Some(6)), Exit::OtherPlan);
        assert_eq!(exit(Some(2)), Exit::Usage);
        assert_eq!(exit(Some(99)), Exit::Io);
        assert_eq!(exit(None), Exit::Io);
    }
}

//! The exit codes of the command: public API, shown in `velodrome --help`.

use std::process::ExitCode;

/// How the command ended, as a number for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done. A finished race whose suite holds failed trials is done too: a failure is a row.
    Ok = 0,
    /// `verify` found a check that does not pass, or `audit` a record that does not hold.
    CheckFailed = 1,
    /// The command line, a suite file or a name in it is wrong; nothing was raced.
    Usage = 2,
    /// `run --strict`: the race finished, but a trial diverged, crashed, ran out of memory or
    /// timed out.
    TrialsFailed = 3,
    /// A record is damaged, or of a version that this one does not read; an archive of data is not
    /// the pinned one; or the files of an adapter do not agree with each other.
    Damaged = 4,
    /// Another process is racing in the run directory, or fetching into the cache.
    Busy = 5,
    /// The run directory holds another plan.
    OtherPlan = 6,
    /// A file or folder cannot be read or written (read-only, full, missing).
    Io = 7,
    /// The device is not in this build or not on this machine.
    Device = 8,
    /// The runs cannot share a board (other rules or machines), or hold nothing to score.
    NoBoard = 9,
    /// `score --algoperf --strict`: the logs hold something that the rules forbid.
    Forbidden = 10,
    /// `compare`, `race`: the candidate is worse.
    Regressed = 11,
    /// `compare`, `race`: too few runs, or too much scatter, to say.
    Inconclusive = 12,
    /// `compare`, `race`: the runs cannot be compared, or a revision does not build; `history`: not with
    /// what is there.
    Incomparable = 13,
    /// A fault in Velodrome itself.
    Internal = 70,
    /// A trial's own process could not do its work, for a reason outside the trial. Only `run` sees
    /// it.
    TrialProcess = 75,
    /// Interrupted by Ctrl-C or a signal; the same command continues.
    Interrupted = 130,
}

impl Exit {
    /// All codes, in the order of the help.
    pub const ALL: [Exit; 17] = [
        Exit::Ok,
        Exit::CheckFailed,
        Exit::Usage,
        Exit::TrialsFailed,
        Exit::Damaged,
        Exit::Busy,
        Exit::OtherPlan,
        Exit::Io,
        Exit::Device,
        Exit::NoBoard,
        Exit::Forbidden,
        Exit::Regressed,
        Exit::Inconclusive,
        Exit::Incomparable,
        Exit::Internal,
        Exit::TrialProcess,
        Exit::Interrupted,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The line of the help and of `docs/exit-codes.md`.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done; failed trials are rows of the board, unless --strict",
            Exit::CheckFailed => "verify, audit, data verify: a check does not pass",
            Exit::Usage => "wrong command line, suite file or name; nothing was raced",
            Exit::TrialsFailed => {
                "run --strict: a trial diverged, crashed, ran out of memory or timed out"
            }
            Exit::Damaged => {
                "a record, data archive or adapter is damaged or of an unknown version"
            }
            Exit::Busy => "another process works in the run directory or in the cache",
            Exit::OtherPlan => "the run directory holds another plan",
            Exit::Io => "a file or folder cannot be read or written",
            Exit::Device => "the device is not in this build or not on this machine",
            Exit::NoBoard => "the runs cannot share a board, or hold nothing to score",
            Exit::Forbidden => "score --strict: the logs hold something that the rules forbid",
            Exit::Regressed => "compare, race: the candidate is worse than the base",
            Exit::Inconclusive => "compare, race: too few runs, or too much scatter, to say",
            Exit::Incomparable => {
                "compare, race, history: the runs cannot be compared, or a revision does not build"
            }
            Exit::Internal => "a fault in Velodrome itself",
            Exit::TrialProcess => "a trial's own process could not do its work; only `run` sees it",
            Exit::Interrupted => "interrupted; the same command continues",
        }
    }

    /// The table for `--help`.
    pub(crate) fn table() -> String {
        let mut text = String::from("Exit codes:");
        for exit in Self::ALL {
            text += &format!("\n  {:>3}  {}", exit.code(), exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        for pair in Exit::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code(), "{pair:?}");
        }
    }

    #[test]
    fn the_race_knows_the_code_of_a_trials_process() {
        let code = i32::from(Exit::TrialProcess.code());
        assert_eq!(code, velodrome_harness::race::CHILD_ERROR);
    }

    #[test]
    fn the_documentation_lists_every_code() {
        let page = include_str!("../docs/exit-codes.md");
        let rows: Vec<&str> = page
            .lines()
            .filter(|l| l.starts_with("| ") && l[2..].starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        let expected: Vec<String> = Exit::ALL
            .iter()
            .map(|e| format!("| {} | {} |", e.code(), e.meaning()))
            .collect();
        assert_eq!(rows, expected);
    }
}

//! Watching one trial's process.

use super::child::{CHILD_ERROR, ChildArguments, Fault};
use super::event::Event;
use super::runner::RaceError;
use super::suite::Limits;
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use velodrome_results::{RecordError, TrialRecord};

/// How often limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most silence that one look finds. A runner that was stopped itself (Ctrl-Z, say) has not looked, and
/// must not take its own standstill for the trial's.
const MOST_SILENCE: Duration = Duration::from_secs(1);
/// A trial is stopped when the machine has less than this left: the system would otherwise end
/// some process of its own choice, perhaps the runner.
const LEAST_FREE_MEMORY: u64 = 256 << 20;

/// How a trial's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with an exit code.
    Exited(i32),
    /// By itself: it could not do its work for a reason outside the trial, which it told.
    Fault(String),
    /// By a signal that the runner did not send.
    Signal(i32),
    /// The runner ended it: no progress.
    Stalled,
    /// The runner ended it: too much memory.
    OutOfMemory(String),
    /// The race was interrupted.
    Interrupted,
}

/// A trial's process under watch.
pub struct Watch {
    child: Child,
    lines: Receiver<String>,
    system: System,
    fault: String,
}

impl Watch {
    /// Starts the process of the trial in `dir`: this same program, with its hidden subcommand.
    pub fn start(
        planned: &TrialRecord,
        dir: &Path,
        arguments: &ChildArguments,
    ) -> Result<Self, RaceError> {
        let path = dir.join("stderr.log");
        let errors = OpenOptions::new().create(true).append(true).open(&path);
        let errors = errors.map_err(|e| RecordError::io(&path, "open", e))?;
        let spawned = Self::spawn(planned, dir, arguments, errors);
        spawned.map_err(|source| RaceError::Spawn {
            id: planned.id.clone(),
            source,
        })
    }

    fn spawn(
        planned: &TrialRecord,
        dir: &Path,
        arguments: &ChildArguments,
        errors: File,
    ) -> std::io::Result<Self> {
        let arguments = serde_json::to_string(arguments)?;
        let system = System::new().map_err(std::io::Error::other)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("__trial")
            .arg("--dir")
            .arg(dir)
            .args(["--arguments", &arguments])
            .env("RAYON_NUM_THREADS", planned.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .spawn()?;
        let (sender, lines) = unbounded();
        if let Some(out) = child.stdout.take() {
            let mut errors = errors;
            std::thread::spawn(move || {
                for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if ["{\"event\"", "{\"fault\""]
                        .iter()
                        .any(|s| line.starts_with(s))
                    {
                        if sender.send(line).is_err() {
                            return;
                        }
                    } else {
                        // What a submission prints is kept beside its errors.
                        let _ = writeln!(errors, "{line}");
                    }
                }
            });
        }
        Ok(Self {
            child,
            lines,
            system,
            fault: String::new(),
        })
    }

    /// Passes the trial's events on until its process ends or must be ended. Also gives the last
    /// (step, work) that the trial told.
    pub fn until_end(
        mut self,
        limits: &Limits,
        interrupted: &AtomicBool,
        report: &mut dyn FnMut(&Event),
    ) -> (End, Option<(u64, u64)>) {
        let mut silence = Duration::ZERO;
        let mut last_look = Instant::now();
        let mut last = None;
        loop {
            match self.lines.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    silence = Duration::ZERO;
                    if let Ok(event) = serde_json::from_str::<Event>(&line) {
                        if let Event::Progress { step, work, .. } = &event {
                            last = Some((*step, *work));
                        }
                        report(&event);
                    } else if let Ok(Fault { fault }) = serde_json::from_str(&line) {
                        self.fault = fault;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Its output is closed: it is ending.
                Err(RecvTimeoutError::Disconnected) => return (self.reap(interrupted), last),
            }
            if interrupted.load(Ordering::SeqCst) {
                self.kill();
                return (End::Interrupted, last);
            }
            let since = last_look.elapsed();
            if since < LOOK_EVERY {
                continue;
            }
            last_look = Instant::now();
            silence += since.min(MOST_SILENCE);
            if silence.as_secs_f64() > limits.stall_seconds {
                self.kill();
                return (End::Stalled, last);
            }
            if let Some(reason) = self.too_much_memory(limits) {
                self.kill();
                return (End::OutOfMemory(reason), last);
            }
        }
    }

    fn too_much_memory(&mut self, limits: &Limits) -> Option<String> {
        let pid = Pid::from_u32(self.child.id());
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            false,
            ProcessRefreshKind::nothing().with_memory(),
        );
        let used = self.system.process(pid)?.memory();
        let limit = limits
            .memory_bytes
            .unwrap_or(self.system.total_memory() / 10 * 8);
        let mb = |bytes: u64| bytes >> 20;
        if used > limit {
            return Some(format!(
                "used {} MiB of memory, more than its limit of {} MiB (limits.memory_bytes)",
                mb(used),
                mb(limit)
            ));
        }
        let free = self.system.available_memory();
        (free < LEAST_FREE_MEMORY && used > LEAST_FREE_MEMORY).then(|| {
            format!(
                "the machine had {} MiB of memory left while the trial used {} MiB",
                mb(free),
                mb(used)
            )
        })
    }

    fn kill(&mut self) {
        // It may have ended meanwhile, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for a process that closed its output.
    fn reap(&mut self, interrupted: &AtomicBool) -> End {
        let patience = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if patience.elapsed() > Duration::from_secs(10) => {
                    self.kill();
                    return End::Stalled;
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(_) => return End::Exited(-1),
            }
        };
        if interrupted.load(Ordering::SeqCst) {
            return End::Interrupted;
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt;
            if let Some(signal) = status.signal() {
                use nix::sys::signal::Signal;
                let asked = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
                // The terminal sends these to the whole group; the runner's own may be on its way.
                return if asked.iter().any(|s| *s as i32 == signal) {
                    End::Interrupted
                } else {
                    End::Signal(signal)
                };
            }
        }
        match status.code().unwrap_or(-1) {
            CHILD_ERROR => End::Fault(std::mem::take(&mut self.fault)),
            code => End::Exited(code),
        }
    }
}

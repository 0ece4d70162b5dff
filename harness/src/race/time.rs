//! Where the clock gets its time from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a process looks whether it stood still.
const PULSE: Duration = Duration::from_millis(250);
/// Less is what a busy machine does to any process.
const LEAST_STANDSTILL: Duration = Duration::from_secs(2);

/// A monotonic source of time. The real one is [`SystemTime`]; tests use [`FakeTime`].
pub trait TimeSource: Send + Sync {
    /// Time since the source's origin.
    fn now(&self) -> Duration;

    /// Declares the threads that exist now to be the harness's own.
    fn adopt_threads(&self) {}

    /// How long this process as a whole stood still since the last call: stopped, or without a processor.
    fn take_standstill(&self) -> Duration {
        Duration::ZERO
    }

    /// Processor time that threads other than the adopted ones have used so far, where the system
    /// tells; `None` elsewhere.
    fn foreign_cpu(&self) -> Option<Duration> {
        None
    }
}

/// The system's monotonic clock and per-thread processor times.
#[derive(Debug)]
pub struct SystemTime {
    origin: Instant,
    /// Milliseconds.
    standstill: Arc<AtomicU64>,
    #[cfg(target_os = "linux")]
    /// Clock of each adopted thread and its last reading, which stands once the thread is gone.
    adopted: std::sync::Mutex<Vec<(nix::time::ClockId, Duration)>>,
}

impl SystemTime {
    /// A clock whose origin is `origin` (the start of the process, for a trial).
    pub fn since(origin: Instant) -> Self {
        Self {
            origin,
            standstill: Arc::default(),
            #[cfg(target_os = "linux")]
            adopted: std::sync::Mutex::default(),
        }
    }

    /// The same, with a thread that notices when the process stands still, until it ends.
    pub fn with_pulse(self) -> Self {
        let standstill = self.standstill.clone();
        std::thread::spawn(move || {
            loop {
                let before = Instant::now();
                std::thread::sleep(PULSE);
                let late = before.elapsed().saturating_sub(PULSE);
                if late > LEAST_STANDSTILL {
                    standstill.fetch_add(late.as_millis() as u64, Ordering::SeqCst);
                }
            }
        });
        self
    }
}

impl TimeSource for SystemTime {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn take_standstill(&self) -> Duration {
        Duration::from_millis(self.standstill.swap(0, Ordering::SeqCst))
    }

    #[cfg(target_os = "linux")]
    fn adopt_threads(&self) {
        let Ok(entries) = std::fs::read_dir("/proc/self/task") else {
            return;
        };
        let clocks = entries
            .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .map(|tid| (thread_clock(tid), Duration::ZERO))
            .collect();
        if let Ok(mut adopted) = self.adopted.lock() {
            *adopted = clocks;
        }
    }

    #[cfg(target_os = "linux")]
    fn foreign_cpu(&self) -> Option<Duration> {
        use nix::time::{ClockId, clock_gettime};
        let mut adopted = self.adopted.lock().ok()?;
        if adopted.is_empty() {
            return None;
        }
        // The threads first: what runs between the two readings then counts as foreign by a few
        // microseconds at most, instead of giving a negative difference.
        let mut own = Duration::ZERO;
        for (clock, last) in adopted.iter_mut() {
            if let Ok(reading) = clock_gettime(*clock) {
                *last = reading.into();
            }
            own += *last;
        }
        let process: Duration = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
            .ok()?
            .into();
        Some(process.saturating_sub(own))
    }
}

/// The processor-time clock of a thread: Linux encodes the thread's number in the clock's
/// (`clock_gettime(2)`, section "Dynamic clocks"; `CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED`).
#[cfg(target_os = "linux")]
fn thread_clock(tid: i32) -> nix::time::ClockId {
    nix::time::ClockId::from_raw((!tid << 3) | 6)
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct FakeTime {
    nanoseconds: AtomicU64,
    foreign: AtomicU64,
}

impl FakeTime {
    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        self.nanoseconds
            .fetch_add(duration.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Pretends that a thread of the submission used `duration` of processor time.
    pub fn work_in_background(&self, duration: Duration) {
        self.foreign
            .fetch_add(duration.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl TimeSource for FakeTime {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::SeqCst))
    }

    fn foreign_cpu(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.foreign.load(Ordering::SeqCst)))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Works until this thread has used `duration` of processor time, however busy the machine is.
    fn work(duration: Duration) {
        let used = || {
            let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
            Duration::from(nix::time::clock_gettime(clock).unwrap())
        };
        let end = used() + duration;
        while used() < end {
            std::hint::spin_loop();
        }
    }

    // Other tests of this binary run beside, so that only the lower bound can be checked here;
    // `background_work` in the end-to-end tests shows that the harness's own threads do not count.
    #[test]
    fn work_in_a_thread_that_was_not_adopted_is_foreign() {
        let time = SystemTime::since(Instant::now());
        time.adopt_threads();
        let before = time.foreign_cpu().unwrap();
        let thread = std::thread::spawn(|| work(Duration::from_millis(80)));
        thread.join().unwrap();
        // The system books the time of running threads in ticks of some milliseconds.
        let foreign = time.foreign_cpu().unwrap().saturating_sub(before);
        assert!(foreign >= Duration::from_millis(50), "{foreign:?}");
    }
}

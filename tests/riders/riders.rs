//! Riders that break the rules, each in its own way, for the end-to-end tests: the command with
//! these submissions beside the built-in ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use velodrome::prelude::*;

#[derive(Clone, Copy)]
enum Vice {
    /// Panics at step 7.
    Panic,
    /// Makes every weight NaN at step 3.
    NotANumber,
    /// Sleeps for ever at step 5.
    Sleep,
    /// Keeps every thread of the compute pool busy for ever from step 5 on, so that the next call of the device
    /// that needs the pool never returns.
    Pool,
    /// Takes all memory from step 4 on.
    Memory,
    /// Ends its own process at step 6.
    Abort,
    /// Works in a thread of its own without end.
    Thread,
    /// Keeps its pace in the program, not in the checkpoint.
    KeepsInProgram,
    /// Learns at a rate that depends on the number of its process.
    ProcessNumber,
    /// What the variable `VELODROME_TEST_MOOD` says: `panic` in the first step, `slow` by half,
    /// `hungry` for state; nothing else.
    Mood,
    /// Nothing: plain gradient descent.
    None,
}

/// Where [`Vice::KeepsInProgram`] leaves its pace (bits of a float).
static PACE: AtomicU64 = AtomicU64::new(0);

struct Rider(Vice);

impl Submission for Rider {
    fn describe(&self) -> Description {
        let name = match self.0 {
            Vice::Panic => "panics",
            Vice::NotANumber => "not_a_number",
            Vice::Sleep => "sleeps",
            Vice::Pool => "holds_the_pool",
            Vice::Memory => "memory_hog",
            Vice::Abort => "aborts",
            Vice::Thread => "second_thread",
            Vice::KeepsInProgram => "keeps_in_program",
            Vice::ProcessNumber => "process_number",
            Vice::Mood => "moody",
            Vice::None => "honest",
        };
        Description {
            name,
            summary: "a rider of the tests",
            paper: "none",
            reference: "none",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning],
            version: "1",
        }
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new().fixed("learning_rate", 0.1)
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        if let Vice::Thread = self.0 {
            std::thread::spawn(|| {
                loop {
                    std::hint::black_box((0..1_000_000).sum::<u64>());
                }
            });
        }
        Ok(Box::new(Riding {
            vice: self.0,
            learning_rate: context.point.get("learning_rate")?,
            pace: 1.0,
            hoard: Vec::new(),
            mood: match self.0 {
                Vice::Mood => std::env::var("VELODROME_TEST_MOOD").unwrap_or_default(),
                _ => String::new(),
            },
        }))
    }
}

struct Riding {
    vice: Vice,
    learning_rate: f64,
    pace: f64,
    hoard: Vec<Vec<u8>>,
    mood: String,
}

impl Algorithm for Riding {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let began = Instant::now();
        assert!(self.mood != "panic", "lost a wheel");
        match (self.vice, context.step + 1) {
            (Vice::Panic, 7) => panic!("lost a wheel"),
            (Vice::NotANumber, 3) => trainee.map(|_, v| v.mul_scalar(f64::NAN)),
            (Vice::Sleep, 5) => {
                let forever = Instant::now() + Duration::from_secs(3600);
                while Instant::now() < forever {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            (Vice::Pool, 5) => rayon::spawn_broadcast(|_| {
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }),
            (Vice::Memory, 4..) => {
                while self.hoard.len() < 10_000 {
                    // Written to, so that the pages are really there.
                    self.hoard.push(vec![1; 16 << 20]);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            (Vice::Abort, 6) => std::process::abort(),
            _ => {}
        }
        let gradients = trainee.gradients(batch, &PassOptions::default())?.gradients;
        let rate = match self.vice {
            Vice::KeepsInProgram => {
                self.pace *= 0.99;
                self.learning_rate * self.pace
            }
            Vice::ProcessNumber => self.learning_rate / (1.0 + f64::from(std::process::id())),
            _ => self.learning_rate,
        };
        trainee.map(|info, value| match gradients.get(info) {
            Some(gradient) => value - gradient.mul_scalar(rate),
            None => value,
        });
        if self.mood == "slow" {
            let end = Instant::now() + began.elapsed() / 2;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        if let Vice::Mood = self.vice {
            let size = if self.mood == "hungry" { 120 } else { 100 };
            let hoard = Tensor::<1>::zeros([size], &Device::default());
            state.put_tensors("hoard", &[hoard])?;
        }
        if let Vice::KeepsInProgram = self.vice {
            PACE.store(self.pace.to_bits(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn load(&mut self, _state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        if let Vice::KeepsInProgram = self.vice {
            self.pace = f64::from_bits(PACE.load(Ordering::SeqCst));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    Command::new()
        .submission(Rider(Vice::Panic))
        .submission(Rider(Vice::NotANumber))
        .submission(Rider(Vice::Sleep))
        .submission(Rider(Vice::Pool))
        .submission(Rider(Vice::Memory))
        .submission(Rider(Vice::Abort))
        .submission(Rider(Vice::Thread))
        .submission(Rider(Vice::KeepsInProgram))
        .submission(Rider(Vice::ProcessNumber))
        .submission(Rider(Vice::Mood))
        .submission(Rider(Vice::None))
        .run()
}

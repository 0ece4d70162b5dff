//! The input queue: batches prepared ahead in threads of their own, in an order that the data seed
//! fixes.

mod order;
mod workers;

#[cfg(test)]
mod tests;

pub use order::Order;

use super::clock::off_clock;
use super::pool;
use super::time::TimeSource;
use crate::contract::{Batch, Dataset, Queue, SubmissionError};
use burn::tensor::Device;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use workers::{Died, Prepared, Request, Workers};

/// The most batches that are asked for ahead.
const AHEAD: usize = 8;
/// More are asked for when this few are left: asking for several at once wakes the preparing
/// thread once for all of them, which matters where a step takes a fraction of a millisecond.
const REFILL_AT: usize = 4;

/// Threads that prepare batches: half of the cores, since the other work of a step (on a CPU, all of
/// it) needs cores too. All but one sleep unless the queue runs dry.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    (cores / 2).clamp(1, AHEAD)
}

/// The queue of one trial.
pub struct InputQueue {
    workers: Workers,
    /// Positions asked for and not yet taken, in order.
    pending: VecDeque<u64>,
    /// Batches that were ready before their turn.
    early: Vec<Prepared>,
    /// Counts the changes of the batch size: batches asked for before the last one are dropped.
    generation: u64,
    next_request: u64,
    position: u64,
    batch_size: usize,
    device: Device,
    time: Arc<dyn TimeSource>,
    waited: Duration,
    /// Time until the pool had done what the submission left to it, which belongs to the submission.
    drained: Duration,
    /// Processor time that threads of the submission used during waits.
    background: Duration,
}

impl InputQueue {
    /// Starts the preparing threads over `data`, from position `position` of the stream. They end
    /// when the queue is dropped.
    pub fn start(
        data: Arc<dyn Dataset>,
        seed: u64,
        position: u64,
        batch_size: usize,
        device: Device,
        time: Arc<dyn TimeSource>,
    ) -> Result<Self, std::io::Error> {
        let workers = Workers::start(data, seed, threads(), AHEAD)?;
        Ok(Self::over(workers, position, batch_size, device, time))
    }

    fn over(
        workers: Workers,
        position: u64,
        batch_size: usize,
        device: Device,
        time: Arc<dyn TimeSource>,
    ) -> Self {
        let mut queue = Self {
            workers,
            pending: VecDeque::new(),
            early: Vec::new(),
            generation: 0,
            next_request: position,
            position,
            batch_size,
            device,
            time,
            waited: Duration::ZERO,
            drained: Duration::ZERO,
            background: Duration::ZERO,
        };
        // A thread that died is reported by the first `next`, which has an error to return.
        let _ = queue.ask_ahead();
        queue
    }

    /// Position of the next example in the stream.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Time spent waiting since this was last asked.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    /// Processor time that threads of the submission used during waits since this was last asked.
    pub fn take_background(&mut self) -> Duration {
        std::mem::take(&mut self.background)
    }

    fn ask_ahead(&mut self) -> Result<(), Died> {
        if self.pending.len() > REFILL_AT {
            return Ok(());
        }
        while self.pending.len() < AHEAD {
            self.workers.ask(Request {
                generation: self.generation,
                position: self.next_request,
                examples: self.batch_size,
            })?;
            self.pending.push_back(self.next_request);
            self.next_request += self.batch_size as u64;
        }
        Ok(())
    }

    /// The batch at `position`, which was asked for. Others that come first are kept for later.
    fn wait_for(&mut self, position: u64) -> Result<Prepared, Died> {
        loop {
            let found = self.early.iter().position(|p| p.position == position);
            if let Some(at) = found {
                return Ok(self.early.swap_remove(at));
            }
            let prepared = match self.workers.ready()? {
                Some(prepared) => prepared,
                None => self.wait()?,
            };
            if prepared.generation == self.generation {
                self.early.push(prepared);
            }
        }
    }

    /// Waits for a batch while the clock stands.
    fn wait(&mut self) -> Result<Prepared, Died> {
        let start = self.time.now();
        pool::drain();
        self.drained += self.time.now().saturating_sub(start);
        let (prepared, _, work) = off_clock(&*self.time, || self.workers.wait());
        self.background += work;
        prepared
    }

    fn take(&mut self) -> Result<Prepared, Died> {
        // Batches behind the lost one may be ready: handing them out would skip it unseen.
        if self.workers.dead() {
            return Err(Died);
        }
        self.ask_ahead()?;
        let prepared = match self.pending.pop_front() {
            Some(position) => self.wait_for(position)?,
            None => return Err(Died),
        };
        self.position += prepared.ids.len() as u64;
        self.ask_ahead()?;
        Ok(prepared)
    }
}

impl Queue for InputQueue {
    fn next(&mut self) -> Result<Batch, SubmissionError> {
        let start = self.time.now();
        let Prepared { ids, batch, .. } = self.take().map_err(|Died| {
            SubmissionError::Queue("a thread that prepares batches has died".into())
        })?;
        let batch = batch.map_err(SubmissionError::Queue)?;
        let batch = Batch::from_host(batch, ids, &self.device);
        let took = self.time.now().saturating_sub(start);
        self.waited += took.saturating_sub(std::mem::take(&mut self.drained));
        Ok(batch)
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn set_batch_size(&mut self, examples: usize) {
        if examples == self.batch_size || examples == 0 {
            return;
        }
        self.batch_size = examples;
        self.generation += 1;
        self.workers.begin(self.generation);
        self.pending.clear();
        self.early.clear();
        self.next_request = self.position;
    }
}

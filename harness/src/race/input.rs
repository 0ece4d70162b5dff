//! The input queue: batches prepared ahead by one thread, in an order that the data seed fixes.

use super::time::TimeSource;
use crate::contract::{Batch, Dataset, HostBatch, Queue, SubmissionError};
use crate::seed::{derive, mix};
use burn::tensor::Device;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The most batches that are asked for ahead.
const AHEAD: usize = 8;
/// More are asked for when this few are left: asking for several at once wakes the preparing
/// thread once for all of them, which matters where a step takes a fraction of a millisecond.
const REFILL_AT: usize = 4;

/// The order of training examples: epoch after epoch, each a fresh permutation. Position `p` of
/// the endless stream depends on the seed alone.
pub struct Order {
    seed: u64,
    len: usize,
    epoch: Option<u64>,
    permutation: Vec<u32>,
}

impl Order {
    /// The order of `len` examples that `seed` fixes.
    pub fn new(seed: u64, len: usize) -> Self {
        Self {
            seed,
            len,
            epoch: None,
            permutation: Vec::new(),
        }
    }

    /// Example at position `position` of the stream.
    pub fn at(&mut self, position: u64) -> usize {
        let len = self.len as u64;
        let epoch = position / len;
        if self.epoch != Some(epoch) {
            self.permutation = (0..self.len as u32).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(mix(self.seed, epoch));
            self.permutation.shuffle(&mut rng);
            self.epoch = Some(epoch);
        }
        let offset = (position % len) as usize;
        self.permutation.get(offset).map_or(0, |&i| i as usize)
    }
}

struct Request {
    position: u64,
    examples: usize,
}

struct Prepared {
    position: u64,
    ids: Vec<usize>,
    batch: Result<HostBatch, String>,
}

/// The queue of one trial.
pub struct InputQueue {
    requests: Sender<Request>,
    prepared: Receiver<Prepared>,
    /// Positions asked for and not yet taken, in order.
    pending: VecDeque<(u64, usize)>,
    next_request: u64,
    position: u64,
    batch_size: usize,
    device: Device,
    time: Arc<dyn TimeSource>,
    waited: Duration,
}

impl InputQueue {
    /// Starts the preparing thread over `data`, from position `position` of the stream. The
    /// thread ends when the queue is dropped.
    pub fn start(
        data: Arc<dyn Dataset>,
        seed: u64,
        position: u64,
        batch_size: usize,
        device: Device,
        time: Arc<dyn TimeSource>,
    ) -> Result<Self, std::io::Error> {
        let (requests, inbox) = unbounded::<Request>();
        let (outbox, prepared) = bounded::<Prepared>(AHEAD);
        std::thread::Builder::new()
            .name("velodrome-input".into())
            .spawn(move || {
                let mut order = Order::new(seed, data.len());
                let draw_seed = derive(seed, &["draws"]);
                for request in inbox {
                    let ids: Vec<usize> = (0..request.examples as u64)
                        .map(|i| order.at(request.position + i))
                        .collect();
                    let draws: Vec<u64> = (0..request.examples as u64)
                        .map(|i| mix(draw_seed, request.position + i))
                        .collect();
                    let batch = data.load(&ids, Some(&draws));
                    let prepared = Prepared {
                        position: request.position,
                        ids,
                        batch,
                    };
                    if outbox.send(prepared).is_err() {
                        return;
                    }
                }
            })?;
        let mut queue = Self {
            requests,
            prepared,
            pending: VecDeque::new(),
            next_request: position,
            position,
            batch_size,
            device,
            time,
            waited: Duration::ZERO,
        };
        // A thread that died is reported by the first `next`, which has an error to return.
        let _ = queue.ask_ahead();
        Ok(queue)
    }

    /// Position of the next example in the stream.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Time spent waiting since this was last asked.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    fn ask_ahead(&mut self) -> Result<(), SubmissionError> {
        if self.pending.len() > REFILL_AT {
            return Ok(());
        }
        while self.pending.len() < AHEAD {
            let request = Request {
                position: self.next_request,
                examples: self.batch_size,
            };
            self.requests.send(request).map_err(|_| broken())?;
            self.pending.push_back((self.next_request, self.batch_size));
            self.next_request += self.batch_size as u64;
        }
        Ok(())
    }
}

fn broken() -> SubmissionError {
    SubmissionError::Queue("the thread that prepares batches has died".into())
}

impl Queue for InputQueue {
    fn next(&mut self) -> Result<Batch, SubmissionError> {
        let start = self.time.now();
        self.ask_ahead()?;
        let Prepared { ids, batch, .. } = loop {
            let prepared = self.prepared.recv().map_err(|_| broken())?;
            // Batches asked for before a change of the batch size are dropped.
            if self.pending.front() == Some(&(prepared.position, prepared.ids.len())) {
                break prepared;
            }
        };
        self.pending.pop_front();
        self.position += ids.len() as u64;
        self.ask_ahead()?;
        let batch = batch.map_err(SubmissionError::Queue)?;
        let batch = Batch::from_host(batch, ids, &self.device);
        self.waited += self.time.now().saturating_sub(start);
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
        self.pending.clear();
        self.next_request = self.position;
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::FakeTime;
    use super::*;
    use crate::contract::{HostField, HostValues};

    struct Numbers(usize);

    impl Dataset for Numbers {
        fn len(&self) -> usize {
            self.0
        }

        fn batch(&self, indices: &[usize]) -> HostBatch {
            HostBatch {
                fields: vec![HostField {
                    name: "number",
                    shape: vec![indices.len()],
                    values: HostValues::Int(indices.iter().map(|&i| i as i32).collect()),
                }],
                examples: indices.len(),
                units: indices.len(),
            }
        }
    }

    fn queue(position: u64, batch_size: usize) -> InputQueue {
        InputQueue::start(
            Arc::new(Numbers(10)),
            3,
            position,
            batch_size,
            Device::flex(),
            Arc::new(FakeTime::default()),
        )
        .unwrap()
    }

    fn take(queue: &mut InputQueue, batches: usize) -> Vec<usize> {
        (0..batches)
            .flat_map(|_| queue.next().unwrap().ids().to_vec())
            .collect()
    }

    #[test]
    fn an_epoch_holds_every_example_once_and_epochs_differ() {
        let ids = take(&mut queue(0, 5), 4);
        let sorted = |part: &[usize]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part
        };
        assert_eq!(sorted(&ids[..10]), (0..10).collect::<Vec<_>>());
        assert_eq!(sorted(&ids[10..]), (0..10).collect::<Vec<_>>());
        assert_ne!(ids[..10], ids[10..]);
    }

    #[test]
    fn the_stream_does_not_depend_on_batch_sizes_or_on_where_it_is_resumed() {
        let whole = take(&mut queue(0, 1), 40);
        assert_eq!(take(&mut queue(0, 8), 5), whole);
        assert_eq!(take(&mut queue(13, 3), 9), whole[13..]);
        let mut changing = queue(0, 4);
        let mut ids = take(&mut changing, 2);
        changing.set_batch_size(6);
        ids.extend(take(&mut changing, 2));
        changing.set_batch_size(2);
        ids.extend(take(&mut changing, 10));
        assert_eq!(ids, whole);
        assert_eq!(changing.position(), 40);
    }

    /// Gives back the draws, and cannot read example 7.
    struct Drawn;

    impl Dataset for Drawn {
        fn len(&self) -> usize {
            10
        }

        fn batch(&self, indices: &[usize]) -> HostBatch {
            Numbers(10).batch(indices)
        }

        fn load(&self, indices: &[usize], draws: Option<&[u64]>) -> Result<HostBatch, String> {
            if indices.contains(&7) {
                return Err("seven.jpeg is damaged".into());
            }
            let mut batch = self.batch(indices);
            // Whole numbers below 2^24 are exact in 32 bits.
            let draws = draws.unwrap_or_default().iter();
            batch.fields[0].values = HostValues::Int(draws.map(|d| (d >> 40) as i32).collect());
            Ok(batch)
        }
    }

    #[test]
    fn draws_belong_to_places_in_the_stream_and_damage_is_an_error() {
        let queue = |seed, position, batch_size| {
            InputQueue::start(
                Arc::new(Drawn),
                seed,
                position,
                batch_size,
                Device::flex(),
                Arc::new(FakeTime::default()),
            )
            .unwrap()
        };
        let draws = |queue: &mut InputQueue| -> Vec<i32> {
            let batch = queue.next().unwrap();
            let draws = batch.int::<1>("number").unwrap().into_data();
            draws.convert::<i32>().try_to_vec().unwrap()
        };
        // The first example that is damaged, and as many before it as there are.
        let good = (0..10).find(|p| Order::new(3, 10).at(*p) == 7).unwrap() as usize;
        let first = draws(&mut queue(3, 0, good));
        assert_eq!(first.len(), good);
        for (position, draw) in first.iter().enumerate() {
            assert_eq!(draws(&mut queue(3, position as u64, 1)), [*draw]);
            assert!(first[..position].iter().all(|other| other != draw));
        }
        let next_epoch = queue(3, 10, 1).next();
        assert!(next_epoch.is_err() || !first.contains(&draws(&mut queue(3, 10, 1))[0]));
        let error = queue(3, good as u64, 1).next().unwrap_err().to_string();
        assert!(error.contains("seven.jpeg"), "{error}");
    }

    /// A clock whose every reading opens the gate for one more batch, so that the first batch is
    /// made while the queue is already waited on.
    struct Gated {
        time: FakeTime,
        gate: Sender<()>,
    }

    impl TimeSource for Gated {
        fn now(&self) -> Duration {
            let now = self.time.now();
            let _ = self.gate.send(());
            now
        }
    }

    struct Slow {
        clock: std::sync::OnceLock<Arc<Gated>>,
        gate: Receiver<()>,
    }

    impl Dataset for Slow {
        fn len(&self) -> usize {
            10
        }

        fn batch(&self, indices: &[usize]) -> HostBatch {
            let _ = self.gate.recv();
            if let Some(clock) = self.clock.get() {
                clock.time.advance(Duration::from_secs(3));
            }
            Numbers(10).batch(indices)
        }
    }

    #[test]
    fn waiting_for_a_batch_is_recorded_as_waiting() {
        let (open, gate) = unbounded();
        let clock = Arc::new(Gated {
            time: FakeTime::default(),
            gate: open,
        });
        let data = Arc::new(Slow {
            clock: clock.clone().into(),
            gate,
        });
        let mut queue = InputQueue::start(data, 3, 0, 2, Device::flex(), clock.clone()).unwrap();
        assert_eq!(queue.take_waited(), Duration::ZERO);
        queue.next().unwrap();
        assert_eq!(queue.take_waited(), Duration::from_secs(3));
        assert_eq!(queue.take_waited(), Duration::ZERO);
    }
}

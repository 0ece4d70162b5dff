//! The threads that prepare batches.
//!
//! One thread prepares them all where it can keep up. The others sleep until the queue finds nothing
//! ready; then they take requests too, until none are left. So a cheap data set costs no more than one
//! thread, and an expensive one gets several.

use super::order::Order;
use crate::contract::{Dataset, HostBatch};
use crate::seed::{derive, mix};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct Request {
    /// Requests of an earlier generation are not wanted any more.
    pub generation: u64,
    /// Position of the first example in the stream.
    pub position: u64,
    pub examples: usize,
}

pub(super) struct Prepared {
    pub generation: u64,
    pub position: u64,
    pub ids: Vec<usize>,
    /// The batch, or why an example of it cannot be read.
    pub batch: Result<HostBatch, String>,
}

/// A thread has died: the data set panicked.
pub(super) struct Died;

/// The threads, as the queue sees them. They end when this is dropped.
pub(super) struct Workers {
    requests: Sender<Request>,
    prepared: Receiver<Result<Prepared, Died>>,
    help: Sender<()>,
    generation: Arc<AtomicU64>,
    dead: bool,
}

/// What all threads share.
struct Shared {
    data: Arc<dyn Dataset>,
    order: Mutex<Order>,
    /// Seed of the numbers that augmentation draws from.
    draws: u64,
    generation: Arc<AtomicU64>,
}

impl Workers {
    /// Starts `threads` threads (at least one), which hold at most `ahead` batches that nobody has
    /// taken.
    pub(super) fn start(
        data: Arc<dyn Dataset>,
        seed: u64,
        threads: usize,
        ahead: usize,
    ) -> Result<Self, std::io::Error> {
        let (requests, inbox) = unbounded::<Request>();
        let (outbox, prepared) = bounded(ahead);
        let helpers = threads.saturating_sub(1);
        let (help, called) = bounded::<()>(helpers.max(1));
        let generation = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared {
            order: Mutex::new(Order::new(seed, data.len())),
            draws: derive(seed, &["draws"]),
            data,
            generation: generation.clone(),
        });
        let spawn = |run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name("velodrome-input".into())
                .spawn(run)
        };
        for _ in 0..helpers {
            let (shared, inbox) = (shared.clone(), inbox.clone());
            let (outbox, called) = (outbox.clone(), called.clone());
            spawn(Box::new(move || {
                for () in called {
                    loop {
                        match inbox.try_recv() {
                            Ok(request) if shared.serve(&request, &outbox) => {}
                            Err(TryRecvError::Empty) => break,
                            _ => return,
                        }
                    }
                }
            }))?;
        }
        spawn(Box::new(move || {
            for request in inbox {
                if !shared.serve(&request, &outbox) {
                    return;
                }
            }
        }))?;
        Ok(Self {
            requests,
            prepared,
            help,
            generation,
            dead: false,
        })
    }

    /// Whether a thread is known to have died.
    pub(super) fn dead(&self) -> bool {
        self.dead
    }

    /// Asks for a batch.
    pub(super) fn ask(&self, request: Request) -> Result<(), Died> {
        self.requests.send(request).map_err(|_| Died)
    }

    /// Declares what was asked for in other generations than `generation` unwanted.
    pub(super) fn begin(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// The next batch that is ready, in whatever order they become so. Where none is, wakes the sleeping
    /// threads.
    pub(super) fn ready(&mut self) -> Result<Option<Prepared>, Died> {
        let handed = match self.prepared.try_recv() {
            Ok(handed) => handed,
            Err(TryRecvError::Empty) => {
                // Full where all have been called already.
                while self.help.try_send(()).is_ok() {}
                return Ok(None);
            }
            Err(TryRecvError::Disconnected) => Err(Died),
        };
        self.dead = handed.is_err();
        handed.map(Some)
    }

    /// The same, when there is one.
    pub(super) fn wait(&mut self) -> Result<Prepared, Died> {
        let handed = self.prepared.recv().unwrap_or(Err(Died));
        self.dead = handed.is_err();
        handed
    }
}

impl Shared {
    /// Prepares one batch; whether to go on.
    fn serve(&self, request: &Request, outbox: &Sender<Result<Prepared, Died>>) -> bool {
        if request.generation != self.generation.load(Ordering::Relaxed) {
            return true;
        }
        let ids: Vec<usize> = {
            // A poisoned order is whole: it is replaced in one piece.
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            (0..request.examples as u64)
                .map(|i| order.at(request.position + i))
                .collect()
        };
        let draws: Vec<u64> = (0..request.examples as u64)
            .map(|i| mix(self.draws, request.position + i))
            .collect();
        // The message is printed where it happens; the queue learns that no batch will come.
        let load = || self.data.load(&ids, Some(&draws));
        let batch = catch_unwind(AssertUnwindSafe(load));
        let handed = batch.map_err(|_| Died).map(|batch| Prepared {
            generation: request.generation,
            position: request.position,
            ids,
            batch,
        });
        let alive = handed.is_ok();
        outbox.send(handed).is_ok() && alive
    }
}

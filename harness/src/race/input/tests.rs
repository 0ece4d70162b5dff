use super::super::time::{FakeTime, SystemTime};
use super::*;
use crate::contract::{HostBatch, HostField, HostValues};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

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

/// A queue over `data` with so many threads.
fn over(
    data: Arc<dyn Dataset>,
    threads: usize,
    time: Arc<dyn TimeSource>,
    position: u64,
    batch_size: usize,
) -> InputQueue {
    let workers = Workers::start(data, 3, threads, AHEAD).unwrap();
    InputQueue::over(workers, position, batch_size, Device::flex(), time)
}

fn queue(position: u64, batch_size: usize) -> InputQueue {
    let time = Arc::new(FakeTime::default());
    over(Arc::new(Numbers(10)), 1, time, position, batch_size)
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
        let workers = Workers::start(Arc::new(Drawn), seed, 2, AHEAD).unwrap();
        let time = Arc::new(FakeTime::default());
        InputQueue::over(workers, position, batch_size, Device::flex(), time)
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

/// A clock that shows when the queue waits, since foreign threads are looked at then: the first look lets one
/// batch be made. Foreign threads work for a second from look to look.
struct Gated {
    time: FakeTime,
    gate: Sender<()>,
    looks: AtomicUsize,
    readings: AtomicUsize,
}

impl TimeSource for Gated {
    fn now(&self) -> Duration {
        let now = self.time.now();
        self.readings.fetch_add(1, Ordering::SeqCst);
        now
    }

    fn foreign_cpu(&self) -> Option<Duration> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        if looks == 0 {
            self.gate.send(()).unwrap();
        }
        Some(Duration::from_secs(looks as u64))
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

fn gated() -> (Arc<Gated>, InputQueue) {
    let (open, gate) = unbounded();
    let clock = Arc::new(Gated {
        time: FakeTime::default(),
        gate: open,
        looks: AtomicUsize::new(0),
        readings: AtomicUsize::new(0),
    });
    let data = Arc::new(Slow {
        clock: clock.clone().into(),
        gate,
    });
    (clock.clone(), over(data, 1, clock, 0, 2))
}

#[test]
fn waiting_for_a_batch_is_recorded_as_waiting() {
    let (_, mut queue) = gated();
    assert_eq!(queue.take_waited(), Duration::ZERO);
    queue.next().unwrap();
    assert_eq!(queue.take_waited(), Duration::from_secs(3));
    assert_eq!(queue.take_waited(), Duration::ZERO);
    assert_eq!(queue.take_background(), Duration::from_secs(1));
    assert_eq!(queue.take_background(), Duration::ZERO);
}

/// What the submission left to the pool is done before the wait begins, and no part of it.
#[test]
fn a_wait_begins_when_the_pool_is_done() {
    let (clock, mut queue) = gated();
    for _ in 0..20 {
        let clock = clock.clone();
        rayon::spawn(move || {
            // The second reading is the queue's that finds nothing ready.
            while clock.readings.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            clock.time.advance(Duration::from_secs(100));
        });
    }
    queue.next().unwrap();
    assert_eq!(clock.time.now(), Duration::from_secs(2003));
    assert_eq!(queue.take_waited(), Duration::from_secs(3));
}

/// Numbers that take up to two milliseconds, so that batches become ready out of turn.
struct Uneven;

impl Dataset for Uneven {
    fn len(&self) -> usize {
        10
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        let weight = indices.iter().map(|i| i * i).sum::<usize>() % 7;
        std::thread::sleep(Duration::from_micros(300 * weight as u64));
        Numbers(10).batch(indices)
    }
}

#[test]
fn the_stream_does_not_depend_on_the_number_of_threads() {
    let whole = take(&mut queue(0, 1), 240);
    for threads in [2, 5] {
        let time = Arc::new(FakeTime::default());
        let mut changing = over(Arc::new(Uneven), threads, time, 0, 3);
        let mut ids = take(&mut changing, 20);
        for batch_size in [4, 3, 4, 1, 5] {
            changing.set_batch_size(batch_size);
            ids.extend(take(&mut changing, 4));
        }
        assert_eq!(ids, whole[..ids.len()]);
        assert_eq!(ids.len(), 60 + 4 * 17);
        assert_eq!(changing.position(), ids.len() as u64);
    }
}

/// A data set of which no batch is ready before two are being prepared.
#[derive(Default)]
struct Pairwise {
    inside: Mutex<usize>,
    came: Condvar,
    alone: AtomicBool,
}

impl Dataset for Pairwise {
    fn len(&self) -> usize {
        10
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        let mut inside = self.inside.lock().unwrap();
        *inside += 1;
        self.came.notify_all();
        let patience = Duration::from_secs(20);
        let (_inside, waited) = self
            .came
            .wait_timeout_while(inside, patience, |inside| *inside < 2)
            .unwrap();
        if waited.timed_out() {
            self.alone.store(true, Ordering::SeqCst);
        }
        Numbers(10).batch(indices)
    }
}

#[test]
fn a_queue_that_runs_dry_calls_more_threads() {
    let data = Arc::new(Pairwise::default());
    let mut queue = over(data.clone(), 2, Arc::new(FakeTime::default()), 0, 2);
    queue.next().unwrap();
    assert!(!data.alone.load(Ordering::SeqCst));
}

/// Panics at the third batch.
struct Faulty(AtomicUsize);

impl Dataset for Faulty {
    fn len(&self) -> usize {
        10
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        assert!(
            self.0.fetch_add(1, Ordering::SeqCst) != 2,
            "the third batch"
        );
        Numbers(10).batch(indices)
    }
}

#[test]
fn a_data_set_that_panics_is_an_error_with_any_number_of_threads() {
    for threads in [1, 3] {
        let data = Arc::new(Faulty(AtomicUsize::new(0)));
        let mut queue = over(data, threads, Arc::new(FakeTime::default()), 0, 2);
        let whole: Vec<bool> = (0..20).map(|_| queue.next().is_ok()).collect();
        let first = whole.iter().position(|whole| !whole).unwrap();
        // Threads may take requests before the one that panics and come to them later.
        assert!(first < 2 + threads, "{whole:?}");
        assert!(whole[first..].iter().all(|whole| !whole), "{whole:?}");
    }
}

/// Takes five milliseconds for a batch.
struct Sleepy;

impl Dataset for Sleepy {
    fn len(&self) -> usize {
        10
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        std::thread::sleep(Duration::from_millis(5));
        Numbers(10).batch(indices)
    }
}

#[test]
fn several_threads_keep_up_where_one_does_not() {
    // Steps of three milliseconds.
    let waited = |threads| {
        let time = Arc::new(SystemTime::since(Instant::now()));
        let mut queue = over(Arc::new(Sleepy), threads, time, 0, 2);
        for _ in 0..100 {
            queue.next().unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
        let waited = queue.take_waited();
        println!("{threads} threads: waited {waited:?}");
        waited
    };
    // 100 batches take 500 ms and 100 steps 300 ms.
    let (one, four) = (waited(1), waited(4));
    assert!(one > Duration::from_millis(100), "{one:?}");
    assert!(four < one / 2, "{four:?} of {one:?}");
}

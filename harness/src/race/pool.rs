//! The pool of threads that computes, which the submission shares with the harness.

use rayon::Yield;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// Waits until the pool has nothing left to do: what was queued from outside or inside, and what that queues in
/// its turn. A broadcast alone passes by what threads take from the common queue or from each other afterwards.
pub(crate) fn drain() {
    // Two at a time could wait for each other's threads.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let idle: Vec<_> = (0..rayon::current_num_threads())
        .map(|_| AtomicUsize::new(usize::MAX))
        .collect();
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    rayon::broadcast(|thread| help(&done, &idle, &over, thread.index()));
}

/// Does what is left, until every thread has looked for work and found none since the last job was done. A job
/// comes from another one or from before, so that none can be left then. The first to see this says so to the
/// others: a job that another thread of the process queues meanwhile must not have them look for ever.
fn help(done: &AtomicUsize, idle: &[AtomicUsize], over: &AtomicBool, me: usize) {
    while !over.load(SeqCst) {
        let before = done.load(SeqCst);
        if rayon::yield_now() == Some(Yield::Executed) {
            done.fetch_add(1, SeqCst);
            continue;
        }
        idle[me].store(before, SeqCst);
        let rests = |found: &AtomicUsize| found.load(SeqCst) == before;
        if idle.iter().all(rests) && done.load(SeqCst) == before {
            over.store(true, SeqCst);
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    /// Queues `width` jobs from where it is called, each of which takes a while and queues one more, `depth`
    /// times over.
    fn queue(left: &Arc<AtomicUsize>, width: usize, depth: usize) {
        for _ in 0..width {
            left.fetch_add(1, SeqCst);
            let left = left.clone();
            rayon::spawn(move || {
                std::thread::sleep(Duration::from_millis(1));
                if depth > 0 {
                    queue(&left, 1, depth - 1);
                }
                left.fetch_sub(1, SeqCst);
            });
        }
    }

    #[test]
    fn nothing_is_left_afterwards() {
        for (width, depth) in [(0, 0), (1, 0), (200, 0), (1, 100), (7, 9)] {
            let left = Arc::new(AtomicUsize::new(0));
            queue(&left, width, depth);
            drain();
            assert_eq!(left.load(SeqCst), 0, "{width} jobs, {depth} after each");
        }
    }
}

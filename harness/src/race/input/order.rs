//! The order of training examples.

use crate::seed::mix;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The most examples whose permutation is held in memory (512 MB).
const HELD: usize = 1 << 27;

/// The order of training examples: epoch after epoch, each a fresh permutation. Position `p` of
/// the endless stream depends on the seed alone.
pub struct Order {
    seed: u64,
    len: usize,
    /// The last even and the last odd epoch with their permutations: threads that prepare
    /// neighbouring batches ask for both sides of an epoch's end in turn.
    epochs: [Option<(u64, Vec<u32>)>; 2],
}

impl Order {
    /// The order of `len` examples that `seed` fixes.
    pub fn new(seed: u64, len: usize) -> Self {
        Self {
            seed,
            len,
            epochs: [None, None],
        }
    }

    /// Example at position `position` of the stream; 0 where there are no examples.
    pub fn at(&mut self, position: u64) -> usize {
        let len = self.len.max(1) as u64;
        let (epoch, offset) = (position / len, position % len);
        if self.len > HELD {
            return scattered(mix(self.seed, epoch), len, offset) as usize;
        }
        let [even, odd] = &mut self.epochs;
        let held = if epoch.is_multiple_of(2) { even } else { odd };
        let permutation = match held {
            Some((number, permutation)) if *number == epoch => permutation,
            _ => {
                let mut fresh: Vec<u32> = (0..self.len as u32).collect();
                let mut rng = ChaCha8Rng::seed_from_u64(mix(self.seed, epoch));
                fresh.shuffle(&mut rng);
                &mut held.insert((epoch, fresh)).1
            }
        };
        permutation.get(offset as usize).map_or(0, |&i| i as usize)
    }
}

/// The value at `offset` of a permutation of the numbers below `len` that needs no memory, for sets of
/// billions of examples: a Feistel network (Luby and Rackoff 1988) of six rounds over the next even
/// number of bits, repeated until the value is below `len` (at most four times on average).
fn scattered(key: u64, len: u64, offset: u64) -> u64 {
    let half = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut value = offset;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..6 {
            (left, right) = (right, left ^ (mix(mix(key, round), right) & mask));
        }
        value = (left << half) | right;
        if value < len {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_without_memory_is_a_permutation_that_its_key_decides() {
        for len in [1, 2, 3, 1000, 4097] {
            let order = |key| (0..len).map(|i| scattered(key, len, i)).collect::<Vec<_>>();
            let mut sorted = order(7);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            assert!(len < 1000 || order(7) != order(8));
        }
        // Neighbours do not stay together: 1 in 1000 is the mean for a random permutation.
        let order: Vec<u64> = (0..1000).map(|i| scattered(7, 1000, i)).collect();
        let together = order.windows(2).filter(|w| w[0] + 1 == w[1]).count();
        assert!(together < 8, "{together}");
    }

    #[test]
    fn a_set_of_billions_has_an_order() {
        let len = 4_195_197_692;
        let mut order = Order::new(3, len);
        let first: Vec<usize> = (0..100).map(|p| order.at(p)).collect();
        assert!(first.iter().all(|&i| i < len));
        let mean = first.iter().sum::<usize>() / 100;
        assert!((len / 4..3 * len / 4).contains(&mean), "{mean}");
        assert_ne!(first[0], order.at(len as u64));
    }
}

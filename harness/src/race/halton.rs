//! Quasi-random points of a search space.
//!
//! A Halton sequence (Halton 1960) with one prime base per hyperparameter, its digits permuted at
//! random (Braaten and Weller 1979) and shifted at random modulo 1 (Cranley and Patterson 1976),
//! both from the seed. Point `i` does not depend on how many points are drawn, so that studies
//! take consecutive, distinct parts of one sequence.

use crate::contract::{Point, SearchSpace};
use crate::seed::derive;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Point number `index` (from 0) of the sequence that `seed` fixes in `space`.
pub fn point(space: &SearchSpace, seed: u64, index: u64) -> Point {
    let values = space.0.iter().zip(primes()).map(|(dimension, base)| {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, &["halton", &dimension.name]));
        let u = radical_inverse(index + 1, base, &permutation(base, &mut rng));
        let shift: f64 = rng.random();
        let u = (u + shift).fract();
        (
            dimension.name.clone(),
            dimension.range.at(u, dimension.default),
        )
    });
    Point(values.collect())
}

/// A random permutation of the digits `1..base`; 0 stays, so that leading zeros add nothing.
fn permutation(base: u64, rng: &mut impl Rng) -> Vec<u64> {
    let mut digits: Vec<u64> = (0..base).collect();
    for i in (2..digits.len()).rev() {
        digits.swap(i, rng.random_range(1..=i));
    }
    digits
}

fn radical_inverse(mut n: u64, base: u64, permutation: &[u64]) -> f64 {
    let mut u = 0.0;
    let mut scale = 1.0 / base as f64;
    while n > 0 {
        let digit = (n % base) as usize;
        u += permutation.get(digit).copied().unwrap_or(0) as f64 * scale;
        n /= base;
        scale /= base as f64;
    }
    u
}

/// The primes, in order.
fn primes() -> impl Iterator<Item = u64> {
    (2u64..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 1e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .choice("dropout", &[0.0, 0.1], 0.0)
            .fixed("epsilon", 1e-8)
    }

    #[test]
    fn points_stay_in_their_ranges_and_fill_them() {
        let space = space();
        let points: Vec<Point> = (0..64).map(|i| point(&space, 7, i)).collect();
        let mut decades = [0; 4];
        for p in &points {
            let lr = p.get("learning_rate").unwrap();
            assert!((1e-4..1e-2).contains(&lr), "{lr}");
            let quarter = ((lr / 1e-4).log10() / 2.0 * 4.0) as usize;
            decades[quarter.min(3)] += 1;
            assert!((0.5..=0.98).contains(&p.get("beta1").unwrap()));
            assert!([0.0, 0.1].contains(&p.get("dropout").unwrap()));
            assert_eq!(p.get("epsilon").unwrap(), 1e-8);
        }
        // A low-discrepancy sequence: each quarter of the log range gets 16 of 64, give or take 1.
        assert!(decades.iter().all(|d| (15..=17).contains(d)), "{decades:?}");
    }

    #[test]
    fn points_are_distinct_and_follow_the_seed() {
        let space = space();
        let all: Vec<Point> = (0..50).map(|i| point(&space, 7, i)).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "point {i} repeats");
        }
        assert_eq!(all[3], point(&space, 7, 3));
        assert_ne!(all[3], point(&space, 8, 3));
    }
}

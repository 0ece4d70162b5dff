//! Seeds: every random stream of a trial is derived from the suite's seed.

use sha2::{Digest, Sha256};

/// Derives a seed from a parent seed and a counter (SplitMix64's finaliser, Steele et al. 2014).
pub fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed ^ counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in `[0, 1)` from a seed and a counter, for example to hold back a fixed share of the
/// examples by their indices. Uses the upper 53 bits of [`mix`].
pub fn unit(seed: u64, counter: u64) -> f64 {
    (mix(seed, counter) >> 11) as f64 / (1u64 << 53) as f64
}

/// Derives a seed from a parent seed and words, so that streams with different names are unrelated.
pub fn derive(seed: u64, words: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

//! PyTorch's generator on the CPU, for what PEFT draws from a seed and does not save: FourierFT's
//! frequencies, and the projections of VeRA and RandLoRA.
//!
//! A 32-bit Mersenne Twister (Matsumoto and Nishimura 1998), seeded by Knuth's recurrence. `randperm`
//! and `uniform_` are PyTorch's `aten/src/ATen/native/cpu` (BSD-3-Clause), in our own words.

const LENGTH: usize = 624;
const PERIOD: usize = 397;

/// `torch.Generator().manual_seed(seed)`.
#[derive(Debug, Clone)]
pub(crate) struct TorchRandom {
    state: Vec<u32>,
    next: usize,
}

impl TorchRandom {
    pub(crate) fn seeded(seed: u64) -> Self {
        // The generator takes the low half of the seed.
        let mut last = seed as u32;
        let mut state = vec![last];
        for i in 1..LENGTH as u32 {
            last = 1_812_433_253u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(i);
            state.push(last);
        }
        Self {
            state,
            next: LENGTH,
        }
    }

    fn twist(&mut self) {
        for i in 0..LENGTH {
            let (high, low) = (self.state[i], self.state[(i + 1) % LENGTH]);
            let mixed = (high & 0x8000_0000) | (low & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + PERIOD) % LENGTH] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// The next 32 bits.
    pub(crate) fn bits(&mut self) -> u32 {
        if self.next >= LENGTH {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// The first `count` entries of `torch.randperm(of)`, for fewer than 214 million.
    pub(crate) fn permuted(&mut self, count: usize, of: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..of).collect();
        for i in 0..of.saturating_sub(1).min(count) {
            let step = self.bits() as usize % (of - i);
            all.swap(i, i + step);
        }
        all.truncate(count);
        all
    }

    /// `torch.empty(count).uniform_(from, to)` in 32-bit floats.
    pub(crate) fn uniform(&mut self, count: usize, from: f32, to: f32) -> Vec<f32> {
        let unit = |bits: u32| (bits & 0x00ff_ffff) as f32 / (1u32 << 24) as f32;
        // Rounded once, as PyTorch's kernels are compiled: bfloat16 shows the difference.
        (0..count)
            .map(|_| unit(self.bits()).mul_add(to - from, from))
            .collect()
    }

    /// The same in bfloat16: drawn as 32-bit floats and rounded, and what rounds to the upper end,
    /// which does not belong to the range, is the lower one.
    pub(crate) fn uniform_bf16(&mut self, count: usize, from: f32, to: f32) -> Vec<f32> {
        let drawn = self.uniform(count, from, to).into_iter().map(bf16);
        let inside = |x| if x == bf16(to) { bf16(from) } else { x };
        drawn.map(inside).collect()
    }
}

/// The nearest bfloat16.
pub(crate) fn bf16(x: f32) -> f32 {
    burn::tensor::bf16::from_f32(x).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of `torch.randint(2**32, ...)` are the generator's own bits; these are
    /// Matsumoto's reference for the seed 5489.
    #[test]
    fn the_bits_are_the_reference_s() {
        let mut random = TorchRandom::seeded(5489);
        let first: Vec<u32> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734]);
        let mut random = TorchRandom::seeded(5489);
        let last = (0..10_000).map(|_| random.bits()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}

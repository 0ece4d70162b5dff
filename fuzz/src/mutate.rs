//! Changes of bytes, from a seed.

/// Makes inputs out of others. The same seed makes the same ones.
pub struct Mutator {
    state: u64,
}

/// Numbers that lie at the ends of something.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Words that mean something to a reader of text.
const WORDS: [&str; 28] = [
    "0",
    "-1",
    "1e999",
    "-1e-999",
    "NaN",
    "nan",
    "inf",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "{",
    "[",
    "\"",
    "\\",
    "\n",
    ",",
    "../../../outside",
    "/etc/passwd",
    "..\\..\\x",
    "\0",
    "<script>",
    "\u{feff}",
    "\u{202e}",
    "18446744073709551616",
    "4294967295",
    "1000000000",
];

impl Mutator {
    /// A mutator with this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A step of SplitMix64 (Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of `seeds` with a few changes.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let at = self.below(seeds.len());
        let mut bytes = seeds.get(at).cloned().unwrap_or_default();
        for _ in 0..1 + self.below(4) {
            self.change(&mut bytes, seeds);
        }
        // A change may double a part: without an end, a few hundred cases would be megabytes.
        bytes.truncate(1 << 16);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(32)).min(bytes.len());
        match self.below(12) {
            0 => bytes.truncate(at),
            1 => {
                let bit = 1 << self.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= bit);
            }
            2 => {
                let value = self.next() as u8;
                bytes.iter_mut().skip(at).take(1).for_each(|b| *b = value);
            }
            3 | 4 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                let width = [1, 2, 4, 8][self.below(4)];
                let mut digits = number.to_le_bytes();
                if self.below(2) == 0 {
                    digits[..width].reverse();
                }
                for (to, from) in bytes.iter_mut().skip(at).zip(&digits[..width]) {
                    *to = *from;
                }
            }
            5 => drop(bytes.drain(at.min(end)..end)),
            6 => {
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
            7 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            8 | 9 => self.number(bytes, at),
            10 => {
                // The end of another seed behind the beginning of this one.
                let other = self.below(seeds.len());
                if let Some(other) = seeds.get(other) {
                    let from = self.below(other.len());
                    bytes.truncate(at);
                    bytes.extend(&other[from..]);
                }
            }
            _ => {
                // A quoted text or a word of the input, in another place.
                let from = self.below(bytes.len());
                let part: Vec<u8> = bytes.iter().skip(from).take(12).copied().collect();
                bytes.splice(at..at, part);
            }
        }
    }

    /// Puts another number in the place of the next one that is written in digits.
    fn number(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let digit = |b: &u8| b.is_ascii_digit();
        let Some(from) = bytes.iter().skip(at).position(digit).map(|n| n + at) else {
            return;
        };
        let length = bytes.iter().skip(from).take_while(|b| digit(b)).count();
        let word = match self.below(3) {
            0 => NUMBERS[self.below(NUMBERS.len())].to_string(),
            1 => self.below(70_000).to_string(),
            _ => WORDS[self.below(WORDS.len())].to_string(),
        };
        bytes.splice(from..from + length, word.bytes());
    }
}

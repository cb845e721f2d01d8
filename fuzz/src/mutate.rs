//! Random changes of inputs, the same for the same seed.

/// Longest input made, in bytes.
const MAX_INPUT_BYTES: usize = 20 << 10;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 4096, 1024, 1 << 40, u64::MAX];

/// A generator of changed inputs.
#[derive(Debug, Clone)]
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    /// An input of the corpus, changed in one to eight places.
    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input, corpus);
        }
        input.truncate(MAX_INPUT_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        if input.is_empty() {
            return input.push(self.next().to_le_bytes()[0]);
        }
        let at = self.below(input.len());
        match self.below(9) {
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.next().to_le_bytes()[0],
            2 => input.truncate(at),
            3 | 4 => {
                // A little-endian number of 1, 2, 4 or 8 bytes becomes an edge, or moves a little.
                let len = (1 << self.below(4)).min(input.len() - at);
                let mut number = [0; 8];
                number[..len].copy_from_slice(&input[at..at + len]);
                let moved = u64::from_le_bytes(number).wrapping_add(self.next() % 9).wrapping_sub(4);
                let edge = EDGES[self.below(EDGES.len())];
                let number = if self.below(2) == 0 { edge } else { moved };
                input[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
            }
            5 => {
                let end = (at + 1 + self.below(64)).min(input.len());
                input.drain(at..end);
            }
            6 => {
                let end = (at + 1 + self.below(256)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = self.below(input.len());
                input.splice(to..to, piece);
            }
            7 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len().max(1)).min(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let count = self.below(32);
                let byte = self.next().to_le_bytes()[0];
                input.splice(at..at, std::iter::repeat_n(byte, count));
            }
        }
    }
}

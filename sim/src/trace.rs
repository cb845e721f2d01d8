//! What happened in a run, folded into one number: two runs of a seed must give the same.

/// A running hash, and who is told what happened in words, if anybody is.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    tell: Option<fn(&str)>,
}

impl Trace {
    pub fn new(tell: Option<fn(&str)>) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, tell }
    }

    /// Takes a number in.
    pub fn note(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    /// Takes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder().iter().fold(0, |rest, &byte| rest << 8 | u64::from(byte));
        for word in words {
            self.note(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        self.note(rest);
    }

    /// Says what happens, to whoever replays a seed.
    pub fn say(&self, now: u64, what: impl FnOnce() -> String) {
        if let Some(tell) = self.tell {
            tell(&format!("{:>14.6} {}", std::time::Duration::from_nanos(now).as_secs_f64(), what()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}

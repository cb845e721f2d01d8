//! Randomness: ids, keys, jitter.

/// A source of random bytes, good enough for keys in production and seeded in the simulator.
pub trait Rng: Send {
    fn fill(&mut self, out: &mut [u8]);

    fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Sixteen random bytes: an id.
    fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        self.fill(&mut id);
        id
    }
}

/// The kernel's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws from the kernel")]
    fn fill(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the kernel's random generator never fails once the machine is up");
    }
}

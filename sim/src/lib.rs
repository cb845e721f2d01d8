//! The deterministic simulator: the real cores of blockd on simulated disks, clocks and networks.
//!
//! A seed decides everything, so a failure is replayed by its seed. See [`scenario`] for what a run does and
//! checks, [`oracle`] for what a volume may hold, [`fault`] for the bugs planted to prove the checkers.

pub mod disk;
pub mod fault;
pub mod oracle;
pub mod rng;
pub mod scenario;
pub mod world;

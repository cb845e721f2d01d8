//! One function a format that comes from disks, wires or guests. Each takes any bytes, and panics only where
//! the code that reads them is wrong.
//!
//! cargo-fuzz runs them with coverage (`fuzz/fuzz`); `tests/replay.rs` runs them on the stable toolchain over
//! the committed corpus and mutations of it.
//!
//! Checksums would keep mutations from ever reaching what they protect, so the first byte of an input may ask
//! for them to be made right: what has a good checksum and bad content must be refused too.

mod disk;
mod frame;
mod mutate;
mod raft;
mod seeds;
mod vhost;

pub use mutate::Mutator;

/// Something to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// The corpus' folder and cargo-fuzz's target have this name.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs that exercise it, made by the product's own encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations that one run of the tests tries: some seconds' worth.
    pub mutations: u32,
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target { name: "frame", run: frame::run, seeds: seeds::frames, mutations: 300_000 },
    Target { name: "batch", run: disk::batch, seeds: seeds::batches, mutations: 60_000 },
    Target { name: "checkpoint", run: disk::checkpoint, seeds: seeds::checkpoints, mutations: 60_000 },
    Target { name: "superblock", run: disk::superblock, seeds: seeds::superblocks, mutations: 60_000 },
    Target { name: "raft_record", run: raft::record, seeds: seeds::raft_records, mutations: 300_000 },
    Target { name: "raft_segment", run: raft::segment, seeds: seeds::raft_segments, mutations: 4_000 },
    Target { name: "raft_snapshot", run: raft::snapshot, seeds: seeds::raft_snapshots, mutations: 4_000 },
    Target { name: "vhost_chains", run: vhost::chains, seeds: vhost::chain_seeds, mutations: 10_000 },
    Target { name: "vhost_session", run: vhost::session, seeds: vhost::session_seeds, mutations: 3_000 },
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// An input's first byte: whether to make its checksums right.
fn mode(input: &[u8]) -> Option<(bool, &[u8])> {
    let (mode, rest) = input.split_first()?;
    Some((mode & 1 == 1, rest))
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

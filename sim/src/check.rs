//! What is looked at inside the replicas: that acked means applied, and that all converge.

use crate::control::GROUPS;
use crate::oracle::SECTOR;
use crate::scenario::Run;
use crate::world::{Violation, World, violation};
use blockd::store::ChunkRun;
use proto::message::BlockState;
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkIndex, Version, VolumeId};

const _: () = assert!(SECTOR == 512);

impl World {
    /// What a server that is up knows of a chunk.
    fn runs(&self, server: usize, volume: VolumeId, chunk: ChunkIndex) -> Option<Vec<ChunkRun>> {
        let replica = self.servers[server].replica.as_ref()?;
        Some(replica.store().chunk_runs(volume, chunk))
    }
}

fn version_in(runs: &[ChunkRun], block: u16) -> Version {
    let run = runs.iter().find(|run| run.first <= block && block < run.first + run.count);
    run.map_or(Version::ZERO, |run| run.version)
}

impl Run {
    /// Promise 1: what was acked is applied by every in-sync replica. One that restarted since the write began
    /// may have lost it, and its writer may not have heard of that.
    pub fn check_acked(&mut self, number: usize, id: u64, began: u64) -> Result<(), Violation> {
        let volume = self.tenants[number].volume;
        for (block, version) in self.world.writing.take(id) {
            let per_chunk = u64::from(BLOCKS_PER_CHUNK);
            let chunk = ChunkIndex(u32::try_from(block / per_chunk).expect("a small volume"));
            let at = u16::try_from(block % per_chunk).expect("below a chunk's blocks");
            let group = self.tenants[number].group_of(block * 8, GROUPS);
            let servers: Vec<usize> = self.world.custody.in_sync(group).collect();
            for server in servers {
                if self.world.servers[server].since > began || self.world.custody.is_tampered(server) {
                    continue;
                }
                let Some(runs) = self.world.runs(server, volume, chunk) else { continue };
                let held = version_in(&runs, at);
                if held < version {
                    let what = format!(
                        "write {id} of volume {volume} is acked, and server {server} holds block {block} with \
                         version {held} below {version}"
                    );
                    return violation("acked", what);
                }
            }
        }
        Ok(())
    }

    /// Promise 11: below the pool's least number of members in sync, writes wait.
    pub fn check_enough(
        &self,
        number: usize,
        id: u64,
        (writer, began): (usize, u64),
    ) -> Result<(), Violation> {
        let tenant = &self.tenants[number];
        let Some(extent) = tenant.oracle.extent(id) else { return Ok(()) };
        for sector in [extent.first, extent.end - 1] {
            let group = tenant.group_of(sector, GROUPS);
            if self.world.writers[writer].short.get(&group).is_some_and(|&since| since < began) {
                let what = format!("write {id} is acked though its writer knows that group {group} is short");
                return violation("enough", what);
            }
        }
        Ok(())
    }

    /// After faults have ended, in-sync replicas hold the same versions of everything.
    pub fn check_converged(&self) -> Result<(), Violation> {
        let chunks = u32::try_from(crate::world::VOLUME_BYTES >> 22).expect("a small volume");
        for tenant in &self.tenants {
            for chunk in 0..chunks {
                let group = tenant.group_of(u64::from(chunk) << 13, GROUPS);
                let mut first: Option<(usize, Vec<ChunkRun>)> = None;
                for server in self.world.custody.in_sync(group) {
                    let Some(runs) = self.world.runs(server, tenant.volume, ChunkIndex(chunk)) else {
                        return violation("converged", format!("server {server} is in sync and not up"));
                    };
                    let runs = data_only(runs);
                    match &first {
                        Some((other, held)) if !is_same(held, &runs) => {
                            let what = format!(
                                "volume {}, chunk {chunk}: server {other} holds {held:?}, server {server} {runs:?}",
                                tenant.volume
                            );
                            return violation("converged", what);
                        }
                        Some(_) => {}
                        None => first = Some((server, runs)),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether two members hold the same. A catch-up puts what an orphan hid under the last version of the orphan's
/// epoch (rfd/0002), at the member that had it only: there, a block that others hold with a lower one is the same.
fn is_same(one: &[ChunkRun], other: &[ChunkRun]) -> bool {
    one == other
        || (0..BLOCKS_PER_CHUNK).all(|block| {
            let block = u16::try_from(block).expect("below a chunk's blocks");
            let (a, b) = (version_in(one, block), version_in(other, block));
            a == b || a.max(b).is_last() && a.min(b) > Version::ZERO
        })
}

/// Without tombstones, which are forgotten by one member before another, and whatever state a copy is in.
fn data_only(runs: Vec<ChunkRun>) -> Vec<ChunkRun> {
    let mut all: Vec<ChunkRun> = Vec::new();
    for run in runs.into_iter().filter(|run| run.state != BlockState::Trimmed) {
        match all.last_mut() {
            Some(last) if last.first + last.count == run.first && last.version == run.version => {
                last.count += run.count;
            }
            _ => all.push(ChunkRun { state: BlockState::Data, ..run }),
        }
    }
    all
}

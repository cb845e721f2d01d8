//! What is looked at inside the replicas: that acked means applied, and that all converge.

use crate::control::GROUPS;
use crate::oracle::SECTOR;
use crate::scenario::Run;
use crate::world::{Violation, World, violation};
use blockd::store::ChunkRun;
use proto::message::BlockState;
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkIndex, Version, VolumeId};
use std::collections::BTreeMap;

const _: () = assert!(SECTOR == 512);

impl World {
    /// What a server that is up knows of a chunk.
    fn runs(&self, server: usize, volume: VolumeId, chunk: ChunkIndex) -> Option<Vec<ChunkRun>> {
        let replica = self.servers[server].replica.as_ref()?;
        Some(replica.store().chunk_runs(volume, chunk))
    }

    /// The blocks of a chunk that a server has data of, without tombstones, which are forgotten by one member
    /// before another.
    fn held(&self, server: usize, volume: VolumeId, chunk: ChunkIndex) -> Option<BTreeMap<u16, Held>> {
        let store = self.servers[server].replica.as_ref()?.store();
        let places = store.data_places(&self.servers[server].disk, volume, chunk);
        let crcs: BTreeMap<u16, u32> =
            places.into_iter().filter_map(|(block, _, crc)| Some((block, crc?))).collect();
        let runs = store.chunk_runs(volume, chunk);
        let data = runs.iter().filter(|run| run.state != BlockState::Trimmed);
        let blocks =
            data.flat_map(|run| (run.first..run.first + run.count).map(|block| (block, run.version)));
        Some(blocks.map(|(block, version)| (block, (version, crcs.get(&block).copied()))).collect())
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
            let mut is_held = false;
            for server in servers {
                let Some(runs) = self.world.runs(server, volume, chunk) else { continue };
                let held = version_in(&runs, at);
                // A part of a write may be trimmed, and the trim forgotten, before the rest of it is acked.
                let gone = held == Version::ZERO && self.world.writing.may_be_gone(volume, block, version);
                is_held |= held >= version || gone;
                if self.world.servers[server].since > began || self.world.custody.is_tampered(server) {
                    continue;
                }
                if held < version && !gone {
                    let what = format!(
                        "write {id} of volume {volume} is acked, and server {server} holds block {block} with \
                         version {held} below {version}"
                    );
                    return violation("acked", what);
                }
            }
            if !is_held {
                self.tenants[number].oracle.was_lost_when_acked(id);
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
        for tenant in &self.tenants {
            for chunk in 0..tenant.chunks() {
                let group = tenant.group_of(u64::from(chunk) << 13, GROUPS);
                let mut first: Option<(usize, BTreeMap<u16, Held>)> = None;
                for server in self.world.custody.in_sync(group) {
                    let Some(held) = self.world.held(server, tenant.volume, ChunkIndex(chunk)) else {
                        return violation("converged", format!("server {server} is in sync and not up"));
                    };
                    match &first {
                        Some((other, before)) if !alike(before, &held) => {
                            let what = format!(
                                "volume {}, chunk {chunk}: server {other} holds {before:?}, server {server} {held:?}",
                                tenant.volume
                            );
                            return violation("converged", what);
                        }
                        Some(_) => {}
                        None => first = Some((server, held)),
                    }
                }
            }
        }
        Ok(())
    }
}

/// A block's version, and its checksum unless its copy was found bad.
type Held = (Version, Option<u32>);

/// The same versions and content; but what a catch-up took back at a member, since its writer had given it up,
/// has a version of its own there: an epoch's last, or the one that was given up.
fn alike(a: &BTreeMap<u16, Held>, b: &BTreeMap<u16, Held>) -> bool {
    let same = |((block, a), (other, b)): ((&u16, &Held), (&u16, &Held))| {
        // Every write has content of its own.
        let version = a.0 == b.0 || a.0.max(b.0).is_last() || a.1.is_some() && a.1 == b.1;
        block == other && version && (a.1 == b.1 || a.1.is_none() || b.1.is_none())
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

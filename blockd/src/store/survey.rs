//! What a store tells of its content without reading a block: catch-up and scrub compare members by it.
//! All of it comes from the index; a page is bounded by what it may pass by, not only by what it finds.

use super::chunk::{ChunkRef, Place};
use super::core::Store;
use super::event::Ticket;
use super::index::Index;
use super::queue::Op;
use super::sums::{OneByOne, read_sums};
use proto::disk::{Run, Slot};
use proto::limits::MAX_GROUPS;
use proto::message::BlockState;
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK};
use proto::{ChunkIndex, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId, WireError};
use rt::device::BlockDevice;

/// A volume the disk knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeEntry {
    pub volume: VolumeId,
    pub fence: VolumeEpoch,
    pub deleted: bool,
}

/// Neighbouring blocks of a chunk with one version and one state: `Data`, `Trimmed`, or `Corrupt` for
/// blocks whose only copy here was found bad and whose version is still known. Never `Hole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRun {
    pub first: u16,
    pub count: u16,
    pub version: Version,
    pub state: BlockState,
}

impl Store {
    /// The volumes from `cursor` on, at most `max` of them in order of their numbers, and where to go on.
    pub fn volumes(&self, cursor: VolumeId, max: usize) -> (Vec<VolumeEntry>, Option<VolumeId>) {
        let mut ids: Vec<VolumeId> =
            self.index.volumes.keys().copied().filter(|&volume| volume >= cursor).collect();
        ids.sort_unstable();
        let next = ids.get(max).copied();
        ids.truncate(max);
        let entry = |volume| {
            let info = self.volume_info(volume);
            VolumeEntry { volume, fence: info.fence, deleted: info.deleted }
        };
        (ids.into_iter().map(entry).collect(), next)
    }

    /// Digests of the volume's chunks from `cursor` on that `wanted` names, in order, and where to go on.
    /// At most `max` chunks are passed by. A chunk with nothing in it has no digest, as if it were not there.
    pub fn digests(
        &self,
        volume: VolumeId,
        cursor: ChunkIndex,
        max: usize,
        wanted: impl Fn(ChunkIndex) -> bool,
    ) -> (Vec<(ChunkIndex, u64)>, Option<ChunkIndex>) {
        let mut found = Vec::new();
        let Some(held) = self.index.volumes.get(&volume) else { return (found, None) };
        for (seen, (chunk, entry)) in self.index.chunks_of(held, cursor.0).enumerate() {
            let chunk = ChunkIndex(chunk);
            if seen >= max {
                return (found, Some(chunk));
            }
            if wanted(chunk) {
                found.extend(Some((chunk, entry.digest(held.forgotten))).filter(|&(_, digest)| digest != 0));
            }
        }
        (found, None)
    }

    /// The digest of one chunk; 0 if there is nothing in it.
    pub fn digest(&self, volume: VolumeId, chunk: ChunkIndex) -> u64 {
        self.index.digest(volume, chunk)
    }

    /// What is known of every block of one chunk, in order, without holes and forgotten tombstones.
    pub fn chunk_runs(&self, volume: VolumeId, chunk: ChunkIndex) -> Vec<ChunkRun> {
        let mut runs: Vec<ChunkRun> = Vec::new();
        let Some(held) = self.index.volumes.get(&volume) else { return runs };
        let Some(entry) = self.index.chunk(volume, chunk) else { return runs };
        for (block, place) in entry.known(held.forgotten) {
            let state = match place.location {
                Slot::TRIMMED => BlockState::Trimmed,
                Slot::LOST => BlockState::Corrupt,
                _ => BlockState::Data,
            };
            match runs.last_mut() {
                Some(last)
                    if last.first + last.count == block
                        && (last.version, last.state) == (place.version, state) =>
                {
                    last.count += 1;
                }
                _ => runs.push(ChunkRun { first: block, count: 1, version: place.version, state }),
            }
        }
        runs
    }

    /// Where each block of a chunk with data lies on the disk, in bytes, and the checksum of what should be
    /// there, which `dev` may have to tell (`None`: it can't): for tests that damage disks, and count what they
    /// damaged.
    pub fn data_places(
        &self,
        dev: &dyn BlockDevice,
        volume: VolumeId,
        chunk: ChunkIndex,
    ) -> Vec<(u16, u64, Option<u32>)> {
        let Some(entry) = self.index.chunk(volume, chunk) else { return Vec::new() };
        let mut sums = OneByOne::default();
        let place = |(block, place): (u16, Place)| {
            let read = |run: &Run| read_sums(dev, self.disk_id(), &self.segments.geometry, run);
            let ask = |run: &Run| self.sums_of(run).or_else(|| read(run));
            let crc = sums.crc(entry.sum(block)?, place.location, ask);
            Some((block, u64::from(place.location) * BLOCK_BYTES, crc))
        };
        entry.blocks().filter_map(place).collect()
    }

    /// The least epoch of a group that was adopted here, in this life of the disk or an earlier one.
    pub fn group_epoch(&self, group: GroupId) -> GroupEpoch {
        self.groups.get(&group).copied().unwrap_or_default()
    }

    pub(super) fn accept_group(
        &mut self,
        ticket: Ticket,
        group: GroupId,
        epoch: GroupEpoch,
    ) -> Result<(), WireError> {
        self.check_running()?;
        if group.0 >= MAX_GROUPS {
            return Err(WireError::new(ErrorCode::BadRequest, format!("no pool has a group {group}")));
        }
        let held = self.groups.entry(group).or_default();
        if epoch > *held {
            *held = epoch;
            self.queue.push(Op::Group { group, epoch });
        }
        // An adoption that is held already may still be on its way to the medium.
        self.flusher.wait(ticket, self.queue.accepted());
        Ok(())
    }
}

impl Store {
    pub(super) fn accept_clear(
        &mut self,
        ticket: Ticket,
        (group, groups): (GroupId, u32),
        epoch: GroupEpoch,
    ) -> Result<(), WireError> {
        self.check_running()?;
        if groups > MAX_GROUPS || group.0 >= groups {
            let why = format!("no pool of {groups} groups has a group {group}");
            return Err(WireError::new(ErrorCode::BadRequest, why));
        }
        let held = self.groups.entry(group).or_default();
        if epoch < *held {
            let why = format!("group {group} is at epoch {held}; what is here belongs to that");
            return Err(WireError::new(ErrorCode::Changed, why));
        }
        *held = epoch;
        self.queue.push(Op::Clear { group, groups, epoch });
        self.flusher.wait(ticket, self.queue.accepted());
        Ok(())
    }
}

impl Index {
    pub fn digest(&self, volume: VolumeId, chunk: ChunkIndex) -> u64 {
        let Some(held) = self.volumes.get(&volume) else { return 0 };
        self.chunk(volume, chunk).map_or(0, |entry| entry.digest(held.forgotten))
    }
}

impl<'a> ChunkRef<'a> {
    /// A number that two members have in common if, and but for a chance of one in 2^64 only if, they know
    /// the same of every block. A sum, so that the order of the blocks is nobody's concern.
    pub fn digest(self, forgotten: Version) -> u64 {
        self.known(forgotten).map(|(block, place)| block_digest(block, place)).fold(0, u64::wrapping_add)
    }

    /// Blocks with versions of their own or the chunk's trim's, without tombstones at or below `forgotten`.
    fn known(self, forgotten: Version) -> impl Iterator<Item = (u16, Place)> + 'a {
        // Without a trim of the whole chunk that still counts, only what is known by itself has anything to say.
        let all = (self.base() > forgotten).then(|| u16::try_from(BLOCKS_PER_CHUNK).expect("1024"));
        let every = (0..all.unwrap_or(0)).map(move |block| (block, self.place(block)));
        let own = self.blocks().take_while(move |_| all.is_none());
        every.chain(own).filter(move |(_, place)| {
            place.location != Slot::HOLE && (place.location != Slot::TRIMMED || place.version > forgotten)
        })
    }
}

/// splitmix64's finalizer over version, block and state. Members of different builds compare these: it may
/// not change.
fn block_digest(block: u16, held: Place) -> u64 {
    let state: u64 = match held.location {
        Slot::TRIMMED => 1,
        Slot::LOST => 2,
        _ => 0,
    };
    let place = (u64::from(block) << 2 | state).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = held.version.0 ^ place;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

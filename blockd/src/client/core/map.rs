//! Where a volume's chunks live, in the core's own numbers.

use super::types::Peer;
use crate::{ClientError, ErrorKind};
use proto::control::{DiskPlace, Lease, MemberState};
use proto::limits::{MAX_GROUPS, REPLICAS};
use proto::placement::group_of;
use proto::{ChunkId, ChunkIndex, DiskId, GroupEpoch, VolumeId};
use std::collections::HashMap;

/// The in-sync members of one group. A member's place here is its *slot*, a bit in the masks of pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupPeers {
    peers: [Peer; REPLICAS],
    len: u8,
    pub epoch: GroupEpoch,
}

impl GroupPeers {
    pub fn peers(&self) -> &[Peer] {
        &self.peers[..usize::from(self.len)]
    }

    /// A mask with every slot's bit.
    pub fn all(&self) -> u8 {
        (1 << self.len) - 1
    }

    pub fn slot_of(&self, peer: Peer) -> Option<u8> {
        (0..self.len).find(|&slot| self.peers[usize::from(slot)] == peer)
    }
}

/// A volume's groups and the disks in them.
#[derive(Debug)]
pub(super) struct Map {
    volume: VolumeId,
    /// Turns with each writer, so that over a volume's lives every copy gets read.
    turn: u32,
    pub groups: Vec<GroupPeers>,
    /// By [`Peer`].
    pub places: Vec<DiskPlace>,
}

impl Map {
    /// Checks the lease's map and numbers its disks. A group with fewer in-sync members than the pool asks
    /// makes the volume unavailable.
    pub fn of(lease: &Lease) -> Result<Self, ClientError> {
        let map = &lease.map;
        if map.groups.is_empty() || map.groups.len() > MAX_GROUPS as usize {
            return Err(ClientError::new(ErrorKind::Invalid, "the pool's map has no groups, or too many"));
        }
        let mut numbers: HashMap<DiskId, Peer> = HashMap::new();
        let mut places = Vec::new();
        let mut groups = Vec::with_capacity(map.groups.len());
        for group in &map.groups {
            let mut peers = GroupPeers { peers: [Peer(0); REPLICAS], len: 0, epoch: group.epoch };
            for member in group.members.iter().filter(|member| member.state == MemberState::InSync) {
                if usize::from(peers.len) == REPLICAS {
                    let why = format!("group {} has more than {REPLICAS} in-sync members", group.id);
                    return Err(ClientError::new(ErrorKind::Invalid, why));
                }
                let place = map.place(member.disk).ok_or_else(|| {
                    let why =
                        format!("the map names disk {} in group {} but no place", member.disk, group.id);
                    ClientError::new(ErrorKind::Invalid, why)
                })?;
                let next = Peer(u16::try_from(places.len()).map_err(|_| {
                    ClientError::new(ErrorKind::Invalid, "the pool has more disks than a writer can number")
                })?);
                let peer = *numbers.entry(member.disk).or_insert_with(|| {
                    places.push(place.clone());
                    next
                });
                peers.peers[usize::from(peers.len)] = peer;
                peers.len += 1;
            }
            if peers.len == 0 || u32::from(peers.len) < map.min_in_sync {
                let why = format!(
                    "group {} has {} in-sync members and writes need {}: bring its disks back",
                    group.id, peers.len, map.min_in_sync
                );
                return Err(ClientError::new(ErrorKind::Unavailable, why));
            }
            groups.push(peers);
        }
        Ok(Self { volume: lease.volume, turn: lease.epoch.0, groups, places })
    }

    /// The number of a chunk's group, an index into `groups`.
    pub fn group_index(&self, chunk: ChunkIndex) -> u32 {
        let groups = u32::try_from(self.groups.len()).expect("checked against MAX_GROUPS");
        group_of(ChunkId { volume: self.volume, index: chunk }, groups).0
    }

    pub fn group(&self, index: u32) -> &GroupPeers {
        &self.groups[index as usize]
    }

    /// The slot that a chunk's reads start at: fixed by the chunk while the volume is open, so that its
    /// member's caches are warm, and spread over members by hash. The next writer reads from the next member:
    /// a copy that went bad is then found while the others are good, even where nothing scrubs.
    pub fn read_slot(&self, chunk: ChunkIndex, group: u32) -> u8 {
        let len = self.group(group).len;
        let spread = (chunk.0.wrapping_mul(0x9e37_79b9) >> 16).wrapping_add(self.turn) % u32::from(len);
        u8::try_from(spread).expect("below a u8")
    }
}

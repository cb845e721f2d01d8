//! What the control plane tells the data path: where a volume's groups live, and by which right it writes.

use crate::ids::{ChunkId, ChunkIndex, DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use crate::limits::TOKEN_BYTES;
use crate::placement::group_of;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// A disk's place: who holds it and where its chunk server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPlace {
    pub disk: DiskId,
    pub node: NodeId,
    pub addr: SocketAddr,
}

/// A member's standing in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// Has everything; every ack waits for it.
    InSync,
    /// Gets new writes while a survivor streams it the old ones.
    CatchingUp,
    /// Left the in-sync set; holds something old.
    Out,
}

/// One of a group's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub disk: DiskId,
    pub state: MemberState,
    /// The member whose place this one takes when it joins, which leaves the group then. Until it joined.
    pub replaces: Option<DiskId>,
}

impl Member {
    /// A member in sync, that replaces nobody.
    pub fn in_sync(disk: DiskId) -> Self {
        Self { disk, state: MemberState::InSync, replaces: None }
    }
}

/// A replica group: the disks that hold its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: GroupId,
    pub epoch: GroupEpoch,
    pub members: Vec<Member>,
}

impl Group {
    /// A disk's membership, if it is a member.
    pub fn member(&self, disk: DiskId) -> Option<&Member> {
        self.members.iter().find(|member| member.disk == disk)
    }

    /// The members that have everything.
    pub fn in_sync(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.state == MemberState::InSync)
    }

    /// Whether nothing is missing or on its way: all members are in sync.
    pub fn is_whole(&self) -> bool {
        self.members.iter().all(|member| member.state == MemberState::InSync)
    }
}

/// What a member's copy of a group was made from when it joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    pub group: GroupId,
    /// The member.
    pub disk: DiskId,
    /// The disk that it was copied from, and in which of its lives: what that one had lost before, the copy
    /// lacks.
    pub source: DiskId,
    pub incarnation: u64,
}

/// The pool's layout: every group and every disk. `groups[i].id` is `i`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolMap {
    pub groups: Vec<Group>,
    pub disks: Vec<DiskPlace>,
    /// In order of group and disk; of members that joined by a catch-up.
    pub copies: Vec<Copied>,
    /// Below this many in-sync members, writes wait.
    pub min_in_sync: u32,
    /// Grows with every change of the map.
    pub version: u64,
}

impl PoolMap {
    /// The group that holds a chunk.
    pub fn group(&self, volume: VolumeId, chunk: ChunkIndex) -> &Group {
        let groups = u32::try_from(self.groups.len()).expect("a pool has fewer than 2^32 groups");
        &self.groups[group_of(ChunkId { volume, index: chunk }, groups).0 as usize]
    }

    /// Where a disk's chunk server listens, if the control plane knows the disk.
    pub fn place(&self, disk: DiskId) -> Option<&DiskPlace> {
        self.disks.iter().find(|place| place.disk == disk)
    }
}

/// The right to write one volume: what an open at the control plane returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub volume: VolumeId,
    pub epoch: VolumeEpoch,
    pub size_bytes: u64,
    pub map: PoolMap,
}

/// The pool's shared secret between daemons on loopback: made at random by `ashlar up`, never defaulted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PoolToken(pub [u8; TOKEN_BYTES]);

impl fmt::Debug for PoolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolToken(redacted)")
    }
}

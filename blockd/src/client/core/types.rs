//! What goes into a volume's core and what comes out.

use crate::ClientError;
use crate::client::VolumeOp;
use bytes::Bytes;
use proto::control::PoolMap;
use proto::message::{Reply, Request};
use proto::{DiskId, GroupEpoch, GroupId};
use std::net::SocketAddr;

/// A member disk of the volume's groups, as one core numbers them: 0, 1, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u16);

/// An event for a core.
#[derive(Debug, Clone)]
pub enum CoreInput {
    /// A user's operation. `id` is the caller's and comes back in [`CoreOutput::Complete`]; it must not
    /// be one that is still in progress.
    Submit { id: u64, op: VolumeOp },
    /// The connection asked for last by [`CoreOutput::Connect`] stands.
    Connected(Peer),
    /// That connection could not be made, or is gone. Nothing of it may be delivered after this.
    Disconnected(Peer),
    /// A frame from the peer's present connection, in order.
    Reply(Peer, Reply),
    /// The answer to [`CoreOutput::Report`] or [`CoreOutput::WantMap`], or a map that came unasked.
    Map(PoolMap),
    /// The other answer to those: there is no newer map, or the control plane can't be asked now.
    NoMap,
    /// Time has passed: due at `VolumeCore::next_deadline`, harmless
    /// at any other time. The first one starts the core.
    Tick,
}

/// What is wrong with a member that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// It is gone, or failed: nothing in its groups goes on before it is out.
    Failed,
    /// It answers, so late that all wait for it.
    Slow,
}

/// What a driver does for a core, in order.
#[derive(Debug, Clone)]
pub enum CoreOutput {
    /// Connect to a disk's chunk server; answer with `Connected` or `Disconnected`. Any older connection
    /// of this peer is dropped first, and nothing more of it delivered.
    Connect { peer: Peer, disk: DiskId, addr: SocketAddr },
    /// Drop the peer's connection; no `Disconnected` is due for it.
    Disconnect(Peer),
    /// Send a request on the peer's connection, in order.
    Send(Peer, Request),
    /// Ask the control plane to take a failed or slow disk out of these groups, unless their epochs have changed.
    /// To be answered with `Map` or `NoMap`; until then no other question is asked.
    Report { disk: DiskId, groups: Vec<(GroupId, GroupEpoch)>, complaint: Complaint, why: String },
    /// Ask the control plane for the map, if it is newer than this version. Answered as `Report`.
    WantMap { version: u64 },
    /// An operation is done. Reads give their bytes, all others `None`.
    Complete { id: u64, result: Result<Option<Bytes>, ClientError> },
    /// The volume serves from now on, or never will: the core is then of no more use. Comes once.
    Opened(Result<(), ClientError>),
}

/// Counts since the core was made, and sizes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreStats {
    /// Operations that are submitted and not complete.
    pub operations: usize,
    /// Blocks rewritten by the last open, so that all members agree.
    pub reconciled_blocks: u64,
    /// Blocks that were bad on one member and written back from another.
    pub repaired_blocks: u64,
    /// Blocks that were read bad from a member.
    pub corrupt_blocks: u64,
    pub reconnects: u64,
    /// Members that are not connected now.
    pub members_away: usize,
    /// Members that came back without what they had acked, or whose disks failed.
    pub failed_members: u64,
    /// Members reported to the control plane.
    pub reports: u64,
    /// Of those reports, the ones of slow members.
    pub slow_reports: u64,
    /// Members that left all their groups.
    pub evicted_members: u64,
    /// The version of the map in use.
    pub map_version: u64,
}

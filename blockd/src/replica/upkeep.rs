//! What catch-up and scrub ask: what is held, and to take what another member holds.
//!
//! A copy has no writer, so its right comes from elsewhere: the volume must be open to repair on the same
//! connection, the frame must be of the group's present membership, and its version of no epoch that the
//! volume's fence has not reached: no frame can put a version here that every later write would lose to.

use super::limits::DIGEST_CHUNKS;
use super::session::Opened;
use super::{Log, Refusal, Replica, Waiting, refuse};
use crate::replica::ConnId;
use crate::store::{ChunkRun, Event, Session, VolumeEntry, WriteKind};
use proto::limits::{MAX_GROUPS, MAX_VOLUME_ENTRIES};
use proto::message::{
    BlockRange, BlockState, LIST_END, ListEntry, ListKind, OpenMode, ReplyBody, RequestBody, VolumeState,
};
use proto::placement::group_of;
use proto::{ChunkId, ChunkIndex, ErrorCode, GroupEpoch, GroupId, Version, VolumeId};

impl<L: Log> Replica<L> {
    /// Answers one of these requests at once, or gives it to the store.
    pub(super) fn serve_upkeep(
        &mut self,
        conn: ConnId,
        sequence: u64,
        epoch: GroupEpoch,
        body: RequestBody,
    ) -> Result<Option<ReplyBody>, Refusal> {
        let waiting = Waiting::Request { conn, sequence };
        match body {
            RequestBody::AdoptGroup { group } => {
                if group.0 >= MAX_GROUPS {
                    return refuse(ErrorCode::BadRequest, format!("no pool has a group {group}"));
                }
                self.check_epoch(group, epoch)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::AdoptGroup { ticket, group, epoch });
                Ok(None)
            }
            RequestBody::ClearGroup { group, groups } => {
                if groups > MAX_GROUPS || group.0 >= groups {
                    let why = format!("no pool of {groups} groups has a group {group}");
                    return refuse(ErrorCode::BadRequest, why);
                }
                // An order that was overtaken must not take away what came since: the disk may be a member
                // again, and that is always at a higher epoch.
                self.check_epoch(group, epoch)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::ClearGroup { ticket, group, groups, epoch });
                Ok(None)
            }
            RequestBody::Volumes { cursor } => Ok(Some(self.volumes(cursor))),
            RequestBody::Digests { volume, group, groups, cursor } => {
                self.repairing(conn, volume, Some(groups))?;
                self.check_epoch(group, epoch)?;
                Ok(Some(self.digests(volume, (group, groups), cursor)?))
            }
            RequestBody::ListChunk { volume, chunk } => {
                let opened = self.repairing(conn, volume, None)?;
                self.check_chunk(&opened, volume, chunk, epoch)?;
                let runs = self.store.chunk_runs(volume, chunk);
                let entries = runs.iter().map(|run| list_entry(chunk, run)).collect();
                Ok(Some(ReplyBody::List { entries, next_cursor: LIST_END }))
            }
            RequestBody::CopyIn { range, version, expect, crcs, data } => {
                let session = self.check_copy(conn, sequence, (&range, version), epoch)?;
                if let Some(expect) = expect {
                    self.check_expected(&range, version, expect)?;
                }
                let (ticket, kind) = (self.ticket(waiting), WriteKind::Repair);
                self.tell(Event::Write { ticket, session, range, version, crcs, data, kind });
                Ok(None)
            }
            RequestBody::CopyTrim { range, version } => {
                let session = self.check_copy(conn, sequence, (&range, version), epoch)?;
                let (ticket, kind) = (self.ticket(waiting), WriteKind::Repair);
                self.tell(Event::Trim { ticket, session, range, version, kind });
                Ok(None)
            }
            RequestBody::Fence { volume, epoch } => {
                self.repairing(conn, volume, None)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::Fence { ticket, volume, epoch });
                Ok(None)
            }
            RequestBody::Verify { range } => {
                let opened = self.repairing(conn, range.volume, None)?;
                self.check_group(&opened, &range, epoch)?;
                let ticket = self.ticket(Waiting::Verify { conn, sequence });
                self.tell(Event::Verify { ticket, range });
                Ok(None)
            }
            _ => refuse(ErrorCode::BadRequest, "this request is no server's to answer"),
        }
    }

    /// The volume as this connection opened it to repair, with as many groups as it now says.
    fn repairing(&self, conn: ConnId, volume: VolumeId, groups: Option<u32>) -> Result<Opened, Refusal> {
        let opened = self.opened(conn, volume)?;
        if opened.mode != OpenMode::Repair {
            return refuse(ErrorCode::BadRequest, format!("volume {volume} is not open to repair"));
        }
        if groups.is_some_and(|groups| groups != opened.groups) {
            let why = format!("volume {volume} was opened for a pool of {} groups", opened.groups);
            return refuse(ErrorCode::BadRequest, why);
        }
        if self.store.volume_info(volume).deleted {
            return refuse(ErrorCode::Deleted, format!("volume {volume} was deleted"));
        }
        Ok(opened)
    }

    pub(super) fn is_repairing(&self, conn: ConnId, volume: VolumeId) -> bool {
        self.opened(conn, volume).is_ok_and(|opened| opened.mode == OpenMode::Repair)
    }

    /// What a member in sync knows as stable holds of one that has just caught up with it, too. Without it,
    /// the volume's next writer would have to compare everything since this disk last heard of one.
    pub(super) fn copy_horizon(
        &mut self,
        conn: ConnId,
        volume: VolumeId,
        stable: Version,
    ) -> Result<(), Refusal> {
        self.repairing(conn, volume, None)?;
        let fence = self.store.volume_info(volume).fence;
        if stable.epoch() > fence {
            let why = format!("the horizon {stable} is above the fence of volume {volume}, {fence}");
            return refuse(ErrorCode::BadRequest, why);
        }
        self.tell(Event::Horizon { volume, settled: stable, stable, whole: false });
        Ok(())
    }

    fn check_copy(
        &mut self,
        conn: ConnId,
        sequence: u64,
        (range, version): (&BlockRange, Version),
        epoch: GroupEpoch,
    ) -> Result<Session, Refusal> {
        let opened = self.repairing(conn, range.volume, None)?;
        let fence = self.store.volume_info(range.volume).fence;
        if version.epoch() > fence {
            let why = format!("version {version} is above the fence of volume {}, {fence}", range.volume);
            return refuse(ErrorCode::BadRequest, why);
        }
        self.check_group(&opened, range, epoch)?;
        Ok(Session { client: opened.client, sequence })
    }

    /// Between members in sync, a trim is forgotten once all have it. A copy that was read before it and
    /// comes after that would bring back what was trimmed. So it must find what it is to take the place of,
    /// and nothing at all only if no trim that it overtook can have been forgotten. (A write that waits for
    /// its batch is not seen here, and need not be: it is applied before the copy, and versions decide.)
    fn check_expected(&self, range: &BlockRange, version: Version, expect: Version) -> Result<(), Refusal> {
        let runs = self.store.chunk_runs(range.volume, range.chunk);
        let held = |block: u16| {
            let run = runs.iter().find(|run| (run.first..run.first + run.count).contains(&block));
            run.map_or(Version::ZERO, |run| run.version)
        };
        let forgotten = self.store.volume_info(range.volume).forgotten;
        let nothing = expect == Version::ZERO;
        if nothing && version <= forgotten
            || (range.first..range.first + range.count).any(|b| held(b) != expect)
        {
            return refuse(ErrorCode::Changed, "what is held is not what the copy was to take the place of");
        }
        Ok(())
    }

    fn volumes(&self, cursor: u64) -> ReplyBody {
        let (held, next) = self.store.volumes(VolumeId(cursor), MAX_VOLUME_ENTRIES as usize);
        let state =
            |held: VolumeEntry| VolumeState { volume: held.volume, fence: held.fence, deleted: held.deleted };
        let next = next.map_or(LIST_END, |volume| volume.0);
        ReplyBody::Volumes { volumes: held.into_iter().map(state).collect(), next }
    }

    fn digests(
        &self,
        volume: VolumeId,
        (group, groups): (GroupId, u32),
        cursor: u64,
    ) -> Result<ReplyBody, Refusal> {
        let Ok(cursor) = u32::try_from(cursor) else {
            return refuse(ErrorCode::BadRequest, "a cursor that no page of digests ends with");
        };
        let wanted = |index: ChunkIndex| group_of(ChunkId { volume, index }, groups) == group;
        let (chunks, next) = self.store.digests(volume, ChunkIndex(cursor), DIGEST_CHUNKS, &wanted);
        Ok(ReplyBody::Digests { chunks, next: next.map_or(LIST_END, |chunk| u64::from(chunk.0)) })
    }
}

/// A block whose copy here is bad counts as data: what matters to others is its version.
fn list_entry(chunk: ChunkIndex, run: &ChunkRun) -> ListEntry {
    let kind = if run.state == BlockState::Trimmed { ListKind::Trimmed } else { ListKind::Data };
    ListEntry { chunk, first: run.first, count: run.count, version: run.version, kind }
}

//! Promise 2, looked at inside: what a replica acked before a flush began is past its disk's cache when the flush
//! is acked.

use crate::control::GROUPS;
use crate::scenario::Run;
use crate::world::{Violation, World, violation};
use proto::message::{ReplyBody, Request, RequestBody};
use proto::placement::group_of;
use proto::{ChunkId, GroupEpoch, VolumeId};
use std::collections::{BTreeMap, VecDeque};

/// Acks that are kept for a flush that may ask for them.
const MAX_ACKS: usize = 4096;

/// A volume's chunks in one group. A server may be in sync in one group and out of another, and what it acks
/// where it is out counts for nothing.
type Part = (VolumeId, u32);

#[derive(Debug)]
struct Asked {
    part: Part,
    epoch: GroupEpoch,
    /// How far the disk's writes were at the answer.
    mark: Option<u64>,
}

/// When each server acked writes of each volume and group, and how far its disk's writes were then.
#[derive(Debug, Default)]
pub struct Acks {
    /// Writes and trims whose answers have not come, by connection and sequence.
    asked: BTreeMap<(u64, u64), Asked>,
    given: BTreeMap<(usize, Part), VecDeque<(u64, u64)>>,
}

impl World {
    /// A server takes a request.
    pub fn note_asked(&mut self, conn: u64, request: &Request) {
        if let RequestBody::Write { range, .. } | RequestBody::Trim { range, .. } = &request.body {
            let group = group_of(ChunkId { volume: range.volume, index: range.chunk }, GROUPS).0;
            let asked = Asked { part: (range.volume, group), epoch: request.group_epoch, mark: None };
            self.acks.asked.insert((conn, request.sequence), asked);
        }
    }

    /// A server answers one.
    pub fn note_answered(&mut self, conn: u64, sequence: u64, body: &ReplyBody) {
        let Some(server) = self.conns.get(&conn).map(|conn| conn.server) else { return };
        if *body == ReplyBody::Ack {
            let mark = self.servers[server].disk.mark();
            self.acks.asked.entry((conn, sequence)).and_modify(|asked| asked.mark = Some(mark));
        } else {
            self.acks.asked.remove(&(conn, sequence));
        }
    }

    /// The answer has come.
    pub fn note_heard(&mut self, conn: u64, server: usize, sequence: u64) {
        let asked = self.acks.asked.remove(&(conn, sequence));
        let Some(Asked { part, epoch, mark: Some(mark) }) = asked else { return };
        if self.custody.may_have_been_out(part.1, epoch) {
            return;
        }
        let moment = self.moment();
        let given = self.acks.given.entry((server, part)).or_default();
        given.push_back((moment, mark));
        if given.len() > MAX_ACKS {
            given.pop_front();
        }
    }

    /// Forgets what a dead server said.
    pub fn forget_acks(&mut self, server: usize) {
        self.acks.given.retain(|(of, _), _| *of != server);
    }
}

impl Run {
    /// A flush of the volume that began then is acked.
    pub fn check_flushed(&mut self, volume: VolumeId, began: u64) -> Result<(), Violation> {
        let World { servers, custody, acks, .. } = &mut self.world;
        for (&(server, (of, group)), given) in &mut acks.given {
            let state = &servers[server];
            if of != volume
                || !custody.in_sync(group).any(|member| member == server)
                || state.since > began
                || state.replica.is_none()
                || custody.is_tampered(server)
            {
                continue;
            }
            let durable = state.disk.durable_mark();
            let mut needed = None;
            while let Some((_, mark)) = given.pop_front_if(|(moment, _)| *moment < began) {
                needed = Some(mark);
            }
            if needed.is_some_and(|needed| needed > durable) {
                let what =
                    format!("a flush of volume {volume} is acked, and server {server} has not done it");
                return violation("durable", what);
            }
        }
        Ok(())
    }
}

//! Promise 2, looked at inside: what a replica acked before a flush began is past its disk's cache when the flush
//! is acked.

use crate::scenario::Run;
use crate::world::{Violation, World, violation};
use proto::VolumeId;
use proto::message::{ReplyBody, Request, RequestBody};
use std::collections::{BTreeMap, VecDeque};

/// Acks that are kept for a flush that may ask for them.
const MAX_ACKS: usize = 4096;

/// When each server acked writes of each volume, and how far its disk's writes were then.
#[derive(Debug, Default)]
pub struct Acks {
    /// Writes and trims whose answers have not come, and how far the disk's writes were at the answer.
    asked: BTreeMap<(u64, u64), (VolumeId, Option<u64>)>,
    given: BTreeMap<(usize, VolumeId), VecDeque<(u64, u64)>>,
}

impl World {
    /// A server takes a request.
    pub fn note_asked(&mut self, conn: u64, request: &Request) {
        if let RequestBody::Write { range, .. } | RequestBody::Trim { range, .. } = &request.body {
            self.acks.asked.insert((conn, request.sequence), (range.volume, None));
        }
    }

    /// A server answers one.
    pub fn note_answered(&mut self, conn: u64, sequence: u64, body: &ReplyBody) {
        let Some(server) = self.conns.get(&conn).map(|conn| conn.server) else { return };
        if *body == ReplyBody::Ack {
            let mark = self.servers[server].disk.mark();
            self.acks.asked.entry((conn, sequence)).and_modify(|asked| asked.1 = Some(mark));
        } else {
            self.acks.asked.remove(&(conn, sequence));
        }
    }

    /// The answer has come.
    pub fn note_heard(&mut self, conn: u64, server: usize, sequence: u64) {
        let Some((volume, Some(mark))) = self.acks.asked.remove(&(conn, sequence)) else { return };
        let moment = self.moment();
        let given = self.acks.given.entry((server, volume)).or_default();
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
        for server in 0..self.world.servers.len() {
            let state = &self.world.servers[server];
            let in_sync = (0..crate::control::GROUPS)
                .any(|group| self.world.custody.in_sync(group).any(|s| s == server));
            if !in_sync
                || state.since > began
                || state.replica.is_none()
                || self.world.custody.is_tampered(server)
            {
                continue;
            }
            let durable = state.disk.durable_mark();
            let Some(given) = self.world.acks.given.get_mut(&(server, volume)) else { continue };
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

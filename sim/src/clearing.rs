//! A keeper clears what its disk holds of groups that it left, and then the disk may be a member of them again.
//!
//! Trims are forgotten once a group is whole without the disk; with its old copy it would bring back what was
//! trimmed. So what is checked is that a copy that is said to be cleared is not there any more.

use crate::control::GROUPS;
use crate::net::server_node;
use crate::world::{Client, TOKEN, Violation, World};
use meta::command::Command;
use proto::message::{Reply, ReplyBody, Request, RequestBody};
use proto::placement::group_of;
use proto::{ChunkId, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeId};

/// A conversation with the keeper's own chunk server.
#[derive(Debug)]
pub struct Clearing {
    conn: u64,
    disk: DiskId,
    /// The next one last, with the epoch at which the disk is known to be no member.
    left: Vec<(GroupId, GroupEpoch)>,
    cleared: Vec<(GroupId, GroupEpoch)>,
}

impl World {
    /// Begins to clear what the server's disk left, if there is anything. Says whether there is.
    pub fn start_clearing(&mut self, server: usize) -> bool {
        let shape = self.control.shape();
        let disk = self.servers[server].id;
        let left = shape.left.iter().filter(|(_, of)| *of == disk);
        let groups = left.filter_map(|(id, _)| shape.map.groups.iter().find(|group| group.id == *id));
        let left: Vec<(GroupId, GroupEpoch)> = groups
            .filter(|group| group.member(disk).is_none())
            .map(|group| (group.id, group.epoch))
            .collect();
        if left.is_empty() {
            return false;
        }
        if self.servers[server].keeper.clearing.is_none() {
            let conn = self.connect(server, Client::Clearer(server), server_node(server));
            let clearing = Clearing { conn, disk, left, cleared: Vec::new() };
            self.servers[server].keeper.clearing = Some(clearing);
        }
        true
    }

    /// Ends it, however far it is.
    pub fn stop_clearing(&mut self, server: usize) -> Option<Clearing> {
        let clearing = self.servers[server].keeper.clearing.take()?;
        self.drop_conn(clearing.conn);
        Some(clearing)
    }

    fn clearer_asks(&mut self, conn: u64, group_epoch: GroupEpoch, body: RequestBody) {
        // Each answer comes before the next question.
        let request = Request { sequence: 1, settled: Version::ZERO, group_epoch, body };
        self.send_request(conn, &request);
    }

    fn is_clearers(&self, server: usize, conn: u64) -> bool {
        self.servers[server].keeper.clearing.as_ref().is_some_and(|clearing| clearing.conn == conn)
    }

    pub fn clearer_connected(&mut self, server: usize, conn: u64) {
        if self.is_clearers(server, conn) {
            let disk = self.servers[server].id;
            let hello = RequestBody::Hello { token: TOKEN.0, client: ClientId([7; 16]), disk };
            self.clearer_asks(conn, GroupEpoch(0), hello);
        }
    }

    pub fn clearer_disconnected(&mut self, server: usize, conn: u64) {
        if self.is_clearers(server, conn) {
            self.servers[server].keeper.clearing = None;
        }
    }

    pub fn clearer_hears(&mut self, server: usize, conn: u64, reply: &Reply) {
        let Some(clearing) = &mut self.servers[server].keeper.clearing else { return };
        if clearing.conn != conn {
            return;
        }
        match reply.body {
            ReplyBody::Hello(_) => {}
            ReplyBody::Ack => {
                let (group, epoch) = clearing.left.pop().expect("a group was asked for");
                clearing.cleared.push((group, epoch));
                self.check_cleared(server, group);
            }
            // The epoch is a former one: the map has to be looked at again.
            _ => clearing.left.clear(),
        }
        let clearing = self.servers[server].keeper.clearing.as_ref();
        if let Some(&(group, epoch)) = clearing.and_then(|clearing| clearing.left.last()) {
            self.clearer_asks(conn, epoch, RequestBody::ClearGroup { group, groups: GROUPS });
        } else {
            self.cleared(server);
        }
    }

    fn cleared(&mut self, server: usize) {
        let Some(Clearing { disk, cleared: groups, .. }) = self.stop_clearing(server) else { return };
        if !groups.is_empty() && self.server_reaches_control(server) {
            self.totals.cleared += groups.len() as u64;
            self.change(Command::GroupsCleared { disk, groups });
            self.rouse_planner();
        }
    }

    /// A server says that it holds nothing of a group any more.
    fn check_cleared(&mut self, server: usize, group: GroupId) {
        let Some(replica) = self.servers[server].replica.as_ref() else { return };
        let volumes: Vec<VolumeId> = self.writers.iter().map(|writer| writer.volume).collect();
        let store = replica.store();
        for volume in volumes {
            let of_it =
                |chunk: &proto::ChunkIndex| group_of(ChunkId { volume, index: *chunk }, GROUPS) == group;
            let mut chunks = (0..MOST_CHUNKS).map(proto::ChunkIndex).filter(of_it);
            if let Some(chunk) = chunks.find(|chunk| !store.chunk_runs(volume, *chunk).is_empty()) {
                let what = format!(
                    "server {server} has cleared group {group}, and holds chunk {} of volume {volume}",
                    chunk.0
                );
                self.broken.get_or_insert(Violation { checker: "cleared", what });
                return;
            }
        }
    }
}

/// More chunks than any volume here has.
const MOST_CHUNKS: u32 = 32;

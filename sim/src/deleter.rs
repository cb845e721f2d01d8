//! The deleter: removes deleted volumes' data from the disks, then their records, as the control plane's node
//! does; and what is promised of that.
//!
//! Nothing of a deleted volume is left on any disk that counts, nothing is acked to its writers any more, and
//! a new volume of the same name begins empty (its own oracle sees to that: every write has a number).

use crate::fault::SimFault;
use crate::net::CONTROL;
use crate::scenario::Run;
use crate::tenant::{Doing, Tenant};
use crate::world::{Client, Due, Event, MILLISECOND, SECOND, TOKEN, Violation, World, violation};
use blockd::ClientError;
use bytes::Bytes;
use meta::command::{Command, Response};
use proto::control::MemberState;
use proto::message::{Reply, ReplyBody, Request, RequestBody};
use proto::{ChunkIndex, ClientId, DiskId, GroupEpoch, Version, VolumeEpoch, VolumeId};
use std::collections::{BTreeMap, VecDeque};

/// How long one disk may take to answer.
const TIMEOUT: u64 = 15 * SECOND;
/// How long a failed try is left alone.
const RETRY: u64 = 5 * SECOND;

/// What the deleter is at.
#[derive(Debug, Default)]
pub struct Deleter {
    waiting: VecDeque<(VolumeId, VolumeEpoch)>,
    /// Disks that have not said yet that they did it, of the first of those that wait; the last is asked.
    left: Vec<DiskId>,
    conn: Option<u64>,
    /// Changes with every try, so that what was meant for another one is known.
    turn: u64,
    busy: bool,
    /// Volumes whose records are gone.
    pub finished: Vec<VolumeId>,
}

impl Deleter {
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl World {
    /// A volume was deleted: its data is to go.
    pub fn delete_data(&mut self, volume: VolumeId, epoch: VolumeEpoch) {
        self.deleter.waiting.push_back((volume, epoch));
        if !self.deleter.busy {
            self.try_delete();
        }
    }

    /// Begins with the first volume that waits.
    fn try_delete(&mut self) {
        self.deleter.turn += 1;
        self.deleter.busy = !self.deleter.waiting.is_empty();
        if !self.deleter.busy {
            return;
        }
        if self.control.down_until > self.now {
            return self.retry_delete();
        }
        let map = self.control.map();
        // A disk that is out everywhere is not waited for: when it catches up, it is told what was deleted.
        let counts = |disk: DiskId| {
            let mut members = map.groups.iter().filter_map(|group| group.member(disk));
            members.any(|member| member.state != MemberState::Out)
        };
        self.deleter.left = map.disks.iter().map(|place| place.disk).filter(|&disk| counts(disk)).collect();
        self.delete_next();
    }

    fn delete_next(&mut self) {
        let Some(&disk) = self.deleter.left.last() else { return self.finish_delete() };
        let Some(&server) = self.homes.get(&disk) else { return self.retry_delete() };
        let conn = self.connect(server, Client::Deleter, CONTROL);
        self.deleter.conn = Some(conn);
        self.deleter.turn += 1;
        self.after(TIMEOUT, Event::DeleterWake(self.deleter.turn));
    }

    fn finish_delete(&mut self) {
        let Some(&(volume, _)) = self.deleter.waiting.front() else { return };
        if self.control.down_until > self.now {
            return self.retry_delete();
        }
        self.control.run(Command::FinishDelete { volume }).expect("the volume is being deleted");
        self.trace.say(self.now, || format!("volume {volume} is deleted"));
        self.deleter.waiting.pop_front();
        self.deleter.finished.push(volume);
        self.try_delete();
    }

    fn hang_up_on_deleter(&mut self) {
        if let Some(conn) = self.deleter.conn.take() {
            self.drop_conn(conn);
        }
    }

    fn retry_delete(&mut self) {
        self.hang_up_on_deleter();
        self.deleter.turn += 1;
        self.deleter.waiting.rotate_left(1);
        self.deleter.left.clear();
        self.after(RETRY, Event::DeleterWake(self.deleter.turn));
    }

    /// An answer is late, or it is time for another try.
    pub fn deleter_wakes(&mut self, turn: u64) {
        if self.deleter.turn != turn {
            return;
        }
        if self.deleter.conn.is_some() {
            self.retry_delete();
        } else {
            self.try_delete();
        }
    }

    fn deleter_asks(&mut self, conn: u64, sequence: u64, body: RequestBody) {
        let request = Request { sequence, settled: Version::ZERO, group_epoch: GroupEpoch(0), body };
        self.send_request(conn, &request);
    }

    pub fn deleter_connected(&mut self, conn: u64) {
        if let (true, Some(&disk)) = (self.deleter.conn == Some(conn), self.deleter.left.last()) {
            self.deleter_asks(
                conn,
                1,
                RequestBody::Hello { token: TOKEN.0, client: ClientId([9; 16]), disk },
            );
        }
    }

    pub fn deleter_disconnected(&mut self, conn: u64) {
        if self.deleter.conn == Some(conn) {
            self.deleter.conn = None;
            self.retry_delete();
        }
    }

    pub fn deleter_hears(&mut self, conn: u64, reply: &Reply) {
        let Some(&(volume, epoch)) = self.deleter.waiting.front() else { return };
        if self.deleter.conn != Some(conn) {
            return;
        }
        match reply.body {
            ReplyBody::Hello(_) => self.deleter_asks(conn, 2, RequestBody::DeleteVolume { volume, epoch }),
            ReplyBody::Ack => {
                self.hang_up_on_deleter();
                self.deleter.left.pop();
                self.delete_next();
            }
            _ => self.retry_delete(),
        }
    }

    /// Whether a server that is up has anything of a volume.
    fn has_of(&self, server: usize, volume: VolumeId, chunks: u32) -> bool {
        let Some(replica) = self.servers[server].replica.as_ref() else { return false };
        (0..chunks).any(|chunk| !replica.store().chunk_runs(volume, ChunkIndex(chunk)).is_empty())
    }
}

/// A volume that was deleted, and who still uses it.
#[derive(Debug)]
pub struct Grave {
    pub volume: VolumeId,
    chunks: u32,
    /// When its record was gone.
    finished: Option<u64>,
    doing: BTreeMap<u64, Doing>,
}

impl Grave {
    /// A volume that nobody uses any more.
    pub fn new(volume: VolumeId, chunks: u32) -> Self {
        Self { volume, chunks, finished: None, doing: BTreeMap::new() }
    }
}

impl Run {
    /// A volume is deleted, and its user begins again with a new one of the same name.
    pub fn delete_volume(&mut self, number: usize) -> Option<u64> {
        if self.world.control.down_until > self.world.now || self.tenants[number].writer.is_none() {
            return None;
        }
        let tenant = &self.tenants[number];
        let (name, old, size_bytes, on_full) =
            (tenant.name.clone(), tenant.volume, tenant.size_bytes, tenant.on_full);
        let last = tenant.writers();
        let new = if self.world.fault == SimFault::NameKeepsVolume {
            old
        } else {
            let delete = Command::DeleteVolume { name: name.clone() };
            let Ok(Response::Volume(record)) = self.world.control.run(delete) else {
                unreachable!("a volume that nobody attached can be deleted");
            };
            self.world.delete_data(old, record.epoch);
            self.world.control.create_volume(name.clone(), size_bytes)
        };
        self.world.trace.say(self.world.now, || format!("volume {old} is deleted, {new} takes its name"));
        // One whose machine is cut off may go on and not know.
        let lives_on = self.world.rng.chance(50) && new != old;
        for writer in last {
            let wait = self.world.rng.spread(10 * MILLISECOND, 12);
            if lives_on {
                self.world.due(wait, Due::EndOfZombie(writer));
            } else {
                self.world.kill_writer(writer);
            }
        }
        let tenant =
            std::mem::replace(&mut self.tenants[number], Tenant::new(name, new, size_bytes, on_full));
        let (chunks, mut doing) = (tenant.chunks(), tenant.doing);
        doing.retain(|_, doing| self.world.writers[doing.writer].alive);
        if new != old {
            self.graves.push(Grave { volume: old, chunks, finished: None, doing });
        }
        self.tenant_after(number, 0);
        Some(0)
    }

    /// Deletions that have ended: writers that live on do not know, and try.
    pub fn bury(&mut self) {
        for volume in std::mem::take(&mut self.world.deleter.finished) {
            let moment = self.world.moment();
            let grave = self.graves.iter_mut().find(|grave| grave.volume == volume);
            grave.expect("every deleted volume has a grave").finished = Some(moment);
            self.hog_is_buried(volume);
            let of_it = |writer: &&usize| {
                let writer = &self.world.writers[**writer];
                writer.alive && writer.volume == volume
            };
            let numbers: Vec<usize> = (0..self.world.writers.len()).collect();
            let alive: Vec<usize> = numbers.iter().filter(of_it).copied().collect();
            for writer in alive {
                self.haunt(writer);
            }
        }
    }

    /// A writer of a deleted volume has something to say. Says whether it is one.
    pub fn watch_grave(&mut self, writer: usize) -> Result<bool, Violation> {
        let volume = self.world.writers[writer].volume;
        let Some(grave) = self.graves.iter_mut().find(|grave| grave.volume == volume) else {
            return Ok(false);
        };
        self.world.writers[writer].opened = None;
        let done: Vec<(u64, Result<Option<Bytes>, ClientError>)> =
            std::mem::take(&mut self.world.writers[writer].done);
        for (id, result) in done {
            let doing = grave.doing.remove(&id);
            let late = doing.is_some_and(|doing| grave.finished.is_some_and(|end| doing.began > end));
            if late && result.is_ok() {
                let what = format!("operation {id} on volume {volume} succeeded after it was deleted");
                return violation("deleted", what);
            }
        }
        Ok(true)
    }

    /// A writer of a deleted volume goes on as if nothing had happened.
    fn haunt(&mut self, writer: usize) {
        let volume = self.world.writers[writer].volume;
        let (id, moment) = (self.next_id, self.world.moment());
        self.next_id += 1;
        let doing = Doing::write(writer, moment, self.world.now);
        if let Some(grave) = self.graves.iter_mut().find(|grave| grave.volume == volume) {
            grave.doing.insert(id, doing);
        }
        let data = crate::oracle::stamp(id, 0, 8);
        self.world.submit(writer, id, blockd::client::VolumeOp::Write { offset: 0, data });
    }

    /// When all is well: deleted data is nowhere, its room is given back, and the control plane forgot it.
    pub fn check_deleted(&mut self) -> Result<(), Violation> {
        for grave in &self.graves {
            let volume = grave.volume;
            if grave.finished.is_none() {
                return violation("deleted", format!("volume {volume} is still being deleted"));
            }
            if self.world.control.open_volume(volume).is_ok() {
                return violation("deleted", format!("volume {volume} was deleted, and can be opened"));
            }
            for server in 0..self.world.servers.len() {
                if self.world.has_of(server, volume, grave.chunks) {
                    let what = format!("server {server} holds data of volume {volume}, which was deleted");
                    return violation("deleted", what);
                }
            }
        }
        for server in 0..self.world.servers.len() {
            let Some(replica) = self.world.servers[server].replica.as_ref() else { continue };
            let store = replica.store();
            let of_tenants = self.tenants.iter().map(|tenant| store.volume_stat(tenant.volume).live_blocks);
            let (held, live) = (of_tenants.sum::<u64>() * 4096, store.stat().live_bytes);
            if held != live {
                let what = format!("server {server} counts {live} bytes, and volumes have {held}");
                return violation("deleted", what);
            }
        }
        Ok(())
    }
}

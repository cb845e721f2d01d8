//! A writer's process: a real client core, its clock and its connections.

use crate::clock::SimClock;
use crate::control::MIN_IN_SYNC;
use crate::fault::SimFault;
use crate::net::{CONTROL, writer_node};
use crate::oracle::stamped_by;
use crate::world::{Client, Event, MILLISECOND, SECOND, TOKEN, VOLUME_BYTES, World};
use blockd::ClientError;
use blockd::client::core::{Complaint, CoreInput, CoreOutput, Peer, VolumeCore};
use blockd::client::{OnFull, VolumeConfig, VolumeOp};
use bytes::Bytes;
use meta::command::{Command, Response};
use meta::query::{Answer, Query};
use proto::control::{Lease, PoolMap};
use proto::message::{BlockRange, Reply, Request, RequestBody, WriteKind};
use proto::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{ClientId, DiskId, Version, VolumeId};
use rt::clock::Instant;
use std::collections::BTreeMap;

/// How long a question to the control plane may take.
const CONTROL_TIMEOUT: u64 = SECOND;

/// How long a writer sleeps whose deadline has passed.
const SPIN_WAIT: u64 = 20 * MILLISECOND;

/// What a writer asks the control plane.
#[derive(Debug)]
pub enum Question {
    Change(Command),
    MapSince(u64),
}

/// One writer of one volume, from its start to its end.
pub struct Writer {
    pub core: VolumeCore,
    pub volume: VolumeId,
    pub alive: bool,
    /// A planted bug's, or the core's own, answer to its open.
    pub opened: Option<Result<(), ClientError>>,
    pub done: Vec<(u64, Result<Option<Bytes>, ClientError>)>,
    pub clock: SimClock,
    conns: BTreeMap<u16, u64>,
    /// Groups that it was told have too few members in sync, and since when it knows.
    pub short: BTreeMap<u32, u64>,
    /// When the earliest wake-up that is queued comes.
    wake_at: u64,
}

/// The versions under which each write's blocks were sent, by the write and the volume's block.
#[derive(Debug, Default)]
pub struct Writing {
    /// By write and block: the version it was first sent with.
    writes: BTreeMap<(u64, u64), Version>,
    /// By volume and block: the highest version that a trim of it was sent with.
    trims: BTreeMap<(VolumeId, u64), Version>,
}

impl Writing {
    fn note(&mut self, request: &Request) {
        if let RequestBody::Trim { range, version, .. } = &request.body {
            for block in (first_of(range)..).take(usize::from(range.count)) {
                let trim = self.trims.entry((range.volume, block)).or_default();
                *trim = (*trim).max(*version);
            }
        }
        let RequestBody::Write { range, version, data, kind, .. } = &request.body else { return };
        if *kind == WriteKind::Repair {
            return;
        }
        let first = first_of(range);
        for (block, data) in (first..).zip(data.chunks_exact(BLOCK_LEN)) {
            for sector in data.chunks_exact(512) {
                if let Some(write) = stamped_by(sector) {
                    self.writes.entry((write, block)).or_insert(*version);
                }
            }
        }
    }

    /// Takes out what is known of a write: its blocks and the versions they were first sent with.
    pub fn take(&mut self, write: u64) -> Vec<(u64, Version)> {
        let blocks: Vec<(u64, Version)> = self
            .writes
            .range((write, 0)..=(write, u64::MAX))
            .map(|((_, block), version)| (*block, *version))
            .collect();
        for (block, _) in &blocks {
            self.writes.remove(&(write, *block));
        }
        blocks
    }

    /// Whether a member may hold nothing of a block, not even a tombstone: it was trimmed with a version above
    /// this one.
    pub fn may_be_gone(&self, volume: VolumeId, block: u64, version: Version) -> bool {
        self.trims.get(&(volume, block)).is_some_and(|trim| *trim > version)
    }
}

/// A range's first block, counted from its volume's start.
fn first_of(range: &BlockRange) -> u64 {
    u64::from(range.chunk.0) * u64::from(BLOCKS_PER_CHUNK) + u64::from(range.first)
}

impl World {
    /// Starts a writer under a lease; gives its number, or why there can be none.
    pub fn start_writer(&mut self, mut lease: Lease, on_full: OnFull) -> Result<usize, ClientError> {
        let number = self.writers.len();
        let map = lease.map.clone();
        self.garble(&mut lease.map);
        if self.fault == SimFault::LeaseForgetsSize {
            lease.size_bytes = lease.size_bytes.min(VOLUME_BYTES);
        }
        let (volume, token) = (lease.volume, TOKEN);
        let mut client = ClientId([1; 16]);
        client.0[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        let clock = SimClock::new(&mut self.rng);
        let core = VolumeCore::new(VolumeConfig { lease, token, client, on_full, control: None })?;
        self.totals.writers += 1;
        self.writers.push(Writer {
            core,
            volume,
            alive: true,
            opened: None,
            done: Vec::new(),
            clock,
            conns: BTreeMap::new(),
            short: BTreeMap::new(),
            wake_at: u64::MAX,
        });
        self.note_map(number, &map);
        self.tell_writer(number, CoreInput::Tick);
        Ok(number)
    }

    /// Whether a writer's process hears the control plane and is heard.
    pub fn reaches_control(&self, writer: usize) -> bool {
        self.control.down_until <= self.now && self.net.connects(writer_node(writer), CONTROL, self.now)
    }

    pub fn kill_writer(&mut self, number: usize) {
        let writer = &mut self.writers[number];
        if !std::mem::replace(&mut writer.alive, false) {
            return;
        }
        let stats = writer.core.stats();
        self.totals.repaired += stats.repaired_blocks;
        self.totals.reconciled += stats.reconciled_blocks;
        writer.done.clear();
        self.trace.say(self.now, || format!("writer {number} ends"));
        for conn in std::mem::take(&mut self.writers[number].conns).into_values() {
            // What it had sent before may still arrive.
            self.drop_conn(conn);
        }
    }

    pub fn submit(&mut self, writer: usize, id: u64, op: VolumeOp) {
        self.totals.operations += 1;
        self.tell_writer(writer, CoreInput::Submit { id, op });
    }

    /// A writer's clock jumps ahead.
    pub fn jump(&mut self, writer: usize, by: u64) {
        self.writers[writer].clock.jump(by);
        self.tell_writer(writer, CoreInput::Tick);
    }

    pub fn tell_writer(&mut self, number: usize, input: CoreInput) {
        let writer = &mut self.writers[number];
        if !writer.alive {
            return;
        }
        let mut out = Vec::new();
        writer.core.step(writer.clock.read(self.now), input, &mut out);
        for output in out {
            match output {
                CoreOutput::Connect { peer, disk, .. } => self.writer_connects(number, peer, disk),
                CoreOutput::Disconnect(peer) => {
                    if let Some(conn) = self.writers[number].conns.remove(&peer.0) {
                        self.drop_conn(conn);
                    }
                }
                CoreOutput::Send(peer, request) => {
                    if let Some(&conn) = self.writers[number].conns.get(&peer.0) {
                        self.writing.note(&request);
                        self.send_request(conn, &request);
                    }
                }
                CoreOutput::Report { disk, groups, complaint, why } => {
                    let evict = match complaint {
                        Complaint::Failed => Command::EvictDisk { disk, groups, why },
                        Complaint::Slow => Command::EvictSlowDisk { disk, groups, why },
                    };
                    self.ask_control(number, Question::Change(evict));
                }
                CoreOutput::WantMap { version } => self.ask_control(number, Question::MapSince(version)),
                CoreOutput::Complete { id, result } => {
                    self.writers[number].done.push((id, result));
                    self.ready.push(number);
                }
                CoreOutput::Opened(result) => {
                    self.trace.say(self.now, || format!("writer {number} opened: {result:?}"));
                    self.writers[number].opened = Some(result);
                    self.ready.push(number);
                }
            }
        }
        self.sleep(number);
    }

    /// A writer asks the control plane; its question is on its way.
    fn ask_control(&mut self, writer: usize, question: Question) {
        if matches!(question, Question::Change(_)) {
            self.totals.reports += 1;
        }
        let wait = self.rng.below(5 * MILLISECOND);
        self.after(wait, Event::ToControl { writer, question });
    }

    /// A writer's question has come to the control plane, if it could; the answer goes back, if it can.
    pub fn control_hears(&mut self, writer: usize, question: Question) {
        let node = writer_node(writer);
        let heard =
            self.control.down_until <= self.now && self.net.blocked_until(node, CONTROL, self.now).is_none();
        let answer = match question {
            _ if !heard => None,
            Question::Change(command) => self.change(command),
            // As the query says, without reading all of the map for it.
            Question::MapSince(version) if self.control.shape().map.version <= version => None,
            Question::MapSince(version) => match self.control.ask(&Query::MapSince { version }) {
                Some(Answer::Map(map)) => Some(map),
                _ => None,
            },
        };
        let lost = !heard || self.net.blocked_until(CONTROL, node, self.now).is_some() || self.loses_answer();
        let wait = if lost { CONTROL_TIMEOUT } else { self.rng.below(5 * MILLISECOND) };
        let answer = answer.filter(|_| !lost);
        self.after(wait, Event::FromControl { writer, answer });
    }

    /// The control plane's answer has come to a writer.
    pub fn hears_control(&mut self, writer: usize, answer: Option<PoolMap>) {
        let input = answer.map_or(CoreInput::NoMap, |mut map| {
            self.note_map(writer, &map);
            self.garble(&mut map);
            CoreInput::Map(map)
        });
        self.tell_writer(writer, input);
    }

    /// What a planted bug makes of a map.
    fn garble(&self, map: &mut PoolMap) {
        if self.fault == SimFault::MinIgnored {
            map.min_in_sync = 1;
        }
    }

    /// A writer knows this map from now on.
    fn note_map(&mut self, writer: usize, map: &PoolMap) {
        let moment = self.moment();
        let short = &mut self.writers[writer].short;
        for group in &map.groups {
            if group.in_sync().count() < MIN_IN_SYNC as usize {
                short.entry(group.id.0).or_insert(moment);
            } else {
                short.remove(&group.id.0);
            }
        }
    }

    /// A change of the membership, and what the checkers must know of it.
    pub fn change(&mut self, command: Command) -> Option<PoolMap> {
        self.trace.say(self.now, || format!("control plane: {command:?}"));
        let changed = self.control.run(command);
        if self.fault == SimFault::LogForgets && self.rng.chance(5) {
            self.control.forget_newest();
        }
        match changed {
            Ok(Response::Map(map)) => {
                self.custody.learn(&map);
                self.rouse_keepers();
                self.rouse_planner();
                Some(map)
            }
            Ok(_) => None,
            Err(refusal) => {
                self.trace.say(self.now, || format!("control plane refuses: {}", refusal.message));
                None
            }
        }
    }

    /// Whether what the control plane has done just now is not heard of.
    pub fn loses_answer(&mut self) -> bool {
        let lost = self.control.mute_until > self.now && self.rng.chance(50);
        if lost {
            self.totals.unheard += 1;
        }
        lost
    }

    /// Queues the writer's next wake-up, if none comes early enough.
    fn sleep(&mut self, number: usize) {
        let writer = &mut self.writers[number];
        let Some(deadline) = writer.core.next_deadline() else { return };
        // A deadline that has passed and stays is the core's mistake: it costs wake-ups, but not the run.
        let least = if deadline <= writer.clock.read(self.now) { SPIN_WAIT } else { 1_000 };
        let at = self.now + writer.clock.wait(self.now, deadline).max(least);
        if at < writer.wake_at {
            writer.wake_at = at;
            self.at(at, Event::Wake { writer: number, at });
        }
    }

    pub fn wake_writer(&mut self, number: usize, at: u64) {
        let writer = &mut self.writers[number];
        if writer.wake_at != at || !writer.alive {
            return;
        }
        if self.fault == SimFault::LostWakeup && self.rng.chance(1) {
            return;
        }
        writer.wake_at = u64::MAX;
        let now: Instant = writer.clock.read(self.now);
        if writer.core.next_deadline().is_some_and(|due| due <= now) {
            self.tell_writer(number, CoreInput::Tick);
        } else {
            self.sleep(number);
        }
    }

    fn writer_connects(&mut self, writer: usize, peer: Peer, disk: DiskId) {
        if let Some(conn) = self.writers[writer].conns.remove(&peer.0) {
            self.drop_conn(conn);
        }
        let server = self.homes[&disk];
        let id = self.connect(server, Client::Writer(writer, peer), writer_node(writer));
        self.writers[writer].conns.insert(peer.0, id);
    }

    fn is_current(&self, writer: usize, peer: Peer, conn: u64) -> bool {
        self.writers[writer].conns.get(&peer.0) == Some(&conn)
    }

    pub fn writer_connected(&mut self, writer: usize, peer: Peer, conn: u64) {
        if self.is_current(writer, peer, conn) {
            self.tell_writer(writer, CoreInput::Connected(peer));
        }
    }

    pub fn writer_disconnected(&mut self, writer: usize, peer: Peer, conn: u64) {
        if self.is_current(writer, peer, conn) {
            self.writers[writer].conns.remove(&peer.0);
            self.tell_writer(writer, CoreInput::Disconnected(peer));
        }
    }

    pub fn writer_hears(&mut self, writer: usize, peer: Peer, conn: u64, reply: Reply) {
        if self.is_current(writer, peer, conn) {
            self.tell_writer(writer, CoreInput::Reply(peer, reply));
        }
    }

    /// The connection of a writer to a server, if it has one.
    pub fn conn_of(&mut self, writer: usize) -> Option<u64> {
        let conns: Vec<u64> = self.writers[writer].conns.values().copied().collect();
        (!conns.is_empty()).then(|| self.rng.pick(&conns))
    }
}

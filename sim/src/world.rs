//! The simulated machines: three replicas with real stores on simulated disks, writers with real cores, and
//! a network of ordered connections that delay, and know nothing of each other's order.

use crate::disk::SimDisk;
use crate::fault::SimFault;
use crate::rng::SimRng;
use blockd::ClientError;
use blockd::client::core::{CoreInput, CoreOutput, Peer, VolumeCore};
use blockd::client::{OnFull, VolumeConfig, VolumeOp};
use blockd::replica::{ConnId, Replica, ReplicaConfig, ReplicaInput, ReplicaOutput};
use blockd::store::{IoId, Store};
use bytes::{Bytes, BytesMut};
use proto::control::{DiskPlace, Group, Lease, Member, PoolMap, PoolToken};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{Encoded, LIST_END, Reply, ReplyBody, Request, RequestBody};
use proto::{ClientId, DiskId, ErrorCode, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use rt::buf::AlignedBuf;
use rt::clock::Instant;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

pub const SERVERS: usize = 3;
pub const VOLUME: VolumeId = VolumeId(7);
pub const VOLUME_BYTES: u64 = 24 << 20;
pub const MILLISECOND: u64 = 1_000_000;
const DISK_BYTES: u64 = 64 << 20;
const GROUPS: u32 = 4;
const TOKEN: PoolToken = PoolToken([8; 32]);

/// A promise broken, and by which checker it was seen.
#[derive(Debug)]
pub struct Violation {
    pub checker: &'static str,
    pub what: String,
}

pub fn violation<T>(checker: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { checker, what: what.into() })
}

#[derive(Debug)]
enum Event {
    Accepted(u64),
    /// To the writer: its connection could not be made, or is gone.
    Broken(u64),
    /// To the server.
    Hung(u64),
    ToServer(u64, Request),
    ToWriter(u64, Reply),
    Disk {
        server: usize,
        life: u64,
        io: u64,
    },
    ServerTick {
        server: usize,
        life: u64,
    },
    Restart(usize),
    Wake(usize),
}

/// What a disk was asked.
#[derive(Debug)]
enum DiskOp {
    Read(AlignedBuf, u64),
    Write(AlignedBuf, u64),
    Flush { mark: u64 },
}

struct Server {
    replica: Option<Replica<Store>>,
    disk: SimDisk,
    life: u64,
    ios: BTreeMap<u64, (IoId, DiskOp)>,
}

struct Conn {
    server: usize,
    /// The writer's number and the peer, or a probe.
    writer: Option<(usize, Peer)>,
    to_server_at: u64,
    to_writer_at: u64,
}

/// A writer process. Only the newest is given work; older ones may live on, unaware.
pub struct Writer {
    pub core: VolumeCore,
    pub epoch: u32,
    pub alive: bool,
    pub opened: Option<Result<(), ClientError>>,
    pub done: Vec<(u64, Result<Option<Bytes>, ClientError>)>,
    conns: [Option<u64>; SERVERS],
}

/// What happened in a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub operations: u64,
    pub acked_writes: u64,
    pub flushes: u64,
    pub reads: u64,
    pub failed: u64,
    pub writers: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub resets: u64,
    pub flips: u64,
    pub repaired: u64,
    pub reconciled: u64,
    pub events: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.operations += other.operations;
        self.acked_writes += other.acked_writes;
        self.flushes += other.flushes;
        self.reads += other.reads;
        self.failed += other.failed;
        self.writers += other.writers;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.resets += other.resets;
        self.flips += other.flips;
        self.repaired += other.repaired;
        self.reconciled += other.reconciled;
        self.events += other.events;
    }
}

pub struct World {
    pub rng: SimRng,
    pub now: u64,
    pub totals: Totals,
    fault: SimFault,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    payloads: BTreeMap<u64, Event>,
    next_event: u64,
    servers: Vec<Server>,
    pub writers: Vec<Writer>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    next_io: u64,
    /// Answers to probes, by connection.
    probed: BTreeMap<u64, ReplyBody>,
}

fn disk_id(server: usize) -> DiskId {
    DiskId([u8::try_from(server).expect("three servers") + 1; 16])
}

/// Through the bytes of the wire, as a socket would take it.
fn over_the_wire(encoded: &Encoded) -> (FrameHeader, Bytes) {
    let head = encoded.head[..HEADER_BYTES].try_into().expect("a frame has a header");
    let header = FrameHeader::decode(head).expect("what was encoded decodes");
    let mut payload = BytesMut::from(&encoded.head[HEADER_BYTES..]);
    encoded.data.iter().for_each(|data| payload.extend_from_slice(data));
    (header, payload.freeze())
}

impl World {
    pub fn new(seed: u64, fault: SimFault) -> Self {
        let servers = (0..SERVERS).map(|number| {
            let disk = SimDisk::new(DISK_BYTES);
            Store::format(&disk, disk_id(number)).expect("a fresh simulated disk can be formatted");
            Server { replica: None, disk, life: 0, ios: BTreeMap::new() }
        });
        let mut world = Self {
            rng: SimRng::new(seed),
            now: 1_000 * MILLISECOND,
            totals: Totals::default(),
            fault,
            events: BinaryHeap::new(),
            payloads: BTreeMap::new(),
            next_event: 0,
            servers: servers.collect(),
            writers: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            next_io: 0,
            probed: BTreeMap::new(),
        };
        for server in 0..SERVERS {
            world.start_server(server);
        }
        world
    }

    /// A number that grows with everything that happens: the oracle's time.
    pub fn moment(&mut self) -> u64 {
        self.next_event += 1;
        self.next_event
    }

    fn at(&mut self, time: u64, event: Event) {
        let number = self.moment();
        self.events.push(Reverse((time, number)));
        self.payloads.insert(number, event);
    }

    fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    fn network_delay(&mut self) -> u64 {
        let most = [50_000, 50_000, 200_000, 3 * MILLISECOND][self.rng.index(4)];
        10_000 + self.rng.below(most)
    }

    // ---- servers ----

    pub fn is_server_up(&self, server: usize) -> bool {
        self.servers[server].replica.is_some()
    }

    fn start_server(&mut self, number: usize) {
        let server = &mut self.servers[number];
        if server.replica.is_some() {
            return;
        }
        let (store, _) = Store::mount(&server.disk).expect("a disk that lost power mounts");
        server.replica = Some(Replica::new(store, ReplicaConfig { token: TOKEN }));
        server.life += 1;
        let life = server.life;
        self.after(MILLISECOND, Event::ServerTick { server: number, life });
    }

    /// SIGKILL: what was in flight to the disk may or may not have got there.
    pub fn kill_server(&mut self, number: usize) {
        let server = &mut self.servers[number];
        if server.replica.take().is_none() {
            return;
        }
        self.totals.kills += 1;
        for (_, (_, op)) in std::mem::take(&mut server.ios) {
            if let DiskOp::Write(buf, offset) = op {
                server.disk.write_some(&mut self.rng, &buf, offset);
            }
        }
        let dead: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| conn.server == number).map(|(&id, _)| id).collect();
        for conn in dead {
            let delay = self.network_delay();
            self.after(delay, Event::Broken(conn));
        }
    }

    /// The disk of a killed server loses its cache.
    pub fn cut_power(&mut self, number: usize) {
        assert!(!self.is_server_up(number), "the process goes first");
        self.totals.power_cuts += 1;
        self.servers[number].disk.power_cut(&mut self.rng);
    }

    pub fn restart_server_after(&mut self, number: usize, wait: u64) {
        self.after(wait, Event::Restart(number));
    }

    /// Flips a bit of written data on one disk.
    pub fn flip(&mut self, number: usize) {
        if self.servers[number].disk.flip(&mut self.rng, crate::oracle::is_stamped) {
            self.totals.flips += 1;
        }
    }

    fn tell_server(&mut self, number: usize, input: ReplicaInput) {
        let mut out = Vec::new();
        let server = &mut self.servers[number];
        let Some(replica) = &mut server.replica else { return };
        replica.step(Instant(self.now), input, &mut out);
        for output in out {
            match output {
                ReplicaOutput::Send(conn, reply) => self.send_reply(conn.0, reply),
                ReplicaOutput::Close(conn) => self.after(0, Event::Broken(conn.0)),
                ReplicaOutput::DiskRead { io, offset, buf } => {
                    self.start_io(number, io, DiskOp::Read(buf, offset));
                }
                ReplicaOutput::DiskWrite { io, offset, buf } => {
                    self.start_io(number, io, DiskOp::Write(buf, offset));
                }
                ReplicaOutput::DiskFlush { io } => {
                    let mark = self.servers[number].disk.mark();
                    self.start_io(number, io, DiskOp::Flush { mark });
                }
                ReplicaOutput::Stopped => {}
            }
        }
    }

    fn start_io(&mut self, number: usize, io: IoId, op: DiskOp) {
        let most = if self.rng.chance(3) { 5 * MILLISECOND } else { 80_000 };
        let wait = 20_000 + self.rng.below(most);
        self.next_io += 1;
        let key = self.next_io;
        let server = &mut self.servers[number];
        server.ios.insert(key, (io, op));
        let life = server.life;
        self.after(wait, Event::Disk { server: number, life, io: key });
    }

    fn finish_io(&mut self, number: usize, key: u64) {
        let server = &mut self.servers[number];
        let Some((io, op)) = server.ios.remove(&key) else { return };
        let buf = match op {
            DiskOp::Read(mut buf, offset) => {
                server.disk.read(&mut buf, offset);
                Some(buf)
            }
            DiskOp::Write(buf, offset) => {
                server.disk.write(&buf, offset);
                Some(buf)
            }
            DiskOp::Flush { mark } => {
                server.disk.flushed(mark);
                None
            }
        };
        self.tell_server(number, ReplicaInput::DiskDone { io, buf, result: Ok(()) });
    }

    // ---- network ----

    fn send_request(&mut self, conn: u64, request: &Request) {
        let (header, payload) = over_the_wire(&request.encode());
        let request = Request::decode(&header, &payload).expect("what was encoded decodes");
        let delay = self.network_delay();
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.to_server_at = state.to_server_at.max(self.now + delay);
        let time = state.to_server_at;
        self.at(time, Event::ToServer(conn, request));
    }

    fn send_reply(&mut self, conn: u64, reply: Reply) {
        let (header, payload) = over_the_wire(&reply.encode());
        let mut reply = Reply::decode(&header, &payload).expect("what was encoded decodes");
        if let (SimFault::SkipReconcile, ReplyBody::List { entries, next_cursor }) =
            (self.fault, &mut reply.body)
        {
            entries.clear();
            *next_cursor = LIST_END;
        }
        let fenced =
            |body: &ReplyBody| matches!(body, ReplyBody::Error(error) if error.code == ErrorCode::Fenced);
        if self.fault == SimFault::FencedIsDone && fenced(&reply.body) {
            reply.body = ReplyBody::Ack;
        }
        let delay = self.network_delay();
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.to_writer_at = state.to_writer_at.max(self.now + delay);
        let time = state.to_writer_at;
        self.at(time, Event::ToWriter(conn, reply));
    }

    /// Whether a planted bug answers the request in the replica's place.
    fn lies(&mut self, conn: u64, request: &Request) -> bool {
        let liar = self.conns.get(&conn).is_some_and(|conn| conn.server == 1);
        let lie = match (self.fault, &request.body) {
            (SimFault::FlushIsALie, RequestBody::Flush { .. }) => true,
            (SimFault::WriteIsALie, RequestBody::Write { repair: false, .. }) => self.rng.chance(2),
            _ => false,
        };
        if lie && liar {
            self.send_reply(conn, Reply { sequence: request.sequence, body: ReplyBody::Ack });
        }
        lie && liar
    }

    fn request_arrives(&mut self, conn: u64, request: Request) {
        let Some(server) = self.conns.get(&conn).map(|conn| conn.server) else { return };
        if self.lies(conn, &request) {
            return;
        }
        self.tell_server(server, ReplicaInput::Request(ConnId(conn), request));
    }

    /// Both sides lose a connection, each when it notices.
    pub fn reset(&mut self, writer: usize, server: usize) {
        if let Some(conn) = self.writers[writer].conns[server] {
            self.totals.resets += 1;
            let (near, far) = (self.network_delay(), self.network_delay() * 20);
            self.after(near, Event::Broken(conn));
            self.after(far, Event::Hung(conn));
        }
    }

    fn broken(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if self.servers[conn.server].replica.is_some() {
            // What it had sent and the server has not seen may still arrive there: the server hears late.
            self.conns.insert(id, Conn { writer: None, ..conn });
            let delay = self.network_delay() * 10;
            self.after(delay, Event::Hung(id));
        }
        if let Some((writer, peer)) = conn.writer
            && self.writers[writer].conns[usize::from(peer.0)] == Some(id)
        {
            self.writers[writer].conns[usize::from(peer.0)] = None;
            self.tell_writer(writer, CoreInput::Disconnected(peer));
        }
    }

    fn hung(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else { return };
        self.tell_server(conn.server, ReplicaInput::Closed(ConnId(id)));
    }

    // ---- writers ----

    /// Starts a writer with its own epoch; gives its number.
    pub fn start_writer(&mut self, epoch: u32) -> usize {
        self.totals.writers += 1;
        let disk = |number| DiskPlace {
            disk: disk_id(number),
            node: NodeId(1),
            addr: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let member = |number| Member::in_sync(disk_id(number));
        let members: Vec<Member> = (0..SERVERS).map(member).collect();
        let group = |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: members.clone() };
        let map = PoolMap {
            groups: (0..GROUPS).map(group).collect(),
            disks: (0..SERVERS).map(disk).collect(),
            min_in_sync: 2,
            version: 1,
        };
        let lease = Lease { volume: VOLUME, epoch: VolumeEpoch(epoch), size_bytes: VOLUME_BYTES, map };
        let number = self.writers.len();
        let client = ClientId([u8::try_from(epoch % 200).expect("below 200") + 1; 16]);
        let config = VolumeConfig { lease, token: TOKEN, client, on_full: OnFull::Fail, control: None };
        let core = VolumeCore::new(config).expect("the map is whole");
        let (opened, done, conns) = (None, Vec::new(), [None; SERVERS]);
        self.writers.push(Writer { core, epoch, alive: true, opened, done, conns });
        self.tell_writer(number, CoreInput::Tick);
        number
    }

    pub fn kill_writer(&mut self, number: usize) {
        let writer = &mut self.writers[number];
        writer.alive = false;
        let stats = writer.core.stats();
        self.totals.repaired += stats.repaired_blocks;
        self.totals.reconciled += stats.reconciled_blocks;
        for conn in std::mem::take(&mut self.writers[number].conns).into_iter().flatten() {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.writer = None;
            }
            // What it had sent before may still arrive.
            let delay = self.network_delay() * 2;
            self.after(delay, Event::Hung(conn));
        }
    }

    pub fn submit(&mut self, writer: usize, id: u64, op: VolumeOp) {
        self.totals.operations += 1;
        self.tell_writer(writer, CoreInput::Submit { id, op });
    }

    fn tell_writer(&mut self, number: usize, input: CoreInput) {
        let writer = &mut self.writers[number];
        if !writer.alive {
            return;
        }
        let mut out = Vec::new();
        writer.core.step(Instant(self.now), input, &mut out);
        for output in out {
            match output {
                CoreOutput::Connect { peer, .. } => self.connect(number, peer),
                CoreOutput::Disconnect(peer) => {
                    if let Some(conn) = self.writers[number].conns[usize::from(peer.0)].take() {
                        let delay = self.network_delay();
                        self.after(delay, Event::Hung(conn));
                    }
                }
                CoreOutput::Send(peer, request) => {
                    if let Some(conn) = self.writers[number].conns[usize::from(peer.0)] {
                        self.send_request(conn, &request);
                    }
                }
                CoreOutput::Report { .. } | CoreOutput::WantMap { .. } => {}
                CoreOutput::Complete { id, result } => self.writers[number].done.push((id, result)),
                CoreOutput::Opened(result) => self.writers[number].opened = Some(result),
            }
        }
        if let Some(deadline) = self.writers[number].core.next_deadline() {
            // A wake-up that comes too early asks again.
            self.at(deadline.0.max(self.now + 1_000), Event::Wake(number));
        }
    }

    fn connect(&mut self, writer: usize, peer: Peer) {
        let server = usize::from(peer.0);
        let id = self.new_conn(server, Some((writer, peer)));
        self.writers[writer].conns[server] = Some(id);
        let delay = self.network_delay();
        self.after(delay, Event::Accepted(id));
    }

    fn new_conn(&mut self, server: usize, writer: Option<(usize, Peer)>) -> u64 {
        self.next_conn += 1;
        self.conns.insert(self.next_conn, Conn { server, writer, to_server_at: 0, to_writer_at: 0 });
        self.next_conn
    }

    fn accepted(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else { return };
        if self.servers[conn.server].replica.is_none() {
            self.broken(id);
            return;
        }
        let (server, writer) = (conn.server, conn.writer);
        self.tell_server(server, ReplicaInput::Connected(ConnId(id)));
        if let Some((writer, peer)) = writer {
            self.tell_writer(writer, CoreInput::Connected(peer));
        }
    }

    // ---- time ----

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let Some(Reverse((time, number))) = self.events.pop() else { return };
        let event = self.payloads.remove(&number).expect("every queued event has a payload");
        self.now = self.now.max(time);
        self.totals.events += 1;
        match event {
            Event::Accepted(conn) => self.accepted(conn),
            Event::Broken(conn) => self.broken(conn),
            Event::Hung(conn) => self.hung(conn),
            Event::ToServer(conn, request) => self.request_arrives(conn, request),
            Event::ToWriter(conn, reply) => self.reply_arrives(conn, reply),
            Event::Disk { server, life, io } => {
                if self.servers[server].life == life {
                    self.finish_io(server, io);
                }
            }
            Event::ServerTick { server, life } => {
                if self.servers[server].life == life && self.is_server_up(server) {
                    self.tell_server(server, ReplicaInput::Tick);
                    self.after(200 * MILLISECOND, Event::ServerTick { server, life });
                }
            }
            Event::Restart(server) => self.start_server(server),
            Event::Wake(writer) => {
                let due = self.writers[writer].core.next_deadline();
                if due.is_some_and(|due| due.0 <= self.now) {
                    self.tell_writer(writer, CoreInput::Tick);
                }
            }
        }
    }

    fn reply_arrives(&mut self, id: u64, reply: Reply) {
        let Some(conn) = self.conns.get(&id) else { return };
        match conn.writer {
            Some((writer, peer)) => {
                if self.writers[writer].conns[usize::from(peer.0)] == Some(id) {
                    self.tell_writer(writer, CoreInput::Reply(peer, reply));
                }
            }
            None => {
                self.probed.insert(id, reply.body);
            }
        }
    }

    // ---- probes ----

    /// A connection of the checkers' own to a replica.
    pub fn probe_connect(&mut self, server: usize) -> u64 {
        let conn = self.new_conn(server, None);
        self.accepted(conn);
        let hello = RequestBody::Hello { token: TOKEN.0, client: ClientId([255; 16]), disk: disk_id(server) };
        self.probe_ask(conn, hello);
        conn
    }

    pub fn probe_ask(&mut self, conn: u64, body: RequestBody) {
        let settled = proto::Version::ZERO;
        let request = Request { sequence: 1, settled, group_epoch: GroupEpoch(1), body };
        self.send_request(conn, &request);
    }

    pub fn probe_answer(&mut self, conn: u64) -> Option<ReplyBody> {
        self.probed.remove(&conn)
    }

    pub fn probe_close(&mut self, conn: u64) {
        self.hung(conn);
    }
}

//! The simulated machines and what passes between them: one queue of events, one source of chance.

use crate::clock::SimClock;
use crate::control::Control;
use crate::custody::Custody;
use crate::deleter::Deleter;
use crate::durable::Acks;
use crate::fault::SimFault;
use crate::net::{Net, Node, server_node};
use crate::rng::SimRng;
use crate::scrubber::Scrubber;
use crate::server::Server;
pub use crate::totals::Totals;
use crate::trace::Trace;
use crate::writer::{Question, Writer, Writing};
use blockd::client::catchup;
use blockd::client::core::Peer;
use blockd::replica::{ConnId, ReplicaInput};
use bytes::{Bytes, BytesMut};
use meta::planner::Watch;
use proto::control::{PoolMap, PoolToken};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{Encoded, LIST_END, Reply, ReplyBody, Request, RequestBody, WriteKind};
use proto::{DiskId, ErrorCode};
use slab::Slab;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

pub const MILLISECOND: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MILLISECOND;
pub const VOLUME_BYTES: u64 = 12 << 20;
pub const TOKEN: PoolToken = PoolToken([8; 32]);
pub const DISK_BYTES: u64 = 64 << 20;
/// How bad a run's days are. Where trouble is rare, what it left has the time to heal wholly before the next.
const PACES: [u64; 5] = [1, 2, 4, 8, 16];
/// How long a connection is tried before it is given up.
const CONNECT_TIMEOUT: u64 = 2 * SECOND;

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
pub enum Event {
    Accepted(u64),
    /// To the client: its connection could not be made.
    Refused(u64),
    /// To the client: its connection is gone.
    Broken(u64),
    /// To the server.
    Hung(u64),
    ToServer(u64, Request),
    ToClient(u64, Reply),
    Disk {
        server: usize,
        life: u64,
        io: u64,
    },
    Keeper(usize),
    KeeperWake {
        server: usize,
        at: u64,
    },
    ScrubberWake(u64),
    DeleterWake(u64),
    Planner,
    ServerTick {
        server: usize,
        life: u64,
    },
    Restart(usize),
    Recycle {
        server: usize,
        life: u64,
    },
    Wake {
        writer: usize,
        at: u64,
    },
    ToControl {
        writer: usize,
        question: Question,
    },
    FromControl {
        writer: usize,
        answer: Option<PoolMap>,
    },
    Due(Due),
}

/// What the scenario does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Tenant(usize),
    Trouble,
    /// A disk that can't be trusted is taken away.
    Scrap(usize),
    /// A writer that lives longer than it should comes to its end.
    EndOfZombie(usize),
    /// A group is to be scrubbed.
    Scrub,
    /// A scrub has ended.
    Scrubbed,
    /// A volume is made larger.
    Grow(usize),
    /// Somebody begins to fill the pool.
    Fill,
    /// Who does goes on.
    Hog,
    /// What filled the pool is deleted.
    HogGoes,
    /// Nothing: time has passed.
    Nothing,
}

/// A queued event's place. The heap moves these about all the time, so what the event is lies elsewhere.
#[derive(Clone, Copy)]
struct Queued {
    time: u64,
    number: u64,
    key: usize,
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Queued {}

/// Who is at the client's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Writer(usize, Peer),
    /// What runs beside a server.
    Keeper(usize, catchup::Peer),
    Scrubber(catchup::Peer),
    Deleter,
    /// What a keeper clears its own server with.
    Clearer(usize),
}

#[derive(Debug, Clone, Copy)]
pub struct Conn {
    pub server: usize,
    pub client: Client,
    pub node: Node,
    pub server_open: bool,
    pub client_open: bool,
    to_server_at: u64,
    to_client_at: u64,
}

pub struct World {
    pub rng: SimRng,
    pub now: u64,
    pub totals: Totals,
    pub trace: Trace,
    pub fault: SimFault,
    /// How many times as long the quiet between two troubles, and two bursts of work, is as on the worst days.
    pub pace: u64,
    queue: BinaryHeap<Queued>,
    events: Slab<Event>,
    next_event: u64,
    pub servers: Vec<Server>,
    pub writers: Vec<Writer>,
    /// Writers with something for the scenario to see.
    pub ready: Vec<usize>,
    pub conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    pub next_io: u64,
    pub net: Net,
    pub control: Control,
    /// The server that holds a disk, or held it before it was replaced.
    pub homes: BTreeMap<DiskId, usize>,
    pub scrubber: Scrubber,
    pub deleter: Deleter,
    pub watch: Watch,
    pub planner_due: bool,
    pub custody: Custody,
    pub writing: Writing,
    pub acks: Acks,
    /// A disk did just now what it was armed to.
    pub struck: bool,
    /// How often stores had no room.
    pub refused: u64,
    /// What was seen that must never be.
    pub broken: Option<Violation>,
}

fn disk_id(server: usize) -> DiskId {
    DiskId([u8::try_from(server).expect("a few servers") + 1; 16])
}

/// A request in a few words.
fn said(server: usize, request: &Request) -> String {
    let epoch = request.group_epoch;
    match &request.body {
        RequestBody::Write { range, version, kind, .. } => {
            format!("server {server}: write {range:?} {version}, {kind:?}, {epoch:?}")
        }
        RequestBody::Trim { range, version, kind } => {
            format!("server {server}: trim {range:?} {version}, {kind:?}, {epoch:?}")
        }
        RequestBody::CopyIn { range, version, .. } => format!("server {server}: copy {range:?} {version}"),
        RequestBody::CopyTrim { range, version, .. } => {
            format!("server {server}: copy trim {range:?} {version}")
        }
        other => format!("server {server}: {:.120}", format!("{other:?}")),
    }
}

/// Through the bytes of the wire, as a socket would take it.
fn over_the_wire(encoded: &Encoded) -> (FrameHeader, Bytes) {
    let head = encoded.head[..HEADER_BYTES].try_into().expect("a frame has a header");
    let header = FrameHeader::decode(head).expect("what was encoded decodes");
    let mut payload = BytesMut::with_capacity(encoded.len_bytes());
    payload.extend_from_slice(&encoded.head[HEADER_BYTES..]);
    encoded.data.iter().for_each(|data| payload.extend_from_slice(data));
    (header, payload.freeze())
}

impl World {
    /// `disks` chunk servers, each a node of its own, up and registered.
    pub fn new(seed: u64, fault: SimFault, disks: usize, tell: Option<fn(&str)>) -> Self {
        let mut rng = SimRng::new(seed);
        let pace = rng.pick(&PACES);
        let mut control = Control::new();
        let mut servers = Vec::new();
        for number in 0..disks {
            let id = disk_id(number);
            servers.push(Server::new(id, DISK_BYTES, SimClock::new(&mut rng)));
            control.register(id, number as u64 + 1, DISK_BYTES);
        }
        let homes = servers.iter().enumerate().map(|(number, server)| (server.id, number)).collect();
        let custody =
            Custody::new(&control.map(), &servers.iter().map(|server| server.id).collect::<Vec<_>>());
        let mut world = Self {
            rng,
            now: SECOND,
            totals: Totals::default(),
            trace: Trace::new(tell),
            fault,
            pace,
            queue: BinaryHeap::new(),
            events: Slab::new(),
            next_event: 0,
            servers,
            writers: Vec::new(),
            ready: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            next_io: 0,
            net: Net::default(),
            control,
            homes,
            scrubber: Scrubber::default(),
            deleter: Deleter::default(),
            watch: Watch::default(),
            planner_due: false,
            custody,
            writing: Writing::default(),
            acks: Acks::default(),
            struck: false,
            refused: 0,
            broken: None,
        };
        for server in 0..disks {
            world.start_server(server);
        }
        world
    }

    /// A number that grows with everything that happens: the oracle's time.
    pub fn moment(&mut self) -> u64 {
        self.next_event += 1;
        self.next_event
    }

    pub fn at(&mut self, time: u64, event: Event) {
        let number = self.moment();
        let key = self.events.insert(event);
        self.queue.push(Queued { time, number, key });
    }

    pub fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub fn due(&mut self, wait: u64, due: Due) {
        self.after(wait, Event::Due(due));
    }

    /// A disk may have forgotten what was not flushed.
    pub fn lost(&mut self, server: usize) {
        let moment = self.moment();
        self.custody.lost(server, moment);
    }

    // ---- network ----

    fn delay(&mut self, from: Node, to: Node) -> u64 {
        self.net.delay(&mut self.rng, from, to, self.now)
    }

    pub fn send_request(&mut self, conn: u64, request: &Request) {
        let (header, payload) = over_the_wire(&request.encode());
        let request = Request::decode(&header, &payload).expect("what was encoded decodes");
        let Some(state) = self.conns.get(&conn).copied() else { return };
        let delay = self.delay(state.node, server_node(state.server));
        let time = state.to_server_at.max(self.now + delay);
        self.conns.entry(conn).and_modify(|conn| conn.to_server_at = time);
        self.at(time, Event::ToServer(conn, request));
    }

    pub fn send_reply(&mut self, conn: u64, mut reply: Reply) {
        self.falsify(&mut reply);
        let (header, payload) = over_the_wire(&reply.encode());
        let reply = Reply::decode(&header, &payload).expect("what was encoded decodes");
        let Some(state) = self.conns.get(&conn).copied() else { return };
        let delay = self.delay(server_node(state.server), state.node);
        let time = state.to_client_at.max(self.now + delay);
        self.conns.entry(conn).and_modify(|conn| conn.to_client_at = time);
        self.at(time, Event::ToClient(conn, reply));
    }

    /// What a planted bug makes of an answer.
    fn falsify(&self, reply: &mut Reply) {
        let is_fenced =
            |body: &ReplyBody| matches!(body, ReplyBody::Error(error) if error.code == ErrorCode::Fenced);
        match (self.fault, &mut reply.body) {
            (SimFault::SkipReconcile, ReplyBody::List { entries, next_cursor }) => {
                entries.clear();
                *next_cursor = LIST_END;
            }
            (SimFault::FencedIsDone, body) if is_fenced(body) => *body = ReplyBody::Ack,
            (SimFault::CorruptIsData, ReplyBody::Read { .. }) => Self::whitewash(reply),
            (SimFault::ScrubIsBlind | SimFault::ScrubSeesGhosts, ReplyBody::Verify { blocks, .. }) => {
                self.mislead(blocks);
            }
            _ => {}
        }
    }

    /// Whether something answers the request in the replica's place: a planted bug, or a full pool.
    fn intercepts(&mut self, conn: u64, request: &Request) -> bool {
        let Some(server) = self.conns.get(&conn).map(|conn| conn.server) else { return true };
        let is_write = matches!(request.body, RequestBody::Write { kind: WriteKind::Normal, .. });
        if is_write && self.servers[server].full_until > self.now {
            let (sequence, why) = (request.sequence, "the pool is full");
            self.send_reply(conn, Reply::error(sequence, ErrorCode::NoSpace, why));
            return true;
        }
        let lie = match (self.fault, &request.body) {
            (SimFault::FlushIsALie, RequestBody::Flush { .. }) => true,
            (SimFault::DeleteIsALie, RequestBody::DeleteVolume { .. })
            | (SimFault::ClearIsALie, RequestBody::ClearGroup { .. }) => true,
            (SimFault::WriteIsALie, RequestBody::Write { kind, .. }) if *kind != WriteKind::Repair => {
                self.rng.chance(2)
            }
            _ => false,
        };
        if lie && server == 1 {
            self.send_reply(conn, Reply { sequence: request.sequence, body: ReplyBody::Ack });
        }
        lie && server == 1
    }

    fn request_arrives(&mut self, id: u64, request: Request) {
        let Some(conn) = self.conns.get(&id).copied().filter(|conn| conn.server_open) else { return };
        if let Some(until) = self.net.blocked_until(conn.node, server_node(conn.server), self.now) {
            let time = until + MILLISECOND;
            self.conns.entry(id).and_modify(|conn| conn.to_server_at = conn.to_server_at.max(time));
            return self.at(time, Event::ToServer(id, request));
        }
        self.trace.note(id << 32 | request.sequence);
        self.trace.say(self.now, || said(conn.server, &request));
        if !self.intercepts(id, &request) {
            self.note_asked(id, &request);
            self.tell_server(conn.server, ReplicaInput::Request(ConnId(id), request));
        }
    }

    fn reply_arrives(&mut self, id: u64, reply: Reply) {
        let Some(conn) = self.conns.get(&id).copied().filter(|conn| conn.client_open) else { return };
        if let Some(until) = self.net.blocked_until(server_node(conn.server), conn.node, self.now) {
            let time = until + MILLISECOND;
            self.conns.entry(id).and_modify(|conn| conn.to_client_at = conn.to_client_at.max(time));
            return self.at(time, Event::ToClient(id, reply));
        }
        self.trace.note(id << 32 | reply.sequence | 1 << 63);
        self.note_heard(id, conn.server, reply.sequence);
        match conn.client {
            Client::Writer(writer, peer) => self.writer_hears(writer, peer, id, reply),
            Client::Keeper(server, peer) => self.keeper_hears(server, peer, id, reply),
            Client::Scrubber(peer) => self.scrubber_hears(peer, id, reply),
            Client::Deleter => self.deleter_hears(id, &reply),
            Client::Clearer(server) => self.clearer_hears(server, id, &reply),
        }
    }

    pub fn connect(&mut self, server: usize, client: Client, node: Node) -> u64 {
        self.next_conn += 1;
        let id = self.next_conn;
        let (to_server_at, to_client_at) = (0, 0);
        let conn =
            Conn { server, client, node, server_open: false, client_open: true, to_server_at, to_client_at };
        self.conns.insert(id, conn);
        let delay = self.delay(node, server_node(server));
        self.after(delay, Event::Accepted(id));
        id
    }

    fn accepted(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id).copied().filter(|conn| conn.client_open) else { return };
        if !self.net.connects(conn.node, server_node(conn.server), self.now) {
            return self.after(CONNECT_TIMEOUT, Event::Refused(id));
        }
        if !self.is_server_up(conn.server) {
            return self.after(MILLISECOND, Event::Refused(id));
        }
        self.conns.entry(id).and_modify(|conn| conn.server_open = true);
        self.tell_server(conn.server, ReplicaInput::Connected(ConnId(id)));
        match conn.client {
            Client::Writer(writer, peer) => self.writer_connected(writer, peer, id),
            Client::Keeper(server, peer) => self.keeper_connected(server, peer, id),
            Client::Scrubber(peer) => self.scrubber_connected(peer, id),
            Client::Deleter => self.deleter_connected(id),
            Client::Clearer(server) => self.clearer_connected(server, id),
        }
    }

    /// Both sides lose a connection, each when it notices.
    pub fn reset(&mut self, conn: u64) {
        let (near, far) = (self.rng.below(MILLISECOND), self.rng.below(20 * MILLISECOND));
        self.after(near, Event::Broken(conn));
        self.after(far, Event::Hung(conn));
    }

    /// The client drops a connection; the server hears of it later.
    pub fn drop_conn(&mut self, id: u64) {
        self.conns.entry(id).and_modify(|conn| conn.client_open = false);
        let wait = self.rng.below(5 * MILLISECOND);
        self.after(wait, Event::Hung(id));
    }

    /// The client hears that its connection is gone.
    fn broken(&mut self, id: u64, is_gone: bool) {
        let Some(conn) = self.conns.get(&id).copied() else { return };
        let blocked = self.net.blocked_until(server_node(conn.server), conn.node, self.now);
        if let (Some(until), true, true) = (blocked, is_gone, conn.client_open) {
            return self.at(until + MILLISECOND, Event::Broken(id));
        }
        self.conns.entry(id).and_modify(|conn| conn.client_open = false);
        if conn.server_open {
            self.after(10 * MILLISECOND, Event::Hung(id));
        } else {
            self.conns.remove(&id);
        }
        match conn.client {
            _ if !conn.client_open => {}
            Client::Writer(writer, peer) => self.writer_disconnected(writer, peer, id),
            Client::Keeper(server, peer) => self.keeper_disconnected(server, peer, id),
            Client::Scrubber(peer) => self.scrubber_disconnected(peer, id),
            Client::Deleter => self.deleter_disconnected(id),
            Client::Clearer(server) => self.clearer_disconnected(server, id),
        }
    }

    /// The server hears that a connection is gone.
    fn hung(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id).copied() else { return };
        if conn.server_open
            && let Some(until) = self.net.blocked_until(conn.node, server_node(conn.server), self.now)
        {
            return self.at(until + MILLISECOND, Event::Hung(id));
        }
        if conn.server_open {
            self.close_at_server(conn.server, id);
        }
        match self.conns.get_mut(&id) {
            Some(conn) if conn.client_open => {
                conn.server_open = false;
                self.after(10 * MILLISECOND, Event::Broken(id));
            }
            _ => {
                self.conns.remove(&id);
            }
        }
    }

    // ---- time ----

    /// Lets the next thing happen. Gives what the scenario is to do about it; `None` when nothing ever will.
    pub fn step(&mut self) -> Option<Due> {
        let Queued { time, key, .. } = self.queue.pop()?;
        let event = self.events.remove(key);
        self.now = self.now.max(time);
        self.totals.events += 1;
        self.trace.note(self.now);
        match event {
            Event::Accepted(conn) => self.accepted(conn),
            Event::Refused(conn) => self.broken(conn, false),
            Event::Broken(conn) => self.broken(conn, true),
            Event::Hung(conn) => self.hung(conn),
            Event::ToServer(conn, request) => self.request_arrives(conn, request),
            Event::ToClient(conn, reply) => self.reply_arrives(conn, reply),
            Event::Disk { server, life, io } => {
                if self.servers[server].life == life {
                    self.finish_io(server, io);
                }
            }
            Event::ServerTick { server, life } => self.server_tick(server, life),
            Event::Keeper(server) => self.keeper_looks(server),
            Event::KeeperWake { server, at } => self.keeper_wakes(server, at),
            Event::ScrubberWake(at) => self.scrubber_wakes(at),
            Event::DeleterWake(turn) => self.deleter_wakes(turn),
            Event::Planner => self.planner_looks(),
            Event::Restart(server) => self.start_server(server),
            Event::Recycle { server, life } => self.recycle(server, life),
            Event::Wake { writer, at } => self.wake_writer(writer, at),
            Event::ToControl { writer, question } => self.control_hears(writer, question),
            Event::FromControl { writer, answer } => self.hears_control(writer, answer),
            Event::Due(due) => return Some(due),
        }
        Some(Due::Nothing)
    }
}

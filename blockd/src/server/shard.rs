//! The task of a disk: feed the replica everything that happened, pump it once, perform what it wants.
//! Feeding everything first is what makes batches large under load.

use super::conn::Conn;
use super::prefill::Prefill;
use super::status::{ServerStatus, Shared};
use super::{ServerConfig, disk};
use crate::fast_map::FastMap;
use crate::limits::{MAX_CONNECTIONS, MAX_DISK_OPERATIONS};
use crate::link::{self, Link, OpenDoor};
use crate::replica::{ConnId, Replica, ReplicaConfig, ReplicaInput, ReplicaOutput};
use crate::store::limits::TICK_INTERVAL;
use crate::store::{IoId, Store};
use crate::{Error, ErrorKind};
use proto::message::{Reply, Request};
use rt::clock::{Clock, Instant};
use rt::device::{BlockDevice, FileDevice};
use rt::event_loop::{Company, Task, Turn};
use rt::framed::{self, FrameConn, FrameListener, OwnerTag, Progress};
use rt::ring::{Completion, Fd, Op, Reactor, Rejected, Token};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Owners of a disk's operations.
const NETWORK: u8 = 1;
const DISK: u8 = 2;
const PREFILL: u8 = 3;
/// Somebody of this process is at the door.
const DOOR: u8 = 4;

/// A disk that is mounted and has a port, and is not served yet.
pub(super) struct Mounted {
    device: FileDevice,
    store: Store,
    prefill: Prefill,
    listener: FrameListener,
    company: Company,
}

/// One disk being served.
pub(super) struct Shard {
    replica: Replica<Store>,
    disk: Fd,
    prefill: Prefill,
    /// Before the listener: it closes while the port is still this server's.
    door: OpenDoor,
    listener: FrameListener,
    conns: FastMap<u64, Conn>,
    next_conn: u64,
    /// Connections that have something to send or to receive anew.
    touched: Vec<u64>,
    /// Disk operations in the reactor.
    disk_operations: usize,
    /// Those beyond what may be there at one time; the store bounds how many there are.
    waiting: VecDeque<(Token, Op)>,
    outputs: Vec<ReplicaOutput>,
    /// The replica was given something since it was pumped.
    unpumped: bool,
    clock: Arc<dyn Clock>,
    now: Instant,
    next_tick: Instant,
    status: ServerStatus,
    shared: Arc<Shared>,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Serving,
    Stopping,
    Stopped,
}

impl Mounted {
    /// Reads the newest checkpoint and the log behind it, which takes a while.
    pub fn new(config: &ServerConfig) -> Result<Self, Error> {
        let device = disk::open(config)?;
        let (store, report) = Store::mount(&device)?;
        if store.disk_id() != config.disk {
            let (found, path) = (store.disk_id(), config.path.display());
            let why = format!("{path} is disk {found}, not {}; correct the path of one of them", config.disk);
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        tracing::info!(disk = %config.disk, ?report, "mounted");
        let prefill = Prefill::new(device.len_bytes(), &device.holes());
        let listener = FrameListener::bind(OwnerTag { owner: NETWORK, id: 0 }, config.listen)
            .map_err(|error| listening(config, error))?;
        let company = if device.may_hold_up() { Company::Unwelcome } else { Company::Welcome };
        Ok(Self { device, store, prefill, listener, company })
    }

    /// A disk that hangs must not hang others.
    pub fn company(&self) -> Company {
        self.company
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }
}

fn listening(config: &ServerConfig, error: std::io::Error) -> Error {
    Error::io(format_args!("listening at {}", config.listen), error)
}

impl Shard {
    /// Begins to serve on the loop's reactor.
    pub fn begin(
        config: &ServerConfig,
        mounted: Mounted,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        reactor: &mut Reactor,
    ) -> Result<Self, Error> {
        let Mounted { device, store, prefill, listener, .. } = mounted;
        let door = link::Listener::new(reactor, Token::new(DOOR, 0, 0));
        let door = OpenDoor::open(listener.addr(), door);
        let status = ServerStatus { disk: config.disk, ..ServerStatus::default() };
        let now = clock.now();
        let mut shard = Self {
            replica: Replica::new(store, ReplicaConfig { token: config.token }),
            disk: Arc::new(OwnedFd::from(device.into_file())),
            prefill,
            listener,
            door,
            conns: FastMap::default(),
            next_conn: 1,
            touched: Vec::new(),
            disk_operations: 0,
            waiting: VecDeque::new(),
            outputs: Vec::new(),
            unpumped: false,
            clock,
            now,
            next_tick: now,
            status,
            shared,
            phase: Phase::Serving,
        };
        shard.listener.accept(reactor).map_err(|error| listening(config, error))?;
        shard.publish();
        Ok(shard)
    }

    fn end(&self) -> Result<(), Error> {
        match self.replica.store().failure() {
            None => Ok(()),
            Some(failure) => Err(failure.clone().into()),
        }
    }

    fn submit(&mut self, input: ReplicaInput) {
        self.unpumped = true;
        self.replica.submit(self.now, input, &mut self.outputs);
    }

    /// Ticks and the handle's wishes.
    fn on_signals(&mut self) {
        if self.now >= self.next_tick {
            self.next_tick = self.now + TICK_INTERVAL;
            self.submit(ReplicaInput::Tick);
            self.conns.retain(|_, conn| conn.lingers());
            self.publish();
        }
        if self.phase == Phase::Serving && self.shared.stop.load(Ordering::SeqCst) {
            self.phase = Phase::Stopping;
            self.submit(ReplicaInput::Stop);
        }
    }

    fn complete(&mut self, completion: Completion, reactor: &mut Reactor) {
        let token = completion.token;
        self.disk_operations -= usize::from(matches!(token.owner(), DISK | PREFILL));
        if token.owner() == DISK {
            self.on_disk(completion);
        } else if token.owner() == PREFILL {
            for (token, op) in self.prefill.filled(completion.op) {
                self.push(token, op, reactor);
            }
        } else if token.owner() == DOOR {
            while let Some(local) = self.door.listener().accept(self.next_tag()) {
                self.take_in(Link::Local(local));
            }
        } else if FrameListener::is_accept(token) {
            self.on_accept(completion, reactor);
        } else if framed::is_connection(token) {
            self.on_conn(token.id(), completion);
        }
    }

    fn on_disk(&mut self, completion: Completion) {
        let io = IoId(completion.token.id());
        let bytes = u64::from(*completion.result.as_ref().unwrap_or(&0));
        let status = &mut self.status;
        let buf = match completion.op {
            Op::Read { buf, .. } => {
                status.disk_reads += 1;
                status.disk_read_bytes += bytes;
                Some(buf)
            }
            Op::Write { buf, .. } => {
                status.disk_writes += 1;
                status.disk_written_bytes += bytes;
                Some(buf.into_head())
            }
            _ => {
                status.disk_flushes += 1;
                None
            }
        };
        let result = completion.result.map(drop);
        if let Err(error) = &result {
            tracing::error!(disk = %self.status.disk, %error, "the device failed");
        }
        self.submit(ReplicaInput::DiskDone { io, buf, result });
    }

    /// The tag of the next connection.
    fn next_tag(&self) -> OwnerTag {
        OwnerTag { owner: NETWORK, id: self.next_conn }
    }

    fn take_in(&mut self, link: Link<Reply, Request>) {
        if self.conns.len() >= MAX_CONNECTIONS || self.phase != Phase::Serving {
            tracing::warn!(disk = %self.status.disk, "a connection too many was closed");
            return;
        }
        let id = self.next_conn;
        self.next_conn += 1;
        self.conns.insert(id, Conn::new(link));
        self.submit(ReplicaInput::Connected(ConnId(id)));
        self.touch(id);
    }

    fn on_accept(&mut self, completion: Completion, reactor: &mut Reactor) {
        let accepted = self.listener.on_completion(completion);
        match accepted.and_then(|socket| FrameConn::accepted(self.next_tag(), socket)) {
            Ok(frames) => self.take_in(Link::Tcp(frames)),
            Err(error) => tracing::warn!(disk = %self.status.disk, %error, "accepting a connection failed"),
        }
        if let Err(error) = self.listener.accept(reactor) {
            tracing::error!(disk = %self.status.disk, %error, "no more connections can be accepted");
        }
    }

    fn on_conn(&mut self, id: u64, completion: Completion) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match conn.link.on_completion(completion) {
            Progress::Closed(error) => {
                tracing::debug!(disk = %self.status.disk, conn = id, %error, "a connection ended");
                self.close(id);
            }
            Progress::Sent if conn.closing && !conn.link.has_queued() => self.close(id),
            Progress::Connected | Progress::Received | Progress::Sent => {
                self.take_requests(id);
                self.touch(id);
            }
        }
    }

    /// Gives the replica what a connection's client asks.
    fn take_requests(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        loop {
            match conn.next_request() {
                Ok(Some(request)) => {
                    self.status.requests += 1;
                    self.unpumped = true;
                    let input = ReplicaInput::Request(ConnId(id), request);
                    self.replica.submit(self.now, input, &mut self.outputs);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(disk = %self.status.disk, conn = id, %error, "a client sent no frame; closing");
                    return self.close(id);
                }
            }
        }
    }

    /// Does what the replica wants. Sends are queued here and leave in [`pump_conns`](Self::pump_conns).
    fn perform(&mut self, reactor: &mut Reactor) {
        while self.disk_operations < MAX_DISK_OPERATIONS
            && let Some((token, op)) = self.waiting.pop_front()
        {
            if let Err(Rejected(op)) = self.give(token, op, reactor) {
                self.waiting.push_front((token, op));
                break;
            }
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                ReplicaOutput::Send(conn, reply) => {
                    let Some(to) = self.conns.get_mut(&conn.0) else { continue };
                    if to.reply(reply).is_err() {
                        tracing::warn!(disk = %self.status.disk, conn = conn.0, "a client takes no answers; closing");
                        self.close(conn.0);
                    } else {
                        self.touch(conn.0);
                    }
                }
                ReplicaOutput::Close(conn) => {
                    if let Some(conn) = self.conns.get_mut(&conn.0) {
                        conn.closing = true;
                    }
                    self.touch(conn.0);
                }
                ReplicaOutput::DiskRead { io, offset, buf } => {
                    let op = Op::Read { fd: Fd::clone(&self.disk), buf, offset };
                    self.push(Token::new(DISK, 0, io.0), op, reactor);
                }
                ReplicaOutput::DiskWrite { io, offset, buf } => {
                    let op = Op::Write { fd: Fd::clone(&self.disk), buf, offset };
                    let token = Token::new(DISK, 0, io.0);
                    if let Some((token, op)) = self.prefill.before_write(self.now, token, op) {
                        self.push(token, op, reactor);
                    }
                }
                ReplicaOutput::DiskFlush { io } => {
                    let op = Op::Fsync { fd: Fd::clone(&self.disk) };
                    self.push(Token::new(DISK, 0, io.0), op, reactor);
                }
                ReplicaOutput::Stopped => self.phase = Phase::Stopped,
            }
        }
        if let Some(op) = self.prefill.next(self.now, &self.disk) {
            self.push(Token::new(PREFILL, 0, 0), op, reactor);
        }
        // What the performing itself brought (closed connections) waits for the next pump.
        outputs.append(&mut self.outputs);
        self.outputs = outputs;
    }

    /// Starts a disk operation, or keeps it until others have ended.
    fn push(&mut self, token: Token, op: Op, reactor: &mut Reactor) {
        let op = if self.disk_operations < MAX_DISK_OPERATIONS {
            self.give(token, op, reactor)
        } else {
            Err(Rejected(op))
        };
        if let Err(Rejected(op)) = op {
            self.waiting.push_back((token, op));
        }
    }

    fn give(&mut self, token: Token, op: Op, reactor: &mut Reactor) -> Result<(), Rejected> {
        reactor.push(token, op)?;
        self.disk_operations += 1;
        Ok(())
    }

    fn touch(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.touched) {
            conn.touched = true;
            self.touched.push(id);
        }
    }

    /// Starts one send and one receive on every connection where something happened.
    fn pump_conns(&mut self, reactor: &mut Reactor) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            // A client that was too busy to be heard may have frames here already.
            self.take_requests(id);
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.touched = false;
            let deaf = conn.closing || conn.is_busy();
            let pumped = if deaf { conn.link.pump_sends(reactor) } else { conn.link.pump(reactor) };
            if let Err(error) = pumped {
                tracing::error!(disk = %self.status.disk, conn = id, %error, "closing a connection");
                self.close(id);
            } else if conn.closing && !conn.link.has_queued() {
                self.close(id);
            }
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    fn close(&mut self, id: u64) {
        if let Some(conn) = self.conns.remove(&id)
            && !conn.closing
        {
            self.submit(ReplicaInput::Closed(ConnId(id)));
        }
    }

    fn publish(&mut self) {
        let store = self.replica.store();
        self.status.incarnation = store.incarnation();
        self.status.stat = store.stat();
        self.status.failure = store.failure().cloned();
        self.status.connections = self.conns.len();
        self.shared.publish(&self.status);
    }
}

impl Task for Shard {
    type Outcome = Result<(), Error>;

    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        self.now = self.clock.now();
        self.complete(completion, reactor);
    }

    fn turn(&mut self, reactor: &mut Reactor) -> Turn<Self::Outcome> {
        self.now = self.clock.now();
        self.on_signals();
        if self.shared.kill.load(Ordering::SeqCst) {
            return Turn::End(Ok(()));
        }
        self.unpumped = false;
        self.replica.pump(self.now, &mut self.outputs);
        self.perform(reactor);
        self.pump_conns(reactor);
        if self.phase == Phase::Stopped {
            return Turn::End(self.end());
        }
        Turn::Wait(Some(if self.unpumped { Duration::ZERO } else { self.next_tick.since(self.now) }))
    }
}

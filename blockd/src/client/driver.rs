//! Runs a volume's core on a reactor that belongs to the caller.

use super::control::ControlLine;
use super::core::{CoreInput, CoreOutput, CoreStats, Peer, VolumeCore};
use super::{VolumeConfig, VolumeOp};
use crate::ClientError;
use crate::limits::CONNECT_TIMEOUT;
use crate::link;
use bytes::Bytes;
use proto::VolumeId;
use proto::message::{Reply, Request};
use rt::clock::{Clock, Instant, SystemClock};
use rt::framed::{FrameConn, OwnerTag, Progress};
use rt::ring::{Completion, Reactor};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// One volume on somebody's reactor.
///
/// The caller gives it every completion whose token's owner is the one it was made with, calls
/// [`on_deadline`](Self::on_deadline) when [`next_deadline`](Self::next_deadline) has come, takes what is
/// done, and calls [`pump`](Self::pump) once before each wait: so all that was submitted in one turn
/// leaves in one send a member.
///
/// ```text
/// driver.start(&mut reactor);
/// loop {
///     driver.pump(&mut reactor);
///     reactor.wait(.., &mut completions);
///     for completion in .. { driver.on_completion(completion, &mut reactor) }
///     if deadline has come { driver.on_deadline(&mut reactor) }
///     while let Some((id, result)) = driver.take_done() { .. }
///     for id, op in new work { driver.submit(id, op, &mut reactor) }
/// }
/// ```
pub struct VolumeDriver {
    core: VolumeCore,
    volume: VolumeId,
    owner: u8,
    clock: Arc<dyn Clock>,
    /// By peer number.
    links: Vec<Option<Link>>,
    /// Connections made so far: tells a late completion of an old one from the present one's.
    serial: u64,
    control: ControlLine,
    outputs: Vec<CoreOutput>,
    /// What performing outputs brought about; goes in next.
    inputs: VecDeque<CoreInput>,
    done: VecDeque<(u64, Result<Option<Bytes>, ClientError>)>,
    opened: Option<Result<(), ClientError>>,
}

struct Link {
    serial: u64,
    conn: link::Link<Request, Reply>,
}

/// Bits of a token's id that hold the peer's number; the rest is the connection's serial number.
const PEER_BITS: u32 = 16;

impl VolumeDriver {
    /// A driver whose operations' tokens have `owner` as their high byte. Fails if the lease's map is
    /// broken or has too few in-sync members.
    pub fn new(config: VolumeConfig, owner: u8) -> Result<Self, ClientError> {
        Self::with_clock(config, owner, Arc::new(SystemClock))
    }

    /// [`new`](Self::new) with a clock of the caller's.
    pub fn with_clock(config: VolumeConfig, owner: u8, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let volume = config.lease.volume;
        let control = ControlLine::new(config.control.clone());
        Ok(Self {
            core: VolumeCore::new(config)?,
            control,
            volume,
            owner,
            clock,
            links: Vec::new(),
            serial: 0,
            outputs: Vec::new(),
            inputs: VecDeque::new(),
            done: VecDeque::new(),
            opened: None,
        })
    }

    /// Begins to open the volume. [`take_opened`](Self::take_opened) tells the outcome; what is submitted
    /// meanwhile waits.
    pub fn start(&mut self, reactor: &mut Reactor) {
        self.control.wake_with(reactor.waker());
        self.step(CoreInput::Tick, reactor);
        self.pump(reactor);
    }

    /// The outcome of opening, once.
    pub fn take_opened(&mut self) -> Option<Result<(), ClientError>> {
        self.opened.take()
    }

    pub fn size_bytes(&self) -> u64 {
        self.core.size_bytes()
    }

    /// The volume was made larger. A smaller size changes nothing.
    pub fn set_size(&mut self, size_bytes: u64) {
        self.core.set_size(size_bytes);
    }

    pub fn stats(&self) -> CoreStats {
        self.core.stats()
    }

    /// Begins an operation. `id` is the caller's and comes back in [`take_done`](Self::take_done); it must
    /// not be one that is still in progress. It reaches the members with the next [`pump`](Self::pump).
    pub fn submit(&mut self, id: u64, op: VolumeOp, reactor: &mut Reactor) {
        self.step(CoreInput::Submit { id, op }, reactor);
    }

    /// Takes a completion of this driver's owner number.
    pub fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        let id = completion.token.id();
        let Ok(number) = u16::try_from(id & ((1 << PEER_BITS) - 1)) else { return };
        let peer = Peer(number);
        let Some(link) = self.link(peer).filter(|link| link.serial == id >> PEER_BITS) else { return };
        match link.conn.on_completion(completion) {
            Progress::Connected => self.step(CoreInput::Connected(peer), reactor),
            Progress::Received => self.take_replies(peer, reactor),
            Progress::Sent => {}
            Progress::Closed(error) => {
                tracing::debug!(volume = self.volume.0, peer = number, %error, "a connection ended");
                self.disconnected(peer, reactor);
            }
        }
    }

    /// Sends what is queued, receives what comes, and takes what the control plane answered. Call it once
    /// before each wait.
    pub fn pump(&mut self, reactor: &mut Reactor) {
        while let Some(answer) = self.control.take() {
            self.step(answer, reactor);
        }
        for number in 0..self.links.len() {
            let Some(link) = &mut self.links[number] else { continue };
            if let Err(error) = link.conn.pump(reactor) {
                tracing::warn!(volume = self.volume.0, peer = number, %error, "giving a connection up");
                self.disconnected(
                    Peer(u16::try_from(number).expect("peers are numbered in 16 bits")),
                    reactor,
                );
            }
        }
    }

    /// When [`on_deadline`](Self::on_deadline) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.done.is_empty() || self.opened.is_some() {
            // A pump brought something about: it must not wait until something else happens.
            return Some(self.clock.now());
        }
        let links = self.links.iter().flatten().filter_map(|link| link.conn.next_deadline());
        links.chain(self.core.next_deadline()).min()
    }

    /// Time has passed. Harmless when nothing is due.
    pub fn on_deadline(&mut self, reactor: &mut Reactor) {
        let now = self.clock.now();
        self.links.iter_mut().flatten().for_each(|link| link.conn.on_deadline(now, reactor));
        if self.core.next_deadline().is_some_and(|due| due <= now) {
            self.step(CoreInput::Tick, reactor);
        }
    }

    /// An operation that is done. Reads give their bytes, all others `None`.
    pub fn take_done(&mut self) -> Option<(u64, Result<Option<Bytes>, ClientError>)> {
        self.done.pop_front()
    }

    fn link(&mut self, peer: Peer) -> Option<&mut Link> {
        self.links.get_mut(usize::from(peer.0))?.as_mut()
    }

    fn take_replies(&mut self, peer: Peer, reactor: &mut Reactor) {
        // The core may drop the connection while it takes a reply, so it is looked up each time.
        while let Some(link) = self.link(peer) {
            match link.conn.next_message() {
                Ok(None) => return,
                Ok(Some(reply)) => self.step(CoreInput::Reply(peer, reply), reactor),
                Err(error) => {
                    tracing::warn!(volume = self.volume.0, peer = peer.0, %error, "a chunk server sent no frame");
                    self.disconnected(peer, reactor);
                }
            }
        }
    }

    fn disconnected(&mut self, peer: Peer, reactor: &mut Reactor) {
        self.links[usize::from(peer.0)] = None;
        self.step(CoreInput::Disconnected(peer), reactor);
    }

    fn step(&mut self, input: CoreInput, reactor: &mut Reactor) {
        let now = self.clock.now();
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut next = Some(input);
        while let Some(input) = next {
            self.core.step(now, input, &mut outputs);
            for output in outputs.drain(..) {
                self.perform(output, now, reactor);
            }
            next = self.inputs.pop_front();
        }
        self.outputs = outputs;
    }

    fn perform(&mut self, output: CoreOutput, now: Instant, reactor: &mut Reactor) {
        match output {
            CoreOutput::Connect { peer, addr, .. } => self.connect(peer, addr, now, reactor),
            CoreOutput::Disconnect(peer) => {
                if let Some(link) = self.links.get_mut(usize::from(peer.0)) {
                    *link = None;
                }
            }
            CoreOutput::Send(peer, request) => {
                let Some(link) = self.link(peer) else { return };
                if link.conn.queue(request).is_err() {
                    tracing::warn!(volume = self.volume.0, peer = peer.0, "a chunk server takes no requests");
                    self.links[usize::from(peer.0)] = None;
                    self.inputs.push_back(CoreInput::Disconnected(peer));
                }
            }
            CoreOutput::Report { disk, groups, complaint, why } => {
                self.control.evict(disk, groups, (complaint, why));
            }
            CoreOutput::WantMap { version } => self.control.map_since(version),
            CoreOutput::Complete { id, result } => self.done.push_back((id, result)),
            CoreOutput::Opened(result) => self.opened = Some(result),
        }
    }

    fn connect(&mut self, peer: Peer, addr: SocketAddr, now: Instant, reactor: &mut Reactor) {
        let number = usize::from(peer.0);
        if self.links.len() <= number {
            self.links.resize_with(number + 1, || None);
        }
        self.links[number] = None;
        self.serial += 1;
        let tag = OwnerTag { owner: self.owner, id: self.serial << PEER_BITS | u64::from(peer.0) };
        let conn = match link::door(addr).and_then(|door| door.connect(reactor, tag)) {
            Some(local) => Ok(link::Link::Local(local)),
            None => FrameConn::connect(reactor, tag, addr, now + CONNECT_TIMEOUT).map(link::Link::Tcp),
        };
        match conn {
            Ok(conn) => self.links[number] = Some(Link { serial: self.serial, conn }),
            Err(error) => {
                tracing::warn!(volume = self.volume.0, %addr, %error, "a connection could not be started");
                self.inputs.push_back(CoreInput::Disconnected(peer));
            }
        }
    }
}

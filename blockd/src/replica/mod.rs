//! One disk's side of the replication protocol: who may ask what, and what the store is told of it. Pure.
//!
//! - A connection shows the pool's token and the disk it means before anything else.
//! - A volume has at most one writing connection: the one that opened it last with the highest epoch. What
//!   still comes from an earlier one is refused, so a frame that lingered in a dead connection can't bring
//!   back what its writer has since trimmed, settled and forgotten.
//! - Fences are the store's, durable before an open is answered. The epoch belongs to the client that opened
//!   with it: another with the same epoch is refused, whatever gave it that epoch.
//! - A group's epoch, once adopted, is durable: frames of a former membership are refused after a restart,
//!   too. What frames bring along raises it in memory only (see `check_group`).
//! - Clients are hostile input: everything is checked, nothing is asserted, all tables are bounded.

mod limits;
mod log;
mod session;
mod token;
mod types;
mod upkeep;

pub use log::Log;
pub use types::{ConnId, ReplicaConfig, ReplicaInput, ReplicaOutput};

use crate::fast_map::FastMap;
use crate::limits::{REPLICA_OPENS_PER_CONNECTION, REPLICA_SETTLED_STEP, REPLICA_VOLUMES};
use crate::store::{Action, Answer, Event, Session, Store, Ticket, WriteKind};
use proto::limits::MAX_REQUESTS_PER_CONNECTION;
use proto::message::{BlockRange, HelloReply, OpenMode, OpenReply, Reply, ReplyBody, Request, RequestBody};
use proto::placement::group_of;
use proto::{
    ChunkId, ChunkIndex, ClientId, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId, WireError,
};
use rt::clock::Instant;
use session::{Conn, Opened, Writer};
use slab::Slab;

/// What a ticket given to the store is for.
#[derive(Debug)]
enum Waiting {
    Request { conn: ConnId, sequence: u64 },
    Open { conn: ConnId, sequence: u64, volume: VolumeId, client: ClientId },
    Verify { conn: ConnId, sequence: u64 },
    Stop,
}

/// One disk's replica, with its store.
#[derive(Debug)]
pub struct Replica<L = Store> {
    config: ReplicaConfig,
    store: L,
    conns: FastMap<u64, Conn>,
    /// Volumes that a writer has opened since the start.
    writers: FastMap<u64, Writer>,
    /// The highest epoch seen of each group, never below the one that was adopted for good.
    group_epochs: FastMap<u32, GroupEpoch>,
    waiting: Slab<Waiting>,
    actions: Vec<Action>,
    now: Instant,
}

type Refusal = (ErrorCode, String);

fn refuse<T>(code: ErrorCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err((code, why.into()))
}

impl<L: Log> Replica<L> {
    pub fn new(store: L, config: ReplicaConfig) -> Self {
        Self {
            config,
            store,
            conns: FastMap::default(),
            writers: FastMap::default(),
            group_epochs: FastMap::default(),
            waiting: Slab::new(),
            actions: Vec::new(),
            now: Instant(0),
        }
    }

    pub fn store(&self) -> &L {
        &self.store
    }

    /// Connections there are.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Takes one event and starts what is due. `submit` and `pump` in one.
    pub fn step(&mut self, now: Instant, input: ReplicaInput, out: &mut Vec<ReplicaOutput>) {
        self.submit(now, input, out);
        self.pump(now, out);
    }

    /// Takes one event; what is to be done about it is added to `out`.
    pub fn submit(&mut self, now: Instant, input: ReplicaInput, out: &mut Vec<ReplicaOutput>) {
        self.now = now;
        match input {
            ReplicaInput::Connected(conn) => {
                self.conns.insert(conn.0, Conn::default());
            }
            ReplicaInput::Closed(conn) => self.forget(conn),
            ReplicaInput::Request(conn, request) => self.request(conn, request, out),
            ReplicaInput::DiskDone { io, buf, result } => self.tell(Event::DiskDone { io, buf, result }),
            ReplicaInput::Tick => self.tell(Event::Tick),
            ReplicaInput::Stop => {
                let ticket = self.ticket(Waiting::Stop);
                self.tell(Event::Stop { ticket });
            }
        }
        self.act(out);
    }

    /// Lets the store make batches of what was submitted.
    pub fn pump(&mut self, now: Instant, out: &mut Vec<ReplicaOutput>) {
        self.store.pump(now, &mut self.actions);
        self.act(out);
    }

    fn tell(&mut self, event: Event) {
        self.store.submit(self.now, event, &mut self.actions);
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        Ticket(self.waiting.insert(waiting) as u64)
    }

    /// Passes the store's actions on, and its answers back.
    fn act(&mut self, out: &mut Vec<ReplicaOutput>) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::DiskRead { io, offset, buf } => out.push(ReplicaOutput::DiskRead { io, offset, buf }),
                Action::DiskWrite { io, offset, buf } => {
                    out.push(ReplicaOutput::DiskWrite { io, offset, buf })
                }
                Action::DiskFlush { io } => out.push(ReplicaOutput::DiskFlush { io }),
                Action::Answer { ticket, result } => self.answer(ticket, result, out),
            }
        }
        self.actions = actions;
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Answer, WireError>, out: &mut Vec<ReplicaOutput>) {
        let key = usize::try_from(ticket.0).expect("tickets are this replica's own keys");
        let waiting = self.waiting.try_remove(key).expect("the store answers each ticket once");
        let (conn, sequence) = match waiting {
            Waiting::Stop => return out.push(ReplicaOutput::Stopped),
            Waiting::Request { conn, sequence }
            | Waiting::Verify { conn, sequence }
            | Waiting::Open { conn, sequence, .. } => (conn, sequence),
        };
        let Some(state) = self.conns.get_mut(&conn.0) else { return };
        state.unanswered -= 1;
        let body = match (result, waiting) {
            (Err(error), _) => ReplyBody::Error(error),
            (Ok(_), Waiting::Open { volume, client, .. }) => ReplyBody::Open(self.open_reply(volume, client)),
            (Ok(Answer::Read { range, blocks, .. }), Waiting::Verify { .. }) => {
                ReplyBody::Verify { range, blocks }
            }
            (Ok(Answer::Done), _) => ReplyBody::Ack,
            (Ok(Answer::Read { range, blocks, data }), _) => ReplyBody::Read { range, blocks, data },
            (Ok(Answer::List { entries, next_cursor }), _) => ReplyBody::List { entries, next_cursor },
        };
        out.push(ReplicaOutput::Send(conn, Reply { sequence, body }));
    }

    fn open_reply(&self, volume: VolumeId, client: ClientId) -> OpenReply {
        let info = self.store.volume_info(volume);
        OpenReply {
            volume,
            settled: info.settled,
            stable: info.stable,
            highest: info.highest,
            held_sequence: self.store.held_sequence(client),
            fence: info.fence,
        }
    }

    /// Forgets a connection; answers still to come for it go nowhere.
    fn forget(&mut self, conn: ConnId) {
        let Some(state) = self.conns.remove(&conn.0) else { return };
        for opened in state.opens {
            if let Some(writer) = self.writers.get_mut(&opened.volume.0) {
                writer.conn = writer.conn.filter(|&current| current != conn);
            }
        }
    }

    fn close(&mut self, conn: ConnId, out: &mut Vec<ReplicaOutput>) {
        self.forget(conn);
        out.push(ReplicaOutput::Close(conn));
    }

    fn request(&mut self, conn: ConnId, request: Request, out: &mut Vec<ReplicaOutput>) {
        let Some(state) = self.conns.get_mut(&conn.0) else { return };
        let sequence = request.sequence;
        if state.unanswered >= MAX_REQUESTS_PER_CONNECTION {
            let why = format!("more than {MAX_REQUESTS_PER_CONNECTION} requests are unanswered");
            out.push(ReplicaOutput::Send(conn, Reply::error(sequence, ErrorCode::Busy, why)));
            self.close(conn, out);
            return;
        }
        let is_hello = matches!(request.body, RequestBody::Hello { .. });
        if state.greeted == is_hello {
            let why = if is_hello { "Hello comes once" } else { "Hello comes first" };
            out.push(ReplicaOutput::Send(conn, Reply::error(sequence, ErrorCode::Unauthorized, why)));
            self.close(conn, out);
            return;
        }
        match self.serve(conn, request, out) {
            // The store has it; its answer comes later.
            Ok(None) => {
                if let Some(state) = self.conns.get_mut(&conn.0) {
                    state.unanswered += 1;
                }
            }
            Ok(Some(body)) => out.push(ReplicaOutput::Send(conn, Reply { sequence, body })),
            Err((code, why)) => {
                out.push(ReplicaOutput::Send(conn, Reply::error(sequence, code, why)));
                if is_hello {
                    self.close(conn, out);
                }
            }
        }
    }

    /// Answers a request at once, or gives it to the store.
    fn serve(
        &mut self,
        conn: ConnId,
        request: Request,
        out: &mut Vec<ReplicaOutput>,
    ) -> Result<Option<ReplyBody>, Refusal> {
        let Request { sequence, settled, group_epoch, body } = request;
        let waiting = Waiting::Request { conn, sequence };
        match body {
            RequestBody::Hello { token, disk, .. } => {
                if !token::same(&token, &self.config.token.0) || disk != self.store.disk_id() {
                    return refuse(ErrorCode::Unauthorized, "the token or the disk is not this server's");
                }
                if let Some(state) = self.conns.get_mut(&conn.0) {
                    state.greeted = true;
                }
                let (incarnation, capacity_bytes) =
                    (self.store.incarnation(), self.store.stat().capacity_bytes);
                Ok(Some(ReplyBody::Hello(HelloReply { disk, incarnation, capacity_bytes })))
            }
            RequestBody::Open { volume, epoch, client, mode, groups } => {
                let opened = Opened { volume, epoch, client, mode, groups };
                self.open(conn, sequence, opened, out)
            }
            RequestBody::List { volume, above, cursor } => {
                self.opened(conn, volume)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::List { ticket, volume, above, cursor });
                Ok(None)
            }
            RequestBody::Write { range, version, crcs, data, kind } => {
                let session =
                    self.check_write(conn, sequence, (&range, version, kind), (settled, group_epoch))?;
                let ticket = self.ticket(waiting);
                self.tell(Event::Write { ticket, session, range, version, crcs, data, kind });
                Ok(None)
            }
            RequestBody::Trim { range, version, kind } => {
                let what = (&range, version, kind);
                let session = self.check_write(conn, sequence, what, (settled, group_epoch))?;
                let ticket = self.ticket(waiting);
                self.tell(Event::Trim { ticket, session, range, version, kind });
                Ok(None)
            }
            RequestBody::Flush { volume, stable, .. } if self.is_repairing(conn, volume) => {
                self.copy_horizon(conn, volume, stable)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::Flush { ticket });
                Ok(None)
            }
            RequestBody::Flush { volume, stable, whole, .. } => {
                let opened = self.writing(conn, volume)?;
                check_horizon(&opened, settled.max(stable))?;
                self.tell(Event::Horizon { volume, settled, stable, whole });
                if let Some(writer) = self.writers.get_mut(&volume.0) {
                    writer.settled = settled;
                }
                let ticket = self.ticket(waiting);
                self.tell(Event::Flush { ticket });
                Ok(None)
            }
            RequestBody::Read { range, epoch } => {
                let opened = self.opened(conn, range.volume)?;
                if opened.mode == OpenMode::Writer {
                    self.check_fence(range.volume, epoch)?;
                }
                self.check_group(&opened, &range, group_epoch)?;
                let ticket = self.ticket(waiting);
                self.tell(Event::Read { ticket, range });
                Ok(None)
            }
            RequestBody::DeleteVolume { volume, epoch } => {
                if !self.store.volume_info(volume).deleted {
                    self.check_fence(volume, epoch)?;
                }
                let ticket = self.ticket(waiting);
                self.tell(Event::DeleteVolume { ticket, volume });
                Ok(None)
            }
            RequestBody::VolumeStat { volume } => {
                Ok(Some(ReplyBody::VolumeStat(self.store.volume_stat(volume))))
            }
            RequestBody::DiskStat => Ok(Some(ReplyBody::DiskStat(self.store.stat()))),
            upkeep => self.serve_upkeep(conn, sequence, group_epoch, upkeep),
        }
    }

    fn open(
        &mut self,
        conn: ConnId,
        sequence: u64,
        opened: Opened,
        out: &mut Vec<ReplicaOutput>,
    ) -> Result<Option<ReplyBody>, Refusal> {
        let Opened { volume, epoch, client, mode, .. } = opened;
        self.make_room(conn, &opened)?;
        if self.store.volume_info(volume).deleted {
            return refuse(ErrorCode::Deleted, format!("volume {volume} was deleted"));
        }
        if mode != OpenMode::Writer {
            self.note_open(conn, opened);
            return Ok(Some(ReplyBody::Open(self.open_reply(volume, client))));
        }
        if epoch.0 == 0 || Version::first_of(epoch).epoch() != epoch {
            return refuse(ErrorCode::BadRequest, format!("{epoch} is no writer's epoch"));
        }
        self.check_fence(volume, epoch)?;
        if !self.writers.contains_key(&volume.0) && self.writers.len() >= REPLICA_VOLUMES {
            return refuse(ErrorCode::Busy, "too many volumes were opened since the server started");
        }
        let writer = self.writers.entry(volume.0).or_insert(Writer { epoch, client, ..Writer::default() });
        if writer.epoch == epoch && writer.client != client {
            let why = format!("epoch {epoch} of volume {volume} is another writer's");
            return refuse(ErrorCode::Fenced, why);
        }
        let before = writer.conn.replace(conn);
        let same_client = writer.client == client;
        (writer.epoch, writer.client) = (epoch, client);
        self.note_open(conn, opened);
        // The same client's former connection is dead, though this side may not know it yet. Another
        // client's stays: it is told that it is fenced.
        if let Some(before) = before.filter(|&before| same_client && before != conn) {
            self.close(before, out);
        }
        let ticket = self.ticket(Waiting::Open { conn, sequence, volume, client });
        self.tell(Event::Fence { ticket, volume, epoch });
        Ok(None)
    }

    /// Bounds what a connection has open. Opens to repair hold nothing, and whoever repairs goes through all
    /// volumes of a disk: the oldest gives way.
    fn make_room(&mut self, conn: ConnId, opened: &Opened) -> Result<(), Refusal> {
        let Some(state) = self.conns.get_mut(&conn.0) else { return Ok(()) };
        let others = state.opens.iter().filter(|open| open.volume != opened.volume).count();
        if others < REPLICA_OPENS_PER_CONNECTION {
            return Ok(());
        }
        match state.opens.iter().position(|open| open.mode == OpenMode::Repair) {
            Some(oldest) if opened.mode == OpenMode::Repair => {
                state.opens.remove(oldest);
                Ok(())
            }
            _ => {
                let why = format!("a connection may open {REPLICA_OPENS_PER_CONNECTION} volumes");
                refuse(ErrorCode::BadRequest, why)
            }
        }
    }

    fn note_open(&mut self, conn: ConnId, opened: Opened) {
        if let Some(state) = self.conns.get_mut(&conn.0) {
            state.opens.retain(|open| open.volume != opened.volume);
            state.opens.push(opened);
        }
    }

    /// What the connection opened the volume as.
    fn opened(&self, conn: ConnId, volume: VolumeId) -> Result<Opened, Refusal> {
        let opens = self.conns.get(&conn.0).map_or(&[][..], |state| &state.opens);
        match opens.iter().find(|open| open.volume == volume) {
            Some(opened) => Ok(*opened),
            None => refuse(ErrorCode::BadRequest, format!("volume {volume} is not open on this connection")),
        }
    }

    /// The same, if it is the volume's one writer.
    fn writing(&self, conn: ConnId, volume: VolumeId) -> Result<Opened, Refusal> {
        let opened = self.opened(conn, volume)?;
        if opened.mode != OpenMode::Writer {
            return refuse(ErrorCode::BadRequest, format!("volume {volume} is open for reading only"));
        }
        self.check_fence(volume, opened.epoch)?;
        match self.writers.get(&volume.0) {
            Some(writer) if writer.conn == Some(conn) && writer.epoch == opened.epoch => Ok(opened),
            _ => refuse(ErrorCode::Fenced, format!("volume {volume} was opened again on another connection")),
        }
    }

    fn check_fence(&self, volume: VolumeId, epoch: VolumeEpoch) -> Result<(), Refusal> {
        let fence = self.store.volume_info(volume).fence;
        if epoch < fence {
            let why = format!("volume {volume} was opened with epoch {fence}; this is epoch {epoch}");
            return refuse(ErrorCode::Fenced, why);
        }
        Ok(())
    }

    /// Checks a write or trim against its session, and takes in what it says of horizons and groups.
    fn check_write(
        &mut self,
        conn: ConnId,
        sequence: u64,
        (range, version, kind): (&BlockRange, Version, WriteKind),
        (settled, group_epoch): (Version, GroupEpoch),
    ) -> Result<Session, Refusal> {
        let opened = self.writing(conn, range.volume)?;
        let epoch = version.epoch();
        if epoch > opened.epoch || epoch < opened.epoch && kind != WriteKind::Repair {
            let why = format!("version {version} is not of the epoch {} that was opened", opened.epoch);
            return refuse(ErrorCode::BadRequest, why);
        }
        check_horizon(&opened, settled)?;
        self.check_group(&opened, range, group_epoch)?;
        let writer = self.writers.entry(range.volume.0).or_default();
        if settled.0 >= writer.settled.0.saturating_add(REPLICA_SETTLED_STEP) {
            writer.settled = settled;
            let (volume, stable) = (range.volume, Version::ZERO);
            self.tell(Event::Horizon { volume, settled, stable, whole: false });
        }
        Ok(Session { client: opened.client, sequence })
    }

    /// Refuses what is of a former membership of the range's group.
    fn check_group(&mut self, opened: &Opened, range: &BlockRange, epoch: GroupEpoch) -> Result<(), Refusal> {
        self.check_chunk(opened, range.volume, range.chunk, epoch)
    }

    fn check_chunk(
        &mut self,
        opened: &Opened,
        volume: VolumeId,
        chunk: ChunkIndex,
        epoch: GroupEpoch,
    ) -> Result<(), Refusal> {
        self.check_epoch(group_of(ChunkId { volume, index: chunk }, opened.groups.max(1)), epoch)
    }

    /// Refuses an epoch below the group's newest, and remembers the newest.
    ///
    /// That a frame raised it is forgotten at a restart, and may be: only a catch-up relies on old frames
    /// being refused, and its `AdoptGroup` is durable before it reads anything.
    fn check_epoch(&mut self, group: GroupId, epoch: GroupEpoch) -> Result<(), Refusal> {
        let store = &self.store;
        let known = self.group_epochs.entry(group.0).or_insert_with(|| store.group_epoch(group));
        if epoch < *known {
            let why = format!("group {group} is at epoch {known}; this is epoch {epoch}");
            return refuse(ErrorCode::StaleGroupEpoch, why);
        }
        *known = epoch;
        Ok(())
    }
}

/// A writer can't know of a higher epoch than its own.
fn check_horizon(opened: &Opened, horizon: Version) -> Result<(), Refusal> {
    if horizon.epoch() > opened.epoch {
        let why = format!("the horizon {horizon} is above the epoch {} that was opened", opened.epoch);
        return refuse(ErrorCode::BadRequest, why);
    }
    Ok(())
}

#[cfg(test)]
#[path = "replica_test.rs"]
mod tests;

//! A chunk server: a real replica with a real store on a simulated disk.

use crate::clock::SimClock;
use crate::disk::{SimDisk, Wrote};
use crate::keeper::Keeper;
use crate::oracle::is_stamped;
use crate::world::{Event, MILLISECOND, TOKEN, World};
use blockd::replica::{ConnId, Replica, ReplicaConfig, ReplicaInput, ReplicaOutput};
use blockd::store::{IoId, Store};
use proto::DiskId;
use rt::buf::{AlignedBuf, Gather};
use std::collections::BTreeMap;

const TICK: u64 = 200 * MILLISECOND;

/// What a disk was asked.
#[derive(Debug)]
pub enum DiskOp {
    Read(AlignedBuf, u64),
    Write(Gather, u64),
    Flush { mark: u64 },
}

pub struct Server {
    pub replica: Option<Replica<Store>>,
    pub disk: SimDisk,
    pub id: DiskId,
    pub clock: SimClock,
    pub life: u64,
    /// When this life began.
    pub since: u64,
    /// The life whose shard was last seen to have stopped.
    stopped_life: u64,
    ios: BTreeMap<u64, (IoId, DiskOp)>,
    ticking: bool,
    /// Something happened since its last tick.
    busy: bool,
    pub slow_until: u64,
    /// How many times as long as usual its disk takes until then.
    pub slow_by: u64,
    /// Until then it refuses writes for want of room.
    pub full_until: u64,
    /// Connections whose clients were not told that it died: its machine went with it.
    silent: Vec<u64>,
    pub keeper: Keeper,
    /// Why it can't be mounted any more.
    pub dead: Option<String>,
}

impl Server {
    pub fn new(id: DiskId, len_bytes: u64, clock: SimClock) -> Self {
        let disk = SimDisk::new(len_bytes);
        Store::format(&disk, id).expect("a fresh simulated disk can be formatted");
        Self {
            replica: None,
            disk,
            id,
            clock,
            life: 0,
            since: 0,
            stopped_life: 0,
            ios: BTreeMap::new(),
            ticking: false,
            busy: false,
            slow_until: 0,
            slow_by: 1,
            full_until: 0,
            silent: Vec::new(),
            keeper: Keeper::default(),
            dead: None,
        }
    }
}

impl World {
    pub fn is_server_up(&self, server: usize) -> bool {
        self.servers[server].replica.is_some()
    }

    pub fn start_server(&mut self, number: usize) {
        let server = &mut self.servers[number];
        if server.replica.is_some() || server.dead.is_some() {
            return;
        }
        server.disk.disarm();
        match Store::mount(&server.disk) {
            Ok((store, report)) => {
                server.replica = Some(Replica::new(store, ReplicaConfig { token: TOKEN }));
                self.trace.say(self.now, || format!("server {number} starts: {report:?}"));
            }
            Err(error) => {
                self.trace.say(self.now, || format!("server {number} can't start: {error}"));
                server.dead = Some(error.to_string());
                return;
            }
        }
        server.life += 1;
        server.ticking = false;
        let silent = std::mem::take(&mut server.silent);
        self.servers[number].since = self.moment();
        for conn in silent {
            self.after(MILLISECOND, Event::Broken(conn));
        }
    }

    /// Ends a server's process: what was in flight to the disk may or may not have got there. `silently`: its
    /// machine is gone too, and nobody hears of it before it is back.
    pub fn kill_server(&mut self, number: usize, silently: bool) {
        let server = &mut self.servers[number];
        if server.replica.take().is_none() {
            return;
        }
        self.trace.say(self.now, || format!("server {number} is killed"));
        self.forget_acks(number);
        self.kill_keeper(number);
        self.rouse_planner();
        let server = &mut self.servers[number];
        for (_, (_, op)) in std::mem::take(&mut server.ios) {
            if let DiskOp::Write(buf, offset) = op {
                server.disk.write_some(&mut self.rng, &buf.to_vec(), offset);
            }
        }
        let of_it = self.conns.iter_mut().filter(|(_, conn)| conn.server == number && conn.server_open);
        let mut dead = Vec::new();
        for (&id, conn) in of_it {
            conn.server_open = false;
            dead.push(id);
        }
        for conn in dead {
            if silently {
                self.servers[number].silent.push(conn);
            } else {
                self.after(MILLISECOND, Event::Broken(conn));
            }
        }
    }

    /// The disk of a killed server loses its cache.
    pub fn cut_power(&mut self, number: usize) {
        assert!(!self.is_server_up(number), "the process goes first");
        self.servers[number].disk.power_cut(&mut self.rng);
        self.lost(number);
    }

    /// Flips a bit of written data on one disk.
    pub fn flip(&mut self, number: usize) -> bool {
        self.servers[number].disk.flip(&mut self.rng, is_stamped)
    }

    pub fn spoil(&mut self, number: usize) -> bool {
        self.servers[number].disk.spoil(&mut self.rng, is_stamped)
    }

    pub fn tell_server(&mut self, number: usize, input: ReplicaInput) {
        let mut out = Vec::new();
        let server = &mut self.servers[number];
        let Some(replica) = &mut server.replica else { return };
        replica.step(server.clock.read(self.now), input, &mut out);
        let failed = replica.store().failure().is_some();
        server.busy = true;
        if !std::mem::replace(&mut server.ticking, true) {
            let life = server.life;
            self.after(TICK, Event::ServerTick { server: number, life });
        }
        for output in out {
            match output {
                ReplicaOutput::Send(conn, reply) => {
                    self.note_full(number, &reply);
                    self.note_answered(conn.0, reply.sequence, &reply.body);
                    self.send_reply(conn.0, reply);
                }
                ReplicaOutput::Close(conn) => {
                    if let Some(state) = self.conns.get_mut(&conn.0) {
                        state.server_open = false;
                    }
                    self.after(MILLISECOND / 10, Event::Broken(conn.0));
                }
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
        let life = self.servers[number].life;
        if failed && std::mem::replace(&mut self.servers[number].stopped_life, life) != life {
            self.custody.stopped(number);
            // Its keeper sees that the shard has stopped, and starts it again some time.
            let wait = self.rng.spread(20 * MILLISECOND, 9);
            self.after(wait, Event::Recycle { server: number, life });
        }
    }

    /// A server whose shard has stopped is started again.
    pub fn recycle(&mut self, number: usize, life: u64) {
        if self.servers[number].life == life {
            self.kill_server(number, false);
            self.start_server(number);
        }
    }

    fn start_io(&mut self, number: usize, io: IoId, op: DiskOp) {
        let most = if self.rng.chance(3) { 5 * MILLISECOND } else { 80_000 };
        let mut wait = 20_000 + self.rng.below(most);
        self.next_io += 1;
        let key = self.next_io;
        let server = &mut self.servers[number];
        if server.slow_until > self.now {
            wait *= server.slow_by;
        }
        server.ios.insert(key, (io, op));
        let life = server.life;
        self.after(wait, Event::Disk { server: number, life, io: key });
    }

    pub fn finish_io(&mut self, number: usize, key: u64) {
        let server = &mut self.servers[number];
        let Some((io, op)) = server.ios.remove(&key) else { return };
        let (mut struck, is_read) = (false, matches!(op, DiskOp::Read(..)));
        let (buf, result) = match op {
            DiskOp::Read(mut buf, offset) => {
                let result = server.disk.read(&mut buf, offset);
                (Some(buf), result)
            }
            DiskOp::Write(buf, offset) => {
                self.trace.note(offset);
                let bytes = buf.to_vec();
                self.trace.bytes(&bytes[..64]);
                let wrote = server.disk.write(&mut self.rng, &bytes, offset);
                if let Ok(Wrote::Amiss(mishap)) = wrote {
                    struck = true;
                    self.trace.say(self.now, || format!("server {number}, write at {offset}: {mishap:?}"));
                }
                (Some(buf.into_head()), wrote.map(drop))
            }
            DiskOp::Flush { mark } => {
                let result = server.disk.flush_to(&mut self.rng, mark);
                if result.is_err() {
                    // Whatever the device forgot: only the next replay will tell.
                    self.lost(number);
                }
                (None, result)
            }
        };
        self.struck |= struck || result.is_err() && !is_read;
        self.tell_server(number, ReplicaInput::DiskDone { io, buf, result });
    }

    pub fn server_tick(&mut self, number: usize, life: u64) {
        let server = &mut self.servers[number];
        if server.life != life || server.replica.is_none() {
            return;
        }
        server.ticking = false;
        // An idle server's ticks do nothing: they are skipped until something happens again.
        if std::mem::replace(&mut server.busy, false) {
            self.tell_server(number, ReplicaInput::Tick);
            self.servers[number].busy = false;
        }
    }

    pub fn close_at_server(&mut self, server: usize, conn: u64) {
        self.tell_server(server, ReplicaInput::Closed(ConnId(conn)));
    }
}

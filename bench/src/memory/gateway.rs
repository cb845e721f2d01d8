//! What a gateway takes with connections that are silent, and with as many that PUT and GET objects of 8 MiB. It is a
//! process of its own, which joins a store, so that nothing else is counted.

use super::Options;
use crate::counters::{Asked, Member, Meter, memory_bytes};
use crate::limits::{
    GATEWAY_CLIENT_THREADS, GATEWAY_LOOK, GATEWAY_OBJECT_BYTES, LEAST_OBJECT_DISK, OBJECT_DISK,
    S3_REQUEST_TIMEOUT_S,
};
use crate::machine::{now, pause};
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Better, Figure, MEMORY, Sample, count};
use crate::report::turns::in_turn;
use crate::report::{Report, RowName};
use crate::room::{DiskSize, Plan as RoomPlan, Room, within};
use crate::s3::Target;
use crate::s3::ask::Ask;
use crate::s3::bodies::{Bodies, Body};
use crate::s3::connection::Payload;
use crate::s3::loader::{Clients, Load, Plan};
use crate::s3::side::make_bucket;
use crate::server::Server;
use crate::store::Store;
use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// What the gateway may take besides a mebibyte a connection.
const ALLOWED_MIB: f64 = 64.0;

const REQUESTS: Figure = Figure::new("requests", "/s", Better::Higher);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Silent,
    Busy,
}

struct Gateway {
    server: Server,
    target: Arc<Target>,
}

/// What a client's thread asks for: of each of its connections an object of its own, put and got in turn.
struct PutAndGet(VecDeque<Ask>);

impl PutAndGet {
    fn of(connections: impl Iterator<Item = usize>) -> Self {
        let put = |connection: usize| Ask::Put { key: connection.to_string(), body: body(connection) };
        Self(connections.map(put).collect())
    }
}

impl Plan for PutAndGet {
    fn next(&mut self) -> Option<Ask> {
        self.0.pop_front()
    }

    /// Its connection asks next.
    fn served(&mut self, ask: &Ask) {
        self.0.extend(match ask.clone() {
            Ask::Put { key, body } => Some(Ask::Get { key, body }),
            Ask::Get { key, body } => Some(Ask::Put { key, body }),
            Ask::MakeBucket | Ask::Delete { .. } | Ask::List(_) => None,
        });
    }
}

fn body(connection: usize) -> Body {
    Body { len_bytes: GATEWAY_OBJECT_BYTES, stamp: connection as u64 }
}

/// The disks under the rows that are wanted, if one is.
pub fn disks(options: &Options, room: &Room) -> Result<Option<DiskSize>> {
    let plan = RoomPlan {
        stores: 1,
        disk: OBJECT_DISK,
        least: LEAST_OBJECT_DISK,
        beside_bytes: 0,
        options: "--dir, or leave the gateway's rows out by --only index",
    };
    (!rows(options).is_empty()).then(|| room.choose(plan)).transpose()
}

fn rows(options: &Options) -> Vec<(RowName, (u32, Kind))> {
    let kinds = [("silent", Kind::Silent), ("at work", Kind::Busy)];
    let connections = options.connections.iter();
    let rows = connections.flat_map(|&connections| kinds.map(|(name, kind)| (connections, name, kind)));
    let rows = rows.map(|(connections, name, kind)| {
        let name = format!("gateway: {connections} connections {name}");
        (RowName::new(name, &MEMORY), (connections, kind))
    });
    rows.filter(|(name, _)| options.run.wants(&name.workload)).collect()
}

pub fn run((options, disks): (&Options, DiskSize), folder: &Path, report: &mut Report) -> Result<()> {
    let rows = rows(options);
    for (name, (connections, _)) in &rows {
        let allowed = ALLOWED_MIB + f64::from(*connections);
        report.bounds.push(Bound::new(&name.workload, &MEMORY, Against::Itself, (allowed, None)));
    }
    within(folder, "gateway", |folder| {
        let store = Store::start(folder, disks, options.run.ashlar())?;
        let time = options.run.time();
        let most = options.connections.iter().copied().max().unwrap_or(0);
        let mut bodies = Bodies::new();
        bodies.prepare((0..most as usize).map(body));
        let mut has_bucket = false;
        in_turn(report, options.run.rounds, &rows, |&(connections, kind), _, _| {
            // A new one each time: what an allocator keeps of an earlier row is not this one's.
            let gateway = Gateway::start(&store)?;
            let load = gateway.load(&bodies, connections);
            if !std::mem::replace(&mut has_bucket, true) {
                make_bucket(&load).context("making a bucket")?;
            }
            let sample = match kind {
                Kind::Silent => gateway.with_silent(connections, time)?,
                Kind::Busy => gateway.with_busy(&load, time, folder)?,
            };
            Ok(Some(sample))
        })
    })
}

impl Gateway {
    fn start(store: &Store) -> Result<Self> {
        let (server, url) = store.start_gateway()?;
        Ok(Self { server, target: Arc::new(Target::ours(&url, &store.console)?) })
    }

    fn load(&self, bodies: &Bodies, connections: u32) -> Load {
        Load {
            target: Arc::clone(&self.target),
            bodies: bodies.clone(),
            connections: connections as usize,
            threads: GATEWAY_CLIENT_THREADS,
            payload: Payload::Signed,
            timeout_s: S3_REQUEST_TIMEOUT_S,
        }
    }

    /// Each has asked once, and is kept alive.
    fn with_silent(&self, connections: u32, time: Duration) -> Result<Sample> {
        let address = self.target.addresses[0];
        let mut open = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(address).context("connecting to the gateway")?;
            write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
            let mut some = [0; 512];
            ensure!(stream.read(&mut some)? > 0, "the gateway closed a connection");
            open.push(stream);
        }
        let most = self.most_memory(time)?;
        for stream in &open {
            stream.set_nonblocking(true)?;
            let mut some = [0; 4096];
            if stream.peek(&mut some).is_ok_and(|len| len == 0) {
                bail!("the gateway closed a silent connection while it was watched");
            }
        }
        let mut sample = Sample::default();
        sample.put(&MEMORY, count(most) / count(MIB));
        Ok(sample)
    }

    /// Each PUTs an object of its own and GETs it, over and over.
    fn with_busy(&self, load: &Load, time: Duration, folder: &Path) -> Result<Sample> {
        let (threads, connections) = (load.threads, load.connections);
        let meter = Meter::start(&[Member::one(self.server.pid(), "gateway")], folder)?;
        let clients = Clients::start(load, |thread| PutAndGet::of((thread..connections).step_by(threads)))?;
        clients.count();
        let most = self.most_memory(time);
        let usage = meter.read();
        // Of a gateway that has ended, its clients tell more than that its books can't be read.
        let (window, usage) = (clients.end()?, usage?);
        let mut sample = Sample::default();
        sample.put(&REQUESTS, count(window.total()) / usage.elapsed.as_secs_f64());
        usage.put(&mut sample, Asked { operations: window.total(), written_bytes: window.sent_bytes });
        sample.put(&MEMORY, count(most?) / count(MIB));
        Ok(sample)
    }

    /// The most that a look every few milliseconds found.
    fn most_memory(&self, time: Duration) -> Result<u64> {
        let begin = now();
        let mut most = 0;
        while begin.elapsed() < time {
            most = most.max(memory_bytes(self.server.pid())?);
            pause(GATEWAY_LOOK);
        }
        Ok(most)
    }
}

//! What a gateway takes with connections that are silent, and with as many that PUT and GET objects of 8 MiB. It is a
//! process of its own, which joins a store, so that nothing else is counted.

use super::Options;
use crate::counters::memory_bytes;
use crate::limits::{GATEWAY_LOOK, GATEWAY_OBJECT_BYTES, LEAST_OBJECT_DISK, OBJECT_DISK};
use crate::machine::{now, pause};
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Better, Figure, MEMORY, Sample, count};
use crate::report::turns::in_turn;
use crate::report::{Report, RowName};
use crate::room::{DiskSize, Plan, Room, within};
use crate::server::Server;
use crate::store::Store;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use trial::s3_client::S3Client;

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
    url: String,
    client: S3Client,
    runtime: Runtime,
}

/// The disks under the rows that are wanted, if one is.
pub fn disks(options: &Options, room: &Room) -> Result<Option<DiskSize>> {
    let plan = Plan {
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
        in_turn(report, options.run.rounds, &rows, |&(connections, kind), _, _| {
            // A new one each time: what an allocator keeps of an earlier row is not this one's.
            let gateway = Gateway::start(&store)?;
            let sample = match kind {
                Kind::Silent => gateway.with_silent(connections, time)?,
                Kind::Busy => gateway.with_busy(connections, time)?,
            };
            Ok(Some(sample))
        })
    })
}

impl Gateway {
    fn start(store: &Store) -> Result<Self> {
        let (server, url) = store.start_gateway()?;
        let variable = |name| store.console.variable(name);
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
        let client = S3Client::new(url.clone(), variable("AWS_DEFAULT_REGION")?.to_owned(), id, secret);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let made = runtime.block_on(client.put("/bench-memory", Vec::new())).context("no answer")?;
        ensure!([200, 409].contains(&made.status), "making a bucket was answered with {}", made.status);
        Ok(Self { server, url, client, runtime })
    }

    /// Each has asked once, and is kept alive.
    fn with_silent(&self, connections: u32, time: Duration) -> Result<Sample> {
        let address = self.url.strip_prefix("http://").context("its URL starts with http://")?;
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
    fn with_busy(&self, connections: u32, time: Duration) -> Result<Sample> {
        let begin = now();
        let tasks = (0..connections).map(|connection| {
            let (client, path) = (self.client.clone(), format!("/bench-memory/{connection}"));
            self.runtime.spawn(async move {
                let mut requests = 0_u64;
                while begin.elapsed() < time {
                    let put = client.put(&path, vec![7; GATEWAY_OBJECT_BYTES]).await;
                    ensure!(put.is_some_and(|answer| answer.status == 200), "a PUT failed");
                    let got = client.get(&path).await;
                    ensure!(got.is_some_and(|got| got.body.len() == GATEWAY_OBJECT_BYTES), "a GET failed");
                    requests += 2;
                }
                Ok(requests)
            })
        });
        let tasks = tasks.collect::<Vec<_>>();
        let most = self.most_memory(time)?;
        let mut requests = 0;
        for task in tasks {
            requests += self.runtime.block_on(task).context("a connection's task")??;
        }
        let mut sample = Sample::default();
        sample.put(&MEMORY, count(most) / count(MIB));
        sample.put(&REQUESTS, count(requests) / begin.elapsed().as_secs_f64());
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

//! Measures the block layer alone: three chunk servers on files, one volume driver, loopback TCP.
//!
//! `cargo run --release -p blockd --example volume_bench -- DIR [SECONDS [RUN]]`, where RUN is part of a run's name and
//! depth ("write 32"). The first run in a folder should be the whole one, since it fills the volume.

#![allow(clippy::print_stdout, reason = "this is a command-line tool")]

use blockd::client::{Holes, OnFull, VolumeConfig, VolumeDriver, VolumeOp};
use blockd::server::{ChunkServer, Missing, ServerConfig};
use bytes::Bytes;
use proto::control::{DiskPlace, Group, Lease, Member, PoolMap, PoolToken};
use proto::{ClientId, DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use rt::clock::{Clock, Instant, SystemClock};
use rt::ring::Reactor;
use rt::rng::{Rng, SystemRng};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOKEN: PoolToken = PoolToken([7; 32]);
const DISK_BYTES: u64 = 8 << 30;
const VOLUME_BYTES: u64 = 1 << 30;

fn start(dir: &Path, number: u8) -> (ChunkServer, DiskPlace) {
    let disk = DiskId([number; 16]);
    let config = ServerConfig {
        path: dir.join(format!("disk{number}")),
        disk,
        missing: Missing::Create { len_bytes: DISK_BYTES },
        listen: "127.0.0.1:0".parse().expect("an address"),
        token: TOKEN,
    };
    let server = ChunkServer::start(config).expect("the server starts");
    let place = DiskPlace { disk, node: NodeId(1), addr: server.addr() };
    (server, place)
}

fn config(disks: Vec<DiskPlace>) -> VolumeConfig {
    let members: Vec<_> = disks.iter().map(|place| Member::in_sync(place.disk)).collect();
    let group = |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: members.clone() };
    let map = PoolMap {
        groups: (0..128).map(group).collect(),
        disks,
        copies: Vec::new(),
        min_in_sync: 2,
        version: 1,
    };
    let epoch = u32::try_from(SystemClock.wall().0 / 1000 % (1 << 23)).expect("23 bits") + 1;
    let lease = Lease { volume: VolumeId(1), epoch: VolumeEpoch(epoch), size_bytes: VOLUME_BYTES, map };
    VolumeConfig {
        lease,
        token: TOKEN,
        client: ClientId(SystemRng.id()),
        on_full: OnFull::Fail,
        control: None,
    }
}

struct Bench {
    driver: VolumeDriver,
    reactor: Reactor,
    dice: u64,
}

/// How a run's offsets follow one another.
#[derive(Clone, Copy)]
enum Order {
    Random,
    Sequential,
}

struct Run {
    name: &'static str,
    depth: u64,
    len: usize,
    order: Order,
    writes: bool,
    /// Ends after this many operations, or at `until`.
    count: u64,
    until: Instant,
}

impl Bench {
    fn open(config: VolumeConfig) -> Self {
        let mut reactor = Reactor::new(rt::limits::REACTOR).expect("a reactor");
        let mut driver = VolumeDriver::new(config, 1).expect("a driver");
        driver.start(&mut reactor);
        let mut bench = Self { driver, reactor, dice: 0x9e37_79b9_7f4a_7c15 };
        loop {
            bench.turn();
            if let Some(opened) = bench.driver.take_opened() {
                opened.expect("the volume opens");
                return bench;
            }
        }
    }

    fn turn(&mut self) {
        self.driver.pump(&mut self.reactor);
        let now = SystemClock.now();
        let wait = self.driver.next_deadline().map(|due| due.since(now));
        let mut completions = Vec::new();
        self.reactor.wait(wait, &mut completions).expect("the reactor waits");
        for completion in completions {
            self.driver.on_completion(completion, &mut self.reactor);
        }
        self.driver.on_deadline(&mut self.reactor);
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 16) % below
    }

    fn run(&mut self, run: &Run) {
        let data = Bytes::from((0..run.len).map(|byte| (byte % 251).to_le_bytes()[0]).collect::<Vec<_>>());
        let blocks = VOLUME_BYTES / run.len as u64;
        let begin = SystemClock.now();
        let cpu = cpu_seconds();
        let mut started: Vec<Instant> = Vec::new();
        let mut latencies = Vec::new();
        let mut in_flight = 0;
        while in_flight > 0
            || started.is_empty()
            || ((started.len() as u64) < run.count && SystemClock.now() < run.until)
        {
            let more = (started.len() as u64) < run.count && SystemClock.now() < run.until;
            while more && in_flight < run.depth {
                let id = started.len() as u64;
                let block = match run.order {
                    Order::Random => self.roll(blocks),
                    Order::Sequential => id % blocks,
                };
                let offset = block * run.len as u64;
                let op = if run.writes {
                    VolumeOp::Write { offset, data: data.clone() }
                } else {
                    VolumeOp::Read { offset, len: run.len, holes: Holes::Zeros }
                };
                self.driver.submit(id, op, &mut self.reactor);
                started.push(SystemClock.now());
                in_flight += 1;
            }
            self.turn();
            while let Some((id, result)) = self.driver.take_done() {
                result.expect("the operation succeeds");
                let begun = started[usize::try_from(id).expect("an index")];
                latencies.push(SystemClock.now().since(begun).as_micros());
                in_flight -= 1;
            }
        }
        let seconds = SystemClock.now().since(begin).as_secs_f64();
        latencies.sort_unstable();
        let at = |thousandth: usize| latencies[latencies.len() * thousandth / 1000];
        let count = u32::try_from(latencies.len()).map(f64::from).unwrap_or(f64::MAX);
        let mib = count * f64::from(u32::try_from(run.len).unwrap_or(0)) / f64::from(1 << 20) / seconds;
        let rate = count / seconds;
        println!(
            "{:<22} depth {:>3}: {rate:>8.0} IOPS {mib:>7.0} MiB/s  p50 {:>6} us  p99 {:>6} us  p99.9 {:>6} us  cpu {:>5.1} us each",
            run.name,
            run.depth,
            at(500),
            at(990),
            at(999),
            (cpu_seconds() - cpu) / count * 1e6
        );
    }
}

/// User and system time of this process: of the client and all three servers.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<f64> =
        stat.split(") ").last().unwrap_or("").split(' ').filter_map(|f| f.parse().ok()).collect();
    // The state, the first field after the name, is no number; ticks are of 10 ms.
    (fields[10] + fields[11]) / 100.0
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("the first argument is a folder"));
    let seconds = args.next().map_or(3, |seconds| seconds.parse().expect("the second is seconds"));
    let only = args.next().unwrap_or_default();
    let (servers, places): (Vec<_>, Vec<_>) = (1..=3).map(|number| start(&dir, number)).unzip();
    let mut bench = Bench::open(config(places));
    let run = |name, depth, len, order, writes, count| Run {
        name,
        depth,
        len,
        order,
        writes,
        count,
        until: SystemClock.now() + Duration::from_secs(if count == u64::MAX { seconds } else { 600 }),
    };
    for (name, depth, len, order, writes) in [
        ("fill 1M", 4, 1 << 20, Order::Sequential, true),
        ("4K random write", 1, 4096, Order::Random, true),
        ("4K random write", 32, 4096, Order::Random, true),
        ("4K random write", 128, 4096, Order::Random, true),
        ("4K random read", 1, 4096, Order::Random, false),
        ("4K random read", 32, 4096, Order::Random, false),
        ("1M sequential write", 8, 1 << 20, Order::Sequential, true),
        ("1M sequential read", 8, 1 << 20, Order::Sequential, false),
    ] {
        if format!("{name} {depth}").contains(&only) {
            let count = if name == "fill 1M" { VOLUME_BYTES >> 20 } else { u64::MAX };
            bench.run(&run(name, depth, len, order, writes, count));
        }
    }
    drop(bench);
    for server in servers {
        println!("{:?}", server.status());
        server.stop().expect("a clean stop");
    }
}

//! `bench s3`: objects with three replicas beside other object stores, all driven by the same client.
//!
//! The client speaks plain HTTP/1.1 over keep-alive connections with SigV4, acknowledges at once (TCP_QUICKACK), and
//! checks what it gets: every status, every byte of an object, the ends of every page.

mod answer;
pub mod ask;
pub mod bodies;
pub mod connection;
mod garage;
pub mod list;
pub mod loader;
pub mod mixed;
mod peers;
mod plan;
mod rgw;
mod rows;
pub mod side;
mod sign;

use crate::counters::{Asked, Census, Meter, Usage};
use crate::limits::{
    CENSUS_TIME, S3_PREPARED_PER_S, S3_REQUEST_TIMEOUT_S, S3_SHARED_WINDOW_BYTES, WARM_UP_PART,
};
use crate::machine::{pause, say, say_aside};
use crate::options::Run;
use crate::report::figure::{Better, Figure, P50, P99, Sample, THROUGHPUT, count};
use crate::report::turns::in_turn;
use crate::report::{Report, Verdict};
use anyhow::{Context, Result};
use ask::Kind;
use bodies::{Bodies, Body};
use garage::Shape;
use loader::{Clients, Load, NoAnswer, Plan, Window};
use peers::{Access, Started};
use plan::{AtRandom, InTurn, Objects, Work};
use rows::{ROWS, Row, What};
use side::Side;
use sign::Identity;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    access: Access,
    /// Numbers of connections for every row, such as 1,2,4,8,16,32,64, in the place of each row's own.
    #[arg(long, value_delimiter = ',', value_parser = peers::connections)]
    connections: Vec<usize>,
    /// Objects of each size that are there to be got; of the largest a part.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    objects: u64,
}

impl Options {
    pub fn check(&self) -> bool {
        self.run.check
    }
}

/// Where a side's S3 API is.
#[derive(Clone)]
pub struct Target {
    /// Connections are spread over all of them.
    pub addresses: Vec<SocketAddr>,
    pub identity: Identity,
    pub bucket: String,
}

/// Not built by this tool.
pub const RUSTFS: &str = "rustfs";

/// Requests that were served.
const REQUESTS: Figure = Figure::new("requests", "/s", Better::Higher);
/// CPU time of the client's threads: a client that is busy all the time measures itself.
const CLIENT_CPU: Figure = Figure::new("client's CPU", "us/op", Better::Lower);
const CLIENT_BUSY: Figure = Figure::new("client busy", "%", Better::Lower);
/// Answers with status 503, beside the requests that were served.
const REFUSED: Figure = Figure::new("refused", "/s", Better::Lower);

/// What a measurement needs beside the side and the row.
struct Bench<'a> {
    run: &'a Run,
    access: &'a Access,
    bodies: Bodies,
    folder: &'a Path,
    census: Census,
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let rows = ROWS.iter().flat_map(|row| row.with_connections(&options.connections));
    let rows = options.run.rows(rows, Row::row_name)?;
    let (folder, facts) = options.run.begin()?;
    let started = options.access.start_sides(&options.run, folder.path(), Shape::ThreeSynced)?;
    let Started { mut sides, missing, disks } = started;
    let mut bench = Bench::new(&options.run, &options.access, folder.path());
    for side in &mut sides {
        say(&format!("{}: {}", side.name, side.durability));
        side.make_bucket(&bench.load(side, 1))?;
        for row in rows.iter().map(|(_, row)| row).filter(|row| row.what == What::Get) {
            say_aside(&format!("putting objects for {} into {}", row.name(), side.name));
            side.fill(&bench.load(side, 1), row.len_bytes, row.objects(options.objects))?;
        }
        side.settle()?;
    }
    let facts_of_sides = sides.iter().map(Side::facts).collect();
    let title = "Objects: one client over keep-alive connections";
    let mut report = Report::new("s3", title, facts, facts_of_sides);
    options.access.tell((&options.run, disks), &mut report);
    report.set("objects", options.objects.to_string());
    report.missing = missing;
    report.bounds = rows::bounds();

    in_turn(&mut report, options.run.rounds, &rows, |row, side, report| {
        let sample = bench.measure(&sides[side], row, report)?;
        sides[side].settle()?;
        Ok(Some(sample))
    })?;
    options.run.finish(&report)
}

impl<'a> Bench<'a> {
    fn new(run: &'a Run, access: &'a Access, folder: &'a Path) -> Self {
        Self { run, access, bodies: Bodies::new(), folder, census: Census::default() }
    }

    fn load(&self, side: &Side, connections: usize) -> Load {
        Load {
            target: Arc::clone(&side.target),
            bodies: self.bodies.clone(),
            connections,
            threads: self.access.threads,
            payload: self.access.payload,
            timeout_s: S3_REQUEST_TIMEOUT_S,
        }
    }

    fn measure(&mut self, side: &Side, row: &Row, report: &mut Report) -> Result<Sample> {
        match row.what {
            What::Get => {
                let objects = side.kept(row.len_bytes).context("the objects were put before the rounds")?;
                let load = self.load(side, row.connections);
                self.timed(side, &load, report, |thread| AtRandom::get(objects, thread as u64 + 1))
            }
            What::Put => {
                let first = side.stamps.load(Ordering::Relaxed);
                let objects = Objects { folder: "put", len_bytes: row.len_bytes, first, end: u64::MAX };
                self.prepare(objects);
                let load = self.load(side, row.connections);
                let sample =
                    self.timed(side, &load, report, |_| InTurn::new(Work::Put, objects, &side.stamps))?;
                // Small objects may stay, as they would in a store that is used; large ones would fill the disk.
                if row.len_bytes >= S3_SHARED_WINDOW_BYTES {
                    let end = side.stamps.load(Ordering::Relaxed);
                    side.do_all(&self.load(side, 1), Work::Delete, Objects { end, ..objects })?;
                }
                Ok(sample)
            }
            What::Delete => self.delete(side, row),
        }
    }

    /// Makes the hashes of large bodies before the time runs.
    fn prepare(&mut self, objects: Objects) {
        if self.access.payload == connection::Payload::Signed && objects.len_bytes > S3_SHARED_WINDOW_BYTES {
            let count = S3_PREPARED_PER_S * (self.run.seconds + 1);
            let stamps = objects.first..objects.first + count;
            self.bodies.prepare(stamps.map(|stamp| Body { len_bytes: objects.len_bytes, stamp }));
        }
    }

    /// Runs the plans for the time that was asked for, after a warm-up.
    fn timed<P: Plan + 'static>(
        &mut self,
        side: &Side,
        load: &Load,
        report: &mut Report,
        plan: impl FnMut(usize) -> P,
    ) -> Result<Sample> {
        let time = self.run.time();
        let clients = Clients::start(load, plan)?;
        pause(time / WARM_UP_PART);
        let meter = Meter::start(&side.members, self.folder)?;
        clients.count();
        pause(time);
        clients.idle();
        let usage = meter.read()?;
        let counted = self.census.system_calls(&side.members, report, || {
            clients.count_only();
            pause(time.min(CENSUS_TIME));
            clients.idle();
            Ok(clients.counted_only())
        });
        let window = clients.end()?;
        if window.total() == 0 {
            // What was answered came after its time; there is nothing to divide by.
            return Err(NoAnswer { seconds: self.run.seconds }.into());
        }
        let mut sample = self.sample(window, &usage);
        if let Some(counted) = counted? {
            counted.put(&mut sample);
        }
        Ok(sample)
    }

    /// Puts objects for as long as a row takes, so that each side gets as many as suits it, and then deletes them.
    fn delete(&mut self, side: &Side, row: &Row) -> Result<Sample> {
        let first = side.stamps.load(Ordering::Relaxed);
        let objects = Objects { folder: "del", len_bytes: row.len_bytes, first, end: u64::MAX };
        let clients = Clients::start(&self.load(side, row.connections), |_| {
            InTurn::new(Work::Put, objects, &side.stamps)
        })?;
        pause(self.run.time());
        clients.end()?;
        side.settle()?;
        // Every number that was taken was put: a plan's last request is waited for.
        let plan = InTurn::all(Work::Delete, Objects { end: side.stamps.load(Ordering::Relaxed), ..objects });
        let meter = Meter::start(&side.members, self.folder)?;
        let window = Clients::do_all(&self.load(side, row.connections), |_| plan.clone())?;
        Ok(self.sample(window, &meter.read()?))
    }

    fn sample(&self, mut window: Window, usage: &Usage) -> Sample {
        let mut sample = Sample::default();
        let (seconds, operations) = (usage.elapsed.as_secs_f64(), window.total());
        sample.put(&REQUESTS, count(operations) / seconds);
        let bytes = window.sent_bytes + window.received_bytes;
        if bytes > 0 {
            sample.put(&THROUGHPUT, count(bytes) / count(1 << 20) / seconds);
        }
        let mut by_kind = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|&kind| window.served[kind as usize] < operations) {
            let latencies = &mut window.latencies[kind as usize];
            by_kind.push((P50.of_part(kind.name()), latencies.at_us(500)));
            by_kind.push((P99.of_part(kind.name()), latencies.at_us(990)));
        }
        sample.put_latencies(&mut window.take_latencies());
        // No numbers where a row has one kind of request only.
        by_kind.iter().for_each(|(figure, value)| sample.put(figure, *value));
        usage.put(&mut sample, Asked { operations, written_bytes: window.sent_bytes });
        sample.put(&CLIENT_CPU, window.client_cpu.as_secs_f64() * 1e6 / count(operations));
        let threads = count(self.access.threads as u64);
        sample.put(&CLIENT_BUSY, window.client_cpu.as_secs_f64() * 100.0 / seconds / threads);
        if window.refused > 0 {
            sample.put(&REFUSED, count(window.refused) / seconds);
        }
        sample
    }
}

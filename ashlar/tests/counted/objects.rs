//! Objects over HTTP.

use crate::bounds::{Bound, at_most, check, none_or_at_most};
use crate::disks::store_without_holes;
use crate::meter::Meter;
use trial::harness::noise;
use trial::s3_client::{S3Client, runtime};

const OBJECT_BYTES: usize = 4096;
const OBJECTS: usize = 3000;
/// Where each waits for the one before.
const OBJECTS_ONE_BY_ONE: usize = 500;
const PAGES: usize = 100;
const CONNECTIONS: usize = 16;

const ALLOCATED: &str = "ashlar_process_allocated_bytes_total";
const ALLOCATIONS: &str = "ashlar_process_allocations_total";
const COMMANDS: &str = "ashlar_meta_proposals_total";
const COMMITS: &str = "ashlar_meta_log_flush_seconds_count";
const DISK_FLUSHES: &str = "ashlar_disk_flushes_total";
const DISK_WRITES: &str = "ashlar_disk_writes_total";
const DISK_WRITTEN: &str = "ashlar_disk_written_bytes_total";
const LOG_BYTES: &str = "ashlar_meta_log_bytes_total";
const QUERIES: &str = "ashlar_meta_queries_total";
const REQUESTS: &str = "ashlar_disk_requests_total";
const TEST: &str = "counted::objects::objects_cost_what_they_did";

// "measured": as in `volumes`. 4 KiB are too many for the index, so that each object is three blocks on three disks.

const PUTS: &[Bound] = &[
    // measured 0.31, twice: a flush of the control plane's log is for three PUTs and more; for one if nothing is grouped.
    at_most(COMMITS, 0.7),
    // measured 0.41, of three disks: one is for seven PUTs, and three are for one if none is shared.
    at_most(DISK_FLUSHES, 1.2),
    // measured 0.84
    at_most(DISK_WRITES, 1.8),
    // measured 15,740: thrice the block, and a header a batch.
    at_most(DISK_WRITTEN, 20_000.0),
    at_most(COMMANDS, 1.05),
    none_or_at_most(QUERIES, 2.2),
    // measured 129
    at_most(LOG_BYTES, 170.0),
    // measured 15.2
    at_most("calls", 28.0),
    // measured 6.8
    at_most("switches", 13.0),
    // measured 250
    at_most(ALLOCATIONS, 280.0),
    // measured 98,600
    at_most(ALLOCATED, 120_000.0),
];

const PUTS_ONE_BY_ONE: &[Bound] = &[
    at_most(COMMITS, 1.1),
    // One on each disk.
    at_most(DISK_FLUSHES, 3.1),
    at_most(DISK_WRITES, 3.1),
    at_most(DISK_WRITTEN, 25_500.0),
    // A write and a flush on each disk.
    at_most(REQUESTS, 6.1),
    at_most(COMMANDS, 1.1),
    none_or_at_most(QUERIES, 2.8),
    // measured 170
    at_most(LOG_BYTES, 200.0),
    // measured 58
    at_most("calls", 80.0),
    // measured 35
    at_most("switches", 48.0),
    // measured 388: a batch of the control plane is for one PUT alone.
    at_most(ALLOCATIONS, 440.0),
    // measured 112,000 to 142,000
    at_most(ALLOCATED, 200_000.0),
];

/// Of objects that nobody has read yet: what was read is kept for a while.
const GETS: &[Bound] = &[
    at_most("ashlar_disk_read_bytes_total", 4096.0),
    at_most("ashlar_disk_reads_total", 1.0),
    at_most(REQUESTS, 1.02),
    none_or_at_most(QUERIES, 3.1),
    // measured 4.2
    at_most("calls", 8.0),
    // measured 0.72, and 2.04 once on a machine with five times as much to do as it can: how many requests a thread
    // finds when it wakes is the machine's business, one by one would be 8
    at_most("switches", 5.0),
    // measured 514 and 519
    at_most(ALLOCATIONS, 545.0),
    // measured 49,700
    at_most(ALLOCATED, 57_000.0),
];

const GETS_ONE_BY_ONE: &[Bound] = &[
    at_most("ashlar_disk_read_bytes_total", 4096.0),
    at_most("ashlar_disk_reads_total", 1.0),
    at_most(REQUESTS, 1.02),
    none_or_at_most(QUERIES, 3.2),
    // measured 16.0
    at_most("calls", 21.0),
    // measured 7.8
    at_most("switches", 11.0),
    // measured 517 and 524
    at_most(ALLOCATIONS, 555.0),
    // measured 47,700
    at_most(ALLOCATED, 57_000.0),
];

/// A page of a thousand keys.
const LISTS: &[Bound] = &[
    none_or_at_most(QUERIES, 3.5),
    // measured 1.6 to 3.3: an answer of 300 KiB must not be many small sends.
    at_most("calls", 12.0),
    // measured 10,540: ten a key.
    at_most(ALLOCATIONS, 11_200.0),
    // measured 1.27 million
    at_most(ALLOCATED, 1_400_000.0),
];

#[test]
fn objects_cost_what_they_did() {
    let store = store_without_holes("256M");
    let runtime = runtime();
    let client = S3Client::of(&store);
    // Each connection's, before anything is counted.
    runtime.block_on(async {
        assert_eq!(client.put("/counted", Vec::new()).await.unwrap().status, 200);
        send(&client, CONNECTIONS, CONNECTIONS, Ask::put("/counted/warm-")).await;
    });
    let meter = Meter::new(&store);
    let run = |what: &str, (connections, count): (usize, usize), ask: Ask, bounds: &[Bound]| {
        let counts = meter.of(|| runtime.block_on(send(&client, connections, count, ask)));
        check(TEST, what, count, &counts, bounds);
    };
    let (together, one_by_one) = ((CONNECTIONS, OBJECTS), (1, OBJECTS_ONE_BY_ONE));
    run("4 KiB PUTs over 16 connections", together, Ask::put("/counted/a-"), PUTS);
    run("4 KiB PUTs over one connection", one_by_one, Ask::put("/counted/b-"), PUTS_ONE_BY_ONE);
    run("4 KiB GETs over 16 connections", together, Ask::get("/counted/a-"), GETS);
    run("4 KiB GETs over one connection", one_by_one, Ask::get("/counted/b-"), GETS_ONE_BY_ONE);
    run("LIST of 1,000 keys", (1, PAGES), Ask::list("/counted?list-type=2"), LISTS);
}

/// The same request many times.
#[derive(Debug, Clone, Copy)]
struct Ask {
    method: &'static str,
    path: &'static str,
    /// The request's number goes behind the path.
    numbered: bool,
    body: usize,
    /// What an answer has at least.
    answer: usize,
}

impl Ask {
    fn put(path: &'static str) -> Self {
        Self { method: "PUT", path, numbered: true, body: OBJECT_BYTES, answer: 0 }
    }

    fn get(path: &'static str) -> Self {
        Self { method: "GET", path, numbered: true, body: 0, answer: OBJECT_BYTES }
    }

    /// A thousand keys take a hundred bytes and more each.
    fn list(path: &'static str) -> Self {
        Self { method: "GET", path, numbered: false, body: 0, answer: 100_000 }
    }
}

/// `count` requests, by so many tasks that each wait for their answers.
async fn send(client: &S3Client, connections: usize, count: usize, ask: Ask) {
    let task = |first: usize| {
        let client = client.clone();
        async move {
            for number in (first..count).step_by(connections) {
                let number = if ask.numbered { format!("{number:06}") } else { String::new() };
                let path = format!("{}{number}", ask.path);
                let answer = client.send(ask.method, &path, noise(3, ask.body)).await.unwrap();
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                assert!(answer.body.len() >= ask.answer, "{} bytes of {path}", answer.body.len());
            }
        }
    };
    let tasks: Vec<_> = (0..connections).map(|first| tokio::spawn(task(first))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

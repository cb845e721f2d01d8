//! Blocks of a volume over vhost-user, by libblkio.

use crate::bounds::{Bound, at_most, check};
use crate::disks::store_without_holes;
use crate::meter::Meter;
use std::time::Duration;
use trial::block_client::BlockClient;
use trial::harness::{Random, noise};

const BLOCK: usize = 4096;
/// Of the volume, and of each pass.
const BLOCKS: usize = 20_000;
/// Where each waits for the one before.
const BLOCKS_ONE_BY_ONE: usize = 4000;
const ALLOCATED: &str = "ashlar_process_allocated_bytes_total";
const ALLOCATIONS: &str = "ashlar_process_allocations_total";
const DISK_WRITES: &str = "ashlar_disk_writes_total";
const DISK_WRITTEN: &str = "ashlar_disk_written_bytes_total";
const REQUESTS: &str = "ashlar_disk_requests_total";
const TEST: &str = "counted::volumes::blocks_cost_what_they_did";

// Three replicas: what each of the three chunk servers does counts three times. "measured": debug build, two cores,
// other builds beside it; quieter and busier runs differed by less than the room that is left.

/// Nobody polls for work; what is left is timers.
const AT_REST: &[Bound] = &[
    // measured 90
    at_most("calls", 250.0),
    // measured 67
    at_most("switches", 200.0),
];

/// Each block of the volume once: what the index takes for blocks that come in any order.
const FIRST_WRITES: &[Bound] = &[
    // measured 48.6: 16 bytes of slot a block and a hundredth of chunk, thrice.
    at_most("ashlar_disk_index_bytes", 50.0),
    at_most(DISK_WRITTEN, 14_400.0),
];

const WRITES: &[Bound] = &[
    // measured 0.18 to 0.20, which is 16 writes a batch. A quarter of the depth must come together in any case:
    // replies to one batch bring the requests of the next.
    at_most(DISK_WRITES, 0.4),
    // measured 13,140: three times the block, and a header of 4 KiB a batch.
    at_most(DISK_WRITTEN, 14_000.0),
    // The same as the kernel counts it: nothing else is written beside it.
    at_most("written_bytes", 14_200.0),
    // measured 0.75 to 0.94
    at_most("calls", 2.0),
    at_most("ring_calls", 1.9),
    // measured 0.25 to 0.40
    at_most("switches", 1.0),
    // measured 17.0
    at_most(ALLOCATIONS, 18.5),
    // measured 18,070: one more copy of a block anywhere would be 4,096 more.
    at_most(ALLOCATED, 21_000.0),
    at_most(REQUESTS, 3.05),
];

const WRITES_ONE_BY_ONE: &[Bound] = &[
    // measured 3.001: one write of the device for each replica.
    at_most(DISK_WRITES, 3.05),
    // measured 24,579 and 24,834: header and block for each replica, and sometimes a checkpoint.
    at_most(DISK_WRITTEN, 25_500.0),
    at_most("written_bytes", 26_000.0),
    // measured 15.9 and 16.3
    at_most("calls", 19.0),
    at_most("ring_calls", 18.0),
    // measured 7.2: a wake-up of the device's thread and one of each server, and their replies'.
    at_most("switches", 10.0),
    // measured 25.9 and 26.9
    at_most(ALLOCATIONS, 29.0),
    // measured 19,530
    at_most(ALLOCATED, 22_500.0),
    at_most(REQUESTS, 3.05),
];

const READS: &[Bound] = &[
    // One replica is asked and reads one block.
    at_most("ashlar_disk_read_bytes_total", 4096.0),
    at_most("ashlar_disk_reads_total", 1.0),
    at_most(REQUESTS, 1.02),
    // measured 0.82 to 1.14
    at_most("calls", 2.0),
    at_most("ring_calls", 1.9),
    // measured 0.29 to 0.37
    at_most("switches", 1.0),
    // measured 12.3
    at_most(ALLOCATIONS, 13.5),
    // measured 790: buffers of data are used again.
    at_most(ALLOCATED, 1200.0),
];

const READS_ONE_BY_ONE: &[Bound] = &[
    at_most("ashlar_disk_read_bytes_total", 4096.0),
    at_most("ashlar_disk_reads_total", 1.0),
    at_most(REQUESTS, 1.05),
    // measured 7.1
    at_most("calls", 9.0),
    at_most("ring_calls", 8.0),
    // measured 3.8
    at_most("switches", 5.0),
    // measured 13.8
    at_most(ALLOCATIONS, 15.0),
    // measured 880
    at_most(ALLOCATED, 1500.0),
];

#[test]
fn blocks_cost_what_they_did() {
    let store = store_without_holes("448M");
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "create", "v", "--size", &(BLOCKS * BLOCK).to_string()]);
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let mut client = BlockClient::connect(&socket);
    let mut places = Places { random: Random(1) };
    let meter = Meter::new(&store);
    check(TEST, "a second at rest with an attached volume", 1, meter.rest(), AT_REST);
    let mut run = |what: &str, kind: Kind, depth: usize, bounds: &[Bound]| {
        let blocks = if depth == 1 { BLOCKS_ONE_BY_ONE } else { BLOCKS };
        let counts = meter.of(|| requests(&mut client, kind, depth, places.shuffled(blocks)));
        check(TEST, what, blocks, &counts, bounds);
    };
    run("4 KiB writes at random all over a new volume, depth 32", Kind::Write, 32, FIRST_WRITES);
    run("4 KiB writes at random, depth 32", Kind::Write, 32, WRITES);
    run("4 KiB writes at random, depth 1", Kind::Write, 1, WRITES_ONE_BY_ONE);
    run("4 KiB reads at random, depth 32", Kind::Read, 32, READS);
    run("4 KiB reads at random, depth 1", Kind::Read, 1, READS_ONE_BY_ONE);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// Keeps `depth` requests in flight until every place had its one.
fn requests(client: &mut BlockClient, kind: Kind, depth: usize, places: Vec<u64>) {
    let data = noise(7, BLOCK);
    let start = |client: &mut BlockClient, slot: usize, place: u64| match kind {
        Kind::Write => client.start_write(slot, slot, place, &data),
        Kind::Read => client.start_read(slot, slot, place, BLOCK),
    };
    let mut left = places.into_iter();
    let mut waiting = 0;
    for (slot, place) in left.by_ref().take(depth).enumerate() {
        start(client, slot, place);
        waiting += 1;
    }
    while waiting > 0 {
        let done = client.wait(Duration::from_secs(60));
        assert!(!done.is_empty(), "no answer in a minute");
        for done in done {
            assert_eq!(done.result, 0, "{kind:?}");
            waiting -= 1;
            if let Some(place) = left.next() {
                start(client, done.tag, place);
                waiting += 1;
            }
        }
    }
}

/// Blocks of the volume in random order, each once a round.
struct Places {
    random: Random,
}

impl Places {
    fn shuffled(&mut self, count: usize) -> Vec<u64> {
        let mut places: Vec<u64> = (0..BLOCKS as u64).map(|block| block * BLOCK as u64).collect();
        for at in (1..places.len()).rev() {
            places.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        places.truncate(count);
        places
    }
}

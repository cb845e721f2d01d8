//! The workloads and the loop that keeps a queue at its depth.

use super::client::{Client, Direction};
use crate::limits::{MAX_DEPTH, MAX_LATENCIES, MAX_REQUEST_BYTES, WARM_UP_PART};
use crate::machine::now;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// A row of the result.
#[derive(Debug)]
pub struct Workload {
    pub name: &'static str,
    direction: Direction,
    order: Order,
    depth: usize,
    request_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Random,
    Sequential,
}

pub const RANDWRITE_D32: &str = "4K randwrite d32";
pub const RANDREAD_D32: &str = "4K randread d32";

/// Every row, in the order of the result.
pub const WORKLOADS: &[Workload] = &[
    random("4K randwrite d1", Direction::Write, 1),
    random(RANDWRITE_D32, Direction::Write, 32),
    random("4K randread d1", Direction::Read, 1),
    random(RANDREAD_D32, Direction::Read, 32),
    sequential("1M seq write d8", Direction::Write),
    sequential("1M seq read d8", Direction::Read),
];

const fn random(name: &'static str, direction: Direction, depth: usize) -> Workload {
    Workload { name, direction, order: Order::Random, depth, request_bytes: 4096 }
}

const fn sequential(name: &'static str, direction: Direction) -> Workload {
    Workload { name, direction, order: Order::Sequential, depth: 8, request_bytes: MAX_REQUEST_BYTES }
}

/// One run of one workload on one side.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    pub iops: f64,
    pub mib_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// CPU time of the server's process, of all its threads.
    pub cpu_s: f64,
    pub cpu_us_per_request: f64,
    pub seconds: f64,
    /// A flush right after the last write; none after reads.
    pub flush_us: Option<f64>,
}

impl Sample {
    pub fn summary(&self) -> String {
        format!(
            "{:>9.0} IOPS {:>7.0} MiB/s  p50 {:>7.0} us  p99 {:>7.0}  p99.9 {:>7.0}  cpu {:>5.2} s",
            self.iops, self.mib_per_s, self.p50_us, self.p99_us, self.p999_us, self.cpu_s
        )
    }
}

/// Writes the whole disk once, and flushes.
pub fn fill(client: &mut Client, size: u64) -> Result<()> {
    let mut offsets = (0..size).step_by(MAX_REQUEST_BYTES);
    let mut in_flight = 0;
    let mut free = (0..8).collect::<Vec<_>>();
    loop {
        while let Some(slot) = free.pop() {
            let Some(offset) = offsets.next() else { break };
            let len = usize::try_from(size - offset).map_or(MAX_REQUEST_BYTES, |l| l.min(MAX_REQUEST_BYTES));
            client.submit(Direction::Write, offset, len, slot);
            in_flight += 1;
        }
        if in_flight == 0 {
            break;
        }
        client.wait(|slot| {
            in_flight -= 1;
            free.push(slot);
        })?;
    }
    client.flush(0);
    client.wait(|_| {})
}

/// Runs a workload for `time`, of which the first part is not counted.
pub fn run(
    client: &mut Client,
    workload: &Workload,
    size: u64,
    time: Duration,
    cpu_time: impl Fn() -> Result<Duration>,
) -> Result<Sample> {
    let mut offsets = Offsets::new(workload, size);
    let mut started = [now(); MAX_DEPTH];
    for (slot, start) in started.iter_mut().enumerate().take(workload.depth) {
        *start = now();
        client.submit(workload.direction, offsets.next(), workload.request_bytes, slot);
    }
    let begin = now() + time / WARM_UP_PART;
    let mut window = Window::default();
    let mut done = Vec::with_capacity(workload.depth);
    while now() < begin {
        turn(client, workload, &mut offsets, &mut started, &mut done, &mut Window::default())?;
    }
    let cpu_before = cpu_time()?;
    let begin = now();
    while begin.elapsed() < time {
        turn(client, workload, &mut offsets, &mut started, &mut done, &mut window)?;
    }
    let elapsed = begin.elapsed();
    let cpu = cpu_time()?.saturating_sub(cpu_before);

    let mut in_flight = workload.depth;
    while in_flight > 0 {
        client.wait(|_| in_flight -= 1)?;
    }
    let flush = match workload.direction {
        Direction::Read => None,
        Direction::Write => {
            let begin = now();
            client.flush(0);
            client.wait(|_| {})?;
            Some(begin.elapsed())
        }
    };
    Ok(window.sample(workload, elapsed, cpu, flush))
}

/// Waits for completions, and puts a new request in the place of each.
fn turn(
    client: &mut Client,
    workload: &Workload,
    offsets: &mut Offsets,
    started: &mut [Instant; MAX_DEPTH],
    done: &mut Vec<usize>,
    window: &mut Window,
) -> Result<()> {
    client.wait(|slot| done.push(slot))?;
    let end = now();
    for slot in done.drain(..) {
        window.count(end - started[slot]);
        started[slot] = end;
        client.submit(workload.direction, offsets.next(), workload.request_bytes, slot);
    }
    Ok(())
}

#[derive(Default)]
struct Window {
    requests: u64,
    latencies_ns: Vec<u32>,
}

impl Window {
    fn count(&mut self, latency: Duration) {
        self.requests += 1;
        if self.latencies_ns.len() < MAX_LATENCIES {
            self.latencies_ns.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
        }
    }

    fn sample(
        mut self,
        workload: &Workload,
        elapsed: Duration,
        cpu: Duration,
        flush: Option<Duration>,
    ) -> Sample {
        self.latencies_ns.sort_unstable();
        let at = |per_mille: usize| {
            let index = (self.latencies_ns.len() * per_mille / 1000).min(self.latencies_ns.len().max(1) - 1);
            self.latencies_ns.get(index).map_or(0.0, |&ns| f64::from(ns) / 1000.0)
        };
        let seconds = elapsed.as_secs_f64();
        let requests = as_f64(self.requests);
        let mib = requests * as_f64(workload.request_bytes as u64) / as_f64(1 << 20);
        Sample {
            iops: requests / seconds,
            mib_per_s: mib / seconds,
            p50_us: at(500),
            p99_us: at(990),
            p999_us: at(999),
            cpu_s: cpu.as_secs_f64(),
            cpu_us_per_request: cpu.as_secs_f64() * 1e6 / requests.max(1.0),
            seconds,
            flush_us: flush.map(|flush| flush.as_secs_f64() * 1e6),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Where the next request goes.
struct Offsets {
    order: Order,
    request_bytes: u64,
    requests: u64,
    state: u64,
}

impl Offsets {
    fn new(workload: &Workload, size: u64) -> Self {
        let request_bytes = workload.request_bytes as u64;
        Self {
            order: workload.order,
            request_bytes,
            requests: size / request_bytes,
            // Another sequence each run, so that no round repeats what a cache saw in the last.
            state: u64::from(std::process::id()) << 32 | u64::from(now().elapsed().subsec_nanos()) | 1,
        }
    }

    fn next(&mut self) -> u64 {
        let index = match self.order {
            Order::Sequential => {
                self.state = self.state.wrapping_add(1);
                self.state % self.requests
            }
            Order::Random => {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                (self.state >> 11) % self.requests
            }
        };
        index * self.request_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut window = Window::default();
        (1..=1000).for_each(|us| window.count(Duration::from_micros(us)));
        let sample = window.sample(&WORKLOADS[0], Duration::from_secs(2), Duration::from_secs(1), None);
        assert_eq!(
            (sample.iops, sample.p50_us, sample.p99_us, sample.p999_us),
            (500.0, 501.0, 991.0, 1000.0)
        );
        assert_eq!(sample.cpu_us_per_request, 1000.0);
        let none = Window::default().sample(&WORKLOADS[0], Duration::from_secs(1), Duration::ZERO, None);
        assert_eq!((none.iops, none.p50_us), (0.0, 0.0));
    }

    #[test]
    fn offsets_stay_on_the_disk() {
        let size = (1 << 30) + 4096;
        for workload in WORKLOADS {
            let mut offsets = Offsets::new(workload, size);
            for _ in 0..10_000 {
                let offset = offsets.next();
                let len = workload.request_bytes as u64;
                assert!(offset + len <= size && offset.is_multiple_of(len));
            }
        }
    }
}

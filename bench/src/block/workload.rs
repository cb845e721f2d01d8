//! The workloads: what is asked of a volume, and where.

use super::client::Direction;
use crate::limits::MAX_REQUEST_BYTES;
use crate::machine::now;
use crate::report::figure::{Figure, IOPS, P50, THROUGHPUT};

/// A row of the result.
#[derive(Debug, Clone)]
pub struct Workload {
    pub name: &'static str,
    /// What its target is about.
    pub headline: Figure,
    pub direction: Direction,
    order: Order,
    pub depth: usize,
    pub request_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Random,
    Sequential,
}

pub const RANDWRITE_D32: &str = "4K randwrite d32";
pub const RANDWRITE_D1: &str = "4K randwrite d1";
pub const RANDREAD_D32: &str = "4K randread d32";
pub const RANDREAD_D1: &str = "4K randread d1";
pub const SEQWRITE: &str = "1M seq write d8";
pub const SEQREAD: &str = "1M seq read d8";

/// So that every request in flight of the deepest sequential workload has a place of its own.
pub const LEAST_AREA: u64 = 16 << 20;

/// Every row, in the order of the targets.
pub const WORKLOADS: &[Workload] = &[
    random(RANDWRITE_D32, Direction::Write, 32, IOPS),
    random(RANDWRITE_D1, Direction::Write, 1, P50),
    random(RANDREAD_D32, Direction::Read, 32, IOPS),
    random(RANDREAD_D1, Direction::Read, 1, P50),
    sequential(SEQWRITE, Direction::Write),
    sequential(SEQREAD, Direction::Read),
];

const fn random(name: &'static str, direction: Direction, depth: usize, headline: Figure) -> Workload {
    Workload { name, headline, direction, order: Order::Random, depth, request_bytes: 4096 }
}

const fn sequential(name: &'static str, direction: Direction) -> Workload {
    Workload {
        name,
        headline: THROUGHPUT,
        direction,
        order: Order::Sequential,
        depth: 8,
        request_bytes: MAX_REQUEST_BYTES,
    }
}

impl Workload {
    pub fn is_write(&self) -> bool {
        self.direction == Direction::Write
    }
}

/// Where the next request goes.
pub struct Offsets {
    order: Order,
    request_bytes: u64,
    requests: u64,
    state: u64,
    stride: u64,
}

impl Offsets {
    /// For one of `of` clients that share an area: sequential ones take every `of`th request, from their own on.
    pub fn new(workload: &Workload, area: u64, (client, of): (u64, u64)) -> Self {
        let request_bytes = workload.request_bytes as u64;
        // Another sequence each run, so that no round repeats what a cache saw in the last.
        let seed = u64::from(std::process::id()) << 32 | u64::from(now().elapsed().subsec_nanos()) | 1;
        let state = match workload.order {
            Order::Sequential => client,
            Order::Random => seed,
        };
        Self { order: workload.order, request_bytes, requests: area / request_bytes, state, stride: of }
    }

    pub fn next(&mut self) -> u64 {
        let index = match self.order {
            Order::Sequential => {
                let index = self.state % self.requests;
                self.state = self.state.wrapping_add(self.stride);
                index
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
    fn offsets_stay_on_the_disk() {
        let size = (1 << 30) + 4096;
        for workload in WORKLOADS {
            let mut offsets = Offsets::new(workload, size, (0, 1));
            for _ in 0..10_000 {
                let offset = offsets.next();
                let len = workload.request_bytes as u64;
                assert!(offset + len <= size && offset.is_multiple_of(len));
            }
        }
    }

    #[test]
    fn clients_of_one_file_divide_it() {
        let workload = WORKLOADS.iter().find(|workload| workload.name == SEQWRITE).unwrap();
        let mut clients =
            (0..8).map(|client| Offsets::new(workload, 64 << 20, (client, 8))).collect::<Vec<_>>();
        let seen = (0..64).map(|turn| clients[turn % 8].next() >> 20).collect::<Vec<_>>();
        assert_eq!(seen, (0..64).collect::<Vec<_>>());
    }
}

//! The index of a disk, by what is written to a volume and how: every block once in random order, and in order.

use super::Options;
use crate::block::Shape;
use crate::block::client::Direction;
use crate::block::drive::{Requests, ask};
use crate::block::side::{Disks, Keeper, Side};
use crate::counters::memory_bytes;
use crate::limits::{MAX_REQUEST_BYTES, METRICS_AGE};
use crate::machine::{pause, say_aside};
use crate::options::size_text;
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Better, Figure, Sample, count};
use crate::report::{OURS, Report, RowName};
use crate::room::{DiskSize, Plan, Room, within};
use crate::store::Store;
use anyhow::{Context, Result, bail};
use std::path::Path;

const PER_TIB: Figure = Figure::new("index of a disk, per TiB in it", "GiB/TiB", Better::Lower);
const INDEX: Figure = Figure::new("index of a disk", "MiB", Better::Lower);
/// The whole process, less what it took before the first write: three disks' indexes, and buffers.
const GROWN: Figure = Figure::new("memory grown", "MiB", Better::Lower);

const BLOCK: usize = 4096;
/// "Runs of 128 KiB or more".
const RUN: usize = 128 << 10;
/// How full the volume is at each row, in eighths.
const STEPS: [u64; 3] = [2, 4, 8];

/// The disks under the rows that are wanted, if one is. Each order has a store of its own, one after the other.
pub fn disks(options: &Options, room: &Room) -> Result<Option<DiskSize>> {
    let plan = Plan {
        stores: 1,
        disk: shape(options).disk(),
        least: shape(options).least_disk(),
        beside_bytes: 0,
        options: "--size or --dir",
    };
    Order::ALL.iter().any(|order| order.is_wanted(options)).then(|| room.choose(plan)).transpose()
}

fn shape(options: &Options) -> Shape {
    Shape { volumes: 1, size: options.size, area: options.size }
}

pub fn run((options, disks): (&Options, DiskSize), folder: &Path, report: &mut Report) -> Result<()> {
    for order in Order::ALL.into_iter().filter(|order| order.is_wanted(options)) {
        within(folder, &format!("{order:?}"), |folder| {
            let store = Store::start(folder, disks, options.run.ashlar())?;
            write_and_look(options, order, &Side::of_store(store, shape(options))?, report)
        })?;
        let last = order.row(options, 8);
        report.bounds.push(Bound::new(&last, &PER_TIB, Against::Itself, order.bound()));
    }
    Ok(())
}

/// Writes the volume, and looks at each step.
fn write_and_look(options: &Options, order: Order, side: &Side, report: &mut Report) -> Result<()> {
    let before = memory(side)?;
    let requests = order.requests(options.size);
    let mut done = 0;
    for step in STEPS {
        let row = order.row(options, step);
        say_aside(&row);
        let until = requests.len_of(step);
        write(side, &requests, done..until).with_context(|| format!("{row} on {}", side.name))?;
        done = until;
        let sample = measure(side, before)?;
        report.add(&RowName::new(row, &PER_TIB), OURS, sample);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Random,
    Sequential,
}

/// Every request of a volume, once.
struct All {
    order: Order,
    bytes: usize,
    count: u64,
}

impl Order {
    const ALL: [Self; 2] = [Self::Random, Self::Sequential];

    /// The row of so many eighths.
    fn row(self, options: &Options, eighths: u64) -> String {
        let name = match self {
            Self::Random => "4K random",
            Self::Sequential => "128K in order",
        };
        format!("index: {name}, {} written", size_text(options.size * eighths / 8))
    }

    fn is_wanted(self, options: &Options) -> bool {
        STEPS.iter().any(|step| options.run.wants(&self.row(options, *step)))
    }

    /// What the last row must reach, and aims at.
    fn bound(self) -> (f64, Option<f64>) {
        match self {
            Self::Random => (4.0, Some(2.0)),
            Self::Sequential => (0.3, None),
        }
    }

    fn requests(self, size: u64) -> All {
        let bytes = match self {
            Self::Random => BLOCK,
            Self::Sequential => RUN,
        };
        All { order: self, bytes, count: size / bytes as u64 }
    }
}

impl All {
    fn len_of(&self, eighths: u64) -> u64 {
        self.count * eighths / 8
    }

    /// Where the request of this number goes.
    fn offset(&self, number: u64) -> u64 {
        let index = match self.order {
            Order::Sequential => number,
            Order::Random => shuffled(number, self.count),
        };
        index * self.bytes as u64
    }
}

/// A permutation of the numbers below `count`, without a table: each step is a bijection of the next power of two,
/// and who lands beyond the count goes on until it does not.
fn shuffled(number: u64, count: u64) -> u64 {
    let mask = count.next_power_of_two() - 1;
    let shift = (mask.count_ones() / 2).max(1);
    let mut place = number;
    loop {
        for odd in [0x9e37_79b9_7f4a_7c15_u64, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            place = place.wrapping_mul(odd).wrapping_add(odd >> 7) & mask;
            place ^= place >> shift;
        }
        if place < count {
            return place;
        }
    }
}

fn write(side: &Side, all: &All, numbers: std::ops::Range<u64>) -> Result<()> {
    let Disks::Sockets(sockets) = &side.disks else { bail!("ours serves sockets") };
    assert!(all.bytes <= MAX_REQUEST_BYTES);
    let requests = Requests { direction: Direction::Write, bytes: all.bytes, depth: 32 };
    ask(&sockets[0], requests, numbers.map(|number| all.offset(number)))
}

fn measure(side: &Side, before: u64) -> Result<Sample> {
    side.settle()?;
    pause(METRICS_AGE);
    let Keeper::Ours(store) = &side.keeper else { bail!("it is ours") };
    let Figures { index, live } = figures(store)?;
    let mut sample = Sample::default();
    sample.put(&PER_TIB, index / live * 1024.0);
    sample.put(&INDEX, index / count(1 << 20));
    sample.put(&GROWN, count(memory(side)?.saturating_sub(before)) / count(1 << 20));
    Ok(sample)
}

struct Figures {
    index: f64,
    live: f64,
}

fn figures(store: &Store) -> Result<Figures> {
    let metrics = store.console.metrics()?;
    Ok(Figures {
        index: metrics.of_a_disk("ashlar_disk_index_bytes")?,
        live: metrics.of_a_disk("ashlar_disk_live_bytes")?,
    })
}

fn memory(side: &Side) -> Result<u64> {
    side.members.iter().map(|member| memory_bytes(member.pid)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_block_is_written_once_and_not_in_order() {
        for count in [1, 2, 3, 1000, 4096, 5000] {
            let places = (0..count).map(|number| shuffled(number, count)).collect::<Vec<_>>();
            assert_eq!(places.iter().copied().collect::<BTreeSet<_>>(), (0..count).collect(), "{count}");
        }
        let neighbours =
            (0..4095).filter(|&n| shuffled(n + 1, 4096).abs_diff(shuffled(n, 4096)) == 1).count();
        assert!(neighbours < 41, "{neighbours} of 4095 writes go beside the one before");
    }

    #[test]
    fn steps_end_with_everything() {
        let all = Order::Sequential.requests(8 << 20);
        assert_eq!((all.len_of(2), all.len_of(8), all.offset(63)), (16, 64, 63 * (128 << 10)));
    }
}

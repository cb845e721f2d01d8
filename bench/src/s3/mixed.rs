//! `bench mixed`: what an application does: 70 % GET, 20 % PUT, 5 % LIST and 5 % DELETE of objects of mixed sizes, and
//! the same while a volume of the same store is written to.

use super::ask::{Ask, List, Order, Page};
use super::garage::Shape;
use super::loader::Plan;
use super::peers::{self, Access, Started};
use super::plan::{Objects, Random};
use super::side::Side;
use super::{Bench, REQUESTS};
use crate::block::Shape as VolumeShape;
use crate::block::drive::{self, Drivers};
use crate::block::side::Side as Disk;
use crate::block::workload::{RANDWRITE_D32, WORKLOADS};
use crate::limits::S3_MIXED_VOLUME_BYTES;
use crate::machine::{now, say, say_aside};
use crate::options::Run;
use crate::report::figure::{IOPS, P50, P99, Sample, count};
use crate::report::turns::in_turn;
use crate::report::{OURS, Report, RowName, Verdict};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    access: Access,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_parser = peers::connections)]
    connections: Vec<usize>,
    /// Objects that are there before the rounds, of all sizes together.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    objects: u64,
}

impl Options {
    pub fn check(&self) -> bool {
        self.run.check
    }
}

/// Sizes of objects, and how many of a hundred have it.
const SIZES: [(usize, u64); 4] = [(1 << 10, 40), (16 << 10, 40), (128 << 10, 18), (1 << 20, 2)];
const PERCENT: u64 = 100;
/// Connections of the row that has a volume beside it.
const WITH_VOLUME: usize = 16;
const PAGE: u64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    connections: usize,
    volume: Volume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volume {
    Idle,
    Written,
}

impl Row {
    fn name(&self) -> String {
        match self.volume {
            Volume::Idle => format!("mixed c{}", self.connections),
            Volume::Written => format!("mixed c{} + {RANDWRITE_D32}", self.connections),
        }
    }
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let rows = options.connections.iter().map(|&connections| Row { connections, volume: Volume::Idle });
    let rows = rows.chain([Row { connections: WITH_VOLUME, volume: Volume::Written }]);
    let rows = options.run.rows(rows, |row| RowName::new(row.name(), &REQUESTS))?;
    let (folder, facts) = options.run.begin()?;
    let started = options.access.start_sides(&options.run, folder.path(), Shape::ThreeSynced)?;
    let Started { mut sides, missing, disks } = started;
    let mut bench = Bench::new(&options.run, &options.access, folder.path());
    for side in &mut sides {
        say(&format!("{}: {}", side.name, side.durability));
        side.make_bucket(&bench.load(side, 1))?;
        say_aside(&format!("putting {} objects into {}", options.objects, side.name));
        for (len_bytes, percent) in SIZES {
            side.fill(&bench.load(side, 1), len_bytes, (options.objects * percent / PERCENT).max(1))?;
        }
    }
    let disk = match rows.iter().any(|(_, row)| row.volume == Volume::Written) {
        true => Some(volume(&mut sides[OURS])?),
        false => None,
    };
    sides.iter().try_for_each(Side::settle)?;
    let facts_of_sides = sides.iter().map(Side::facts).collect();
    let title = "Objects: 70 % GET, 20 % PUT, 5 % LIST, 5 % DELETE of mixed sizes";
    let mut report = Report::new("mixed", title, facts, facts_of_sides);
    options.access.tell((&options.run, disks), &mut report);
    report.set("objects", options.objects.to_string());
    report.note("40 % of the objects have 1 KiB, 40 % 16 KiB, 18 % 128 KiB, 2 % 1 MiB");
    report
        .note("the row with a volume counts the volume's CPU time and bytes too; peers here have no volumes");
    report.missing = missing;

    in_turn(&mut report, options.run.rounds, &rows, |row, side, report| {
        let side = &sides[side];
        let disk = match row.volume {
            Volume::Idle => None,
            Volume::Written if side.socket.is_none() => return Ok(None),
            Volume::Written => disk.as_ref(),
        };
        let sample = measure(&mut bench, side, row, report, disk)?;
        side.settle()?;
        Ok(Some(sample))
    })?;
    options.run.finish(&report)
}

fn measure(
    bench: &mut Bench<'_>,
    side: &Side,
    row: &Row,
    report: &mut Report,
    disk: Option<&Disk>,
) -> Result<Sample> {
    let load = bench.load(side, row.connections);
    let mix = |thread: usize| Mix::new(&side.kept, &side.stamps, thread as u64 + 1);
    let Some(disk) = disk else { return bench.timed(side, &load, report, mix) };
    let workload = WORKLOADS.iter().find(|workload| workload.name == RANDWRITE_D32);
    let workload = workload.context("volumes have this workload")?;
    let drivers = Drivers::start(disk, workload, volume_shape())?.context("a volume can be written to")?;
    drivers.count();
    let begin = now();
    let sample = bench.timed(side, &load, report, mix);
    let seconds = begin.elapsed().as_secs_f64();
    let mut written = drivers.end()?;
    let mut sample = sample?;
    sample.put(&IOPS, count(written.operations) / seconds);
    sample.put(&P50.of_part("volume"), written.latencies.at_us(500));
    sample.put(&P99.of_part("volume"), written.latencies.at_us(990));
    Ok(sample)
}

fn volume_shape() -> VolumeShape {
    VolumeShape { volumes: 1, size: S3_MIXED_VOLUME_BYTES, area: S3_MIXED_VOLUME_BYTES }
}

/// A volume of ours, written once.
fn volume(side: &mut Side) -> Result<Disk> {
    let (socket, pid) = side.attach_volume(S3_MIXED_VOLUME_BYTES)?;
    say_aside(&format!("writing all of a volume of {}", side.name));
    drive::fill(&socket, volume_shape()).with_context(|| format!("filling {}'s volume", side.name))?;
    Ok(Disk::foreign(&socket, pid))
}

/// Requests of one thread: it deletes only what it has put itself.
struct Mix {
    kept: Vec<Objects>,
    stamps: Arc<AtomicU64>,
    mine: VecDeque<String>,
    random: Random,
}

impl Mix {
    fn new(kept: &[Objects], stamps: &Arc<AtomicU64>, seed: u64) -> Self {
        assert_eq!(kept.len(), SIZES.len(), "objects of every size are there");
        let (kept, stamps) = (kept.to_vec(), Arc::clone(stamps));
        Self { kept, stamps, mine: VecDeque::new(), random: Random::new(seed) }
    }

    /// One of the sizes, as often as its share.
    fn any_size(&mut self) -> usize {
        let mut left = self.random.below(PERCENT);
        let share = |&(_, percent): &(usize, u64)| match left.checked_sub(percent) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        };
        SIZES.iter().position(share).expect("the shares are all of a hundred")
    }

    fn get(&mut self) -> Ask {
        let size = self.any_size();
        let objects = self.kept[size];
        let stamp = objects.first + self.random.below(objects.count());
        Ask::Get { key: objects.key(stamp), body: objects.body(stamp) }
    }

    fn put(&mut self) -> Ask {
        let size = self.any_size();
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        let objects = Objects { folder: "mixed", len_bytes: SIZES[size].0, first: stamp, end: stamp + 1 };
        Ask::Put { key: objects.key(stamp), body: objects.body(stamp) }
    }

    /// A page of the objects that stay, so that it is known what it holds.
    fn list(&mut self) -> Ask {
        let objects = self.kept[0];
        let first = objects.first + self.random.below(objects.count());
        let entries = PAGE.min(objects.end - first);
        let after = if first == objects.first { String::new() } else { objects.key(first - 1) };
        let page = Page { entries, first: objects.key(first), last: objects.key(first + entries - 1) };
        let prefix = objects.prefix();
        Ask::List(List { prefix, start_after: after, order: Order::Flat, max_keys: PAGE, page })
    }
}

impl Plan for Mix {
    fn next(&mut self) -> Option<Ask> {
        Some(match self.random.below(PERCENT) {
            0..70 => self.get(),
            70..90 => self.put(),
            90..95 => self.list(),
            _ => match self.mine.pop_front() {
                Some(key) => Ask::Delete { key },
                None => self.put(),
            },
        })
    }

    fn served(&mut self, ask: &Ask) {
        if let Ask::Put { key, .. } = ask {
            self.mine.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::Kind;
    use super::*;

    fn kept() -> Vec<Objects> {
        let of = |(index, (len_bytes, percent)): (u64, (usize, u64))| Objects {
            folder: "get",
            len_bytes,
            first: index * PERCENT,
            end: index * PERCENT + percent,
        };
        (0..).zip(SIZES).map(of).collect()
    }

    #[test]
    fn requests_are_mixed_as_said() {
        let stamps = Arc::new(AtomicU64::new(1000));
        let mut mix = Mix::new(&kept(), &stamps, 3);
        let mut counts = [0; Kind::ALL.len()];
        for _ in 0..10_000 {
            let ask = mix.next().expect("it never ends");
            counts[ask.kind() as usize] += 1;
            if let Ask::Get { key, body } = &ask {
                let objects = kept().into_iter().find(|objects| objects.len_bytes == body.len_bytes).unwrap();
                assert!(
                    (objects.first..objects.end).contains(&body.stamp) && *key == objects.key(body.stamp)
                );
            }
            mix.served(&ask);
        }
        let [put, get, list, delete] = counts;
        assert!((6700..7300).contains(&get) && (1800..2300).contains(&put), "{counts:?}");
        assert!((400..600).contains(&list) && (400..600).contains(&delete), "{counts:?}");
    }

    #[test]
    fn what_is_deleted_was_put_before() {
        let mut mix = Mix::new(&kept(), &Arc::new(AtomicU64::new(1000)), 3);
        let mut there = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            match mix.next() {
                Some(Ask::Delete { key }) => assert!(there.remove(&key), "{key}"),
                Some(ask @ Ask::Put { .. }) => {
                    mix.served(&ask);
                    let Ask::Put { key, .. } = ask else { continue };
                    assert!(there.insert(key));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn shares_are_all_of_a_hundred() {
        assert_eq!(SIZES.iter().map(|&(_, percent)| percent).sum::<u64>(), PERCENT);
    }
}

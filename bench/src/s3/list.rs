//! `bench list`: pages of a thousand keys in buckets of different sizes.
//!
//! What a page costs must not depend on how many keys the bucket has: rows with one connection show a page's time.

use super::ask::{Ask, List, Order, Page};
use super::bodies::Body;
use super::garage::{self, Shape};
use super::loader::{Clients, Load, NoAnswer, Plan};
use super::peers::{self, Access, Started};
use super::plan::Random;
use super::side::{Keeper, Side};
use super::{Bench, REQUESTS, Target};
use crate::limits::{S3_FILL_CONNECTIONS, S3_MAX_LISTED_KEYS, S3_PAGE_TIMEOUT_S};
use crate::machine::{say, say_aside};
use crate::options::Run;
use crate::progress;
use crate::report::bound::{Against, Bound};
use crate::report::figure::P50;
use crate::report::turns::in_turn;
use crate::report::{Report, RowName, Verdict};
use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    access: Access,
    /// Keys of each bucket, such as 10k, 100k, 1M.
    #[arg(long, value_delimiter = ',', default_value = "10k,100k,1M", value_parser = parse_keys)]
    keys: Vec<u64>,
    /// Numbers of connections; with 1 the latency is a page's time.
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_parser = peers::connections)]
    connections: Vec<usize>,
}

impl Options {
    pub fn check(&self) -> bool {
        self.run.check
    }
}

/// Entries of a page, and folders that all keys are in, so that the top of a bucket is one page of them.
const PAGE: u64 = 1000;
const MILLION: u64 = 1_000_000;
/// Objects have some bytes, as empty ones may be a case of their own.
const OBJECT_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    keys: u64,
    order: Order,
    connections: usize,
}

impl Row {
    fn name(&self) -> String {
        let what = match self.order {
            Order::Flat => "flat",
            Order::Delimiter => "folders",
        };
        format!("LIST {what} {} c{}", keys_text(self.keys), self.connections)
    }
}

/// A bucket's keys: `FOLDER/NUMBER`, of both a fixed width, so that their order is that of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keys(u64);

impl Keys {
    fn key(self, index: u64) -> String {
        format!("{}{index:08}", self.folder(index / (self.0 / PAGE)))
    }

    fn folder(self, index: u64) -> String {
        format!("{index:03}/")
    }

    fn bucket(self) -> String {
        format!("list-{}", self.0)
    }
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let rows = options.keys.iter().flat_map(|&keys| {
        let orders = [Order::Flat, Order::Delimiter].into_iter();
        orders.flat_map(move |order| {
            options.connections.iter().map(move |&connections| Row { keys, order, connections })
        })
    });
    let rows = options.run.rows(rows, |row| RowName::new(row.name(), &REQUESTS))?;
    let (folder, facts) = options.run.begin()?;
    // Nothing is written while pages are read, and with fsync Garage would take half an hour to fill.
    let started = options.access.start_sides(&options.run, folder.path(), Shape::ThreeUnsynced)?;
    let Started { sides, missing, disks } = started;
    let mut bench = Bench::new(&options.run, &options.access, folder.path());
    for side in &sides {
        say(&format!("{}: {}", side.name, side.durability));
        for &keys in options.keys.iter().filter(|&&keys| rows.iter().any(|(_, row)| row.keys == keys)) {
            say_aside(&format!("putting {} keys into a bucket of {}", keys_text(keys), side.name));
            fill(&bench, side, Keys(keys)).with_context(|| format!("filling {}", side.name))?;
        }
        side.settle()?;
    }
    let facts_of_sides = sides.iter().map(Side::facts).collect();
    let mut report = Report::new("list", "Pages of 1,000 keys (ListObjectsV2)", facts, facts_of_sides);
    options.access.tell((&options.run, disks), &mut report);
    report.note(
        "flat: pages after keys at random; folders: the top of the bucket with a delimiter, 1,000 folders",
    );
    report.missing = missing;
    report.bounds = bounds();

    let mut silent = BTreeSet::new();
    in_turn(&mut report, options.run.rounds, &rows, |row, side, report| {
        let side = &sides[side];
        if silent.contains(&(row.name(), side.name.clone())) {
            return Ok(None);
        }
        let load = Load {
            target: target(side, Keys(row.keys)),
            timeout_s: S3_PAGE_TIMEOUT_S,
            ..bench.load(side, row.connections)
        };
        let pages = |thread: usize| Pages::new(Keys(row.keys), row.order, thread as u64 + 1);
        let sample = match bench.timed(side, &load, report, pages) {
            // A peer's silence is a result too; once is enough.
            Err(error) if !matches!(side.keeper, Keeper::Ours(_)) && error.is::<NoAnswer>() => {
                report.note(format!("{}, {}: {error}", row.name(), side.name));
                silent.insert((row.name(), side.name.clone()));
                None
            }
            sample => Some(sample?),
        };
        side.settle()?;
        Ok(sample)
    })?;
    options.run.finish(&report)
}

fn target(side: &Side, keys: Keys) -> Arc<Target> {
    Arc::new(Target { bucket: keys.bucket(), ..Target::clone(&side.target) })
}

fn fill(bench: &Bench<'_>, side: &Side, keys: Keys) -> Result<()> {
    let load = Load { target: target(side, keys), ..bench.load(side, S3_FILL_CONNECTIONS) };
    side.make_bucket(&load)?;
    let next = Arc::new(AtomicU64::new(0));
    let bar = progress::bar(&format!("{} keys into {}", keys_text(keys.0), side.name), keys.0);
    let window = Clients::do_all(&load, |_| Fill { keys, next: Arc::clone(&next), bar: bar.clone() });
    bar.finish_and_clear();
    let window = window?;
    ensure!(window.total() == keys.0, "{} of {} keys were put", window.total(), keys.0);
    Ok(())
}

struct Fill {
    keys: Keys,
    next: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Plan for Fill {
    fn next(&mut self) -> Option<Ask> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let body = Body { len_bytes: OBJECT_BYTES, stamp: index };
        (index < self.keys.0).then(|| Ask::Put { key: self.keys.key(index), body })
    }

    fn served(&mut self, _ask: &Ask) {
        self.bar.inc(1);
    }
}

/// Pages of a bucket, again and again.
struct Pages {
    keys: Keys,
    order: Order,
    random: Random,
}

impl Pages {
    fn new(keys: Keys, order: Order, seed: u64) -> Self {
        Self { keys, order, random: Random::new(seed) }
    }
}

impl Plan for Pages {
    fn next(&mut self) -> Option<Ask> {
        let (start_after, first, last) = match self.order {
            Order::Flat => {
                let first = self.random.below(self.keys.0 - PAGE + 1);
                let after = first.checked_sub(1).map_or(String::new(), |before| self.keys.key(before));
                (after, self.keys.key(first), self.keys.key(first + PAGE - 1))
            }
            Order::Delimiter => (String::new(), self.keys.folder(0), self.keys.folder(PAGE - 1)),
        };
        let page = Page { entries: PAGE, first, last };
        Some(Ask::List(List { prefix: String::new(), start_after, order: self.order, max_keys: PAGE, page }))
    }
}

/// The targets of pages.
fn bounds() -> Vec<Bound> {
    let name = |keys, connections| Row { keys, order: Order::Flat, connections }.name();
    let garage = Against::Peer { side: garage::NAME.to_owned(), share: 1.0 };
    let small = Against::Own { row: name(10_000, 1), figure: P50 };
    vec![
        Bound::new(&name(MILLION, 16), &REQUESTS, garage, (5.0, Some(10.0))),
        // The same page time: what a tree that is two levels deeper costs, and no more.
        Bound::new(&name(MILLION, 1), &P50, small, (1.25, Some(1.1))),
    ]
}

fn keys_text(keys: u64) -> String {
    match keys {
        keys if keys.is_multiple_of(MILLION) => format!("{}M", keys / MILLION),
        keys => format!("{}k", keys / PAGE),
    }
}

fn parse_keys(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, PAGE),
        None => (text.strip_suffix(['m', 'M']).unwrap_or(""), MILLION),
    };
    let keys = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    // Two pages at least, so that there is something to seek.
    let keys = keys.filter(|keys| (2 * PAGE..=S3_MAX_LISTED_KEYS).contains(keys));
    keys.ok_or_else(|| format!("{text:?}: a number of keys is 2k to {}", keys_text(S3_MAX_LISTED_KEYS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_keys_are_read_and_written() {
        for (text, keys) in [("10k", 10_000), ("1M", MILLION), ("2k", 2000)] {
            assert_eq!((parse_keys(text), keys_text(keys)), (Ok(keys), text.to_owned()));
        }
        for bad in ["", "k", "1k", "10", "1G", "-1k", "99999999999999999999k", "1000M"] {
            assert!(parse_keys(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_in_order_and_fill_every_folder() {
        let keys = Keys(10_000);
        let all = (0..10_000).map(|index| keys.key(index)).collect::<Vec<_>>();
        assert!(all.is_sorted());
        assert_eq!((all[0].as_str(), all[9999].as_str()), ("000/00000000", "999/00009999"));
        let folders = all.iter().map(|key| &key[..4]).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(folders.len(), 1000);
    }

    #[test]
    fn filling_shows_each_key_that_was_put() {
        let (keys, bar) = (Keys(2000), ProgressBar::hidden());
        let mut fill = Fill { keys, next: Arc::default(), bar: bar.clone() };
        while let Some(ask) = fill.next() {
            fill.served(&ask);
        }
        assert_eq!(bar.position(), 2000);
    }

    #[test]
    fn pages_lie_in_the_bucket() {
        let mut pages = Pages::new(Keys(2000), Order::Flat, 1);
        for _ in 0..1000 {
            let Some(Ask::List(list)) = pages.next() else { panic!("it never ends") };
            let page = list.page;
            assert!(
                list.start_after < page.first && page.first < page.last && page.last <= Keys(2000).key(1999)
            );
        }
    }

    #[test]
    fn bounds_are_of_default_rows() {
        let names = bounds().into_iter().map(|bound| bound.row).collect::<Vec<_>>();
        assert_eq!(names, ["LIST flat 1M c16", "LIST flat 1M c1"]);
    }
}

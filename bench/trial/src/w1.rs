//! W1: random reads and writes of 4 to 64 KiB at depth 16, a flush every 32 writes, every block's content known.

use crate::block_client::{BlockClient, SLOTS};
use crate::harness::{MOST_BETWEEN_LOOKS, Random, deadline, noise, now};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const BLOCK: usize = 4096;
const DEPTH: usize = 16;
const FLUSH_EVERY: u64 = 32;
const MAX_BLOCKS: u64 = 16;
/// Of 16 operations, those that are reads.
const READS: u64 = 5;
const FLUSH: usize = 1 << 40;
/// Violations that are told; more are counted.
const MAX_TOLD: usize = 20;
/// An operation that takes this long has failed its guest.
const HANG: Duration = Duration::from_secs(120);
/// The same for a look at everything.
const VERIFY: Duration = Duration::from_secs(600);

/// What is known of every block of a volume.
#[derive(Debug, Default, Clone)]
pub struct Blocks {
    /// The last write's number; each block's content tells by which write it was made.
    sequence: u64,
    known: BTreeMap<u64, Block>,
    pub flushes: u64,
    /// Wrong bytes, lost writes, failed requests.
    pub violations: Vec<String>,
    pub violation_count: u64,
}

#[derive(Debug, Default, Clone)]
struct Block {
    /// The newest write that a flush has promised; 0 is the hole from the start.
    promised: u64,
    /// Those since, acked or not.
    since: BTreeSet<u64>,
    /// What a read must show.
    current: u64,
    /// What a read may show as well, after a session or everything was lost; the first read decides.
    possible: BTreeSet<u64>,
}

/// What was lost when a session ended without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Its server: what was acked is there, what was in flight may be.
    Session,
    /// All copies at once: what was flushed is there, what was not may be.
    Everything,
}

/// Counters that others watch while the load runs.
#[derive(Debug, Default)]
pub struct Live {
    pub operations: AtomicU64,
    pub verified_bytes: AtomicU64,
    /// The longest time one operation took.
    pub slowest_ms: AtomicU64,
}

impl Live {
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub fn verified_bytes(&self) -> u64 {
        self.verified_bytes.load(Ordering::Relaxed)
    }

    /// The longest operation since the last call.
    pub fn take_slowest(&self) -> Duration {
        Duration::from_millis(self.slowest_ms.swap(0, Ordering::Relaxed))
    }
}

/// The load on a thread of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    thread: JoinHandle<Blocks>,
    pub live: Arc<Live>,
}

impl Load {
    /// Starts on the first `blocks` blocks of the volume at `socket`.
    pub fn start(socket: &Path, blocks: u64, oracle: Blocks, seed: u64) -> Self {
        let (stop, abandon) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let live = Arc::<Live>::default();
        let mut runner = Runner {
            socket: socket.to_owned(),
            blocks,
            oracle,
            random: Random(seed),
            live: Arc::clone(&live),
            flying: BTreeMap::new(),
            flushing: None,
            unflushed: 0,
        };
        let (stopping, abandoning) = (Arc::clone(&stop), Arc::clone(&abandon));
        let thread = std::thread::spawn(move || {
            runner.run(&stopping, &abandoning);
            runner.oracle
        });
        Self { stop, abandon, thread, live }
    }

    /// Lets what is in flight end, then flushes.
    pub fn finish(self) -> Blocks {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }

    /// Ends at once: the server is gone.
    pub fn abandon(self, lost: Lost) -> Blocks {
        self.abandon.store(true, Ordering::SeqCst);
        let mut blocks = self.thread.join().unwrap();
        blocks.lost(lost);
        blocks
    }
}

impl Blocks {
    pub fn writes(&self) -> u64 {
        self.sequence
    }

    fn violation(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < MAX_TOLD {
            self.violations.push(what);
        }
    }

    /// Everything was killed, or the session was.
    pub fn lost(&mut self, lost: Lost) {
        for block in self.known.values_mut() {
            let least = if lost == Lost::Session { block.current } else { block.promised };
            block.possible.extend(block.since.iter().copied().filter(|number| *number > least));
            block.possible.insert(least);
        }
    }

    fn check(&mut self, index: u64, data: &[u8]) {
        let block = self.known.entry(index).or_default();
        let number = u64::from_le_bytes(data[..8].try_into().unwrap());
        let possible = number == block.current || block.possible.contains(&number);
        if possible && data == content(index, number) {
            if !block.possible.is_empty() {
                // From now on it stays: a second look at another copy must show the same.
                block.possible.clear();
                block.current = number;
                block.since.retain(|other| *other == number);
            }
            return;
        }
        let what = if possible { "not wholly that of its write" } else { "not possible" };
        let what = format!("block {index} holds write {number}, {what}: {block:?}");
        self.violation(what);
    }

    /// Reads all that was ever written, from a new session, and flushes it; the bytes that were read.
    pub fn verify(&mut self, socket: &Path) -> u64 {
        self.verify_but(socket, &BTreeSet::new())
    }

    /// The same from each of `members` replicas: each attachment reads from the next one.
    pub fn verify_members(
        &mut self,
        members: usize,
        volume: &str,
        socket: &Path,
        cli: impl Fn(&[&str]) -> String,
    ) -> u64 {
        let mut bytes = 0;
        for _ in 0..members {
            bytes += self.verify(socket);
            cli(&["volume", "detach", volume]);
            cli(&["volume", "attach", volume, "--socket", &socket.to_string_lossy()]);
        }
        bytes
    }

    /// As [`verify`](Self::verify) where every copy of some blocks is bad: they give EIO, and never bytes. They are written anew.
    pub fn verify_but(&mut self, socket: &Path, bad: &BTreeSet<u64>) -> u64 {
        let mut client = BlockClient::connect(socket);
        let known: Vec<u64> = self.known.keys().copied().filter(|index| !bad.contains(index)).collect();
        self.read_all(&mut client, &known);
        for index in bad {
            let answer = client.try_read(index * BLOCK as u64, BLOCK).map(|data| data.len());
            if answer != Err(-rustix::io::Errno::IO.raw_os_error()) {
                self.violation(format!("block {index} is bad everywhere, and a read gave {answer:?}"));
            }
            self.rewrite(&mut client, *index);
        }
        if client.flush() != 0 {
            self.violation("a flush with nothing else in flight failed".to_owned());
        }
        for block in self.known.values_mut() {
            block.promised = block.current;
            block.since.clear();
        }
        (known.len() * BLOCK) as u64
    }

    /// Reads neighbours together and many at a time.
    fn read_all(&mut self, client: &mut BlockClient, indexes: &[u64]) {
        let mut left = neighbours(indexes).into_iter();
        let mut flying = BTreeMap::<usize, (u64, u64)>::new();
        let mut alone = Vec::new();
        let end = deadline(VERIFY);
        loop {
            while let Some(slot) = (0..SLOTS).find(|slot| !flying.contains_key(slot)) {
                let Some((first, count)) = left.next() else { break };
                client.start_read(slot, slot, first * BLOCK as u64, count as usize * BLOCK);
                flying.insert(slot, (first, count));
            }
            if flying.is_empty() {
                break;
            }
            if end.over() {
                self.violation(format!("{} reads have no answer", flying.len()));
                return;
            }
            for done in client.wait(Duration::from_secs(1)) {
                let (first, count) = flying.remove(&done.tag).unwrap();
                if done.result != 0 {
                    alone.extend(first..first + count);
                    continue;
                }
                let data = client.data(done.tag, count as usize * BLOCK);
                (first..).zip(data.chunks_exact(BLOCK)).for_each(|(index, data)| self.check(index, data));
            }
        }
        // Which of them can't be read.
        for index in alone {
            let answer = client.try_read(index * BLOCK as u64, BLOCK);
            match answer {
                Ok(data) => self.violation(format!(
                    "block {index} could not be read with its neighbours, and alone gave {} bytes",
                    data.len()
                )),
                Err(errno) => self.violation(format!("reading block {index} failed with {errno}")),
            }
        }
    }

    fn rewrite(&mut self, client: &mut BlockClient, index: u64) {
        self.sequence += 1;
        let number = self.sequence;
        let result = client.write(index * BLOCK as u64, &content(index, number));
        if result != 0 {
            self.violation(format!("writing block {index} anew failed with {result}"));
        }
        let block = self.known.entry(index).or_default();
        *block = Block { current: number, promised: block.promised, ..Block::default() };
        block.since.insert(number);
    }

    /// The write that each block's newest content is of, for those who look for it on the disks.
    pub fn contents(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        self.known
            .iter()
            .filter(|(_, block)| block.current > 0)
            .map(|(index, b)| (*index, content(*index, b.current)))
    }

    /// Panics with what went wrong, if anything did.
    #[track_caller]
    pub fn assert_whole(&self, seed: u64) {
        let count = self.violation_count;
        assert_eq!(count, 0, "seed {seed}: {count} violations:\n{}", self.violations.join("\n"));
    }
}

/// Runs of neighbours, as (first, count), none longer than a request may be.
fn neighbours(indexes: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *index && *count < MAX_BLOCKS => *count += 1,
            _ => runs.push((*index, 1)),
        }
    }
    runs
}

/// What write `number` puts into block `index`; write 0 is a hole.
pub fn content(index: u64, number: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; BLOCK];
    }
    let mut data = [number.to_le_bytes(), index.to_le_bytes()].concat();
    data.extend(noise(index << 32 | number, BLOCK - 16));
    data
}

/// The block and the write that some bytes are the content of, if they are of any.
pub fn written_by(data: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
    let (number, index) = (word(0), word(8));
    let plausible = number > 0 && number < 1 << 32 && index < 1 << 32;
    (plausible && data == content(index, number)).then_some((index, number))
}

struct Runner {
    socket: PathBuf,
    blocks: u64,
    oracle: Blocks,
    random: Random,
    live: Arc<Live>,
    flying: BTreeMap<usize, Flying>,
    /// What the flush in flight will promise, and when it began.
    flushing: Option<(BTreeMap<u64, u64>, Instant)>,
    unflushed: u64,
}

/// An operation with data in flight, under its slot.
struct Flying {
    first: u64,
    count: u64,
    /// 0 for a read.
    number: u64,
    since: Instant,
}

impl Runner {
    fn run(&mut self, stop: &AtomicBool, abandon: &AtomicBool) {
        let mut client = BlockClient::connect(&self.socket);
        let mut flushed_last = false;
        let mut looked = now();
        loop {
            let paused = (now() - looked).saturating_sub(MOST_BETWEEN_LOOKS);
            looked = now();
            self.forgive(paused);
            let stopping = stop.load(Ordering::SeqCst);
            if abandon.load(Ordering::SeqCst) {
                // What the server answered before it went is still to be heard.
                self.hear(&mut client, Duration::from_millis(50));
                return;
            }
            if stopping && self.flying.is_empty() && self.flushing.is_none() {
                if flushed_last {
                    return;
                }
                flushed_last = true;
                self.start_flush(&mut client);
            }
            if !stopping {
                self.fill(&mut client);
            }
            self.hear(&mut client, Duration::from_millis(100));
            self.look_for_hangs(abandon);
        }
    }

    /// This process itself was stopped for a while: nothing in flight is late for that.
    fn forgive(&mut self, paused: Duration) {
        if !paused.is_zero() {
            self.flying.values_mut().for_each(|flying| flying.since += paused);
            self.flushing.iter_mut().for_each(|(_, since)| *since += paused);
        }
    }

    fn look_for_hangs(&mut self, abandon: &AtomicBool) {
        let hung = self.flying.values().any(|flying| flying.since.elapsed() > HANG)
            || self.flushing.as_ref().is_some_and(|(_, since)| since.elapsed() > HANG);
        if hung {
            self.oracle.violation(format!("an operation took longer than {} s", HANG.as_secs()));
            abandon.store(true, Ordering::SeqCst);
        }
    }

    fn fill(&mut self, client: &mut BlockClient) {
        if self.flushing.is_none() && self.unflushed >= FLUSH_EVERY {
            self.start_flush(client);
        }
        while self.flying.len() < DEPTH {
            let count = 1 + self.random.below(MAX_BLOCKS);
            let first = self.random.below(self.blocks - count);
            // Neighbours in flight don't overlap, so that the order of writes is known.
            if self.flying.values().any(|f| first < f.first + f.count && f.first < first + count) {
                continue;
            }
            let slot = (0..SLOTS).find(|slot| !self.flying.contains_key(slot)).unwrap();
            let (offset, len) = (first * BLOCK as u64, count as usize * BLOCK);
            let number = if self.random.below(16) < READS {
                client.start_read(slot, slot, offset, len);
                0
            } else {
                self.oracle.sequence += 1;
                self.unflushed += 1;
                let number = self.oracle.sequence;
                let mut data = Vec::with_capacity(len);
                for index in first..first + count {
                    self.oracle.known.entry(index).or_default().since.insert(number);
                    data.extend(content(index, number));
                }
                client.start_write(slot, slot, offset, &data);
                number
            };
            self.flying.insert(slot, Flying { first, count, number, since: now() });
        }
    }

    fn start_flush(&mut self, client: &mut BlockClient) {
        self.unflushed = 0;
        let acked = self.oracle.known.iter().filter(|(_, block)| block.current > block.promised);
        self.flushing = Some((acked.map(|(index, block)| (*index, block.current)).collect(), now()));
        client.start_flush(FLUSH);
    }

    fn hear(&mut self, client: &mut BlockClient, limit: Duration) {
        for done in client.wait(limit) {
            // Failed ones are violations, and no progress.
            self.live.operations.fetch_add(u64::from(done.result == 0), Ordering::Relaxed);
            if done.tag == FLUSH {
                let (promises, since) = self.flushing.take().unwrap();
                self.took(since);
                if done.result != 0 {
                    self.oracle.violation(format!("a flush failed with {}", done.result));
                    continue;
                }
                self.oracle.flushes += 1;
                for (index, number) in promises {
                    let block = self.oracle.known.get_mut(&index).unwrap();
                    block.promised = number;
                    block.since.retain(|other| *other > number);
                }
                continue;
            }
            let flying = self.flying.remove(&done.tag).unwrap();
            self.took(flying.since);
            let Flying { first, count, number, .. } = flying;
            if done.result != 0 {
                let what = if number == 0 { "read" } else { "write" };
                self.oracle
                    .violation(format!("a {what} of {count} blocks at {first} failed with {}", done.result));
            } else if number == 0 {
                let data = client.data(done.tag, count as usize * BLOCK);
                for (index, data) in (first..).zip(data.chunks_exact(BLOCK)) {
                    self.oracle.check(index, data);
                }
                self.live.verified_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            } else {
                for index in first..first + count {
                    let block = self.oracle.known.get_mut(&index).unwrap();
                    block.current = number;
                    block.possible.clear();
                }
            }
        }
    }

    fn took(&self, since: Instant) {
        let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.live.slowest_ms.fetch_max(took, Ordering::Relaxed);
    }
}

/// Waits until the load has done `count` more operations.
#[track_caller]
pub fn wait_operations(live: &Live, count: u64, limit: Duration) {
    let want = live.operations() + count;
    let end = deadline(limit);
    while live.operations() < want {
        assert!(
            !end.over(),
            "the load did {} of {want} operations in {} s",
            live.operations(),
            limit.as_secs()
        );
        crate::harness::look_for_interrupt();
        crate::harness::pause();
    }
}

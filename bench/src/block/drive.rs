//! Clients at work: a thread a volume that keeps its queue at the workload's depth, told from outside what counts.

use super::Shape;
use super::client::{Client, Direction};
use super::raw::Direct;
use super::side::{Disks, Side};
use super::workload::{Offsets, Workload};
use crate::limits::{MAX_DEPTH, MAX_REQUEST_BYTES};
use crate::machine::now;
use crate::report::figure::Latencies;
use anyhow::{Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What the clients' operations count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Nothing: warming up, or between two counts.
    Idle,
    /// Operations and their latencies.
    Count,
    /// Operations alone, while something else is counted.
    CountOnly,
    End,
}

/// The clients of one side.
pub struct Drivers {
    phase: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Outcome>>>,
}

struct Shared {
    phase: AtomicU8,
    counted_only: AtomicU64,
}

/// What was done while it counted.
#[derive(Debug, Default)]
pub struct Outcome {
    pub operations: u64,
    /// With those that did not count.
    pub all_operations: u64,
    pub latencies: Latencies,
}

/// What one client does.
#[derive(Clone)]
struct Task {
    path: PathBuf,
    workload: Workload,
    area: u64,
    /// Of as many as share a file.
    share: (u64, u64),
}

impl Drivers {
    /// Starts the clients; `None` if the side has no clients for this.
    pub fn start(side: &Side, workload: &Workload, shape: Shape) -> Result<Option<Self>> {
        let shared =
            Arc::new(Shared { phase: AtomicU8::new(Phase::Idle as u8), counted_only: AtomicU64::new(0) });
        let task = |path: &PathBuf, share| Task {
            path: path.clone(),
            workload: workload.clone(),
            area: shape.area,
            share,
        };
        let mut threads = Vec::new();
        match &side.disks {
            Disks::Sockets(sockets) => {
                for socket in sockets {
                    let (task, shared) = (task(socket, (0, 1)), Arc::clone(&shared));
                    threads.push(
                        thread::Builder::new()
                            .name("client".into())
                            .spawn(move || drive_queue(&task, &shared))?,
                    );
                }
            }
            Disks::Files(_) if workload.request_bytes != MAX_REQUEST_BYTES => return Ok(None),
            Disks::Files(files) => {
                for file in files {
                    for share in 0..workload.depth as u64 {
                        let (task, shared) =
                            (task(file, (share, workload.depth as u64)), Arc::clone(&shared));
                        threads.push(
                            thread::Builder::new()
                                .name("client".into())
                                .spawn(move || drive_file(&task, &shared))?,
                        );
                    }
                }
            }
        }
        Ok(Some(Self { phase: shared, threads }))
    }

    pub fn count(&self) {
        self.set(Phase::Count);
    }

    pub fn count_only(&self) {
        self.set(Phase::CountOnly);
    }

    pub fn idle(&self) {
        self.set(Phase::Idle);
    }

    /// Operations since [`count_only`](Self::count_only).
    pub fn counted_only(&self) -> u64 {
        self.phase.counted_only.load(Ordering::SeqCst)
    }

    /// Whether a client has given up; [`end`](Self::end) says why.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the clients, after what is in flight, and adds up what they counted.
    pub fn end(self) -> Result<Outcome> {
        self.set(Phase::End);
        let mut all = Outcome::default();
        for thread in self.threads {
            let outcome = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            all.operations += outcome.operations;
            all.all_operations += outcome.all_operations;
            all.latencies.append(outcome.latencies);
        }
        Ok(all)
    }

    fn set(&self, phase: Phase) {
        self.phase.phase.store(phase as u8, Ordering::SeqCst);
    }
}

impl Shared {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.phase() == Phase::End as u8
    }

    fn done(&self, outcome: &mut Outcome, started: Instant, ended: Instant) {
        let phase = self.phase();
        outcome.all_operations += 1;
        if phase == Phase::Count as u8 {
            outcome.operations += 1;
            outcome.latencies.push(ended - started);
        } else if phase == Phase::CountOnly as u8 {
            self.counted_only.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Keeps a vhost-user-blk queue at its depth.
fn drive_queue(task: &Task, shared: &Shared) -> Result<Outcome> {
    let Workload { direction, depth, request_bytes, .. } = task.workload;
    let mut client = Client::connect(&task.path)?;
    let mut offsets = Offsets::new(&task.workload, task.area, task.share);
    let mut outcome = Outcome::default();
    let mut started = [now(); MAX_DEPTH];
    for (slot, start) in started.iter_mut().enumerate().take(depth) {
        *start = now();
        client.submit(direction, offsets.next(), request_bytes, slot);
    }
    let mut done = Vec::with_capacity(depth);
    while !shared.is_over() {
        client.wait(|slot| done.push(slot))?;
        let end = now();
        for slot in done.drain(..) {
            shared.done(&mut outcome, started[slot], end);
            started[slot] = end;
            client.submit(direction, offsets.next(), request_bytes, slot);
        }
    }
    let mut in_flight = depth;
    while in_flight > 0 {
        client.wait(|_| in_flight -= 1)?;
    }
    if direction == Direction::Write {
        client.flush(0);
        client.wait(|_| {})?;
    }
    Ok(outcome)
}

/// One request in flight at a file, of as many as there are threads.
fn drive_file(task: &Task, shared: &Shared) -> Result<Outcome> {
    let mut file = Direct::open(&task.path)?;
    let mut offsets = Offsets::new(&task.workload, task.area, task.share);
    let mut outcome = Outcome::default();
    while !shared.is_over() {
        let start = now();
        match task.workload.direction {
            Direction::Write => file.write(offsets.next())?,
            Direction::Read => file.read(offsets.next())?,
        }
        shared.done(&mut outcome, start, now());
    }
    if task.workload.direction == Direction::Write {
        file.flush()?;
    }
    Ok(outcome)
}

/// Writes the area of a volume once, and flushes.
pub fn fill(socket: &Path, shape: Shape) -> Result<()> {
    let capacity = Client::connect(socket)?.capacity()?;
    if capacity < shape.size {
        bail!("{} has {capacity} bytes and not {}", socket.display(), shape.size);
    }
    let requests = Requests { direction: Direction::Write, bytes: MAX_REQUEST_BYTES, depth: 8 };
    ask(socket, requests, (0..shape.area).step_by(MAX_REQUEST_BYTES))
}

/// Requests that are alike but for their place.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    pub direction: Direction,
    pub bytes: usize,
    pub depth: usize,
}

/// Asks for each of these places once, so many at a time, and flushes.
pub fn ask(socket: &Path, requests: Requests, mut offsets: impl Iterator<Item = u64>) -> Result<()> {
    let mut client = Client::connect(socket)?;
    let mut in_flight = 0;
    let mut free = (0..requests.depth).collect::<Vec<_>>();
    loop {
        while let Some(slot) = free.pop() {
            let Some(offset) = offsets.next() else { break };
            client.submit(requests.direction, offset, requests.bytes, slot);
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

//! Clients at work: a thread a volume that keeps its queue at the workload's depth, told from outside what counts.

use super::Shape;
use super::client::{Client, Direction};
use super::raw::Direct;
use super::side::{Disks, Side};
use super::workload::{Offsets, Workload};
use crate::limits::{MAX_DEPTH, MAX_REQUEST_BYTES};
use crate::machine::now;
use crate::phase::{Phase, Signal};
use crate::report::figure::Latencies;
use anyhow::{Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The clients of one side.
pub struct Drivers {
    signal: Arc<Signal>,
    threads: Vec<JoinHandle<Result<Outcome>>>,
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
        let signal = Arc::new(Signal::new(Phase::Idle));
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
                    let (task, signal) = (task(socket, (0, 1)), Arc::clone(&signal));
                    threads.push(
                        thread::Builder::new()
                            .name("client".into())
                            .spawn(move || drive_queue(&task, &signal))?,
                    );
                }
            }
            Disks::Files(_) if workload.request_bytes != MAX_REQUEST_BYTES => return Ok(None),
            Disks::Files(files) => {
                for file in files {
                    for share in 0..workload.depth as u64 {
                        let (task, signal) =
                            (task(file, (share, workload.depth as u64)), Arc::clone(&signal));
                        threads.push(
                            thread::Builder::new()
                                .name("client".into())
                                .spawn(move || drive_file(&task, &signal))?,
                        );
                    }
                }
            }
        }
        Ok(Some(Self { signal, threads }))
    }

    pub fn count(&self) {
        self.signal.set(Phase::Count);
    }

    pub fn count_only(&self) {
        self.signal.set(Phase::CountOnly);
    }

    pub fn idle(&self) {
        self.signal.set(Phase::Idle);
    }

    /// Operations since [`count_only`](Self::count_only).
    pub fn counted_only(&self) -> u64 {
        self.signal.counted_only()
    }

    /// Whether a client has given up; [`end`](Self::end) says why.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the clients, after what is in flight, and adds up what they counted.
    pub fn end(self) -> Result<Outcome> {
        self.signal.set(Phase::End);
        let mut all = Outcome::default();
        for thread in self.threads {
            let outcome = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            all.operations += outcome.operations;
            all.all_operations += outcome.all_operations;
            all.latencies.append(outcome.latencies);
        }
        Ok(all)
    }
}

impl Outcome {
    fn count(&mut self, signal: &Signal, started: Instant, ended: Instant) {
        self.all_operations += 1;
        if signal.is(Phase::Count) {
            self.operations += 1;
            self.latencies.push(ended - started);
        } else if signal.is(Phase::CountOnly) {
            signal.count_one();
        }
    }
}

/// Keeps a vhost-user-blk queue at its depth.
fn drive_queue(task: &Task, signal: &Signal) -> Result<Outcome> {
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
    while !signal.is(Phase::End) {
        client.wait(|slot| done.push(slot))?;
        let end = now();
        for slot in done.drain(..) {
            outcome.count(signal, started[slot], end);
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
fn drive_file(task: &Task, signal: &Signal) -> Result<Outcome> {
    let mut file = Direct::open(&task.path)?;
    let mut offsets = Offsets::new(&task.workload, task.area, task.share);
    let mut outcome = Outcome::default();
    while !signal.is(Phase::End) {
        let start = now();
        match task.workload.direction {
            Direction::Write => file.write(offsets.next())?,
            Direction::Read => file.read(offsets.next())?,
        }
        outcome.count(signal, start, now());
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

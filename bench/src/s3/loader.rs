//! Keeps a number of connections busy, and counts what they get.
//!
//! A thread looks after many connections by epoll, so that on a machine of few cores the client takes little of what
//! the server needs. What it takes is reported.

use super::Target;
use super::ask::{Ask, Kind};
use super::bodies::Bodies;
use super::connection::{Connection, Done, Outcome, Payload, Shared};
use super::sign::Signer;
use crate::limits::{S3_BUFFER_BYTES, S3_EVENTS, S3_REFUSED_PAUSE};
use crate::machine::pause;
use crate::phase::{Phase, Signal};
use crate::report::figure::Latencies;
use anyhow::{Context, Result, anyhow};
use rustix::event::epoll;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is asked, one after the other. Each thread has its own.
pub trait Plan: Send {
    /// The next request; none when there is nothing left to do.
    fn next(&mut self) -> Option<Ask>;

    /// A request was served.
    fn served(&mut self, _ask: &Ask) {}
}

/// Whom to ask, and how hard.
#[derive(Clone)]
pub struct Load {
    pub target: Arc<Target>,
    pub bodies: Bodies,
    pub connections: usize,
    pub threads: usize,
    pub payload: Payload,
    /// How long nothing may come from anywhere before it is [`NoAnswer`], in seconds.
    pub timeout_s: u64,
}

/// Who was asked did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer {
    pub seconds: u64,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer in {} s", self.seconds)
    }
}

impl std::error::Error for NoAnswer {}

/// What was counted.
#[derive(Debug, Default)]
pub struct Window {
    /// Object bytes moved to the server and from it.
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Requests answered 503; they are not among the served, and asked again.
    pub refused: u64,
    /// Of the client's threads.
    pub client_cpu: Duration,
    /// Requests served, by [`Kind`].
    pub served: [u64; Kind::ALL.len()],
    pub latencies: [Latencies; Kind::ALL.len()],
}

impl Window {
    pub fn total(&self) -> u64 {
        self.served.iter().sum()
    }

    /// Of all kinds together.
    pub fn take_latencies(&mut self) -> Latencies {
        let mut all = Latencies::default();
        self.latencies.iter_mut().for_each(|latencies| all.append(std::mem::take(latencies)));
        all
    }

    fn count(&mut self, done: &Done) {
        if done.outcome == Outcome::Refused {
            self.refused += 1;
            return;
        }
        let kind = done.ask.kind() as usize;
        self.served[kind] += 1;
        self.sent_bytes += done.ask.upload().map_or(0, |body| body.len_bytes as u64);
        self.received_bytes += done.ask.download().map_or(0, |body| body.len_bytes as u64);
        self.latencies[kind].push(done.latency);
    }

    fn add(&mut self, other: Self) {
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.refused += other.refused;
        self.client_cpu += other.client_cpu;
        for (index, latencies) in other.latencies.into_iter().enumerate() {
            self.served[index] += other.served[index];
            self.latencies[index].append(latencies);
        }
    }
}

/// Clients at work, told from outside what counts.
pub struct Clients {
    signal: Arc<Signal>,
    threads: Vec<JoinHandle<Result<Window>>>,
}

impl Clients {
    /// Starts the threads, each with a plan of its own; nothing counts yet.
    pub fn start<P: Plan + 'static>(load: &Load, plan: impl FnMut(usize) -> P) -> Result<Self> {
        Self::start_in(Phase::Idle, load, plan)
    }

    /// Does all that the plans hold, and counts it from the first request on.
    pub fn do_all<P: Plan + 'static>(load: &Load, plan: impl FnMut(usize) -> P) -> Result<Window> {
        Self::start_in(Phase::Count, load, plan)?.join()
    }

    fn start_in<P: Plan + 'static>(phase: Phase, load: &Load, plan: impl FnMut(usize) -> P) -> Result<Self> {
        let signal = Arc::new(Signal::new(phase));
        let count = load.threads.min(load.connections).max(1);
        let plans = (0..count).map(plan).collect::<Vec<_>>();
        let mut threads = Vec::new();
        for (index, plan) in plans.into_iter().enumerate() {
            let (load, signal) = (load.clone(), Arc::clone(&signal));
            let work = move || {
                let connections = (index..load.connections).step_by(count);
                Worker::new(&load, plan, connections)?.run(&signal)
            };
            threads.push(thread::Builder::new().name("client".into()).spawn(work)?);
        }
        Ok(Self { signal, threads })
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

    /// Requests since [`count_only`](Self::count_only).
    pub fn counted_only(&self) -> u64 {
        self.signal.counted_only()
    }

    /// Ends the clients, after what is in flight, and adds up what they counted.
    pub fn end(self) -> Result<Window> {
        self.signal.set(Phase::End);
        self.join()
    }

    fn join(self) -> Result<Window> {
        let mut window = Window::default();
        for thread in self.threads {
            window.add(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(window)
    }
}

struct Worker<P> {
    shared: Shared,
    plan: P,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    in_flight: usize,
    timeout_s: u64,
}

impl<P: Plan> Worker<P> {
    fn new(load: &Load, plan: P, connections: impl Iterator<Item = usize>) -> Result<Self> {
        let shared = Shared {
            signer: Signer::new(&load.target.identity),
            target: Arc::clone(&load.target),
            bodies: load.bodies.clone(),
            payload: load.payload,
            buffer: vec![0; S3_BUFFER_BYTES],
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("making an epoll")?;
        // In turn over all nodes of a side, so that none of them is the bottleneck.
        let addresses = &load.target.addresses;
        let addresses = connections.map(|index| addresses[index % addresses.len()]);
        let connections = addresses.map(Connection::open).collect::<Result<Vec<_>>>()?;
        for (index, connection) in connections.iter().enumerate() {
            register(&epoll, connection, index)?;
        }
        Ok(Self { shared, plan, epoll, connections, in_flight: 0, timeout_s: load.timeout_s })
    }

    fn run(mut self, signal: &Signal) -> Result<Window> {
        for index in 0..self.connections.len() {
            self.ask_next(index)?;
        }
        let mut window = Window::default();
        let mut counting_since = None;
        let mut events = Vec::with_capacity(S3_EVENTS);
        while self.in_flight > 0 {
            self.wait(&mut events)?;
            let (is_counting, is_over) = (signal.is(Phase::Count), signal.is(Phase::End));
            let is_counting_only = signal.is(Phase::CountOnly);
            match (is_counting, counting_since) {
                (true, None) => counting_since = Some(cpu_of_this_thread()),
                (false, Some(before)) => {
                    window.client_cpu += cpu_of_this_thread().saturating_sub(before);
                    counting_since = None;
                }
                _ => {}
            }
            for index in events.drain(..).map(|event: epoll::Event| event.data.u64()) {
                let index = usize::try_from(index).expect("a connection's index");
                let Some(done) = self.connections[index].advance(&mut self.shared)? else { continue };
                self.in_flight -= 1;
                if is_counting {
                    window.count(&done);
                } else if is_counting_only && done.outcome == Outcome::Served {
                    signal.count_one();
                }
                match done.outcome {
                    Outcome::Served => self.plan.served(&done.ask),
                    Outcome::Refused => {
                        // A little later, as clients do; without a pause a busy server is only made busier.
                        pause(S3_REFUSED_PAUSE);
                        self.ask(index, done.ask)?;
                        continue;
                    }
                }
                if !is_over {
                    self.ask_next(index)?;
                }
            }
        }
        if let Some(before) = counting_since {
            window.client_cpu += cpu_of_this_thread().saturating_sub(before);
        }
        Ok(window)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<()> {
        let timeout = Timespec { tv_sec: self.timeout_s.cast_signed(), tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(0) => Err(NoAnswer { seconds: self.timeout_s }.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for answers"),
        }
    }

    /// Gives a connection its next request, if there is one.
    fn ask_next(&mut self, index: usize) -> Result<()> {
        self.plan.next().map_or(Ok(()), |ask| self.ask(index, ask))
    }

    fn ask(&mut self, index: usize, ask: Ask) -> Result<()> {
        if self.connections[index].is_over() {
            // Closing the old one takes it out of the epoll.
            self.connections[index] = Connection::open(self.connections[index].address())?;
            register(&self.epoll, &self.connections[index], index)?;
        }
        self.connections[index].start(ask, &mut self.shared)?;
        self.in_flight += 1;
        Ok(())
    }
}

/// Once and for all, in edges: a connection is looked at until it would block.
fn register(epoll: &rustix::fd::OwnedFd, connection: &Connection, index: usize) -> Result<()> {
    let what = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(epoll, &connection.stream, epoll::EventData::new_u64(index as u64), what)
        .context("watching a socket")
}

fn cpu_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

//! What a side costs while a client uses it: CPU time by part, context switches, bytes written, memory.
//!
//! The kernel's own books are read before and after; nothing is sampled. What the kernel does for a process outside
//! of its threads (network softirqs, writeback, the loop driver) is on nobody's account, ours or a peer's.

mod device;
mod loops;
mod syscalls;
mod tasks;

pub use loops::LOOPS;
pub use syscalls::Census;

use crate::limits::{SETTLE_STEP, SETTLE_STEPS, SETTLED_BELOW_BYTES};
use crate::machine::{now, pause, written_bytes};
use crate::report::figure::{CONTEXT_SWITCHES, CPU, DEVICE_WRITTEN, MEMORY, Sample, WRITTEN, count};
use anyhow::{Result, bail};
use device::Device;
use loops::Loops;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tasks::Tasks;

/// A process of a side, and what its CPU time counts as.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub pid: u32,
    pub parts: Parts,
    /// Where it tells whose work its event loops did, if it does.
    pub admin: Option<SocketAddr>,
}

/// How the threads of a process divide into parts.
#[derive(Debug, Clone, Copy)]
pub enum Parts {
    /// All of them are one part.
    One(&'static str),
    /// By a thread's name.
    ByThread(fn(&str) -> &'static str),
}

impl Member {
    pub fn one(pid: u32, part: &'static str) -> Self {
        Self { pid, parts: Parts::One(part), admin: None }
    }
}

/// Reads the counters at its start and again whenever asked.
pub struct Meter {
    members: Vec<Member>,
    device: Option<Device>,
    start: Reading,
}

struct Reading {
    at: Instant,
    tasks: Vec<Tasks>,
    loops: Vec<Loops>,
    written_bytes: u64,
    device_written_bytes: Option<u64>,
}

/// What was used between two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    pub elapsed: Duration,
    pub cpu: BTreeMap<String, Duration>,
    pub context_switches: u64,
    pub written_bytes: u64,
    /// `None` where the data lies on no single block device.
    pub device_written_bytes: Option<u64>,
    /// At the end.
    pub memory_bytes: u64,
}

/// What a client asked for meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub operations: u64,
    pub written_bytes: u64,
}

impl Meter {
    /// Starts to count what `members` do, and what is written to the device under `folder`.
    pub fn start(members: &[Member], folder: &Path) -> Result<Self> {
        let device = Device::under(folder)?;
        let start = Reading::take(members, device.as_ref())?;
        Ok(Self { members: members.to_vec(), device, start })
    }

    /// What was used since the start.
    pub fn read(&self) -> Result<Usage> {
        let end = Reading::take(&self.members, self.device.as_ref())?;
        let mut usage = Usage {
            elapsed: end.at - self.start.at,
            cpu: BTreeMap::new(),
            context_switches: 0,
            written_bytes: end.written_bytes.saturating_sub(self.start.written_bytes),
            device_written_bytes: match (self.start.device_written_bytes, end.device_written_bytes) {
                (Some(before), Some(after)) => Some(after.saturating_sub(before)),
                _ => None,
            },
            memory_bytes: 0,
        };
        for (at, member) in self.members.iter().enumerate() {
            let used = end.tasks[at].since(&self.start.tasks[at]);
            usage.context_switches += used.context_switches;
            for (thread, cpu) in used.cpu {
                let part = match member.parts {
                    Parts::One(part) => part,
                    Parts::ByThread(part) => part(&thread),
                };
                *usage.cpu.entry(part.to_owned()).or_default() += cpu;
            }
            end.loops[at].since(&self.start.loops[at]).divide(&mut usage.cpu);
            usage.memory_bytes += memory_bytes(member.pid)?;
        }
        Ok(usage)
    }
}

impl Reading {
    fn take(members: &[Member], device: Option<&Device>) -> Result<Self> {
        let tasks = members.iter().map(|member| Tasks::of(member.pid)).collect::<Result<_>>()?;
        let mut written = 0;
        for member in members {
            written += written_bytes(member.pid)?;
        }
        let device_written_bytes = device.map(Device::written_bytes).transpose()?;
        let loops = members.iter().map(|member| Loops::of(member.admin)).collect::<Result<_>>()?;
        Ok(Self { at: now(), tasks, loops, written_bytes: written, device_written_bytes })
    }
}

impl Usage {
    pub fn cpu_total(&self) -> Duration {
        self.cpu.values().sum()
    }

    /// Puts everything into a sample, an operation at a time.
    pub fn put(&self, sample: &mut Sample, asked: Asked) {
        // A side without processes has no costs of its own to tell.
        if !self.cpu.is_empty() {
            self.put_costs(sample, asked);
        }
        if let Some(written) = self.device_written_bytes.filter(|_| asked.written_bytes > 0) {
            sample.put(&DEVICE_WRITTEN, count(written) / count(asked.written_bytes));
        }
    }

    fn put_costs(&self, sample: &mut Sample, asked: Asked) {
        let operations = count(asked.operations);
        let per_operation = |cpu: Duration| cpu.as_secs_f64() * 1e6 / operations;
        sample.put(&CPU, per_operation(self.cpu_total()));
        if self.cpu.len() > 1 {
            for (part, &cpu) in &self.cpu {
                sample.put(&CPU.of_part(part), per_operation(cpu));
            }
        }
        sample.put(&CONTEXT_SWITCHES, count(self.context_switches) / operations);
        if asked.written_bytes > 0 {
            sample.put(&WRITTEN, count(self.written_bytes) / count(asked.written_bytes));
        }
        sample.put(&MEMORY, count(self.memory_bytes) / count(1 << 20));
    }
}

/// Resident memory of a process: its own and its files' pages. Shared memory is left out, as that is the guest's.
pub fn memory_bytes(pid: u32) -> Result<u64> {
    let status = tasks::read(&format!("/proc/{pid}/status"))?;
    let field = |name| tasks::number_after(&status, name).map_or(0, |kib| kib << 10);
    Ok(field("RssAnon:") + field("RssFile:"))
}

/// Waits until `members` write nothing more by themselves, so that what a side does in the background after its turn is
/// not at work while another is measured.
pub fn settle(name: &str, members: &[Member]) -> Result<()> {
    settle_by(name, || members.iter().try_fold(0, |sum, member| Ok(sum + written_bytes(member.pid)?)))
}

fn settle_by(name: &str, mut written: impl FnMut() -> Result<u64>) -> Result<()> {
    let mut before = written()?;
    for _ in 0..SETTLE_STEPS {
        pause(SETTLE_STEP);
        let after = written()?;
        if after.saturating_sub(before) < SETTLED_BELOW_BYTES {
            return Ok(());
        }
        before = after;
    }
    bail!("{name} keeps writing though nobody asks it anything")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::{IOPS, SYSTEM_CALLS};

    #[test]
    fn usage_is_told_an_operation_at_a_time() {
        let us = Duration::from_micros;
        let usage = Usage {
            elapsed: us(1000),
            cpu: [("device", us(300)), ("chunk servers", us(500))].map(|(n, t)| (n.to_owned(), t)).into(),
            context_switches: 50,
            written_bytes: 1200,
            device_written_bytes: Some(1300),
            memory_bytes: 2 << 20,
        };
        let mut sample = Sample::default();
        usage.put(&mut sample, Asked { operations: 100, written_bytes: 400 });
        let of = |figure| sample.get(&figure).unwrap();
        assert_eq!([of(CPU), of(CPU.of_part("device")), of(CONTEXT_SWITCHES)], [8.0, 3.0, 0.5]);
        assert_eq!([of(WRITTEN), of(DEVICE_WRITTEN), of(MEMORY)], [3.0, 3.25, 2.0]);
        assert_eq!((sample.get(&SYSTEM_CALLS), sample.get(&IOPS)), (None, None));
        let mut reads = Sample::default();
        usage.put(&mut reads, Asked { operations: 0, written_bytes: 0 });
        assert_eq!((reads.get(&WRITTEN), reads.get(&CPU)), (None, None), "no operation, no figure");
    }

    #[test]
    fn a_side_settles_when_it_writes_nothing_more() {
        let mut left = [10_u64 << 20, 20 << 20, (20 << 20) + 5].into_iter();
        settle_by("x", || Ok(left.next().unwrap())).unwrap();
        assert_eq!(left.next(), None);
    }

    #[test]
    fn own_work_is_counted_in_its_part() {
        let folder = tempfile::tempdir_in(".").unwrap();
        let part = |thread: &str| if thread == "busy" { "busy" } else { "rest" };
        let member = Member { pid: std::process::id(), parts: Parts::ByThread(part), admin: None };
        let meter = Meter::start(&[member], folder.path()).unwrap();
        let (worked, work) = std::sync::mpsc::sync_channel(0);
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("busy".into()).spawn(move || {
            let begin = now();
            let mut sum = 0_u64;
            while begin.elapsed() < Duration::from_millis(100) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            worked.send(()).unwrap();
            let _ = ended.recv();
        });
        work.recv().unwrap();
        let usage = meter.read().unwrap();
        drop(end);
        thread.unwrap().join().unwrap();
        assert!(usage.cpu["busy"] > Duration::from_millis(5), "{usage:?}");
        assert!(usage.context_switches > 0 && usage.memory_bytes > 1 << 20, "{usage:?}");
    }
}
